/*
 * device.c - operations of a CUDA device and a decoder on it, each beside what the same device does at best in the same round:
 * vidrun-bench --device cuda.
 *
 *   probes (a large copy; large products in f32 and in bf16 by cuBLAS) -> each case: warm-up, rounds of probe, own way, peers in an
 *   order that rotates -> lines as of all families (lines.c); level "cuda"
 *
 * floor: bytes at the rate of the copy, operations at that of the product of their type. A round is clean where its probe reaches
 * 0.85 of its best. Time is that of the host around several calls and a sync: launches count, as they do in a run. Weights and
 * activations lie on the device before. Peers: PyTorch as it is and compiled (bench/peers/device_peers.py), which multiplies by
 * cuBLAS and cuBLASLt.
 * Over the shim of the tests (tests/simt) sizes are small, the level is "simt" and the figures mean nothing: it shows that all runs.
 * Without a device: one line that says why.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strips.h"
#include "bench/bench.h"
#include "bench/part.h"
#include "decode/llama.h"
#include "device.h"
#include "systems/stock_text.h"

#define CLEAN   0.85
#define LEAST   0.002 /* seconds that the calls of one round take at least */
#define MOST    2000  /* calls */
#define PREFILL 512
#define CONTEXT 1100

typedef enum kind { COPY, LINEAR, ATTENTION, RMS_NORM, LAYER_NORM, PRUNE, PRUNE_COPY, GRAM, BEST } kind;

typedef struct device_case {
    const char *bench, *form;
    kind kind;
    vr_dtype dtype; /* of weights or rows; of attention: of the products */
    int T, K, N;    /* linear; attention: queries, keys, heads; rows and columns */
    int E;          /* attention */
} device_case;

enum { BY_COPY, BY_F32, BY_BF16, PROBES };
static const device_case probes[PROBES] = {
    { "probe", "copy", COPY, VR_DTYPE_F32, 32768, 4096, 0, 0 },
    { "probe", "product", LINEAR, VR_DTYPE_F32, 4096, 4096, 4096, 0 },
    { "probe", "product", LINEAR, VR_DTYPE_BF16, 8192, 8192, 8192, 0 },
};

static const device_case cases[] = {
    { "linear", "8 frames of EVA-g", LINEAR, VR_DTYPE_BF16, 2056, 1408, 6144, 0 },
    { "linear", "8 frames of EVA-g", LINEAR, VR_DTYPE_F16, 2056, 1408, 6144, 0 },
    { "linear", "8 frames of EVA-g", LINEAR, VR_DTYPE_F32, 2056, 1408, 6144, 0 },
    { "linear", "prefill", LINEAR, VR_DTYPE_BF16, 512, 4096, 11008, 0 },
    { "linear", "prefill", LINEAR, VR_DTYPE_Q8_R16, 512, 4096, 11008, 0 },
    { "linear", "prefill", LINEAR, VR_DTYPE_Q4_R16, 512, 4096, 11008, 0 },
    { "linear", "a token", LINEAR, VR_DTYPE_BF16, 1, 4096, 11008, 0 },
    { "linear", "a token", LINEAR, VR_DTYPE_F16, 1, 4096, 11008, 0 },
    { "linear", "a token", LINEAR, VR_DTYPE_Q8_R16, 1, 4096, 11008, 0 },
    { "linear", "a token", LINEAR, VR_DTYPE_Q4_R16, 1, 4096, 11008, 0 },
    { "attention", "a frame of EVA-g", ATTENTION, VR_DTYPE_F32, 257, 257, 16, 88 },
    { "attention", "a frame of EVA-g", ATTENTION, VR_DTYPE_BF16, 257, 257, 16, 88 },
    { "attention", "prefill", ATTENTION, VR_DTYPE_F32, 2048, 2048, 32, 128 },
    { "attention", "prefill", ATTENTION, VR_DTYPE_BF16, 2048, 2048, 32, 128 },
    { "attention", "a token", ATTENTION, VR_DTYPE_F32, 1, 2048, 32, 128 },
    { "rms_norm", "", RMS_NORM, VR_DTYPE_F32, 2048, 4096, 0, 0 },
    { "layer_norm", "", LAYER_NORM, VR_DTYPE_F32, 2056, 1408, 0, 0 },
    { "prune", "index", PRUNE, VR_DTYPE_BF16, 400, 3584, 144, 0 },
    { "prune", "copy", PRUNE_COPY, VR_DTYPE_BF16, 400, 3584, 144, 0 },
    { "gram", "16 frames", GRAM, VR_DTYPE_BF16, 16, 884736, 0, 0 },
    { "best", "50 of the logits", BEST, VR_DTYPE_F32, 1, 152064, 50, 0 },
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct data {
    vr_backend *be;
    vr_arena arena;
    device_case c; /* sizes as they are run */
    void *x, *y, *host_w, *out;
    int calls;                /* of a round */
    const struct data *probe; /* whose rate is the floor */
    double fixed;             /* not 0: its work, whatever the case says */
} data;

static double operations(const device_case *c)
{
    if (c->kind == LINEAR && c->T > 8) return 2.0 * c->T * c->K * c->N;
    if (c->kind == ATTENTION && c->T > 1) return 4.0 * c->T * c->K * c->N * c->E * (c->T == c->K && c->E == 128 ? 0.5 : 1.0);
    return 0; /* bound by memory */
}

static size_t weight_bytes(const device_case *c)
{
    if (c->kind != LINEAR) return 0;
    return vr_is_strips(c->dtype) ? vr_strips_bytes(c->dtype, c->N, c->K)
                                  : (size_t)c->K * (size_t)c->N * vr_dtype_bytes(c->dtype);
}

static double bytes(const device_case *c)
{
    const double rows = (double)c->T * c->K;
    switch (c->kind) {
    case COPY:
    case RMS_NORM:
    case LAYER_NORM:
        return 8.0 * rows;
    case BEST:
        return 4.0 * rows;
    case LINEAR:
        return (double)weight_bytes(c) + 4.0 * rows + 4.0 * c->T * c->N;
    case ATTENTION:
        return 4.0 * c->N * c->E * (2.0 * c->T + 2.0 * c->K);
    case PRUNE:
        return 2.0 * rows * c->N;
    case PRUNE_COPY:
        return 2.0 * rows * c->N * 2.0; /* half of the rows are kept: read again and written */
    case GRAM:
        return 2.0 * rows;
    }
    return 0;
}

static void call(const data *d)
{
    const device_case *c = &d->c;
    vr_backend *be = d->be;
    const vr_ops *op = be->ops;
    float *x = d->x, *y = d->y;
    const vr_matrix w = { d->host_w, c->dtype, c->N, c->K };
    const int64_t row = (int64_t)c->N * c->E;
    switch (c->kind) {
    case COPY:
        op->copy_rows(be, y, c->K, x, c->K, c->T, c->K);
        break;
    case LINEAR:
        op->linear(be, y, x, &w, NULL, VR_ACT_NONE, NULL, c->T);
        break;
    case ATTENTION:
        op->attention(be, &(vr_attention){ .n_batch = 1,
                                           .n_queries = c->T,
                                           .n_keys = c->K,
                                           .n_heads = c->N,
                                           .n_kv_heads = c->N,
                                           .head_dim = c->E,
                                           .scale = 0.1F,
                                           .causal = c->E == 128,
                                           .q = { x, 0, row, c->E },
                                           .k = { x, 0, row, c->E },
                                           .v = { x, 0, row, c->E },
                                           .out = { y, 0, row, c->E } });
        break;
    case RMS_NORM:
        op->rms_norm(be, y, x, x, c->T, c->K, 1e-6F);
        break;
    case LAYER_NORM:
        op->layer_norm(be, y, x, x, x, c->T, c->K, 1e-6F);
        break;
    case BEST:
        op->best(be, d->out, (float *)d->out + VR_BEST_MOST, x, c->K, c->N);
        break;
    case PRUNE:
    case PRUNE_COPY:
        op->prune(be, &(vr_prune){ .x = x,
                                   .dtype = c->dtype,
                                   .n_frames = c->T,
                                   .N = c->N,
                                   .D = c->K,
                                   .window = 8,
                                   .n_least = c->N / 2,
                                   .similarity = d->out,
                                   .mask = (uint8_t *)d->out + 4 * (size_t)c->T * (size_t)c->N,
                                   .indices = (int32_t *)d->out + 2 * (size_t)c->T * (size_t)c->N,
                                   .n_kept = (int32_t *)d->out + 3 * (size_t)c->T * (size_t)c->N,
                                   .rows = c->kind == PRUNE_COPY ? y : NULL });
        break;
    case GRAM:
        op->gram(be, d->out, x, c->dtype, c->T, c->K);
        break;
    }
}

/* Numbers on the device; half: 16 bits each. */
static int fill(const data *d, void *x, size_t n, bool half, vr_err *e)
{
    uint64_t seed = 7;
    const size_t size = half ? 2 : 4;
    unsigned char *host = malloc(n * size);
    if (!host) return vr_fail(e, VR_ERR_LIMIT, "bench device: no memory");
    for (size_t i = 0; i < n; i++) bench_store(host, half ? VR_DTYPE_BF16 : VR_DTYPE_F32, (int64_t)i, bench_random(&seed));
    d->be->write(d->be, x, host, n * size);
    free(host);
    return vr_backend_sync(d->be, e);
}

/* Attention is one of bf16 behind a product of bf16 (backend.h vr_precision). */
static void make_narrow(const data *d)
{
    static const uint16_t w[16 * 16];
    const vr_matrix m = { w, VR_DTYPE_BF16, 16, 16 };
    d->be->ops->linear(d->be, d->y, d->x, &m, NULL, VR_ACT_NONE, NULL, 8);
}

static int prepare(data *d, vr_err *e)
{
    const device_case *c = &d->c;
    const bool half = c->kind == PRUNE || c->kind == PRUNE_COPY || c->kind == GRAM;
    const size_t longest = (size_t)(c->T > c->K ? c->T : c->K);
    const size_t rows = c->kind == ATTENTION
                            ? longest * (size_t)c->N * (size_t)c->E
                            : (size_t)c->T * (size_t)c->K * (c->kind == PRUNE || c->kind == PRUNE_COPY ? (size_t)c->N : 1);
    const size_t products = c->kind == LINEAR ? (size_t)c->T * (size_t)c->N : rows;
    const size_t out = 16 * (size_t)c->T * (size_t)(c->N > c->T ? c->N : c->T) + 4096;
    VR_TRY(vr_backend_arena_open(d->be, &d->arena, 4 * (rows + products) + out + 4096, e));
    d->x = vr_arena_floats(&d->arena, rows), d->y = vr_arena_floats(&d->arena, products);
    d->out = vr_arena_alloc(&d->arena, out, 1);
    const size_t n_bytes = weight_bytes(c);
    if (n_bytes > 0) {
        d->host_w = bench_alloc(n_bytes);
        if (!d->host_w) return vr_fail(e, VR_ERR_LIMIT, "bench device: no memory for weights");
        memset(d->host_w, 0x3c, n_bytes); /* about 1 in every type */
        d->be->hold(d->be, d->host_w, n_bytes);
    }
    if (c->kind == ATTENTION && c->dtype == VR_DTYPE_BF16) make_narrow(d);
    return fill(d, d->x, rows, half, e);
}

static double work(const device_case *c)
{
    const double products = operations(c);
    return products > 0 ? products : bytes(c);
}

/* Seconds of a call; negative: it failed. */
static double timed(const data *d)
{
    const double start = bench_seconds();
    for (int i = 0; i < d->calls; i++) call(d);
    return vr_backend_sync(d->be, NULL) == VR_OK ? (bench_seconds() - start) / d->calls : -1;
}

static double call_own(void *arg)
{
    return timed(arg);
}

/* What the probe would take for the work of this case. */
static double call_floor(void *arg)
{
    const data *d = arg;
    return timed(d->probe) * (d->fixed > 0 ? d->fixed : work(&d->c)) / work(&d->probe->c);
}

/* Sizes that a processor gets through, for the shim of the tests. */
static device_case smaller(device_case c)
{
    if (c.kind == BEST) return c.K = 700, c;
    c.T = c.T > 8 ? (c.T + 127) / 128 : c.T;
    c.K = (c.K + 31) / 32 * 2, c.N = (c.N + 15) / 16;
    if (c.kind == ATTENTION && c.T > 1) c.T = c.K;
    if (c.kind == GRAM) c.K /= 64;
    return c;
}

/* The backend of a case alone: weights of the last one give their memory back. Warm: weights, plans of cuBLAS. */
static int case_open(data *d, const device_case *c, int device, bool shim, vr_err *e)
{
    *d = (data){ .c = shim ? smaller(*c) : *c, .calls = 1 };
    VR_TRY(vr_backend_open_cuda(&d->be, &(vr_cuda_options){ .device = device, .precision = VR_PRECISION_AUTO }, e));
    VR_TRY(prepare(d, e));
    timed(d);
    const double seconds = timed(d);
    if (seconds > 0 && seconds < LEAST) d->calls = LEAST / seconds < MOST ? 1 + (int)(LEAST / seconds) : MOST;
    call(d);
    return vr_backend_sync(d->be, e);
}

static void case_close(data *d)
{
    vr_arena_close(&d->arena);
    vr_backend_free(d->be);
    if (d->host_w) bench_free(d->host_w, weight_bytes(&d->c));
    *d = (data){ 0 };
}

typedef struct device_run {
    bench_run *run;
    int device;
    bool shim;
    data probe[PROBES];
    double best[PROBES]; /* seconds of a probe */
    peer *peers[2];
} device_run;

/* Rounds of a group whose first way is its floor, made by this probe. */
static void rounds(device_run *r, bench_group *g, int probe)
{
    bool clean[BENCH_MAX_ROUNDS];
    int n = 0;
    for (; n < r->run->rounds && (n < BENCH_MIN_CLEAN || bench_seconds() < r->run->group_end); n++) {
        for (int i = 0; i < g->n_ways; i++) {
            bench_way *w = &g->ways[(i + n) % g->n_ways];
            const double time = w->call(w->arg);
            w->time[n] = time > 0 ? time : (double)NAN;
            w->n += time > 0;
        }
        const double now = timed(&r->probe[probe]);
        if (now > 0 && (r->best[probe] <= 0 || now < r->best[probe])) r->best[probe] = now;
        clean[n] = now > 0 && now * CLEAN <= r->best[probe];
    }
    bench_lines(r->run, g, clean, n);
}

static const char *type_name(vr_dtype type)
{
    switch (type) {
    case VR_DTYPE_Q8_R16:
        return "q8";
    case VR_DTYPE_Q4_R16:
        return "q4";
    case VR_DTYPE_F16:
        return "f16";
    default:
        return type == VR_DTYPE_BF16 ? "bf16" : "f32";
    }
}

/* A group of one own way and its floor. */
static void group_begin(const device_run *r, bench_group *g, const char *bench, const char *form, vr_dtype type, data *d)
{
    *g = (bench_group){ .bench = bench };
    snprintf(g->type, sizeof g->type, "%s", type_name(type));
    bench_add(g, BENCH_FLOOR, "probe", call_floor, d);
    bench_way *own = bench_add(g, BENCH_OWN, form, call_own, d);
    own->floors = 1, own->n_threads = 1;
    snprintf(own->level, sizeof own->level, "%s", r->shim ? "simt" : "cuda");
}

static void peers_add(device_run *r, bench_group *g, const device_case *c)
{
    static const char *const names[] = {
        [LINEAR] = "linear", [ATTENTION] = "attention", [RMS_NORM] = "rms_norm", [LAYER_NORM] = "layer_norm",
        [PRUNE] = "prune",   [GRAM] = "gram",           [BEST] = "top-k"
    };
    const char *what = (size_t)c->kind < sizeof names / sizeof *names ? names[c->kind] : NULL;
    const int numbers[] = { c->T, c->K, c->N, c->E };
    for (int i = 0; what && !vr_is_strips(c->dtype) && i < 2; i++)
        peer_add(r->peers[i], g, what, NULL, 0, numbers, 4, BENCH_MAX_ROUNDS, 0);
}

static int case_run(device_run *r, const device_case *given, vr_err *e)
{
    data d;
    bench_group g;
    group_begin(r, &g, given->bench, given->form, given->dtype, &d);
    if (!bench_begin(r->run, &g)) return VR_OK;
    int rc = case_open(&d, given, r->device, r->shim, e);
    if (rc == VR_OK) {
        const device_case *c = &d.c;
        const int probe = operations(c) <= 0 ? BY_COPY : c->dtype == VR_DTYPE_F32 ? BY_F32 : BY_BF16;
        d.probe = &r->probe[probe];
        g.ways[1].bytes = bytes(c), g.ways[1].operations = operations(c);
        if (c->kind == ATTENTION)
            snprintf(g.shape, sizeof g.shape, "%dx%d %dx%d", c->T, c->K, c->N, c->E);
        else if (c->N > 0)
            snprintf(g.shape, sizeof g.shape, "%dx%dx%d", c->T, c->K, c->N);
        else
            snprintf(g.shape, sizeof g.shape, "%dx%d", c->T, c->K);
        peers_add(r, &g, c);
        rounds(r, &g, probe);
    }
    case_close(&d);
    return rc;
}

/* --- a whole decoder ---------------------------------------------------------------------------------------------------- */

typedef struct decoder {
    vr_llama *llama;
    vr_weights *w;
    vr_kvcache cache;
    vr_arena scratch, host, rows;
    vr_run pass;
    float *from, *x, *logits; /* rows as they are and as they are used up, on the device */
    int n, first;
    data floor; /* its work and probe alone */
} decoder;

static void forward(decoder *m, vr_run *pass)
{
    const int64_t width = vr_llama_config_get(m->llama)->width;
    m->cache.n_rows = m->first;
    pass->be->ops->copy_rows(pass->be, m->x, width, m->from, width, m->n, (int)width);
    vr_llama_forward(m->llama, pass, &m->cache, NULL, m->x, m->n, m->logits);
}

static double call_decoder(void *arg)
{
    decoder *m = arg;
    const size_t mark = vr_arena_mark(&m->scratch);
    const double start = bench_seconds();
    forward(m, &m->pass);
    const int rc = vr_backend_sync(m->pass.be, NULL);
    vr_arena_release(&m->scratch, mark);
    return rc == VR_OK ? bench_seconds() - start : -1;
}

static int decoder_open(decoder *m, vr_backend *be, const char *weights, vr_err *e)
{
    vr_backend *nothing;
    vr_arena counted;
    VR_TRY(vr_weights_open(&m->w, weights, e));
    VR_TRY(vr_stock_text_adopt(m->w, 0, e));
    VR_TRY(vr_llama_open(&m->llama, m->w, e));
    vr_device_hold(be, m->w);
    const vr_llama_config *c = vr_llama_config_get(m->llama);
    const int context = c->context < CONTEXT ? c->context : CONTEXT;
    const vr_kvcache_config config = vr_llama_cache(m->llama, context, vr_kvcache_kept(be, VR_KEPT_F16));
    const size_t n = PREFILL * (size_t)c->width;
    VR_TRY(vr_kvcache_open(&m->cache, be, &config, e));
    VR_TRY(vr_backend_open_plan(&nothing, e));
    vr_arena_plan(&counted);
    vr_run plan = { .be = nothing, .scratch = &counted, .host = &counted };
    m->n = PREFILL < context ? PREFILL : context;
    vr_llama_forward(m->llama, &plan, &m->cache, NULL, m->x, m->n, m->x);
    vr_backend_free(nothing);
    VR_TRY(vr_backend_arena_open(be, &m->rows, (2 * n + (size_t)c->vocab) * sizeof(float) + 4096, e));
    m->from = vr_arena_floats(&m->rows, n), m->x = vr_arena_floats(&m->rows, n);
    m->logits = vr_arena_floats(&m->rows, (size_t)c->vocab);
    const data d = { .be = be };
    VR_TRY(fill(&d, m->from, n, false, e));
    return vr_run_open(&m->pass, be, &m->scratch, &m->host, counted.peak, e);
}

/* One line: n rows behind first. */
static void decoder_measure(device_run *r, decoder *m, const char *bench, int n, int first, int probe)
{
    const part_matrices all = part_decoder(m->w);
    const vr_llama_config *c = vr_llama_config_get(m->llama);
    bench_group g;
    if (first + n > m->cache.config.n_max) return;
    m->n = n, m->first = first;
    const double cached = 2.0 * c->n_layers * first * (double)m->cache.row * (double)vr_kept_bytes(m->cache.config.kept);
    const double floor_work = probe == BY_COPY ? all.bytes + cached : 2.0 * n * all.numbers;
    m->floor = (data){ .probe = &r->probe[probe], .fixed = floor_work };
    group_begin(r, &g, bench, "decoder", all.quantised ? VR_DTYPE_Q8_R16 : all.type, &m->floor);
    if (!bench_begin(r->run, &g)) return;
    snprintf(g.shape, sizeof g.shape, "%d behind %d", n, first);
    bench_way *own = &g.ways[1];
    own->call = call_decoder, own->arg = m, own->units = n, own->unit = "tokens";
    if (probe == BY_COPY)
        own->bytes = floor_work;
    else
        own->operations = floor_work;
    call_decoder(m);
    call_decoder(m); /* the second one of a step is its graph */
    rounds(r, &g, probe);
}

static int decoder_run(device_run *r, vr_err *e)
{
    decoder m = { 0 };
    vr_backend *be = NULL;
    VR_TRY(vr_backend_open_cuda(&be, &(vr_cuda_options){ .device = r->device, .precision = VR_PRECISION_AUTO }, e));
    const int rc = decoder_open(&m, be, r->run->weights, e);
    if (rc == VR_OK) {
        decoder_measure(r, &m, "prefill", r->shim ? 32 : PREFILL, 0, BY_BF16);
        decoder_measure(r, &m, "decode", 1, 64, BY_COPY);
        if (!r->shim) decoder_measure(r, &m, "decode", 1, 1024, BY_COPY);
    }
    vr_kvcache_close(&m.cache);
    vr_arena_close(&m.rows);
    vr_arena_close(&m.host);
    vr_arena_close(&m.scratch);
    vr_llama_free(m.llama);
    vr_backend_free(be);
    vr_weights_free(m.w);
    return rc;
}

/* --- the run ------------------------------------------------------------------------------------------------------------ */

/* Children beside the script of the other peers. */
static void peers_open(device_run *r)
{
    static const char *const names[] = { "device_peers.py", "device_peers_compiled.py" };
    const char *script = r->run->script, *slash = script ? strrchr(script, '/') : NULL;
    for (int i = 0; r->run->peers && !r->shim && slash && i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash - script), script, names[i]);
        r->peers[i] = peer_open(path, 1);
    }
}

static int device_run_all(device_run *r, vr_err *e)
{
    r->run->groups_left = N_CASES + (r->run->weights ? 3 : 0);
    for (int i = 0; i < PROBES; i++) {
        VR_TRY(case_open(&r->probe[i], &probes[i], r->device, r->shim, e));
        r->probe[i].calls = 1;
        r->best[i] = timed(&r->probe[i]);
        const double rate = work(&r->probe[i].c) / r->best[i];
        bench_note("%s %s: %.2f %s", probes[i].form, type_name(probes[i].dtype), 1e-12 * rate,
                   i == BY_COPY ? "TB/s" : "TFLOP/s");
    }
    for (int i = 0; i < N_CASES; i++) VR_TRY(case_run(r, &cases[i], e));
    if (!r->run->weights) bench_note("SKIP prefill and decode: no --weights FILE (vidrun-make-weights)");
    return r->run->weights ? decoder_run(r, e) : VR_OK;
}

int bench_device(bench_run *run, int device, vr_err *e)
{
    device_run r = { .run = run, .device = device };
    vr_backend *first;
    vr_err why = { 0 };
    if (vr_backend_open_cuda(&first, &(vr_cuda_options){ .device = device }, &why) != VR_OK) {
        bench_note("SKIP device: %s", why.text);
        return VR_OK;
    }
    r.shim = strstr(first->name, "SIMT") != NULL;
    if (r.shim && run->rounds > BENCH_MIN_CLEAN) run->rounds = BENCH_MIN_CLEAN;
    bench_note("%s, %d rounds at most%s", first->name, run->rounds, r.shim ? "; small sizes, no measurement" : "");
    vr_backend_free(first);
    peers_open(&r);
    const int rc = device_run_all(&r, e);
    for (int i = 0; i < PROBES; i++) case_close(&r.probe[i]);
    for (int i = 0; i < 2; i++) peer_close(r.peers[i]);
    return rc;
}
