/*
 * rows_neon.c - widen, add, scale with NEON: rows_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/rows_body.h"
#else
typedef int vr_no_rows_neon; /* an object without a declaration is not C */
#endif
