/*
 * log_mel.c - see log_mel.h.
 *
 *   x[j] = wave[j] (1/2 - 1/2 cos(2 pi j/400));  P[k] = |sum_j x[j] e^(-2 pi i j k/400)|^2, k <= 200
 *   out[b] = log10(max(sum_k F[b][k] P[k], 1e-10)),  F: triangles between mel_b, mel_b+1, mel_b+2, of area 1
 *   mel(f) = 3 f/200 below 1000 Hz, 15 + 27 ln(f/1000)/ln(6.4) above
 *
 * Ref:   openai/whisper audio.py (log_mel_spectrogram); librosa.filters.mel, whose float32 table the original ships.
 * Trap:  the window is periodic (400 in the cosine, not 399), and 400 is no power of two: the DFT splits by 2, 2, 2, 2, 5, 5.
 *        All sums are double, because quiet frames live near the floor; triangles are rounded to float32 as the original's are.
 * Also beside a GPU this is done here: frames are made as the sound is decoded, twice (listen.h: the loudest comes first), and 80
 * numbers of a frame are fewer than its power spectrum or its samples, which would cross instead.
 */
#include "speech/log_mel.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

#define N VR_LOG_MEL_WINDOW

enum { HALF = N / 2 + 1 }; /* bins of the spectrum */

static const double PI = 3.14159265358979323846;

typedef struct complex_number {
    double re, im;
} complex_number;

struct vr_log_mel {
    int bins;
    int *first, *last;       /* [bins] bins of the spectrum with weight: first <= k < last */
    float *triangle;         /* [bins, HALF] */
    double hann[N];          /* window */
    complex_number turn[N];  /* e^(-2 pi i k/N) */
    complex_number input[N]; /* scratch */
    complex_number output[N], spare[N];
};

static double mel_of(double hz)
{
    return hz < 1000.0 ? hz * 3.0 / 200.0 : 15.0 + log(hz / 1000.0) * 27.0 / log(6.4);
}

static double hz_of(double mel)
{
    return mel < 15.0 ? mel * 200.0 / 3.0 : 1000.0 * exp((mel - 15.0) * log(6.4) / 27.0);
}

static void triangles_fill(vr_log_mel *m)
{
    const double step = mel_of(VR_SPEECH_RATE / 2.0) / (m->bins + 1), bin_hz = (double)VR_SPEECH_RATE / N;
    for (int b = 0; b < m->bins; b++) {
        const double left = hz_of(b * step), centre = hz_of((b + 1) * step), right = hz_of((b + 2) * step);
        m->first[b] = HALF;
        for (int k = 0; k < HALF; k++) {
            const double up = (k * bin_hz - left) / (centre - left), down = (right - k * bin_hz) / (right - centre);
            const double weight = up < down ? up : down;
            if (weight <= 0) continue;
            m->triangle[(size_t)b * HALF + (size_t)k] = (float)(weight * 2.0 / (right - left));
            if (m->first[b] == HALF) m->first[b] = k;
            m->last[b] = k + 1;
        }
    }
}

int vr_log_mel_open(vr_log_mel **out, int bins, vr_err *e)
{
    *out = NULL;
    if (bins < 1 || bins > VR_MAX_WIDTH) return vr_fail(e, VR_ERR_LIMIT, "no log-mel spectrum of %d bins", bins);
    vr_log_mel *m = calloc(1, sizeof *m);
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "no memory for the log-mel spectrum");
    m->bins = bins;
    m->first = calloc((size_t)bins, sizeof *m->first);
    m->last = calloc((size_t)bins, sizeof *m->last);
    m->triangle = calloc((size_t)bins * HALF, sizeof *m->triangle);
    if (!m->first || !m->last || !m->triangle) {
        vr_log_mel_free(m);
        return vr_fail(e, VR_ERR_LIMIT, "no memory for the log-mel spectrum");
    }
    for (int j = 0; j < N; j++) {
        m->hann[j] = 0.5 - 0.5 * cos(2.0 * PI * j / N);
        m->turn[j] = (complex_number){ cos(2.0 * PI * j / N), -sin(2.0 * PI * j / N) };
    }
    triangles_fill(m);
    *out = m;
    return VR_OK;
}

void vr_log_mel_free(vr_log_mel *m)
{
    if (!m) return;
    free(m->first);
    free(m->last);
    free(m->triangle);
    free(m);
}

/* out [n] = DFT of in[0], in[step], ...; n * step = N; spare [n]. Cooley and Tukey, the smallest factor first. */
static void dft(const vr_log_mel *m, complex_number *out, const complex_number *in, complex_number *spare, int n, int step)
{
    int p = 2;
    if (n == 1) {
        *out = *in;
        return;
    }
    while (n % p != 0) p++;
    const int part = n / p;
    for (int r = 0; r < p; r++) dft(m, spare + r * part, in + r * step, out + r * part, part, step * p);
    for (int k = 0; k < n; k++) {
        complex_number sum = { 0, 0 };
        for (int r = 0; r < p; r++) {
            const complex_number x = spare[r * part + k % part], w = m->turn[r * k % n * step];
            sum.re += x.re * w.re - x.im * w.im;
            sum.im += x.re * w.im + x.im * w.re;
        }
        out[k] = sum;
    }
}

void vr_log_mel_frame(vr_log_mel *m, const float *wave, float *out)
{
    double power[HALF];
    for (int j = 0; j < N; j++) m->input[j] = (complex_number){ (double)wave[j] * m->hann[j], 0 };
    dft(m, m->output, m->input, m->spare, N, 1);
    for (int k = 0; k < HALF; k++) power[k] = m->output[k].re * m->output[k].re + m->output[k].im * m->output[k].im;
    for (int b = 0; b < m->bins; b++) {
        double energy = 0;
        for (int k = m->first[b]; k < m->last[b]; k++) energy += power[k] * (double)m->triangle[(size_t)b * HALF + (size_t)k];
        out[b] = (float)log10(energy > 1e-10 ? energy : 1e-10);
    }
}
