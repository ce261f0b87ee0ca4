/*
 * best.c - the k best numbers of a row, in their order.
 *
 *   the best so far, sorted: a number that is better than the last of them takes its place among them
 *
 * Few numbers of a row do: after the first k about k ln(n/k) of them.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Of two numbers the first one's place is lower. */
static bool before(float a, float b)
{
    return a >= b || isnan(b);
}

void vr_cpu_best(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k)
{
    (void)be;
    assert(k >= 0 && k <= n && k <= VR_BEST_MOST);
    for (int i = 0, count = 0; i < n && k > 0; i++) {
        int at = count;
        if (count == k && before(values[k - 1], x[i])) continue;
        while (at > 0 && !before(values[at - 1], x[i])) at--;
        count += count < k;
        memmove(values + at + 1, values + at, (size_t)(count - at - 1) * sizeof *values);
        memmove(ids + at + 1, ids + at, (size_t)(count - at - 1) * sizeof *ids);
        values[at] = x[i], ids[at] = i;
    }
}
