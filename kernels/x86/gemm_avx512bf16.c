/*
 * gemm_avx512bf16.c - the matrix product on bf16 pairs: twice the multiply-adds of f32.
 *
 *   pack:  16 rows of W x 32 columns, rounded to bf16 -> transpose of pairs in registers -> panel [K/2][64][2]
 *   tile:  sums [6][1..4 vectors] in registers: each pair of k loads the vectors of one panel row and broadcasts 6 pairs of a
 *
 * Ref:   gemm_body.h (the same in f32); kernels/dsp.h.
 * Trap:  vdpbf16ps takes subnormal numbers for zeros. Not every processor that has it is fast at it (kernels/cpu/cpuid.c).
 */
#if defined(__x86_64__)
#include <string.h>

#include "kernels/x86/vec_avx512.h"

#include "kernels/dsp.h"

#define TILE       64
#define ROWS       6
#define AHEAD      1024 /* bytes of the panel, from the second-level cache: 2 to 5 %; bench/LOG.md */
#define ROWS_AHEAD 512  /* bytes of the rows that are packed, into the second-level cache; the first is no better than none */

typedef __m512i pairs_fn(const void *w, int64_t at, int n);

/* n (0..32) numbers from element at on as bf16, zeros behind. */
VR_INLINE __m512i pairs_of(vf low, vf high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

VR_INLINE __m512i pairs_f32(const void *w, int64_t at, int n)
{
    const float *p = (const float *)w + at;
    if (n >= 32) return pairs_of(vf_load(p), vf_load(p + 16));
    return pairs_of(vf_load_part(p, n < 16 ? n : 16), n > 16 ? vf_load_part(p + 16, n - 16) : vf_zero());
}

VR_INLINE __m512i pairs_f16(const void *w, int64_t at, int n)
{
    const uint16_t *p = (const uint16_t *)w + at;
    if (n >= 32) return pairs_of(vf_load_f16(p), vf_load_f16(p + 16));
    return pairs_of(vf_load_part_f16(p, n < 16 ? n : 16), n > 16 ? vf_load_part_f16(p + 16, n - 16) : vf_zero());
}

VR_INLINE __m512i pairs_bf16(const void *w, int64_t at, int n)
{
    const uint16_t *p = (const uint16_t *)w + at;
    if (n >= 32) return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi16((__mmask32)(((uint32_t)1 << n) - 1), p);
}

/* 16 columns of a panel, 16 pairs deep, from n rows of `depth` numbers (1 to 32). Both are constants where 16 and 32 exist:
 * without branches packing is 1.4 times as fast. */
VR_INLINE void pack_block(pairs_fn load, size_t element, uint16_t *panel, const void *rows, int64_t at, int64_t w_row, int n,
                          int depth)
{
    vf r[16];
    VR_UNROLL
    for (int i = 0; i < 16; i++) {
        r[i] = i < n ? _mm512_castsi512_ps(load(rows, at + i * w_row, depth)) : vf_zero();
        if (i < n) _mm_prefetch((const char *)((uintptr_t)rows + (size_t)(at + i * w_row) * element + ROWS_AHEAD), _MM_HINT_T1);
    }
    vf_transpose(r);
    if (depth == 32) {
        VR_UNROLL
        for (int i = 0; i < 16; i++) _mm512_storeu_si512(panel + (ptrdiff_t)i * TILE * 2, _mm512_castps_si512(r[i]));
    } else {
        for (int i = 0; i < (depth + 1) / 2; i++)
            _mm512_storeu_si512(panel + (ptrdiff_t)i * TILE * 2, _mm512_castps_si512(r[i]));
    }
}

VR_INLINE void pack(pairs_fn load, size_t element, uint16_t *panel, const void *w, int64_t w_row, int n, int K)
{
    for (int c = 0; c < TILE; c += 16) {
        const unsigned char *rows = (const unsigned char *)w + (size_t)(c < n ? c * w_row : 0) * element;
        const int left = c < n ? n - c : 0;
        for (int k = 0; k < K; k += 32) {
            uint16_t *to = panel + ((int64_t)k / 2 * TILE + c) * 2;
            if (left >= 16 && K - k >= 32)
                pack_block(load, element, to, rows, k, w_row, 16, 32);
            else
                pack_block(load, element, to, rows, k, w_row, left, K - k < 32 ? K - k : 32);
        }
    }
}

void vr_pack_pairs_f32_avx512bf16(uint16_t *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(pairs_f32, 4, panel, w, w_row, n, K);
}

void vr_pack_pairs_f16_avx512bf16(uint16_t *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(pairs_f16, 2, panel, w, w_row, n, K);
}

void vr_pack_pairs_bf16_avx512bf16(uint16_t *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(pairs_bf16, 2, panel, w, w_row, n, K);
}

void vr_narrow_avx512bf16(uint16_t *y, const float *x, int n)
{
    for (int i = 0; i < n; i += 32) {
        const __m512i pairs = pairs_f32(x, i, n - i);
        if (n - i >= 32)
            _mm512_storeu_si512(y + i, pairs);
        else
            _mm512_mask_storeu_epi16(y + i, (__mmask32)(((uint64_t)1 << (n - i + (n - i) % 2)) - 1), pairs);
    }
}

/* rows and vectors are constants where this is called. */
VR_INLINE void tile(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows, int vectors,
                    int pairs, bool add)
{
    vf sum[ROWS][4];
    VR_UNROLL
    for (int r = 0; r < rows; r++) {
        VR_UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = add ? vf_load(c + r * c_row + v * VF) : vf_zero();
    }
    for (int k = 0; k < pairs; k++, panel += 2 * TILE) {
        __m512i b[4];
        VR_UNROLL
        for (int v = 0; v < vectors; v++) {
            b[v] = _mm512_loadu_si512(panel + v * 32);
            _mm_prefetch((const char *)(panel + v * 32) + AHEAD, _MM_HINT_T0);
        }
        VR_UNROLL
        for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, a + r * a_row + 2 * k, sizeof pair);
            const __m512i x = _mm512_set1_epi32(pair);
            VR_UNROLL
            for (int v = 0; v < vectors; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)x, (__m512bh)b[v]);
        }
    }
    VR_UNROLL
    for (int r = 0; r < rows; r++) {
        VR_UNROLL
        for (int v = 0; v < vectors; v++) vf_store(c + r * c_row + v * VF, sum[r][v]);
    }
}

VR_INLINE void tile_rows(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows,
                         int vectors, int pairs, bool add)
{
    switch (rows) {
    case 1:
        tile(c, c_row, a, a_row, panel, 1, vectors, pairs, add);
        break;
    case 2:
        tile(c, c_row, a, a_row, panel, 2, vectors, pairs, add);
        break;
    case 3:
        tile(c, c_row, a, a_row, panel, 3, vectors, pairs, add);
        break;
    case 4:
        tile(c, c_row, a, a_row, panel, 4, vectors, pairs, add);
        break;
    case 5:
        tile(c, c_row, a, a_row, panel, 5, vectors, pairs, add);
        break;
    case 6:
        tile(c, c_row, a, a_row, panel, 6, vectors, pairs, add);
        break;
    default:
        break;
    }
}

void vr_gemm_tile_bf16_avx512bf16(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows,
                                  int cols, int pairs, bool add)
{
    switch ((cols + VF - 1) / VF) {
    case 1:
        tile_rows(c, c_row, a, a_row, panel, rows, 1, pairs, add);
        break;
    case 2:
        tile_rows(c, c_row, a, a_row, panel, rows, 2, pairs, add);
        break;
    case 3:
        tile_rows(c, c_row, a, a_row, panel, rows, 3, pairs, add);
        break;
    case 4:
        tile_rows(c, c_row, a, a_row, panel, rows, 4, pairs, add);
        break;
    default:
        break;
    }
}
#else
typedef int vr_no_gemm_avx512bf16; /* an object without a declaration is not C */
#endif
