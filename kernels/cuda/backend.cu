/*
 * backend.cu - the CUDA backend: opening, closing, memory and errors.
 *
 *   vr_cuda_open -> device, stream, cuBLAS -> table of operations
 *   plan         -> the same table over nothing: what operations ask for is counted (own_bytes)
 *
 * Everything goes on one stream. An arena of this backend is one cudaMalloc; the arenas of the process are known by their
 * ranges (a handful), which is how an operation tells an address of the device from one of the host.
 * Trap:  an arena outlives its backend where a session is closed late: it frees itself without it.
 */
#include "kernels/cuda/cuda.h"

#include <mutex>
#include <new>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/library.h"

#ifdef VR_TEST_TINY
static const size_t CHUNK_BYTES = 1; /* each address of the host gets memory of its own size, so that its ends are seen */
static const size_t OTHER_BYTES = (size_t)64 << 10;
#else
static const size_t CHUNK_BYTES = (size_t)1 << 20;
/* What no plan can count: code of kernels, which comes with their first launch, graphs, chunks. A guess that no GPU has tried. */
static const size_t OTHER_BYTES = (size_t)256 << 20;
#endif
static const int MAX_ARENAS = 64;
static struct {
    std::mutex lock;
    struct {
        unsigned char *first;
        size_t n_bytes;
    } of[MAX_ARENAS];
    int n;
} arenas;

bool vr_cuda_ok(vr_cuda *c, cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return true;
    if (c->step.capturing) return vr_cuda_step_allows(c, cudaGetErrorString(error));
    const int code = error == cudaErrorMemoryAllocation ? VR_ERR_LIMIT : VR_ERR_OTHER;
    if (vr_cuda_ready(c)) vr_fail(&c->error, code, "%s: %s: %s", c->name, what, cudaGetErrorString(error));
    cudaGetLastError(); /* what is left are errors that no call can take back */
    return false;
}

bool vr_cuda_blas_ok(vr_cuda *c, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    const cudaError_t error = cudaPeekAtLastError(); /* of a device that is gone cuBLAS knows less */
    if (error != cudaSuccess) return vr_cuda_ok(c, error, "product");
    if (c->step.capturing) return vr_cuda_step_allows(c, cublasGetStatusString(status));
    if (vr_cuda_ready(c)) vr_fail(&c->error, VR_ERR_OTHER, "%s: cuBLAS: %s", c->name, cublasGetStatusString(status));
    return false;
}

bool vr_cuda_blas_begin(vr_cuda *c)
{
    if (c->blas_memory || c->base.plan) return true;
    return vr_cuda_step_allows(c, "cuBLAS wants memory") &&
           vr_cuda_ok(c, cudaMalloc(&c->blas_memory, c->blas_bytes), "memory for products") &&
           vr_cuda_blas_ok(c, cublasSetWorkspace(c->blas, c->blas_memory, c->blas_bytes));
}

bool vr_cuda_on_device(const void *x)
{
    const std::lock_guard<std::mutex> hold(arenas.lock);
    for (int i = 0; i < arenas.n; i++) {
        const size_t at = (size_t)(static_cast<const unsigned char *>(x) - arenas.of[i].first);
        if (static_cast<const unsigned char *>(x) >= arenas.of[i].first && at < arenas.of[i].n_bytes) return true;
    }
    return false;
}

static void arena_release(void *base)
{
    {
        const std::lock_guard<std::mutex> hold(arenas.lock);
        for (int i = 0; i < arenas.n; i++) {
            if (arenas.of[i].first == base) {
                arenas.of[i] = arenas.of[--arenas.n];
                break;
            }
        }
    }
    cudaFree(base);
}

static int arena_open(vr_backend *be, vr_arena *a, size_t n_bytes, vr_err *e)
{
    vr_cuda *c = vr_cuda_of(be);
    unsigned char *base = nullptr;
    if (n_bytes < 64) n_bytes = 64;
    cudaSetDevice(c->device);
    const cudaError_t error = cudaMalloc(&base, n_bytes);
    if (error != cudaSuccess) {
        size_t n_free = 0, n_total = 0;
        cudaGetLastError();
        cudaMemGetInfo(&n_free, &n_total);
        return vr_fail(e, VR_ERR_LIMIT, "%s: %zu MB of working memory were refused, %zu of %zu MB are free: %s", c->name,
                       n_bytes >> 20, n_free >> 20, n_total >> 20, cudaGetErrorString(error));
    }
    bool known = false;
    {
        const std::lock_guard<std::mutex> hold(arenas.lock);
        if (arenas.n < MAX_ARENAS) {
            arenas.of[arenas.n].first = base, arenas.of[arenas.n].n_bytes = n_bytes;
            arenas.n++;
            known = true;
        }
    }
    if (!known) {
        cudaFree(base);
        return vr_fail(e, VR_ERR_LIMIT, "%s: more than %d arenas", c->name, MAX_ARENAS);
    }
    *a = vr_arena();
    a->base = base, a->size = n_bytes, a->release = arena_release;
    return VR_OK;
}

/* --- the plan ------------------------------------------------------------------------------------------------------------ */

alignas(256) static unsigned char planned_address[1]; /* of everything, as if all were done in place; never read or written */

/* All that a run takes of the device beside its arenas and weights. */
static size_t own_bytes(const vr_cuda *plan)
{
    const vr_cuda *of = plan->planned;
    size_t n = OTHER_BYTES + (of->blas_memory ? 0 : vr_device_bytes(of->blas_bytes));
    for (int use = 0; use < VR_CUDA_USES; use++) {
        const size_t wanted = vr_device_bytes(plan->spaces[use].n_bytes), there = vr_device_bytes(of->spaces[use].n_bytes);
        if (wanted > there) n += wanted - there; /* one that grows is given back first */
    }
    return n;
}

static void *space_plan(vr_cuda *plan, vr_cuda_use use, size_t n_bytes)
{
    if (n_bytes > plan->spaces[use].n_bytes) {
        plan->spaces[use].n_bytes = n_bytes;
        plan->base.own_bytes = own_bytes(plan);
    }
    return planned_address;
}

static int plan_sync(vr_backend *, vr_err *)
{
    return VR_OK;
}

static void plan_read(vr_backend *, void *host, const void *, size_t n_bytes)
{
    if (n_bytes) memset(host, 0, n_bytes);
}

static void plan_write(vr_backend *, void *, const void *, size_t)
{
}

static void plan_free(vr_backend *be)
{
    delete vr_cuda_of(be);
}

static int plan_open(vr_backend *be, vr_backend **out, vr_err *e)
{
    const vr_cuda *of = vr_cuda_of(be);
    vr_cuda *c = new (std::nothrow) vr_cuda();
    if (!c) return vr_fail(e, VR_ERR_OTHER, "plan: no memory");
    c->base.ops = be->ops, c->base.plan = true;
    c->base.sync = plan_sync, c->base.read = plan_read, c->base.write = plan_write, c->base.free = plan_free;
    c->n_processors = of->n_processors, c->bf16 = of->bf16, c->precision = of->precision;
    c->planned = of;
    c->base.own_bytes = own_bytes(c);
    *out = &c->base;
    return VR_OK;
}

/* --- working memory of operations ---------------------------------------------------------------------------------------- */

void *vr_cuda_space(vr_cuda *c, vr_cuda_use use, size_t n_bytes)
{
    if (!vr_cuda_ready(c)) return nullptr;
    if (n_bytes == 0) n_bytes = 1;
    if (c->base.plan) return space_plan(c, use, n_bytes);
    if (n_bytes <= c->spaces[use].n_bytes) return c->spaces[use].memory;
    if (!vr_cuda_step_allows(c, "working memory grows")) return nullptr;
    cudaFree(c->spaces[use].memory); /* waits for who uses it */
    c->spaces[use].memory = nullptr, c->spaces[use].n_bytes = 0;
    void *memory = nullptr;
    if (!vr_cuda_ok(c, cudaMalloc(&memory, n_bytes), "working memory")) return nullptr;
    c->spaces[use].memory = memory, c->spaces[use].n_bytes = n_bytes;
    return memory;
}

/* --- addresses of the host ---------------------------------------------------------------------------------------------- */

bool vr_cuda_begin(vr_cuda *c)
{
    if (!vr_cuda_ready(c)) return false;
    if (c->base.plan) return true;
    cudaSetDevice(c->device); /* of the thread that calls */
    c->n_staged = 0, c->chunk = 0, c->chunk_used = 0;
    for (auto &chunk : c->chunks) {
        if (CHUNK_BYTES > 1 || !chunk.memory) break;
        cudaFree(chunk.memory);
        chunk.memory = nullptr, chunk.n_bytes = 0;
    }
    return true;
}

/* From memory of the host that its owner may change at once. Small copies are taken before the call returns, larger ones may
 * not be: they are waited for. */
static bool take_from_host(vr_cuda *c, void *to, const void *host, size_t n_bytes)
{
    const size_t small = (size_t)64 << 10;
    if (!vr_cuda_ok(c, cudaMemcpyAsync(to, host, n_bytes, cudaMemcpyHostToDevice, c->stream), "copy to the device"))
        return false;
    return n_bytes <= small || vr_cuda_ok(c, cudaStreamSynchronize(c->stream), "copy to the device");
}

static unsigned char *chunk_take(vr_cuda *c, size_t n_bytes)
{
    if (CHUNK_BYTES > 1) n_bytes = (n_bytes + 255) / 256 * 256;
    for (; c->chunk < VR_CUDA_CHUNKS; c->chunk++, c->chunk_used = 0) {
        auto &chunk = c->chunks[c->chunk];
        if (!chunk.memory) {
            const size_t size = n_bytes > CHUNK_BYTES ? n_bytes : CHUNK_BYTES;
            if (!vr_cuda_ok(c, cudaMalloc(&chunk.memory, size), "memory for what comes from the host")) return nullptr;
            chunk.n_bytes = size;
        }
        if (chunk.n_bytes - c->chunk_used < n_bytes || (c->chunk_used > 0 && CHUNK_BYTES == 1)) continue;
        unsigned char *p = static_cast<unsigned char *>(chunk.memory) + c->chunk_used;
        c->chunk_used += n_bytes + (n_bytes == 0);
        return p;
    }
    vr_fail(&c->error, VR_ERR_LIMIT, "%s: too much comes from the host in one call", c->name);
    return nullptr;
}

static void *resolve(vr_cuda *c, const void *x, size_t n_bytes, bool out)
{
    if (!x || !vr_cuda_ready(c)) return nullptr;
    if (c->base.plan) return planned_address;
    if (vr_cuda_on_device(x)) return const_cast<void *>(x);
    if (!out) {
        const void *held = vr_cuda_weights_lookup(c, x, n_bytes);
        if (held || !vr_cuda_ready(c)) return const_cast<void *>(held);
    }
    const unsigned char *host = static_cast<const unsigned char *>(x);
    for (int i = 0; i < c->n_staged; i++) {
        auto &s = c->staged[i];
        if (host < s.host || host + n_bytes > s.host + s.n_bytes) continue;
        s.out |= out;
        return s.device + (host - s.host);
    }
    if (!vr_cuda_step_allows(c, "something comes from the host")) return nullptr;
    if (c->n_staged == VR_CUDA_STAGED) {
        vr_fail(&c->error, VR_ERR_LIMIT, "%s: too many addresses of the host in one call", c->name);
        return nullptr;
    }
    unsigned char *device = chunk_take(c, n_bytes);
    if (!device) return nullptr;
    /* outputs too: what an operation leaves alone comes back as it was */
    if (!take_from_host(c, device, x, n_bytes)) return nullptr;
    auto &s = c->staged[c->n_staged++];
    s.host = host, s.device = device, s.n_bytes = n_bytes, s.out = out;
    return device;
}

const void *vr_cuda_in_bytes(vr_cuda *c, const void *x, size_t n_bytes)
{
    return resolve(c, x, n_bytes, false);
}

void *vr_cuda_out_bytes(vr_cuda *c, void *x, size_t n_bytes)
{
    return resolve(c, x, n_bytes, true);
}

void vr_cuda_end(vr_cuda *c)
{
    bool any = false;
    for (int i = 0; i < c->n_staged && vr_cuda_ready(c); i++) {
        const auto &s = c->staged[i];
        if (!s.out || s.n_bytes == 0) continue;
        vr_cuda_ok(c,
                   cudaMemcpyAsync(const_cast<unsigned char *>(s.host), s.device, s.n_bytes, cudaMemcpyDeviceToHost, c->stream),
                   "copy to the host");
        any = true;
    }
    if (any) vr_cuda_ok(c, cudaStreamSynchronize(c->stream), "copy to the host");
    c->n_staged = 0;
}

/* --- the backend -------------------------------------------------------------------------------------------------------- */

static int cuda_sync(vr_backend *be, vr_err *e)
{
    vr_cuda *c = vr_cuda_of(be);
    vr_cuda_ok(c, cudaStreamSynchronize(c->stream), "run");
    const int code = c->error.code;
    if (code != VR_OK && e) *e = c->error;
    c->error.code = VR_OK;
    return code;
}

static void cuda_read(vr_backend *be, void *host, const void *x, size_t n_bytes)
{
    vr_cuda *c = vr_cuda_of(be);
    if (n_bytes == 0) return;
    if (!vr_cuda_step_allows(c, "the host reads") || !vr_cuda_begin(c)) {
        memset(host, 0, n_bytes); /* of a failed run nothing is known; what is asked of it must not be chance */
        return;
    }
    const void *from = vr_cuda_in_bytes(c, x, n_bytes);
    if (!from || !vr_cuda_ok(c, cudaMemcpyAsync(host, from, n_bytes, cudaMemcpyDeviceToHost, c->stream), "copy to the host") ||
        !vr_cuda_ok(c, cudaStreamSynchronize(c->stream), "copy to the host"))
        memset(host, 0, n_bytes);
    vr_cuda_end(c);
}

static void cuda_write(vr_backend *be, void *x, const void *host, size_t n_bytes)
{
    vr_cuda *c = vr_cuda_of(be);
    if (n_bytes == 0 || !vr_cuda_step_allows(c, "the host writes") || !vr_cuda_begin(c)) return;
    void *to = vr_cuda_out_bytes(c, x, n_bytes);
    if (to) take_from_host(c, to, host, n_bytes);
    vr_cuda_end(c);
}

static void cuda_hold(vr_backend *be, const void *x, size_t n_bytes)
{
    vr_cuda_weights_hold(vr_cuda_of(be)->weights, x, n_bytes);
}

static void cuda_room(vr_backend *be, size_t *n_free, size_t *n_total, size_t *n_there)
{
    cudaSetDevice(vr_cuda_of(be)->device);
    *n_free = *n_total = 0;
    *n_there = vr_cuda_weights_there(vr_cuda_of(be)->weights);
    vr_cuda_ok(vr_cuda_of(be), cudaMemGetInfo(n_free, n_total), "memory");
}

static void cuda_free(vr_backend *be)
{
    vr_cuda *c = vr_cuda_of(be);
    cudaSetDevice(c->device);
    if (c->stream) cudaStreamSynchronize(c->stream);
    for (auto &space : c->spaces) cudaFree(space.memory);
    for (auto &chunk : c->chunks) cudaFree(chunk.memory);
    vr_cuda_step_free(c);
    vr_cuda_weights_free(c->weights);
    if (c->blas) cublasDestroy(c->blas);
    cudaFree(c->blas_memory);
    if (c->stream) cudaStreamDestroy(c->stream);
    delete c;
}

static vr_ops table(void)
{
    vr_ops o = vr_ops();
    o.linear = vr_cuda_linear, o.attention = vr_cuda_attention, o.keep_rows = vr_cuda_keep_rows;
    o.layer_norm = vr_cuda_layer_norm, o.rms_norm = vr_cuda_rms_norm, o.l2_norm = vr_cuda_l2_norm;
    o.gated = vr_cuda_gated, o.rope = vr_cuda_rope, o.add_rows = vr_cuda_add_rows, o.scale_add = vr_cuda_scale_add;
    o.mean_rows = vr_cuda_mean_rows, o.gather_rows = vr_cuda_gather_rows, o.copy_rows = vr_cuda_copy_rows;
    o.embed_rows = vr_cuda_embed_rows, o.patches = vr_cuda_patches, o.resize_grid = vr_cuda_resize_grid;
    o.add_neighbours = vr_cuda_add_neighbours, o.pool_grid = vr_cuda_pool_grid, o.prune = vr_cuda_prune;
    o.frame_similarity = vr_cuda_frame_similarity, o.gram = vr_cuda_gram, o.distances = vr_cuda_distances;
    o.mix_rows = vr_cuda_mix_rows, o.top_k = vr_cuda_top_k, o.best = vr_cuda_best;
    return o;
}

/* With both versions where the driver is too old for this library. */
static int count_failed(cudaError_t error, vr_err *e)
{
    int driver = 0, ours = 0;
    if (error != cudaErrorInsufficientDriver)
        return vr_fail(e, VR_ERR_USAGE, "no CUDA device can be used: %s", cudaGetErrorString(error));
    cudaDriverGetVersion(&driver); /* 0: there is none */
    cudaRuntimeGetVersion(&ours);
    return vr_fail(e, VR_ERR_OTHER, "no CUDA device can be used: %s (driver: CUDA %d.%d, this library: %d.%d)",
                   cudaGetErrorString(error), driver / 1000, driver % 1000 / 10, ours / 1000, ours % 1000 / 10);
}

static int device_open(vr_cuda *c, int device, vr_err *e)
{
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error != cudaSuccess) return count_failed(error, e);
    if (device < 0 || device >= n) return vr_fail(e, VR_ERR_USAGE, "CUDA device %d: this machine has %d", device, n);
    cudaDeviceProp facts;
    if ((error = cudaSetDevice(device)) == cudaSuccess) error = cudaGetDeviceProperties(&facts, device);
    if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
    if (error != cudaSuccess) return vr_fail(e, VR_ERR_OTHER, "CUDA device %d: %s", device, cudaGetErrorString(error));
    if (facts.major * 10 + facts.minor < 75)
        return vr_fail(e, VR_ERR_USAGE, "CUDA device %d: %s is too old (%d.%d, 7.5 is needed)", device, facts.name, facts.major,
                       facts.minor);
    c->device = device, c->n_processors = facts.multiProcessorCount, c->bf16 = facts.major >= 8;
    snprintf(c->name, sizeof c->name, "cuda:%d (%.40s)", device, facts.name);
    if (cublasCreate(&c->blas) != CUBLAS_STATUS_SUCCESS || cublasSetStream(c->blas, c->stream) != CUBLAS_STATUS_SUCCESS)
        return vr_fail(e, VR_ERR_OTHER, "%s: cuBLAS cannot be opened", c->name);
    c->blas_bytes = (size_t)(facts.major >= 9 ? 32 : 4) << 20; /* as cuBLAS itself takes */
    vr_cuda_step_open(c);
    return VR_OK;
}

extern "C" VR_CUDA_EXPORT int vr_cuda_library_open(vr_backend **out, const vr_cuda_options *options, vr_err *e)
{
    static const vr_ops ops = table();
    vr_cuda *c = new (std::nothrow) vr_cuda();
    if (!c) return vr_fail(e, VR_ERR_OTHER, "kernels: no memory");
    c->base.ops = &ops, c->base.sync = cuda_sync, c->base.read = cuda_read, c->base.write = cuda_write;
    c->base.free = cuda_free, c->base.arena_open = arena_open, c->base.hold = cuda_hold, c->base.room = cuda_room;
    c->base.plan_open = plan_open;
    c->base.step_begin = vr_cuda_step_begin, c->base.step_end = vr_cuda_step_end, c->base.note = vr_cuda_step_note;
    c->base.name = c->name;
    c->precision = options->precision;
    const int rc = device_open(c, options->device, e);
    if (rc == VR_OK)
        c->weights = options->share ? vr_cuda_weights_share(vr_cuda_of(options->share)->weights) : vr_cuda_weights_open();
    if (rc == VR_OK && !c->weights) vr_fail(e, VR_ERR_OTHER, "kernels: no memory");
    if (rc != VR_OK || !c->weights) {
        cuda_free(&c->base);
        return rc != VR_OK ? rc : VR_ERR_OTHER;
    }
    *out = &c->base;
    return VR_OK;
}

extern "C" VR_CUDA_EXPORT unsigned vr_cuda_library_version(void)
{
    return VR_CUDA_VERSION;
}
