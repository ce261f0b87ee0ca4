/*
 * patch_merger.h - Qwen2-VL: groups of neighbouring patches to rows of the decoder.
 *
 *   x [T*g, D] -> norm of each -> a group's g rows side by side [T, gD] -> fc1, GELU [T, gD] -> fc2 [T, Dl]
 *
 * Ref: transformers 4.45 modeling_qwen2_vl.py (PatchMerger).
 */
#ifndef VR_PATCH_MERGER_H
#define VR_PATCH_MERGER_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_patch_merger {
    int width, group;             /* D, g: 2 x 2 patches */
    const float *norm_w, *norm_b; /* [D]                  merger.norm, borrowed */
    vr_matrix fc1_w, fc2_w;       /* [gD, gD], [Dl, gD]   merger.fc1, merger.fc2 */
    const float *fc1_b, *fc2_b;   /* [gD], [Dl] */
    float epsilon;
} vr_patch_merger;

int vr_patch_merger_bind(vr_patch_merger *merger, vr_weights *w, int width, int group, int out_width, vr_err *e);
/* x [T*g, D], the rows of a group one behind the other -> out [T, Dl] */
void vr_patch_merger_forward(const vr_patch_merger *merger, vr_run *run, const float *x, int T, float *out);

#endif
