/*
 * gemm_avx512.c - the matrix product with AVX-512: gemm_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/gemm_body.h"
#else
typedef int vr_no_gemm_avx512; /* an object without a declaration is not C */
#endif
