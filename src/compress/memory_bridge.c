/*
 * memory_bridge.c - VideoLLaMB's recurrent bridge and its retrieval, see memory_bridge.h.
 *
 *   layer:  x = norm(out(attend(x, x)) + x);  x = norm(fc2(gelu(fc1(x))) + x)          no positions, no mask
 *
 * M = 32, D = 1024, H = 8, F = 4096, one layer.
 * Ref:   VideoLLaMB rmt_r_transformer_projector.py:13-277 (layers), self_retriever.py (retrieval).
 * Trap:  epsilon 1e-12 everywhere. The initial memory is used for the first scene and never added again. Keys and values of a
 *        cached row never change, so they are kept instead of it.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "compress/memory_bridge.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "compress/post_norm.h"

typedef struct bridge_layer {
    vr_post_attention self; /* bridge.blk.%d.self */
    vr_post_ffn ffn;        /* bridge.blk.%d */
} bridge_layer;

struct vr_memory_bridge {
    int width, n_memory, n_layers;
    const float *initial;    /* [M, D]  bridge.memory */
    vr_post_attention cross; /*         retrieval.cross */
    bridge_layer layers[];   /* [n_layers] */
};

static int bridge_bind(vr_memory_bridge *b, vr_weights *w, vr_err *e)
{
    vr_post_attention shape = { .width = b->width, .key_width = b->width };
    int hidden;
    VR_TRY(vr_weights_int(w, &b->n_memory, 1, VR_MAX_QUERIES, e, "bridge.memory_count"));
    VR_TRY(vr_weights_int(w, &shape.n_heads, 1, VR_MAX_HEADS, e, "bridge.head_count"));
    VR_TRY(vr_weights_int(w, &hidden, 1, VR_MAX_WIDTH, e, "bridge.feed_forward_length"));
    VR_TRY(vr_weights_float(w, &shape.epsilon, e, "bridge.norm_epsilon"));
    if (b->width % shape.n_heads != 0 || b->width / shape.n_heads > VR_MAX_HEAD_DIM)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: bridge.head_count %d does not fit vit.embedding_length %d", vr_weights_path(w),
                       shape.n_heads, b->width);
    VR_TRY(vr_weights_table(w, &b->initial, b->n_memory, b->width, e, "bridge.memory"));
    for (int i = 0; i < b->n_layers; i++) {
        bridge_layer *layer = &b->layers[i];
        char prefix[64];
        layer->self = shape;
        snprintf(prefix, sizeof prefix, "bridge.blk.%d.self", i);
        VR_TRY(vr_post_attention_bind(&layer->self, w, prefix, e));
        snprintf(prefix, sizeof prefix, "bridge.blk.%d", i);
        VR_TRY(vr_post_ffn_bind(&layer->ffn, w, prefix, b->width, hidden, shape.epsilon, e));
    }
    b->cross = shape;
    return vr_post_attention_bind(&b->cross, w, "retrieval.cross", e);
}

int vr_memory_bridge_open(vr_memory_bridge **out, vr_weights *w, int width, vr_err *e)
{
    int n_layers;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_layers, 1, VR_MAX_BLOCKS, e, "bridge.block_count"));
    vr_memory_bridge *b = calloc(1, sizeof *b + (size_t)n_layers * sizeof b->layers[0]);
    if (!b) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the bridge");
    b->n_layers = n_layers;
    b->width = width;
    const int rc = bridge_bind(b, w, e);
    if (rc != VR_OK) {
        vr_memory_bridge_free(b);
        return rc;
    }
    *out = b;
    return VR_OK;
}

void vr_memory_bridge_free(vr_memory_bridge *bridge)
{
    free(bridge);
}

int vr_memory_bridge_rows(const vr_memory_bridge *bridge)
{
    return bridge->n_memory;
}

const float *vr_memory_bridge_initial(const vr_memory_bridge *bridge)
{
    return bridge->initial;
}

void vr_memory_bridge_read(const vr_memory_bridge *b, vr_run *run, float *x, int R, const char *name)
{
    const int T = b->n_memory + R;
    const int64_t shape[2] = { T, b->width };
    vr_run_dump(run, x, 2, shape, "%s.in", name);
    for (int i = 0; i < b->n_layers; i++) {
        vr_post_attention_forward(&b->layers[i].self, run, x, 1, T, x, T);
        if (i == 0) vr_run_dump(run, x, 2, shape, "%s.attn", name);
        vr_post_ffn_forward(&b->layers[i].ffn, run, x, T);
    }
    vr_run_dump(run, x, 2, shape, "%s.out", name);
}

void vr_memory_cache_open(const vr_memory_bridge *b, vr_run *run, vr_memory_cache *cache, int n_most)
{
    cache->k = vr_arena_floats(run->scratch, (size_t)n_most * (size_t)b->width);
    cache->v = vr_arena_floats(run->scratch, (size_t)n_most * (size_t)b->width);
    cache->n = 0;
    cache->n_most = n_most;
}

void vr_memory_cache_append(const vr_memory_bridge *b, vr_run *run, vr_memory_cache *cache, const float *rows, int n)
{
    assert(cache->n + n <= cache->n_most);
    const size_t at = (size_t)cache->n * (size_t)b->width;
    vr_post_attention_keys(&b->cross, run, rows, n, cache->k + at, cache->v + at);
    cache->n += n;
}

void vr_memory_bridge_retrieve(const vr_memory_bridge *b, vr_run *run, const vr_memory_cache *cache, float *memory,
                               const char *name)
{
    const int64_t shape[2] = { b->n_memory, b->width };
    vr_run_dump(run, memory, 2, shape, "%s.memory", name);
    vr_post_attention_look(&b->cross, run, memory, 1, b->n_memory, cache->k, cache->v,
                           run->be->plan ? cache->n_most : cache->n);
    vr_run_dump(run, memory, 2, shape, "%s.retrieved", name);
}
