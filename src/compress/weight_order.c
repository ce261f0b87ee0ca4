/*
 * weight_order.c - see weight_order.h.
 *
 *   n <= 32: network of 32 lanes, n of them filled;  more: insertion
 *
 * Ref:  PyTorch 2.0.1 aten/src/ATen/native/cuda/bitonicSort.cuh, Sort.cpp (stable above 32).
 * Trap: the network is not stable: of 25 equal weights slots 24, 18, 16 come first. Which frames a memory retrieves hangs on
 *       it, because equal weights are the rule.
 */
#include "compress/weight_order.h"

#include <stdbool.h>

#define LANES 32

typedef struct lane {
    float key;
    int32_t value;
    bool filled;
} lane;

static void exchange(lane *a, lane *b, bool upward)
{
    const bool swap = (a->filled && a->key > b->key) || !b->filled;
    if (swap != upward) return;
    const lane kept = *a;
    *a = *b, *b = kept;
}

/* One pass over pairs `stride` apart; runs of `size` lanes alternate in direction, 0: none do. */
static void pass(lane *lanes, int stride, int size)
{
    for (int t = 0; t < LANES / 2; t++) {
        const int at = 2 * t - (t & (stride - 1));
        exchange(&lanes[at], &lanes[at + stride], (t & (size / 2)) != 0);
    }
}

static void network(const float *w, int n, int32_t *order)
{
    lane lanes[LANES];
    for (int i = 0; i < LANES; i++) lanes[i] = (lane){ i < n ? w[i] : 0.0f, i, i < n };
    for (int size = 2; size < LANES; size *= 2) {
        for (int stride = size / 2; stride >= 1; stride /= 2) pass(lanes, stride, size);
    }
    for (int stride = LANES / 2; stride >= 1; stride /= 2) pass(lanes, stride, 0);
    for (int i = 0; i < n; i++) order[i] = lanes[i].value;
}

void vr_order_descending(const float *w, int n, int32_t *order)
{
    if (n <= LANES) {
        network(w, n, order);
        return;
    }
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && w[i] > w[order[at - 1]]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

void vr_order_ascending(const float *w, int n, int32_t *order)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && w[i] < w[order[at - 1]]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}
