/*
 * media_mel_test.c - log-mel features against the formulas of spec 3.8 with a plain Fourier sum.
 */
#include <math.h>
#include <time.h>

#include "media/mel.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

enum { WINDOW = 400, SHIFT = 160, N_FFT = 512, BINS = 128, FRAMES = 204 };
static const double PI = 3.14159265358979323846;

static float mel_f32(double hz)
{
    return 1127.0F * logf(1.0F + (float)hz / 700.0F);
}

/* Column f of the features. */
static void direct(double *out, const float *w, int f)
{
    double s[WINDOW], y[WINDOW], power[N_FFT / 2], mean = 0;
    for (int j = 0; j < WINDOW; j++) mean += (double)w[f * SHIFT + j] / WINDOW;
    for (int j = 0; j < WINDOW; j++) s[j] = (double)w[f * SHIFT + j] - mean;
    for (int j = 0; j < WINDOW; j++) y[j] = (s[j] - 0.97 * s[j > 0 ? j - 1 : 0]) * (0.5 - 0.5 * cos(2 * PI * j / (WINDOW - 1)));
    for (int k = 0; k < N_FFT / 2; k++) {
        double re = 0, im = 0;
        for (int j = 0; j < WINDOW; j++) {
            re += y[j] * cos(2 * PI * (j * k % N_FFT) / N_FFT);
            im -= y[j] * sin(2 * PI * (j * k % N_FFT) / N_FFT);
        }
        power[k] = re * re + im * im;
    }
    const double low = 1127 * log(1 + 20.0 / 700), high = 1127 * log(1 + 8000.0 / 700), step = (high - low) / (BINS + 1);
    for (int b = 0; b < BINS; b++) {
        const float l = (float)low + (float)b * (float)step, c = (float)low + (float)(b + 1) * (float)step;
        const float r = (float)low + (float)(b + 2) * (float)step;
        double energy = 0;
        for (int k = 0; k < N_FFT / 2; k++) {
            const float z = mel_f32(31.25 * k), up = (z - l) / (c - l), down = (r - z) / (r - c), least = up < down ? up : down;
            if (least > 0) energy += power[k] * (double)least;
        }
        out[b] = log(energy > 1.1920928955078125e-07 ? energy : 1.1920928955078125e-07);
    }
}

static void compare(const float *wave, int n)
{
    static float out[BINS * FRAMES];
    vr_err e = { 0 };
    vr_mel *mel = NULL;
    ck_assert_int_eq(vr_mel_open(&mel, 16000, BINS, &e), VR_OK);
    ck_assert_int_eq(vr_mel_window(mel), WINDOW);
    const int frames = n < WINDOW ? 0 : 1 + (n - WINDOW) / SHIFT;
    ck_assert_int_eq(vr_mel_frames(mel, n), frames);
    vr_mel_run(mel, out, FRAMES, wave, n);
    vr_mel_free(mel);
    for (int f = 0; f < FRAMES; f += f < frames - 1 && f > 2 ? 13 : 1) {
        double expected[BINS] = { 0 };
        if (f < frames) direct(expected, wave, f);
        for (int b = 0; b < BINS; b++) {
            const double got = (double)out[b * FRAMES + f];
            ck_assert_msg(fabs(got - expected[b]) < 2e-6 * (1 + fabs(expected[b])), "bin %d, frame %d: %.9g, not %.9g", b, f,
                          got, expected[b]);
        }
    }
}

START_TEST(signals)
{
    enum { N = 32000 };
    static float wave[N + 2000];
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int i = 0; i < N; i++) wave[i] = (float)(0.3 * sin(2 * PI * 440 * i / 16000) + 0.2 * sin(2 * PI * 3100 * i / 16000));
    compare(wave, N);
    for (int i = 0; i < N; i++) wave[i] = (float)(rand() % 2001 - 1000) / 1000.0F;
    compare(wave, N);
    compare(wave, 400);
    compare(wave, 559);
    compare(wave, 560);
    compare(wave, 399);
    for (int i = 0; i < N + 2000; i++) wave[i] = (float)(rand() % 3 - 1) * 1e-5F; /* near the floor of the logarithm */
    compare(wave, N + 2000);                                                      /* longer than FRAMES: cut */
    for (int i = 0; i < N; i++) wave[i] = i % 4000 ? 0.0F : 1.0F;
    compare(wave, N);
    for (int i = 0; i < N; i++) wave[i] = 0.25F; /* DC is removed: silence */
    compare(wave, N);
}
END_TEST

START_TEST(silence_and_the_empty_bin) /* row 3 holds no FFT bin: ln(2^-23) whatever is played */
{
    static float wave[2000], out[BINS * 4];
    vr_mel *mel = NULL;
    ck_assert_int_eq(vr_mel_open(&mel, 16000, BINS, NULL), VR_OK);
    vr_mel_run(mel, out, 4, wave, 2000);
    for (int i = 0; i < BINS * 4; i++) ck_assert(fabsf(out[i] + 15.942385F) < 1e-6F);
    for (int i = 0; i < 2000; i++) wave[i] = (float)((i * 7919) % 1000) / 500.0F - 1.0F;
    vr_mel_run(mel, out, 4, wave, 2000);
    for (int f = 0; f < 4; f++) ck_assert(fabsf(out[3 * 4 + f] + 15.942385F) < 1e-6F && out[4 * 4 + f] > -10.0F);
    vr_mel_free(mel);
}
END_TEST

START_TEST(refusals)
{
    vr_err e = { 0 };
    vr_mel *mel = NULL;
    ck_assert_int_eq(vr_mel_open(&mel, 16000, 0, &e), VR_ERR_LIMIT);
    ck_assert_str_eq(e.text, "no mel features of 0 bins at 16000 Hz");
    ck_assert_int_eq(vr_mel_open(&mel, 10, 128, &e), VR_ERR_LIMIT);
    ck_assert_ptr_null(mel);
    vr_mel_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("mel");
    tcase_add_test(tests, signals);
    tcase_add_test(tests, silence_and_the_empty_bin);
    tcase_add_test(tests, refusals);
    return suite_run_case("media_mel", tests);
}
