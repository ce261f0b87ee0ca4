/*
 * 2_fused.c - step 2: the whole formula on one pair of rows before the next; nothing is stored between.
 *
 *   a.b, a.a, b.b in one loop -> quotient -> compare
 *
 * Bytes: every row once, anchors again for each frame: 2 S, from the cache or from memory. The sums are now what takes the
 * time: each waits for itself, four clocks an addition.
 */
#include <math.h>

#include "kernels/ladder/ladder.h"
#include "base/half.h"

void vr_ladder_fused(const vr_prune *p, vr_pool *pool, float *scratch)
{
    (void)pool, (void)scratch;
    for (int f = 0; f < p->n_frames; f++) {
        for (int i = 0; i < p->N; i++) {
            const uint16_t *a = vr_ladder_row(p, f / p->window * p->window, i), *b = vr_ladder_row(p, f, i);
            float ab = 0.0f, aa = 0.0f, bb = 0.0f;
            for (int d = 0; d < p->D; d++) {
                const float x = vr_bf16_to_f32(a[d]), y = vr_bf16_to_f32(b[d]);
                ab += x * y, aa += x * x, bb += y * y;
            }
            vr_ladder_decide(p, f, i, ab / (fmaxf(sqrtf(aa), 1e-8f) * fmaxf(sqrtf(bb), 1e-8f)));
        }
    }
    vr_ladder_list(p);
}
