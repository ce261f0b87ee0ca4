/*
 * random.c - see random.h.
 */
#include "base/random.h"

uint64_t vr_random_next(vr_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t vr_random_below(vr_random *r, uint32_t n)
{
    return (uint32_t)(((vr_random_next(r) >> 32) * n) >> 32);
}

void vr_random_permutation(vr_random *r, int n, int32_t *p)
{
    for (int i = 0; i < n; i++) p[i] = i;
    for (int i = 0; i + 1 < n; i++) {
        const int j = i + (int)vr_random_below(r, (uint32_t)(n - i));
        const int32_t swap = p[i];
        p[i] = p[j], p[j] = swap;
    }
}
