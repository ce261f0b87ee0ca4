/*
 * vec_neon.h - four f32 at once on AArch64, under the names that kernels/vec uses; contracts in kernels/x86/vec_avx512.h.
 *
 * Trap:  FMAX and FMIN hand on a NaN of either operand; the bodies count on the second one, hence compare and choose.
 * Trap:  NEON has no masked access: the lanes of a part are read and written one by one.
 */
#ifndef VR_VEC_NEON_H
#define VR_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "kernels/vec/unroll.h"

#define VF              4
#define VF_REGISTERS    32
#define VR_LEVEL(name)  name##_neon
#define VF_TILE_VECTORS 4
#define VF_HOLD(x)      __asm__("" : "+w"(x))

typedef float32x4_t vf;

/* As bytes: Gram matrices copy rows of 16-bit numbers through here, which lie at any multiple of 2. */
static inline vf vf_load(const float *p)
{
    return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)(const void *)p));
}

static inline vf vf_load_part(const float *p, int n)
{
    if (n >= VF) return vld1q_f32(p);
    vf x = vdupq_n_f32(0.0f);
    if (n > 0) x = vld1q_lane_f32(p, x, 0);
    if (n > 1) x = vld1q_lane_f32(p + 1, x, 1);
    if (n > 2) x = vld1q_lane_f32(p + 2, x, 2);
    return x;
}

static inline void vf_store(float *p, vf x)
{
    vst1q_f32(p, x);
}

static inline void vf_store_part(float *p, vf x, int n)
{
    if (n >= VF) {
        vst1q_f32(p, x);
        return;
    }
    if (n > 0) vst1q_lane_f32(p, x, 0);
    if (n > 1) vst1q_lane_f32(p + 1, x, 1);
    if (n > 2) vst1q_lane_f32(p + 2, x, 2);
}

static inline uint16x4_t load_part_16(const uint16_t *p, int n)
{
    if (n >= VF) return vld1_u16(p);
    uint16x4_t x = vdup_n_u16(0);
    if (n > 0) x = vld1_lane_u16(p, x, 0);
    if (n > 1) x = vld1_lane_u16(p + 1, x, 1);
    if (n > 2) x = vld1_lane_u16(p + 2, x, 2);
    return x;
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline vf vf_load_part_f16(const uint16_t *p, int n)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(load_part_16(p, n)));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

static inline vf vf_load_part_bf16(const uint16_t *p, int n)
{
    return vreinterpretq_f32_u32(vshll_n_u16(load_part_16(p, n), 16));
}

static inline vf vf_load_bf16_even(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16));
}

static inline vf vf_load_bf16_odd(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(p)), vdupq_n_u32(0xffff0000u)));
}

static inline float f32_of_f16(const uint16_t *p)
{
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vld1_dup_u16(p))), 0);
}

static inline void four_of_f16(float *y, const uint16_t *p)
{
    vst1q_f32(y, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))));
}

static inline void vf_store_f16(uint16_t *p, vf x)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

static inline void vf_store_part_f16(uint16_t *p, vf x, int n)
{
    uint16_t buffer[VF];
    vf_store_f16(buffer, x);
    memcpy(p, buffer, (size_t)n * sizeof *p);
}

static inline vf vf_load_i8(const int8_t *p)
{
    int8_t eight[8] = { 0 };
    memcpy(eight, p, VF);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(eight)))));
}

static inline vf vf_load_part_i8(const int8_t *p, int n)
{
    int8_t buffer[VF] = { 0 };
    memcpy(buffer, p, (size_t)n);
    return vf_load_i8(buffer);
}

static inline void vf_store_i8(int8_t *p, vf x)
{
    const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(x));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    memcpy(p, &bytes, VF);
}

static inline void vf_store_part_i8(int8_t *p, vf x, int n)
{
    int8_t buffer[VF];
    vf_store_i8(buffer, x);
    memcpy(p, buffer, (size_t)n);
}

static inline vf vf_load_bits(const unsigned char *p, int shift, int mask)
{
    const int32x4_t words = vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(p)), vdupq_n_s32(-shift)));
    return vcvtq_f32_s32(vandq_s32(words, vdupq_n_s32(mask)));
}

/* Plain stores: these processors see a stream of whole lines themselves and do not read what it overwrites. */
static inline void vf_stream(void *y, const void *x)
{
    vst1q_u8(y, vld1q_u8(x));
}

static inline void vf_stream_end(void)
{
}

static inline vf vf_set1(float x)
{
    return vdupq_n_f32(x);
}

static inline vf vf_zero(void)
{
    return vdupq_n_f32(0.0f);
}

static inline vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}

static inline vf vf_fnma(vf a, vf b, vf c)
{
    return vfmsq_f32(c, a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline vf vf_min(vf a, vf b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline vf vf_abs(vf a)
{
    return vabsq_f32(a);
}

static inline vf vf_if_negative(vf x, vf a, vf b)
{
    return vbslq_f32(vcltzq_f32(x), a, b);
}

static inline vf vf_round(vf a)
{
    return vrndnq_f32(a);
}

static inline vf power_of_two(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

/* In two factors, as vec_avx2.h */
static inline vf vf_ldexp(vf x, vf n)
{
    const int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return vmulq_f32(vmulq_f32(x, power_of_two(half)), power_of_two(vsubq_s32(whole, half)));
}

static inline float vf_sum(vf x)
{
    return vaddvq_f32(x);
}

VR_INLINE vf vf_sums(const vf r[VF])
{
    return vpaddq_f32(vpaddq_f32(r[0], r[1]), vpaddq_f32(r[2], r[3]));
}

static inline float vf_largest(vf x)
{
    return vmaxvq_f32(x);
}

static inline vf vf_keep_part(vf x, int n, vf fill)
{
    static const int32_t lanes[VF] = { 0, 1, 2, 3 };
    return vbslq_f32(vcgtq_s32(vdupq_n_s32(n), vld1q_s32(lanes)), x, fill);
}

static inline vf vf_load_twice(const float *p)
{
    const float32x2_t x = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(x, 0), vdup_lane_f32(x, 1));
}

static inline vf vf_swap_pairs(vf x)
{
    return vrev64q_f32(x);
}

static inline vf vf_turn(vf a, vf c, vf b, vf s)
{
    static const uint32_t even[VF] = { 0x80000000u, 0, 0x80000000u, 0 };
    const uint32x4_t turned = veorq_u32(vreinterpretq_u32_f32(vmulq_f32(b, s)), vld1q_u32(even));
    return vfmaq_f32(vreinterpretq_f32_u32(turned), a, c);
}

static inline vf first_halves(vf a, vf b)
{
    return vcombine_f32(vget_low_f32(a), vget_low_f32(b));
}

static inline vf second_halves(vf a, vf b)
{
    return vcombine_f32(vget_high_f32(a), vget_high_f32(b));
}

VR_INLINE void vf_transpose(vf r[VF])
{
    const vf a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]), c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = first_halves(a, c);
    r[1] = first_halves(b, d);
    r[2] = second_halves(a, c);
    r[3] = second_halves(b, d);
}

static inline double vd_root(double x, double least)
{
    const double root = vget_lane_f64(vsqrt_f64(vdup_n_f64(x)), 0);
    return root > least ? root : least;
}

#endif
