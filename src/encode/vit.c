/*
 * vit.c - vision transformer: frames to patch features.
 *
 *   pixels [N,3,S,S] -> patches [N,P,3pp] -> linear [N,P,D] -> class row first, + position [P+1,D] -> L blocks -> output norm
 *
 * Serves EVA-CLIP-g (S=224, p=14, D=1408, H=16, L=39, F=6144) followed by BLIP-2's ln_vision.
 * Ref:   Video-LLaMA eva_vit.py:246-351 (forward_features), :415-442 (sizes); blip2.py:62-71 (ln_vision).
 * Trap:  block norms use epsilon 1e-6, ln_vision 1e-5, and the tower's own final norm does not exist.
 *        EVA adds a bias to q and v, none to k: the weight file holds the three with zeros for k.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "encode/vit.h"

#include <stdlib.h>

#include "base/limits.h"
#include "encode/block.h"

struct vr_vit {
    int image_size, patch_size, n_blocks;
    int n_patches; /* P */
    vr_block_config config;
    float output_epsilon;
    vr_matrix patch_w;                /* [D, 3pp]  vit.patch */
    const float *patch_b;             /* [D] */
    const float *class_row;           /* [D]       vit.class */
    const float *position;            /* [P+1, D]  vit.position */
    const float *output_w, *output_b; /* [D]       vit.output_norm */
    vr_block blocks[];                /* [n_blocks] */
};

static int config_read(vr_vit *vit, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_block_config_read(&vit->config, &vit->n_blocks, w, "vit", e));
    VR_TRY(vr_activation_read(&vit->config.activation, w, "vit.activation", e));
    VR_TRY(vr_weights_int(w, &vit->image_size, 1, VR_MAX_IMAGE_SIZE, e, "vit.image_size"));
    VR_TRY(vr_weights_int(w, &vit->patch_size, 1, 1024, e, "vit.patch_size"));
    VR_TRY(vr_weights_float(w, &vit->output_epsilon, e, "vit.output_norm_epsilon"));
    if (vit->image_size % vit->patch_size != 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: vit.patch_size %d does not divide vit.image_size %d", vr_weights_path(w),
                       vit->patch_size, vit->image_size);
    const int side = vit->image_size / vit->patch_size;
    vit->n_patches = side * side;
    return VR_OK;
}

static int tensors_bind(vr_vit *vit, vr_weights *w, vr_err *e)
{
    const int D = vit->config.width, p = vit->patch_size;
    VR_TRY(vr_weights_matrix(w, &vit->patch_w, D, 3 * p * p, e, "vit.patch.weight"));
    VR_TRY(vr_weights_vector(w, &vit->patch_b, D, e, "vit.patch.bias"));
    VR_TRY(vr_weights_vector(w, &vit->class_row, D, e, "vit.class"));
    VR_TRY(vr_weights_table(w, &vit->position, vit->n_patches + 1, D, e, "vit.position"));
    VR_TRY(vr_weights_vector(w, &vit->output_w, D, e, "vit.output_norm.weight"));
    VR_TRY(vr_weights_vector(w, &vit->output_b, D, e, "vit.output_norm.bias"));
    for (int l = 0; l < vit->n_blocks; l++) VR_TRY(vr_block_bind(&vit->blocks[l], w, &vit->config, "vit", l, e));
    return VR_OK;
}

int vr_vit_open(vr_vit **out, vr_weights *w, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "vit.block_count"));
    vr_vit *vit = calloc(1, sizeof *vit + (size_t)n_blocks * sizeof vit->blocks[0]);
    if (!vit) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the vision tower");
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
    free(vit);
}

int vr_vit_width(const vr_vit *vit)
{
    return vit->config.width;
}

int vr_vit_tokens(const vr_vit *vit)
{
    return vit->n_patches + 1;
}

int vr_vit_image_size(const vr_vit *vit)
{
    return vit->image_size;
}

/* pixels -> x [N,P+1,D] with class row and positions */
static void embed(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *x)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = vit->config.width, P = vit->n_patches, S = vit->image_size, p = vit->patch_size;
    const size_t mark = vr_arena_mark(run->scratch);
    float *patches = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)(3 * p * p));
    float *rows = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)D);

    op->patches(be, patches, pixels, N, 3, S, S, p, p);
    op->linear(be, rows, patches, &vit->patch_w, vit->patch_b, VR_ACT_NONE, NULL, N * P);
    op->copy_rows(be, x, (int64_t)(P + 1) * D, vit->class_row, 0, N, D);
    for (int n = 0; n < N; n++)
        op->copy_rows(be, x + ((size_t)n * (size_t)(P + 1) + 1) * (size_t)D, D, rows + (size_t)n * (size_t)P * (size_t)D, D,
                      P, D);
    op->add_rows(be, x, x, vit->position, N * (P + 1), D, 1, P + 1);
    vr_arena_release(run->scratch, mark);
}

void vr_vit_forward(const vr_vit *vit, vr_run *run, const float *pixels, int N, float *out)
{
    const int D = vit->config.width, T = vit->n_patches + 1;
    const int64_t shape[3] = { N, T, D };
    const size_t mark = vr_arena_mark(run->scratch);
    float *x = vr_arena_floats(run->scratch, (size_t)N * (size_t)T * (size_t)D);

    embed(vit, run, pixels, N, x);
    vr_run_dump(run, x, 3, shape, "vision.embed");
    for (int l = 0; l < vit->n_blocks; l++) {
        vr_block_forward(&vit->blocks[l], &vit->config, run, x, N, T);
        vr_run_dump(run, x, 3, shape, "vision.block.%02d", l);
    }
    run->be->ops->layer_norm(run->be, out, x, vit->output_w, vit->output_b, N * T, D, vit->output_epsilon);
    vr_run_dump(run, out, 3, shape, "vision.out");
    vr_arena_release(run->scratch, mark);
}
