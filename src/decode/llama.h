/*
 * llama.h - LLaMA-family decoder: rows in, logits of the next token out.
 */
#ifndef VR_LLAMA_H
#define VR_LLAMA_H

#include "base/weights.h"
#include "decode/kvcache.h"
#include "decode/rope.h"
#include "kernels/backend.h"

typedef struct vr_llama vr_llama;

typedef struct vr_llama_config {
    int n_layers;
    int width; /* Dl */
    int n_heads, n_kv_heads;
    int head_dim; /* E = rope.head_dim */
    int hidden;   /* F */
    int vocab;    /* V */
    int context;  /* rows that the position table serves: what the model was made for, and the recipe asks */
    float epsilon;
    vr_rope rope;
} vr_llama_config;

/* Binds token_embd, blk.*, output_norm, output (absent: token_embd), rope_freqs where there is one; keys `llama.*`. */
int vr_llama_open(vr_llama **out, vr_weights *w, vr_err *e);
void vr_llama_free(vr_llama *llama); /* NULL is legal */
const vr_llama_config *vr_llama_config_get(const vr_llama *llama);
/* The stage decoder.norm is that of the last row of a prompt only: recorded runs of some systems have it so. */
void vr_llama_norm_last(vr_llama *llama);

/* Of a cache for n_rows rows of this decoder. */
vr_kvcache_config vr_llama_cache(const vr_llama *llama, int n_rows, vr_kept kept);

/* Embedding rows of ids [T] -> out [T, Dl]; ids are inside the vocabulary. */
void vr_llama_embed(const vr_llama *llama, vr_run *run, const int32_t *ids, int T, float *out);

/* Rows that one call of forward takes at most; longer prompts come in parts. */
#define VR_LLAMA_ROWS 512

/* What the weights of a layer take of a device (vr_device_bytes); and the table of tokens, the last norm and the head. */
size_t vr_llama_layer_bytes(const vr_llama *llama, int l);
size_t vr_llama_table_bytes(const vr_llama *llama);

/* x [T, Dl], T <= VR_LLAMA_ROWS: rows cache->n_rows.. of the prompt; overwritten. Their keys and values are added to the
 * cache, which has room for them. positions [T, 3] on the host: time, row and column of each, where the decoder has sections
 * (rope.h); else, and with NULL, a row's position is its number. logits [V] of the last row, or NULL where more rows follow.
 * A decoder in two parts: cache->rest is of the last layers, which run->rest computes, and the head; rows are handed over once, and
 * logits are the processor's memory then.
 * Stages: decoder.layer.00.., decoder.norm (with a dump, all rows are normed). */
void vr_llama_forward(const vr_llama *llama, vr_run *run, vr_kvcache *cache, const int32_t *positions, float *x, int T,
                      float *logits);

/* logits [T, V] of rows that forward has left in x [T, Dl]; x is normed in place. */
void vr_llama_head(const vr_llama *llama, vr_run *run, float *x, int T, float *logits);

#endif
