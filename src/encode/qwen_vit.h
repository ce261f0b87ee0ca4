/*
 * qwen_vit.h - Qwen2-VL's vision transformer: grids of any size, patches of two pictures each.
 */
#ifndef VR_QWEN_VIT_H
#define VR_QWEN_VIT_H

#include "base/weights.h"
#include "kernels/backend.h"
#include "encode/qwen_patches.h"

typedef struct vr_qwen_vit vr_qwen_vit;

/* Binds every tensor under `vit.`. The model is read-only afterwards. */
int vr_qwen_vit_open(vr_qwen_vit **out, vr_weights *w, vr_err *e);
void vr_qwen_vit_free(vr_qwen_vit *vit); /* NULL is legal */

int vr_qwen_vit_width(const vr_qwen_vit *vit); /* D */
int vr_qwen_vit_patch(const vr_qwen_vit *vit); /* pixels a side of a patch */
int vr_qwen_vit_merge(const vr_qwen_vit *vit); /* patches a side of the group that becomes one row of the decoder */
int vr_qwen_vit_depth(const vr_qwen_vit *vit); /* pictures of a grid step */

/* patches [N, P, 3*depth*p*p] of N steps (encode/qwen_patches.h), P those of the grid -> out [N, P, D]; a step attends to
 * itself only. Stages: vision.embed, vision.block.00... */
void vr_qwen_vit_forward(const vr_qwen_vit *vit, vr_run *run, const float *patches, int N, const vr_qwen_grid *grid,
                         float *out);

#endif
