/*
 * qwen_vit.c - Qwen2-VL's vision transformer: grids of any size, patches of two pictures each.
 *
 *   patches [N,P,3*2*14*14] -> linear [N,P,D] -> L blocks, q and k turned by line and column of their patch
 *
 * Serves Qwen2-VL (D=1280, H=16, L=32, F=5120). No class row, no position table, no norm behind the blocks.
 * Ref:   transformers 4.45 modeling_qwen2_vl.py (Qwen2VisionTransformerPretrainedModel, rot_pos_emb, VisionAttention).
 * Trap:  the first half of the pairs of a head turns by the line, the second by the column, each with the frequencies of a head
 *        half as wide; lines and columns are those of the grid that is seen, also where it was pooled.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "encode/qwen_vit.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "encode/block.h"

struct vr_qwen_vit {
    int patch, merge, depth, n_blocks;
    float base; /* of the turns */
    vr_block_config config;
    vr_matrix patch_w; /* [D, 3*depth*p*p]  vit.patch */
    vr_block blocks[]; /* [n_blocks] */
};

static int config_read(vr_qwen_vit *vit, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_block_config_read(&vit->config, &vit->n_blocks, w, "vit", e));
    VR_TRY(vr_activation_read(&vit->config.activation, w, "vit", e));
    VR_TRY(vr_weights_int(w, &vit->patch, 1, 64, e, "vit.patch_size"));
    VR_TRY(vr_weights_int(w, &vit->merge, 1, 16, e, "vit.merge_size"));
    VR_TRY(vr_weights_int(w, &vit->depth, 1, 16, e, "vit.temporal_patch_size"));
    VR_TRY(vr_weights_float(w, &vit->base, e, "vit.rope.freq_base"));
    const int head_dim = vit->config.width / vit->config.n_heads;
    if (head_dim % 4 != 0 || vit->base <= 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: heads of %d numbers or vit.rope.freq_base %g cannot be", vr_weights_path(w),
                       head_dim, (double)vit->base);
    return VR_OK;
}

int vr_qwen_vit_open(vr_qwen_vit **out, vr_weights *w, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "vit.block_count"));
    vr_qwen_vit *vit = calloc(1, sizeof *vit + (size_t)n_blocks * sizeof vit->blocks[0]);
    if (!vit) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the vision tower");
    int rc = config_read(vit, w, e);
    const int columns = 3 * vit->depth * vit->patch * vit->patch;
    if (rc == VR_OK) rc = vr_weights_matrix(w, &vit->patch_w, vit->config.width, columns, e, "vit.patch.weight");
    for (int l = 0; l < n_blocks && rc == VR_OK; l++) rc = vr_block_bind(&vit->blocks[l], w, &vit->config, "vit", l, e);
    if (rc != VR_OK) {
        vr_qwen_vit_free(vit);
        return rc;
    }
    *out = vit;
    return VR_OK;
}

void vr_qwen_vit_free(vr_qwen_vit *vit)
{
    free(vit);
}

int vr_qwen_vit_width(const vr_qwen_vit *vit)
{
    return vit->config.width;
}

int vr_qwen_vit_patch(const vr_qwen_vit *vit)
{
    return vit->patch;
}

int vr_qwen_vit_merge(const vr_qwen_vit *vit)
{
    return vit->merge;
}

int vr_qwen_vit_depth(const vr_qwen_vit *vit)
{
    return vit->depth;
}

/* cosine, sine [P, E/2] of a grid, in f32 as the original */
static void turns_make(const vr_qwen_vit *vit, const vr_qwen_grid *grid, int P, float *cosine, float *sine)
{
    const int half = vit->config.width / vit->config.n_heads / 2, quarter = half / 2;
    for (int i = 0; i < quarter; i++) {
        const float exponent = (float)(2 * i) / (float)half;
        const float frequency = 1.0F / (float)pow((double)vit->base, (double)exponent);
        for (int t = 0; t < P; t++) {
            int place[2];
            vr_qwen_grid_place(grid, t, &place[0], &place[1]);
            for (int k = 0; k < 2; k++) {
                const size_t at = (size_t)t * (size_t)half + (size_t)(k * quarter + i);
                const double angle = (double)((float)place[k] * frequency);
                cosine[at] = (float)cos(angle);
                sine[at] = (float)sin(angle);
            }
        }
    }
}

void vr_qwen_vit_forward(const vr_qwen_vit *vit, vr_run *run, const float *patches, int N, const vr_qwen_grid *grid, float *out)
{
    const vr_ops *op = run->be->ops;
    const int D = vit->config.width, P = vr_qwen_grid_patches(grid);
    const size_t n = (size_t)P * (size_t)(D / vit->config.n_heads / 2), mark = vr_arena_mark(run->scratch);
    const int64_t shape[2] = { (int64_t)N * P, D };
    float *turns = vr_arena_floats(run->scratch, 2 * n);
    const size_t host_mark = vr_arena_mark(run->host);
    float *here = vr_arena_floats(run->host, 2 * n);
    if (!run->be->plan) turns_make(vit, grid, P, here, here + n);
    run->be->write(run->be, turns, here, 2 * n * sizeof *here);
    vr_arena_release(run->host, host_mark);

    vr_block_config config = vit->config;
    config.cosine = turns;
    config.sine = turns + n;
    op->linear(run->be, out, patches, &vit->patch_w, NULL, VR_ACT_NONE, NULL, N * P);
    vr_run_dump(run, out, 2, shape, "vision.embed");
    for (int l = 0; l < vit->n_blocks; l++) {
        vr_block_forward(&vit->blocks[l], &config, run, out, N, P);
        vr_run_dump(run, out, 2, shape, "vision.block.%02d", l);
    }
    vr_arena_release(run->scratch, mark);
}
