/*
 * tokenizer.c - fuzz target: any bytes to ids of a reduced LLaMA tokenizer and back.
 *
 *   bytes -> vr_tokenizer_encode -> ids -> pieces -> vr_text_stream -> the text again, where nothing of it is lost on the way
 *
 * Trap: runs in the root of the project, where the fixture lies; the tokenizer is opened once and kept.
 *       Each stretch between special strings has a dummy blank that the text had not, so only texts without them are compared.
 *       U+2581 in a text comes back as a blank.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

#define FIXTURE "tests/fixtures/text/stable_vicuna.gguf"

static const vr_tokenizer *fixture(void)
{
    static vr_tokenizer *tokenizer;
    static vr_weights *weights;
    vr_err e = { 0 };
    if (!tokenizer &&
        (vr_weights_open(&weights, FIXTURE, &e) != VR_OK || vr_tokenizer_open(&tokenizer, weights, &e) != VR_OK)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    return tokenizer;
}

/* Well-formed, and without what does not come back. */
static bool comes_back(const char *text, size_t n_bytes)
{
    static const char *const lost[] = { "<s>", "</s>", "<unk>", "[PAD]", "\xe2\x96\x81" };
    for (size_t at = 0; at < n_bytes;) {
        for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
            if (n_bytes - at >= strlen(lost[i]) && memcmp(text + at, lost[i], strlen(lost[i])) == 0) return false;
        uint32_t point;
        const size_t length = vr_utf8_decode(text + at, n_bytes - at, &point);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const vr_tokenizer *tokenizer = fixture();
    const char *text = (const char *)data;
    vr_ids ids = { 0 };
    vr_err e = { 0 };
    const int rc = vr_tokenizer_encode(tokenizer, text, n_bytes, &ids, &e);
    assert(rc == (n_bytes > VR_MAX_PROMPT ? VR_ERR_LIMIT : VR_OK));
    char *back = malloc(9 * n_bytes + 64); /* 3 * (bytes of all pieces + 4): a wrong byte makes three */
    if (!back) goto done;
    size_t n = 0;
    vr_text_stream stream = { 0 };
    for (int i = 0; i < ids.count; i++) {
        assert(ids.data[i] >= 0 && ids.data[i] < vr_tokenizer_vocab(tokenizer));
        const vr_string piece = vr_tokenizer_piece(tokenizer, ids.data[i]);
        n += vr_text_stream_push(&stream, piece.data, piece.n_bytes, i + 1 == ids.count, back + n);
    }
    if (rc == VR_OK && n_bytes > 0 && comes_back(text, n_bytes))
        assert(n == n_bytes + 1 && back[0] == ' ' && memcmp(back + 1, text, n_bytes) == 0);
    free(back);
done:
    vr_ids_free(&ids);
    return 0;
}
