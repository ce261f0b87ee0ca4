/*
 * weights.c - fuzz target: the weight file reader, and everything a model or the inspector may ask of an opened file.
 *
 *   bytes -> aligned block of exactly that size -> vr_weights_open_memory -> every key by every getter
 *                                                                         -> every tensor bound and read
 *
 * Trap: the block is copied, because libFuzzer's is unaligned and AddressSanitizer should see the first byte beyond.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "base/stock.h"
#include "base/strips.h"
#include "base/weights.h"
#include "tests/fuzz/fuzz.h"

static volatile unsigned sink; /* keeps the reads */

static void read_bytes(const void *data, size_t n)
{
    const unsigned char *bytes = data;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += bytes[i];
    sink += sum;
}

static void ask_scalars(const vr_weights *w, const char *name)
{
    int i = 0;
    float f = 0, three[3];
    bool b = false;
    vr_string s;
    vr_err e;
    if (vr_weights_int(w, &i, 1, 512, &e, "%s", name) == VR_OK) assert(i >= 1 && i <= 512);
    if (vr_weights_float(w, &f, &e, "%s", name) == VR_OK) assert(f - f == 0);
    if (vr_weights_bool(w, &b, &e, "%s", name) == VR_OK) sink += b;
    if (vr_weights_string(w, &s, &e, "%s", name) == VR_OK) read_bytes(s.data, s.n_bytes);
    if (vr_weights_floats(w, three, 3, &e, "%s", name) == VR_OK) assert(three[2] - three[2] == 0);
}

static void ask_key(const vr_weights *w, int at)
{
    vr_weights_key k;
    vr_weights_key_at(w, at, &k);
    assert(k.name.n_bytes >= 1 && k.name.n_bytes <= VR_MAX_NAME);
    char name[VR_MAX_NAME + 1];
    snprintf(name, sizeof name, "%.*s", (int)k.name.n_bytes, k.name.data);
    assert(vr_weights_has(w, name));
    ask_scalars(w, name);
    read_bytes(k.value, (size_t)k.count * vr_gguf_type_bytes(k.array_type));
    int count = 0;
    vr_err e;
    if (vr_weights_array(w, &count, &e, "%s", name) != VR_OK) return;
    assert(count == k.count);
    for (int i = 0; i <= count; i++) {
        vr_string s;
        float f;
        int n;
        if (vr_weights_array_string(w, name, i, &s, &e) == VR_OK) read_bytes(s.data, s.n_bytes);
        if (vr_weights_array_float(w, name, i, &f, &e) == VR_OK) assert(f - f == 0 && i < count);
        if (vr_weights_array_int(w, name, i, &n, &e) == VR_OK) assert(i < count);
    }
}

static void ask_tensor(vr_weights *w, int at)
{
    vr_weights_tensor t;
    vr_weights_tensor_at(w, at, &t);
    assert(t.n_bytes > 0 && t.offset <= vr_weights_file_bytes(w) && t.n_bytes <= vr_weights_file_bytes(w) - t.offset);
    read_bytes(t.data, t.n_bytes);
    const int name_bytes = (int)t.name.n_bytes, rows = (int)t.shape[0], cols = t.n_dims > 1 ? (int)t.shape[1] : 1;
    vr_matrix m;
    const float *x;
    vr_err e;
    if (vr_weights_matrix(w, &m, rows, cols, &e, "%.*s", name_bytes, t.name.data) == VR_OK) {
        const bool strips = vr_is_strips(m.dtype), as_stored = m.data == t.data;
        const size_t n = strips ? vr_strips_bytes(m.dtype, rows, cols) : (size_t)rows * (size_t)cols * vr_dtype_bytes(m.dtype);
        assert(m.rows == rows && m.cols == cols && (as_stored ? n == t.n_bytes : vr_is_stock(t.type)));
        read_bytes(m.data, n);
    }
    if (vr_weights_vector(w, &x, rows, &e, "%.*s", name_bytes, t.name.data) == VR_OK) sink += x[rows - 1] > 0;
    if (vr_weights_table(w, &x, rows, cols, &e, "%.*s", name_bytes, t.name.data) == VR_OK) sink += x[rows * cols - 1] > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    void *copy = NULL;
    if (posix_memalign(&copy, 64, n_bytes ? n_bytes : 1) != 0) return 0;
    if (n_bytes > 0) memcpy(copy, data, n_bytes);
    vr_weights *w = NULL;
    vr_err e = { 0 };
    const int rc = vr_weights_open_memory(&w, copy, n_bytes, "input", &e);
    assert((rc == VR_OK) == (w != NULL) && (rc == VR_OK || e.code == rc));
    for (const char *c = e.text; *c; c++) assert((unsigned char)*c >= 0x20 && *c != 0x7f);
    if (w) {
        for (int i = 0; i < vr_weights_n_keys(w); i++) ask_key(w, i);
        for (int i = 0; i < vr_weights_n_tensors(w); i++) ask_tensor(w, i);
        vr_weights_unused(w, NULL);
    }
    vr_weights_free(w);
    free(copy);
    return 0;
}
