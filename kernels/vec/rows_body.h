/*
 * rows_body.h - widen, add and scale rows, for the vectors of a vec_*.h included before.
 *
 * Ref: kernels/ref/rows_c.c.
 */
#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"
#include "kernels/vec/unroll.h"

VR_INLINE void widen(load_fn load, float *y, const void *w, int n)
{
    int i = 0;
    for (; i <= n - VF; i += VF) vf_store(y + i, load(w, i, VF));
    if (i < n) vf_store_part(y + i, load(w, i, n - i), n - i);
}

void VR_LEVEL(vr_widen_f32)(float *y, const void *w, int n)
{
    widen(load_f32, y, w, n);
}

void VR_LEVEL(vr_widen_f16)(float *y, const void *w, int n)
{
    widen(load_f16, y, w, n);
}

void VR_LEVEL(vr_widen_bf16)(float *y, const void *w, int n)
{
    widen(load_bf16, y, w, n);
}

void VR_LEVEL(vr_add)(float *y, const float *x, const float *b, int n)
{
    int i = 0;
    for (; i <= n - VF; i += VF) vf_store(y + i, vf_add(vf_load(x + i), vf_load(b + i)));
    if (i < n) vf_store_part(y + i, vf_add(vf_load_part(x + i, n - i), vf_load_part(b + i, n - i)), n - i);
}

void VR_LEVEL(vr_scale)(float *y, float factor, int n)
{
    const vf f = vf_set1(factor);
    int i = 0;
    for (; i <= n - VF; i += VF) vf_store(y + i, vf_mul(vf_load(y + i), f));
    if (i < n) vf_store_part(y + i, vf_mul(vf_load_part(y + i, n - i), f), n - i);
}
