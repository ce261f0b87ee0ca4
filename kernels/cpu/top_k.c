/*
 * top_k.c - the k largest or smallest numbers of a row.
 *
 *   f32 -> whole number of the same order -> histograms of 8 bits, from the top: the k-th number -> all before it, first equals
 *
 * Four passes over a row that stays in the cache, none of them compares two numbers; k does not matter.
 * Ref:   IEEE 754: as whole numbers of sign and magnitude, floats are in order.
 * Trap:  -0 equals 0 and has other bits; NaN has no place in the order and gets the last.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

#define LAST UINT32_MAX /* of NaN; no number has it */

/* Ascending; flip: descending. Without branches: nothing here can be foretold. */
static inline uint32_t key_of(float x, uint32_t flip)
{
    uint32_t bits;
    const float y = x + 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &y, sizeof bits);
    const uint32_t negative = 0u - (bits >> 31), key = (bits ^ (negative | 0x80000000u)) ^ flip;
    return x == x ? key : LAST;
}

/* Key of the k-th number (k >= 1) in ascending order of keys, and how many of the k have just that key. */
static uint32_t key_select(const float *x, int n, int k, uint32_t flip, int *n_equal)
{
    uint32_t prefix = 0, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int bins[257] = { 0 }; /* the last: numbers that are out of the race */
        for (int i = 0; i < n; i++) {
            const uint32_t key = key_of(x[i], flip);
            bins[(key & known) == prefix ? key >> shift & 255 : 256]++;
        }
        uint32_t bin = 0;
        while (k > bins[bin]) k -= bins[bin++];
        prefix |= bin << shift;
        known |= 255u << shift;
    }
    *n_equal = k;
    return prefix;
}

void vr_least(uint8_t *mask, const float *s, int n, int k)
{
    if (n == 0 || k <= 0) {
        memset(mask, 0, (size_t)n);
        return;
    }
    int n_equal;
    const uint32_t last = key_select(s, n, vr_min_int(k, n), 0, &n_equal);
    for (int i = 0; i < n; i++) {
        const uint32_t key = key_of(s[i], 0);
        const int equal = (key == last) & (n_equal > 0);
        n_equal -= equal;
        mask[i] = (uint8_t)((key < last) | equal);
    }
}

typedef struct top_job {
    int32_t *ids;
    const float *x;
    int n, k;
    bool least;
} top_job;

static void top_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const top_job *j = arg;
    const float *x = j->x + (int64_t)tile * j->n;
    int32_t *ids = j->ids + (int64_t)tile * j->k;
    const uint32_t flip = j->least ? 0 : UINT32_MAX;
    int n_equal, at = 0;
    const uint32_t last = key_select(x, j->n, j->k, flip, &n_equal);
    for (int i = 0; at < j->k; i++) {
        const uint32_t key = key_of(x[i], flip);
        const int equal = (key == last) & (n_equal > 0);
        n_equal -= equal;
        ids[at] = i;
        at += (key < last) | equal;
    }
}

void vr_cpu_top_k(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least)
{
    assert(T >= 0 && n >= 0 && k >= 0);
    top_job j = { ids, x, n, vr_min_int(k, n), least };
    if (j.k > 0) vr_pool_run(vr_cpu_of(be)->pool, T, top_tile, &j);
}
