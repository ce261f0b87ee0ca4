/*
 * gram_avx2.c - Gram matrices of long rows with AVX2: gram_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/x86/gram_body.h"
#else
typedef int vr_no_gram_avx2; /* an object without a declaration is not C */
#endif
