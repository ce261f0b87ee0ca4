/*
 * distance_avx2.c - squared distances of rows with AVX2: distance_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/distance_body.h"
#else
typedef int vr_no_distance_avx2; /* an object without a declaration is not C */
#endif
