/*
 * kvcache.h - keys and values of the rows that the decoder has read.
 *
 *   k, v [L, n_max, Hk rows of a head] in a type of kernels/kept.h: one plane a layer, one row a position, keys already turned by
 *   RoPE. An answer reads all of them for each token: f16 takes half, bytes (Q8) take 17/64 of what f32 takes.
 *
 * The memory is one mapping for the whole context; pages cost something only when rows reach them. Large planes ask for large
 * pages: then the first row of a plane costs 2 MB.
 */
#ifndef VR_KVCACHE_H
#define VR_KVCACHE_H

#include "kernels/backend.h"

typedef struct vr_kvcache_config {
    int n_layers, n_max;   /* n_max: positions */
    int n_heads, head_dim; /* Hk, E */
    vr_kept kept;
} vr_kvcache_config;

typedef struct vr_kvcache {
    vr_kvcache_config config;
    vr_arena memory;
    unsigned char *k, *v;
    int64_t head, row; /* elements of a head's row, of a position's (kernels/kept.h) */
    int n_rows;        /* rows that are valid; rows after them may be overwritten */
    struct vr_kvcache *rest; /* of the layers behind n_layers, in other memory: vr_llama_forward; NULL: there are none. Borrowed */
} vr_kvcache;

/* The wanted type, or F32 where the backend keeps no other. */
vr_kept vr_kvcache_kept(const vr_backend *be, vr_kept wanted);
size_t vr_kvcache_bytes(const vr_kvcache_config *config);
int vr_kvcache_open(vr_kvcache *cache, vr_backend *be, const vr_kvcache_config *config, vr_err *e); /* memory of be */
/* A cache for a run that plans: its rows have addresses and no memory. */
void vr_kvcache_plan(vr_kvcache *cache, vr_arena *plan, const vr_kvcache_config *config);
void vr_kvcache_close(vr_kvcache *cache); /* legal on a zeroed cache */

/* Rows first.. of one layer. */
void *vr_kvcache_keys(const vr_kvcache *cache, int layer, int first);
void *vr_kvcache_values(const vr_kvcache *cache, int layer, int first);

/* Where T new keys (or values), f32, are computed before they are kept in rows, of vr_kvcache_keys at n_rows: there, or in scratch
 * memory. */
float *vr_kvcache_new(const vr_kvcache *cache, vr_run *run, void *rows, int T);
/* Keeps them: x [T, Hk*E]; nothing where x is rows itself. */
void vr_kvcache_keep(const vr_kvcache *cache, const vr_run *run, void *rows, const float *x, int T);

#endif
