/*
 * places.h - the inner step of steps 4 and 5: up to four frames of a window at one place, against one load of their
 * anchor.
 */
#ifndef VR_LADDER_PLACES_H
#define VR_LADDER_PLACES_H

#include <math.h>

#include "kernels/ladder/ladder.h"
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/pair_body.h"

/* n is a constant where this is called. */
VR_INLINE void ladder_frames(const vr_prune *p, int anchor, int first, int n, int i)
{
    const uint16_t *a = vr_ladder_row(p, anchor, i), *b = vr_ladder_row(p, first, i);
    const int64_t frame = (int64_t)p->N * p->D;
    vf aa = vf_zero(), ab[4], bb[4];
    VR_UNROLL
    for (int r = 0; r < n; r++) ab[r] = bb[r] = vf_zero();
    for (int d = 0; d < p->D; d += 2 * VF) {
        vf x[2], y[2];
        pair_bf16(x, a, d);
        aa = vf_fma(x[1], x[1], vf_fma(x[0], x[0], aa));
        VR_UNROLL
        for (int r = 0; r < n; r++) {
            pair_bf16(y, b, r * frame + d);
            ab[r] = vf_fma(x[1], y[1], vf_fma(x[0], y[0], ab[r]));
            bb[r] = vf_fma(y[1], y[1], vf_fma(y[0], y[0], bb[r]));
        }
    }
    const float a_norm = fmaxf(sqrtf(vf_sum(aa)), 1e-8f);
    VR_UNROLL
    for (int r = 0; r < n; r++)
        vr_ladder_decide(p, first + r, i, vf_sum(ab[r]) / (a_norm * fmaxf(sqrtf(vf_sum(bb[r])), 1e-8f)));
}

/* A window of frames first .. end: groups of frames outside, places inside. */
static inline void vr_ladder_window(const vr_prune *p, int first, int end)
{
    for (int i = 0; i < p->N; i++) vr_ladder_decide(p, first, i, 0.0f);
    for (int f = first + 1, n; f < end; f += n) {
        n = end - f >= 4 ? 4 : end - f >= 3 ? 3 : 1;
        for (int i = 0; i < p->N; i++) {
            if (n == 4)
                ladder_frames(p, first, f, 4, i);
            else if (n == 3)
                ladder_frames(p, first, f, 3, i);
            else
                ladder_frames(p, first, f, 1, i);
        }
    }
}

#endif
