/*
 * strip_avx2.c - quantised rows and products with AVX2.
 *
 *   signed weights times signed rows: |x| as unsigned bytes, the sign of x on the weight -> pairs in 16 bits -> fours in 32
 *
 * Trap:  vpmaddubsw saturates: |x| <= 127 and |w| <= 127 make at most 32258.
 */
#if defined(__x86_64__)
#include <stdbool.h>

#include "kernels/x86/vec_avx2.h"

typedef __m256i vi;

VR_INLINE vi vi_load(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

VR_INLINE vi vi_set1(int32_t x)
{
    return _mm256_set1_epi32(x);
}

VR_INLINE vi vi_low_halves(vi x)
{
    return _mm256_and_si256(x, _mm256_set1_epi8(15));
}

VR_INLINE vi vi_high_halves(vi x)
{
    return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15));
}

VR_INLINE vf vi_to_float(vi x)
{
    return _mm256_cvtepi32_ps(x);
}

VR_INLINE vi vi_nearest(vf x)
{
    return _mm256_cvtps_epi32(x);
}

VR_INLINE vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}

VR_INLINE int32_t vi_sum(vi x)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

VR_INLINE void vi_store_bytes(int8_t *q, vi x)
{
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(void *)q, _mm_packs_epi16(words, words));
}

VR_INLINE vi dot(vi acc, vi w, vi x)
{
    const vi pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#define DOT_START(sum, excess) ((void)(sum), vi_set1(0))
#define DOT_WEIGHTS(w, excess) _mm256_sub_epi8(w, _mm256_set1_epi8((char)(excess)))
#define DOT(acc, w, x)         dot(acc, w, x)

#include "kernels/vec/strip_body.h"

#include "kernels/vec/quantise_body.h"

/* Two rows and one strip fill the sixteen registers. */
VR_INLINE void strips(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips,
                      vr_dtype type)
{
    const size_t strip_bytes = (size_t)x->blocks * vr_strip_block_bytes(type);
    for (int s = 0; s < n_strips; s++) {
        const unsigned char *at = (const unsigned char *)strip + (size_t)s * strip_bytes;
        for (int t = 0; t < T; t += 2)
            strip_rows(y + t * y_row + s * VR_STRIP_ROWS, y_row, x, first + t, T - t < 2 ? T - t : 2, at, 1, type);
    }
}

void vr_strip_q8_avx2(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q8_R16);
}

void vr_strip_q4_avx2(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4_R16);
}

void vr_strip_q4m_avx2(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4M_R16);
}

void vr_quantise_avx2(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile)
{
    quantise(q, sums, scale, x, K, tile);
}
#else
typedef int vr_no_strip_avx2; /* an object without a declaration is not C */
#endif
