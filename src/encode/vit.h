/*
 * vit.h - vision transformer: frames to patch features.
 */
#ifndef VR_VIT_H
#define VR_VIT_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_vit vr_vit;

/* What a tower is made of beside its sizes, which the file states. */
typedef struct vr_vit_parts {
    const char *prefix; /* of keys and tensors: "vit", "siglip", "dino"; a literal */
    const char *stage;  /* of its stages: "vision", ...; a literal */
    bool patch_bias;
    bool class_row;  /* a class row in front of the patches */
    bool input_norm; /* the rows are normed before the first block */
    bool output_norm;
    bool layer_scale, gated; /* as vr_block_config */
    bool temporal;           /* in front of each block frames may see each other: PREFIX.temporal_frames of them, 0 for none */
} vr_vit_parts;

/* Binds every tensor under `PREFIX.`. The model is read-only afterwards. */
int vr_vit_open(vr_vit **out, vr_weights *w, const vr_vit_parts *parts, vr_err *e);
void vr_vit_free(vr_vit *vit); /* NULL is legal */

int vr_vit_width(const vr_vit *vit);      /* D */
int vr_vit_tokens(const vr_vit *vit);     /* P, or P + 1 with the class row first; patches row by row */
int vr_vit_side(const vr_vit *vit);       /* patches a line: P = side * side */
int vr_vit_image_size(const vr_vit *vit); /* S */
int vr_vit_block_count(const vr_vit *vit);
int vr_vit_heads(const vr_vit *vit);
int vr_vit_group(const vr_vit *vit); /* frames that see each other; 1: none does. N below is a multiple of it */

/* pixels [N,3,S,S] -> out [N,tokens,D], output norm applied where there is one.
 * Stages: STAGE.embed, STAGE.block.00...; with a class row STAGE.block.00.cls [N,D]..., with groups STAGE.block.00.temporal... */
void vr_vit_forward(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *out);

/* Its three parts, for a system that reads the rows between two blocks: x [N,tokens,D], blocks first..end-1, any rows [rows,D];
 * norm does nothing where there is no output norm. */
void vr_vit_embed(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *x);
void vr_vit_blocks(const vr_vit *vit, vr_run *run, float *x, int N, int first, int end);
void vr_vit_norm(const vr_vit *vit, vr_run *run, float *x, int rows);

#endif
