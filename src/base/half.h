/*
 * half.h - f16 and bf16 to f32 and back, one number at a time.
 *
 *   f16:  s eeeee ffffffffff   value (-1)^s 2^(e-15) 1.f;  e = 0: 2^-14 0.f;  e = 31: infinity or NaN
 *   bf16: the upper half of an f32
 *
 * Ref:   IEEE 754-2008, 3.6. Every f16 and bf16 number is an f32 number; the way back rounds to nearest, halves to even.
 */
#ifndef VR_HALF_H
#define VR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float vr_bits_to_f32(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float vr_bf16_to_f32(uint16_t h)
{
    return vr_bits_to_f32((uint32_t)h << 16);
}

static inline float vr_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 31)
        return vr_bits_to_f32(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0)); /* quiet, as x86 */
    if (exponent == 0) {
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return vr_bits_to_f32(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint32_t vr_f32_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline uint16_t vr_f32_to_bf16(float f)
{
    const uint32_t bits = vr_f32_to_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40); /* NaN stays NaN */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline uint16_t vr_f32_to_f16(float f)
{
    const uint32_t bits = vr_f32_to_bits(f), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more */
    if (size < 0x38800000u) {                                   /* subnormal in f16: the addition rounds at 2^-24 */
        const uint32_t rounded = vr_f32_to_bits(vr_bits_to_f32(size) + 0.5f) - vr_f32_to_bits(0.5f);
        return (uint16_t)(sign | rounded);
    }
    return (uint16_t)(sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13));
}

#endif
