/*
 * ladder.h - the prune kernel from naive to final, one idea a step; see README.md. For readers and `vidrun-bench ladder` only.
 *
 * bf16, anchor first of the window, keep by threshold, index form. All fields of vr_prune but these are ignored.
 */
#ifndef VR_LADDER_H
#define VR_LADDER_H

#include "base/pool.h"
#include "kernels/ops.h"

/* scratch: vr_ladder_scratch floats, used by step 1 only. Steps 3 to 5 want AVX2 and FMA; pool is used by step 5 only. */
typedef void vr_ladder_step(const vr_prune *p, vr_pool *pool, float *scratch);

vr_ladder_step vr_ladder_papers, vr_ladder_fused, vr_ladder_lanes, vr_ladder_places, vr_ladder_threads;

static inline size_t vr_ladder_scratch(const vr_prune *p)
{
    return 3 * (size_t)p->N * (size_t)p->D;
}

/* The list that every step ends with: one number a row, nothing beside what the rows cost. */
static inline void vr_ladder_list(const vr_prune *p)
{
    int32_t n = 0;
    for (int32_t at = 0; at < p->n_frames * p->N; at++) {
        if (p->mask[at]) p->indices[n++] = at;
    }
    *p->n_kept = n;
}

/* Row i of frame f. */
static inline const uint16_t *vr_ladder_row(const vr_prune *p, int f, int i)
{
    return (const uint16_t *)p->x + ((int64_t)f * p->N + i) * p->D;
}

static inline void vr_ladder_decide(const vr_prune *p, int f, int i, float s)
{
    const int64_t at = (int64_t)f * p->N + i;
    const int anchor = f % p->window == 0;
    p->similarity[at] = anchor ? 0.0f : s;
    p->mask[at] = anchor || s < p->threshold;
}

#endif
