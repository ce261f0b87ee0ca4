/*
 * weights_support.h - what the tests of the weight file reader share.
 *
 *   writer -> bytes in a block of exactly that size -> vr_weights_open_memory
 *
 * Owner: the copy has to outlive the reader over it; the caller frees both.
 */
#ifndef VR_WEIGHTS_SUPPORT_H
#define VR_WEIGHTS_SUPPORT_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/weights.h"
#include "tests/unit/gguf_writer.h"

#define NAME "weights.bin"

#define DIM(n) ((uint64_t)(n))

/* call must fail with exactly this message; e is a vr_err */
#define REFUSED(call, message)                                                                                                 \
    do {                                                                                                                       \
        memset(&e, 0, sizeof e);                                                                                               \
        ck_assert_int_eq(call, VR_ERR_WEIGHTS);                                                                                \
        ck_assert_str_eq(e.text, message);                                                                                     \
    } while (0)

static inline void *exact_copy(const void *bytes, size_t n)
{
    void *copy = NULL; /* of exactly n bytes: AddressSanitizer sees the first byte beyond */
    ck_assert_int_eq(posix_memalign(&copy, 64, n ? n : 1), 0);
    if (n > 0) memcpy(copy, bytes, n);
    return copy;
}

static inline vr_weights *accept_file(writer *f, void **copy)
{
    vr_err e = { 0 };
    vr_weights *w = NULL;
    *copy = exact_copy(f->bytes, f->n);
    const int rc = vr_weights_open_memory(&w, *copy, f->n, NAME, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    writer_free(f);
    return w;
}

static inline vr_weights *open_sample(void **copy)
{
    writer f = { 0 };
    write_sample(&f);
    return accept_file(&f, copy);
}

#endif
