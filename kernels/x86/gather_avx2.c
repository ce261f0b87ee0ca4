/*
 * gather_avx2.c - rows in a new order with AVX2: gather_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/gather_body.h"
#else
typedef int vr_no_gather_avx2; /* an object without a declaration is not C */
#endif
