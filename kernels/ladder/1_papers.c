/*
 * 1_papers.c - step 1: as the papers write it, one pass over memory for every line of the formula.
 *
 *   frame -> f32 [N, D] -> / norm [N, D] -> * anchor [N, D] -> sum over D -> compare
 *
 * Bytes: S read; 2 S (f32) written and read for the widened rows, for the unit rows and for the products: about 13 S.
 */
#include <math.h>

#include "kernels/ladder/ladder.h"
#include "base/half.h"

static void widen(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = vr_bf16_to_f32(x[i]);
}

static void normalise(float *y, int N, int D)
{
    for (int i = 0; i < N; i++) {
        float square = 0.0f;
        for (int d = 0; d < D; d++) square += y[(int64_t)i * D + d] * y[(int64_t)i * D + d];
        const float norm = fmaxf(sqrtf(square), 1e-8f);
        for (int d = 0; d < D; d++) y[(int64_t)i * D + d] /= norm;
    }
}

void vr_ladder_papers(const vr_prune *p, vr_pool *pool, float *scratch)
{
    (void)pool;
    const int64_t n = (int64_t)p->N * p->D;
    float *anchor = scratch, *frame = scratch + n, *product = scratch + 2 * n;
    for (int f = 0; f < p->n_frames; f++) {
        float *const unit = f % p->window == 0 ? anchor : frame;
        widen(unit, vr_ladder_row(p, f, 0), n);
        normalise(unit, p->N, p->D);
        for (int64_t i = 0; i < n; i++) product[i] = anchor[i] * unit[i];
        for (int i = 0; i < p->N; i++) {
            float s = 0.0f;
            for (int d = 0; d < p->D; d++) s += product[(int64_t)i * p->D + d];
            vr_ladder_decide(p, f, i, s);
        }
    }
    vr_ladder_list(p);
}
