/*
 * whisper.c - see whisper.h.
 *
 *   mel [F,B] -> 3 rows side by side, every row  [F,3B] -> linear, GELU [F,D]     a convolution of width 3 with a row of zeros
 *             -> 3 rows side by side, every 2nd  [P,3D] -> linear, GELU [P,D]     at both ends is a linear of gathered rows
 *             -> + position [P,D] -> L blocks (encode/block.h) -> norm
 *   ids [T] -> token table + position [T,D] -> L layers -> norm -> token table as head
 *   layer:  x += out(attention(q(n), cached k(n), v(n))), n = norm1(x), causal
 *           x += cross_out(attention(cross_q(c), keys, values of the sound)), c = cross_norm(x)
 *           x += fc2(gelu(fc1(norm2(x))))
 *
 * Ref:   openai/whisper model.py (AudioEncoder, TextDecoder, ResidualAttentionBlock); arXiv:2212.04356 section 2.2.
 * Trap:  keys have no bias in the checkpoints; the fused bias holds zeros (tools/convert/whisper.py). The original scales q and
 *        k each by E^-1/4: the same product.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "speech/whisper.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/strips.h"
#include "encode/block.h"

#define ENCODER "speech.encoder"
#define DECODER "speech.decoder"

typedef struct whisper_layer {
    vr_block block;                           /* norm1, qkv, out, norm2, fc1, fc2: speech.decoder.blk.%d, as the encoder's */
    vr_matrix q_w, k_w, v_w;                  /* [D, D] rows of block.qkv_w */
    const float *cross_norm_w, *cross_norm_b; /* [D]       .cross_norm */
    vr_matrix cross_q_w, cross_out_w;         /* [D, D]        .cross_q, .cross_out */
    vr_matrix cross_kv_w;                     /* [2D, D] k|v   .cross_kv */
    const float *cross_q_b, *cross_kv_b, *cross_out_b; /* [D], [2D], [D] */
} whisper_layer;

struct vr_whisper {
    vr_whisper_config config;
    vr_block_config encoder, decoder;
    int n_blocks;                     /* of the encoder */
    vr_matrix conv1_w, conv2_w;       /* [D, 3*bins], [D, 3*D]  speech.encoder.conv1, .conv2 */
    const float *conv1_b, *conv2_b;   /* [D] */
    const float *sound_position;      /* [P, D]                 speech.encoder.position */
    const float *sound_w, *sound_b;   /* [D]                    speech.encoder.output_norm */
    vr_matrix token_w;                /* [V, D]                 speech.decoder.token_embd */
    const float *position;            /* [context, D]           speech.decoder.position */
    const float *output_w, *output_b; /* [D]                    speech.decoder.output_norm */
    vr_block *blocks;                 /* [n_blocks] owned */
    whisper_layer *layers;            /* [config.n_layers] owned */
};

static int config_read(vr_whisper *m, const vr_weights *w, vr_err *e)
{
    vr_whisper_config *c = &m->config;
    VR_TRY(vr_block_config_read(&m->encoder, &m->n_blocks, w, ENCODER, e));
    VR_TRY(vr_block_config_read(&m->decoder, &c->n_layers, w, DECODER, e));
    VR_TRY(vr_weights_int(w, &c->bins, 1, VR_MAX_WIDTH, e, "speech.mel_bins"));
    VR_TRY(vr_weights_int(w, &c->positions, 1, VR_MAX_GRID_SIDE * 4, e, "speech.positions"));
    VR_TRY(vr_weights_int(w, &c->context, 8, VR_MAX_CONTEXT, e, DECODER ".context_length"));
    VR_TRY(vr_weights_int(w, &c->vocab, 1, VR_MAX_VOCAB, e, DECODER ".vocab_size"));
    if (m->encoder.width != m->decoder.width)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: " ENCODER ".embedding_length %d is not that of the decoder, %d",
                       vr_weights_path(w), m->encoder.width, m->decoder.width);
    c->width = m->encoder.width;
    c->window = 2 * c->positions;
    m->encoder.activation = m->decoder.activation = VR_ACT_GELU;
    return VR_OK;
}

static int layer_bind(whisper_layer *layer, vr_weights *w, const vr_block_config *config, int l, vr_err *e)
{
    const int D = config->width;
    VR_TRY(vr_block_bind(&layer->block, w, config, DECODER, l, e));
    if (vr_is_strips(layer->block.qkv_w.dtype) && D % VR_STRIP_ROWS != 0)
        return vr_fail(e, VR_ERR_WEIGHTS,
                       "%s: " DECODER ".blk.%d.qkv.weight is quantised, and its parts of %d rows share a strip",
                       vr_weights_path(w), l, D);
    layer->q_w = vr_matrix_rows(&layer->block.qkv_w, 0, D);
    layer->k_w = vr_matrix_rows(&layer->block.qkv_w, D, D);
    layer->v_w = vr_matrix_rows(&layer->block.qkv_w, 2 * D, D);
    VR_TRY(vr_weights_vector(w, &layer->cross_norm_w, D, e, DECODER ".blk.%d.cross_norm.weight", l));
    VR_TRY(vr_weights_vector(w, &layer->cross_norm_b, D, e, DECODER ".blk.%d.cross_norm.bias", l));
    VR_TRY(vr_weights_matrix(w, &layer->cross_q_w, D, D, e, DECODER ".blk.%d.cross_q.weight", l));
    VR_TRY(vr_weights_vector(w, &layer->cross_q_b, D, e, DECODER ".blk.%d.cross_q.bias", l));
    VR_TRY(vr_weights_matrix(w, &layer->cross_kv_w, 2 * D, D, e, DECODER ".blk.%d.cross_kv.weight", l));
    VR_TRY(vr_weights_vector(w, &layer->cross_kv_b, 2 * D, e, DECODER ".blk.%d.cross_kv.bias", l));
    VR_TRY(vr_weights_matrix(w, &layer->cross_out_w, D, D, e, DECODER ".blk.%d.cross_out.weight", l));
    return vr_weights_vector(w, &layer->cross_out_b, D, e, DECODER ".blk.%d.cross_out.bias", l);
}

static int encoder_bind(vr_whisper *m, vr_weights *w, vr_err *e)
{
    const int D = m->config.width;
    VR_TRY(vr_weights_matrix(w, &m->conv1_w, D, 3 * m->config.bins, e, ENCODER ".conv1.weight"));
    VR_TRY(vr_weights_vector(w, &m->conv1_b, D, e, ENCODER ".conv1.bias"));
    VR_TRY(vr_weights_matrix(w, &m->conv2_w, D, 3 * D, e, ENCODER ".conv2.weight"));
    VR_TRY(vr_weights_vector(w, &m->conv2_b, D, e, ENCODER ".conv2.bias"));
    VR_TRY(vr_weights_table(w, &m->sound_position, m->config.positions, D, e, ENCODER ".position"));
    for (int l = 0; l < m->n_blocks; l++) VR_TRY(vr_block_bind(&m->blocks[l], w, &m->encoder, ENCODER, l, e));
    VR_TRY(vr_weights_vector(w, &m->sound_w, D, e, ENCODER ".output_norm.weight"));
    return vr_weights_vector(w, &m->sound_b, D, e, ENCODER ".output_norm.bias");
}

static int tensors_bind(vr_whisper *m, vr_weights *w, vr_err *e)
{
    const vr_whisper_config *c = &m->config;
    m->blocks = calloc((size_t)m->n_blocks, sizeof *m->blocks);
    m->layers = calloc((size_t)c->n_layers, sizeof *m->layers);
    if (!m->blocks || !m->layers) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for Whisper");
    VR_TRY(encoder_bind(m, w, e));
    VR_TRY(vr_weights_matrix(w, &m->token_w, c->vocab, c->width, e, DECODER ".token_embd.weight"));
    VR_TRY(vr_weights_table(w, &m->position, c->context, c->width, e, DECODER ".position"));
    for (int l = 0; l < c->n_layers; l++) VR_TRY(layer_bind(&m->layers[l], w, &m->decoder, l, e));
    VR_TRY(vr_weights_vector(w, &m->output_w, c->width, e, DECODER ".output_norm.weight"));
    return vr_weights_vector(w, &m->output_b, c->width, e, DECODER ".output_norm.bias");
}

int vr_whisper_open(vr_whisper **out, vr_weights *w, vr_err *e)
{
    *out = NULL;
    vr_whisper *m = calloc(1, sizeof *m);
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for Whisper");
    int rc = config_read(m, w, e);
    if (rc == VR_OK) rc = tensors_bind(m, w, e);
    if (rc == VR_OK) *out = m, m = NULL;
    vr_whisper_free(m);
    return rc;
}

void vr_whisper_free(vr_whisper *m)
{
    if (!m) return;
    free(m->blocks);
    free(m->layers);
    free(m);
}

const vr_whisper_config *vr_whisper_config_get(const vr_whisper *m)
{
    return &m->config;
}

void vr_whisper_state_take(const vr_whisper *m, vr_whisper_state *state, vr_arena *scratch)
{
    const vr_whisper_config *c = &m->config;
    state->sound = vr_arena_floats(scratch, (size_t)c->n_layers * (size_t)c->positions * (size_t)(2 * c->width));
}

/* y [rows, D] = gelu(W [three rows of x, from -1 on, every `stride` rows] + b); x [rows * stride, width] */
static void convolve(vr_run *run, float *y, const float *x, int width, int stride, const vr_matrix *w, const float *b, int rows)
{
    const vr_ops *op = run->be->ops;
    const size_t mark = vr_arena_mark(run->scratch), row = (size_t)width;
    const int n = rows * stride;
    float *padded = vr_arena_floats(run->scratch, (size_t)(n + 2) * row);
    float *three = vr_arena_floats(run->scratch, (size_t)rows * 3 * row);
    const size_t host_mark = vr_arena_mark(run->host);
    float *zeros = vr_arena_floats(run->host, row);
    for (size_t i = 0; i < row && !run->be->plan; i++) zeros[i] = 0;
    run->be->write(run->be, padded, zeros, row * sizeof *zeros);
    run->be->write(run->be, padded + (size_t)(n + 1) * row, zeros, row * sizeof *zeros);
    vr_arena_release(run->host, host_mark);
    op->copy_rows(run->be, padded + row, width, x, width, n, width);
    op->copy_rows(run->be, three, 3 * (int64_t)width, padded, (int64_t)stride * width, rows, 3 * width);
    op->linear(run->be, y, three, w, b, VR_ACT_GELU, NULL, rows);
    vr_arena_release(run->scratch, mark);
}

void vr_whisper_encode(const vr_whisper *m, vr_run *run, const float *mel, float *features)
{
    const vr_ops *op = run->be->ops;
    const vr_whisper_config *c = &m->config;
    const int P = c->positions, D = c->width;
    const int64_t shape[2] = { P, D };
    const size_t mark = vr_arena_mark(run->scratch);
    float *wide = vr_arena_floats(run->scratch, (size_t)c->window * (size_t)D);
    convolve(run, wide, mel, c->bins, 1, &m->conv1_w, m->conv1_b, c->window);
    convolve(run, features, wide, D, 2, &m->conv2_w, m->conv2_b, P);
    vr_arena_release(run->scratch, mark);
    op->add_rows(run->be, features, features, m->sound_position, P, D, 1, P);
    for (int l = 0; l < m->n_blocks; l++) {
        vr_block_forward(&m->blocks[l], &m->encoder, run, features, 1, P);
        vr_run_dump(run, features, 2, shape, "speech.encoder.block.%02d", l);
    }
    op->layer_norm(run->be, features, features, m->sound_w, m->sound_b, P, D, m->encoder.epsilon);
    vr_run_dump(run, features, 2, shape, "speech.encoder");
}

/* keys and values of a layer, [P, 2D] */
static float *sound_of(const vr_whisper *m, const vr_whisper_state *state, int l)
{
    return state->sound + (size_t)l * (size_t)m->config.positions * (size_t)(2 * m->config.width);
}

void vr_whisper_look(const vr_whisper *m, vr_run *run, vr_whisper_state *state, const float *features)
{
    for (int l = 0; l < m->config.n_layers; l++)
        run->be->ops->linear(run->be, sound_of(m, state, l), features, &m->layers[l].cross_kv_w, m->layers[l].cross_kv_b,
                             VR_ACT_NONE, NULL, m->config.positions);
}

/* x += out(attention over the tokens); the T new rows are rows first.. of the cache */
static void attend_tokens(const vr_whisper *m, vr_run *run, const vr_whisper_state *state, int l, float *x, int T)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const whisper_layer *layer = &m->layers[l];
    const int D = m->config.width, H = m->decoder.n_heads, E = D / H, first = state->cache.n_rows;
    const size_t mark = vr_arena_mark(run->scratch), n = (size_t)T * (size_t)D, at = (size_t)first * (size_t)D;
    float *normed = vr_arena_floats(run->scratch, n), *q = vr_arena_floats(run->scratch, n);
    float *keys = vr_kvcache_keys(&state->cache, l, 0), *values = vr_kvcache_values(&state->cache, l, 0);
    const float *bias = layer->block.qkv_b;

    op->layer_norm(be, normed, x, layer->block.norm1_w, layer->block.norm1_b, T, D, m->decoder.epsilon);
    op->linear(be, q, normed, &layer->q_w, bias, VR_ACT_NONE, NULL, T);
    op->linear(be, keys + at, normed, &layer->k_w, bias + D, VR_ACT_NONE, NULL, T);
    op->linear(be, values + at, normed, &layer->v_w, bias + 2 * D, VR_ACT_NONE, NULL, T);
    op->attention(be, &(vr_attention){ .n_batch = 1,
                                       .n_queries = T,
                                       .n_keys = first + T,
                                       .n_heads = H,
                                       .n_kv_heads = H,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .causal = true,
                                       .q = { q, 0, D, E },
                                       .k = { keys, 0, D, E },
                                       .v = { values, 0, D, E },
                                       .out = { normed, 0, D, E } });
    op->linear(be, x, normed, &layer->block.out_w, layer->block.out_b, VR_ACT_NONE, x, T);
    vr_arena_release(run->scratch, mark);
}

/* x += cross_out(attention over the sound) */
static void attend_sound(const vr_whisper *m, vr_run *run, const vr_whisper_state *state, int l, float *x, int T)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const whisper_layer *layer = &m->layers[l];
    const int D = m->config.width, H = m->decoder.n_heads, E = D / H;
    const size_t mark = vr_arena_mark(run->scratch), n = (size_t)T * (size_t)D;
    float *normed = vr_arena_floats(run->scratch, n), *q = vr_arena_floats(run->scratch, n), *sound = sound_of(m, state, l);

    op->layer_norm(be, normed, x, layer->cross_norm_w, layer->cross_norm_b, T, D, m->decoder.epsilon);
    op->linear(be, q, normed, &layer->cross_q_w, layer->cross_q_b, VR_ACT_NONE, NULL, T);
    op->attention(be, &(vr_attention){ .n_batch = 1,
                                       .n_queries = T,
                                       .n_keys = m->config.positions,
                                       .n_heads = H,
                                       .n_kv_heads = H,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .q = { q, 0, D, E },
                                       .k = { sound, 0, 2 * (int64_t)D, E },
                                       .v = { sound + D, 0, 2 * (int64_t)D, E },
                                       .out = { normed, 0, D, E } });
    op->linear(be, x, normed, &layer->cross_out_w, layer->cross_out_b, VR_ACT_NONE, x, T);
    vr_arena_release(run->scratch, mark);
}

static void feed_forward(const vr_whisper *m, vr_run *run, const vr_block *block, float *x, int T)
{
    const vr_ops *op = run->be->ops;
    const int D = m->config.width, F = m->decoder.hidden;
    const size_t mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, (size_t)T * (size_t)D);
    float *hidden = vr_arena_floats(run->scratch, (size_t)T * (size_t)F);
    op->layer_norm(run->be, normed, x, block->norm2_w, block->norm2_b, T, D, m->decoder.epsilon);
    op->linear(run->be, hidden, normed, &block->fc1_w, block->fc1_b, VR_ACT_GELU, NULL, T);
    op->linear(run->be, x, hidden, &block->fc2_w, block->fc2_b, VR_ACT_NONE, x, T);
    vr_arena_release(run->scratch, mark);
}

void vr_whisper_forward(const vr_whisper *m, vr_run *run, vr_whisper_state *state, const int32_t *ids, int T, float *x)
{
    const vr_ops *op = run->be->ops;
    const int D = m->config.width;
    op->embed_rows(run->be, x, &m->token_w, ids, T);
    op->add_rows(run->be, x, x, m->position + (size_t)state->cache.n_rows * (size_t)D, T, D, 1, T);
    for (int l = 0; l < m->config.n_layers; l++) {
        attend_tokens(m, run, state, l, x, T);
        attend_sound(m, run, state, l, x, T);
        feed_forward(m, run, &m->layers[l].block, x, T);
        vr_run_dump(run, x, 2, (const int64_t[2]){ T, D }, "speech.decoder.layer.%02d", l);
    }
    state->cache.n_rows += T;
    op->layer_norm(run->be, x, x, m->output_w, m->output_b, T, D, m->decoder.epsilon);
}

void vr_whisper_head(const vr_whisper *m, vr_run *run, const float *x, float *logits)
{
    run->be->ops->linear(run->be, logits, x, &m->token_w, NULL, VR_ACT_NONE, NULL, 1);
}
