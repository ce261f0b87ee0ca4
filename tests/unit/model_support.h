/*
 * model_support.h - weight files of random numbers in memory, for tests of parts that bind their tensors themselves.
 *
 *   model_int .. model_three, model_add, model_add_tower, model_add_decoder -> model_open -> vr_weights
 *   model_find: the numbers, for a reference
 */
#ifndef VR_MODEL_SUPPORT_H
#define VR_MODEL_SUPPORT_H

#include <check.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/weights.h"
#include "tests/unit/gguf_writer.h"

enum { MODEL_TENSORS = 160 };

typedef struct model_tensor {
    char name[96];
    int rows, cols; /* rows 0: a vector of cols */
    float *data;
} model_tensor;

typedef struct model {
    model_tensor tensors[MODEL_TENSORS];
    int count;
    writer keys;
    int n_keys;
    void *bytes;
    vr_weights *weights;
} model;

static inline void model_int(model *m, const char *key, uint32_t value)
{
    put_key(&m->keys, key, 4), put_u32(&m->keys, value);
    m->n_keys++;
}

static inline void model_float(model *m, const char *key, float value)
{
    put_key(&m->keys, key, 6), put_f32(&m->keys, value);
    m->n_keys++;
}

static inline void model_string(model *m, const char *key, const char *value)
{
    put_key(&m->keys, key, 8), put_string(&m->keys, value);
    m->n_keys++;
}

/* numbers of a signed array */
static inline void model_ints(model *m, const char *key, const int32_t *values, uint64_t n)
{
    put_array(&m->keys, key, 5, n);
    for (uint64_t i = 0; i < n; i++) put_u32(&m->keys, (uint32_t)values[i]);
    m->n_keys++;
}

static inline void model_three(model *m, const char *key, float a, float b, float c)
{
    put_array(&m->keys, key, 6, 3), put_f32(&m->keys, a), put_f32(&m->keys, b), put_f32(&m->keys, c);
    m->n_keys++;
}

static inline void model_add_named(model *m, int rows, int cols, const char *name, const char *end)
{
    ck_assert_int_lt(m->count, MODEL_TENSORS);
    model_tensor *t = &m->tensors[m->count++];
    const int n = (rows ? rows : 1) * cols;
    ck_assert_uint_lt(strlen(name) + strlen(end), sizeof t->name);
    strcat(strcpy(t->name, name), end);
    t->rows = rows;
    t->cols = cols;
    t->data = malloc((size_t)n * sizeof *t->data);
    ck_assert_ptr_nonnull(t->data);
    for (int i = 0; i < n; i++) t->data[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
}

/* A tensor of random numbers, named by the format. */
static inline void model_add(model *m, int rows, int cols, const char *format, ...) VR_PRINTF(4, 5);
static inline void model_add(model *m, int rows, int cols, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    model_add_named(m, rows, cols, name, "");
}

/* NAME.weight and NAME.bias */
static inline void model_add_both(model *m, int rows, int cols, const char *format, ...) VR_PRINTF(4, 5);
static inline void model_add_both(model *m, int rows, int cols, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    model_add_named(m, rows, cols, name, ".weight");
    model_add_named(m, 0, rows ? rows : cols, name, ".bias");
}

static inline const float *model_find(const model *m, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, full) == 0) return m->tensors[i].data;
    ck_abort_msg("%s", full);
    return NULL;
}

typedef struct model_tower {
    int width, hidden, n_heads, image_size, patch_size;
    const char *activation;
} model_tower;

/* One block of a CLIP tower, keys included. */
static inline void model_add_tower(model *m, const char *tower, const model_tower *t)
{
    const int D = t->width, F = t->hidden, side = t->image_size / t->patch_size;
    const struct {
        const char *name;
        int rows, cols;
    } parts[] = {
        { "norm1", 0, D }, { "qkv", 3 * D, D }, { "out", D, D }, { "norm2", 0, D }, { "fc1", F, D }, { "fc2", D, F }
    };
    const struct {
        const char *name;
        int value;
    } numbers[] = { { "block_count", 1 },         { "embedding_length", D },       { "feed_forward_length", F },
                    { "head_count", t->n_heads }, { "image_size", t->image_size }, { "patch_size", t->patch_size } };
    char name[96];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(name, sizeof name, "%s.%s", tower, numbers[i].name);
        model_int(m, name, (uint32_t)numbers[i].value);
    }
    snprintf(name, sizeof name, "%s.norm_epsilon", tower);
    model_float(m, name, 1e-5f);
    snprintf(name, sizeof name, "%s.activation", tower);
    model_string(m, name, t->activation);
    model_add(m, D, 3 * t->patch_size * t->patch_size, "%s.patch.weight", tower);
    model_add(m, 0, D, "%s.class", tower);
    model_add(m, side * side + 1, D, "%s.position", tower);
    model_add_both(m, 0, D, "%s.input_norm", tower);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        model_add_both(m, parts[i].rows, parts[i].cols, "%s.blk.0.%s", tower, parts[i].name);
}

typedef struct model_decoder {
    int n_layers, width, hidden, n_heads, n_kv_heads, head_width, vocabulary;
    int context; /* of a prompt and its answer; the model is made for 64 rows */
    bool biased, tied;
} model_decoder;

/* A decoder of the LLaMA family, keys included: rope of base 100 in halves. */
static inline void model_add_decoder(model *m, const model_decoder *d)
{
    const int D = d->width, F = d->hidden, q = d->n_heads * d->head_width, kv = d->n_kv_heads * d->head_width;
    const struct {
        const char *name;
        int rows, cols;
        bool wanted;
    } parts[] = { { "attn_norm.weight", 0, D, true },  { "attn_q.weight", q, D, true },
                  { "attn_k.weight", kv, D, true },    { "attn_v.weight", kv, D, true },
                  { "attn_q.bias", 0, q, d->biased },  { "attn_k.bias", 0, kv, d->biased },
                  { "attn_v.bias", 0, kv, d->biased }, { "attn_output.weight", D, q, true },
                  { "ffn_norm.weight", 0, D, true },   { "ffn_gate.weight", F, D, true },
                  { "ffn_up.weight", F, D, true },     { "ffn_down.weight", D, F, true } };
    model_int(m, "llama.block_count", (uint32_t)d->n_layers);
    model_int(m, "llama.embedding_length", (uint32_t)D);
    model_int(m, "llama.feed_forward_length", (uint32_t)F);
    model_int(m, "llama.attention.head_count", (uint32_t)d->n_heads);
    model_int(m, "llama.attention.head_count_kv", (uint32_t)d->n_kv_heads);
    model_int(m, "llama.rope.dimension_count", (uint32_t)d->head_width);
    model_int(m, "llama.vocab_size", (uint32_t)d->vocabulary);
    model_int(m, "llama.context_length", 64);
    model_int(m, "prompt.context", (uint32_t)d->context);
    model_float(m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    model_float(m, "llama.rope.freq_base", 100);
    model_string(m, "llama.rope.pairs", "halves");
    model_add(m, d->vocabulary, D, "token_embd.weight");
    for (int l = 0; l < d->n_layers; l++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            if (parts[i].wanted) model_add(m, parts[i].rows, parts[i].cols, "blk.%d.%s", l, parts[i].name);
    model_add(m, 0, D, "output_norm.weight");
    if (!d->tied) model_add(m, d->vocabulary, D, "output.weight");
}

static inline void model_open(model *m)
{
    writer f = { 0 };
    vr_err e = { 0 };
    put_head(&f, 3, (uint64_t)m->count, (uint64_t)m->n_keys);
    put(&f, m->keys.bytes, m->keys.n);
    uint64_t offset = 0;
    for (int i = 0; i < m->count; i++) {
        const model_tensor *t = &m->tensors[i];
        if (t->rows)
            put_tensor(&f, t->name, 0, offset, 2, (uint64_t)t->cols, (uint64_t)t->rows);
        else
            put_tensor(&f, t->name, 0, offset, 1, (uint64_t)t->cols);
        offset += ((uint64_t)(t->rows ? t->rows : 1) * (uint64_t)t->cols * 4 + 31) / 32 * 32;
    }
    pad(&f, 32);
    for (int i = 0; i < m->count; i++) {
        const model_tensor *t = &m->tensors[i];
        put(&f, t->data, (size_t)(t->rows ? t->rows : 1) * (size_t)t->cols * 4);
        pad(&f, 32);
    }
    ck_assert_int_eq(posix_memalign(&m->bytes, 64, f.n), 0);
    memcpy(m->bytes, f.bytes, f.n);
    ck_assert_msg(vr_weights_open_memory(&m->weights, m->bytes, f.n, "model.bin", &e) == VR_OK, "%s", e.text);
    writer_free(&f);
}

static inline void model_free(model *m)
{
    vr_weights_free(m->weights);
    free(m->bytes);
    writer_free(&m->keys);
    for (int i = 0; i < m->count; i++) free(m->tensors[i].data);
    memset(m, 0, sizeof *m);
}

#endif
