/*
 * backend.c - the CPU backend: opening, closing and memory.
 *
 *   options -> select level -> dsp table;  threads -> pool + scratch;  operations: table below
 *
 * Operations run when they are called and cannot fail, so sync has nothing to wait for; memory of the backend is host memory.
 * Owner: pool and scratch belong to the backend; everything an operation is given is borrowed for the call.
 */
#include "kernels/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/select.h"

static const vr_ops cpu_ops = {
    .linear = vr_cpu_linear,
    .layer_norm = vr_cpu_layer_norm,
    .rms_norm = vr_cpu_rms_norm,
    .l2_norm = vr_cpu_l2_norm,
    .gated = vr_cpu_gated,
    .attention = vr_cpu_attention,
    .keep_rows = vr_cpu_keep_rows,
    .rope = vr_cpu_rope,
    .add_rows = vr_cpu_add_rows,
    .copy_rows = vr_cpu_copy_rows,
    .embed_rows = vr_cpu_embed_rows,
    .patches = vr_cpu_patches,
    .scale_add = vr_cpu_scale_add,
    .mean_rows = vr_cpu_mean_rows,
    .gather_rows = vr_cpu_gather_rows,
    .resize_grid = vr_cpu_resize_grid,
    .pool_grid = vr_cpu_pool_grid,
    .add_neighbours = vr_cpu_add_neighbours,
    .prune = vr_cpu_prune,
    .frame_similarity = vr_cpu_frame_similarity,
    .gram = vr_cpu_gram,
    .distances = vr_cpu_distances,
    .mix_rows = vr_cpu_mix_rows,
    .top_k = vr_cpu_top_k,
    .best = vr_cpu_best,
};

static int cpu_sync(vr_backend *be, vr_err *e)
{
    vr_cpu *cpu = vr_cpu_of(be);
    const int code = cpu->error.code;
    if (code != VR_OK && e) *e = cpu->error;
    cpu->error.code = VR_OK;
    return code;
}

void *vr_cpu_rows(vr_cpu *cpu, size_t bytes)
{
    if (bytes <= cpu->rows_bytes) return cpu->rows;
    free(cpu->rows);
    cpu->rows_bytes = (bytes + 63) / 64 * 64;
    cpu->rows = aligned_alloc(64, cpu->rows_bytes);
    if (cpu->rows) return cpu->rows;
    cpu->rows_bytes = 0;
    if (cpu->error.code == VR_OK) vr_fail(&cpu->error, VR_ERR_LIMIT, "kernels: no memory for %zu MB of rows", bytes >> 20);
    return NULL;
}

static void cpu_read(vr_backend *be, void *host, const void *x, size_t n_bytes)
{
    (void)be;
    if (n_bytes) memcpy(host, x, n_bytes);
}

static void cpu_write(vr_backend *be, void *x, const void *host, size_t n_bytes)
{
    (void)be;
    if (n_bytes) memcpy(x, host, n_bytes);
}

static void cpu_free(vr_backend *be)
{
    vr_cpu *cpu = vr_cpu_of(be);
    for (int i = 0; cpu->scratch && i < vr_pool_threads(cpu->pool); i++) free(cpu->scratch[i]);
    free(cpu->scratch);
    free(cpu->rows);
    free(cpu->blas);
    vr_pool_free(cpu->pool);
    free(cpu);
}

/* Pages are touched by the thread that uses them, and only as far as it does. */
static float *alloc_floats(size_t count)
{
    return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
}

static int alloc_scratch(vr_cpu *cpu, vr_err *e)
{
    const size_t families[] = { vr_gemm_scratch(&cpu->dsp), vr_attention_scratch(&cpu->dsp), vr_gram_scratch() };
    size_t floats = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) floats = families[i] > floats ? families[i] : floats;
    const int n_threads = vr_pool_threads(cpu->pool);
    cpu->scratch = calloc((size_t)n_threads, sizeof *cpu->scratch);
    bool ok = cpu->scratch != NULL;
    for (int i = 0; ok && i < n_threads; i++) ok = (cpu->scratch[i] = alloc_floats(floats)) != NULL;
    if (ok && cpu->gemm == VR_GEMM_OPENBLAS) ok = (cpu->blas = alloc_floats(vr_openblas_scratch())) != NULL;
    if (!ok) return vr_fail(e, VR_ERR_LIMIT, "kernels: no memory for %d threads, %zu KB each", n_threads, floats * 4 / 1024);
    return VR_OK;
}

int vr_backend_open_cpu(vr_backend **out, const vr_cpu_options *options, vr_err *e)
{
    if (options->n_threads < 1 || options->n_threads > VR_MAX_THREADS) {
        return vr_fail(e, VR_ERR_USAGE, "threads: %d is not between 1 and %d", options->n_threads, VR_MAX_THREADS);
    }
    vr_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return vr_fail(e, VR_ERR_OTHER, "kernels: no memory");
    cpu->base = (vr_backend){ .ops = &cpu_ops, .sync = cpu_sync, .read = cpu_read, .write = cpu_write, .free = cpu_free };
    cpu->gemm = options->gemm;
    cpu->precision = options->precision;
    int rc;
    if ((rc = vr_dsp_select(&cpu->dsp, options->level, e)) != VR_OK) goto done;
    if ((rc = vr_pool_open(&cpu->pool, options->n_threads, e)) != VR_OK) goto done;
    if ((rc = alloc_scratch(cpu, e)) != VR_OK) goto done;
    if (cpu->gemm == VR_GEMM_OPENBLAS) vr_openblas_threads(options->n_threads);
    *out = &cpu->base;
    return VR_OK;
done:
    cpu_free(&cpu->base);
    return rc;
}

void vr_backend_free(vr_backend *be)
{
    if (be) be->free(be);
}

int vr_backend_sync(vr_backend *be, vr_err *e)
{
    return be->sync(be, e);
}

int vr_backend_arena_open(vr_backend *be, vr_arena *a, size_t n_bytes, vr_err *e)
{
    return be->arena_open ? be->arena_open(be, a, n_bytes, e) : vr_arena_open(a, n_bytes, e);
}

const char *vr_cpu_level(const vr_backend *be)
{
    if (be->name) return be->name;
    return be->plan ? "plan" : ((const vr_cpu *)(const void *)be)->dsp.level;
}
