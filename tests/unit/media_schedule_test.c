/*
 * media_schedule_test.c - which frames and clips are taken, and how pixels are normalised.
 */
#include <math.h>
#include <time.h>

#include "media/clips.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

static void expect_indices(int64_t n_total, int n_wanted, int n, const int64_t *expected)
{
    int64_t got[64];
    ck_assert_int_eq(vr_frames_uniform(got, n_total, n_wanted), n);
    for (int i = 0; i < n; i++) ck_assert_int_eq(got[i], expected[i]);
}

START_TEST(uniform_table) /* recorded with the original, but the first and the last */
{
    expect_indices(1, 8, 1, (const int64_t[]){ 0 });
    expect_indices(5, 8, 5, (const int64_t[]){ 0, 1, 2, 3, 4 });
    expect_indices(8, 8, 8, (const int64_t[]){ 0, 1, 2, 3, 4, 5, 6, 7 });
    expect_indices(9, 8, 8, (const int64_t[]){ 0, 1, 2, 3, 4, 5, 6, 7 });
    expect_indices(170, 8, 8, (const int64_t[]){ 0, 21, 42, 63, 85, 106, 127, 148 });
    expect_indices(235, 8, 8, (const int64_t[]){ 0, 29, 58, 88, 117, 146, 176, 205 });
    expect_indices(421, 8, 8, (const int64_t[]){ 0, 52, 105, 157, 210, 263, 315, 368 });
    expect_indices(601, 8, 8, (const int64_t[]){ 0, 75, 150, 225, 300, 375, 450, 525 });
    expect_indices(INT64_C(8) << 55, 2, 2, (const int64_t[]){ 0, INT64_C(4) << 55 });
}
END_TEST

START_TEST(uniform_is_the_floor)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 20000; round++) {
        const int64_t n_total = 1 + rand() % 1000000;
        const int n_wanted = 1 + rand() % 64;
        int64_t got[64];
        const int n = vr_frames_uniform(got, n_total, n_wanted);
        ck_assert_int_eq(n, n_total < n_wanted ? n_total : n_wanted);
        for (int i = 0; i < n; i++) ck_assert_int_eq(got[i], i * n_total / n);
    }
}
END_TEST

START_TEST(sampled_times) /* the sentence of the prompt is made from these quotients; texts of spec 3.1 */
{
    static const struct {
        int64_t n_total;
        double rate;
        const char *text;
    } cases[] = {
        { 300, 30.0, "0.0, 1.2, 2.5, 3.7, 5.0, 6.2, 7.5, 8.7, " },
        { 251, 30000.0 / 1001.0, "0.0, 1.0, 2.1, 3.1, 4.2, 5.2, 6.3, 7.3, " },
        { 5, 25.0, "0.0, 0.0, 0.1, 0.1, 0.2, " },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int64_t indices[8];
        char text[128] = "";
        const int n = vr_frames_uniform(indices, cases[k].n_total, 8);
        for (int i = 0; i < n; i++) {
            const size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%.1f, ", (double)indices[i] / cases[k].rate);
        }
        ck_assert_str_eq(text, cases[k].text);
    }
}
END_TEST

static void expect_starts(int64_t n_samples, int divisor, const int64_t expected[8])
{
    int64_t got[8];
    vr_clips_starts(got, 8, n_samples, 16000, 2.0, divisor);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(got[i], expected[i]);
}

START_TEST(clip_starts) /* recorded with pytorchvideo 0.1.5 (8) and a later one (7) */
{
    expect_starts(115171, 8, (const int64_t[]){ 0, 10396, 20792, 31189, 41585, 51981, 62378, 72774 });
    expect_starts(320592, 8, (const int64_t[]){ 0, 36073, 72147, 108221, 144295, 180369, 216443, 252517 });
    expect_starts(224027, 8, (const int64_t[]){ 0, 24003, 48006, 72010, 96013, 120016, 144020, 168023 });
    expect_starts(115171, 7, (const int64_t[]){ 0, 11881, 23763, 35644, 47526, 59407, 71289, 83171 });
    expect_starts(320592, 7, (const int64_t[]){ 0, 41227, 82454, 123682, 164909, 206137, 247364, 288591 });
    expect_starts(224027, 7, (const int64_t[]){ 0, 27432, 54864, 82297, 109729, 137162, 164594, 192026 });
    expect_starts(32000, 8, (const int64_t[8]){ 0 });
    expect_starts(400, 7, (const int64_t[8]){ 0 });
}
END_TEST

/* Samples whose duration is no double: rounding down in doubles would take the sample before or after. */
START_TEST(clip_starts_are_exact)
{
    for (int64_t n = 32001; n < 400000; n += 97) {
        int64_t got[8];
        vr_clips_starts(got, 8, n, 16000, 2.0, 7);
        const double spread = (double)n / 16000 - 2.0;
        int exponent;
        int64_t mantissa = (int64_t)ldexp(frexp(spread, &exponent), 53);
        int shift = 53 - exponent;
        while (!(mantissa & 1)) mantissa >>= 1, shift--;
        for (int i = 0; i < 8; i++) {
            /* floor(mantissa i 16000 / (7 * 2^shift)) by long division, bit by bit; the product is high * 2^26 + low */
            const int64_t factor = (int64_t)i * 16000, part = (mantissa & 0x3ffffff) * factor;
            const int64_t high = (mantissa >> 26) * factor + (part >> 26), low = part & 0x3ffffff;
            int64_t whole = 0, rest = 0; /* of the leading bits so far */
            for (int bit = 80; bit >= shift; bit--) {
                rest = 2 * rest + (bit >= 26 ? high >> (bit - 26) & 1 : low >> bit & 1);
                whole = 2 * whole + rest / 7;
                rest %= 7;
            }
            ck_assert_int_eq(got[i], whole);
        }
    }
}
END_TEST

START_TEST(normalise)
{
    const float mean[3] = { 0.48145466F, 0.4578275F, 0.40821073F }, std[3] = { 0.26862954F, 0.26130258F, 0.27577711F };
    uint8_t rgb[256 * 3];
    float out[3 * 256];
    for (int i = 0; i < 256; i++) rgb[3 * i] = (uint8_t)i, rgb[3 * i + 1] = (uint8_t)(255 - i), rgb[3 * i + 2] = 7;
    vr_pixels_normalise(out, rgb, 128, 2, mean, std);
    for (int i = 0; i < 256; i++) {
        volatile float a = (float)i / 255.0F, b = (float)(255 - i) / 255.0F,
                       c = 7.0F / 255.0F; /* rounded to f32 at each step */
        a = a - mean[0], b = b - mean[1], c = c - mean[2];
        ck_assert(out[i] == a / std[0] && out[256 + i] == b / std[1] && out[512 + i] == c / std[2]);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("schedule");
    tcase_add_test(tests, uniform_table);
    tcase_add_test(tests, uniform_is_the_floor);
    tcase_add_test(tests, sampled_times);
    tcase_add_test(tests, clip_starts);
    tcase_add_test(tests, clip_starts_are_exact);
    tcase_add_test(tests, normalise);
    return suite_run_case("media_schedule", tests);
}
