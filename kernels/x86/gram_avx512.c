/*
 * gram_avx512.c - Gram matrices of long rows with AVX-512: gram_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/gram_body.h"

DEFINE_GRAM(f32, 1, float)
DEFINE_GRAM(f16, 2, uint16_t)
DEFINE_GRAM(bf16, 2, uint16_t)
#else
typedef int vr_no_gram_avx512; /* an object without a declaration is not C */
#endif
