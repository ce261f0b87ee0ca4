/*
 * 4_places.c - step 4: four frames of a window at a time; the anchor is loaded once for them.
 *
 *   frames 1..4: place 0, place 1, ...; frames 5..7: place 0, place 1, ...      five streams that run forward in step
 *
 * Bytes: S, every row once, but for the anchors, which come again with the second group. One thread does not use what the
 * memory can give.
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
