/*
 * post_norm.c - the two halves of a post-norm transformer block, see post_norm.h.
 *
 * Ref:  Video-LLaMA Qformer.py:111-380; VideoLLaMB multimodal_projector/rmt_r_transformer_projector.py:13-180.
 */
#include "compress/post_norm.h"

#include <math.h>

int vr_post_attention_bind(vr_post_attention *a, vr_weights *w, const char *p, vr_err *e)
{
    const int D = a->width;
    VR_TRY(vr_weights_matrix(w, &a->q_w, D, D, e, "%s.q.weight", p));
    VR_TRY(vr_weights_vector(w, &a->q_b, D, e, "%s.q.bias", p));
    VR_TRY(vr_weights_matrix(w, &a->k_w, D, a->key_width, e, "%s.k.weight", p));
    VR_TRY(vr_weights_vector(w, &a->k_b, D, e, "%s.k.bias", p));
    VR_TRY(vr_weights_matrix(w, &a->v_w, D, a->key_width, e, "%s.v.weight", p));
    VR_TRY(vr_weights_vector(w, &a->v_b, D, e, "%s.v.bias", p));
    VR_TRY(vr_weights_matrix(w, &a->out_w, D, D, e, "%s.out.weight", p));
    VR_TRY(vr_weights_vector(w, &a->out_b, D, e, "%s.out.bias", p));
    VR_TRY(vr_weights_vector(w, &a->norm_w, D, e, "%s.norm.weight", p));
    return vr_weights_vector(w, &a->norm_b, D, e, "%s.norm.bias", p);
}

void vr_post_attention_keys(const vr_post_attention *a, vr_run *run, const float *rows, int R, float *k, float *v)
{
    run->be->ops->linear(run->be, k, rows, &a->k_w, a->k_b, VR_ACT_NONE, NULL, R);
    run->be->ops->linear(run->be, v, rows, &a->v_w, a->v_b, VR_ACT_NONE, NULL, R);
}

void vr_post_attention_look(const vr_post_attention *a, vr_run *run, float *x, int N, int Q, float *k, float *v, int R)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int D = a->width, H = a->n_heads, E = D / H;
    const size_t mark = vr_arena_mark(run->scratch);
    float *q = vr_arena_floats(run->scratch, (size_t)(N * Q) * (size_t)D);
    float *attended = vr_arena_floats(run->scratch, (size_t)(N * Q) * (size_t)D);

    op->linear(be, q, x, &a->q_w, a->q_b, VR_ACT_NONE, NULL, N * Q);
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
    op->layer_norm(be, x, x, a->norm_w, a->norm_b, N * Q, D, a->epsilon);
    vr_arena_release(run->scratch, mark);
}

void vr_post_attention_forward(const vr_post_attention *a, vr_run *run, float *x, int N, int Q, const float *rows, int R)
{
    const size_t mark = vr_arena_mark(run->scratch), n = (size_t)(N * R) * (size_t)a->width;
    float *k = vr_arena_floats(run->scratch, n);
    float *v = vr_arena_floats(run->scratch, n);
    vr_post_attention_keys(a, run, rows, N * R, k, v);
    vr_post_attention_look(a, run, x, N, Q, k, v, R);
    vr_arena_release(run->scratch, mark);
}

int vr_post_ffn_bind(vr_post_ffn *f, vr_weights *w, const char *p, int width, int hidden, float epsilon, vr_err *e)
{
    f->epsilon = epsilon;
    VR_TRY(vr_weights_matrix(w, &f->fc1_w, hidden, width, e, "%s.fc1.weight", p));
    VR_TRY(vr_weights_vector(w, &f->fc1_b, hidden, e, "%s.fc1.bias", p));
    VR_TRY(vr_weights_matrix(w, &f->fc2_w, width, hidden, e, "%s.fc2.weight", p));
    VR_TRY(vr_weights_vector(w, &f->fc2_b, width, e, "%s.fc2.bias", p));
    VR_TRY(vr_weights_vector(w, &f->norm_w, width, e, "%s.ffn_norm.weight", p));
    return vr_weights_vector(w, &f->norm_b, width, e, "%s.ffn_norm.bias", p);
}

void vr_post_ffn_forward(const vr_post_ffn *f, vr_run *run, float *x, int T)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const size_t mark = vr_arena_mark(run->scratch);
    float *hidden = vr_arena_floats(run->scratch, (size_t)T * (size_t)f->fc1_w.rows);

    op->linear(be, hidden, x, &f->fc1_w, f->fc1_b, VR_ACT_GELU, NULL, T);
    op->linear(be, x, hidden, &f->fc2_w, f->fc2_b, VR_ACT_NONE, x, T);
    op->layer_norm(be, x, x, f->norm_w, f->norm_b, T, f->fc2_w.rows, f->epsilon);
    vr_arena_release(run->scratch, mark);
}
