/*
 * 3_lanes.c - step 3: sixteen numbers at a time, two vectors of sums for each of the three sums.
 *
 *   16 bf16 = 8 even + 8 odd f32: a shift and a mask of the same load
 *
 * Bytes: as before, 2 S: the anchor row comes again for every frame, a whole frame later, so from the second-level cache at
 * best.
 */
#include <math.h>

#include "kernels/ladder/ladder.h"
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/pair_body.h"

void vr_ladder_lanes(const vr_prune *p, vr_pool *pool, float *scratch)
{
    (void)pool, (void)scratch;
    for (int f = 0; f < p->n_frames; f++) {
        for (int i = 0; i < p->N; i++) {
            const uint16_t *a = vr_ladder_row(p, f / p->window * p->window, i), *b = vr_ladder_row(p, f, i);
            vf ab[2] = { vf_zero(), vf_zero() }, aa[2] = { vf_zero(), vf_zero() }, bb[2] = { vf_zero(), vf_zero() };
            for (int d = 0; d < p->D; d += 2 * VF) {
                vf x[2], y[2];
                pair_bf16(x, a, d);
                pair_bf16(y, b, d);
                for (int k = 0; k < 2; k++) {
                    ab[k] = vf_fma(x[k], y[k], ab[k]);
                    aa[k] = vf_fma(x[k], x[k], aa[k]);
                    bb[k] = vf_fma(y[k], y[k], bb[k]);
                }
            }
            const float s = vf_sum(vf_add(ab[0], ab[1]));
            vr_ladder_decide(
                p, f, i,
                s / (fmaxf(sqrtf(vf_sum(vf_add(aa[0], aa[1]))), 1e-8f) * fmaxf(sqrtf(vf_sum(vf_add(bb[0], bb[1]))), 1e-8f)));
        }
    }
    vr_ladder_list(p);
}
