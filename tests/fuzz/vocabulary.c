/*
 * vocabulary.c - fuzz target: the tokenizer of any weight file, and what it makes of a text.
 *
 *   bytes -> aligned block of exactly that size -> vr_weights_open_memory -> vr_tokenizer_open -> ids of a text -> pieces
 *
 * Seeds are small files of both kinds, spelled by hand (tests/unit/tokenizer_test.c, bpe_test.c).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

static const char text[] =
    "a ab abc  aaa\n\n12345 it's <s> <|end|>[P] \xe2\x96\x81\xc3\xa9 e\xcc\x81 \xff\xf0\x9f\x99\x82\xea\xb0\x81.";

static volatile unsigned sink; /* keeps the reads */

static void use(const vr_tokenizer *tokenizer)
{
    vr_ids ids = { 0 };
    vr_err e = { 0 };
    const int count = vr_tokenizer_vocab(tokenizer);
    assert(vr_tokenizer_bos(tokenizer) < count);
    if (vr_tokenizer_encode(tokenizer, text, sizeof text - 1, &ids, &e) == VR_OK)
        for (int i = 0; i < ids.count; i++) assert(ids.data[i] >= 0 && ids.data[i] < count);
    for (int id = 0; id < count; id++) {
        const vr_string piece = vr_tokenizer_piece(tokenizer, id);
        for (size_t i = 0; i < piece.n_bytes; i++) sink += (unsigned char)piece.data[i];
        sink += vr_tokenizer_ends(tokenizer, id);
    }
    vr_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    void *copy = NULL;
    if (posix_memalign(&copy, 64, n_bytes ? n_bytes : 1) != 0) return 0;
    if (n_bytes > 0) memcpy(copy, data, n_bytes);
    vr_weights *w = NULL;
    vr_tokenizer *tokenizer = NULL;
    vr_err e = { 0 };
    if (vr_weights_open_memory(&w, copy, n_bytes, "input", &e) == VR_OK) {
        const int rc = vr_tokenizer_open(&tokenizer, w, &e);
        assert((rc == VR_OK) == (tokenizer != NULL) && (rc == VR_OK || e.code == rc));
        for (const char *c = e.text; *c; c++) assert((unsigned char)*c >= 0x20 && *c != 0x7f);
        if (tokenizer) use(tokenizer);
    }
    vr_tokenizer_free(tokenizer);
    vr_weights_free(w);
    free(copy);
    return 0;
}
