/*
 * heap.c - see heap.h.
 */
#include "text/heap.h"

#include <stdbool.h>

static bool before(const vr_heap_pair *a, const vr_heap_pair *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->left < b->left);
}

void vr_heap_push(vr_heap *heap, vr_heap_pair pair)
{
    vr_heap_pair *p = heap->pairs;
    int32_t at = heap->count++;
    for (; at > 0 && before(&pair, &p[(at - 1) / 2]); at = (at - 1) / 2) p[at] = p[(at - 1) / 2];
    p[at] = pair;
}

vr_heap_pair vr_heap_pop(vr_heap *heap)
{
    vr_heap_pair *p = heap->pairs;
    const vr_heap_pair top = p[0], last = p[--heap->count];
    int32_t at = 0;
    for (int32_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && before(&p[child + 1], &p[child])) child++;
        if (!before(&p[child], &last)) break;
        p[at] = p[child];
    }
    p[at] = last;
    return top;
}
