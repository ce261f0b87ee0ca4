/*
 * activation_avx2.c - activations and softmax with AVX2: activation_body.h on the vectors of vec_avx2.h.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx2.h"

#include "kernels/vec/activation_body.h"
#else
typedef int vr_no_activation_avx2; /* an object without a declaration is not C */
#endif
