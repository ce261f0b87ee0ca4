/*
 * abstract_memory.h - Flash-VStream: abstract memory, slots that attend to new tokens and move towards what they see.
 *
 *   M [m,D], X [n,D]:  W = softmax((M Wq^T + bq)(X Wk^T + bk)^T / sqrt(E));   M' = (1 - ratio) M + ratio W X
 *   the first N steps are the slots; later ones come in chunks of up to N steps
 */
#ifndef VR_ABSTRACT_MEMORY_H
#define VR_ABSTRACT_MEMORY_H

#include "kernels/backend.h"

typedef struct vr_abstract_memory {
    vr_matrix q, k;               /* [E,D] borrowed */
    const float *q_bias, *k_bias; /* [E] borrowed */
    float ratio;
    int N, P, D; /* slots (steps kept), tokens of a step, width */
} vr_abstract_memory;

/* memory [N*P, D] holds *n_steps <= N steps; x [t*P, D] comes behind them. *n_steps becomes min(N, *n_steps + t). Both the
 * offline form (all steps at once) and the stream (a clip at a time). stage: NULL, or chunk i is dumped as STAGE.NN [N*P, D].
 * Scratch of the run: about 2 N P (D + E) floats. */
void vr_abstract_memory_append(const vr_abstract_memory *a, const vr_run *run, float *memory, int *n_steps, const float *x,
                               int t, const char *stage);

#endif
