/*
 * activation_neon.c - activations and softmax with NEON: activation_body.h on the vectors of vec_neon.h.
 */
#if defined(__aarch64__)
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/activation_body.h"
#else
typedef int vr_no_activation_neon; /* an object without a declaration is not C */
#endif
