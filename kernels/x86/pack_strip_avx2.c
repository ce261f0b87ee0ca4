/*
 * pack_strip_avx2.c - quantised weights as a panel of f32 with AVX2: pack_strip_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include <stdbool.h>

#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/pack_strip_body.h"
#else
typedef int vr_no_pack_strip_avx2; /* an object without a declaration is not C */
#endif
