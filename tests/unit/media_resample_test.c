/*
 * media_resample_test.c - the resampler against its formula with every tap, written out in double sums over the float32 kernel.
 */
#include <math.h>
#include <time.h>

#include "media/resample.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

static int divisor(int a, int b)
{
    return b ? divisor(b, a % b) : a;
}

/* Output `index` by spec 3.6: all o + 2 width taps of its phase, the clamped ones too. */
static double direct(const float *x, int64_t n_in, int from, int to, int64_t index)
{
    const int g = divisor(from, to), o = from / g, n = to / g;
    const double base = (o < n ? o : n) * 0.99;
    const int width = (int)ceil(6 * o / base);
    const float pi = 3.14159265358979323846F;
    const int64_t block = index / n, p = index % n;
    double sum = 0;
    for (int i = 0; i < 2 * width + o; i++) {
        float t = (float)-p / (float)n + (float)(i - width) / (float)o;
        t *= (float)base;
        t = t < -6 ? -6 : t > 6 ? 6 : t;
        const float c = cosf(t * pi / 6 / 2), u = t * pi;
        const float k = (u == 0 ? 1 : sinf(u) / u) * (c * c * (float)(base / o));
        const int64_t at = block * o + i - width;
        if (at >= 0 && at < n_in) sum += (double)k * (double)x[at];
    }
    return sum;
}

static void fill_noise(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(rand() % 65536 - 32768) / 32768.0F;
}

static void compare(int from, int to, int64_t n_in)
{
    vr_err e = { 0 };
    vr_resampler *r = NULL;
    ck_assert_int_eq(vr_resampler_open(&r, from, to, &e), VR_OK);
    const int g = divisor(from, to);
    const int64_t n = vr_resampler_length(r, n_in);
    ck_assert_int_eq(n, (n_in * (to / g) + from / g - 1) / (from / g));
    float *x = malloc((size_t)(n_in + 1) * sizeof *x), *y = malloc((size_t)(n + 1) * sizeof *y);
    ck_assert(x && y);
    fill_noise(x, n_in);
    vr_resampler_run(r, y, 0, n, x, 0, n_in);
    for (int64_t i = 0; i < n; i++) {
        const double expected = from == to ? (double)x[i] : direct(x, n_in, from, to, i);
        ck_assert_msg(fabs((double)y[i] - expected) <= 1e-6, "%d to %d: y[%d] %.9g, not %.9g", from, to, (int)i, (double)y[i],
                      expected);
    }
    vr_resampler_free(r);
    free(x);
    free(y);
}

START_TEST(formula)
{
    static const int rates[] = { 44100, 48000, 32000, 22050, 8000, 11025, 16000, 96000, 24000, 44099, 7, 16001 };
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        compare(rates[i], 16000, 1);
        compare(rates[i], 16000, rates[i] == 7 ? 3 : 2 + rand() % 500);
    }
}
END_TEST

START_TEST(lengths) /* recorded with torchaudio; the last by hand */
{
    static const struct {
        int from;
        int64_t n_in, n;
    } cases[] = { { 44100, 317440, 115171 }, { 44100, 883631, 320592 }, { 44100, 617472, 224027 },
                  { 48000, 1, 1 },           { 8000, 5, 10 },           { 44100, INT64_C(1) << 50, 408489762119773 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vr_resampler *r = NULL;
        ck_assert_int_eq(vr_resampler_open(&r, cases[i].from, 16000, NULL), VR_OK);
        ck_assert_int_eq(vr_resampler_length(r, cases[i].n_in), cases[i].n);
        vr_resampler_free(r);
    }
}
END_TEST

START_TEST(stretches_equal_the_whole) /* any stretch from its span alone, to the bit */
{
    static const int rates[] = { 44100, 48000, 8000, 16000, 22050 };
    enum { N_IN = 5000, MAX_OUT = 12000 };
    static float x[N_IN], whole[MAX_OUT], part[MAX_OUT];
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    fill_noise(x, N_IN);
    for (int round = 0; round < 300; round++) {
        vr_resampler *r = NULL;
        ck_assert_int_eq(vr_resampler_open(&r, rates[round % 5], 16000, NULL), VR_OK);
        const int64_t n = vr_resampler_length(r, N_IN);
        ck_assert_int_le(n, MAX_OUT);
        vr_resampler_run(r, whole, 0, n, x, 0, N_IN);
        const int64_t first = rand() % n, last = first + 1 + rand() % (n - first);
        int64_t low, high;
        vr_resampler_span(r, first, last, N_IN, &low, &high);
        ck_assert(0 <= low && low <= high && high <= N_IN);
        float *input = malloc((size_t)(high - low) * sizeof *input + 1); /* of its own: a read beyond it shows */
        ck_assert_ptr_nonnull(input);
        memcpy(input, x + low, (size_t)(high - low) * sizeof *input);
        vr_resampler_run(r, part, first, last - first, input, low, high - low);
        ck_assert_mem_eq(part, whole + first, (size_t)(last - first) * sizeof *part);
        free(input);
        vr_resampler_free(r);
    }
}
END_TEST

START_TEST(refusals)
{
    vr_err e = { 0 };
    vr_resampler *r = NULL;
    ck_assert_int_eq(vr_resampler_open(&r, 0, 16000, &e), VR_ERR_LIMIT);
    ck_assert_int_eq(vr_resampler_open(&r, 16000, 2000000, &e), VR_ERR_LIMIT);
    ck_assert_str_eq(e.text, "sound of 16000 Hz cannot be brought to 2000000 Hz");
    ck_assert_ptr_null(r);
    vr_resampler_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("resample");
    tcase_add_test(tests, formula);
    tcase_add_test(tests, lengths);
    tcase_add_test(tests, stretches_equal_the_whole);
    tcase_add_test(tests, refusals);
    return suite_run_case("media_resample", tests);
}
