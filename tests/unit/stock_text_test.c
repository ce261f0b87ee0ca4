/*
 * stock_text_test.c - the keys that a stock text model gets, and damaged heads.
 *
 *   head by hand -> vr_stock_text_adopt -> keys of our files;     any byte of the head changed -> no crash, an error or none
 *
 * Whole models: tests/e2e/text_test.py.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "systems/stock_text.h"
#include "tests/unit/gguf_writer.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "tests/unit/suite.h"

static void key_int(writer *f, const char *key, uint32_t value)
{
    put_key(f, key, 4), put_u32(f, value);
}

/* A SentencePiece model of five pieces and no tensor but the table. */
static void head(writer *f, const char *arch)
{
    static const char *const pieces[] = { "<unk>", "<s>", "</s>", "<|im_end|>", "a" };
    static const int types[] = { 2, 3, 3, 4, 1 };
    char key[64];
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = { { "block_count", 1 },
                    { "embedding_length", 8 },
                    { "feed_forward_length", 16 },
                    { "attention.head_count", 2 },
                    { "context_length", 9000 } };
    put_head(f, 3, 1, 14);
    put_key(f, "general.architecture", 8), put_string(f, arch);
    for (size_t i = 0; i < 5; i++) snprintf(key, sizeof key, "%s.%s", arch, numbers[i].name), key_int(f, key, numbers[i].value);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    put_key(f, key, 6), put_f32(f, 1e-5F);
    put_key(f, "tokenizer.ggml.model", 8), put_string(f, "llama");
    put_array(f, "tokenizer.ggml.tokens", 8, 5);
    for (int i = 0; i < 5; i++) put_string(f, pieces[i]);
    put_array(f, "tokenizer.ggml.token_type", 5, 5);
    for (int i = 0; i < 5; i++) put_u32(f, (uint32_t)types[i]);
    put_array(f, "tokenizer.ggml.scores", 6, 5);
    for (int i = 0; i < 5; i++) put_f32(f, (float)-i);
    key_int(f, "tokenizer.ggml.bos_token_id", 1);
    key_int(f, "tokenizer.ggml.unknown_token_id", 0);
    put_key(f, "tokenizer.chat_template", 8), put_string(f, "<|im_start|>system\nBe kind.<|im_end|>");
    put_tensor(f, "token_embd.weight", 0, 0, 2, (uint64_t)8, (uint64_t)5);
    pad(f, 32);
    for (int i = 0; i < 8 * 5; i++) put_f32(f, (float)i);
}

static int adopt(const writer *f, int context, vr_weights **w, void **bytes, vr_err *e)
{
    *w = NULL;
    ck_assert_int_eq(posix_memalign(bytes, 64, f->n), 0);
    memcpy(*bytes, f->bytes, f->n);
    const int rc = vr_weights_open_memory(w, *bytes, f->n, "stock.gguf", e);
    return rc == VR_OK ? vr_stock_text_adopt(*w, context, e) : rc;
}

static int number(const vr_weights *w, const char *key)
{
    int value = -1;
    vr_err e = { 0 };
    ck_assert_msg(vr_weights_int(w, &value, -1, 1 << 20, &e, "%s", key) == VR_OK, "%s", e.text);
    return value;
}

static bool is(const vr_weights *w, const char *key, const char *expected)
{
    vr_string s = { "", 0 };
    vr_err e = { 0 };
    ck_assert_msg(vr_weights_string(w, &s, &e, "%s", key) == VR_OK, "%s", e.text);
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

START_TEST(keys)
{
    static const char *const archs[] = { "llama", "qwen2" }, *const pairs[] = { "adjacent", "halves" };
    for (int i = 0; i < 2; i++) {
        writer f = { 0 };
        vr_weights *w;
        void *bytes;
        vr_err e = { 0 };
        vr_tokenizer *tokenizer;
        vr_prompt *prompt;
        head(&f, archs[i]);
        ck_assert_msg(adopt(&f, 0, &w, &bytes, &e) == VR_OK, "%s", e.text);
        ck_assert(is(w, "vidrun.system", "text") && is(w, "llama.rope.pairs", pairs[i]));
        ck_assert(is(w, "prompt.template", "chatml") && is(w, "prompt.system.video", "Be kind."));
        ck_assert_int_eq(number(w, "llama.attention.head_count_kv"), 2);
        ck_assert_int_eq(number(w, "llama.rope.dimension_count"), 4);
        ck_assert_int_eq(number(w, "llama.vocab_size"), 5);
        ck_assert_int_eq(number(w, "llama.context_length"), 9000);
        ck_assert_int_eq(number(w, "prompt.context"), 4096);
        ck_assert_msg(vr_tokenizer_open(&tokenizer, w, &e) == VR_OK, "%s", e.text);
        ck_assert_int_eq(vr_tokenizer_bos(tokenizer), 1);
        ck_assert(vr_tokenizer_ends(tokenizer, 3) && !vr_tokenizer_ends(tokenizer, 4));
        ck_assert_uint_eq(vr_tokenizer_piece(tokenizer, 2).n_bytes, 0); /* control pieces are not shown */
        ck_assert_msg(vr_prompt_open(&prompt, w, NULL, tokenizer, &e) == VR_OK, "%s", e.text);
        vr_prompt_free(prompt);
        vr_tokenizer_free(tokenizer);
        vr_weights_free(w);
        free(bytes);
        writer_free(&f);
    }
}
END_TEST

START_TEST(context)
{
    static const struct {
        int asked, context, predict;
    } cases[] = { { 0, 4096, 512 }, { 2, 2, 1 }, { 100, 100, 50 }, { 5000, 5000, 512 }, { 9000, 9000, 512 } };
    vr_weights *w;
    void *bytes;
    vr_err e = { 0 };
    writer f = { 0 };
    head(&f, "llama");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_msg(adopt(&f, cases[i].asked, &w, &bytes, &e) == VR_OK, "%s", e.text);
        ck_assert_int_eq(number(w, "prompt.context"), cases[i].context);
        ck_assert_int_eq(number(w, "sampling.predict"), cases[i].predict);
        vr_weights_free(w);
        free(bytes);
    }
    ck_assert_int_eq(adopt(&f, 9001, &w, &bytes, &e), VR_ERR_USAGE);
    ck_assert_str_eq(e.text, "--context 9001: stock.gguf was made for 9000");
    vr_weights_free(w);
    free(bytes);
    writer_free(&f);
}
END_TEST

START_TEST(other_architectures)
{
    writer f = { 0 };
    vr_weights *w;
    void *bytes;
    vr_err e = { 0 };
    head(&f, "gemma");
    ck_assert_int_eq(adopt(&f, 0, &w, &bytes, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "general.architecture is \"gemma\""), "%s", e.text);
    vr_weights_free(w);
    free(bytes);
    writer_free(&f);
}
END_TEST

/* Every byte of the head once, with a random value. */
START_TEST(damaged_heads)
{
    const char *const given = getenv("VIDRUN_SEED");
    const unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    int n_right = 0;
    writer f = { 0 };
    srand(seed);
    head(&f, "llama");
    for (size_t at = 0; at < f.n; at++) {
        vr_weights *w;
        void *bytes;
        vr_err e = { 0 };
        const unsigned char kept = f.bytes[at];
        f.bytes[at] = (unsigned char)rand();
        const int rc = adopt(&f, 0, &w, &bytes, &e);
        ck_assert(rc == VR_OK || (e.code == rc && e.text[0]));
        vr_tokenizer *tokenizer = NULL;
        if (rc == VR_OK && vr_tokenizer_open(&tokenizer, w, &e) == VR_OK) {
            vr_prompt *prompt = NULL;
            if (vr_prompt_open(&prompt, w, NULL, tokenizer, &e) == VR_OK) n_right++;
            vr_prompt_free(prompt);
        }
        vr_tokenizer_free(tokenizer);
        vr_weights_free(w);
        free(bytes);
        f.bytes[at] = kept;
    }
    printf("stock_text_test: seed %u, %d of %zu damaged heads still right\n", seed, n_right, f.n);
    ck_assert_int_gt(n_right, 0);
    ck_assert_int_lt(n_right, (int)f.n);
    writer_free(&f);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("stock_text");
    TCase *const t = tcase_create("stock_text");
    tcase_add_test(t, keys);
    tcase_add_test(t, context);
    tcase_add_test(t, other_architectures);
    tcase_add_test(t, damaged_heads);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
