/*
 * block.h - pre-norm transformer block: x += attend(norm1(x)); x += mlp(norm2(x)).
 *
 * Shared by the vision towers (vit.c) and ImageBind's audio tower (imagebind.c).
 * Weights are borrowed from the weight file; activations live in the caller's scratch arena.
 */
#ifndef VR_BLOCK_H
#define VR_BLOCK_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_block_config {
    int width;   /* D */
    int n_heads; /* H; E = D/H */
    int hidden;  /* F */
    float epsilon;
    vr_activation activation;
    bool extra_key;   /* one more learned key and value row after the last token: extra_k, extra_v */
    bool layer_scale; /* x += scale1 * attend, x += scale2 * mlp */
    bool gated;       /* mlp is fc2(act(a) * b), a and b the halves of fc1's rows */
    const float *cosine, *sine; /* [T, E/2] backend memory, or NULL: heads of q and k turn by halves, row t of every sequence */
} vr_block_config;

typedef struct vr_block {
    const float *norm1_w, *norm1_b; /* [D]             PREFIX.norm1.{weight,bias} */
    vr_matrix qkv_w;                /* [3D, D] q|k|v   PREFIX.qkv */
    const float *qkv_b;             /* [3D] */
    vr_matrix out_w;                /* [D, D]          PREFIX.out */
    const float *out_b;             /* [D] */
    const float *norm2_w, *norm2_b; /* [D]             PREFIX.norm2 */
    vr_matrix fc1_w, fc2_w;         /* [F, D], [D, F]  PREFIX.fc1, PREFIX.fc2; gated: the first F rows of [2F, D] */
    vr_matrix gate_w;               /* [F, D] gated: the last F rows of PREFIX.fc1 */
    const float *fc1_b, *fc2_b;     /* [F], [D]; gated: [2F] */
    const float *scale1, *scale2;   /* [D] or NULL     PREFIX.scale1, PREFIX.scale2 */
    const float *extra_k, *extra_v; /* [D] or NULL     PREFIX.extra_k, PREFIX.extra_v */
} vr_block;

/* Binds `PREFIX.blk.INDEX.*`. */
int vr_block_bind(vr_block *block, vr_weights *w, const vr_block_config *config, const char *prefix, int index, vr_err *e);

/* x [N, T, D] in place; sequences n attend to themselves only. */
void vr_block_forward(const vr_block *block, const vr_block_config *config, vr_run *run, float *x, int N, int T);

/* Reads width, heads, hidden width and epsilon from `PREFIX.*` keys and checks that heads divide the width. */
int vr_block_config_read(vr_block_config *config, int *n_blocks, const vr_weights *w, const char *prefix, vr_err *e);

/* `PREFIX.activation`: gelu, gelu_tanh, gelu_quick, silu. */
int vr_activation_read(vr_activation *out, const vr_weights *w, const char *prefix, vr_err *e);

#endif
