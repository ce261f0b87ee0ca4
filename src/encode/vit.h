/*
 * vit.h - vision transformer: frames to patch features.
 */
#ifndef VR_VIT_H
#define VR_VIT_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_vit vr_vit;

/* Binds every tensor under `vit.`. The model is read-only afterwards. */
int vr_vit_open(vr_vit **out, vr_weights *w, vr_err *e);
void vr_vit_free(vr_vit *vit); /* NULL is legal */

int vr_vit_width(const vr_vit *vit);      /* D */
int vr_vit_tokens(const vr_vit *vit);     /* P + 1: class row first, then patches row by row */
int vr_vit_image_size(const vr_vit *vit); /* S */

/* pixels [N,3,S,S] -> out [N,P+1,D], output norm applied.
 * Stages: vision.embed, vision.block.00.., vision.out. */
void vr_vit_forward(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *out);

#endif
