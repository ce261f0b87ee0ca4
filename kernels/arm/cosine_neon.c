/*
 * cosine_neon.c - cosines of rows at one place with NEON: cosine_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/cosine_body.h"
#else
typedef int vr_no_cosine_neon; /* an object without a declaration is not C */
#endif
