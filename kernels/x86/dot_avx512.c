/*
 * dot_avx512.c - products with few rows with AVX-512: dot_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/dot_body.h"
#else
typedef int vr_no_dot_avx512; /* an object without a declaration is not C */
#endif
