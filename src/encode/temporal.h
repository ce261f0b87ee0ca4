/*
 * temporal.h - attention over time inside a tower of pictures: between two blocks every place looks at itself in the other
 * frames of its group.
 *
 * Weights are borrowed from the weight file; activations live in the caller's scratch arena.
 */
#ifndef VR_TEMPORAL_H
#define VR_TEMPORAL_H

#include "encode/block.h"

typedef struct vr_temporal {
    const float *position;        /* [G, D]          PREFIX.blk.%d.temporal.position */
    const float *norm_w, *norm_b; /* [D]             PREFIX.blk.%d.temporal.norm */
    vr_matrix qkv_w, out_w;       /* [3D, D], [D, D] PREFIX.blk.%d.temporal.qkv, .out */
    const float *qkv_b, *out_b;   /* [3D], [D] */
} vr_temporal;

/* group: frames that see each other, G >= 1. */
int vr_temporal_bind(vr_temporal *temporal, vr_weights *w, const vr_block_config *config, int group, const char *prefix,
                     int index, vr_err *e);

/* x [N, T, D] in place, N a multiple of group: group of frames after group of frames. */
void vr_temporal_forward(const vr_temporal *temporal, const vr_block_config *config, int group, vr_run *run, float *x, int N,
                         int T);

#endif
