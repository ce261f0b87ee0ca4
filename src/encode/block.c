/*
 * block.c - pre-norm transformer block, see block.h.
 *
 *   x [N,T,D] -> norm1 -> qkv [N,T,3D] -> attention per head -> out (+ x)
 *             -> norm2 -> fc1 -> activation -> fc2 (+ x)        both additions scaled by channel where there is layer scale
 *
 * Ref:  Video-LLaMA eva_vit.py:99-203; ImageBind models/transformer.py:68-172.
 * Trap: ImageBind's extra key and value are appended after the projection and last (nn.MultiheadAttention bias_k, bias_v).
 */
#include "encode/block.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/strips.h"

int vr_block_config_read(vr_block_config *config, int *n_blocks, const vr_weights *w, const char *prefix, vr_err *e)
{
    VR_TRY(vr_weights_int(w, n_blocks, 1, VR_MAX_BLOCKS, e, "%s.block_count", prefix));
    VR_TRY(vr_weights_int(w, &config->width, 1, VR_MAX_WIDTH, e, "%s.embedding_length", prefix));
    VR_TRY(vr_weights_int(w, &config->n_heads, 1, VR_MAX_HEADS, e, "%s.head_count", prefix));
    VR_TRY(vr_weights_int(w, &config->hidden, 1, VR_MAX_WIDTH, e, "%s.feed_forward_length", prefix));
    VR_TRY(vr_weights_float(w, &config->epsilon, e, "%s.norm_epsilon", prefix));
    if (config->width % config->n_heads != 0 || config->width / config->n_heads > VR_MAX_HEAD_DIM)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s.head_count %d does not fit %s.embedding_length %d", vr_weights_path(w),
                       prefix, config->n_heads, prefix, config->width);
    return VR_OK;
}

int vr_activation_read(vr_activation *out, const vr_weights *w, const char *prefix, vr_err *e)
{
    static const struct {
        const char *name;
        vr_activation activation;
    } known[] = {
        { "gelu", VR_ACT_GELU }, { "gelu_tanh", VR_ACT_GELU_TANH }, { "gelu_quick", VR_ACT_GELU_QUICK }, { "silu", VR_ACT_SILU }
    };
    vr_string name;
    VR_TRY(vr_weights_string(w, &name, e, "%s.activation", prefix));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (name.n_bytes == strlen(known[i].name) && memcmp(name.data, known[i].name, name.n_bytes) == 0) {
            *out = known[i].activation;
            return VR_OK;
        }
    }
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s.activation names an unknown activation", vr_weights_path(w), prefix);
}

int vr_block_bind(vr_block *block, vr_weights *w, const vr_block_config *config, const char *prefix, int index, vr_err *e)
{
    const int D = config->width, F = config->hidden;
    *block = (vr_block){ 0 };
    VR_TRY(vr_weights_vector(w, &block->norm1_w, D, e, "%s.blk.%d.norm1.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->norm1_b, D, e, "%s.blk.%d.norm1.bias", prefix, index));
    VR_TRY(vr_weights_matrix(w, &block->qkv_w, 3 * D, D, e, "%s.blk.%d.qkv.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->qkv_b, 3 * D, e, "%s.blk.%d.qkv.bias", prefix, index));
    VR_TRY(vr_weights_matrix(w, &block->out_w, D, D, e, "%s.blk.%d.out.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->out_b, D, e, "%s.blk.%d.out.bias", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->norm2_w, D, e, "%s.blk.%d.norm2.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->norm2_b, D, e, "%s.blk.%d.norm2.bias", prefix, index));
    const int halves = config->gated ? 2 : 1;
    VR_TRY(vr_weights_matrix(w, &block->fc1_w, halves * F, D, e, "%s.blk.%d.fc1.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->fc1_b, halves * F, e, "%s.blk.%d.fc1.bias", prefix, index));
    VR_TRY(vr_weights_matrix(w, &block->fc2_w, D, F, e, "%s.blk.%d.fc2.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &block->fc2_b, D, e, "%s.blk.%d.fc2.bias", prefix, index));
    if (config->gated) {
        if (vr_is_strips(block->fc1_w.dtype) && F % VR_STRIP_ROWS != 0)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s.blk.%d.fc1.weight is quantised, and its halves of %d rows share a strip",
                           vr_weights_path(w), prefix, index, F);
        block->gate_w = vr_matrix_rows(&block->fc1_w, F, F);
        block->fc1_w = vr_matrix_rows(&block->fc1_w, 0, F);
    }
    if (config->layer_scale) {
        VR_TRY(vr_weights_vector(w, &block->scale1, D, e, "%s.blk.%d.scale1", prefix, index));
        VR_TRY(vr_weights_vector(w, &block->scale2, D, e, "%s.blk.%d.scale2", prefix, index));
    }
    if (config->extra_key) {
        VR_TRY(vr_weights_vector(w, &block->extra_k, D, e, "%s.blk.%d.extra_k", prefix, index));
        VR_TRY(vr_weights_vector(w, &block->extra_v, D, e, "%s.blk.%d.extra_v", prefix, index));
    }
    return VR_OK;
}

/* x += scale * (rows W^T + b) */
static void add_linear(vr_run *run, float *x, const float *rows, const vr_matrix *w, const float *b, const float *scale,
                       float *spare, int n_rows)
{
    const vr_ops *op = run->be->ops;
    op->linear(run->be, scale ? spare : x, rows, w, b, VR_ACT_NONE, scale ? NULL : x, n_rows);
    if (scale) op->scale_add(run->be, x, x, spare, scale, n_rows, w->rows);
}

/* wide = act(fc1), or act(a) * b of its halves */
static void hidden_make(const vr_block *block, const vr_block_config *config, vr_run *run, float *wide, const float *normed,
                        int rows)
{
    const vr_ops *op = run->be->ops;
    const size_t n = (size_t)rows * (size_t)config->hidden;
    if (!config->gated) {
        op->linear(run->be, wide, normed, &block->fc1_w, block->fc1_b, config->activation, NULL, rows);
        return;
    }
    op->linear(run->be, wide, normed, &block->fc1_w, block->fc1_b, VR_ACT_NONE, NULL, rows);
    op->linear(run->be, wide + n, normed, &block->gate_w, block->fc1_b + config->hidden, VR_ACT_NONE, NULL, rows);
    op->gated(run->be, wide, wide, wide + n, config->activation, (int64_t)n);
}

void vr_block_forward(const vr_block *block, const vr_block_config *config, vr_run *run, float *x, int N, int T)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = config->width, H = config->n_heads, E = D / H, hidden = config->gated ? 2 * config->hidden : config->hidden;
    const int rows = N * T;
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)rows * (size_t)D);
    float *attended = vr_arena_floats(run->scratch, (size_t)rows * (size_t)D);
    /* q|k|v and the hidden rows of the MLP are never alive together */
    float *wide = vr_arena_floats(run->scratch, (size_t)rows * (size_t)(3 * D > hidden ? 3 * D : hidden));

    op->layer_norm(be, normed, x, block->norm1_w, block->norm1_b, rows, D, config->epsilon);
    op->linear(be, wide, normed, &block->qkv_w, block->qkv_b, VR_ACT_NONE, NULL, rows);
    const int64_t row = 3 * (int64_t)D, batch = row * T;
    for (int n = 0; n < N && config->cosine; n++) /* k's heads follow q's */
        op->rope(be, wide + n * batch, row, config->cosine, config->sine, VR_ROPE_HALVES, T, 2 * H, E);
    op->attention(be, &(vr_attention){ .n_batch = N,
                                       .n_queries = T,
                                       .n_keys = T,
                                       .n_heads = H,
                                       .n_kv_heads = H,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .q = { wide, batch, row, E },
                                       .k = { wide + D, batch, row, E },
                                       .v = { wide + 2 * D, batch, row, E },
                                       .out = { attended, (int64_t)T * D, D, E },
                                       .extra_k = block->extra_k,
                                       .extra_v = block->extra_v });
    add_linear(run, x, attended, &block->out_w, block->out_b, block->scale1, normed, rows);

    op->layer_norm(be, normed, x, block->norm2_w, block->norm2_b, rows, D, config->epsilon);
    hidden_make(block, config, run, wide, normed, rows);
    add_linear(run, x, wide, &block->fc2_w, block->fc2_b, block->scale2, normed, rows);
    vr_arena_release(run->scratch, mark);
}
