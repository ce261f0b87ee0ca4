/*
 * decoder.c - families prefill, decode: the decoder of a weight file of ours or of a stock GGUF file (--weights FILE).
 *
 *   prefill: 512 rows;  decode: one row behind 64 and behind 1024
 *   peer: llama.cpp on the same file (--llama): llama-bench, or a Python module that holds it; decode: 16 tokens a call
 *
 * Keys and values in f16, as --precision auto and llama.cpp keep them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/part.h"
#include "decode/llama.h"
#include "systems/stock_text.h"

enum { PREFILL = 512, ANSWER = 16, CONTEXT = 1100 };

typedef struct decoder {
    bench_run *run;
    vr_backend *be;
    vr_weights *w;
    vr_llama *llama;
    vr_kvcache cache;
    float *x, *logits;
    int n, first; /* rows, rows in the cache before */
} decoder;

static void forward(void *model, vr_run *pass)
{
    decoder *m = model;
    if (!pass->be->plan) { /* forward overwrites x */
        uint64_t seed = 7;
        const int64_t n = (int64_t)m->n * vr_llama_config_get(m->llama)->width;
        for (int64_t i = 0; i < n; i++) m->x[i] = bench_random(&seed);
    }
    m->cache.n_rows = m->first;
    vr_llama_forward(m->llama, pass, &m->cache, NULL, m->x, m->n, m->logits);
}

static double call_llama(void *arg)
{
    const decoder *m = arg;
    const bool answer = m->n == 1;
    return peer_llama(m->run->llama, m->run->weights, m->run->n_threads, answer ? 0 : m->n, answer ? ANSWER : 0, m->first);
}

/* A program, else a module. */
static void add_llama(decoder *m, bench_group *g)
{
    const bool answer = m->n == 1;
    bench_way *w;
    if (!m->run->llama || !m->run->peers) return;
    if (access(m->run->llama, X_OK) == 0) {
        w = bench_add(g, BENCH_PEER, "", call_llama, m);
        snprintf(w->name, sizeof w->name, "llama.cpp");
    } else {
        w = peer_add_llama(m->run->peer, g, m->run->llama, m->run->weights, answer ? 0 : m->n, answer ? ANSWER : 0, m->first);
    }
    if (w) w->repeats = answer ? ANSWER : 1;
}

static int measure(decoder *m, const char *family, const char *shape, part *p, vr_dtype type, vr_err *e)
{
    bench_group g = { .bench = family };
    snprintf(g.type, sizeof g.type, "%s", part_type_name(type));
    snprintf(g.shape, sizeof g.shape, "%s", shape);
    if (!bench_begin(m->run, &g)) return VR_OK;
    const char *slash = strrchr(m->run->weights, '/');
    p->forward = forward, p->model = m, p->units = m->n, p->unit = "tokens", p->form = slash ? slash + 1 : m->run->weights;
    add_llama(m, &g);
    return part_measure(m->run, m->be, p, &g, e);
}

static int decode(decoder *m, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(m->llama);
    const part_matrices all = part_decoder(m->w);
    for (int i = 0; i < 2; i++) {
        m->n = 1, m->first = i == 0 ? 64 : 1024;
        const double cached = 2.0 * c->n_layers * m->first * (double)m->cache.row * (double)vr_kept_bytes(m->cache.config.kept);
        part p = { .bytes = all.bytes + cached };
        VR_TRY(measure(m, "decode", i == 0 ? "behind 64 rows" : "behind 1024 rows", &p, all.type, e));
    }
    return VR_OK;
}

static int open_and_measure(decoder *m, const char *family, vr_err *e)
{
    part_matrices all = { 0 };
    VR_TRY(vr_weights_open(&m->w, m->run->weights, e));
    VR_TRY(vr_stock_text_adopt(m->w, 0, e));
    VR_TRY(vr_llama_open(&m->llama, m->w, e));
    const vr_llama_config *c = vr_llama_config_get(m->llama);
    const vr_kvcache_config cache = vr_llama_cache(m->llama, CONTEXT, VR_KEPT_F16);
    VR_TRY(vr_kvcache_open(&m->cache, m->be, &cache, e));
    m->x = malloc((size_t)PREFILL * (size_t)c->width * sizeof *m->x);
    m->logits = malloc((size_t)c->vocab * sizeof *m->logits);
    if (!m->x || !m->logits) return vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", family);
    if (strcmp(family, "decode") == 0) return decode(m, e);
    part_count(&all, m->w, "blk.", NULL);
    m->n = PREFILL, m->first = 0;
    part p = { .operations = 2.0 * PREFILL * all.numbers, .rate = all.quantised ? 4.0 : 2.0 };
    return measure(m, family, "512 rows", &p, all.type, e);
}

int bench_decoder(bench_run *run, const char *family, vr_err *e)
{
    decoder m = { .run = run };
    if (!run->weights) return vr_fail(e, VR_ERR_USAGE, "%s: --weights FILE is needed", family);
    const vr_cpu_options options = { .n_threads = run->n_threads, .precision = VR_PRECISION_AUTO, .level = run->level };
    int rc = vr_backend_open_cpu(&m.be, &options, e);
    if (rc == VR_OK) rc = open_and_measure(&m, family, e);
    free(m.x);
    free(m.logits);
    vr_kvcache_close(&m.cache);
    vr_llama_free(m.llama);
    vr_weights_free(m.w);
    vr_backend_free(m.be);
    return rc;
}
