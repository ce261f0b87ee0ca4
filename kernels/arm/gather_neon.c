/*
 * gather_neon.c - rows in a new order with NEON: gather_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/gather_body.h"
#else
typedef int vr_no_gather_neon; /* an object without a declaration is not C */
#endif
