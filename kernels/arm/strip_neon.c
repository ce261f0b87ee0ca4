/*
 * strip_neon.c - quantised rows and products with NEON: products of bytes in 16 bits, pairs of them, fours in 32.
 */
#if defined(__aarch64__)
#include <arm_neon.h>

static inline int32x4_t dot(int32x4_t acc, int32x4_t w, int32x4_t x)
{
    const int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}

#define DOT(acc, w, x) dot(acc, w, x)

#include "kernels/arm/strip_neon.h"

DEFINE_STRIPS(neon)

void vr_quantise_neon(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile)
{
    quantise(q, sums, scale, x, K, tile);
}
#else
typedef int vr_no_strip_neon; /* an object without a declaration is not C */
#endif
