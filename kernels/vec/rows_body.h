/*
 * rows_body.h - widen, add, scale and weighted sums of rows, for the vectors of a vec_*.h included before.
 *
 *   weighted_sum:  columns, 8 vectors at a time, stay in registers while the rows of v pass
 *
 * Ref:   kernels/ref/rows_c.c.
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

/* vectors is a constant where this is called; the last one has part lanes. */
VR_INLINE void sum_columns(float *y, float factor, const float *v, int64_t v_row, const float *p, int n, int vectors, int part)
{
    vf sum[8];
    VR_UNROLL
    for (int i = 0; i < vectors; i++) {
        sum[i] = vf_mul(i < vectors - 1 ? vf_load(y + i * VF) : vf_load_part(y + i * VF, part), vf_set1(factor));
    }
    for (int j = 0; j < n; j++, v += v_row) {
        const vf weight = vf_set1(p[j]);
        VR_UNROLL
        for (int i = 0; i < vectors; i++) {
            sum[i] = vf_fma(weight, i < vectors - 1 ? vf_load(v + i * VF) : vf_load_part(v + i * VF, part), sum[i]);
        }
    }
    VR_UNROLL
    for (int i = 0; i < vectors; i++) {
        if (i < vectors - 1)
            vf_store(y + i * VF, sum[i]);
        else
            vf_store_part(y + i * VF, sum[i], part);
    }
}

void VR_LEVEL(vr_weighted_sum)(float *y, float factor, const float *v, int64_t v_row, const float *p, int n, int E)
{
    for (; E >= 8 * VF; E -= 8 * VF, y += 8 * VF, v += 8 * VF) sum_columns(y, factor, v, v_row, p, n, 8, VF);
    const int part = E % VF ? E % VF : VF;
    switch ((E + VF - 1) / VF) {
    case 1:
        sum_columns(y, factor, v, v_row, p, n, 1, part);
        break;
    case 2:
        sum_columns(y, factor, v, v_row, p, n, 2, part);
        break;
    case 3:
        sum_columns(y, factor, v, v_row, p, n, 3, part);
        break;
    case 4:
        sum_columns(y, factor, v, v_row, p, n, 4, part);
        break;
    case 5:
        sum_columns(y, factor, v, v_row, p, n, 5, part);
        break;
    case 6:
        sum_columns(y, factor, v, v_row, p, n, 6, part);
        break;
    case 7:
        sum_columns(y, factor, v, v_row, p, n, 7, part);
        break;
    case 8:
        sum_columns(y, factor, v, v_row, p, n, 8, part);
        break;
    default:
        break;
    }
}
