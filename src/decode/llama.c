/*
 * llama.c - LLaMA-family decoder: rows in, logits of the next token out.
 *
 *   x [T,Dl] -> L layers -> RMS norm -> head [V]
 *   layer:  x += o(attention(rope(q(n)), rope(k(n)), v(n))), n = norm(x);   x += down(silu(gate(m)) * up(m)), m = norm(x)
 *
 * Serves LLaMA 1/2, Vicuna, BiLLa, Ziya; Llama 3.2 (scaled rope, head and token table in one); Qwen2 (biases of q, k, v);
 * Qwen2-VL (three positions a row).
 * Key and value heads are shared where n_kv_heads < n_heads; a head's width E is independent of Dl.
 * Ref:   transformers 4.28 modeling_llama.py (copy in Video-LLaMA models/modeling_llama.py), 4.43 modeling_qwen2.py;
 *        arXiv:2302.13971. Positions: rope.h.
 * Owner: weights are borrowed from vr_weights, the rope table is owned; activations live in the caller's scratch arena.
 */
#include "decode/llama.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/strips.h"

typedef struct llama_layer {
    const float *attn_norm, *ffn_norm; /* [Dl]                blk.%d.attn_norm, .ffn_norm */
    vr_matrix q_w, k_w, v_w, o_w;      /* [H*E, Dl], [Hk*E, Dl], [Hk*E, Dl], [Dl, H*E]  .attn_{q,k,v,output} */
    const float *q_b, *k_b, *v_b;      /* [H*E], [Hk*E], [Hk*E] or NULL                 .attn_{q,k,v} */
    vr_matrix gate_w, up_w, down_w;    /* [F, Dl], [F, Dl], [Dl, F]                     .ffn_{gate,up,down} */
} llama_layer;

struct vr_llama {
    vr_llama_config config;
    vr_matrix embedding, output; /* [V, Dl]  token_embd, output; the same where there is no output */
    const float *output_norm;    /* [Dl] */
    float *cosine, *sine;        /* [context, E/2] owned */
    bool norm_last;              /* see vr_llama_norm_last */
    llama_layer layers[];        /* [n_layers] */
};

void vr_llama_norm_last(vr_llama *llama)
{
    llama->norm_last = true;
}

/* whether the file has a tensor of this name, for those that a decoder may lack */
static bool has_tensor(const vr_weights *w, const char *name)
{
    vr_weights_tensor tensor;
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor_at(w, i, &tensor);
        if (tensor.name.n_bytes == strlen(name) && memcmp(tensor.name.data, name, tensor.name.n_bytes) == 0) return true;
    }
    return false;
}

static int config_read(vr_llama_config *c, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_weights_int(w, &c->n_layers, 1, VR_MAX_BLOCKS, e, "llama.block_count"));
    VR_TRY(vr_weights_int(w, &c->width, 1, VR_MAX_WIDTH, e, "llama.embedding_length"));
    VR_TRY(vr_weights_int(w, &c->hidden, 1, VR_MAX_WIDTH, e, "llama.feed_forward_length"));
    VR_TRY(vr_weights_int(w, &c->n_heads, 1, VR_MAX_HEADS, e, "llama.attention.head_count"));
    VR_TRY(vr_weights_int(w, &c->n_kv_heads, 1, VR_MAX_HEADS, e, "llama.attention.head_count_kv"));
    VR_TRY(vr_weights_int(w, &c->vocab, 1, VR_MAX_VOCAB, e, "llama.vocab_size"));
    int asked; /* positions that no prompt reaches need no table */
    VR_TRY(vr_weights_int(w, &c->context, 1, VR_MAX_CONTEXT, e, "llama.context_length"));
    VR_TRY(vr_weights_int(w, &asked, 2, VR_MAX_CONTEXT, e, "prompt.context"));
    if (asked < c->context) c->context = asked;
    VR_TRY(vr_weights_float(w, &c->epsilon, e, "llama.attention.layer_norm_rms_epsilon"));
    VR_TRY(vr_rope_read(&c->rope, w, e));
    c->head_dim = c->rope.head_dim;
    if (c->n_heads % c->n_kv_heads != 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.attention.head_count %d is no multiple of head_count_kv %d",
                       vr_weights_path(w), c->n_heads, c->n_kv_heads);
    return VR_OK;
}

static int biases_bind(llama_layer *layer, vr_weights *w, int q_width, int kv_width, int l, vr_err *e)
{
    VR_TRY(vr_weights_vector(w, &layer->q_b, q_width, e, "blk.%d.attn_q.bias", l));
    VR_TRY(vr_weights_vector(w, &layer->k_b, kv_width, e, "blk.%d.attn_k.bias", l));
    return vr_weights_vector(w, &layer->v_b, kv_width, e, "blk.%d.attn_v.bias", l);
}

static int layer_bind(llama_layer *layer, vr_weights *w, const vr_llama_config *c, bool biased, int l, vr_err *e)
{
    const int q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    VR_TRY(vr_weights_vector(w, &layer->attn_norm, c->width, e, "blk.%d.attn_norm.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->q_w, q_width, c->width, e, "blk.%d.attn_q.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->k_w, kv_width, c->width, e, "blk.%d.attn_k.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->v_w, kv_width, c->width, e, "blk.%d.attn_v.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->o_w, c->width, q_width, e, "blk.%d.attn_output.weight", l));
    if (biased) VR_TRY(biases_bind(layer, w, q_width, kv_width, l, e));
    VR_TRY(vr_weights_vector(w, &layer->ffn_norm, c->width, e, "blk.%d.ffn_norm.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->gate_w, c->hidden, c->width, e, "blk.%d.ffn_gate.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->up_w, c->hidden, c->width, e, "blk.%d.ffn_up.weight", l));
    VR_TRY(vr_weights_matrix(w, &layer->down_w, c->width, c->hidden, e, "blk.%d.ffn_down.weight", l));
    return VR_OK;
}

static int rope_factors_bind(vr_rope *rope, vr_weights *w, vr_err *e)
{
    VR_TRY(vr_weights_vector(w, &rope->factors, rope->head_dim / 2, e, "rope_freqs.weight"));
    for (int i = 0; i < rope->head_dim / 2; i++)
        if (!(rope->factors[i] > 0 && isfinite(rope->factors[i])))
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: tensor \"rope_freqs.weight\" holds %g, which cannot be", vr_weights_path(w),
                           (double)rope->factors[i]);
    return VR_OK;
}

static int tensors_bind(vr_llama *llama, vr_weights *w, vr_err *e)
{
    const vr_llama_config *c = &llama->config;
    VR_TRY(vr_weights_matrix(w, &llama->embedding, c->vocab, c->width, e, "token_embd.weight"));
    VR_TRY(vr_weights_vector(w, &llama->output_norm, c->width, e, "output_norm.weight"));
    llama->output = llama->embedding;
    if (has_tensor(w, "output.weight")) VR_TRY(vr_weights_matrix(w, &llama->output, c->vocab, c->width, e, "output.weight"));
    if (has_tensor(w, "rope_freqs.weight")) VR_TRY(rope_factors_bind(&llama->config.rope, w, e));
    const bool biased = has_tensor(w, "blk.0.attn_q.bias");
    for (int l = 0; l < c->n_layers; l++) VR_TRY(layer_bind(&llama->layers[l], w, c, biased, l, e));
    return VR_OK;
}

static int rope_table_make(vr_llama *llama, vr_err *e)
{
    const vr_llama_config *c = &llama->config;
    const size_t n = (size_t)c->context * (size_t)(c->head_dim / 2);
    llama->cosine = malloc(n * sizeof *llama->cosine);
    llama->sine = malloc(n * sizeof *llama->sine);
    if (!llama->cosine || !llama->sine) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d positions", c->context);
    vr_rope_table(&c->rope, c->context, llama->cosine, llama->sine);
    return VR_OK;
}

int vr_llama_open(vr_llama **out, vr_weights *w, vr_err *e)
{
    vr_llama_config config;
    *out = NULL;
    VR_TRY(config_read(&config, w, e));
    vr_llama *llama = calloc(1, sizeof *llama + (size_t)config.n_layers * sizeof llama->layers[0]);
    if (!llama) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the decoder");
    llama->config = config;
    int rc = tensors_bind(llama, w, e);
    if (rc == VR_OK) rc = rope_table_make(llama, e);
    if (rc != VR_OK) {
        vr_llama_free(llama);
        return rc;
    }
    *out = llama;
    return VR_OK;
}

void vr_llama_free(vr_llama *llama)
{
    if (!llama) return;
    free(llama->cosine);
    free(llama->sine);
    free(llama);
}

size_t vr_llama_layer_bytes(const vr_llama *llama, int l)
{
    const vr_llama_config *c = &llama->config;
    const llama_layer *layer = &llama->layers[l];
    const vr_matrix *const matrices[] = { &layer->q_w,    &layer->k_w,  &layer->v_w,   &layer->o_w,
                                          &layer->gate_w, &layer->up_w, &layer->down_w };
    const size_t a_head = (size_t)c->head_dim * sizeof(float);
    size_t n = 2 * vr_device_bytes((size_t)c->width * sizeof(float));
    if (layer->q_b) n += vr_device_bytes((size_t)c->n_heads * a_head) + 2 * vr_device_bytes((size_t)c->n_kv_heads * a_head);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) n += vr_device_bytes(vr_matrix_bytes(matrices[i]));
    return n;
}

size_t vr_llama_table_bytes(const vr_llama *llama)
{
    const size_t norm = vr_device_bytes((size_t)llama->config.width * sizeof(float));
    const bool tied = llama->output.data == llama->embedding.data;
    return norm + vr_device_bytes(vr_matrix_bytes(&llama->embedding)) +
           (tied ? 0 : vr_device_bytes(vr_matrix_bytes(&llama->output)));
}

const vr_llama_config *vr_llama_config_get(const vr_llama *llama)
{
    return &llama->config;
}

vr_kvcache_config vr_llama_cache(const vr_llama *llama, int n_rows, vr_kept kept)
{
    const vr_llama_config *c = &llama->config;
    return (vr_kvcache_config){ c->n_layers, n_rows, c->n_kv_heads, c->head_dim, kept };
}

void vr_llama_embed(const vr_llama *llama, vr_run *run, const int32_t *ids, int T, float *out)
{
    const size_t D = (size_t)llama->config.width;
    const vr_run *rest = run->rest;
    if (!rest) run->be->ops->embed_rows(run->be, out, &llama->embedding, ids, T);
    for (int t = 0; rest && t < T; t += VR_LLAMA_ROWS) {
        const int n = T - t < VR_LLAMA_ROWS ? T - t : VR_LLAMA_ROWS;
        const size_t mark = vr_arena_mark(rest->scratch);
        float *rows = vr_arena_floats(rest->scratch, (size_t)n * D);
        rest->be->ops->embed_rows(rest->be, rows, &llama->embedding, ids + t, n);
        run->be->write(run->be, out + (size_t)t * D, rows, (size_t)n * D * sizeof *rows);
        vr_arena_release(rest->scratch, mark);
    }
}

/* How the T new rows turn: [T, E/2] each, of the table or computed for them. */
typedef struct turns {
    const float *cosine, *sine;
} turns;

/* In backend memory, once for all layers: what a step brings from the host comes before it begins. */
static turns turns_make(const vr_llama *llama, vr_run *run, const vr_kvcache *cache, const int32_t *positions, int T)
{
    const vr_rope *rope = &llama->config.rope;
    const size_t half = (size_t)(rope->head_dim / 2), n = (size_t)T * half, first = (size_t)cache->n_rows;
    const float *const cosine = llama->cosine + first * half, *const sine = llama->sine + first * half;
    const bool computed = vr_rope_has_sections(rope) && positions;
    if (!computed && !run->be->arena_open && !run->be->plan) return (turns){ cosine, sine };
    float *there = vr_arena_floats(run->scratch, 2 * n);
    const size_t mark = vr_arena_mark(run->host);
    float *here = vr_arena_floats(run->host, 2 * n);
    if (computed) {
        vr_rope_rows(rope, positions, T, here, here + n);
    } else if (!run->be->plan) {
        memcpy(here, cosine, n * sizeof *here);
        memcpy(here + n, sine, n * sizeof *here);
    }
    if (!run->be->plan) run->be->write(run->be, there, here, 2 * n * sizeof *here);
    vr_arena_release(run->host, mark);
    return (turns){ there, there + n };
}

/* x += o(attention); the T new rows are rows first.. of the cache */
static void attend(const vr_llama *llama, const llama_layer *layer, vr_run *run, const vr_kvcache *cache, const turns *turn,
                   int l, float *x, int T)
{
    const vr_llama_config *c = &llama->config;
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int E = c->head_dim, q_width = c->n_heads * E, kv_width = c->n_kv_heads * E, first = cache->n_rows;
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->width);
    float *q = vr_arena_floats(run->scratch, (size_t)T * (size_t)q_width);
    float *attended = vr_arena_floats(run->scratch, (size_t)T * (size_t)q_width);
    void *keys = vr_kvcache_keys(cache, l, first), *values = vr_kvcache_values(cache, l, first);
    float *k = vr_kvcache_new(cache, run, keys, T), *v = vr_kvcache_new(cache, run, values, T);

    op->rms_norm(be, normed, x, layer->attn_norm, T, c->width, c->epsilon);
    op->linear(be, q, normed, &layer->q_w, layer->q_b, VR_ACT_NONE, NULL, T);
    op->linear(be, k, normed, &layer->k_w, layer->k_b, VR_ACT_NONE, NULL, T);
    op->linear(be, v, normed, &layer->v_w, layer->v_b, VR_ACT_NONE, NULL, T);
    op->rope(be, q, q_width, turn->cosine, turn->sine, c->rope.pairs, T, c->n_heads, E);
    op->rope(be, k, kv_width, turn->cosine, turn->sine, c->rope.pairs, T, c->n_kv_heads, E);
    vr_kvcache_keep(cache, run, keys, k, T);
    vr_kvcache_keep(cache, run, values, v, T);
    op->attention(be, &(vr_attention){ .n_batch = 1,
                                       .n_queries = T,
                                       .n_keys = first + T,
                                       .n_heads = c->n_heads,
                                       .n_kv_heads = c->n_kv_heads,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .causal = true,
                                       .q = { q, 0, q_width, E },
                                       .kept = cache->config.kept,
                                       .k = { vr_kvcache_keys(cache, l, 0), 0, cache->row, cache->head },
                                       .v = { vr_kvcache_values(cache, l, 0), 0, cache->row, cache->head },
                                       .out = { attended, 0, q_width, E } });
    op->linear(be, x, attended, &layer->o_w, NULL, VR_ACT_NONE, x, T);
    vr_arena_release(run->scratch, mark);
}

static void feed_forward(const vr_llama *llama, const llama_layer *layer, vr_run *run, float *x, int T)
{
    const vr_llama_config *c = &llama->config;
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->width);
    float *gate = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->hidden);
    float *up = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->hidden);

    op->rms_norm(be, normed, x, layer->ffn_norm, T, c->width, c->epsilon);
    op->linear(be, gate, normed, &layer->gate_w, NULL, VR_ACT_NONE, NULL, T);
    op->linear(be, up, normed, &layer->up_w, NULL, VR_ACT_NONE, NULL, T);
    op->gated(be, gate, gate, up, VR_ACT_SILU, (int64_t)T * c->hidden);
    op->linear(be, x, gate, &layer->down_w, NULL, VR_ACT_NONE, x, T);
    vr_arena_release(run->scratch, mark);
}

/* Layers first.. of the decoder, as many as the cache is of. */
static void layers_pass(const vr_llama *llama, vr_run *run, const vr_kvcache *cache, const turns *turn, int first, float *x,
                        int T)
{
    const int64_t shape[2] = { T, llama->config.width };
    for (int l = 0; l < cache->config.n_layers; l++) {
        attend(llama, &llama->layers[first + l], run, cache, turn, l, x, T);
        feed_forward(llama, &llama->layers[first + l], run, x, T);
        vr_run_dump(run, x, 2, shape, "decoder.layer.%02d", first + l);
    }
}

/* decoder.norm of all rows. */
static void norm_dump(const vr_llama *llama, vr_run *run, const float *x, int T)
{
    const vr_llama_config *c = &llama->config;
    float *normed = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->width);
    run->be->ops->rms_norm(run->be, normed, x, llama->output_norm, T, c->width, c->epsilon);
    vr_run_dump(run, normed, 2, (const int64_t[2]){ T, c->width }, "decoder.norm");
}

/* After the last layer. */
static void head_pass(const vr_llama *llama, vr_run *run, float *x, int T, float *logits)
{
    const int D = llama->config.width;
    float *last = x + (size_t)(T - 1) * (size_t)D;
    if (run->dump && !llama->norm_last) norm_dump(llama, run, x, T);
    if (!logits) return;
    vr_llama_head(llama, run, last, 1, logits);
    if (llama->norm_last) vr_run_dump(run, last, 2, (const int64_t[2]){ 1, D }, "decoder.norm");
}

/* The last layers, on rows that are handed over once; x is what they leave where more than logits are asked for. */
static void rest_pass(const vr_llama *llama, const vr_run *run, const vr_kvcache *cache, const int32_t *positions, float *x,
                      int T, float *logits)
{
    const size_t n_bytes = (size_t)T * (size_t)llama->config.width * sizeof *x;
    vr_run there = *run->rest;
    vr_kvcache *kept = cache->rest;
    there.dump = run->dump;
    kept->n_rows = cache->n_rows;
    const size_t mark = vr_arena_mark(there.scratch);
    float *y = vr_arena_alloc(there.scratch, n_bytes, 1);
    run->be->read(run->be, y, x, n_bytes);
    const turns turn = turns_make(llama, &there, kept, positions, T);
    layers_pass(llama, &there, kept, &turn, cache->config.n_layers, y, T);
    head_pass(llama, &there, y, T, logits);
    if (!logits) run->be->write(run->be, x, y, n_bytes);
    vr_arena_release(there.scratch, mark);
}

void vr_llama_forward(const vr_llama *llama, vr_run *run, vr_kvcache *cache, const int32_t *positions, float *x, int T,
                      float *logits)
{
    const size_t mark = vr_arena_mark(run->scratch);
    const turns turn = turns_make(llama, run, cache, positions, T);
    const bool step = T == 1 && !run->dump; /* that of a token comes again and again */

    do {
        if (step) vr_step_begin(run->be);
        layers_pass(llama, run, cache, &turn, 0, x, T);
        if (!cache->rest) head_pass(llama, run, x, T, logits);
    } while (step && !vr_step_end(run->be));
    if (cache->rest) rest_pass(llama, run, cache, positions, x, T, logits);
    cache->n_rows += T;
    vr_arena_release(run->scratch, mark);
}

void vr_llama_head(const vr_llama *llama, vr_run *run, float *x, int T, float *logits)
{
    const vr_llama_config *c = &llama->config;
    run->be->ops->rms_norm(run->be, x, x, llama->output_norm, T, c->width, c->epsilon);
    run->be->ops->linear(run->be, logits, x, &llama->output, NULL, VR_ACT_NONE, NULL, T);
}
