/*
 * 5_threads.c - step 5: threads take windows from a counter.
 *
 *   tile: one window -> mask;  the list is written when all are done
 *
 * Bytes: S, on all threads. What kernels/cpu/prune.c adds: tiles of a part of a window, so that the last one does not keep a
 * thread waiting; the list and the copies of rows while the window is still in the cache; seven frames at once where there are
 * registers.
 */
#include "kernels/ladder/places.h"

static void window_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const vr_prune *p = arg;
    const int first = tile * p->window, end = first + p->window < p->n_frames ? first + p->window : p->n_frames;
    vr_ladder_window(p, first, end);
}

void vr_ladder_threads(const vr_prune *p, vr_pool *pool, float *scratch)
{
    (void)scratch;
    vr_prune job = *p;
    vr_pool_run(pool, (p->n_frames + p->window - 1) / p->window, window_tile, &job);
    vr_ladder_list(p);
}
