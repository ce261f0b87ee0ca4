/*
 * kept_neon.c - rows of keys and values with NEON: kept_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/kept_body.h"
#else
typedef int vr_no_kept_neon; /* an object without a declaration is not C */
#endif
