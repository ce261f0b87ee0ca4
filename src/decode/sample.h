/*
 * sample.h - the next token from logits: greedy, or the original's sampling.
 *
 *   logits [V] -> repetition penalty -> / temperature -> top-k (ties with the k-th stay) -> top-p -> softmax -> draw
 *
 * Order and tie rules: transformers 4.28 logits warpers (Video-LLaMA conversation_video.py:185-231). temperature 0 is greedy:
 * the largest logit, the lowest id among equals.
 */
#ifndef VR_SAMPLE_H
#define VR_SAMPLE_H

#include <stdint.h>

#include "base/arena.h"

typedef struct vr_sampling {
    float temperature;        /* 0: greedy */
    int top_k;                /* 0: off */
    float top_p;              /* 1: off; keeps the smallest set whose probability reaches top_p, at least one */
    float repetition_penalty; /* 1: off; logits of ids already seen are divided (if > 0) or multiplied by it */
    uint64_t seed;
} vr_sampling;

typedef struct vr_sampler {
    vr_sampling config;
    uint64_t state[4]; /* xoshiro256**, seeded by splitmix64(seed) */
} vr_sampler;

void vr_sampler_open(vr_sampler *sampler, const vr_sampling *config);

/* logits [V] are not changed; seen [n_seen]: ids of the answer so far. scratch: V floats and V ints are taken and released.
 * NaN logits count as -inf, +inf as the largest float; where all are -inf, id 0. */
int32_t vr_sampler_next(vr_sampler *sampler, const float *logits, int V, const int32_t *seen, int n_seen, vr_arena *scratch);

/* The same where logits lie in the memory of a device: a few of them are enough, the best in their order (kernels/ops.h best).
 *   needs -> how many; 0: the whole row, which repetition penalty, drawing without top-k and large top-k ask for
 *   pick  -> the id that vr_sampler_next would give; -1: the few do not tell, ask it (nothing was drawn). ids and values [n] */
int vr_sampler_needs(const vr_sampler *sampler, int V, int n_seen);
int32_t vr_sampler_pick(vr_sampler *sampler, const int32_t *ids, const float *values, int n, int V, vr_arena *scratch);

#endif
