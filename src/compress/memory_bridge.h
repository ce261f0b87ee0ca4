/*
 * memory_bridge.h - VideoLLaMB: memory rows read the rows of one scene after the other; between two scenes they are refreshed
 * from all that was cached.
 *
 *   [memory ; rows of a scene] -> layers -> [memory' ; rows'],  memory = norm(out(attend(memory', cache)) + memory')
 */
#ifndef VR_MEMORY_BRIDGE_H
#define VR_MEMORY_BRIDGE_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_memory_bridge vr_memory_bridge;

/* Binds `bridge.*` and `retrieval.*`. width: D of the rows. */
int vr_memory_bridge_open(vr_memory_bridge **out, vr_weights *w, int width, vr_err *e);
void vr_memory_bridge_free(vr_memory_bridge *bridge); /* NULL is legal */

int vr_memory_bridge_rows(const vr_memory_bridge *bridge);             /* M, memory rows */
const float *vr_memory_bridge_initial(const vr_memory_bridge *bridge); /* [M, D] the memory of the first scene, borrowed */

/* x [M + R, D] in place: memory first. Stages NAME.in, NAME.attn (of the first layer), NAME.out. */
void vr_memory_bridge_read(const vr_memory_bridge *bridge, vr_run *run, float *x, int R, const char *name);

/* What was cached, as keys and values. */
typedef struct vr_memory_cache {
    float *k, *v; /* [n_most, D] scratch of the run */
    int n, n_most;
} vr_memory_cache;

void vr_memory_cache_open(const vr_memory_bridge *bridge, vr_run *run, vr_memory_cache *cache, int n_most);
/* rows [n, D] behind those that are there. */
void vr_memory_cache_append(const vr_memory_bridge *bridge, vr_run *run, vr_memory_cache *cache, const float *rows, int n);
/* memory [M, D] in place. Stages NAME.memory (before), NAME.retrieved (after). */
void vr_memory_bridge_retrieve(const vr_memory_bridge *bridge, vr_run *run, const vr_memory_cache *cache, float *memory,
                               const char *name);

#endif
