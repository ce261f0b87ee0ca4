/*
 * pack_strip_neon.c - quantised weights as a panel of f32 with NEON: pack_strip_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include <stdbool.h>

#include "kernels/arm/vec_neon.h"

#include "kernels/vec/pack_strip_body.h"
#else
typedef int vr_no_pack_strip_neon; /* an object without a declaration is not C */
#endif
