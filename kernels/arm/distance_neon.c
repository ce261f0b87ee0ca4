/*
 * distance_neon.c - squared distances of rows with NEON: distance_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/distance_body.h"
#else
typedef int vr_no_distance_neon; /* an object without a declaration is not C */
#endif
