/*
 * dot_avx2.c - products with few rows with AVX2: dot_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/dot_body.h"
#else
typedef int vr_no_dot_avx2; /* an object without a declaration is not C */
#endif
