/*
 * tokenizer.c - fuzz target: any bytes to ids of reduced tokenizers (LLaMA, Qwen2, Llama 3) and back.
 *
 *   bytes -> vr_tokenizer_encode -> ids -> pieces -> vr_text_stream -> the text again, where nothing of it is lost on the way
 *
 * Trap: runs in the root of the project, where the fixtures lie; the tokenizers are opened once and kept.
 *       LLaMA: each stretch between special strings has a dummy blank that the text had not; U+2581 comes back as a blank.
 *       Qwen2: the normal form comes back; special pieces add nothing.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

typedef struct fixture {
    const char *path, *lost[8]; /* what does not come back; NULL behind the last */
    bool dummy_blank, nfc;
    vr_weights *weights;
    vr_tokenizer *tokenizer;
} fixture;

static fixture fixtures[] = {
    { .path = "tests/fixtures/text/stable_vicuna.gguf",
      .lost = { "<s>", "</s>", "<unk>", "[PAD]", "\xe2\x96\x81" },
      .dummy_blank = true },
    { .path = "tests/fixtures/text/qwen2.gguf", .lost = { "<|" }, .nfc = true },
    { .path = "tests/fixtures/text/llama3.gguf", .lost = { "<|" } },
};
#define N_FIXTURES (sizeof fixtures / sizeof fixtures[0])

static void open_fixtures(void)
{
    for (size_t i = 0; i < N_FIXTURES && !fixtures[i].tokenizer; i++) {
        fixture *f = &fixtures[i];
        vr_err e = { 0 };
        if (vr_weights_open(&f->weights, f->path, &e) != VR_OK || vr_tokenizer_open(&f->tokenizer, f->weights, &e) != VR_OK) {
            fprintf(stderr, "%s\n", e.text);
            abort();
        }
    }
}

/* Well-formed, and without what does not come back. */
static bool comes_back(const fixture *f, const char *text, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        for (size_t i = 0; f->lost[i]; i++)
            if (n_bytes - at >= strlen(f->lost[i]) && memcmp(text + at, f->lost[i], strlen(f->lost[i])) == 0) return false;
        uint32_t point;
        const size_t length = vr_utf8_decode(text + at, n_bytes - at, &point);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

static void compare(const fixture *f, const char *text, size_t n_bytes, const char *back, size_t n_back)
{
    char *normal = NULL;
    size_t n_normal = n_bytes;
    vr_err e = { 0 };
    if (!comes_back(f, text, n_bytes)) return;
    if (f->nfc && vr_unicode_nfc(text, n_bytes, &normal, &n_normal, &e) != VR_OK) return;
    if (f->dummy_blank && n_bytes > 0) {
        assert(n_back > 0 && back[0] == ' ');
        back++, n_back--;
    }
    assert(n_back == n_normal && memcmp(back, normal ? normal : text, n_back) == 0);
    free(normal);
}

static void try(const fixture *f, const char *text, size_t n_bytes)
{
    vr_ids ids = { 0 };
    vr_err e = { 0 };
    const int rc = vr_tokenizer_encode(f->tokenizer, text, n_bytes, &ids, &e);
    assert(rc == (n_bytes > VR_MAX_PROMPT ? VR_ERR_LIMIT : VR_OK));
    char *back = malloc(9 * n_bytes + 64); /* 3 * (bytes of all pieces + 4): a wrong byte makes three */
    size_t n = 0;
    vr_text_stream stream = { 0 };
    for (int i = 0; back && i < ids.count; i++) {
        assert(ids.data[i] >= 0 && ids.data[i] < vr_tokenizer_vocab(f->tokenizer));
        const vr_string piece = vr_tokenizer_piece(f->tokenizer, ids.data[i]);
        n += vr_text_stream_push(&stream, piece.data, piece.n_bytes, i + 1 == ids.count, back + n);
    }
    if (back && rc == VR_OK) compare(f, text, n_bytes, back, n);
    free(back);
    vr_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    open_fixtures();
    for (size_t i = 0; i < N_FIXTURES; i++) try(&fixtures[i], (const char *)data, n_bytes);
    return 0;
}
