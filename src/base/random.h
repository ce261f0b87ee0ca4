/*
 * random.h - the one generator of a run: splitmix64, seeded by --seed and never reseeded.
 *
 * Ref:   Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
 * Trap:  which numbers are drawn, and in which order, is part of the recorded runs: nobody draws "just once more".
 */
#ifndef VR_RANDOM_H
#define VR_RANDOM_H

#include <stdint.h>

typedef struct vr_random {
    uint64_t state; /* at first the seed */
} vr_random;

uint64_t vr_random_next(vr_random *r);
/* A number below n, n >= 1, from the upper half of one draw. */
uint32_t vr_random_below(vr_random *r, uint32_t n);
/* p [n] becomes a permutation of 0..n-1; always n - 1 draws, none for n <= 1. */
void vr_random_permutation(vr_random *r, int n, int32_t *p);

#endif
