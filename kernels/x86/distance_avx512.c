/*
 * distance_avx512.c - squared distances of rows with AVX-512: distance_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/distance_body.h"
#else
typedef int vr_no_distance_avx512; /* an object without a declaration is not C */
#endif
