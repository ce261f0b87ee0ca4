/*
 * qformer.c - Q-Former: a few learned queries look at many rows and become the tokens that the decoder reads.
 *
 *   query [Q,D] -> input norm -> for every frame n: x [N,Q,D]
 *   block:  x = norm(out(self(x)) + x)
 *           x = norm(out(cross(x, encoded[n])) + x)       every cross_interval-th block
 *           x = norm(fc2(gelu(fc1(x))) + x)
 *
 * Serves BLIP-2's Q-Former (D=768, H=12, L=12, Q=32, cross-attention in even blocks, De=1408), Video-LLaMA's Video Q-Former
 * (L=2, cross in both, De=768) and Audio Q-Former (Q=8, De=1024).
 * Ref:   Video-LLaMA Qformer.py:52-486, 678-966; video_llama.py:31-45; arXiv:2301.12597 section 3.
 * Trap:  post-norm, epsilon 1e-12; the feed-forward is the query's own (intermediate_query, output_query); all masks are ones.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "compress/qformer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "encode/block.h"

typedef struct attention_weights {
    vr_matrix q_w, k_w, v_w, out_w;       /* [D, D]; k and v [D, De] for cross-attention */
    const float *q_b, *k_b, *v_b, *out_b; /* [D] */
    const float *norm_w, *norm_b;         /* [D] */
} attention_weights;

typedef struct qformer_block {
    attention_weights self, cross; /* PREFIX.blk.%d.self, .cross */
    vr_matrix fc1_w, fc2_w;        /* [F, D], [D, F]  .fc1, .fc2 */
    const float *fc1_b, *fc2_b;    /* [F], [D] */
    const float *norm_w, *norm_b;  /* [D]             .ffn_norm */
} qformer_block;

struct vr_qformer {
    char prefix[32];
    vr_block_config config; /* geometry only; the block itself is post-norm */
    int n_blocks, n_queries, encoder_width, cross_interval;
    const float *query;             /* [Q, D] */
    const float *input_w, *input_b; /* [D]  PREFIX.input_norm */
    qformer_block blocks[];         /* [n_blocks] */
};

static int attention_bind(attention_weights *a, vr_weights *w, const vr_qformer *q, int index, const char *kind, int key_width,
                          vr_err *e)
{
    const int D = q->config.width;
    const char *p = q->prefix;
    VR_TRY(vr_weights_matrix(w, &a->q_w, D, D, e, "%s.blk.%d.%s.q.weight", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->q_b, D, e, "%s.blk.%d.%s.q.bias", p, index, kind));
    VR_TRY(vr_weights_matrix(w, &a->k_w, D, key_width, e, "%s.blk.%d.%s.k.weight", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->k_b, D, e, "%s.blk.%d.%s.k.bias", p, index, kind));
    VR_TRY(vr_weights_matrix(w, &a->v_w, D, key_width, e, "%s.blk.%d.%s.v.weight", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->v_b, D, e, "%s.blk.%d.%s.v.bias", p, index, kind));
    VR_TRY(vr_weights_matrix(w, &a->out_w, D, D, e, "%s.blk.%d.%s.out.weight", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->out_b, D, e, "%s.blk.%d.%s.out.bias", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->norm_w, D, e, "%s.blk.%d.%s.norm.weight", p, index, kind));
    VR_TRY(vr_weights_vector(w, &a->norm_b, D, e, "%s.blk.%d.%s.norm.bias", p, index, kind));
    return VR_OK;
}

static int block_bind(vr_qformer *q, vr_weights *w, int index, vr_err *e)
{
    const int D = q->config.width, F = q->config.hidden;
    const char *p = q->prefix;
    qformer_block *b = &q->blocks[index];
    VR_TRY(attention_bind(&b->self, w, q, index, "self", D, e));
    if (index % q->cross_interval == 0) VR_TRY(attention_bind(&b->cross, w, q, index, "cross", q->encoder_width, e));
    VR_TRY(vr_weights_matrix(w, &b->fc1_w, F, D, e, "%s.blk.%d.fc1.weight", p, index));
    VR_TRY(vr_weights_vector(w, &b->fc1_b, F, e, "%s.blk.%d.fc1.bias", p, index));
    VR_TRY(vr_weights_matrix(w, &b->fc2_w, D, F, e, "%s.blk.%d.fc2.weight", p, index));
    VR_TRY(vr_weights_vector(w, &b->fc2_b, D, e, "%s.blk.%d.fc2.bias", p, index));
    VR_TRY(vr_weights_vector(w, &b->norm_w, D, e, "%s.blk.%d.ffn_norm.weight", p, index));
    VR_TRY(vr_weights_vector(w, &b->norm_b, D, e, "%s.blk.%d.ffn_norm.bias", p, index));
    return VR_OK;
}

static int qformer_bind(vr_qformer *q, vr_weights *w, vr_err *e)
{
    const char *p = q->prefix;
    VR_TRY(vr_block_config_read(&q->config, &q->n_blocks, w, p, e));
    VR_TRY(vr_weights_int(w, &q->n_queries, 1, VR_MAX_QUERIES, e, "%s.query_count", p));
    VR_TRY(vr_weights_int(w, &q->encoder_width, 1, VR_MAX_WIDTH, e, "%s.encoder_length", p));
    VR_TRY(vr_weights_int(w, &q->cross_interval, 1, VR_MAX_BLOCKS, e, "%s.cross_interval", p));
    VR_TRY(vr_weights_table(w, &q->query, q->n_queries, q->config.width, e, "%s.query", p));
    VR_TRY(vr_weights_vector(w, &q->input_w, q->config.width, e, "%s.input_norm.weight", p));
    VR_TRY(vr_weights_vector(w, &q->input_b, q->config.width, e, "%s.input_norm.bias", p));
    for (int i = 0; i < q->n_blocks; i++) VR_TRY(block_bind(q, w, i, e));
    return VR_OK;
}

int vr_qformer_open(vr_qformer **out, vr_weights *w, const char *prefix, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "%s.block_count", prefix));
    vr_qformer *q = calloc(1, sizeof *q + (size_t)n_blocks * sizeof q->blocks[0]);
    if (!q) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %s", prefix);
    snprintf(q->prefix, sizeof q->prefix, "%s", prefix);
    const int rc = qformer_bind(q, w, e);
    if (rc != VR_OK) {
        vr_qformer_free(q);
        return rc;
    }
    *out = q;
    return VR_OK;
}

void vr_qformer_free(vr_qformer *qformer)
{
    free(qformer);
}

int vr_qformer_width(const vr_qformer *qformer)
{
    return qformer->config.width;
}

int vr_qformer_queries(const vr_qformer *qformer)
{
    return qformer->n_queries;
}

int vr_qformer_encoder_width(const vr_qformer *qformer)
{
    return qformer->encoder_width;
}

/* x [N,Q,D] = norm(out(softmax(q k^T / sqrt E) v) + x), keys and values from rows [N,R,.] */
static void attend(const vr_qformer *qf, const attention_weights *a, vr_run *run, float *x, const float *rows, int N, int R)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = qf->config.width, H = qf->config.n_heads, E = D / H, Q = qf->n_queries;
    const size_t mark = vr_arena_mark(run->scratch);
    float *q = vr_arena_floats(run->scratch, (size_t)(N * Q) * (size_t)D);
    float *k = vr_arena_floats(run->scratch, (size_t)(N * R) * (size_t)D);
    float *v = vr_arena_floats(run->scratch, (size_t)(N * R) * (size_t)D);
    float *attended = vr_arena_floats(run->scratch, (size_t)(N * Q) * (size_t)D);

    op->linear(be, q, x, &a->q_w, a->q_b, VR_ACT_NONE, NULL, N * Q);
    op->linear(be, k, rows, &a->k_w, a->k_b, VR_ACT_NONE, NULL, N * R);
    op->linear(be, v, rows, &a->v_w, a->v_b, VR_ACT_NONE, NULL, N * R);
    op->attention(be, &(vr_attention){ .n_batch = N,
                                       .n_queries = Q,
                                       .n_keys = R,
                                       .n_heads = H,
                                       .n_kv_heads = H,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .q = { q, (int64_t)Q * D, D, E },
                                       .k = { k, (int64_t)R * D, D, E },
                                       .v = { v, (int64_t)R * D, D, E },
                                       .out = { attended, (int64_t)Q * D, D, E } });
    op->linear(be, x, attended, &a->out_w, a->out_b, VR_ACT_NONE, x, N * Q);
    op->layer_norm(be, x, x, a->norm_w, a->norm_b, N * Q, D, qf->config.epsilon);
    vr_arena_release(run->scratch, mark);
}

static void feed_forward(const vr_qformer *qf, const qformer_block *b, vr_run *run, float *x, int rows)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = qf->config.width;
    const size_t mark = vr_arena_mark(run->scratch);
    float *hidden = vr_arena_floats(run->scratch, (size_t)rows * (size_t)qf->config.hidden);

    op->linear(be, hidden, x, &b->fc1_w, b->fc1_b, VR_ACT_GELU, NULL, rows);
    op->linear(be, x, hidden, &b->fc2_w, b->fc2_b, VR_ACT_NONE, x, rows);
    op->layer_norm(be, x, x, b->norm_w, b->norm_b, rows, D, qf->config.epsilon);
    vr_arena_release(run->scratch, mark);
}

void vr_qformer_forward(const vr_qformer *qf, vr_run *run, const float *encoded, int N, int R, float *out)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = qf->config.width, Q = qf->n_queries;
    const int64_t shape[3] = { N, Q, D };

    for (int n = 0; n < N; n++)
        op->layer_norm(be, out + (size_t)n * (size_t)Q * (size_t)D, qf->query, qf->input_w, qf->input_b, Q, D,
                       qf->config.epsilon);
    vr_run_dump(run, out, 3, shape, "%s.embed", qf->prefix);
    for (int i = 0; i < qf->n_blocks; i++) {
        const qformer_block *b = &qf->blocks[i];
        attend(qf, &b->self, run, out, out, N, Q);
        if (i % qf->cross_interval == 0) attend(qf, &b->cross, run, out, encoded, N, R);
        feed_forward(qf, b, run, out, N * Q);
        vr_run_dump(run, out, 3, shape, "%s.layer.%02d", qf->prefix, i);
    }
    vr_run_dump(run, out, 3, shape, "%s.out", qf->prefix);
}
