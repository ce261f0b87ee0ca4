/*
 * kept_avx2.c - rows of keys and values with AVX2: kept_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/kept_body.h"
#else
typedef int vr_no_kept_avx2; /* an object without a declaration is not C */
#endif
