/*
 * vit.c - vision transformer: frames to patch features.
 *
 *   pixels [N,3,S,S] -> patches [N,P,3pp] -> linear [N,P,D] -> (class row first) + position
 *          -> (input norm) -> L blocks, each behind an attention over time where the file has one -> (output norm)
 *
 * Serves EVA-CLIP-g (S=224, p=14, D=1408, H=16, L=39, F=6144) followed by BLIP-2's ln_vision; SigLIP so400m (S=384, D=1152,
 * H=16, L=27, F=4304: no class row, no output norm); DINOv2-giant (S=378, D=1536, H=24, L=40, F=4096: layer scale, SwiGLU);
 * CLIP ViT-L/14 (S=224 or 336, D=1024, H=16, L=23 of 24, F=4096: input norm, no bias of patches, no output norm); LanguageBind's
 * video tower (CLIP's with groups of 8 frames).
 * Ref:   Video-LLaMA eva_vit.py:246-351 (forward_features), :415-442 (sizes); blip2.py:62-71 (ln_vision); LongVU
 *        siglip_encoder.py:9-78, dino_encoder.py:9-131; transformers modeling_siglip.py, modeling_dinov2.py.
 * Trap:  block norms use epsilon 1e-6, ln_vision 1e-5, and the tower's own final norm does not exist.
 *        EVA adds a bias to q and v, none to k: the weight file holds the three with zeros for k.
 *        SigLIP's 384 pixels are 27 patches and 6 pixels that nobody sees.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "encode/vit.h"

#include <stdlib.h>

#include "base/limits.h"
#include "encode/temporal.h"

struct vr_vit {
    vr_vit_parts parts;
    int image_size, patch_size, n_blocks;
    int side;      /* patches a line */
    int n_patches; /* P = side * side */
    int n_tokens;  /* P + 1 with a class row */
    vr_block_config config;
    float output_epsilon;
    vr_matrix patch_w;                /* [D, 3pp]  vit.patch */
    const float *patch_b;             /* [D] or NULL */
    const float *class_row;           /* [D]       vit.class, or NULL */
    const float *position;            /* [tokens, D]  vit.position */
    const float *input_w, *input_b;   /* [D]       vit.input_norm, or NULL */
    const float *output_w, *output_b; /* [D]       vit.output_norm, or NULL */
    int group;                        /* frames that see each other; 1: none does */
    vr_temporal *temporal;            /* [n_blocks] owned, or NULL: no attention over time */
    vr_block blocks[];                /* [n_blocks] */
};

static int config_read(vr_vit *vit, const vr_weights *w, vr_err *e)
{
    const char *p = vit->parts.prefix;
    VR_TRY(vr_block_config_read(&vit->config, &vit->n_blocks, w, p, e));
    vit->config.layer_scale = vit->parts.layer_scale;
    vit->config.gated = vit->parts.gated;
    vit->config.activation = VR_ACT_SILU;
    if (!vit->parts.gated) VR_TRY(vr_activation_read(&vit->config.activation, w, p, e));
    VR_TRY(vr_weights_int(w, &vit->image_size, 1, VR_MAX_IMAGE_SIZE, e, "%s.image_size", p));
    VR_TRY(vr_weights_int(w, &vit->patch_size, 1, 1024, e, "%s.patch_size", p));
    if (vit->parts.output_norm) VR_TRY(vr_weights_float(w, &vit->output_epsilon, e, "%s.output_norm_epsilon", p));
    vit->group = 1;
    if (vit->parts.temporal) VR_TRY(vr_weights_int(w, &vit->group, 0, VR_MAX_GROUP, e, "%s.temporal_frames", p));
    if (vit->group == 0) vit->group = 1;
    vit->side = vit->image_size / vit->patch_size;
    if (vit->side < 1 || vit->side > VR_MAX_GRID_SIDE)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s.patch_size %d does not fit %s.image_size %d", vr_weights_path(w), p,
                       vit->patch_size, p, vit->image_size);
    vit->n_patches = vit->side * vit->side;
    vit->n_tokens = vit->n_patches + (vit->parts.class_row ? 1 : 0);
    return VR_OK;
}

static int tensors_bind(vr_vit *vit, vr_weights *w, vr_err *e)
{
    const int D = vit->config.width, side = vit->patch_size;
    const char *p = vit->parts.prefix;
    VR_TRY(vr_weights_matrix(w, &vit->patch_w, D, 3 * side * side, e, "%s.patch.weight", p));
    if (vit->parts.patch_bias) VR_TRY(vr_weights_vector(w, &vit->patch_b, D, e, "%s.patch.bias", p));
    if (vit->parts.class_row) VR_TRY(vr_weights_vector(w, &vit->class_row, D, e, "%s.class", p));
    VR_TRY(vr_weights_table(w, &vit->position, vit->n_tokens, D, e, "%s.position", p));
    if (vit->parts.input_norm) {
        VR_TRY(vr_weights_vector(w, &vit->input_w, D, e, "%s.input_norm.weight", p));
        VR_TRY(vr_weights_vector(w, &vit->input_b, D, e, "%s.input_norm.bias", p));
    }
    if (vit->parts.output_norm) {
        VR_TRY(vr_weights_vector(w, &vit->output_w, D, e, "%s.output_norm.weight", p));
        VR_TRY(vr_weights_vector(w, &vit->output_b, D, e, "%s.output_norm.bias", p));
    }
    for (int l = 0; l < vit->n_blocks; l++) VR_TRY(vr_block_bind(&vit->blocks[l], w, &vit->config, p, l, e));
    if (vit->group == 1) return VR_OK;
    vit->temporal = calloc((size_t)vit->n_blocks, sizeof *vit->temporal);
    if (!vit->temporal) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the vision tower");
    for (int l = 0; l < vit->n_blocks; l++) VR_TRY(vr_temporal_bind(&vit->temporal[l], w, &vit->config, vit->group, p, l, e));
    return VR_OK;
}

int vr_vit_open(vr_vit **out, vr_weights *w, const vr_vit_parts *parts, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "%s.block_count", parts->prefix));
    vr_vit *vit = calloc(1, sizeof *vit + (size_t)n_blocks * sizeof vit->blocks[0]);
    if (!vit) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the vision tower");
    vit->parts = *parts;
    int rc = config_read(vit, w, e);
    if (rc == VR_OK) rc = tensors_bind(vit, w, e);
    if (rc != VR_OK) {
        vr_vit_free(vit);
        return rc;
    }
    *out = vit;
    return VR_OK;
}

void vr_vit_free(vr_vit *vit)
{
    if (!vit) return;
    free(vit->temporal);
    free(vit);
}

int vr_vit_width(const vr_vit *vit)
{
    return vit->config.width;
}

int vr_vit_tokens(const vr_vit *vit)
{
    return vit->n_tokens;
}

int vr_vit_heads(const vr_vit *vit)
{
    return vit->config.n_heads;
}

int vr_vit_block_count(const vr_vit *vit)
{
    return vit->n_blocks;
}

int vr_vit_group(const vr_vit *vit)
{
    return vit->group;
}

int vr_vit_side(const vr_vit *vit)
{
    return vit->side;
}

int vr_vit_image_size(const vr_vit *vit)
{
    return vit->image_size;
}

/* pixels -> x [N,tokens,D] with class row and positions */
void vr_vit_embed(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *x)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = vit->config.width, P = vit->n_patches, T = vit->n_tokens, S = vit->image_size, side = vit->patch_size;
    const size_t mark = vr_arena_mark(run->scratch);
    float *patches = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)(3 * side * side));

    op->patches(be, patches, pixels, N, 3, S, S, side, side);
    if (vit->class_row) {
        float *rows = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)D);
        op->linear(be, rows, patches, &vit->patch_w, vit->patch_b, VR_ACT_NONE, NULL, N * P);
        op->copy_rows(be, x, (int64_t)T * D, vit->class_row, 0, N, D);
        for (size_t n = 0; n < (size_t)N; n++)
            op->copy_rows(be, x + (n * (size_t)T + 1) * (size_t)D, D, rows + n * (size_t)P * (size_t)D, D, P, D);
    } else {
        op->linear(be, x, patches, &vit->patch_w, vit->patch_b, VR_ACT_NONE, NULL, N * P);
    }
    op->add_rows(be, x, x, vit->position, N * T, D, 1, T);
    if (vit->input_w) op->layer_norm(be, x, x, vit->input_w, vit->input_b, N * T, D, vit->config.epsilon);
    vr_arena_release(run->scratch, mark);
    vr_run_dump(run, x, 3, (const int64_t[3]){ N, T, D }, "%s.embed", vit->parts.stage);
}

void vr_vit_blocks(const vr_vit *vit, vr_run *run, float *x, int N, int first, int end)
{
    const int T = vit->n_tokens, D = vit->config.width;
    const int64_t shape[3] = { N, T, D };
    for (int l = first; l < end; l++) {
        if (vit->temporal) {
            vr_temporal_forward(&vit->temporal[l], &vit->config, vit->group, run, x, N, T);
            vr_run_dump(run, x, 3, shape, "%s.block.%02d.temporal", vit->parts.stage, l);
        }
        vr_block_forward(&vit->blocks[l], &vit->config, run, x, N, T);
        vr_run_dump(run, x, 3, shape, "%s.block.%02d", vit->parts.stage, l);
        for (size_t n = 0; vit->class_row && run->dump && n < (size_t)N; n++)
            vr_run_dump(run, x + n * (size_t)T * (size_t)D, 2, (const int64_t[2]){ 1, D }, "%s.block.%02d.cls",
                        vit->parts.stage, l);
    }
}

void vr_vit_norm(const vr_vit *vit, vr_run *run, float *x, int rows)
{
    if (vit->output_w)
        run->be->ops->layer_norm(run->be, x, x, vit->output_w, vit->output_b, rows, vit->config.width, vit->output_epsilon);
}

void vr_vit_forward(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *out)
{
    vr_vit_embed(vit, run, pixels, N, out);
    vr_vit_blocks(vit, run, out, N, 0, vit->n_blocks);
    vr_vit_norm(vit, run, out, N * vit->n_tokens);
}
