/*
 * gather_avx512.c - rows in a new order with AVX-512: gather_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/gather_body.h"
#else
typedef int vr_no_gather_avx512; /* an object without a declaration is not C */
#endif
