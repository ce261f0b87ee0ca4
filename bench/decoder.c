/*
 * model.c - families vit, prefill, decode: whole parts of a model from a weight file (--weights FILE, vidrun-make-weights).
 *
 *   vit: one frame, two frames;  prefill: 512 rows;  decode: one row behind 64 and behind 1024
 *   floor: products at the rate of the FMA probe, twice for bf16, four times for quantised weights; of decode the bytes of the
 *   weights and of the cache at the rate of the read probe
 *
 * Trap:  a file that is not in memory yet is read by the first call, which no round counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strips.h"
#include "base/weights.h"
#include "bench/bench.h"
#include "decode/llama.h"
#include "encode/vit.h"

enum { PREFILL = 512, CONTEXT = 1100 };

typedef struct model_case {
    const bench_run *run;
    vr_backend *be;
    vr_vit *vit;
    vr_llama *llama;
    vr_kvcache cache;
    vr_arena scratch;
    vr_run pass;
    float *x, *y; /* pixels or rows, features or logits */
    int n, first; /* frames or rows; rows in the cache */
    double operations, bytes, rate;
} model_case;

/* Numbers and bytes of the matrices whose names begin with prefix; *strips: whether one is quantised. */
static void matrices(const vr_weights *w, const char *prefix, double *numbers, double *bytes, bool *strips)
{
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(w, i, &t);
        if (t.n_dims != 2 || t.name.n_bytes < strlen(prefix) || memcmp(t.name.data, prefix, strlen(prefix)) != 0) continue;
        *numbers += (double)t.shape[0] * (double)t.shape[1], *bytes += (double)t.n_bytes;
        if (vr_is_strips((vr_dtype)t.type)) *strips = true;
    }
}

static double call_floor(void *arg)
{
    const model_case *c = arg;
    return c->bytes > 0 ? c->bytes / bench_probe_read(c->run) : c->operations / (c->rate * bench_probe_fma(c->run));
}

static void forward(model_case *c, vr_run *pass)
{
    if (c->vit) {
        vr_vit_forward(c->vit, pass, c->x, c->n, c->y);
    } else {
        c->cache.n_rows = c->first;
        vr_llama_forward(c->llama, pass, &c->cache, NULL, c->x, c->n, c->y);
    }
}

static double call_model(void *arg)
{
    model_case *c = arg;
    uint64_t seed = 7;
    const int width = c->llama ? vr_llama_config_get(c->llama)->width : 0;
    for (int64_t i = 0; i < (int64_t)c->n * width; i++) c->x[i] = bench_random(&seed);
    const size_t mark = vr_arena_mark(&c->scratch);
    const double start = bench_seconds();
    forward(c, &c->pass);
    const double time = bench_seconds() - start;
    vr_arena_release(&c->scratch, mark);
    return time;
}

/* Scratch memory: the same code over a backend that does nothing. */
static int plan(model_case *c, vr_err *e)
{
    vr_arena counted;
    vr_backend *nothing;
    VR_TRY(vr_backend_open_plan(&nothing, e));
    vr_arena_plan(&counted);
    vr_run pass = { .be = nothing, .scratch = &counted, .host = &counted };
    forward(c, &pass);
    vr_backend_free(nothing);
    VR_TRY(vr_arena_open(&c->scratch, counted.peak, e));
    c->pass = (vr_run){ .be = c->be, .scratch = &c->scratch, .host = &c->scratch };
    return VR_OK;
}

static int measure(bench_run *run, model_case *c, const char *family, const char *shape, const char *type, vr_err *e)
{
    bench_group g = { .bench = family };
    snprintf(g.type, sizeof g.type, "%s", type);
    snprintf(g.shape, sizeof g.shape, "%s", shape);
    if (!bench_begin(run, &g)) return VR_OK;
    VR_TRY(plan(c, e));
    bench_add(&g, BENCH_FLOOR, "probe", call_floor, c);
    bench_way *own = bench_add(&g, BENCH_OWN, shape, call_model, c);
    own->bytes = c->bytes, own->operations = c->bytes > 0 ? 0.0 : c->operations, own->floors = 1;
    own->n_threads = run->n_threads;
    snprintf(own->level, sizeof own->level, "%s", vr_cpu_level(c->be));
    bench_measure(run, &g);
    vr_arena_close(&c->scratch);
    return VR_OK;
}

static int measure_vit(bench_run *run, model_case *c, vr_weights *w, vr_err *e)
{
    const vr_vit_parts parts = {
        .prefix = "vit", .stage = "vision", .patch_bias = true, .class_row = true, .output_norm = true
    };
    bool strips = false;
    double numbers = 0, bytes = 0;
    VR_TRY(vr_vit_open(&c->vit, w, &parts, e));
    matrices(w, "vit.blk.", &numbers, &bytes, &strips);
    const double T = vr_vit_tokens(c->vit), D = vr_vit_width(c->vit), S = vr_vit_image_size(c->vit);
    int rc = VR_OK;
    for (c->n = 1; c->n <= 2 && rc == VR_OK; c->n++) {
        uint64_t seed = 7;
        const int64_t n_pixels = (int64_t)c->n * 3 * (int64_t)(S * S);
        c->x = malloc((size_t)n_pixels * sizeof *c->x), c->y = malloc((size_t)(c->n * T * D) * sizeof *c->y);
        for (int64_t i = 0; c->x && i < n_pixels; i++) c->x[i] = bench_random(&seed);
        c->operations = c->n * (2.0 * T * numbers + 4.0 * T * T * D * vr_vit_block_count(c->vit));
        c->rate = 2.0, c->bytes = 0.0;
        rc = c->x && c->y ? measure(run, c, "vit", c->n == 1 ? "1 frame" : "2 frames", "bf16", e)
                          : vr_fail(e, VR_ERR_LIMIT, "bench vit: no memory");
        free(c->x);
        free(c->y);
    }
    return rc;
}

static int measure_llama(bench_run *run, model_case *c, vr_weights *w, bool decode, vr_err *e)
{
    bool strips = false;
    double numbers = 0, bytes = 0;
    VR_TRY(vr_llama_open(&c->llama, w, e));
    const vr_llama_config *config = vr_llama_config_get(c->llama);
    const vr_kvcache_config cache = vr_llama_cache(c->llama, CONTEXT, VR_KEPT_F16); /* that of --precision auto */
    matrices(w, "blk.", &numbers, &bytes, &strips);
    VR_TRY(vr_kvcache_open(&c->cache, c->be, &cache, e));
    c->x = malloc((size_t)PREFILL * (size_t)config->width * sizeof *c->x);
    c->y = malloc((size_t)config->vocab * sizeof *c->y);
    if (!c->x || !c->y) return vr_fail(e, VR_ERR_LIMIT, "bench: no memory");
    c->rate = strips ? 4.0 : 2.0;
    const char *type = strips ? "int8" : "bf16";
    if (!decode) {
        c->n = PREFILL, c->operations = 2.0 * PREFILL * numbers;
        return measure(run, c, "prefill", "512 rows", type, e);
    }
    matrices(w, "output.weight", &numbers, &bytes, &strips);
    c->n = 1;
    for (int i = 0; i < 2; i++) {
        c->first = i == 0 ? 64 : 1024;
        c->bytes = bytes + 2.0 * config->n_layers * c->first * (double)c->cache.row * (double)vr_kept_bytes(cache.kept);
        VR_TRY(measure(run, c, "decode", i == 0 ? "behind 64 rows" : "behind 1024 rows", type, e));
    }
    return VR_OK;
}

int bench_model(bench_run *run, const char *family, vr_err *e)
{
    model_case c = { .run = run };
    vr_weights *w = NULL;
    if (!run->weights) return vr_fail(e, VR_ERR_USAGE, "%s: --weights FILE is needed", family);
    const vr_cpu_options options = { .n_threads = run->n_threads, .precision = VR_PRECISION_AUTO, .level = run->level };
    int rc = vr_backend_open_cpu(&c.be, &options, e);
    if (rc == VR_OK) rc = vr_weights_open(&w, run->weights, e);
    if (rc == VR_OK && strcmp(family, "vit") == 0)
        rc = measure_vit(run, &c, w, e);
    else if (rc == VR_OK)
        rc = measure_llama(run, &c, w, strcmp(family, "decode") == 0, e);
    if (c.llama) free(c.x), free(c.y);
    vr_kvcache_close(&c.cache);
    vr_vit_free(c.vit);
    vr_llama_free(c.llama);
    vr_weights_free(w);
    vr_backend_free(c.be);
    return rc;
}
