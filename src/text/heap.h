/*
 * heap.h - the pairs of neighbours that a BPE tokenizer may merge, best first; internal to src/text.
 *
 * Pairs may be stale when they come out: a part of theirs was merged with another one. Their size tells.
 * Owner: the memory is the caller's: room for two pairs a symbol, as there are fewer first pairs than symbols, and a merge
 *        takes one and adds at most two.
 */
#ifndef VR_HEAP_H
#define VR_HEAP_H

#include <stdint.h>

typedef struct vr_heap_pair {
    uint32_t rank;       /* the lowest first, then the leftmost */
    int32_t left, right; /* symbols */
    int32_t n_bytes;     /* of both together when the pair was made */
} vr_heap_pair;

typedef struct vr_heap {
    vr_heap_pair *pairs;
    int32_t count;
} vr_heap;

void vr_heap_push(vr_heap *heap, vr_heap_pair pair);
vr_heap_pair vr_heap_pop(vr_heap *heap); /* the heap is not empty */

#endif
