/*
 * perplexity.c - how well a model foretells a text.
 *
 *   text -> ids -> pieces of n_rows, each read for itself -> logits of the second half -> -log p(next id) -> mean, exp
 *
 * Ref:  llama.cpp tools/perplexity (perplexity): pieces, which half counts, BOS in place of a piece's first id, so that values
 *       can be compared.
 * Trap: the last id of a piece has nothing to foretell: n_rows - n_rows / 2 - 1 ids of a piece count.
 */
#include "session.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "device.h"

#define HEAD_ROWS 32 /* logits at a time: 19 MB at a vocabulary of 152 K */

typedef struct reader {
    const vr_model *model;
    vr_run run;
    vr_kvcache cache;
    vr_rest rest;
    int n_rows;
    double sum, squares; /* of -log p */
    int n_counted;
} reader;

static double surprise(const float *logits, int V, int32_t id)
{
    float most = logits[0];
    double sum = 0;
    for (int i = 1; i < V; i++) most = logits[i] > most ? logits[i] : most;
    for (int i = 0; i < V; i++) sum += exp((double)(logits[i] - most));
    return log(sum) - (double)(logits[id] - most);
}

/* x [T, Dl]: rows first.. of the piece; ids: of the piece, NULL: planning */
static void rows_count(reader *r, float *x, int first, int T, const int32_t *ids)
{
    const vr_llama_config *c = vr_llama_config_get(r->model->llama);
    const int begin = r->n_rows / 2 > first ? r->n_rows / 2 : first;
    const int end = r->n_rows - 1 < first + T ? r->n_rows - 1 : first + T; /* the last id foretells nothing */
    const size_t n_logits = (size_t)HEAD_ROWS * (size_t)c->vocab, row_bytes = (size_t)c->width * sizeof *x;
    vr_run run = r->run.rest ? *r->run.rest : r->run; /* where the head is */
    const size_t mark = vr_arena_mark(run.scratch);
    float *logits = vr_arena_floats(run.scratch, n_logits), *here = vr_arena_floats(run.host, n_logits);
    float *rows = r->run.rest ? vr_arena_alloc(run.scratch, HEAD_ROWS * row_bytes, 1) : NULL;
    for (int row = begin; row < end; row += HEAD_ROWS) {
        const int n = end - row < HEAD_ROWS ? end - row : HEAD_ROWS;
        float *last = x + (size_t)(row - first) * (size_t)c->width;
        if (rows) r->run.be->read(r->run.be, rows, last, (size_t)n * row_bytes);
        vr_llama_head(r->model->llama, &run, rows ? rows : last, n, logits);
        if (ids) run.be->read(run.be, here, logits, (size_t)n * (size_t)c->vocab * sizeof *here);
        for (int i = 0; ids && i < n; i++) {
            const double s = surprise(here + (size_t)i * (size_t)c->vocab, c->vocab, ids[row + i + 1]);
            r->sum += s;
            r->squares += s * s;
            r->n_counted++;
        }
    }
    vr_arena_release(run.scratch, mark);
}

/* ids [n_rows] of a piece, NULL: planning */
static int piece_read(reader *r, const int32_t *ids, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(r->model->llama);
    r->cache.n_rows = 0;
    for (int first = 0; first < r->n_rows; first += VR_LLAMA_ROWS) {
        const int T = r->n_rows - first < VR_LLAMA_ROWS ? r->n_rows - first : VR_LLAMA_ROWS;
        const size_t mark = vr_arena_mark(r->run.scratch);
        float *x = vr_arena_floats(r->run.scratch, (size_t)T * (size_t)c->width);
        if (ids) vr_llama_embed(r->model->llama, &r->run, ids + first, T, x);
        vr_llama_forward(r->model->llama, &r->run, &r->cache, NULL, x, T, NULL);
        rows_count(r, x, first, T, ids);
        vr_arena_release(r->run.scratch, mark);
        if (r->run.rest) VR_TRY(vr_backend_sync(r->run.rest->be, e));
        VR_TRY(vr_backend_sync(r->run.be, e));
    }
    return VR_OK;
}

static int scratch_plan(const reader *given, size_t *n_bytes, size_t *work_bytes, vr_err *e)
{
    reader r = *given;
    vr_backend *nothing;
    vr_arena counted;
    VR_TRY(vr_backend_open_plan_of(&nothing, r.model->backend, e));
    vr_arena_plan(&counted);
    r.run = (vr_run){ .be = nothing, .scratch = &counted, .host = &counted };
    const vr_kvcache_config cache = vr_llama_cache(r.model->llama, r.n_rows, r.model->kept);
    vr_kvcache_plan(&r.cache, &counted, &cache);
    const int rc = piece_read(&r, NULL, e);
    *n_bytes = counted.peak;
    *work_bytes = vr_device_work(nothing, counted.peak);
    vr_backend_free(nothing);
    return rc;
}

/* ids of the text, BOS in front where the model has one */
static int text_read(const vr_model *m, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e)
{
    const int bos = vr_tokenizer_bos(m->tokenizer);
    if (bos >= 0) VR_TRY(vr_ids_push(ids, bos, e));
    return vr_tokenizer_encode(m->tokenizer, text, n_bytes, ids, e);
}

static int pieces_read(reader *r, vr_ids *ids, vr_err *e)
{
    const vr_hooks *hooks = &r->model->hooks;
    const int bos = vr_tokenizer_bos(r->model->tokenizer), n = ids->count / r->n_rows;
    for (int i = 0; i < n; i++) {
        int32_t *piece = ids->data + (size_t)i * (size_t)r->n_rows;
        if (bos >= 0) piece[0] = bos;
        VR_TRY(vr_hooks_check(hooks, e));
        VR_TRY(piece_read(r, piece, e));
        vr_hooks_progress(hooks, "text", i + 1, n);
    }
    return VR_OK;
}

int vr_model_perplexity(vr_model *m, const char *text, size_t n_bytes, int n_rows, vr_perplexity *out, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(m->llama);
    const double start = vr_clock();
    reader r = { .model = m, .n_rows = n_rows < c->context ? n_rows : c->context };
    vr_ids ids = { 0 };
    vr_arena scratch = { 0 }, host = { 0 };
    size_t scratch_bytes = 0, work_bytes = 0, rest_bytes = 0;
    *out = (vr_perplexity){ .n_rows = r.n_rows };
    int rc = text_read(m, text, n_bytes, &ids, e);
    if (rc == VR_OK && ids.count < 2 * r.n_rows)
        rc = vr_fail(e, VR_ERR_LIMIT, "the text has %d tokens; twice %d are needed for a perplexity", ids.count, r.n_rows);
    if (rc == VR_OK) rc = scratch_plan(&r, &scratch_bytes, &work_bytes, e);
    const vr_kvcache_config cache = vr_llama_cache(m->llama, r.n_rows, m->kept);
    if (rc == VR_OK) rc = vr_layers_place(m, work_bytes, &cache, e);
    if (rc == VR_OK) rc = vr_rest_plan(m, r.n_rows, &rest_bytes, e);
    if (rc == VR_OK) rc = vr_run_open(&r.run, m->backend, &scratch, &host, scratch_bytes, e);
    if (rc == VR_OK) rc = vr_rest_open(&r.rest, &r.run, &r.cache, m, &cache, scratch_bytes + rest_bytes, e);
    if (rc == VR_OK) rc = pieces_read(&r, &ids, e);
    if (rc == VR_OK && r.n_counted > 1) {
        const double mean = r.sum / r.n_counted, variance = r.squares / r.n_counted - mean * mean;
        out->value = exp(mean);
        out->deviation = variance > 0 ? sqrt(variance / (r.n_counted - 1)) * out->value : 0;
    }
    out->n_tokens = ids.count;
    out->n_counted = r.n_counted;
    out->seconds = vr_clock() - start;
    vr_kvcache_close(&r.cache);
    vr_rest_close(&r.rest);
    vr_arena_close(&scratch);
    vr_arena_close(&host);
    vr_ids_free(&ids);
    return rc;
}
