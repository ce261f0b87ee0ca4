/*
 * bpe_test.c - byte-level BPE: how texts are split, merges, normal form, wrong weight files, the published vectors.
 *
 *   letters of all bytes + pieces + merges -> weight file in memory -> tokenizer -> ids
 *
 * Recorded ids of reduced Qwen2 and Llama 3 tokenizers are compared in tokenizer_test.c. The whole ones are converted from
 * $VIDRUN_SHARED/tokenizers where that exists.
 */
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"
#include "tests/unit/tokenizer_support.h"
#include "text/split.h"

/* ---- splitting ---- */

typedef struct split_case {
    const char *text, *qwen2, *llama3; /* parts with | between them; llama3 NULL: the same */
} split_case;

static const split_case splits[] = {
    { "Hello world", "Hello| world", NULL },
    { "  a", " | a", NULL },
    { " \n a\n", " \n| a|\n", NULL },
    { " \n \t\n  b", " \n \t\n| | b", NULL },
    { "a   ", "a|   ", NULL },
    { "a \t", "a| \t", NULL },
    { "\ta", "\ta", NULL },
    { "\na", "\n|a", NULL },
    { "\r\n\r\na", "\r\n\r\n|a", NULL },
    { "1234567", "1|2|3|4|5|6|7", "123|456|7" },
    { "a1b22", "a|1|b|2|2", "a|1|b|22" },
    { " 12", " |1|2", " |12" },
    { "it's I'LL we'Ve they'Re 'Tis", "it|'s| I|'LL| we|'Ve| they|'Re| '|Tis", NULL },
    { "'\xc5\xbfx 'x", "'\xc5\xbf|x| '|x", NULL },
    { "'r", "'r", NULL },
    { "'", "'", NULL },
    { "don't!?\n\nNow", "don|'t|!?\n\n|Now", NULL },
    { "a  != b", "a| | !=| b", NULL },
    { " ...\r\n x", " ...\r\n| x", NULL },
    { "<|im", "<|\1|im", NULL }, /* \1: a bar of the text */
    { "\xc2\xa0\xc2\xa0z", "\xc2\xa0|\xc2\xa0z", NULL },
    { "\xe3\x80\x80 \xe3\x80\x80", "\xe3\x80\x80 \xe3\x80\x80", NULL },
    { "\x1c\x1d", "\x1c\x1d", NULL },
    { "\xd9\xa3\xd9\xa4\xc2\xbd\xe2\x85\xa7", "\xd9\xa3|\xd9\xa4|\xc2\xbd|\xe2\x85\xa7",
      "\xd9\xa3\xd9\xa4\xc2\xbd|\xe2\x85\xa7" },
    { "e\xcc\x81z", "e|\xcc\x81z", NULL }, /* a mark is no letter */
    { "\xe6\x97\xa5\xe6\x9c\xac!", "\xe6\x97\xa5\xe6\x9c\xac|!", NULL },
};

/* GPT-2's expression, and SmolLM's digits */
static const struct {
    const char *text, *gpt2, *smollm; /* smollm NULL: the same */
} old_splits[] = {
    { "Hello world", "Hello| world", NULL },
    { "  a\n b", " | a|\n| b", NULL },
    { "a\n\nb", "a|\n|\n|b", NULL },
    { "a \t", "a| \t", NULL },
    { "in 1969, 20 x", "in| 1969|,| 20| x", "in| |1|9|6|9|,| |2|0| x" },
    { "a  12", "a| | 12", "a|  |1|2" },
    { "it's I'LL", "it|'s| I|'|LL", NULL },
    { "x !?\n", "x| !?|\n", NULL },
    { "\ta", "\t|a", NULL },
    { "e\xcc\x81z", "e|\xcc\x81|z", NULL },
};

static void check_split(const char *text, const char *expected, vr_split_rule rule)
{
    char got[256];
    size_t n = 0;
    for (size_t at = 0, length; at < strlen(text); at += length) {
        length = vr_split_first(text + at, strlen(text) - at, rule);
        ck_assert_uint_gt(length, 0);
        if (at > 0) got[n++] = '|';
        for (size_t i = 0; i < length; i++) got[n++] = text[at + i] == '|' ? '\1' : text[at + i];
    }
    got[n] = '\0';
    char wanted[256]; /* "|\1" in the table is a bar of the text behind a sign, written "\1" here */
    n = 0;
    for (const char *c = expected; *c; c++)
        if (!(c[0] == '|' && c[1] == '\1')) wanted[n++] = *c;
    wanted[n] = '\0';
    ck_assert_msg(strcmp(got, wanted) == 0, "\"%s\": got %s, expected %s", text, got, wanted);
}

START_TEST(split)
{
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        check_split(splits[i].text, splits[i].qwen2, VR_SPLIT_QWEN2);
        check_split(splits[i].text, splits[i].llama3 ? splits[i].llama3 : splits[i].qwen2, VR_SPLIT_LLAMA3);
    }
}
END_TEST

START_TEST(split_of_gpt2_and_smollm)
{
    for (size_t i = 0; i < sizeof old_splits / sizeof old_splits[0]; i++) {
        check_split(old_splits[i].text, old_splits[i].gpt2, VR_SPLIT_GPT2);
        check_split(old_splits[i].text, old_splits[i].smollm ? old_splits[i].smollm : old_splits[i].gpt2, VR_SPLIT_SMOLLM);
    }
}
END_TEST

/* ---- tokenizers made by hand ---- */

typedef struct bpe_vocab {     /* zero: the key is left out, or as in a right file */
    const char *const *pieces; /* behind the letters of the 256 bytes, which have the ids 0 to 255 */
    int n_pieces;
    const int *types; /* of pieces; NULL: all normal */
    const char *const *merges;
    int n_merges;
    const char *pre;     /* NULL: "qwen2" */
    const char *missing; /* a key that is not written */
    int skipped_letter;  /* b + 1: byte b has a letter that stands for nothing */
    const int *eos_ids;
    int n_eos_ids;
    bool ignore_merges, nfc, skip_special;
} bpe_vocab;

/* The letter of byte b, as in OpenAI's encoder.py. */
static void letter(char out[3], int b)
{
    int point = b, others = 0;
    for (int i = 0; i <= b; i++) {
        const bool printable = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
        if (i == b && !printable) point = 256 + others;
        if (!printable) others++;
    }
    snprintf(out, 3, point < 128 ? "%c" : "%c%c", point < 128 ? point : 0xc0 | point >> 6, 0x80 | (point & 63));
}

static bool has(const bpe_vocab *v, const char *key)
{
    return !v->missing || strcmp(v->missing, key) != 0;
}

static void write_pieces(writer *f, const bpe_vocab *v)
{
    put_array(f, "tokenizer.ggml.tokens", 8, 256 + (uint64_t)v->n_pieces);
    for (int b = 0; b < 256; b++) {
        char text[3];
        letter(text, b);
        put_string(f, b + 1 == v->skipped_letter ? "\xc5\xbf" : text);
    }
    for (int i = 0; i < v->n_pieces; i++) put_string(f, v->pieces[i]);
    put_array(f, "tokenizer.ggml.token_type", 5, 256 + (uint64_t)v->n_pieces);
    for (int i = 0; i < 256; i++) put_u32(f, i + 1 == v->skipped_letter ? 5 : 1);
    for (int i = 0; i < v->n_pieces; i++) put_u32(f, v->types ? (uint32_t)v->types[i] : 1);
}

static int open_bpe(subject *s, const bpe_vocab *v, vr_err *e)
{
    static const char *const optional[] = { "tokenizer.ggml.pre", "tokenizer.ggml.merges", "tokenizer.ignore_merges",
                                            "tokenizer.nfc" };
    writer f = { 0 };
    uint64_t n_keys = 4 + (v->n_eos_ids > 0);
    for (size_t i = 0; i < 4; i++) n_keys += has(v, optional[i]);
    put_head(&f, 3, 0, n_keys);
    put_key(&f, "tokenizer.ggml.model", 8), put_string(&f, "gpt2");
    put_key(&f, "tokenizer.skip_special", 7), put_u8(&f, v->skip_special);
    write_pieces(&f, v);
    if (has(v, optional[0])) put_key(&f, optional[0], 8), put_string(&f, v->pre ? v->pre : "qwen2");
    if (has(v, optional[1])) put_array(&f, optional[1], 8, (uint64_t)v->n_merges);
    for (int i = 0; has(v, optional[1]) && i < v->n_merges; i++) put_string(&f, v->merges[i]);
    if (has(v, optional[2])) put_key(&f, optional[2], 7), put_u8(&f, v->ignore_merges);
    if (has(v, optional[3])) put_key(&f, optional[3], 7), put_u8(&f, v->nfc);
    if (v->n_eos_ids > 0) put_array(&f, "tokenizer.eos_ids", 5, (uint64_t)v->n_eos_ids);
    for (int i = 0; i < v->n_eos_ids; i++) put_u32(&f, (uint32_t)v->eos_ids[i]);
    return subject_open_bytes(s, &f, e);
}

static subject subject_bpe(const bpe_vocab *v)
{
    vr_err e = { 0 };
    subject s;
    ck_assert_msg(open_bpe(&s, v, &e) == VR_OK, "%s", e.text);
    return s;
}

static const char *const pieces[] = { "ab",
                                      "bc",
                                      "abc",
                                      "aa",
                                      "xyz",
                                      ("\xc4\xa0"
                                       "a"),
                                      "abca",
                                      "ca" };
static const char *const merges[] = { "b c", "a b", "a bc", "a a", "\xc4\xa0 a", "c a", "ab ca" };
static const int a = 'a', b = 'b', c = 'c';

START_TEST(merges_by_rank_then_leftmost)
{
    subject s = subject_bpe(&(bpe_vocab){ .pieces = pieces, .n_pieces = 8, .merges = merges, .n_merges = 7 });
    char expected[64];
    EXPECT(&s, "", "");
    EXPECT(&s, "abc", "258"); /* bc first, so that ab and c never meet */
    snprintf(expected, sizeof expected, "259 %d", a);
    EXPECT(&s, "aaa", expected);
    EXPECT(&s, "aaaa", "259 259");
    snprintf(expected, sizeof expected, "258 %d", a);
    EXPECT(&s, "abca", expected); /* ab and ca would make one piece, abc and a do not */
    EXPECT(&s, "ab", "256");
    snprintf(expected, sizeof expected, "%d 256 %d %d 256", b, ' ', ' ');
    EXPECT(&s, "bab  ab", expected);
    EXPECT(&s, "abc abc aa a", "258 32 258 32 259 261");
    EXPECT(&s, "xyz", "120 121 122"); /* no merges lead to it */
    subject_free(&s);
}
END_TEST

START_TEST(whole_parts)
{
    subject s =
        subject_bpe(&(bpe_vocab){ .pieces = pieces, .n_pieces = 8, .merges = merges, .n_merges = 7, .ignore_merges = true });
    EXPECT(&s, "xyz", "260");
    EXPECT(&s, "xyzxyz", "120 121 122 120 121 122");
    EXPECT(&s, "abca", "262");
    EXPECT(&s, "abc", "258");
    char expected[64];
    snprintf(expected, sizeof expected, "%d", c);
    EXPECT(&s, "c", expected);
    subject_free(&s);
}
END_TEST

START_TEST(normal_form_and_wrong_bytes)
{
    subject s = subject_bpe(&(bpe_vocab){ .nfc = true });
    EXPECT(&s, "e\xcc\x81", "195 169");
    EXPECT(&s, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "234 176 129");
    EXPECT(&s, "\xff\xe2\x82", "239 191 189 239 191 189 239 191 189");
    EXPECT(&s, "e\xff\xcc\x81", "101 239 191 189 204 129"); /* wrong bytes are replaced before */
    EXPECT_BYTES(&s, "\0", 1, "0");
    subject_free(&s);
    s = subject_bpe(&(bpe_vocab){ 0 });
    EXPECT(&s, "e\xcc\x81", "101 204 129");
    subject_free(&s);
}
END_TEST

/* SmolLM's vocabulary lacks bytes that text hardly ever has. */
START_TEST(bytes_without_a_piece)
{
    subject s = subject_bpe(&(bpe_vocab){ .pre = "smollm", .skipped_letter = 'Q' + 1 });
    EXPECT(&s, "PQR", "80 82");
    EXPECT(&s, "Q", "");
    EXPECT(&s, "12", "49 50");
    subject_free(&s);
}
END_TEST

START_TEST(texts_and_ends)
{
    static const char *const added[] = { "<|end|>", "<tool>", "<unused>", "\xc4\xa0\xc4\x8a" };
    static const int types[] = { 3, 4, 5, 1 }, eos[] = { 258, 0 };
    for (int skip = 0; skip < 2; skip++) {
        subject s = subject_bpe(&(bpe_vocab){
            .pieces = added, .n_pieces = 4, .types = types, .eos_ids = eos, .n_eos_ids = 2, .skip_special = skip });
        for (int i = 0; i < 256; i++) {
            const vr_string text = vr_tokenizer_piece(s.tokenizer, i);
            ck_assert_uint_eq(text.n_bytes, 1);
            ck_assert_int_eq((unsigned char)text.data[0], i);
        }
        const char *const expected[] = { skip ? "" : "<|end|>", "<tool>", "", " \n" };
        for (int i = 0; i < 4; i++) {
            const vr_string text = vr_tokenizer_piece(s.tokenizer, 256 + i);
            ck_assert_uint_eq(text.n_bytes, strlen(expected[i]));
            ck_assert_mem_eq(text.data, expected[i], text.n_bytes);
        }
        ck_assert(vr_tokenizer_ends(s.tokenizer, 258) && vr_tokenizer_ends(s.tokenizer, 0));
        ck_assert(!vr_tokenizer_ends(s.tokenizer, 1) && !vr_tokenizer_ends(s.tokenizer, -1));
        ck_assert_int_eq(vr_tokenizer_find(s.tokenizer, "<|end|>", 7), 256);
        subject_free(&s);
    }
}
END_TEST

/* ---- wrong files ---- */

static const char *const three[] = { "ab", "a\xc4\x80 ", "abab" };
static const int control[] = { 3 }, far[] = { 300 }, normal_and_wrong[] = { 1, 1 };

static const struct {
    bpe_vocab v;
    const char *text;
} refusals[] = {
    { { .missing = "tokenizer.ggml.pre" }, "tokenizer.ggml.pre" },
    { { .missing = "tokenizer.ggml.merges" }, "tokenizer.ggml.merges" },
    { { .missing = "tokenizer.ignore_merges" }, "tokenizer.ignore_merges" },
    { { .missing = "tokenizer.nfc" }, "tokenizer.nfc" },
    { { .pre = "llama-b\033" }, "is \"llama-b\\x1b\"; this version reads" },
    { { .skipped_letter = 'Q' + 1 }, "no piece for byte 0x51" },
    { { .pieces = three, .n_pieces = 2, .types = normal_and_wrong }, "id 257 is not spelled in the letters for bytes" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ "ab" }, .n_merges = 1 }, "element 0 does not make" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ "a b", "" }, .n_merges = 2 },
      "element 1 does not make" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ " ab" }, .n_merges = 1 }, "element 0 does not make" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ "ab " }, .n_merges = 1 }, "element 0 does not make" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ "b a" }, .n_merges = 1 }, "element 0 does not make" },
    { { .pieces = three, .n_pieces = 1, .merges = (const char *const[]){ "ab ab" }, .n_merges = 1 },
      "element 0 does not make" },
    { { .pieces = three, .n_pieces = 1, .types = control, .merges = (const char *const[]){ "a b" }, .n_merges = 1 },
      "element 0 does not make" },
    { { .eos_ids = far, .n_eos_ids = 1 }, "element 0 is 300, the vocabulary has 256 ids" },
};

START_TEST(refused)
{
    subject s;
    vr_err e = { 0 };
    ck_assert_int_eq(open_bpe(&s, &refusals[_i].v, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strncmp(e.text, "tokenizer.bin: ", 15) == 0 && strstr(e.text, refusals[_i].text), "%s", e.text);
    subject_free(&s);
}
END_TEST

/* Pairs whose hashes all begin at one slot (bpe.c: a product's upper half), as in a file made for that. */
START_TEST(colliding_merges)
{
    enum { SIDE = 2400, FIRST = 256, COUNT = 1100 };
    static char spellings[SIDE + COUNT][32];
    static const char *all[SIDE + COUNT], *lines[COUNT];
    static char texts[COUNT][32];
    int n_merges = 0, n_pieces = 0;
    for (int i = 0; i < SIDE; i++) {
        snprintf(spellings[n_pieces], sizeof spellings[0], "L%d", i);
        all[n_pieces] = spellings[n_pieces];
        n_pieces++;
    }
    const uint32_t mask = 4095; /* slots for 1100 merges */
    for (int i = 0; i < SIDE && n_merges < COUNT; i++)
        for (int j = 0; j < SIDE && n_merges < COUNT; j++) {
            const uint64_t key = ((uint64_t)(FIRST + i) << 32 | (uint64_t)(FIRST + j)) * 0x9e3779b97f4a7c15u;
            if (((uint32_t)(key >> 32) & mask) != 7) continue;
            snprintf(spellings[n_pieces], sizeof spellings[0], "L%dL%d", i, j);
            all[n_pieces] = spellings[n_pieces];
            n_pieces++;
            snprintf(texts[n_merges], sizeof texts[0], "L%d L%d", i, j);
            lines[n_merges] = texts[n_merges];
            n_merges++;
        }
    subject s;
    vr_err e = { 0 };
    const bpe_vocab few = { .pieces = all, .n_pieces = n_pieces, .merges = lines, .n_merges = 1000 };
    ck_assert_int_eq(open_bpe(&s, &few, &e), VR_OK);
    subject_free(&s);
    const bpe_vocab many = { .pieces = all, .n_pieces = n_pieces, .merges = lines, .n_merges = n_merges };
    ck_assert_int_eq(open_bpe(&s, &many, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "merges with the same hash"), "%s", e.text);
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
    subject s = subject_of_file(_i ? "tests/fixtures/text/llama3.gguf" : "tests/fixtures/text/qwen2.gguf");
    encode_long(&s, "a", "one letter");
    encode_long(&s, " ", "blanks");
    encode_long(&s, " \n", "line ends");
    encode_long(&s, "1", "digits");
    encode_long(&s, "\xcc\xa3\xcc\x81", "marks out of order");
    encode_long(&s, "\xe1\x84\x80\xe1\x85\xa1", "Hangul letters");
    encode_long(&s, "\xff", "wrong bytes");
    subject_free(&s);
}
END_TEST

/* ---- the whole tokenizers ---- */

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *data = calloc(1, 1 << 16);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_lt(fread(data, 1, (1 << 16) - 1, f), (1 << 16) - 1);
    fclose(f);
    return data;
}

static void compare_vectors(const subject *s, char *text, char *line)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int n = 0;
    for (; text; n++) {
        char *next = strstr(text, separator), *end = strchr(line, '\n');
        const size_t n_bytes = next ? (size_t)(next - text) : strlen(text);
        if (end) *end = '\0';
        char *ids = encoded(s, text, n_bytes);
        ck_assert_msg(strcmp(ids, line + (*line == ' ')) == 0, "vector %d: got %s, expected%s", n, ids, line);
        free(ids);
        line = end ? end + 1 : line + strlen(line);
        text = next ? next + sizeof separator - 1 : NULL;
    }
    ck_assert_int_eq(n, 47);
}

START_TEST(published_vectors)
{
    static const char *const folders[] = { "qwen2.5", "llama-3.2" }, *const vectors[] = { "qwen2", "llama-bpe" };
    const char *given = getenv("VIDRUN_SHARED"), *python = getenv("PYTHON");
    const char *shared = given ? given : "../shared";
    char path[1024], out[TEMPORARY_PATH], command[3072];
    snprintf(path, sizeof path, "%s/tokenizers/vectors/%s.inp", shared, vectors[_i]);
    char *texts = read_all(path);
    snprintf(path, sizeof path, "%s/tokenizers/vectors/%s.out", shared, vectors[_i]);
    char *lines = read_all(path);
    const int file = texts && lines ? mkstemp(temporary_name(out, sizeof out, "bpe_test_XXXXXX")) : -1;
    if (file < 0) {
        printf("SKIP: published_vectors: no %s\n", path);
    } else {
        close(file);
        snprintf(command, sizeof command, "'%s' tests/fixtures/text/make_tokenizer.py '%s/tokenizers/%s' '%s'",
                 python ? python : "/usr/bin/python3", shared, folders[_i], out);
        ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): paths of the developer */
        subject s = subject_of_file(out);
        ck_assert_int_eq(vr_tokenizer_vocab(s.tokenizer), _i ? 128256 : 151665);
        compare_vectors(&s, texts, lines);
        subject_free(&s);
        unlink(out);
    }
    free(texts);
    free(lines);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bpe");
    TCase *t = tcase_create("bpe");
    tcase_set_timeout(t, 900);
    tcase_add_test(t, split);
    tcase_add_test(t, split_of_gpt2_and_smollm);
    tcase_add_test(t, merges_by_rank_then_leftmost);
    tcase_add_test(t, whole_parts);
    tcase_add_test(t, normal_form_and_wrong_bytes);
    tcase_add_test(t, bytes_without_a_piece);
    tcase_add_test(t, texts_and_ends);
    tcase_add_loop_test(t, refused, 0, (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(t, colliding_merges);
    tcase_add_loop_test(t, a_megabyte, 0, 2);
    tcase_add_loop_test(t, published_vectors, 0, 2);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
