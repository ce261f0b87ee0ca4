/*
 * temporal.c - attention over time inside a tower of pictures, see temporal.h.
 *
 *   x [N,T,D]: += position of the frame in its group
 *              += out(attend(norm(x)))      the sequence is one place in the G frames of a group: G x G, no mask
 *
 * Ref:  VideoLLaMB languagebind/video/modeling_video.py:78-180 (CLIPEncoderLayer).
 * Trap: the position stays in the residual, of the class row too, and is added anew in front of every block.
 */
#include "encode/temporal.h"

#include <math.h>

int vr_temporal_bind(vr_temporal *t, vr_weights *w, const vr_block_config *config, int group, const char *prefix, int index,
                     vr_err *e)
{
    const int D = config->width;
    VR_TRY(vr_weights_table(w, &t->position, group, D, e, "%s.blk.%d.temporal.position", prefix, index));
    VR_TRY(vr_weights_vector(w, &t->norm_w, D, e, "%s.blk.%d.temporal.norm.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &t->norm_b, D, e, "%s.blk.%d.temporal.norm.bias", prefix, index));
    VR_TRY(vr_weights_matrix(w, &t->qkv_w, 3 * D, D, e, "%s.blk.%d.temporal.qkv.weight", prefix, index));
    VR_TRY(vr_weights_vector(w, &t->qkv_b, 3 * D, e, "%s.blk.%d.temporal.qkv.bias", prefix, index));
    VR_TRY(vr_weights_matrix(w, &t->out_w, D, D, e, "%s.blk.%d.temporal.out.weight", prefix, index));
    return vr_weights_vector(w, &t->out_b, D, e, "%s.blk.%d.temporal.out.bias", prefix, index);
}

void vr_temporal_forward(const vr_temporal *t, const vr_block_config *config, int group, vr_run *run, float *x, int N, int T)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = config->width, H = config->n_heads, E = D / H, rows = N * T;
    const size_t mark = vr_arena_mark(run->scratch), frame = (size_t)T * (size_t)D;
    float *normed = vr_arena_floats(run->scratch, (size_t)rows * (size_t)D); /* then what was attended to */
    float *qkv = vr_arena_floats(run->scratch, (size_t)rows * (size_t)(3 * D));

    op->add_rows(be, x, x, t->position, rows, D, T, group);
    op->layer_norm(be, normed, x, t->norm_w, t->norm_b, rows, D, config->epsilon);
    op->linear(be, qkv, normed, &t->qkv_w, t->qkv_b, VR_ACT_NONE, NULL, rows);
    for (size_t first = 0; first < (size_t)N; first += (size_t)group) {
        float *here = qkv + first * 3 * frame;
        const int64_t place = 3 * (int64_t)D, step = place * T; /* from place to place, from frame to frame */
        op->attention(be, &(vr_attention){ .n_batch = T,
                                           .n_queries = group,
                                           .n_keys = group,
                                           .n_heads = H,
                                           .n_kv_heads = H,
                                           .head_dim = E,
                                           .scale = 1.0f / sqrtf((float)E),
                                           .q = { here, place, step, E },
                                           .k = { here + D, place, step, E },
                                           .v = { here + 2 * D, place, step, E },
                                           .out = { normed + first * frame, D, (int64_t)D * T, E } });
    }
    op->linear(be, x, normed, &t->out_w, t->out_b, VR_ACT_NONE, x, rows);
    vr_arena_release(run->scratch, mark);
}
