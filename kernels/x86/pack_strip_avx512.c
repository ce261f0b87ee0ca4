/*
 * pack_strip_avx512.c - quantised weights as a panel of f32 with AVX-512: pack_strip_body.h on the vectors of vec_avx512.h.
 */
#if defined(__x86_64__)
#include <stdbool.h>

#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/pack_strip_body.h"
#else
typedef int vr_no_pack_strip_avx512; /* an object without a declaration is not C */
#endif
