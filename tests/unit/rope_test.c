/*
 * rope_test.c - angles of rotated rows against their formulas in double, keys that cannot be, and where rows of a clip stand.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/generate.h"
#include "tests/unit/model_support.h"
#include "tests/unit/suite.h"

/* ---- frequencies of the published models ---- */

static double scaled(double f)
{
    const double wave = 2 * 3.141592653589793 / f;
    if (wave < 8192.0 / 4) return f;
    if (wave > 8192) return f / 32;
    const double u = (8192 / wave - 1) / 3;
    return (1 - u) * f / 32 + u * f;
}

START_TEST(frequencies)
{
    static const vr_rope ropes[] = {
        { .head_dim = 128, .base = 1e6f },
        { .head_dim = 128, .base = 5e5f, .scaled = true, .factor = 32, .low = 1, .high = 4, .original_context = 8192 },
        { .head_dim = 64, .base = 5e5f, .scaled = true, .factor = 32, .low = 1, .high = 4, .original_context = 8192 },
    };
    const vr_rope *r = &ropes[_i];
    int kept = 0, mixed = 0;
    for (int i = 0; i < r->head_dim / 2; i++) {
        const double plain = pow((double)r->base, -2.0 * i / r->head_dim), expected = r->scaled ? scaled(plain) : plain;
        const double got = (double)vr_rope_frequency(r, i);
        ck_assert_double_eq_tol(got / expected, 1, 2e-6);
        if (expected > 0.999 * plain)
            kept++;
        else if (expected > 1.001 * plain / 32)
            mixed++;
    }
    static const int n_kept[] = { 64, 29, 15 }, n_mixed[] = { 0, 6, 3 }; /* wavelengths below 2048, up to 8192 */
    ck_assert_int_eq(kept, n_kept[_i]);
    ck_assert_int_eq(mixed, n_mixed[_i]);
    float cosine[3 * 64], sine[3 * 64];
    vr_rope_table(r, 3, cosine, sine);
    const int half = r->head_dim / 2, at = 2 * half + 5;
    ck_assert_double_eq_tol((double)cosine[at], cos(2.0 * (double)vr_rope_frequency(r, 5)), 1e-7);
    ck_assert_double_eq_tol((double)sine[at], sin(2.0 * (double)vr_rope_frequency(r, 5)), 1e-7);
    ck_assert(cosine[5] >= 1 && sine[5] <= 0);
}
END_TEST

/* linear scaling, and factors of stock files */
START_TEST(divided_frequencies)
{
    const float factors[4] = { 1, 2, 4, 32 };
    const vr_rope plain = { .head_dim = 8, .base = 100 }, linear = { .head_dim = 8, .base = 100, .linear = 4 };
    const vr_rope divided = { .head_dim = 8, .base = 100, .factors = factors };
    for (int i = 0; i < 4; i++) {
        ck_assert(vr_rope_frequency(&linear, i) == vr_rope_frequency(&plain, i) / 4);
        ck_assert(vr_rope_frequency(&divided, i) == vr_rope_frequency(&plain, i) / factors[i]);
    }
}
END_TEST

/* ---- wrong keys ---- */

static void rope_add(model *m)
{
    model_int(m, "llama.rope.dimension_count", 6);
    model_float(m, "llama.rope.freq_base", 100);
    model_string(m, "llama.rope.pairs", "halves");
}

/* says NULL: right */
static void expect_rope(model *m, const char *says)
{
    vr_rope rope;
    vr_err e = { 0 };
    model_open(m);
    ck_assert_int_eq(vr_rope_read(&rope, m->weights, &e), says ? VR_ERR_WEIGHTS : VR_OK);
    if (says) ck_assert_msg(strstr(e.text, says), "%s", e.text);
    model_free(m);
}

START_TEST(wrong_scaling)
{
    static const struct {
        const char *type;
        float factor, low, high;
        uint32_t context;
        const char *text; /* NULL: right */
    } cases[] = {
        { "llama3", 32, 1, 4, 8192, NULL },
        { "yarn", 32, 1, 4, 8192, "is \"yarn\", this version knows llama3" },
        { "none", 0, 0, 0, 0, NULL },
        { "linear", 4, 0, 0, 0, NULL },
        { "linear", 0, 0, 0, 0, "which cannot be" },
        { "llama3", 0, 1, 4, 8192, "which cannot be" },
        { "llama3", 32, 0, 4, 8192, "which cannot be" },
        { "llama3", 32, 4, 4, 8192, "which cannot be" },
        { "llama3", -8, 1, 4, 8192, "which cannot be" },
        { "llama3", 32, 1, 4, 0, "original_context_length" },
        { "llama3", 32, 1, NAN, 8192, "high_freq_factor" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model m = { 0 };
        rope_add(&m);
        model_string(&m, "llama.rope.scaling.type", cases[i].type);
        model_float(&m, "llama.rope.scaling.factor", cases[i].factor);
        model_float(&m, "llama.rope.scaling.low_freq_factor", cases[i].low);
        model_float(&m, "llama.rope.scaling.high_freq_factor", cases[i].high);
        model_int(&m, "llama.rope.scaling.original_context_length", cases[i].context);
        expect_rope(&m, cases[i].text);
    }
}
END_TEST

START_TEST(wrong_sections)
{
    static const struct {
        uint64_t count;
        int32_t sections[3];
        bool right;
    } cases[] = { { 3, { 1, 1, 1 }, true },   { 3, { 3, 0, 0 }, true },  { 3, { 1, 1, 2 }, false },
                  { 3, { -1, 2, 2 }, false }, { 2, { 1, 2, 0 }, false }, { 3, { 0, 0, 0 }, false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model m = { 0 };
        rope_add(&m);
        model_ints(&m, "llama.rope.sections", cases[i].sections, cases[i].count);
        expect_rope(&m, cases[i].right ? NULL : "llama.rope.sections");
    }
}
END_TEST

/* Rows that stand where they are counted turn as the table says, bit by bit; else each section turns by its own number. */
START_TEST(rows_and_table)
{
    const vr_rope r = { .head_dim = 128, .base = 1e6f, .sections = { 16, 24, 24 } };
    float cosine[20 * 64], sine[20 * 64], c[3 * 64], s[3 * 64];
    const int32_t positions[9] = { 0, 0, 0, 7, 7, 7, 19, 3, 11 };
    vr_rope_table(&r, 20, cosine, sine);
    vr_rope_rows(&r, positions, 3, c, s);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 64; i++) {
            const int at = positions[3 * t + (i < 16 ? 0 : i < 40 ? 1 : 2)] * 64 + i;
            ck_assert(c[t * 64 + i] == cosine[at] && s[t * 64 + i] == sine[at]);
        }
}
END_TEST

START_TEST(places_of_a_prompt)
{
    /* text, two rows of sound, text, four rows of video, text: the video takes 5 places, its times reach beyond them */
    static const int32_t rows[] = {
        9, VR_CLIP_ROW(0), VR_CLIP_ROW(1), 9, VR_CLIP_ROW(2), VR_CLIP_ROW(3), VR_CLIP_ROW(4), VR_CLIP_ROW(5), 9, 9
    };
    static const int32_t relative[] = { 8, 0, 0, 8, 0, 1, 3, 1, 0, 3, 1, 1 };
    static const int32_t placed[] = { 0,  0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 12, 4,  4,
                                      12, 4, 5, 7, 5, 4, 7, 5, 5, 9, 9, 9, 10, 10, 10 };
    enum { N = sizeof rows / sizeof rows[0] };
    int32_t out[3 * N];
    vr_clip_positions clip = { .first = 2, .count = 4, .relative = relative, .n_positions = 5 };
    ck_assert_int_eq(vr_positions(out, rows, N, &clip), 11);
    ck_assert_mem_eq(out, placed, sizeof placed);
    ck_assert_int_eq(vr_positions(out, rows, N - 2, &clip), 9); /* the video is the end */
    clip.relative = NULL;
    ck_assert_int_eq(vr_positions(out, rows, N, &clip), N);
    for (int t = 0; t < 3 * N; t++) ck_assert_int_eq(out[t], t / 3);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("rope");
    tcase_add_loop_test(t, frequencies, 0, 3);
    tcase_add_test(t, divided_frequencies);
    tcase_add_test(t, wrong_sections);
    tcase_add_test(t, rows_and_table);
    tcase_add_test(t, places_of_a_prompt);
    tcase_add_test(t, wrong_scaling);
    return suite_run_case("rope", t);
}
