/*
 * strip_avx512vnni.c - quantised rows and products with the byte products of AVX-512 VNNI.
 *
 *   unsigned weights as they are stored times signed rows: one vpdpbusd a vector; a group begins at -excess * sum of the row
 */
#if defined(__x86_64__)
#include <stdbool.h>

#include "kernels/x86/vec_avx512.h"

typedef __m512i vi;

VR_INLINE vi vi_load(const unsigned char *p)
{
    return _mm512_loadu_si512(p);
}

VR_INLINE vi vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}

VR_INLINE vi vi_low_halves(vi x)
{
    return _mm512_and_si512(x, _mm512_set1_epi8(15));
}

VR_INLINE vi vi_high_halves(vi x)
{
    return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15));
}

VR_INLINE vf vi_to_float(vi x)
{
    return _mm512_cvtepi32_ps(x);
}

VR_INLINE vi vi_nearest(vf x)
{
    return _mm512_cvtps_epi32(x);
}

VR_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

VR_INLINE int32_t vi_sum(vi x)
{
    return _mm512_reduce_add_epi32(x);
}

VR_INLINE void vi_store_bytes(int8_t *q, vi x)
{
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(x));
}

#define DOT_START(sum, excess) vi_set1(-(excess) * (sum))
#define DOT_WEIGHTS(w, excess) (w)
#define DOT(acc, w, x)         _mm512_dpbusd_epi32(acc, w, x)

#include "kernels/vec/strip_body.h"

#include "kernels/vec/quantise_body.h"

VR_INLINE void strips(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips,
                      vr_dtype type)
{
    if (n_strips == 2)
        strip_rows(y, y_row, x, first, T, strip, 2, type);
    else
        strip_rows(y, y_row, x, first, T, strip, 1, type);
}

void vr_strip_q8_avx512vnni(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                            int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q8_R16);
}

void vr_strip_q4_avx512vnni(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                            int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4_R16);
}

void vr_strip_q4m_avx512vnni(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                             int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4M_R16);
}

void vr_quantise_avx512vnni(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile)
{
    quantise(q, sums, scale, x, K, tile);
}
#else
typedef int vr_no_strip_avx512vnni; /* an object without a declaration is not C */
#endif
