/*
 * vec_avx2.h - eight f32 at once, under the names that the *_body.h files use; contracts in vec_avx512.h.
 *
 * Trap:  AVX2 has no masked load of 16-bit numbers: the first n go through a buffer.
 */
#ifndef VR_VEC_AVX2_H
#define VR_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/vec/unroll.h"
#include "kernels/x86/vec_x86.h"

#define VF              8
#define VF_REGISTERS    16
#define VR_LEVEL(name)  name##_avx2
#define VF_TILE_VECTORS 2

typedef __m256 vf;

static inline __m256i part_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline vf vf_load_part(const float *p, int n)
{
    return _mm256_maskload_ps(p, part_mask(n));
}

static inline void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}

static inline void vf_store_part(float *p, vf x, int n)
{
    _mm256_maskstore_ps(p, part_mask(n), x);
}

static inline __m128i load_part_16(const uint16_t *p, int n)
{
    uint16_t buffer[8] = { 0 };
    memcpy(buffer, p, (size_t)n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)(const void *)buffer);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vf vf_load_part_f16(const uint16_t *p, int n)
{
    return _mm256_cvtph_ps(load_part_16(p, n));
}

static inline vf widen_bf16(__m128i x)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return widen_bf16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vf vf_load_part_bf16(const uint16_t *p, int n)
{
    return widen_bf16(load_part_16(p, n));
}

static inline vf vf_load_bf16_even(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p), 16));
}

static inline vf vf_load_bf16_odd(const uint16_t *p)
{
    const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(-65536)));
}

static inline void vf_store_f16(uint16_t *p, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline void vf_store_part_f16(uint16_t *p, vf x, int n)
{
    uint16_t buffer[8];
    vf_store_f16(buffer, x);
    memcpy(p, buffer, (size_t)n * sizeof *p);
}

static inline vf vf_load_i8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static inline vf vf_load_part_i8(const int8_t *p, int n)
{
    int8_t buffer[8] = { 0 };
    memcpy(buffer, p, (size_t)n);
    return vf_load_i8(buffer);
}

static inline void vf_store_i8(int8_t *p, vf x)
{
    const __m256i whole = _mm256_cvtps_epi32(x);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}

static inline void vf_store_part_i8(int8_t *p, vf x, int n)
{
    int8_t buffer[8];
    vf_store_i8(buffer, x);
    memcpy(p, buffer, (size_t)n);
}

static inline vf vf_load_bits(const unsigned char *p, int shift, int mask)
{
    const __m256i words = _mm256_srli_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p), shift);
    return _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(mask)));
}

static inline void vf_stream(void *y, const void *x)
{
    _mm256_stream_si256((__m256i *)y, _mm256_loadu_si256((const __m256i *)x));
}

static inline vf vf_set1(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf vf_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf vf_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

static inline vf vf_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline vf vf_if_negative(vf x, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}

static inline vf vf_round(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vf power_of_two(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* In two factors, each inside the exponents of f32 for abs(n) <= 252: one alone would lose subnormal results. */
static inline vf vf_ldexp(vf x, vf n)
{
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
}

static inline float vf_sum(vf x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

VR_INLINE vf vf_sums(const vf r[VF])
{
    __m256 t[4];
    VR_UNROLL
    for (int i = 0; i < 4; i++) t[i] = _mm256_hadd_ps(r[2 * i], r[2 * i + 1]);
    t[0] = _mm256_hadd_ps(t[0], t[1]);
    t[1] = _mm256_hadd_ps(t[2], t[3]);
    return _mm256_add_ps(_mm256_permute2f128_ps(t[0], t[1], 0x20), _mm256_permute2f128_ps(t[0], t[1], 0x31));
}

static inline float vf_largest(vf x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline vf vf_keep_part(vf x, int n, vf fill)
{
    return _mm256_blendv_ps(fill, x, _mm256_castsi256_ps(part_mask(n)));
}

static inline vf vf_load_twice(const float *p)
{
    const __m128 x = _mm_loadu_ps(p);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_unpacklo_ps(x, x)), _mm_unpackhi_ps(x, x), 1);
}

static inline vf vf_swap_pairs(vf x)
{
    return _mm256_permute_ps(x, 0xb1);
}

static inline vf vf_turn(vf a, vf c, vf b, vf s)
{
    return _mm256_fmaddsub_ps(a, c, _mm256_mul_ps(b, s));
}

VR_INLINE void vf_transpose(vf r[VF])
{
    __m256 t[8];
    VR_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    VR_UNROLL
    for (int i = 0; i < 8; i += 4) {
        VR_UNROLL
        for (int j = 0; j < 2; j++) {
            const __m256d a = _mm256_castps_pd(t[i + j]), b = _mm256_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    }
    VR_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    VR_UNROLL
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

#endif
