/*
 * imagebind.c - ImageBind's audio tower: log-mel clips to one vector each.
 *
 *   mel [N,bins,frames] -> overlapping patches [N,P,ss] -> linear -> stem norm [N,P,D] -> class row first, + position [P+1,D]
 *   -> L blocks with one extra key -> class row -> norm [N,D] -> head [N,E] -> to length 1 -> * scale
 *
 * Serves ImageBind-Huge audio (128 x 204, side 16, stride 10: 12 x 19 patches, D=768, H=12, L=12, E=1024, scale 20).
 * Ref:   ImageBind models/imagebind_model.py:175-193, 290-339, 391-395, 425-428; multimodal_preprocessors.py:121-306.
 * Trap:  the stem norm uses epsilon 1e-5, blocks and head 1e-6; patches are ordered mel row first, then time;
 *        the vector is scaled before any position is added to it.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "encode/imagebind.h"

#include <stdlib.h>

#include "base/limits.h"
#include "encode/block.h"

struct vr_imagebind {
    int mel_bins, mel_frames, patch_size, patch_stride, n_blocks, output_width;
    int n_patches; /* P */
    vr_block_config config;
    float stem_epsilon, output_scale;
    vr_matrix patch_w;            /* [D, side*side]  imagebind.patch, no bias */
    const float *stem_w, *stem_b; /* [D]             imagebind.stem_norm */
    const float *class_row;       /* [D]             imagebind.class */
    const float *position;        /* [P+1, D]        imagebind.position */
    const float *norm_w, *norm_b; /* [D]             imagebind.output_norm */
    vr_matrix head_w;             /* [E, D]          imagebind.head, no bias */
    vr_block blocks[];            /* [n_blocks] */
};

static int config_read(vr_imagebind *t, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_block_config_read(&t->config, &t->n_blocks, w, "imagebind", e));
    t->config.activation = VR_ACT_GELU;
    t->config.extra_key = true;
    VR_TRY(vr_weights_int(w, &t->output_width, 1, VR_MAX_WIDTH, e, "imagebind.output_length"));
    VR_TRY(vr_weights_int(w, &t->patch_size, 1, 1024, e, "imagebind.patch_size"));
    VR_TRY(vr_weights_int(w, &t->patch_stride, 1, 1024, e, "imagebind.patch_stride"));
    VR_TRY(vr_weights_float(w, &t->stem_epsilon, e, "imagebind.stem_norm_epsilon"));
    VR_TRY(vr_weights_float(w, &t->output_scale, e, "imagebind.output_scale"));
    if (t->mel_bins < t->patch_size || t->mel_frames < t->patch_size)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: imagebind.patch_size %d does not fit clips of %d x %d", vr_weights_path(w),
                       t->patch_size, t->mel_bins, t->mel_frames);
    const int rows = (t->mel_bins - t->patch_size) / t->patch_stride + 1,
              cols = (t->mel_frames - t->patch_size) / t->patch_stride + 1;
    if (rows > VR_MAX_GRID_SIDE || cols > VR_MAX_GRID_SIDE)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: imagebind.patch_stride %d gives %d x %d patches, at most %d a side are taken",
                       vr_weights_path(w), t->patch_stride, rows, cols, VR_MAX_GRID_SIDE);
    t->n_patches = rows * cols;
    return VR_OK;
}

static int tensors_bind(vr_imagebind *t, vr_weights *w, vr_err *e)
{
    const int D = t->config.width;
    VR_TRY(vr_weights_matrix(w, &t->patch_w, D, t->patch_size * t->patch_size, e, "imagebind.patch.weight"));
    VR_TRY(vr_weights_vector(w, &t->stem_w, D, e, "imagebind.stem_norm.weight"));
    VR_TRY(vr_weights_vector(w, &t->stem_b, D, e, "imagebind.stem_norm.bias"));
    VR_TRY(vr_weights_vector(w, &t->class_row, D, e, "imagebind.class"));
    VR_TRY(vr_weights_table(w, &t->position, t->n_patches + 1, D, e, "imagebind.position"));
    VR_TRY(vr_weights_vector(w, &t->norm_w, D, e, "imagebind.output_norm.weight"));
    VR_TRY(vr_weights_vector(w, &t->norm_b, D, e, "imagebind.output_norm.bias"));
    VR_TRY(vr_weights_matrix(w, &t->head_w, t->output_width, D, e, "imagebind.head.weight"));
    for (int l = 0; l < t->n_blocks; l++) VR_TRY(vr_block_bind(&t->blocks[l], w, &t->config, "imagebind", l, e));
    return VR_OK;
}

int vr_imagebind_open(vr_imagebind **out, vr_weights *w, int mel_bins, int mel_frames, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "imagebind.block_count"));
    vr_imagebind *tower = calloc(1, sizeof *tower + (size_t)n_blocks * sizeof tower->blocks[0]);
    if (!tower) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the audio tower");
    tower->mel_bins = mel_bins;
    tower->mel_frames = mel_frames;
    int rc = config_read(tower, w, e);
    if (rc == VR_OK) rc = tensors_bind(tower, w, e);
    if (rc != VR_OK) {
        vr_imagebind_free(tower);
        return rc;
    }
    *out = tower;
    return VR_OK;
}

void vr_imagebind_free(vr_imagebind *tower)
{
    free(tower);
}

int vr_imagebind_output_width(const vr_imagebind *tower)
{
    return tower->output_width;
}

/* mel -> x [N,P+1,D] with class row and positions */
static void embed(const vr_imagebind *t, vr_run *run, const float *mel, int N, float *x)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = t->config.width, P = t->n_patches, side = t->patch_size;
    const size_t mark = vr_arena_mark(run->scratch);
    float *patches = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)(side * side));
    float *rows = vr_arena_floats(run->scratch, (size_t)N * (size_t)P * (size_t)D);

    op->patches(be, patches, mel, N, 1, t->mel_bins, t->mel_frames, side, t->patch_stride);
    op->linear(be, rows, patches, &t->patch_w, NULL, VR_ACT_NONE, NULL, N * P);
    op->layer_norm(be, rows, rows, t->stem_w, t->stem_b, N * P, D, t->stem_epsilon);
    vr_run_dump(run, rows, 3, (const int64_t[3]){ N, P, D }, "audio.stem");
    op->copy_rows(be, x, (int64_t)(P + 1) * D, t->class_row, 0, N, D);
    for (int n = 0; n < N; n++)
        op->copy_rows(be, x + ((size_t)n * (size_t)(P + 1) + 1) * (size_t)D, D, rows + (size_t)n * (size_t)P * (size_t)D, D, P,
                      D);
    op->add_rows(be, x, x, t->position, N * (P + 1), D, 1, P + 1);
    vr_arena_release(run->scratch, mark);
}

void vr_imagebind_forward(const vr_imagebind *t, vr_run *run, const float *mel, int N, float *out)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = t->config.width, T = t->n_patches + 1, E = t->output_width;
    const int64_t shape[3] = { N, T, D };
    const size_t mark = vr_arena_mark(run->scratch);
    float *x = vr_arena_floats(run->scratch, (size_t)N * (size_t)T * (size_t)D);
    float *class_rows = vr_arena_floats(run->scratch, (size_t)N * (size_t)D);

    embed(t, run, mel, N, x);
    vr_run_dump(run, x, 3, shape, "audio.embed");
    for (int l = 0; l < t->n_blocks; l++) {
        vr_block_forward(&t->blocks[l], &t->config, run, x, N, T);
        vr_run_dump(run, x, 3, shape, "audio.block.%02d", l);
    }
    op->copy_rows(be, class_rows, D, x, (int64_t)T * D, N, D);
    op->layer_norm(be, class_rows, class_rows, t->norm_w, t->norm_b, N, D, t->config.epsilon);
    vr_run_dump(run, class_rows, 2, (const int64_t[2]){ N, D }, "audio.cls");
    op->linear(be, out, class_rows, &t->head_w, NULL, VR_ACT_NONE, NULL, N);
    op->l2_norm(be, out, out, N, E, 1e-12f, t->output_scale);
    vr_run_dump(run, out, 2, (const int64_t[2]){ N, E }, "audio.out");
    vr_arena_release(run->scratch, mark);
}
