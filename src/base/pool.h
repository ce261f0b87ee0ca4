/*
 * pool.h - thread pool with dynamic tiles: a slow core takes fewer tiles and never holds the other.
 *
 * A job is n_tiles calls of one function; threads (the caller is one of them) take tile numbers from an atomic counter.
 * Which thread computes a tile never changes a result: kernels own their output tile.
 */
#ifndef VR_POOL_H
#define VR_POOL_H

#include "base/err.h"

typedef struct vr_pool vr_pool;
typedef void vr_pool_tile(void *arg, int tile, int thread); /* thread: 0..n_threads-1, for per-thread scratch */

int vr_pool_open(vr_pool **out, int n_threads, vr_err *e); /* n_threads >= 1; 1 starts no thread */
void vr_pool_free(vr_pool *pool);                          /* NULL is legal */
int vr_pool_threads(const vr_pool *pool);
void vr_pool_run(vr_pool *pool, int n_tiles, vr_pool_tile *tile, void *arg); /* returns when all tiles are done */

#endif
