/*
 * mel.c - see mel.h.
 *
 *   s -= mean(s);  y[j] = s[j] - 0.97 s[max(j-1,0)];  y[j] *= 0.5 - 0.5 cos(2 pi j/(N-1));  P[k] = |FFT(y)[k]|^2
 *   out[b] = ln(max(sum_k P[k] F[b][k], 2^-23)),  k < n_fft/2: the triangle of the Nyquist bin is 0
 *
 * Ref:   torchaudio compliance/kaldi.py: _get_window, get_mel_banks, fbank; ImageBind data.py:28-64.
 * Trap:  narrow triangles may hold no FFT bin at all (b = 3 at 128 bins): such rows are ln(2^-23), not an error.
 * Trap:  triangles are made in float32 as in the original: an edge that falls on a bin would flip in double. The rest is
 *        double, because quiet clips live near the floor of the logarithm.
 */
#include "media/mel.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/limits.h"

static const double PI = 3.14159265358979323846;
static const double PRE_EMPHASIS = 0.97;
static const double LOW_HZ = 20.0;
static const double ENERGY_FLOOR = 1.1920928955078125e-07; /* float32 epsilon */

struct vr_mel {
    int bins, window, shift, n_fft;
    float *triangle;       /* [bins, n_fft/2] */
    int *first, *last;     /* [bins] FFT bins with weight: first <= k < last */
    double *hann;          /* [window] */
    double *cosine, *sine; /* [n_fft/2] of -2 pi k/n_fft */
    double *re, *im;       /* [n_fft] scratch */
    double *power;         /* [n_fft/2] scratch */
};

/* Kaldi's mel scale, in float32 (tensors of the original). */
static float mel_of(float hz)
{
    return 1127.0F * logf(1.0F + hz / 700.0F);
}

static void fill_triangles(vr_mel *m, int sample_rate)
{
    const double low = 1127.0 * log(1.0 + LOW_HZ / 700.0), high = 1127.0 * log(1.0 + sample_rate / 2.0 / 700.0);
    const double step = (high - low) / (m->bins + 1);
    const int half = m->n_fft / 2;
    const float bin_hz = (float)((double)sample_rate / m->n_fft);
    for (int b = 0; b < m->bins; b++) {
        const float left = (float)low + (float)b * (float)step;
        const float centre = (float)low + (float)(b + 1) * (float)step;
        const float right = (float)low + (float)(b + 2) * (float)step;
        m->first[b] = half;
        for (int k = 0; k < half; k++) {
            const float z = mel_of(bin_hz * (float)k);
            const float up = (z - left) / (centre - left), down = (right - z) / (right - centre);
            const float weight = up < down ? up : down;
            if (weight <= 0.0F) continue;
            m->triangle[(size_t)b * (size_t)half + (size_t)k] = weight;
            if (m->first[b] == half) m->first[b] = k;
            m->last[b] = k + 1;
        }
    }
}

static void fill_tables(vr_mel *m, int sample_rate)
{
    for (int j = 0; j < m->window; j++) m->hann[j] = 0.5 - 0.5 * cos(2.0 * PI * j / (m->window - 1));
    for (int k = 0; k < m->n_fft / 2; k++) {
        m->cosine[k] = cos(2.0 * PI * k / m->n_fft);
        m->sine[k] = -sin(2.0 * PI * k / m->n_fft);
    }
    fill_triangles(m, sample_rate);
}

int vr_mel_open(vr_mel **out, int sample_rate, int bins, vr_err *e)
{
    *out = NULL;
    if (sample_rate < 1000 || sample_rate > VR_MAX_SAMPLE_RATE || bins < 1 || bins > VR_MAX_WIDTH) {
        return vr_fail(e, VR_ERR_LIMIT, "no mel features of %d bins at %d Hz", bins, sample_rate);
    }
    vr_mel *m = calloc(1, sizeof *m);
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "out of memory");
    m->bins = bins;
    m->window = (int)(sample_rate * 25LL / 1000);
    m->shift = sample_rate / 100;
    m->n_fft = 2;
    while (m->n_fft < m->window) m->n_fft *= 2;
    const size_t n_fft = (size_t)m->n_fft, n_bins = (size_t)bins;
    m->triangle = calloc(n_bins * (n_fft / 2), sizeof *m->triangle);
    m->first = calloc(n_bins, sizeof *m->first);
    m->last = calloc(n_bins, sizeof *m->last);
    m->hann = calloc((size_t)m->window, sizeof *m->hann);
    m->cosine = calloc(n_fft / 2, sizeof *m->cosine);
    m->sine = calloc(n_fft / 2, sizeof *m->sine);
    m->re = calloc(n_fft, sizeof *m->re);
    m->im = calloc(n_fft, sizeof *m->im);
    m->power = calloc(n_fft / 2, sizeof *m->power);
    if (!m->triangle || !m->first || !m->last || !m->hann || !m->cosine || !m->sine || !m->re || !m->im || !m->power) {
        vr_mel_free(m);
        return vr_fail(e, VR_ERR_LIMIT, "no memory for the mel features");
    }
    fill_tables(m, sample_rate);
    *out = m;
    return VR_OK;
}

void vr_mel_free(vr_mel *m)
{
    if (!m) return;
    free(m->triangle);
    free(m->first);
    free(m->last);
    free(m->hann);
    free(m->cosine);
    free(m->sine);
    free(m->re);
    free(m->im);
    free(m->power);
    free(m);
}

int vr_mel_window(const vr_mel *m)
{
    return m->window;
}

int64_t vr_mel_frames(const vr_mel *m, int64_t n_samples)
{
    return n_samples < m->window ? 0 : 1 + (n_samples - m->window) / m->shift;
}

/* Move entry i to the place with i's bits reversed. */
static void bit_reverse(double *re, double *im, int n)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i >= j) continue;
        const double r = re[i], s = im[i];
        re[i] = re[j], im[i] = im[j];
        re[j] = r, im[j] = s;
    }
}

/* In place, radix 2, decimation in time. */
static void fft(vr_mel *m)
{
    const int n = m->n_fft;
    double *re = m->re, *im = m->im;
    bit_reverse(re, im, n);
    for (int half = 1; half < n; half *= 2) {
        const int stride = n / (2 * half); /* of the table */
        for (int block = 0; block < n; block += 2 * half) {
            for (int k = 0; k < half; k++) {
                const ptrdiff_t angle = (ptrdiff_t)k * stride;
                const double c = m->cosine[angle], s = m->sine[angle];
                const int a = block + k, b = a + half;
                const double r = re[b] * c - im[b] * s, i = re[b] * s + im[b] * c;
                re[b] = re[a] - r, im[b] = im[a] - i;
                re[a] += r, im[a] += i;
            }
        }
    }
}

/* Power of one frame into m->power. */
static void frame_power(vr_mel *m, const float *wave)
{
    double mean = 0;
    for (int j = 0; j < m->window; j++) mean += (double)wave[j];
    mean /= m->window;
    for (int j = 0; j < m->n_fft; j++) {
        m->re[j] = m->im[j] = 0;
        if (j >= m->window) continue;
        const double now = (double)wave[j] - mean, previous = (double)wave[j ? j - 1 : 0] - mean;
        m->re[j] = (now - PRE_EMPHASIS * previous) * m->hann[j];
    }
    fft(m);
    for (int k = 0; k < m->n_fft / 2; k++) m->power[k] = m->re[k] * m->re[k] + m->im[k] * m->im[k];
}

void vr_mel_run(vr_mel *m, float *out, int frames, const float *wave, int64_t n_samples)
{
    const int64_t usable = vr_mel_frames(m, n_samples);
    for (int f = 0; f < frames; f++) {
        if (f < usable) frame_power(m, wave + (int64_t)f * m->shift);
        for (int b = 0; b < m->bins; b++) {
            double energy = 0;
            const float *triangle = m->triangle + (size_t)b * (size_t)(m->n_fft / 2);
            for (int k = m->first[b]; k < m->last[b]; k++) energy += m->power[k] * (double)triangle[k];
            const double value = f < usable ? log(energy > ENERGY_FLOOR ? energy : ENERGY_FLOOR) : 0.0;
            out[(size_t)b * (size_t)frames + (size_t)f] = (float)value;
        }
    }
}
