/*
 * load_body.h - the first n (1..VF) numbers from element at of an array of each type of weights, widened to f32.
 *
 * As functions of one shape, so that a kernel takes its type as an argument that is a constant where it is inlined.
 */
#ifndef VR_LOAD_BODY_H
#define VR_LOAD_BODY_H

#include <stdint.h>

#include "kernels/vec/unroll.h"

typedef vf load_fn(const void *w, int64_t at, int n);

VR_INLINE vf load_f32(const void *w, int64_t at, int n)
{
    const float *p = (const float *)w + at;
    return n >= VF ? vf_load(p) : vf_load_part(p, n);
}

VR_INLINE vf load_f16(const void *w, int64_t at, int n)
{
    const uint16_t *p = (const uint16_t *)w + at;
    return n >= VF ? vf_load_f16(p) : vf_load_part_f16(p, n);
}

VR_INLINE vf load_bf16(const void *w, int64_t at, int n)
{
    const uint16_t *p = (const uint16_t *)w + at;
    return n >= VF ? vf_load_bf16(p) : vf_load_part_bf16(p, n);
}

#endif
