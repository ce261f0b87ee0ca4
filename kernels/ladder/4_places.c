/*
 * 4_places.c - step 4: all frames of a window at one place before the next place; the anchor is loaded once for four of them.
 *
 *   window: place 0: frames 0..7, place 1: frames 0..7, ...      eight streams that run forward in step
 *
 * Bytes: S, every row once. One thread does not use what the memory can give.
 */
#include "kernels/ladder/places.h"

void vr_ladder_places(const vr_prune *p, vr_pool *pool, float *scratch)
{
    (void)pool, (void)scratch;
    for (int first = 0; first < p->n_frames; first += p->window) {
        const int end = first + p->window < p->n_frames ? first + p->window : p->n_frames;
        vr_ladder_window(p, first, end);
    }
    vr_ladder_list(p);
}
