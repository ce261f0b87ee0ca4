/*
 * gemm_neon.c - the matrix product with NEON: gemm_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/gemm_body.h"
#else
typedef int vr_no_gemm_neon; /* an object without a declaration is not C */
#endif
