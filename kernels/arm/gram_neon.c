/*
 * gram_neon.c - Gram matrices of long rows with NEON: gram_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/gram_body.h"

DEFINE_GRAM(f32, 1, float)
DEFINE_GRAM(f16, 2, uint16_t)
DEFINE_GRAM(bf16, 2, uint16_t)
#else
typedef int vr_no_gram_neon; /* an object without a declaration is not C */
#endif
