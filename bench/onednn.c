/*
 * onednn.c - see onednn.h.
 *
 *   random operands -> W in oneDNN's own order (format any, reordered once) -> product -> a few results against sums in double
 *
 * Ref:   https://oneapi-src.github.io/oneDNN (dev_guide_matmul); versions 2 and 3, whose descriptions differ.
 * Trap:  its threads spin for some milliseconds after a product: whoever is timed next would share the cores with them.
 */
#define _DEFAULT_SOURCE
#include "bench/onednn.h"

#include <stddef.h>

#ifndef BENCH_ONEDNN

const char *onednn_name(void)
{
    return NULL;
}

onednn *onednn_open(const char *type, int T, int K, int N, bool gelu, int n_threads)
{
    (void)type, (void)T, (void)K, (void)N, (void)gelu, (void)n_threads;
    return NULL;
}

double onednn_time(void *product)
{
    (void)product;
    return -1.0;
}

void onednn_free(onednn *product)
{
    (void)product;
}

#else

#include <dlfcn.h>
#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

enum { X, W, B, Y, PACKED, N_OPERANDS };

/* A description of version 2 is a struct, one of version 3 a pointer to something opaque. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t description;
typedef const_dnnl_memory_desc_t description_view;
#define VIEW(d) (d)
#else
typedef dnnl_memory_desc_t description;
typedef const dnnl_memory_desc_t *description_view;
#define VIEW(d) (&(d))
#endif

struct onednn {
    int T, K, N;
    bool gelu, bytes; /* bytes: int8 */
    dnnl_data_type_t type[N_OPERANDS];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t how;
    dnnl_primitive_t product;
    description descriptions[N_OPERANDS]; /* X, W, B, Y */
    dnnl_memory_t memory[N_OPERANDS];
    void *data[N_OPERANDS];
};

const char *onednn_name(void)
{
    static char name[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(name, sizeof name, "oneDNN-%d.%d.%d", v->major, v->minor, v->patch);
    return name;
}

/* ---- descriptions ---- */

static bool describe(description *d, dnnl_dim_t rows, dnnl_dim_t columns, dnnl_data_type_t type, dnnl_format_tag_t order)
{
    const dnnl_dims_t dims = { rows, columns };
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(d, 2, dims, type, order) == dnnl_success;
#else
    return dnnl_memory_desc_init_by_tag(d, 2, dims, type, order) == dnnl_success;
#endif
}

static void undescribe(description *d)
{
#if DNNL_VERSION_MAJOR >= 3
    if (*d) dnnl_memory_desc_destroy(*d);
#else
    (void)d;
#endif
}

/* How the product will be computed, and with it the order of the weights. */
static bool choose(onednn *d, dnnl_primitive_attr_t attr)
{
    description any;
    if (!describe(&any, d->K, d->N, d->type[W], dnnl_format_tag_any)) return false;
    const description_view bias = d->gelu ? VIEW(d->descriptions[B]) : NULL;
#if DNNL_VERSION_MAJOR >= 3
    const bool ok = dnnl_matmul_primitive_desc_create(&d->how, d->engine, d->descriptions[X], any, bias, d->descriptions[Y],
                                                      attr) == dnnl_success;
#else
    dnnl_matmul_desc_t product;
    const bool ok = dnnl_matmul_desc_init(&product, &d->descriptions[X], &any, bias, &d->descriptions[Y]) == dnnl_success &&
                    dnnl_primitive_desc_create(&d->how, &product, attr, d->engine, NULL) == dnnl_success;
#endif
    undescribe(&any);
    return ok && dnnl_primitive_create(&d->product, d->how) == dnnl_success;
}

static bool with_gelu(dnnl_primitive_attr_t attr)
{
    dnnl_post_ops_t after;
    if (dnnl_post_ops_create(&after) != dnnl_success) return false;
#if DNNL_VERSION_MAJOR >= 3
    bool ok = dnnl_post_ops_append_eltwise(after, dnnl_eltwise_gelu_erf, 0.0f, 0.0f) == dnnl_success;
#else
    bool ok = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_gelu_erf, 0.0f, 0.0f) == dnnl_success;
#endif
    ok = ok && dnnl_primitive_attr_set_post_ops(attr, after) == dnnl_success;
    dnnl_post_ops_destroy(after);
    return ok;
}

/* ---- operands ---- */

static size_t count(const onednn *d, int operand)
{
    const size_t T = (size_t)d->T, K = (size_t)d->K, N = (size_t)d->N;
    return operand == X ? T * K : operand == W ? K * N : operand == B ? N : T * N;
}

static double value(const onednn *d, int operand, int64_t i)
{
    const void *x = d->data[operand];
    if (d->type[operand] == dnnl_u8) return ((const uint8_t *)x)[i];
    if (d->type[operand] == dnnl_s8) return ((const int8_t *)x)[i];
    return (double)bench_load(x, d->type[operand] == dnnl_f32 ? VR_DTYPE_F32 : VR_DTYPE_BF16, i);
}

static void fill(onednn *d, int operand)
{
    uint64_t seed = 1 + (uint64_t)operand;
    for (size_t i = 0; i < count(d, operand); i++) {
        const float x = bench_random(&seed);
        if (d->type[operand] == dnnl_u8)
            ((uint8_t *)d->data[operand])[i] = (uint8_t)(127.5f + 127.0f * x);
        else if (d->type[operand] == dnnl_s8)
            ((int8_t *)d->data[operand])[i] = (int8_t)(127.0f * x);
        else
            bench_store(d->data[operand], d->type[operand] == dnnl_f32 ? VR_DTYPE_F32 : VR_DTYPE_BF16, (int64_t)i, x);
    }
}

static bool take(onednn *d, int operand, description_view view)
{
    d->data[operand] = bench_alloc(dnnl_memory_desc_get_size(view));
    return d->data[operand] && dnnl_memory_create(&d->memory[operand], view, d->engine, d->data[operand]) == dnnl_success;
}

static bool take_operands(onednn *d)
{
    for (int i = X; i <= Y; i++) {
        const dnnl_dim_t rows = i == B ? 1 : i == W ? d->K : d->T, columns = i == X ? d->K : d->N;
        if (!describe(&d->descriptions[i], rows, columns, d->type[i], i == W ? dnnl_ba : dnnl_ab)) return false;
        if (!take(d, i, VIEW(d->descriptions[i]))) return false;
        if (i != Y) fill(d, i);
    }
    return true;
}

static bool pack(onednn *d)
{
    dnnl_primitive_desc_t how;
    dnnl_primitive_t reorder = NULL;
    const description_view packed = dnnl_primitive_desc_query_md(d->how, dnnl_query_weights_md, 0);
    if (!packed || !take(d, PACKED, packed)) return false;
    if (dnnl_reorder_primitive_desc_create(&how, VIEW(d->descriptions[W]), d->engine, packed, d->engine, NULL) != dnnl_success)
        return false;
    const dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, d->memory[W] }, { DNNL_ARG_TO, d->memory[PACKED] } };
    const bool ok = dnnl_primitive_create(&reorder, how) == dnnl_success &&
                    dnnl_primitive_execute(reorder, d->stream, 2, args) == dnnl_success &&
                    dnnl_stream_wait(d->stream) == dnnl_success;
    if (reorder) dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(how);
    return ok;
}

/* Some results, all over y, against sums in double. */
static bool is_right(const onednn *d)
{
    for (int i = 0; i < 16; i++) {
        const int64_t t = (int64_t)i * (d->T - 1) / 15, n = (int64_t)(15 - i) * (d->N - 1) / 15;
        double sum = d->gelu ? value(d, B, n) : 0.0;
        for (int64_t k = 0; k < d->K; k++) sum += value(d, X, t * d->K + k) * value(d, W, n * d->K + k);
        if (d->gelu) sum *= 0.5 * (1.0 + erf(sum * 0.70710678118654752));
        if (!(fabs(value(d, Y, t * d->N + n) - sum) <= 0.01 * (fabs(sum) + 1.0))) return false;
    }
    return true;
}

/* ---- product ---- */

/* oneDNN of Debian takes its threads from OpenMP, which has read the environment before main. */
static void set_threads(int n_threads)
{
    void *const symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    void (*set)(int);
    memcpy(&set, &symbol, sizeof set);
    if (symbol) set(n_threads);
}

static bool run(const onednn *d)
{
    const dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, d->memory[X] },
                                     { DNNL_ARG_WEIGHTS, d->memory[PACKED] },
                                     { DNNL_ARG_DST, d->memory[Y] },
                                     { DNNL_ARG_BIAS, d->memory[B] } };
    return dnnl_primitive_execute(d->product, d->stream, d->gelu ? 4 : 3, args) == dnnl_success &&
           dnnl_stream_wait(d->stream) == dnnl_success;
}

double onednn_time(void *product)
{
    const onednn *d = product;
    const double start = bench_seconds();
    const bool ok = run(d);
    const double time = bench_seconds() - start;
    bench_rest(5);
    return ok ? time : -1.0;
}

static const char *make(onednn *d)
{
    dnnl_primitive_attr_t attr;
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) != dnnl_success) return "no engine";
    if (dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) != dnnl_success) return "no stream";
    if (!take_operands(d)) return "no memory";
    if (dnnl_primitive_attr_create(&attr) != dnnl_success) return "no memory";
    const bool chosen = (!d->gelu || with_gelu(attr)) && choose(d, attr);
    dnnl_primitive_attr_destroy(attr);
    if (!chosen) return "not on this machine";
    if (!pack(d)) return "weights not packed";
    return run(d) && is_right(d) ? NULL : "wrong product";
}

onednn *onednn_open(const char *type, int T, int K, int N, bool gelu, int n_threads)
{
    onednn *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->T = T, d->K = K, d->N = N, d->bytes = strcmp(type, "int8") == 0, d->gelu = gelu && !d->bytes;
    const dnnl_data_type_t plain = strcmp(type, "bf16") == 0 ? dnnl_bf16 : dnnl_f32;
    d->type[X] = d->bytes ? dnnl_u8 : plain, d->type[W] = d->bytes ? dnnl_s8 : plain;
    d->type[B] = dnnl_f32, d->type[Y] = plain;
    set_threads(n_threads);
    const char *reason = make(d);
    if (!reason) return d;
    bench_note("SKIP peer oneDNN of %s %dx%dx%d: %s", type, T, K, N, reason);
    onednn_free(d);
    return NULL;
}

void onednn_free(onednn *d)
{
    if (!d) return;
    for (int i = 0; i < N_OPERANDS; i++) {
        if (d->memory[i]) dnnl_memory_destroy(d->memory[i]);
        bench_free(d->data[i], 0);
        undescribe(&d->descriptions[i]);
    }
    if (d->product) dnnl_primitive_destroy(d->product);
    if (d->how) dnnl_primitive_desc_destroy(d->how);
    if (d->stream) dnnl_stream_destroy(d->stream);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d);
}

#endif
