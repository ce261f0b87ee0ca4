/*
 * model_support.h - weight files of random numbers in memory, for tests of parts that bind their tensors themselves.
 *
 *   model_key_*, model_add -> model_open -> vr_weights; model_find: the numbers, for a reference
 */
#ifndef VR_MODEL_SUPPORT_H
#define VR_MODEL_SUPPORT_H

#include <check.h>
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

static inline void model_three(model *m, const char *key, float a, float b, float c)
{
    put_array(&m->keys, key, 6, 3), put_f32(&m->keys, a), put_f32(&m->keys, b), put_f32(&m->keys, c);
    m->n_keys++;
}

static inline void model_add(model *m, int rows, int cols, const char *name)
{
    ck_assert_int_lt(m->count, MODEL_TENSORS);
    model_tensor *t = &m->tensors[m->count++];
    const int n = (rows ? rows : 1) * cols;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
    t->data = malloc((size_t)n * sizeof *t->data);
    ck_assert_ptr_nonnull(t->data);
    for (int i = 0; i < n; i++) t->data[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
}

/* PREFIX.weight and PREFIX.bias */
static inline void model_add_both(model *m, int rows, int cols, const char *prefix)
{
    char name[96];
    snprintf(name, sizeof name, "%s.weight", prefix);
    model_add(m, rows, cols, name);
    snprintf(name, sizeof name, "%s.bias", prefix);
    model_add(m, 0, rows ? rows : cols, name);
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
