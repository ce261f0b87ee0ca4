/*
 * cosine_avx512.c - cosines of rows at one place with AVX-512: cosine_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/cosine_body.h"
#else
typedef int vr_no_cosine_avx512; /* an object without a declaration is not C */
#endif
