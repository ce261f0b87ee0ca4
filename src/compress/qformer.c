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

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "compress/post_norm.h"
#include "encode/block.h"

typedef struct qformer_block {
    vr_post_attention self, cross; /* PREFIX.blk.%d.self, .cross */
    vr_post_ffn ffn;               /* PREFIX.blk.%d */
} qformer_block;

struct vr_qformer {
    char prefix[32];
    vr_block_config config; /* geometry only; the block itself is post-norm */
    int n_blocks, n_queries, encoder_width, cross_interval;
    const float *query;             /* [Q, D] */
    const float *input_w, *input_b; /* [D]  PREFIX.input_norm */
    qformer_block blocks[];         /* [n_blocks] */
};

static int attention_bind(vr_post_attention *a, vr_weights *w, const vr_qformer *q, int index, const char *kind, int key_width,
                          vr_err *e)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.blk.%d.%s", q->prefix, index, kind);
    *a = (vr_post_attention){
        .width = q->config.width, .key_width = key_width, .n_heads = q->config.n_heads, .epsilon = q->config.epsilon
    };
    return vr_post_attention_bind(a, w, prefix, e);
}

static int block_bind(vr_qformer *q, vr_weights *w, int index, vr_err *e)
{
    char prefix[64];
    qformer_block *b = &q->blocks[index];
    snprintf(prefix, sizeof prefix, "%s.blk.%d", q->prefix, index);
    VR_TRY(attention_bind(&b->self, w, q, index, "self", q->config.width, e));
    if (index % q->cross_interval == 0) VR_TRY(attention_bind(&b->cross, w, q, index, "cross", q->encoder_width, e));
    return vr_post_ffn_bind(&b->ffn, w, prefix, q->config.width, q->config.hidden, q->config.epsilon, e);
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

void vr_qformer_forward(const vr_qformer *qf, vr_run *run, const float *encoded, int N, int R, float *out, int n_dims)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = qf->config.width, Q = qf->n_queries;
    const int64_t shape[3] = { n_dims == 2 ? N * Q : N, n_dims == 2 ? D : Q, D };

    for (int n = 0; n < N; n++)
        op->layer_norm(be, out + (size_t)n * (size_t)Q * (size_t)D, qf->query, qf->input_w, qf->input_b, Q, D,
                       qf->config.epsilon);
    vr_run_dump(run, out, n_dims, shape, "%s.embed", qf->prefix);
    for (int i = 0; i < qf->n_blocks; i++) {
        const qformer_block *b = &qf->blocks[i];
        vr_post_attention_forward(&b->self, run, out, N, Q, out, Q);
        vr_run_dump(run, out, n_dims, shape, "%s.layer.%02d.self", qf->prefix, i);
        if (i % qf->cross_interval == 0) {
            vr_post_attention_forward(&b->cross, run, out, N, Q, encoded, R);
            vr_run_dump(run, out, n_dims, shape, "%s.layer.%02d.cross", qf->prefix, i);
        }
        vr_post_ffn_forward(&b->ffn, run, out, N * Q);
        vr_run_dump(run, out, n_dims, shape, "%s.layer.%02d", qf->prefix, i);
    }
    vr_run_dump(run, out, n_dims, shape, "%s.out", qf->prefix);
}
