/*
 * backend.h - what runs a model: a table of operations, memory and an end of the queue; and the run that models are handed.
 */
#ifndef VR_BACKEND_H
#define VR_BACKEND_H

#include "base/arena.h"
#include "base/dump.h"
#include "base/err.h"
#include "kernels/ops.h"

struct vr_backend {
    const vr_ops *ops;
    int (*sync)(vr_backend *be, vr_err *e);                                   /* waits; returns the first error kept */
    void (*read)(vr_backend *be, void *host, const void *x, size_t n_bytes);  /* backend memory -> host, in order, waits */
    void (*write)(vr_backend *be, void *x, const void *host, size_t n_bytes); /* host -> backend memory, in order */
    void (*free)(vr_backend *be);
    bool plan;        /* operations do nothing: see vr_backend_open_plan */
    size_t own_bytes; /* of a plan of vr_backend_open_plan_of: what operations take of backend memory for themselves */
    /* of a backend whose memory is not the host's; NULL in the others: */
    const char *name;                                                          /* for messages and reports */
    int (*arena_open)(vr_backend *be, vr_arena *a, size_t n_bytes, vr_err *e); /* backend memory */
    void (*hold)(vr_backend *be, const void *x, size_t n_bytes);               /* host memory that never changes: weights */
    /* bytes of backend memory, and of memory that is held and there already */
    void (*room)(vr_backend *be, size_t *n_free, size_t *n_total, size_t *n_there);
    int (*plan_open)(vr_backend *be, vr_backend **out, vr_err *e); /* see vr_backend_open_plan_of */
    void (*step_begin)(vr_backend *be);                            /* see vr_step_begin */
    bool (*step_end)(vr_backend *be);
    const char *(*note)(vr_backend *be); /* a line that the user should see, once; NULL: there is none */
};

/* A step: operations that come again and again with other addresses and sizes, those of a token. A backend may take them down and
 * run them as one. Between the two nothing is read, written or waited for. end: false where none of them was done: the same once
 * more. */
static inline void vr_step_begin(vr_backend *be)
{
    if (be->step_begin) be->step_begin(be);
}

static inline bool vr_step_end(vr_backend *be)
{
    return !be->step_end || be->step_end(be);
}

typedef enum vr_gemm { VR_GEMM_OWN, VR_GEMM_OPENBLAS } vr_gemm;

/* What products are computed in; sums are f32 in all of them (ops.h linear). Those of an attention of more than 4 queries are bf16
 * where the product of more than 4 rows before it was one of bf16 or int8, and the level has them.
 *   f32    weights widened, rows of x as they are
 *   bf16   where the level has bf16 products: weights and rows of x rounded to bf16; elsewhere f32
 *   int8   quantised weights: rows of x rounded to signed bytes; other weights as bf16
 *   auto   quantised weights int8, F16 and BF16 as bf16, F32 as f32 */
typedef enum vr_precision { VR_PRECISION_F32, VR_PRECISION_BF16, VR_PRECISION_INT8, VR_PRECISION_AUTO } vr_precision;

typedef struct vr_cpu_options {
    int n_threads; /* >= 1 */
    vr_gemm gemm;
    vr_precision precision;
    const char *level; /* NULL: the best of this machine, or what VIDRUN_CPU names; else c, avx2, avx512, neon, best */
} vr_cpu_options;

/* VR_ERR_USAGE for a level that is unknown or that this machine lacks. */
int vr_backend_open_cpu(vr_backend **out, const vr_cpu_options *options, vr_err *e);

typedef struct vr_cuda_options {
    int device; /* >= 0 */
    vr_precision precision;
    vr_backend *share; /* NULL, or a backend of the same device whose weights on the device are used too */
} vr_cuda_options;

/* Loads libvidrun_cuda.so (kernels/cuda/load.c). VR_ERR_USAGE, with one line that says why, where it, a driver or the device
 * is missing. Operations may be handed host memory too, which is copied for the call. */
int vr_backend_open_cuda(vr_backend **out, const vr_cuda_options *options, vr_err *e);

/* Operations that do nothing: the same code then counts its scratch memory (base/arena.h). read fills with zeros. */
int vr_backend_open_plan(vr_backend **out, vr_err *e);
/* The same for a run on be: operations of a device also count what they would take of it for themselves and be has not taken yet.
 * Freed before be. */
int vr_backend_open_plan_of(vr_backend **out, vr_backend *be, vr_err *e);

/* What a device hands out for n_bytes in one piece: pages of 2 MB; pieces of up to 1 MB share them. */
static inline size_t vr_device_bytes(size_t n_bytes)
{
    const size_t grain = n_bytes > (size_t)1 << 20 ? (size_t)2 << 20 : 512;
    return (n_bytes + grain - 1) / grain * grain;
}

void vr_backend_free(vr_backend *be); /* NULL is legal */
int vr_backend_sync(vr_backend *be, vr_err *e);
/* An arena of backend memory; VR_ERR_LIMIT when it cannot be had. May be closed after the backend is freed. */
int vr_backend_arena_open(vr_backend *be, vr_arena *a, size_t n_bytes, vr_err *e);
const char *vr_cpu_level(const vr_backend *be); /* "c", "avx2", ...; "plan" for the plan; the name of a device */
const char *vr_cpu_features(void);              /* what this machine offers, one line for --version */

/* What a forward pass is handed. Borrowed; one run per thread. */
typedef struct vr_run {
    vr_backend *be;
    vr_arena *scratch; /* backend memory */
    vr_arena *host;    /* host memory, for what is decoded; the same arena where the two are one */
    vr_dump *dump;     /* NULL: stages are not written */
    /* NULL, or the run of the processor, for what this backend does not take of a decoder: its table of tokens, its last layers
     * and its head (decode/llama.h). Scratch memory alone counts. */
    const struct vr_run *rest;
} vr_run;

/* The memory that a plan counted (there both arenas were one): backend memory in *scratch, the host's in *host, which stays
 * closed where the two are one. Fills in run but for the dump. The arenas are closed by who owns them, also after an error. */
int vr_run_open(vr_run *run, vr_backend *be, vr_arena *scratch, vr_arena *host, size_t n_bytes, vr_err *e);

/* Where stages of host memory are written: run->dump, or NULL while planning. */
static inline vr_dump *vr_run_stages(const vr_run *run)
{
    return run->be->plan ? NULL : run->dump;
}

/* Write a stage, x [shape] in backend memory, under a formatted name; nothing without a dump. */
void vr_run_dump(const vr_run *run, const float *x, int n_dims, const int64_t *shape, const char *name_format, ...)
    VR_PRINTF(5, 6);

#endif
