/*
 * strip_neondot.c - products of quantised rows with the dot products of Armv8.2: one SDOT a vector. Rows are quantised by neon.
 */
#if defined(__aarch64__)
#include <arm_neon.h>

#define DOT(acc, w, x) vdotq_s32(acc, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x))

#include "kernels/arm/strip_neon.h"

DEFINE_STRIPS(neondot)
#else
typedef int vr_no_strip_neondot; /* an object without a declaration is not C */
#endif
