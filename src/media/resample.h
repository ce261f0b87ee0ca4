/*
 * resample.h - torchaudio's resampler: Hann-windowed sinc, any pair of rates.
 *
 *   x [n] at `from` Hz -> y [ceil(n * to / from)] at `to` Hz;  from/to = o/n in lowest terms
 *   y[b*n + p] = sum_i k[p][i] * x[b*o + i - width]          samples outside the signal are 0
 *
 * Any stretch of the output can be computed alone from the stretch of input under it.
 * Ref: torchaudio.functional.resample defaults (functional.py _get_sinc_resample_kernel): 6 zero crossings, roll-off 0.99.
 */
#ifndef VR_RESAMPLE_H
#define VR_RESAMPLE_H

#include <stdint.h>

#include "base/err.h"

typedef struct vr_resampler vr_resampler;

/* Rates 1..VR_MAX_SAMPLE_RATE; equal rates copy. */
int vr_resampler_open(vr_resampler **out, int from, int to, vr_err *e);
void vr_resampler_free(vr_resampler *r); /* NULL is legal */

int64_t vr_resampler_length(const vr_resampler *r, int64_t n_in);
/* The input [*in_first, *in_last) that outputs [first, last) depend on, cut to [0, n_in). */
void vr_resampler_span(const vr_resampler *r, int64_t first, int64_t last, int64_t n_in, int64_t *in_first, int64_t *in_last);
/* out [count]: outputs first ..; in [n]: inputs in_first .., the span of these outputs; the rest counts as 0. */
void vr_resampler_run(const vr_resampler *r, float *out, int64_t first, int64_t count, const float *in, int64_t in_first,
                      int64_t n);

#endif
