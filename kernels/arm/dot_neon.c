/*
 * dot_neon.c - products with few rows with NEON: dot_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/dot_body.h"
#else
typedef int vr_no_dot_neon; /* an object without a declaration is not C */
#endif
