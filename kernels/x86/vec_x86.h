/*
 * vec_x86.h - what the bodies need besides vectors, the same at every width of x86; kernels/arm/vec_neon.h has it for AArch64.
 */
#ifndef VR_VEC_X86_H
#define VR_VEC_X86_H

#include <immintrin.h>

/* x stays in its register from here on, or the compiler may load it once for every use. */
#define VF_HOLD(x) __asm__("" : "+v"(x))

/* The larger of the square root of x and least; least where x is NaN or negative. No call of the library. */
static inline double vd_root(double x, double least)
{
    const __m128d v = _mm_set_sd(x);
    return _mm_cvtsd_f64(_mm_max_sd(_mm_sqrt_sd(v, v), _mm_set_sd(least)));
}

/* One number of 16 bits; four of them to y. */
static inline float f32_of_f16(const uint16_t *p)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(*p)));
}

static inline void four_of_f16(float *y, const uint16_t *p)
{
    _mm_storeu_ps(y, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static inline void vf_stream_end(void)
{
    _mm_sfence();
}

#endif
