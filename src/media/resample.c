/*
 * resample.c - see resample.h.
 *
 *   kernel: phase p of n, its taps that are not 0:  offset[p], weight[p * taps ..]
 *
 * Trap:  the kernel is made in float32, operation by operation, because torchaudio passes the dtype of the wave on; made in
 *        double, quiet passages differ by up to 1e-2 in the normalised features. Products are summed in double.
 * Trap:  the published kernel is o + 2*width taps long and all but the 12 zero crossings of them hold about 1e-22 (the clamped
 *        ends of the window); those are left out here.
 */
#include "media/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum { ZERO_CROSSINGS = 6 };
static const double ROLL_OFF = 0.99;

struct vr_resampler {
    int o, n;        /* from : to in lowest terms */
    int taps;        /* room of a phase */
    int64_t *offset; /* [n] of the first tap against b*o */
    int *count;      /* [n] taps of a phase */
    float *weight;   /* [n, taps] */
};

static int gcd(int a, int b)
{
    while (b) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Position of tap i (counted from the unshifted sample) of phase p, in zero crossings; float32 as in the original. */
static float tap_position(const vr_resampler *r, int p, int64_t i, double base)
{
    const float t = (float)-p / (float)r->n + (float)i / (float)r->o;
    return t * (float)base;
}

static float tap_weight(float t, double base, int o)
{
    const float pi = 3.14159265358979323846F;
    const float half = cosf(t * pi / (float)ZERO_CROSSINGS / 2.0F);
    const float window = half * half;
    const float u = t * pi;
    const float sinc = u == 0.0F ? 1.0F : sinf(u) / u;
    return sinc * (window * (float)(base / o));
}

static void fill_phase(vr_resampler *r, int p, double base)
{
    const int64_t width = (int64_t)ceil(ZERO_CROSSINGS * (double)r->o / base);
    const double centre = (double)p / r->n * r->o, reach = ZERO_CROSSINGS * (double)r->o / base;
    int64_t first = (int64_t)floor(centre - reach) - 1, last = (int64_t)ceil(centre + reach) + 1;
    if (first < -width) first = -width;
    if (last >= width + r->o) last = width + r->o - 1;
    while (first < last && tap_position(r, p, first, base) <= -(float)ZERO_CROSSINGS) first++;
    while (last > first && tap_position(r, p, last, base) >= (float)ZERO_CROSSINGS) last--;
    r->offset[p] = first;
    r->count[p] = (int)(last - first + 1);
    float *weight = r->weight + (size_t)p * (size_t)r->taps;
    for (int64_t i = first; i <= last; i++) weight[i - first] = tap_weight(tap_position(r, p, i, base), base, r->o);
}

int vr_resampler_open(vr_resampler **out, int from, int to, vr_err *e)
{
    *out = NULL;
    if (from < 1 || to < 1 || from > VR_MAX_SAMPLE_RATE || to > VR_MAX_SAMPLE_RATE) {
        return vr_fail(e, VR_ERR_LIMIT, "sound of %d Hz cannot be brought to %d Hz", from, to);
    }
    vr_resampler *r = calloc(1, sizeof *r);
    if (!r) return vr_fail(e, VR_ERR_LIMIT, "out of memory");
    const int divisor = gcd(from, to);
    r->o = from / divisor;
    r->n = to / divisor;
    if (r->o != r->n) {
        const double base = (r->o < r->n ? r->o : r->n) * ROLL_OFF;
        r->taps = (int)(2.0 * ZERO_CROSSINGS * r->o / base) + 5;
        r->offset = calloc((size_t)r->n, sizeof *r->offset);
        r->count = calloc((size_t)r->n, sizeof *r->count);
        r->weight = calloc((size_t)r->n * (size_t)r->taps, sizeof *r->weight);
        if (!r->offset || !r->count || !r->weight) {
            vr_resampler_free(r);
            return vr_fail(e, VR_ERR_LIMIT, "no memory to bring sound of %d Hz to %d Hz", from, to);
        }
        for (int p = 0; p < r->n; p++) fill_phase(r, p, base);
    }
    *out = r;
    return VR_OK;
}

void vr_resampler_free(vr_resampler *r)
{
    if (!r) return;
    free(r->offset);
    free(r->count);
    free(r->weight);
    free(r);
}

int64_t vr_resampler_length(const vr_resampler *r, int64_t n_in)
{
    const int64_t whole = n_in / r->o, rest = n_in % r->o; /* ceil(n_in * n / o) without a product that overflows */
    return whole * r->n + (rest * r->n + r->o - 1) / r->o;
}

void vr_resampler_span(const vr_resampler *r, int64_t first, int64_t last, int64_t n_in, int64_t *in_first, int64_t *in_last)
{
    int64_t low = first, high = last;
    if (r->weight) {
        low = first / r->n * r->o - r->taps; /* offsets begin at -width > -taps */
        high = (last / r->n + 1) * r->o + r->taps;
    }
    *in_first = low < 0 ? 0 : low > n_in ? n_in : low;
    *in_last = high > n_in ? n_in : high < *in_first ? *in_first : high;
}

static float one_output(const vr_resampler *r, int64_t index, const float *in, int64_t in_first, int64_t n)
{
    const int p = (int)(index % r->n);
    const float *weight = r->weight + (size_t)p * (size_t)r->taps;
    int64_t at = index / r->n * r->o + r->offset[p] - in_first, k = 0, end = r->count[p];
    if (at < 0) k = -at;
    if (at + end > n) end = n - at;
    double sum = 0;
    for (; k < end; k++) sum += (double)weight[k] * (double)in[at + k];
    return (float)sum;
}

void vr_resampler_run(const vr_resampler *r, float *out, int64_t first, int64_t count, const float *in, int64_t in_first,
                      int64_t n)
{
    if (!r->weight) {
        if (count > 0) memcpy(out, in + (first - in_first), (size_t)count * sizeof *out);
        return;
    }
    for (int64_t i = 0; i < count; i++) out[i] = one_output(r, first + i, in, in_first, n);
}
