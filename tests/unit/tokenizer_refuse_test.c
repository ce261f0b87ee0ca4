/*
 * tokenizer_refuse_test.c - tokenizers of damaged or malicious files: each is refused with its reason, or read harmlessly.
 */
#include "base/limits.h"
#include "tests/unit/suite.h"
#include "tests/unit/tokenizer_support.h"

static const int zero = 0;

static const test_piece pieces[] = { { "<unk>", 0, 2 }, { "<s>", 0, 3 }, { "a", -1, 1 } };

static void refused(const test_vocab *v, const char *message)
{
    vr_err e = { 0 };
    subject s;
    writer f = { 0 };
    write_vocab(&f, v);
    ck_assert_int_eq(subject_open_bytes(&s, &f, &e), VR_ERR_WEIGHTS);
    ck_assert_str_eq(e.text, message);
    ck_assert_ptr_null(s.tokenizer);
    subject_free(&s);
}

/* A right vocabulary with other pieces, or with one member changed. */
static test_vocab base(void)
{
    return (test_vocab){ .pieces = pieces, .count = 3, .unknown = &zero };
}

#define KINDS "\"llama\" (SentencePiece BPE) and \"gpt2\" (byte-level BPE)"

START_TEST(kind)
{
    test_vocab v = base();
    v.kind = "gpt2\x1b[2J";
    refused(
        &v,
        "tokenizer.bin: key \"tokenizer.ggml.model\" is \"gpt2\\x1b[2J\"; this version reads " KINDS);
    v.kind = "llam";
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.model\" is \"llam\"; this version reads " KINDS);
}
END_TEST

START_TEST(sizes)
{
    test_vocab v = base();
    v.n_types = -1;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.token_type\" is missing");
    v.count = 0;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.tokens\" has 0 elements, expected 1 to 1048576");
    v = base();
    v.n_types = 2;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.token_type\" has 2 elements, \"tokenizer.ggml.tokens\" 3");
    v = base();
    v.n_scores = 4;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.scores\" has 4 elements, the vocabulary 3");
    v.n_scores = -1;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.scores\" is missing");
}
END_TEST

START_TEST(too_many_pieces)
{
    writer f = { 0 };
    put_head(&f, 3, 0, 2);
    put_array(&f, "tokenizer.ggml.tokens", 8, VR_MAX_VOCAB + 1);
    put_zeros(&f, 8 * ((size_t)VR_MAX_VOCAB + 1)); /* empty strings */
    put_array(&f, "tokenizer.ggml.token_type", 5, VR_MAX_VOCAB + 1);
    put_zeros(&f, 4 * ((size_t)VR_MAX_VOCAB + 1));
    vr_err e = { 0 };
    subject s;
    ck_assert_int_eq(subject_open_bytes(&s, &f, &e), VR_ERR_WEIGHTS);
    ck_assert_str_eq(e.text, "tokenizer.bin: key \"tokenizer.ggml.tokens\" has 1048577 elements, expected 1 to 1048576");
    subject_free(&s);
}
END_TEST

START_TEST(types_and_scores)
{
    test_piece changed[3];
    test_vocab v = base();
    v.pieces = changed;
    for (int i = 0; i < 2; i++) {
        memcpy(changed, pieces, sizeof pieces);
        changed[1].type = i ? 7 : 0;
        refused(&v, i ? "tokenizer.bin: key \"tokenizer.ggml.token_type\": id 1 has type 7, expected 1 to 6"
                      : "tokenizer.bin: key \"tokenizer.ggml.token_type\": id 1 has type 0, expected 1 to 6");
    }
    memcpy(changed, pieces, sizeof pieces);
    const uint32_t bits = 0x7fc00000; /* NaN */
    memcpy(&changed[2].score, &bits, sizeof bits);
    vr_err e = { 0 };
    subject s;
    writer f = { 0 };
    write_vocab(&f, &v);
    ck_assert_int_eq(subject_open_bytes(&s, &f, &e), VR_ERR_WEIGHTS);
    ck_assert_ptr_nonnull(strstr(e.text, "tokenizer.ggml.scores"));
    subject_free(&s);
}
END_TEST

START_TEST(ids)
{
    const int three = 3, negative = -1;
    test_vocab v = base();
    v.bos = &three;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.bos_token_id\" holds 3, accepted are 0 to 2");
    v = base(), v.eos = &negative;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.eos_token_id\" holds 4294967295, accepted are 0 to 2");
    v = base(), v.unknown = &three;
    refused(&v, "tokenizer.bin: key \"tokenizer.ggml.unknown_token_id\" holds 3, accepted are 0 to 2");
    v.unknown = NULL;
    refused(&v, "tokenizer.bin: the tokenizer has neither an unknown id nor all 256 byte pieces (only 0)");
}
END_TEST

START_TEST(specials)
{
    const int beyond[] = { 1, 3 }, negative[] = { -1 }, strip[] = { 0, 1, 0, 0 };
    test_vocab v = base();
    v.special = beyond, v.n_special = 2, v.strip = strip, v.n_strip = 2;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\": element 1 is 3, the vocabulary has 3 ids");
    v.special = negative, v.n_special = 1, v.n_strip = 1;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\": element 0 is -1, the vocabulary has 3 ids");
    v.n_strip = 2;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\" has 1 elements, \"tokenizer.special_strip\" 2, the vocabulary 3");
    v.n_strip = 0;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_strip\" is missing");
    const int many[] = { 0, 0, 0, 0 };
    v.special = many, v.n_special = v.n_strip = 4;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\" has 4 elements, \"tokenizer.special_strip\" 4, the vocabulary 3");
    const test_piece empty[] = { { "<unk>", 0, 2 }, { "", 0, 3 }, { "a", -1, 1 } };
    v.pieces = empty, v.special = beyond, v.n_special = v.n_strip = 1;
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\": id 1 is spelled with 0 bytes, expected 1 to 256");
}
END_TEST

START_TEST(searched_pieces)
{
    char text[258];
    memset(text, 'x', 257);
    text[257] = '\0';
    for (int type = 1; type <= 6; type++) {
        const test_piece with[] = { { "<unk>", 0, 2 }, { text, 0, type } };
        const test_vocab v = { .pieces = with, .count = 2, .unknown = &zero };
        if (type == 4 || type == 5) {
            refused(&v, type == 4
                            ? "tokenizer.bin: key \"tokenizer.ggml.tokens\": id 1 has type 4 and 257 bytes, more than 256"
                            : "tokenizer.bin: key \"tokenizer.ggml.tokens\": id 1 has type 5 and 257 bytes, more than 256");
        } else {
            subject s = subject_of(&v);
            EXPECT(&s, text, "0");
            subject_free(&s);
        }
    }
    const test_piece cut[] = { { "<unk>", 0, 2 }, { "a\xe2\x96", 0, 4 } };
    refused(&(test_vocab){ .pieces = cut, .count = 2, .unknown = &zero },
            "tokenizer.bin: key \"tokenizer.ggml.tokens\": id 1 is user-defined and not valid UTF-8");
    const int special[] = { 1 }, strip[] = { 0 };
    const test_piece with[] = { { "<unk>", 0, 2 }, { text, 0, 3 } };
    test_vocab v = {
        .pieces = with, .count = 2, .unknown = &zero, .special = special, .n_special = 1, .strip = strip, .n_strip = 1
    };
    refused(&v, "tokenizer.bin: key \"tokenizer.special_ids\": id 1 is spelled with 257 bytes, expected 1 to 256");
    text[256] = '\0';
    subject s = subject_of(&v);
    EXPECT(&s, text, "1");
    subject_free(&s);
}
END_TEST

/* Pieces that are no UTF-8, that overlap characters, and scores of every kind must only give some ids. */
START_TEST(wrong_but_harmless)
{
    const test_piece with[] = {
        { "<unk>", 0, 2 }, { "\xe2", 0, 5 },     { "\x96\x81", 0, 1 }, { "\xff", 0, 1 },   { "\xc3", -1, 1 },
        { "\xa9", -1, 1 }, { "\xf0\x9f", 0, 5 }, { "<0x1>", 0, 6 },    { "<0xFF>", 0, 1 }, { "<0xfe>", 0, 6 },
        { "a", 1e38f, 1 }, { "aa", -1e38f, 1 },  { "aaa", 1e38f, 5 },  { "aaaa", 0, 5 },
    };
    subject s = subject_of(&(test_vocab){ .pieces = with, .count = 14, .unknown = &zero, .dummy_prefix = true });
    srand(1);
    for (int i = 0; i < 20000; i++) {
        static const char *const parts[] = { "a",        "aa",           " ",     "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff",
                                             "\xe2\x82", "\xe2\x96\x81", "<0x1>", "" };
        char text[128] = "";
        for (int n = rand() % 12; n > 0; n--) strcat(text, parts[rand() % 10]);
        vr_ids found = encode(&s, text, strlen(text));
        for (int k = 0; k < found.count; k++) ck_assert(found.data[k] >= 0 && found.data[k] < 14);
        vr_ids_free(&found);
    }
    subject_free(&s);
}
END_TEST

/* Distinct pieces that all belong into the first slots of the hash table (vocab.c), as in a file made for that. */
START_TEST(colliding_pieces)
{
    enum { COUNT = 5000 };
    writer f = { 0 };
    put_head(&f, 3, 0, 2);
    put_array(&f, "tokenizer.ggml.tokens", 8, COUNT);
    uint32_t n_slots = 16;
    while (n_slots < 2 * COUNT) n_slots *= 2;
    int n = 0;
    for (uint32_t x = 0; n < COUNT; x++) {
        char text[16];
        const int length = snprintf(text, sizeof text, "%x", (unsigned)x);
        uint64_t h = 0xcbf29ce484222325u;
        for (int i = 0; i < length; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
        if (((uint32_t)(h ^ h >> 32) & (n_slots - 1)) >= 64) continue;
        put_string(&f, text);
        n++;
    }
    put_array(&f, "tokenizer.ggml.token_type", 5, COUNT);
    for (int i = 0; i < COUNT; i++) put_u32(&f, 1);
    vr_err e = { 0 };
    subject s;
    ck_assert_int_eq(subject_open_bytes(&s, &f, &e), VR_ERR_WEIGHTS);
    ck_assert_str_eq(e.text, "tokenizer.bin: key \"tokenizer.ggml.tokens\": more than 1024 pieces with the same hash");
    subject_free(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer_refuse");
    TCase *t = tcase_create("refuse");
    tcase_set_timeout(t, 900);
    tcase_add_test(t, kind);
    tcase_add_test(t, sizes);
    tcase_add_test(t, too_many_pieces);
    tcase_add_test(t, types_and_scores);
    tcase_add_test(t, ids);
    tcase_add_test(t, specials);
    tcase_add_test(t, searched_pieces);
    tcase_add_test(t, wrong_but_harmless);
    tcase_add_test(t, colliding_pieces);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
