/*
 * kept_body.h - rows of keys and values as a cache keeps them, for the vectors of a vec_*.h included before.
 *
 *   weighted_sum:  columns, 8 vectors at a time or 4 of several sums, stay in registers while the rows of v pass
 *   dot of Q8:     a group of 32 bytes -> widen -> times x -> a vector of sums, times the scale, added to the row's sums
 *
 * Bytes and numbers of 16 bits are widened in registers; what is read of memory is the row as it is kept.
 * A row gives the same bits wherever it stands.
 * Ref:   kernels/kept.h, kernels/ref/kept_c.c; bench/LOG.md.
 */
#include <string.h>

#include "base/limits.h"
#include "kernels/dsp.h"
#include "kernels/kept_scale.h"
#include "kernels/vec/load_body.h"
#include "kernels/vec/unroll.h"

#define GROUP      VR_KEPT_GROUP
#define MAX_GROUPS (VR_MAX_HEAD_DIM / GROUP)
#define VECTORS    (GROUP / VF) /* of a group */
#define COLUMNS    8            /* vectors of columns at once, at most */
#define MAX_T      (VF == 16 ? 4 : 2)

VR_INLINE vf load_i8(const void *w, int64_t at, int n)
{
    const int8_t *p = (const int8_t *)w + at;
    return n >= VF ? vf_load_i8(p) : vf_load_part_i8(p, n);
}

/* scale [n] of groups from first on of a row of E numbers: to memory, where a vector of one of them is a load, nothing else */
VR_INLINE void scales_of(float *scale, const int8_t *row, int E, int first, int n)
{
    const uint16_t *p = (const uint16_t *)(const void *)(row + vr_kept_scales(E)) + first;
    int g = 0;
    for (; g <= n - 4; g += 4) four_of_f16(scale + g, p + g);
    for (; g < n; g++) scale[g] = f32_of_f16(p + g);
}

/* Columns `from` on of rows of E numbers; T, vectors and grouped are constants where this is called; the last vector has part
 * lanes; grouped: rows of Q8. */
VR_INLINE void sum_columns(load_fn load, bool grouped, float *y, int64_t y_row, const float *factor, const void *v,
                           int64_t v_row, const float *p, int64_t p_row, int T, int n, int E, int from, int vectors, int part)
{
    vf sum[MAX_T][COLUMNS];
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        const float *row = y + t * y_row + from;
        VR_UNROLL
        for (int i = 0; i < vectors; i++)
            sum[t][i] = vf_mul(load_f32(row, i * VF, i < vectors - 1 ? VF : part), vf_set1(factor[t]));
    }
    for (int j = 0; j < n; j++) {
        vf weight[MAX_T];
        float scale[COLUMNS];
        VR_UNROLL
        for (int t = 0; t < T; t++) weight[t] = vf_set1(p[t * p_row + j]);
        if (grouped) scales_of(scale, (const int8_t *)v + j * v_row, E, from / GROUP, (vectors + VECTORS - 1) / VECTORS);
        VR_UNROLL
        for (int i = 0; i < vectors; i++) {
            if (grouped && i % VECTORS == 0) {
                VR_UNROLL
                for (int t = 0; t < T; t++) weight[t] = vf_mul(vf_set1(p[t * p_row + j]), vf_set1(scale[i / VECTORS]));
            }
            const vf x = load(v, j * v_row + from + i * VF, i < vectors - 1 ? VF : part);
            VR_UNROLL
            for (int t = 0; t < T; t++) sum[t][i] = vf_fma(weight[t], x, sum[t][i]);
        }
    }
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        float *row = y + t * y_row + from;
        VR_UNROLL
        for (int i = 0; i < vectors - 1; i++) vf_store(row + i * VF, sum[t][i]);
        vf_store_part(row + (vectors - 1) * VF, sum[t][vectors - 1], part);
    }
}

/* T and columns, vectors at once, are constants where this is called. */
VR_INLINE void sum_rows(load_fn load, bool grouped, float *y, int64_t y_row, const float *factor, const void *v, int64_t v_row,
                        const float *p, int64_t p_row, int T, int columns, int n, int E)
{
    int from = 0;
    for (; E - from >= columns * VF; from += columns * VF)
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, columns, VF);
    const int part = E % VF ? E % VF : VF, left = (E - from + VF - 1) / VF;
    switch (left) {
    case 1:
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 1, part);
        break;
    case 2:
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 2, part);
        break;
    case 3:
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 3, part);
        break;
    case 4:
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 4, part);
        break;
    case 5:
        if (columns > 4) sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 5, part);
        break;
    case 6:
        if (columns > 4) sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 6, part);
        break;
    case 7:
        if (columns > 4) sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 7, part);
        break;
    case 8:
        if (columns > 4) sum_columns(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E, from, 8, part);
        break;
    default:
        break;
    }
}

/* Four rows, two or one: their sums stay in registers, 8 to 16 of them. */
VR_INLINE void weighted_sum(load_fn load, bool grouped, float *y, int64_t y_row, const float *factor, const void *v,
                            int64_t v_row, const float *p, int64_t p_row, int T, int n, int E)
{
    for (; T >= MAX_T && MAX_T == 4; T -= 4, y += 4 * y_row, factor += 4, p += 4 * p_row)
        sum_rows(load, grouped, y, y_row, factor, v, v_row, p, p_row, MAX_T, 4, n, E);
    for (; T >= 2; T -= 2, y += 2 * y_row, factor += 2, p += 2 * p_row)
        sum_rows(load, grouped, y, y_row, factor, v, v_row, p, p_row, 2, VECTORS > 4 ? VECTORS : 4, n, E);
    if (T == 1) sum_rows(load, grouped, y, y_row, factor, v, v_row, p, p_row, 1, COLUMNS, n, E);
}

#define DEFINE_WEIGHTED_SUM(type, load, grouped)                                                                               \
    void VR_LEVEL(vr_weighted_sum_##type)(float *y, int64_t y_row, const float *factor, const void *v, int64_t v_row,          \
                                          const float *p, int64_t p_row, int T, int n, int E)                                  \
    {                                                                                                                          \
        weighted_sum(load, grouped, y, y_row, factor, v, v_row, p, p_row, T, n, E);                                            \
    }

DEFINE_WEIGHTED_SUM(f32, load_f32, false)
DEFINE_WEIGHTED_SUM(f16, load_f16, false)
DEFINE_WEIGHTED_SUM(q8, load_i8, true)

/* Group `k / 32` of R rows, its first n numbers; R, T and whole are constants where this is called; whole: n is 32. */
VR_INLINE void dot_group(vf total[8][VR_DSP_DOT_T], float scale[8][MAX_GROUPS], const float *x, int64_t x_row, int R, int T,
                         const int8_t *w, int64_t w_row, int k, int n, bool whole)
{
    vf part[8][VR_DSP_DOT_T];
    VR_UNROLL
    for (int v = 0; v < VECTORS; v++) {
        const int lanes = whole || n - v * VF >= VF ? VF : n - v * VF;
        if (!whole && v > 0 && lanes <= 0) break;
        vf numbers[8];
        VR_UNROLL
        for (int r = 0; r < R; r++) numbers[r] = load_i8(w, r * w_row + k + v * VF, lanes);
        VR_UNROLL
        for (int t = 0; t < T; t++) {
            const vf a = load_f32(x, t * x_row + k + v * VF, lanes);
            VR_UNROLL
            for (int r = 0; r < R; r++) part[r][t] = v == 0 ? vf_mul(numbers[r], a) : vf_fma(numbers[r], a, part[r][t]);
        }
    }
    VR_UNROLL
    for (int r = 0; r < R; r++) {
        const vf one = vf_set1(scale[r][k / GROUP]);
        VR_UNROLL
        for (int t = 0; t < T; t++) total[r][t] = vf_fma(part[r][t], one, total[r][t]);
    }
}

/* R and T are constants where this is called. */
VR_INLINE void dot_rows(float *y, int64_t y_row, const float *x, int64_t x_row, int R, int T, const int8_t *w, int64_t w_row,
                        int K)
{
    vf total[8][VR_DSP_DOT_T];
    VR_UNROLL
    for (int i = 0; i < R * T; i++) total[i / T][i % T] = vf_zero();
    float scale[8][MAX_GROUPS];
    VR_UNROLL
    for (int r = 0; r < R; r++) scales_of(scale[r], w + r * w_row, K, 0, (K + GROUP - 1) / GROUP);
    int k = 0;
    for (; k <= K - GROUP; k += GROUP) dot_group(total, scale, x, x_row, R, T, w, w_row, k, GROUP, true);
    if (k < K) dot_group(total, scale, x, x_row, R, T, w, w_row, k, K - k, false);
    VR_UNROLL
    for (int i = 0; i < R * T; i++) y[i % T * y_row + i / T] = vf_sum(total[i / T][i % T]);
}

/* R and T are constants where this is called. */
VR_INLINE void dot_all(float *y, int64_t y_row, const float *x, int64_t x_row, int R, int T, const int8_t *w, int64_t w_row,
                       int n_rows, int K)
{
    int n = 0;
    for (; n <= n_rows - R; n += R) dot_rows(y + n, y_row, x, x_row, R, T, w + n * w_row, w_row, K);
    for (; n < n_rows; n++) dot_rows(y + n, y_row, x, x_row, 1, T, w + n * w_row, w_row, K);
}

/* Rows at once: part, total and numbers of all of them stay in registers. */
void VR_LEVEL(vr_dot_q8)(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row,
                         int n_rows, int K)
{
    switch (T) {
    case 1:
        dot_all(y, y_row, x, x_row, VF_REGISTERS == 32 ? 8 : 4, 1, w, w_row, n_rows, K);
        break;
    case 2:
        dot_all(y, y_row, x, x_row, VF_REGISTERS == 32 ? 4 : 2, 2, w, w_row, n_rows, K);
        break;
    case 3:
        dot_all(y, y_row, x, x_row, VF_REGISTERS == 32 ? 4 : 2, 3, w, w_row, n_rows, K);
        break;
    case 4:
        dot_all(y, y_row, x, x_row, VF_REGISTERS == 32 ? 2 : 1, 4, w, w_row, n_rows, K);
        break;
    default:
        break;
    }
}

void VR_LEVEL(vr_widen_q8)(float *y, const void *row, int n)
{
    float scale[MAX_GROUPS];
    scales_of(scale, row, n, 0, (n + GROUP - 1) / GROUP);
    for (int i = 0; i < n; i += VF) {
        const int lanes = n - i < VF ? n - i : VF;
        const vf x = vf_mul(vf_set1(scale[i / GROUP]), load_i8(row, i, lanes));
        if (lanes == VF)
            vf_store(y + i, x);
        else
            vf_store_part(y + i, x, lanes);
    }
}

void VR_LEVEL(vr_keep_f16)(void *row, const float *x, int n)
{
    uint16_t *y = row;
    int i = 0;
    for (; i <= n - VF; i += VF) vf_store_f16(y + i, vf_load(x + i));
    if (i < n) vf_store_part_f16(y + i, vf_load_part(x + i, n - i), n - i);
}

void VR_LEVEL(vr_keep_q8)(void *row, const float *x, int n)
{
    int8_t *bytes = row;
    uint16_t *scales = (uint16_t *)(void *)(bytes + vr_kept_scales(n));
    memset(bytes + n, 0, (size_t)(vr_kept_row(VR_KEPT_Q8, n) - n));
    for (int k = 0; k < n; k += GROUP, scales++) {
        vf most = vf_zero(), finite = vf_zero();
        for (int i = k; i < n && i < k + GROUP; i += VF) {
            const vf v = load_f32(x, i, n - i);
            most = vf_max(vf_abs(v), most);
            finite = vf_fma(v, vf_zero(), finite);
        }
        const bool good = vf_sum(finite) == 0;
        *scales = vr_kept_scale(vf_largest(most), good);
        const vf inverse = vf_set1(vr_kept_inverse(*scales));
        for (int i = k; i < n && i < k + GROUP; i += VF) {
            const vf v = good ? vf_mul(load_f32(x, i, n - i), inverse) : vf_zero();
            if (n - i >= VF)
                vf_store_i8(bytes + i, v);
            else
                vf_store_part_i8(bytes + i, v, n - i);
        }
    }
}
