/*
 * norm_avx2.c - norms and rotary positions with AVX2: norm_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/norm_body.h"
#else
typedef int vr_no_norm_avx2; /* an object without a declaration is not C */
#endif
