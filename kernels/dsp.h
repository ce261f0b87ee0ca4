/*
 * dsp.h - the inner CPU table: single-thread row and tile kernels. Only here do scalar C, AVX2, AVX-512 and NEON
 * differ.
 *
 *   vr_ops (ops.h)  ->  kernels/cpu: threads, blocks, packing, written once  ->  vr_dsp: one row or one tile
 *   levels: kernels/ref (c, the definition), kernels/x86 (avx2, avx512), kernels/arm (neon), the last two from the same text in
 *   kernels/vec; kernels/cpu/select.c fills the table
 *
 * Pure functions: no allocation, no errors, no threads. f32 pointers need 4-byte alignment only. "y may equal x" means the very
 * same pointer; anything else does not overlap. Every count may be 0 unless a line says otherwise, and has any remainder.
 * Packed panels: [K][tile_cols] f32, k-major, so one k is one run of tile_cols floats; columns that do not exist hold zeros.
 * Accuracy classes: tests/check. The width of vectors never shows in a result beyond its class.
 * Trap: NaN passes through every kernel; none branches on data in a way that a NaN could hang.
 */
#ifndef VR_DSP_H
#define VR_DSP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "kernels/ahead.h"
#include "kernels/ops.h"
#include "kernels/quantised.h"

#define VR_DSP_MAX_TILE_ROWS 8
#define VR_DSP_MAX_TILE_COLS 64
#define VR_DSP_MAX_PAIR_ROWS 32
#define VR_DSP_MAX_PAIR_STEP 16
#define VR_DSP_DOT_T         4  /* rows of x that dot takes at once */
#define VR_DSP_FEW           8  /* queries that scores and weighted_sum take at once */
#define VR_DSP_FEW_KEYS      64 /* keys, and so the distance of rows of scores */
#define VR_DSP_QUERY_ROW     (VR_MAX_HEAD_DIM + 128) /* distance of queries: 8 of 128 fill every set of the first cache once */
#define VR_DSP_MAX_COSINE    7  /* rows that cosine compares at once: windows of 8 frames */
#define VR_DSP_GRAM          16 /* rows of a Gram matrix that gram takes at once */
#define VR_DSP_GRAM_COLUMNS  16384
#define VR_DSP_DISTANCE_A    2 /* rows that distance compares with ... */
#define VR_DSP_DISTANCE_B    4 /* ... these at once */

enum { VR_DSP_F32, VR_DSP_F16, VR_DSP_BF16, VR_DSP_DTYPES }; /* index of the functions that read weights */

/* panel[k][c] = w[c][k] for c < n, 0 for n <= c < tile_cols; k < K. w: n rows of w_row elements. EXACT */
typedef void vr_dsp_pack_fn(float *panel, const void *w, int64_t w_row, int n, int K);

/* The same of a strip of quantised weights (base/strips.h): panel[i][c] = value of row `row` + c at column k + i, i < K,
 * c < min(tile_cols, 16 - row); row is a multiple of tile_cols, k of 32, scales are finite. Rows of the panel up to a multiple
 * of 32 may be written as well. EXACT but for the sign of zero */
typedef void vr_dsp_pack_strip_fn(float *panel, const void *strip, vr_dtype type, int row, int k, int K);

/* c[r][j] (+)= sum_k a[r][k] panel[k][j];  r < rows <= tile_rows, j < cols <= tile_cols; rows of c_row and a_row floats.
 * add: to what c holds, otherwise c is overwritten. Columns up to the next multiple of the vector may be written as well:
 * every row of c has tile_cols floats of room. K may be 0. class REDUCE */
typedef void vr_dsp_gemm_tile_fn(float *c, int64_t c_row, const float *a, int64_t a_row, const float *panel, int rows, int cols,
                                 int K, bool add);

/* The same on pairs of bf16 numbers: panel[k/2][c][k%2] = w[c][k] rounded, K rounded up to even with zeros; numbers below
 * 2^-126 are zeros. EXACT */
typedef void vr_dsp_pack_pairs_fn(uint16_t *panel, const void *w, int64_t w_row, int n, int K);

/* y[i] = x[i] rounded to bf16 in the same way, i < n; an odd n has one zero more. EXACT */
typedef void vr_dsp_narrow_fn(uint16_t *y, const float *x, int n);

/* gemm_tile on such numbers, rows <= pair_rows; a_row is even; sums of f32. pairs is rounded up to a multiple of pair_step, and
 * a and panel hold zeros there; all tile_cols columns of c may be written. class REDUCE */
typedef void vr_dsp_gemm_tile_bf16_fn(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel,
                                      int rows, int cols, int pairs, bool add);

/* y[t][n] = sum_k x[t][k] w[n][k];  t < T <= VR_DSP_DOT_T, n < n_rows; rows of y_row, x_row floats and w_row elements.
 * w is read once, front to back. class REDUCE */
typedef void vr_dsp_dot_fn(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row,
                           int n_rows, int K);

/* s[t][j] = sum_e q[t][e] k[j][e];  t < T <= VR_DSP_FEW, j < n <= VR_DSP_FEW_KEYS, e < E; rows of s are VR_DSP_FEW_KEYS
 * apart, of q VR_DSP_QUERY_ROW, of k k_row elements. Constants, because few registers are left for addresses. next: what is
 * read after this, fetched meanwhile. class REDUCE */
typedef void vr_dsp_scores_fn(float *s, const float *q, int T, const void *k, int64_t k_row, int n, int E, vr_ahead *next);

/* y[t][e] = y[t][e] factor[t] + sum_j p[t][j] v[j][e];  t, j, e as above, but any n where T is 1; rows of y_row and v_row
 * elements, of p VR_DSP_FEW_KEYS apart. A row of y gives the same bits in every company. class REDUCE */
typedef void vr_dsp_weighted_sum_fn(float *y, int64_t y_row, const float *factor, const void *v, int64_t v_row, const float *p,
                                    int T, int n, int E, vr_ahead *next);

/* row of n numbers as kept.h has it, every byte of it; row is aligned for its elements, of Q8 for 2 bytes. EXACT */
typedef void vr_dsp_keep_fn(void *row, const float *x, int n);

/* y[i] = w[i] as f32, i < n. EXACT (a signalling NaN becomes quiet or stays) */
typedef void vr_dsp_widen_fn(float *y, const void *w, int n);

/* Rows at one place of several frames, n <= cosine_rows, b_r = b + r b_row elements:
 *   s[r s_row] = (a_r . b_r) / (max(|a_r|, 1e-8) max(|b_r|, 1e-8));  a_r = a; in a chain a_r = b_(r-1), and a for r = 0
 * Every row is read once; a row gives the same bits in every company. Sums of squares must fit f32. class REDUCE of 1 */
typedef void vr_dsp_cosine_fn(float *s, int64_t s_row, const void *a, const void *b, int64_t b_row, int n, int D, bool chain);

/* g[i VR_DSP_GRAM + j] = sum_d rows_i[first + d] rows_j[first + d], i <= j < n <= VR_DSP_GRAM, d < columns; other numbers of g
 * stay; columns <= VR_DSP_GRAM_COLUMNS. Sums in f32, class REDUCE; their total over calls is for the caller, hence double. */
typedef void vr_dsp_gram_fn(double *g, const void *const *rows, int n, int64_t first, int columns);

/* sums[i VR_DSP_DISTANCE_B + j] = sum_d (a_i[first + d] - b_j[first + d])^2, d < columns <= VR_DSP_GRAM_COLUMNS, over
 * VR_DSP_DISTANCE_A rows a_i and VR_DSP_DISTANCE_B rows b_j, all of them there (the same one twice is legal). A pair gives the
 * same bits at every place. Sums in f32, class REDUCE; their total over calls is for the caller, hence double. */
typedef void vr_dsp_distance_fn(double *sums, const float *const *a, const float *const *b, int64_t first, int columns);

/* Rows of keys and values of one type of kept.h: K and E are the numbers of a head, rows begin at multiples of 2 bytes. */
typedef struct vr_dsp_kept {
    vr_dsp_scores_fn *scores;
    vr_dsp_weighted_sum_fn *weighted_sum;
    vr_dsp_widen_fn *widen; /* all n numbers of a row */
    vr_dsp_keep_fn *keep;   /* NULL for F32: a copy */
} vr_dsp_kept;

typedef struct vr_dsp {
    const char *level;
    int tile_rows, tile_cols; /* of gemm_tile; tile_cols is a multiple of the vector */
    int k_block;              /* a packed panel has at most k_block x tile_cols floats */
    int k_block_few;          /* <= k_block, a multiple of 32: of strips, for few rows of x */

    vr_dsp_pack_fn *pack[VR_DSP_DTYPES];
    vr_dsp_pack_strip_fn *pack_strip;
    vr_dsp_gemm_tile_fn *gemm_tile;
    /* bf16 products; NULL where this level has none that are faster than f32: it then computes in f32 */
    vr_dsp_pack_pairs_fn *pack_pairs[VR_DSP_DTYPES];
    vr_dsp_narrow_fn *narrow;
    vr_dsp_gemm_tile_bf16_fn *gemm_tile_bf16;
    int pair_rows, pair_step; /* of gemm_tile_bf16 */
    vr_dsp_quantise_fn *quantise;
    vr_dsp_strip_fn *strip_q8, *strip_q4, *strip_q4m; /* vr_dsp_strip */
    int strip_rows;                                   /* that these take at once, <= VR_STRIP_MAX_T */
    vr_dsp_dot_fn *dot[VR_DSP_DTYPES];
    vr_dsp_widen_fn *widen[VR_DSP_DTYPES];
    vr_dsp_kept kept[VR_KEPTS];
    vr_dsp_cosine_fn *cosine[VR_DSP_DTYPES];
    int cosine_rows; /* <= VR_DSP_MAX_COSINE; more than one */
    vr_dsp_gram_fn *gram[VR_DSP_DTYPES];
    vr_dsp_distance_fn *distance;

    /* y row i = x row ids[i], i < n, rows of row_bytes; y goes past the caches. Other threads see it at the next lock. EXACT */
    void (*gather)(void *y, const void *x, const int32_t *ids, int n, size_t row_bytes);

    /* y[i] = act(s[i] + bias[i]) + residual[i], i < n; bias, residual may be NULL; y may equal s or residual.
     * ULP(5) of the argument's size: abs(error) <= 5 u (abs(s) + abs(bias) + abs(residual)) */
    void (*finish)(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int n);

    /* y[i] = act(gate[i]) up[i]; y may equal gate or up. ULP(5) of abs(gate up) */
    void (*gated)(float *y, const float *gate, const float *up, vr_activation act, int n);

    /* One row of ops.h layer_norm, rms_norm, l2_norm; D >= 1; y may equal x; sums of squares must fit f32. class REDUCE */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, int D, float eps);
    void (*rms_norm)(float *y, const float *x, const float *w, int D, float eps);
    void (*l2_norm)(float *y, const float *x, int D, float eps, float scale);

    /* Turn one head of E floats (E even) in place; cosine, sine [E/2]. class REDUCE */
    void (*rope)(float *x, const float *cosine, const float *sine, vr_rope_pairs pairs, int E);

    /* A block of scores of one query in a running softmax (arXiv:1805.02867):
     *   m = max(*max, max_i scale s[i]);  f = exp(*max - m);  s[i] = exp(scale s[i] - m), i < n;  s[i] = 0, n <= i < n_zero
     *   *sum = *sum f + sum_i s[i];  *max = m;  returns f: what was summed before shrinks by it.
     * Start with *max = -inf, *sum = 0. Scores of -inf count nothing, even where all are; NaN makes the sum NaN. ULP(4) */
    float (*softmax)(float *s, int n, int n_zero, float scale, float *max, float *sum);

    /* y[i] = x[i] + b[i]; y may equal x.  y[i] *= factor. EXACT */
    void (*add)(float *y, const float *x, const float *b, int n);
    void (*scale)(float *y, float factor, int n);
} vr_dsp;

static inline vr_dsp_strip_fn *vr_dsp_strip(const vr_dsp *d, vr_dtype t)
{
    return t == VR_DTYPE_Q8_R16 ? d->strip_q8 : t == VR_DTYPE_Q4_R16 ? d->strip_q4 : d->strip_q4m;
}

static inline int vr_dsp_dtype(vr_dtype t)
{
    return t == VR_DTYPE_F32 ? VR_DSP_F32 : t == VR_DTYPE_F16 ? VR_DSP_F16 : VR_DSP_BF16;
}

/* Every level has the same kernels under the names vr_<kernel>_<level>, and one function that fills the whole table. */
#define VR_DSP_DECLARE(level)                                                                                                  \
    vr_dsp_pack_fn vr_pack_f32_##level, vr_pack_f16_##level, vr_pack_bf16_##level;                                             \
    vr_dsp_pack_strip_fn vr_pack_strip_##level;                                                                                \
    vr_dsp_gemm_tile_fn vr_gemm_tile_##level;                                                                                  \
    vr_dsp_dot_fn vr_dot_f32_##level, vr_dot_f16_##level, vr_dot_bf16_##level;                                                 \
    vr_dsp_widen_fn vr_widen_f32_##level, vr_widen_f16_##level, vr_widen_bf16_##level, vr_widen_q8_##level;                    \
    vr_dsp_scores_fn vr_scores_f32_##level, vr_scores_f16_##level, vr_scores_q8_##level;                                       \
    vr_dsp_weighted_sum_fn vr_weighted_sum_f32_##level, vr_weighted_sum_f16_##level, vr_weighted_sum_q8_##level;               \
    vr_dsp_keep_fn vr_keep_f16_##level, vr_keep_q8_##level;                                                                    \
    vr_dsp_cosine_fn vr_cosine_f32_##level, vr_cosine_f16_##level, vr_cosine_bf16_##level;                                     \
    vr_dsp_gram_fn vr_gram_f32_##level, vr_gram_f16_##level, vr_gram_bf16_##level;                                             \
    vr_dsp_distance_fn vr_distance_##level;                                                                                    \
    void vr_gather_##level(void *y, const void *x, const int32_t *ids, int n, size_t row_bytes);                               \
    void vr_finish_##level(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int n);      \
    void vr_gated_##level(float *y, const float *gate, const float *up, vr_activation act, int n);                             \
    void vr_layer_norm_##level(float *y, const float *x, const float *w, const float *b, int D, float eps);                    \
    void vr_rms_norm_##level(float *y, const float *x, const float *w, int D, float eps);                                      \
    void vr_l2_norm_##level(float *y, const float *x, int D, float eps, float scale);                                          \
    void vr_rope_##level(float *x, const float *cosine, const float *sine, vr_rope_pairs pairs, int E);                        \
    float vr_softmax_##level(float *s, int n, int n_zero, float scale, float *max, float *sum);                                \
    void vr_add_##level(float *y, const float *x, const float *b, int n);                                                      \
    void vr_scale_##level(float *y, float factor, int n)

VR_DSP_DECLARE(c);
vr_dsp_pack_pairs_fn vr_pack_pairs_f32_c, vr_pack_pairs_f16_c, vr_pack_pairs_bf16_c;
vr_dsp_pack_pairs_fn vr_pack_pairs_f32_avx512bf16, vr_pack_pairs_f16_avx512bf16, vr_pack_pairs_bf16_avx512bf16;
vr_dsp_narrow_fn vr_narrow_c, vr_narrow_avx512bf16;
vr_dsp_gemm_tile_bf16_fn vr_gemm_tile_bf16_c, vr_gemm_tile_bf16_avx512bf16, vr_gemm_tile_bf16_amx;
vr_dsp_gemm_tile_bf16_fn vr_gemm_tile_bf16_tiles; /* of the check: that of amx in plain C */
vr_dsp_quantise_fn vr_quantise_c, vr_quantise_avx2, vr_quantise_avx512vnni, vr_quantise_neon;
vr_dsp_strip_fn vr_strip_q8_c, vr_strip_q8_avx2, vr_strip_q8_avx512vnni;
vr_dsp_strip_fn vr_strip_q4_c, vr_strip_q4_avx2, vr_strip_q4_avx512vnni;
vr_dsp_strip_fn vr_strip_q4m_c, vr_strip_q4m_avx2, vr_strip_q4m_avx512vnni;
vr_dsp_strip_fn vr_strip_q8_amx, vr_strip_q4_amx, vr_strip_q4m_amx;
vr_dsp_strip_fn vr_strip_q8_tiles, vr_strip_q4_tiles, vr_strip_q4m_tiles; /* of the check, as above */
vr_dsp_strip_fn vr_strip_q8_neon, vr_strip_q8_neondot, vr_strip_q4_neon, vr_strip_q4_neondot;
vr_dsp_strip_fn vr_strip_q4m_neon, vr_strip_q4m_neondot;
VR_DSP_DECLARE(avx2);
VR_DSP_DECLARE(avx512);
VR_DSP_DECLARE(neon);
vr_dsp_gram_fn vr_gram_bf16_avx512bf16;

#endif
