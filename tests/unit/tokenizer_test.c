/*
 * tokenizer_test.c - texts to ids and back: recorded ids of the original, the published LLaMA vectors, small vocabularies.
 *
 * Fixtures: tests/fixtures/text/NAME.gguf and NAME.ids (make_tokenizer.py, make_ids.py, make_bpe.py: reduced tokenizers).
 * The full LLaMA tokenizer is read from $VIDRUN_SHARED/tokenizers where that exists.
 */
#include <time.h>

#include "base/limits.h"
#include "tests/unit/suite.h"
#include "tests/unit/tokenizer_support.h"

static char *read_file(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    const long size = ftell(f);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    data[size] = '\0';
    *n_bytes = (size_t)size;
    return data;
}

/* ---- recorded ids ---- */

static size_t unhex(char *out, const char *hex)
{
    size_t n = 0;
    for (unsigned byte; sscanf(hex + 2 * n, "%2x", &byte) == 1; n++) out[n] = (char)byte;
    return n;
}

/* Every line "hex of the text: ids" of a .ids file. */
static int compare_recorded(const subject *s, const char *path)
{
    size_t n_bytes;
    char *lines = read_file(path, &n_bytes);
    ck_assert_msg(lines != NULL, "%s is missing", path);
    char *text = malloc(n_bytes / 2 + 1);
    int n_lines = 0;
    for (char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n_lines++) {
        *end = '\0';
        char *colon = strchr(line, ':');
        ck_assert_ptr_nonnull(colon);
        *colon = '\0';
        const size_t n = unhex(text, line);
        char *ids = encoded(s, text, n);
        const char *expected = colon[1] ? colon + 2 : "";
        ck_assert_msg(strcmp(ids, expected) == 0, "%s:%d: \"%.*s\": got %s, expected %s", path, n_lines + 1, (int)n, text, ids,
                      expected);
        free(ids);
    }
    free(text);
    free(lines);
    return n_lines;
}

START_TEST(recorded)
{
    static const char *const names[] = { "vicuna", "stable_vicuna", "videollamb", "flash_vstream", "qwen2", "llama3" };
    char path[256];
    snprintf(path, sizeof path, "tests/fixtures/text/%s.gguf", names[_i]);
    subject s = subject_of_file(path);
    snprintf(path, sizeof path, "tests/fixtures/text/%s.ids", names[_i]);
    ck_assert_int_gt(compare_recorded(&s, path), 150);
    subject_free(&s);
}
END_TEST

/* ---- the full LLaMA tokenizer ---- */

/* Unsigned LEB128 of protobuf. */
static uint64_t varint(const unsigned char **p)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const unsigned char byte = *(*p)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
}

typedef struct model_piece {
    const char *text;
    size_t n_bytes;
    float score;
    uint32_t type;
} model_piece;

/* SentencePiece { 1: piece, 2: score, 3: type } */
static model_piece read_piece(const unsigned char *p, const unsigned char *end)
{
    model_piece piece = { .type = 1 };
    while (p < end) {
        const uint64_t tag = varint(&p);
        if (tag == (1 << 3 | 2)) {
            piece.n_bytes = (size_t)varint(&p);
            piece.text = (const char *)p;
            p += piece.n_bytes;
        } else if (tag == (2 << 3 | 5)) {
            memcpy(&piece.score, p, 4);
            p += 4;
        } else {
            ck_assert_uint_eq(tag, 3 << 3 | 0);
            piece.type = (uint32_t)varint(&p);
        }
    }
    return piece;
}

/* The pieces of a tokenizer.model: field 1 of ModelProto, they come first. Borrowed from data. */
static int read_pieces(const char *data, size_t n_bytes, model_piece *pieces, int room)
{
    const unsigned char *p = (const unsigned char *)data, *end = p + n_bytes;
    int count = 0;
    while (p < end && *p == (1 << 3 | 2)) {
        p++;
        const size_t n = (size_t)varint(&p);
        ck_assert_int_lt(count, room);
        pieces[count++] = read_piece(p, p + n);
        p += n;
    }
    return count;
}

static subject subject_of_model(const char *data, size_t n_bytes)
{
    enum { ROOM = 40000 };
    model_piece *pieces = calloc(ROOM, sizeof *pieces);
    ck_assert_ptr_nonnull(pieces);
    const int count = read_pieces(data, n_bytes, pieces, ROOM);
    writer f = { 0 };
    put_head(&f, 3, 0, 6);
    put_key(&f, "tokenizer.ggml.model", 8), put_string(&f, "llama");
    put_key(&f, "tokenizer.ggml.add_space_prefix", 7), put_u8(&f, 1);
    put_key(&f, "tokenizer.ggml.unknown_token_id", 4), put_u32(&f, 0);
    put_array(&f, "tokenizer.ggml.tokens", 8, (uint64_t)count);
    for (int i = 0; i < count; i++) put_bytes(&f, pieces[i].text, pieces[i].n_bytes);
    put_array(&f, "tokenizer.ggml.scores", 6, (uint64_t)count);
    for (int i = 0; i < count; i++) put_f32(&f, pieces[i].score);
    put_array(&f, "tokenizer.ggml.token_type", 5, (uint64_t)count);
    for (int i = 0; i < count; i++) put_u32(&f, pieces[i].type);
    free(pieces);
    vr_err e = { 0 };
    subject s;
    ck_assert_msg(subject_open_bytes(&s, &f, &e) == VR_OK, "%s", e.text);
    return s;
}

/* A file of the shared folder, or NULL with a line that says so. */
static char *read_shared(const char *name, size_t *n_bytes)
{
    const char *shared = getenv("VIDRUN_SHARED");
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizers/%s", shared ? shared : "../shared", name);
    char *data = read_file(path, n_bytes);
    if (!data) printf("SKIP: llama_vectors: no %s\n", path);
    return data;
}

START_TEST(llama_vectors)
{
    size_t n_model = 0, n_texts = 0, n_ids = 0;
    char *model = read_shared("llama2/tokenizer.model", &n_model);
    char *texts = read_shared("vectors/llama-spm.inp", &n_texts), *lines = read_shared("vectors/llama-spm.out", &n_ids);
    if (model && texts && lines) {
        static const char separator[] = "\n__ggml_vocab_test__\n";
        subject s = subject_of_model(model, n_model);
        ck_assert_int_eq(vr_tokenizer_vocab(s.tokenizer), 32000);
        int n = 0;
        for (char *text = texts, *line = lines; text; n++) {
            char *next = strstr(text, separator), *end = strchr(line, '\n');
            const size_t n_bytes = next ? (size_t)(next - text) : strlen(text);
            if (end) *end = '\0';
            char *ids = encoded(&s, text, n_bytes);
            ck_assert_msg(strcmp(ids, line + (*line == ' ')) == 0, "vector %d: got %s, expected%s", n, ids, line);
            free(ids);
            line = end ? end + 1 : line + strlen(line);
            text = next ? next + sizeof separator - 1 : NULL;
        }
        ck_assert_int_eq(n, 47);
        subject_free(&s);
    }
    free(model);
    free(texts);
    free(lines);
}
END_TEST

/* ---- small vocabularies ---- */

#define BLANK       "\xe2\x96\x81"
#define REPLACEMENT "\xef\xbf\xbd"
static const int zero = 0, one = 1, two = 2;

static const test_piece letters[] = {
    { "<unk>", 0, 2 }, { "<s>", 0, 3 },      { "</s>", 0, 3 },       { BLANK, -9, 1 }, { "a", -9, 1 },
    { "b", -9, 1 },    { "c", -9, 1 },       { "ab", -2, 1 },        { "bc", -1, 1 },  { "aa", -3, 1 },
    { "aaa", -1, 1 },  { BLANK "a", -8, 1 }, { REPLACEMENT, -9, 1 },
};
#define N_LETTERS ((int)(sizeof letters / sizeof letters[0]))

START_TEST(merges_by_score_then_leftmost)
{
    subject s = subject_of(&(test_vocab){ .pieces = letters, .count = N_LETTERS, .unknown = &zero });
    EXPECT(&s, "", "");
    EXPECT(&s, "abc", "4 8");
    EXPECT(&s, "aba", "7 4");
    EXPECT(&s, "aaaa", "10 4"); /* the leftmost aa, then aaa at once: its score is higher than that of the other aa */
    EXPECT(&s, "aaa", "10");
    EXPECT(&s, "aaaaa", "10 9"); /* a stale pair of the heap must not count */
    EXPECT(&s, " a", "11");
    subject_free(&s);
}
END_TEST

START_TEST(dummy_prefix_and_unknown)
{
    subject s = subject_of(&(test_vocab){ .pieces = letters, .count = N_LETTERS, .unknown = &zero, .dummy_prefix = true });
    EXPECT(&s, "", "");
    EXPECT(&s, "a", "11");
    EXPECT(&s, " a", "3 11");
    EXPECT(&s, "xyza", "3 0 4"); /* a run of unknown characters is one id */
    EXPECT(&s, "xaya", "3 0 4 0 4");
    EXPECT(&s, "\xe2\x82\xff", "3 12 12 12"); /* every wrong byte is one replacement character */
    EXPECT(&s, "\xf0\x9f\x98", "3 12 12 12");
    EXPECT_BYTES(&s, "a\0a", 3, "11 0 4");
    subject_free(&s);
}
END_TEST

START_TEST(byte_fallback)
{
    subject s = subject_of(&(test_vocab){ .pieces = letters, .count = N_LETTERS, .all_bytes = true });
    const int base = N_LETTERS;
    char expected[64];
    snprintf(expected, sizeof expected, "4 %d %d %d", base + 0xc3, base + 0xa9, base + '\n');
    EXPECT(&s, "a\xc3\xa9\n", expected);
    snprintf(expected, sizeof expected, "%d %d %d %d %d %d", base + '<', base + '0', base + 'x', base + '0', base + 'A',
             base + '>');
    EXPECT(&s, "<0x0A>", expected); /* the spelling of a byte piece is no byte */
    subject_free(&s);
    static const test_piece some[] = { { "<unk>", 0, 2 }, { "<0xC3>", 0, 6 } };
    s = subject_of(&(test_vocab){ .pieces = some, .count = 2, .unknown = &zero });
    EXPECT(&s, "\xc3\xa9", "1 0");
    EXPECT(&s, "zz", "0 0"); /* with byte pieces no run is joined */
    subject_free(&s);
}
END_TEST

START_TEST(user_defined_pieces_first)
{
    static const test_piece pieces[] = {
        { "<unk>", 0, 2 }, { "a", -9, 1 },    { "b", -9, 1 }, { "ab", -1, 1 }, { "ba", -9, 4 }, { "bab", 0, 4 },
        { "aab", -1, 1 },  { "xyxyx", 0, 4 }, { "x", 0, 1 },  { "y", 0, 1 },   { "baa", 5, 1 }, { BLANK BLANK, 0, 4 },
    };
    subject s = subject_of(&(test_vocab){ .pieces = pieces, .count = 12, .unknown = &zero });
    EXPECT(&s, "ab", "3");
    EXPECT(&s, "aba", "1 4");  /* found from left to right before any merge */
    EXPECT(&s, "abab", "1 5"); /* the longest */
    EXPECT(&s, "baa", "4 1");  /* never merged on */
    EXPECT(&s, "xyxyxyx", "7 9 8");
    EXPECT(&s, "xyxy", "8 9 8 9");
    EXPECT(&s, "a   a", "1 11 0 1");
    subject_free(&s);
}
END_TEST

START_TEST(unused_pieces_are_taken_apart)
{
    static const test_piece pieces[] = {
        { "<unk>", 0, 2 }, { "a", -9, 1 },  { "b", -9, 5 },    { "c", -9, 1 }, { "ab", -3, 5 },
        { "bc", -2, 1 },   { "abc", 0, 5 }, { "abca", -1, 1 }, { "d", -9, 1 }, { "bca", -1, 5 },
    };
    subject s = subject_of(&(test_vocab){ .pieces = pieces, .count = 10, .unknown = &zero });
    EXPECT(&s, "ab", "1 2"); /* an unused character stays */
    EXPECT(&s, "abc", "1 5");
    EXPECT(&s, "abcd", "1 5 8");
    EXPECT(&s, "bca", "5 1"); /* where it was joined */
    EXPECT(&s, "abca", "7");  /* it does take part in merges */
    subject_free(&s);
}
END_TEST

START_TEST(equal_spellings)
{
    static const test_piece pieces[] = {
        { "<unk>", 0, 2 }, { "a", -9, 1 }, { "a", -9, 1 }, { "b", -9, 1 }, { "ab", -1, 1 },
        { "ab", 0, 1 },    { "", 0, 1 },   { "b", 0, 3 },  { "ab", 0, 3 }, { "", 0, 4 },
    };
    subject s = subject_of(&(test_vocab){ .pieces = pieces, .count = 10, .unknown = &zero });
    EXPECT(&s, "a", "1"); /* the first of equals */
    EXPECT(&s, "b", "7"); /* the reserved one of two name spaces, as in the library */
    EXPECT(&s, "ab", "8");
    ck_assert_int_eq(vr_tokenizer_find(s.tokenizer, "a", 1), 1);
    ck_assert_int_eq(vr_tokenizer_find(s.tokenizer, "", 0), -1);
    ck_assert_int_eq(vr_tokenizer_find(s.tokenizer, "abc", 3), -1);
    ck_assert_uint_eq(vr_tokenizer_piece(s.tokenizer, 6).n_bytes, 0);
    subject_free(&s);
}
END_TEST

START_TEST(special_strings)
{
    static const test_piece pieces[] = {
        { "<unk>", 0, 2 },    { "<s>", 0, 3 }, { "</s>", 0, 3 },   { BLANK, -9, 1 }, { "a", -9, 1 },
        { BLANK "a", -1, 1 }, { "[P]", 0, 4 }, { "[P][Q]", 0, 4 }, { "[Q]", 0, 1 },
    };
    const int special[] = { 1, 2, 6, 7, 8 }, strip[] = { 0, 0, 1, 1, 0 };
    subject s = subject_of(&(test_vocab){ .pieces = pieces,
                                          .count = 9,
                                          .unknown = &zero,
                                          .dummy_prefix = true,
                                          .bos = &one,
                                          .eos = &two,
                                          .special = special,
                                          .n_special = 5,
                                          .strip = strip,
                                          .n_strip = 5 });
    ck_assert_int_eq(vr_tokenizer_bos(s.tokenizer), 1);
    ck_assert(vr_tokenizer_ends(s.tokenizer, 2) && !vr_tokenizer_ends(s.tokenizer, 1) && !vr_tokenizer_ends(s.tokenizer, -1));
    EXPECT(&s, "<s>", "1");
    EXPECT(&s, "a<s>a", "5 1 5"); /* each stretch has its own dummy prefix */
    EXPECT(&s, "a <s> a", "5 3 1 3 5");
    EXPECT(&s, "</s><s>", "2 1");
    EXPECT(&s, "a [P] a", "5 6 5");
    EXPECT(&s, "a \t\n\xc2\xa0\xe3\x80\x80[P]\x1c\xc2\x85 a ", "5 6 5 3");
    EXPECT(&s, " [P]  [P] ", "6 6");         /* nothing is left of the stretches */
    EXPECT(&s, "a\xe2\x80\x8b[P]", "5 0 6"); /* a zero width space is no blank */
    EXPECT(&s, "[P][Q]", "7");               /* the longest */
    EXPECT(&s, "[P][P][Q]", "6 7");
    EXPECT(&s, "<s> [P]", "1 6");
    EXPECT(&s, "<s", "3 0");
    subject_free(&s);
}
END_TEST

static const test_piece shown[] = {
    { "<unk>", 0, 2 },    { "<s>", 0, 3 },     { "</s>", 0, 3 }, { BLANK, -9, 1 },       { "a", -9, 1 },
    { BLANK "a", -1, 1 }, { BLANK "b", 0, 1 }, { "[P]", 0, 4 },  { BLANK BLANK, -8, 1 },
};
static const int shown_special[] = { 0, 1, 2, 7 }, no[] = { 0, 0, 0, 0 };

static test_vocab shown_vocab(const int *legacy)
{
    return (test_vocab){ .pieces = shown,
                         .count = 9,
                         .unknown = &zero,
                         .dummy_prefix = true,
                         .special = shown_special,
                         .n_special = 4,
                         .strip = no,
                         .n_strip = 4,
                         .legacy = legacy };
}

/* Expected: what transformers 4.39 does with legacy=False and pieces like these. */
START_TEST(not_legacy)
{
    test_vocab v = shown_vocab(&zero);
    subject s = subject_of(&v);
    EXPECT(&s, "", "");
    EXPECT(&s, "a", "5");
    EXPECT(&s, " a", "3 5");
    EXPECT(&s, "a</s>a", "5 2 4"); /* no dummy prefix behind a special string */
    EXPECT(&s, "a</s> a", "5 2 5");
    EXPECT(&s, "a</s>" BLANK "a", "5 2 5"); /* U+2581 is a blank */
    EXPECT(&s, "</s>a", "2 4");             /* the prefix alone is dropped before a control token */
    EXPECT(&s, "[P]a", "3 7 4");            /* not before an added one */
    EXPECT(&s, " </s>", "8 2");             /* two blanks are not one */
    EXPECT(&s, "</s></s>[P]", "2 2 7");
    EXPECT(&s, "<unk>", "0");
    subject_free(&s);
    v.dummy_prefix = false;
    s = subject_of(&v);
    EXPECT(&s, "a</s>a", "4 2 4");
    EXPECT(&s, "[P] a", "7 5");
    EXPECT(&s, " </s>", "2"); /* a blank of the text likewise */
    EXPECT(&s, " [P]", "3 7");
    EXPECT(&s, " ", "3");
    subject_free(&s);
}
END_TEST

/* Expected: the same of transformers 4.31. */
START_TEST(prefix_taken_off)
{
    test_vocab v = shown_vocab(&zero);
    v.strip_prefix = &one;
    subject s = subject_of(&v);
    EXPECT(&s, "a</s>a", "5 2 4");
    EXPECT(&s, "a</s> a", "5 2 3 5"); /* with the prefix, not without */
    EXPECT(&s, "a</s>b", "5 2 0");    /* what is left of the piece is none */
    EXPECT(&s, "a</s>c", "5 2 0");    /* U+2581 alone, then an unknown one */
    EXPECT(&s, "</s>a", "2 4");
    EXPECT(&s, "[P]a", "7 4");
    subject_free(&s);
    v.legacy = &one; /* then it means nothing */
    s = subject_of(&v);
    EXPECT(&s, "a</s>a", "5 2 5");
    subject_free(&s);
}
END_TEST

START_TEST(blanks_at_one_side)
{
    const int left[] = { 0, 1, 0, 0 }, right[] = { 0, 0, 1, 0 };
    test_vocab v = shown_vocab(NULL);
    v.lstrip = left, v.rstrip = right;
    subject s = subject_of(&v);
    EXPECT(&s, "a <s> a", "5 1 3 5");
    EXPECT(&s, "a </s> a", "5 3 2 5");
    EXPECT(&s, "a [P] a", "5 3 7 3 5");
    EXPECT(&s, "  <s>  </s>  ", "1 8 3 2");
    subject_free(&s);
    v.legacy = &zero;
    s = subject_of(&v);
    EXPECT(&s, "  <s>", "1");
    EXPECT(&s, "a" BLANK "<s> a", "5 1 5");
    subject_free(&s);
}
END_TEST

START_TEST(special_pieces_skipped)
{
    test_vocab v = shown_vocab(NULL);
    v.skip_special = true;
    subject s = subject_of(&v);
    for (int32_t id = 0; id < 3; id++) ck_assert_uint_eq(vr_tokenizer_piece(s.tokenizer, id).n_bytes, 0);
    ck_assert_uint_eq(vr_tokenizer_piece(s.tokenizer, 7).n_bytes, 3); /* added, not special */
    subject_free(&s);
}
END_TEST

START_TEST(texts_of_pieces)
{
    static const test_piece pieces[] = {
        { "<unk>", 0, 2 },     { BLANK "a" BLANK BLANK, -9, 1 },
        { "\xe2\x96", 0, 1 },  { BLANK "<s>", 0, 3 },
        { BLANK BLANK, 0, 4 }, { "<0x41>", 0, 1 },
    };
    subject s = subject_of(&(test_vocab){ .pieces = pieces, .count = 6, .all_bytes = true });
    static const char *const expected[] = { "<unk>", " a  ", "\xe2\x96", BLANK "<s>", "  ", "<0x41>" };
    for (int32_t id = 0; id < 6; id++) {
        const vr_string text = vr_tokenizer_piece(s.tokenizer, id);
        ck_assert_uint_eq(text.n_bytes, strlen(expected[id]));
        ck_assert_mem_eq(text.data, expected[id], text.n_bytes);
    }
    for (int b = 0; b < 256; b++) {
        const vr_string text = vr_tokenizer_piece(s.tokenizer, 6 + b);
        ck_assert_uint_eq(text.n_bytes, 1);
        ck_assert_int_eq((unsigned char)text.data[0], b);
    }
    subject_free(&s);
}
END_TEST

/* ---- long texts ---- */

static void encode_long(const subject *s, const char *unit, const char *what)
{
    const size_t n = strlen(unit);
    char *text = malloc(VR_MAX_PROMPT);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < VR_MAX_PROMPT; i++) text[i] = unit[i % n];
    const clock_t begin = clock();
    vr_ids ids = encode(s, text, VR_MAX_PROMPT);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("1 MB of %s: %d ids, %.0f ms\n", what, ids.count, 1e3 * seconds);
    ck_assert_int_gt(ids.count, 1000);
    ck_assert_double_lt(seconds, 30); /* a quadratic search takes hours; sanitizers take seconds */
    vr_ids_free(&ids);
    free(text);
}

START_TEST(a_megabyte)
{
    subject s = subject_of_file("tests/fixtures/text/vicuna.gguf");
    encode_long(&s, "a", "one letter");
    encode_long(&s, " ", "blanks");
    encode_long(&s, "What is the dog doing? It runs. ", "English");
    encode_long(&s, "</s> ", "specials");
    encode_long(&s, "</s", "almost specials");
    encode_long(&s, "\xff", "wrong bytes");
    vr_err e = { 0 };
    vr_ids ids = { 0 };
    char *text = calloc(VR_MAX_PROMPT + 1, 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(vr_tokenizer_encode(s.tokenizer, text, VR_MAX_PROMPT + 1, &ids, &e), VR_ERR_LIMIT);
    ck_assert_str_eq(e.text, "a text of 1048577 bytes is too long to tokenise; the limit is 1048576");
    ck_assert_int_eq(ids.count, 0);
    free(text);
    subject_free(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *t = tcase_create("tokenizer");
    tcase_set_timeout(t, 900);
    tcase_add_loop_test(t, recorded, 0, 6);
    tcase_add_test(t, llama_vectors);
    tcase_add_test(t, merges_by_score_then_leftmost);
    tcase_add_test(t, dummy_prefix_and_unknown);
    tcase_add_test(t, byte_fallback);
    tcase_add_test(t, user_defined_pieces_first);
    tcase_add_test(t, unused_pieces_are_taken_apart);
    tcase_add_test(t, equal_spellings);
    tcase_add_test(t, special_strings);
    tcase_add_test(t, not_legacy);
    tcase_add_test(t, prefix_taken_off);
    tcase_add_test(t, blanks_at_one_side);
    tcase_add_test(t, special_pieces_skipped);
    tcase_add_test(t, texts_of_pieces);
    tcase_add_test(t, a_megabyte);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
