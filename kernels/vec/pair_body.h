/*
 * pair_body.h - two vectors from 2 VF numbers in a row, for the vectors of a vec_*.h included before.
 *
 *   f32, f16:  x[0..VF), x[VF..2VF)
 *   bf16:      the even numbers, the odd numbers: one load and one operation each, where widening in order takes two
 *
 * Which number lands in which lane does not matter to sums of products, as long as both rows are cut alike.
 * As functions of one shape, so that a kernel takes its type as an argument that is a constant where it is inlined.
 */
#ifndef VR_PAIR_BODY_H
#define VR_PAIR_BODY_H

#include "kernels/vec/load_body.h"

typedef void pair_fn(vf y[2], const void *x, int64_t at);

VR_INLINE void pair_f32(vf y[2], const void *x, int64_t at)
{
    const float *p = (const float *)x + at;
    y[0] = vf_load(p);
    y[1] = vf_load(p + VF);
}

VR_INLINE void pair_f16(vf y[2], const void *x, int64_t at)
{
    const uint16_t *p = (const uint16_t *)x + at;
    y[0] = vf_load_f16(p);
    y[1] = vf_load_f16(p + VF);
}

VR_INLINE void pair_bf16(vf y[2], const void *x, int64_t at)
{
    const uint16_t *p = (const uint16_t *)x + at;
    y[0] = vf_load_bf16_even(p);
    y[1] = vf_load_bf16_odd(p);
}

#endif
