/*
 * kept_body.h - rows of keys and values as a cache keeps them, for the vectors of a vec_*.h included before.
 *
 *   scores:        tiles of 1 to 8 keys x 1 to 8 queries, a vector of sums each, added up across lanes together
 *   weighted_sum:  columns of up to 8 queries, 8 to 24 vectors, stay in registers while the rows of v pass
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
#define SLICE      8                  /* rows of values between fetches */
#define MAX_KEYS   8                  /* of a tile: more do not gain, and their addresses are too many */
#define SUMS       (VF_REGISTERS / 2) /* of scores at once: vectors, one a number of the result */
#define MAX_T      (VF_REGISTERS / 4) /* sums of rows at once, at most */
#define COLUMNS    8                  /* vectors of such a sum at once, at most */

VR_INLINE vf load_i8(const void *w, int64_t at, int n)
{
    const int8_t *p = (const int8_t *)w + at;
    return n >= VF ? vf_load_i8(p) : vf_load_part_i8(p, n);
}

/* scale [n] of the groups of a row of E numbers from number `from` on: to memory, where a vector of one of them is a load */
VR_INLINE void scales_of(float *scale, const int8_t *row, int E, int from, int n)
{
    const uint16_t *p = (const uint16_t *)(const void *)(row + vr_kept_scales(E)) + from / GROUP;
    int g = 0;
    for (; g <= n - 4; g += 4) four_of_f16(scale + g, p + g);
    for (; g < n; g++) scale[g] = f32_of_f16(p + g);
}

/* Columns `from` on of rows of E numbers; T, vectors and grouped are constants where this is called; the last vector has part
 * lanes; grouped: rows of Q8, from a multiple of the group. */
VR_INLINE void sum_columns(load_fn load, bool grouped, float *y, int64_t y_row, const float *factor, const void *v,
                           int64_t v_row, const float *p, int T, int n, int E, vr_ahead *next, int from, int vectors, int part)
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
        if (j % SLICE == 0) vr_ahead_fetch(next, (n - j < SLICE ? n - j : SLICE) * T * vectors * VF);
        float scale[COLUMNS];
        vf x[COLUMNS];
        if (grouped) scales_of(scale, (const int8_t *)v + j * v_row, E, from, (vectors * VF + GROUP - 1) / GROUP);
        VR_UNROLL
        for (int i = 0; i < vectors; i++) {
            x[i] = load(v, j * v_row + from + i * VF, i < vectors - 1 ? VF : part);
            if (grouped) x[i] = vf_mul(x[i], vf_set1(scale[i * VF / GROUP]));
        }
        VR_UNROLL
        for (int t = 0; t < T; t++) {
            const vf weight = vf_set1(p[t * VR_DSP_FEW_KEYS + j]);
            VR_UNROLL
            for (int i = 0; i < vectors; i++) sum[t][i] = vf_fma(weight, x[i], sum[t][i]);
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
                        const float *p, int T, int columns, int n, int E, vr_ahead *next)
{
    int from = 0;
    for (; E - from >= columns * VF; from += columns * VF)
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, T, n, E, next, from, columns, VF);
    for (; columns > 4 && E - from >= 4 * VF; from += 4 * VF)
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, T, n, E, next, from, 4, VF);
    for (; E - from >= 2 * VF; from += 2 * VF)
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, T, n, E, next, from, 2, VF);
    for (; E > from; from += VF)
        sum_columns(load, grouped, y, y_row, factor, v, v_row, p, T, n, E, next, from, 1, E - from < VF ? E - from : VF);
}

/* Rows of sums that stay in registers together, and so a row of v is widened once for them. Columns of Q8 are whole groups or
 * whole parts of one. */
VR_INLINE void weighted_sum(load_fn load, bool grouped, float *y, int64_t y_row, const float *factor, const void *v,
                            int64_t v_row, const float *p, int T, int n, int E, vr_ahead *next)
{
#define ROWS_OF(rows, columns)                                                                                                 \
    case rows:                                                                                                                 \
        sum_rows(load, grouped, y, y_row, factor, v, v_row, p, rows, columns, n, E, next);                                     \
        break
#if VF_REGISTERS == 32
    switch (T) {
        ROWS_OF(1, 8);
        ROWS_OF(2, 8);
        ROWS_OF(3, 8);
        ROWS_OF(4, 4);
        ROWS_OF(5, 4);
        ROWS_OF(6, 4);
        ROWS_OF(7, grouped ? 2 : 3);
        ROWS_OF(8, grouped ? 2 : 3);
    default:
        break;
    }
#else
    for (; T > MAX_T; T -= MAX_T, y += MAX_T * y_row, factor += MAX_T, p += MAX_T * VR_DSP_FEW_KEYS)
        sum_rows(load, grouped, y, y_row, factor, v, v_row, p, MAX_T, 2, n, E, next);
    switch (T) {
        ROWS_OF(1, 8);
        ROWS_OF(2, 4);
        ROWS_OF(3, 4);
        ROWS_OF(4, 2);
    default:
        break;
    }
#endif
#undef ROWS_OF
}

#define DEFINE_WEIGHTED_SUM(type, load, grouped)                                                                               \
    void VR_LEVEL(vr_weighted_sum_##type)(float *y, int64_t y_row, const float *factor, const void *v, int64_t v_row,          \
                                          const float *p, int T, int n, int E, vr_ahead *next)                                 \
    {                                                                                                                          \
        weighted_sum(load, grouped, y, y_row, factor, v, v_row, p, T, n, E, next);                                             \
    }

DEFINE_WEIGHTED_SUM(f32, load_f32, false)
DEFINE_WEIGHTED_SUM(f16, load_f16, false)
DEFINE_WEIGHTED_SUM(q8, load_i8, true)

/* sum[t R + r] += products of VF numbers, or the last n, from number e on; R, T and grouped are constants where this is
 * called. */
VR_INLINE void score_step(load_fn load, bool grouped, vf sum[SUMS], float scale[][MAX_GROUPS], const float *q, int R, int T,
                          const void *k, int64_t at, int64_t k_row, int e, int n)
{
    vf row[MAX_KEYS];
    VR_UNROLL
    for (int r = 0; r < R; r++) {
        row[r] = load(k, at + r * k_row + e, n);
        if (grouped) row[r] = vf_mul(row[r], vf_set1(scale[r][e / GROUP]));
    }
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        vf a = load_f32(q, t * VR_DSP_QUERY_ROW + e, n);
        if (R > 1) VF_HOLD(a);
        VR_UNROLL
        for (int r = 0; r < R; r++) sum[t * R + r] = vf_fma(row[r], a, sum[t * R + r]);
    }
}

/* R, T and grouped are constants where this is called. */
VR_INLINE void score_tile(load_fn load, bool grouped, float *s, const float *q, int R, int T, const void *k, int64_t at,
                          int64_t k_row, int E, vr_ahead *next)
{
    vf sum[SUMS];
    float scale[MAX_KEYS][MAX_GROUPS], total[SUMS];
    VR_UNROLL
    for (int i = 0; i < SUMS; i++) sum[i] = vf_zero();
    for (int r = 0; grouped && r < R; r++)
        scales_of(scale[r], (const int8_t *)k + at + r * k_row, E, 0, (E + GROUP - 1) / GROUP);
    int e = 0;
    for (; e <= E - VF; e += VF) score_step(load, grouped, sum, scale, q, R, T, k, at, k_row, e, VF);
    if (e < E) score_step(load, grouped, sum, scale, q, R, T, k, at, k_row, e, E - e);
    vr_ahead_fetch(next, R * T * E);
    VR_UNROLL
    for (int i = 0; i < R * T; i += VF) vf_store(total + i, vf_sums(sum + i));
    VR_UNROLL
    for (int t = 0; t < T; t++) memcpy(s + t * VR_DSP_FEW_KEYS, total + t * R, (size_t)R * sizeof *s);
}

/* R, T and grouped are constants where this is called. */
VR_INLINE void score_rows(load_fn load, bool grouped, float *s, const float *q, int R, int T, const void *k, int64_t k_row,
                          int n, int E, vr_ahead *next)
{
    int j = 0;
    for (; j <= n - R; j += R) score_tile(load, grouped, s + j, q, R, T, k, j * k_row, k_row, E, next);
    for (; j < n; j++) score_tile(load, grouped, s + j, q, 1, T, k, j * k_row, k_row, E, next);
}

/* A key is widened once for all queries; the sums of a tile are added up across lanes together. */
VR_INLINE void scores(load_fn load, bool grouped, float *s, const float *q, int T, const void *k, int64_t k_row, int n, int E,
                      vr_ahead *next)
{
#define QUERIES_OF(queries, keys)                                                                                              \
    case queries:                                                                                                              \
        score_rows(load, grouped, s, q, keys, queries, k, k_row, n, E, next);                                                  \
        break
    switch (T) {
        QUERIES_OF(1, MAX_KEYS);
        QUERIES_OF(2, SUMS / 2);
        QUERIES_OF(3, SUMS / 4);
        QUERIES_OF(4, SUMS / 4);
        QUERIES_OF(5, SUMS / 8);
        QUERIES_OF(6, SUMS / 8);
        QUERIES_OF(7, SUMS / 8);
        QUERIES_OF(8, SUMS / 8);
    default:
        break;
    }
#undef QUERIES_OF
}

#define DEFINE_SCORES(type, load, grouped)                                                                                     \
    void VR_LEVEL(vr_scores_##type)(float *s, const float *q, int T, const void *k, int64_t k_row, int n, int E,               \
                                    vr_ahead *next)                                                                            \
    {                                                                                                                          \
        scores(load, grouped, s, q, T, k, k_row, n, E, next);                                                                  \
    }

DEFINE_SCORES(f32, load_f32, false)
DEFINE_SCORES(f16, load_f16, false)
DEFINE_SCORES(q8, load_i8, true)

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
