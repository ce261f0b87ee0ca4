/*
 * norm_neon.c - norms and rotary positions with NEON: norm_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/norm_body.h"
#else
typedef int vr_no_norm_neon; /* an object without a declaration is not C */
#endif
