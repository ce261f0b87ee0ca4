/*
 * vec_avx512.h - sixteen f32 at once, under the names that kernels/vec uses; vec_avx2.h is the same for eight,
 * kernels/arm/vec_neon.h for four.
 *
 *   vf: one vector;  VF: its lanes;  part: the first n lanes (0 <= n <= VF), the others load as 0 and are not stored
 *
 * Masked loads and stores touch no memory outside their lanes.
 * Trap:  max and min return the second operand if either is NaN; the order of operands below relies on it.
 */
#ifndef VR_VEC_AVX512_H
#define VR_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/vec/unroll.h"
#include "kernels/x86/vec_x86.h"

#define VF              16
#define VF_REGISTERS    32
#define VR_LEVEL(name)  name##_avx512
#define VF_TILE_VECTORS 4 /* columns of a GEMM tile */

typedef __m512 vf;

static inline __mmask16 part_mask(int n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline vf vf_load_part(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(part_mask(n), p);
}

static inline void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

static inline void vf_store_part(float *p, vf x, int n)
{
    _mm512_mask_storeu_ps(p, part_mask(n), x);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vf vf_load_part_f16(const uint16_t *p, int n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part_mask(n), p));
}

static inline vf widen_bf16(__m256i x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return widen_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vf vf_load_part_bf16(const uint16_t *p, int n)
{
    return widen_bf16(_mm256_maskz_loadu_epi16(part_mask(n), p));
}

/* of 2 VF numbers in a row: numbers 0, 2, 4 ...;  numbers 1, 3, 5 ... */
static inline vf vf_load_bf16_even(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

static inline vf vf_load_bf16_odd(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-65536)));
}

/* rounded to nearest, halves to even */
static inline void vf_store_f16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void vf_store_part_f16(uint16_t *p, vf x, int n)
{
    _mm256_mask_storeu_epi16(p, part_mask(n), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* signed bytes; stored: rounded to nearest, halves to even */
static inline vf vf_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

static inline vf vf_load_part_i8(const int8_t *p, int n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(part_mask(n), p)));
}

static inline void vf_store_i8(int8_t *p, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}

static inline void vf_store_part_i8(int8_t *p, vf x, int n)
{
    _mm_mask_storeu_epi8(p, part_mask(n), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}

/* bits of the 32-bit word of each lane: shifted right, then masked */
static inline vf vf_load_bits(const unsigned char *p, int shift, int mask)
{
    return _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_srli_epi32(_mm512_loadu_si512(p), (unsigned)shift), _mm512_set1_epi32(mask)));
}

/* VF floats from x to y past the caches, y a multiple of a vector; visible after vf_stream_end and the next lock */
static inline void vf_stream(void *y, const void *x)
{
    _mm512_stream_si512((__m512i *)y, _mm512_loadu_si512(x));
}

static inline vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf vf_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

/* a b + c,  c - a b */
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf vf_fnma(vf a, vf b, vf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}

/* a where x < 0, else b (also where x is NaN) */
static inline vf vf_if_negative(vf x, vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a);
}

static inline vf vf_round(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* x 2^n for whole n, with subnormal and infinite results as they should be */
static inline vf vf_ldexp(vf x, vf n)
{
    return _mm512_scalef_ps(x, n);
}

static inline float vf_sum(vf x)
{
    return _mm512_reduce_add_ps(x);
}

/* Lane i = sum of r[i], every one in the same order. */
VR_INLINE vf vf_sums(const vf r[VF])
{
    __m512 t[8];
    VR_UNROLL
    for (int i = 0; i < 8; i++)
        t[i] = _mm512_add_ps(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]));
    VR_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
        t[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    VR_UNROLL
    for (int n = 2; n > 0; n /= 2) {
        VR_UNROLL
        for (int i = 0; i < n; i++)
            t[i] = _mm512_add_ps(_mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0x88),
                                 _mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0xdd));
    }
    return t[0];
}

/* Largest lane; lanes are not NaN. */
static inline float vf_largest(vf x)
{
    return _mm512_reduce_max_ps(x);
}

/* x where lane < n, else fill */
static inline vf vf_keep_part(vf x, int n, vf fill)
{
    return _mm512_mask_blend_ps(part_mask(n), fill, x);
}

/* Pairs (rope): every number of p[VF/2] twice; the two of a pair exchanged; a c - b s in even lanes, a c + b s in odd ones. */
static inline vf vf_load_twice(const float *p)
{
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}

static inline vf vf_swap_pairs(vf x)
{
    return _mm512_permute_ps(x, 0xb1);
}

static inline vf vf_turn(vf a, vf c, vf b, vf s)
{
    return _mm512_fmaddsub_ps(a, c, _mm512_mul_ps(b, s));
}

/* Four steps of exchanging halves of ever smaller blocks. */
VR_INLINE void vf_transpose(vf r[VF])
{
    __m512 t[16];
    VR_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    VR_UNROLL
    for (int i = 0; i < 16; i += 4) {
        VR_UNROLL
        for (int j = 0; j < 2; j++) {
            const __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    VR_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    VR_UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

#endif
