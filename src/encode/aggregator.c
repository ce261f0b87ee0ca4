/*
 * aggregator.c - one global row that gathers what all frames show, see aggregator.h.
 *
 *   x [N,T,D] -> norm3 -> patches += their neighbours in time and place -> keys, values
 *   g [D]     -> norm1 -> query -> attention over all N*T rows -> out (+ g) -> norm2 -> fc1 -> gelu -> fc2 (+ g)
 *
 * Serves VideoChat (D=1408, H=16, 8 steps, F=6144), where it is called GMHRA, global multi-head relation aggregator.
 * Ref:   Ask-Anything video_chat/models/eva_vit.py:311-378, 431-443, 470-484; arXiv:2211.09552 (UniFormerV2).
 * Trap:  the convolution comes after norm3, skips class rows and pads time with zeros, however many frames there are; epsilon 1e-5
 *        while the tower's blocks have 1e-6; the key bias is real here.
 */
#include "encode/aggregator.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

typedef struct aggregator_step {
    const float *norm1_w, *norm1_b, *norm2_w, *norm2_b, *norm3_w, *norm3_b; /* [D] */
    const float *conv_w, *conv_b;                                           /* [27, D], [D]  .conv */
    vr_matrix q_w, k_w, v_w, out_w;                                         /* [D, D] */
    const float *q_b, *k_b, *v_b, *out_b;                                   /* [D] */
    vr_matrix fc1_w, fc2_w;                                                 /* [F, D], [D, F] */
    const float *fc1_b, *fc2_b;
} aggregator_step;

struct vr_aggregator {
    int width, n_heads, hidden, side, n_steps;
    float epsilon;
    const float *start; /* [D]  aggregator.class */
    aggregator_step steps[];
};

static int step_bind(aggregator_step *s, vr_weights *w, int D, int F, int j, vr_err *e)
{
    VR_TRY(vr_weights_vector(w, &s->norm1_w, D, e, "aggregator.blk.%d.norm1.weight", j));
    VR_TRY(vr_weights_vector(w, &s->norm1_b, D, e, "aggregator.blk.%d.norm1.bias", j));
    VR_TRY(vr_weights_vector(w, &s->norm2_w, D, e, "aggregator.blk.%d.norm2.weight", j));
    VR_TRY(vr_weights_vector(w, &s->norm2_b, D, e, "aggregator.blk.%d.norm2.bias", j));
    VR_TRY(vr_weights_vector(w, &s->norm3_w, D, e, "aggregator.blk.%d.norm3.weight", j));
    VR_TRY(vr_weights_vector(w, &s->norm3_b, D, e, "aggregator.blk.%d.norm3.bias", j));
    VR_TRY(vr_weights_table(w, &s->conv_w, 27, D, e, "aggregator.blk.%d.conv.weight", j));
    VR_TRY(vr_weights_vector(w, &s->conv_b, D, e, "aggregator.blk.%d.conv.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->q_w, D, D, e, "aggregator.blk.%d.q.weight", j));
    VR_TRY(vr_weights_vector(w, &s->q_b, D, e, "aggregator.blk.%d.q.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->k_w, D, D, e, "aggregator.blk.%d.k.weight", j));
    VR_TRY(vr_weights_vector(w, &s->k_b, D, e, "aggregator.blk.%d.k.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->v_w, D, D, e, "aggregator.blk.%d.v.weight", j));
    VR_TRY(vr_weights_vector(w, &s->v_b, D, e, "aggregator.blk.%d.v.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->out_w, D, D, e, "aggregator.blk.%d.out.weight", j));
    VR_TRY(vr_weights_vector(w, &s->out_b, D, e, "aggregator.blk.%d.out.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->fc1_w, F, D, e, "aggregator.blk.%d.fc1.weight", j));
    VR_TRY(vr_weights_vector(w, &s->fc1_b, F, e, "aggregator.blk.%d.fc1.bias", j));
    VR_TRY(vr_weights_matrix(w, &s->fc2_w, D, F, e, "aggregator.blk.%d.fc2.weight", j));
    return vr_weights_vector(w, &s->fc2_b, D, e, "aggregator.blk.%d.fc2.bias", j);
}

int vr_aggregator_open(vr_aggregator **out, vr_weights *w, int width, int n_heads, int side, vr_err *e)
{
    int n_steps, hidden;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_steps, 1, VR_MAX_BLOCKS, e, "aggregator.block_count"));
    VR_TRY(vr_weights_int(w, &hidden, 1, VR_MAX_WIDTH, e, "aggregator.feed_forward_length"));
    vr_aggregator *a = calloc(1, sizeof *a + (size_t)n_steps * sizeof a->steps[0]);
    if (!a) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the aggregator");
    a->width = width, a->n_heads = n_heads, a->hidden = hidden, a->side = side, a->n_steps = n_steps;
    int rc = vr_weights_float(w, &a->epsilon, e, "aggregator.norm_epsilon");
    if (rc == VR_OK) rc = vr_weights_vector(w, &a->start, width, e, "aggregator.class");
    for (int j = 0; rc == VR_OK && j < n_steps; j++) rc = step_bind(&a->steps[j], w, width, hidden, j, e);
    if (rc != VR_OK) {
        vr_aggregator_free(a);
        return rc;
    }
    *out = a;
    return VR_OK;
}

void vr_aggregator_free(vr_aggregator *aggregator)
{
    free(aggregator);
}

int vr_aggregator_block_count(const vr_aggregator *aggregator)
{
    return aggregator->n_steps;
}

void vr_aggregator_begin(const vr_aggregator *a, vr_run *run, float *g)
{
    run->be->ops->copy_rows(run->be, g, a->width, a->start, a->width, 1, a->width);
}

/* out [1, D] = attention of the query of g over keys and values of n frames' rows */
static void attend(const vr_aggregator *a, const aggregator_step *s, vr_run *run, const float *rows, int n, const float *g,
                   float *out)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = a->width, E = D / a->n_heads;
    const size_t mark = vr_arena_mark(run->scratch);
    float *q = vr_arena_floats(run->scratch, (size_t)D), *attended = vr_arena_floats(run->scratch, (size_t)D);
    float *k = vr_arena_floats(run->scratch, (size_t)n * (size_t)D), *v = vr_arena_floats(run->scratch, (size_t)n * (size_t)D);
    op->layer_norm(be, attended, g, s->norm1_w, s->norm1_b, 1, D, a->epsilon);
    op->linear(be, q, attended, &s->q_w, s->q_b, VR_ACT_NONE, NULL, 1);
    op->linear(be, k, rows, &s->k_w, s->k_b, VR_ACT_NONE, NULL, n);
    op->linear(be, v, rows, &s->v_w, s->v_b, VR_ACT_NONE, NULL, n);
    op->attention(be, &(vr_attention){ .n_batch = 1,
                                       .n_queries = 1,
                                       .n_keys = n,
                                       .n_heads = a->n_heads,
                                       .n_kv_heads = a->n_heads,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .q = { q, 0, D, E },
                                       .k = { k, 0, D, E },
                                       .v = { v, 0, D, E },
                                       .out = { attended, 0, D, E } });
    op->linear(be, out, attended, &s->out_w, s->out_b, VR_ACT_NONE, NULL, 1);
    vr_arena_release(run->scratch, mark);
}

static void feed_forward(const vr_aggregator *a, const aggregator_step *s, vr_run *run, float *g)
{
    const vr_ops *op = run->be->ops;
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)a->width), *wide = vr_arena_floats(run->scratch, (size_t)a->hidden);
    op->layer_norm(run->be, normed, g, s->norm2_w, s->norm2_b, 1, a->width, a->epsilon);
    op->linear(run->be, wide, normed, &s->fc1_w, s->fc1_b, VR_ACT_GELU, NULL, 1);
    op->linear(run->be, g, wide, &s->fc2_w, s->fc2_b, VR_ACT_NONE, g, 1);
    vr_arena_release(run->scratch, mark);
}

void vr_aggregator_step(const vr_aggregator *a, vr_run *run, int j, const float *x, int N, float *g)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const aggregator_step *s = &a->steps[j];
    const int D = a->width, T = a->side * a->side + 1, n = N * T;
    const int64_t one[2] = { 1, D };
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)n * (size_t)D);
    float *rows = vr_arena_floats(run->scratch, (size_t)n * (size_t)D);
    float *attended = vr_arena_floats(run->scratch, (size_t)D);

    op->layer_norm(be, normed, x, s->norm3_w, s->norm3_b, n, D, a->epsilon);
    op->copy_rows(be, rows, (int64_t)T * D, normed, (int64_t)T * D, N, D); /* class rows */
    op->add_neighbours(be, rows + D, normed + D, (int64_t)T * D, s->conv_w, s->conv_b, N, a->side, D);
    vr_run_dump(run, rows, 2, (const int64_t[2]){ n, D }, "vision.gmhra.%02d.keys", j);
    attend(a, s, run, rows, n, g, attended);
    vr_run_dump(run, attended, 2, one, "vision.gmhra.%02d.attn", j);
    op->add_rows(be, g, g, attended, 1, D, 1, 1);
    feed_forward(a, s, run, g);
    vr_run_dump(run, g, 2, one, "vision.gmhra.%02d", j);
    vr_arena_release(run->scratch, mark);
}
