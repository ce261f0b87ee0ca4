/*
 * kept_avx512.c - rows of keys and values with AVX-512: kept_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/kept_body.h"
#else
typedef int vr_no_kept_avx512; /* an object without a declaration is not C */
#endif
