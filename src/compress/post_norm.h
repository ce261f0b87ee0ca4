/*
 * post_norm.h - the two halves of a post-norm transformer block, as BERT has them: x = norm(part(x) + x).
 *
 * Shared by Q-Formers (qformer.c) and the memory bridge (memory_bridge.c).
 * Weights are borrowed from the weight file; activations live in the caller's scratch arena.
 */
#ifndef VR_POST_NORM_H
#define VR_POST_NORM_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_post_attention {
    int width, key_width, n_heads; /* D, De, H; E = D/H */
    float epsilon;
    vr_matrix q_w, k_w, v_w, out_w;       /* [D, D]; k and v [D, De]  PREFIX.{q,k,v,out} */
    const float *q_b, *k_b, *v_b, *out_b; /* [D] */
    const float *norm_w, *norm_b;         /* [D]                      PREFIX.norm */
} vr_post_attention;

typedef struct vr_post_ffn {
    float epsilon;
    vr_matrix fc1_w, fc2_w;       /* [F, D], [D, F]  PREFIX.fc1, PREFIX.fc2 */
    const float *fc1_b, *fc2_b;   /* [F], [D] */
    const float *norm_w, *norm_b; /* [D]             PREFIX.ffn_norm */
} vr_post_ffn;

/* width, key_width, n_heads and epsilon are the caller's, from before. */
int vr_post_attention_bind(vr_post_attention *a, vr_weights *w, const char *prefix, vr_err *e);
/* Keys and values of rows [R, De]: k, v [R, D]. */
void vr_post_attention_keys(const vr_post_attention *a, vr_run *run, const float *rows, int R, float *k, float *v);
/* x [N,Q,D] = norm(out(softmax(q k^T / sqrt E) v) + x); n attends to its own R of k, v [N,R,D]. */
void vr_post_attention_look(const vr_post_attention *a, vr_run *run, float *x, int N, int Q, float *k, float *v, int R);
/* Both: rows [N,R,De], may be x itself. */
void vr_post_attention_forward(const vr_post_attention *a, vr_run *run, float *x, int N, int Q, const float *rows, int R);

int vr_post_ffn_bind(vr_post_ffn *f, vr_weights *w, const char *prefix, int width, int hidden, float epsilon, vr_err *e);
/* x [T,D] = norm(fc2(gelu(fc1(x))) + x) */
void vr_post_ffn_forward(const vr_post_ffn *f, vr_run *run, float *x, int T);

#endif
