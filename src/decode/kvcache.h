/*
 * kvcache.h - keys and values of the rows that the decoder has read.
 *
 *   k, v [L, n_max, Hk*E] f32: one plane a layer, one row a position, keys already turned by RoPE.
 *
 * The memory is one mapping for the whole context; pages cost something only when rows reach them. Large planes ask for large
 * pages: then the first row of a plane costs 2 MB.
 */
#ifndef VR_KVCACHE_H
#define VR_KVCACHE_H

#include "kernels/backend.h"

typedef struct vr_kvcache {
    vr_arena memory;
    float *k, *v;
    int n_layers, n_max, width; /* width = Hk*E */
    int n_rows;                 /* rows that are valid; rows after them may be overwritten */
} vr_kvcache;

size_t vr_kvcache_bytes(int n_layers, int n_max, int width);
int vr_kvcache_open(vr_kvcache *cache, vr_backend *be, int n_layers, int n_max, int width, vr_err *e); /* memory of be */
void vr_kvcache_close(vr_kvcache *cache); /* legal on a zeroed cache */

/* Planes of one layer, [n_max, width]. */
float *vr_kvcache_keys(const vr_kvcache *cache, int layer);
float *vr_kvcache_values(const vr_kvcache *cache, int layer);

#endif
