/*
 * cuda.h - inside of the CUDA backend: what operations share.
 *
 *   vr_backend + stream + cuBLAS + uploaded weights + working memory
 *
 *   begin -> in (x), out (y) turn addresses into those of the device -> launches -> end
 *
 * An address may be of the device (vr_arena of this backend): used as it is; of memory that is held (weights): uploaded when it is
 * first seen; or any other of the host: copied for the call and, where it is an output, copied back. The last is for small lists
 * of row numbers and for tests; it waits.
 * The first error is kept; operations after it do nothing; sync hands it out.
 * A plan is a backend without a device: operations come as far as their working memory, which is counted, and launch nothing.
 * Steps are taken down and run as a graph (step.cu): what a graph cannot hold asks vr_cuda_step_allows first.
 * Owner: stream, handles and working memory belong to the backend; uploaded weights to all backends that share them.
 */
#ifndef VR_CUDA_H
#define VR_CUDA_H

#include "kernels/cuda/device.h"

extern "C" {
#include "base/strips.h"
#include "kernels/backend.h"
}

/* Working memory, each used by one family at a time; grows. */
enum vr_cuda_use { VR_CUDA_PRODUCT, VR_CUDA_WEIGHTS, VR_CUDA_ROWS, VR_CUDA_SUMS, VR_CUDA_GRAM, VR_CUDA_USES };

#define VR_CUDA_STAGED      24 /* addresses of the host in one call, at most */
#define VR_CUDA_CHUNKS      32
#define VR_CUDA_FEW_QUERIES 4 /* backend.h vr_precision */

struct vr_cuda_weights;

/* step.cu */
struct vr_cuda_step {
    bool off;              /* steps are launched one by one */
    bool plain;            /* the next one is */
    bool capturing;        /* launches are taken down */
    bool lost;             /* what was taken down is given up: operations do nothing until the step ends */
    int n_lost;            /* steps given up since one was whole */
    cudaGraphExec_t ready; /* the graph of the last step; NULL: none yet */
    char note[160];        /* why they are off */
    bool told;
};

struct vr_cuda {
    vr_backend base; /* first: a vr_backend of ours is a vr_cuda */
    cudaStream_t stream;
    cublasHandle_t blas;
    int device, n_processors;
    size_t blas_bytes; /* that cuBLAS wants */
    bool bf16;         /* cuBLAS multiplies it on this device: compute capability 8.0 and later */
    vr_precision precision;
    bool narrow; /* the last product of more than VR_CUDA_FEW_QUERIES rows was not one of f32: so is attention of as many */
    vr_cuda_weights *weights;
    struct {
        void *memory;
        size_t n_bytes;
    } spaces[VR_CUDA_USES], chunks[VR_CUDA_CHUNKS];
    int chunk;
    size_t chunk_used;
    struct {
        const unsigned char *host;
        unsigned char *device;
        size_t n_bytes;
        bool out;
    } staged[VR_CUDA_STAGED];
    int n_staged;
    vr_cuda_step step;
    const vr_cuda *planned; /* of a plan: the backend that it is of; borrowed */
    void *blas_memory;      /* of cuBLAS: its own could not be taken while launches are taken down */
    vr_err error;
    char name[64];
};

static inline vr_cuda *vr_cuda_of(vr_backend *be)
{
    return reinterpret_cast<vr_cuda *>(be);
}

/* Keeps the error unless there is one already; true for success. */
bool vr_cuda_ok(vr_cuda *c, cudaError_t error, const char *what);
bool vr_cuda_blas_ok(vr_cuda *c, cublasStatus_t status);
bool vr_cuda_blas_begin(vr_cuda *c); /* before a product: cuBLAS has memory; false, and the error kept, where it cannot */

/* For VR_LAUNCH: a plan launches nothing. */
static inline bool vr_cuda_launches(const vr_cuda *c)
{
    return !c->base.plan;
}

static inline bool vr_cuda_ready(const vr_cuda *c)
{
    return c->error.code == VR_OK && !c->step.lost;
}

bool vr_cuda_begin(vr_cuda *c); /* false: an error is kept already */
void vr_cuda_end(vr_cuda *c);

/* The device's address of n_bytes at x; NULL for NULL, and after an error. */
const void *vr_cuda_in_bytes(vr_cuda *c, const void *x, size_t n_bytes);
void *vr_cuda_out_bytes(vr_cuda *c, void *x, size_t n_bytes);

template <typename T> static inline const T *vr_cuda_in(vr_cuda *c, const T *x, int64_t n)
{
    return static_cast<const T *>(vr_cuda_in_bytes(c, x, (size_t)n * sizeof(T)));
}

template <typename T> static inline T *vr_cuda_out(vr_cuda *c, T *x, int64_t n)
{
    return static_cast<T *>(vr_cuda_out_bytes(c, x, (size_t)n * sizeof(T)));
}

bool vr_cuda_on_device(const void *x); /* of an arena of this backend */

/* At least n_bytes, 256-byte aligned, until the next call for the same use; NULL and the error kept without memory. A plan counts
 * them. */
void *vr_cuda_space(vr_cuda *c, vr_cuda_use use, size_t n_bytes);

/* step.cu. allows: whether memory may be taken, given back, filled from the host or waited for; while launches are taken down it may
 * not, and the step is given up. */
bool vr_cuda_step_allows(vr_cuda *c, const char *what);
void vr_cuda_step_begin(vr_backend *be);
bool vr_cuda_step_end(vr_backend *be);
const char *vr_cuda_step_note(vr_backend *be);
void vr_cuda_step_open(vr_cuda *c);
void vr_cuda_step_free(vr_cuda *c);

/* weights.cu. lookup: the device's address of memory that is held, uploaded now if it is not yet there; NULL: not held. */
vr_cuda_weights *vr_cuda_weights_open(void);
vr_cuda_weights *vr_cuda_weights_share(vr_cuda_weights *w);
void vr_cuda_weights_free(vr_cuda_weights *w);
void vr_cuda_weights_hold(vr_cuda_weights *w, const void *x, size_t n_bytes);
size_t vr_cuda_weights_there(vr_cuda_weights *w); /* what those that are uploaded take (vr_device_bytes) */
const void *vr_cuda_weights_lookup(vr_cuda *c, const void *x, size_t n_bytes);

/* Blocks for n elements, one a thread; who needs more than a grid holds strides. */
#define VR_CUDA_THREADS 256 /* a multiple of the warp that leaves registers for 8 blocks a processor */
static inline unsigned vr_cuda_blocks(int64_t n)
{
    const int64_t blocks = (n + VR_CUDA_THREADS - 1) / VR_CUDA_THREADS;
    return (unsigned)(blocks < 1 << 20 ? blocks : 1 << 20);
}

/* Threads for a row of D numbers: whole warps, no more than there is work for. */
static inline unsigned vr_cuda_row_threads(int64_t D)
{
    const int64_t warps = (D + 4 * VR_WARP - 1) / (4 * VR_WARP);
    return (unsigned)(VR_WARP * (warps < 1 ? 1 : warps > 8 ? 8 : warps));
}

/* for (i = element of this thread; i < n; ...) over the whole grid */
#define VR_EACH(i, n)                                                                                                          \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

/* Operations, one family per file; contracts in ops.h. */
void vr_cuda_linear(vr_backend *be, float *y, const float *x, const vr_matrix *w, const float *bias, vr_activation act,
                    const float *residual, int T);
void vr_cuda_attention(vr_backend *be, const vr_attention *a);
void vr_cuda_keep_rows(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H, int E);
void vr_cuda_layer_norm(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps);
void vr_cuda_rms_norm(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps);
void vr_cuda_l2_norm(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale);
void vr_cuda_gated(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n);
void vr_cuda_rope(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                  int H, int E);
void vr_cuda_add_rows(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b);
void vr_cuda_scale_add(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D);
void vr_cuda_mean_rows(vr_backend *be, float *y, const float *x, int N, int T, int D);
void vr_cuda_gather_rows(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D);
void vr_cuda_resize_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D);
void vr_cuda_add_neighbours(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                            int side, int D);
void vr_cuda_pool_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int N,
                       int D);
void vr_cuda_prune(vr_backend *be, const vr_prune *p);
void vr_cuda_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window);
void vr_cuda_gram(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D);
void vr_cuda_distances(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D);
void vr_cuda_mix_rows(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D);
void vr_cuda_top_k(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least);
void vr_cuda_best(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k);
void vr_cuda_copy_rows(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D);
void vr_cuda_embed_rows(vr_backend *be, float *y, const vr_matrix *w, const int32_t *ids, int T);
void vr_cuda_patches(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride);

/* strips.cu: products of quantised weights with up to VR_CUDA_FEW rows, rows rounded to bytes; and matrices made plain. */
#define VR_CUDA_FEW 8
struct vr_cuda_epilogue {
    const float *bias, *residual; /* [N], [T,N] of the device, or NULL */
    vr_activation act;
};
void vr_cuda_strips_few(vr_cuda *c, float *y, const float *x, const void *w, vr_dtype dtype, int T, int K, int N,
                        vr_cuda_epilogue end);
/* y[i] = number i % D of row ids[i / D], i < n */
void vr_cuda_strips_embed(vr_cuda *c, float *y, const void *w, vr_dtype dtype, const int32_t *ids, int D, int64_t n);
/* rows first .. first+n-1 of strips w (first a multiple of 16) -> y [n, K] */
template <typename Y> void vr_cuda_strips_widen(vr_cuda *c, Y *y, const void *w, vr_dtype dtype, int first, int n, int K);

static __device__ inline float vr_activate(float x, vr_activation act)
{
    switch (act) {
    case VR_ACT_NONE:
        return x;
    case VR_ACT_GELU:
        return 0.5f * x * erfcf(-x * 0.70710678118654752f); /* keeps the digits of small results */
    case VR_ACT_GELU_TANH:
        return x / (1.0f + expf(-1.59576912160573071f * (x + 0.044715f * x * x * x)));
    case VR_ACT_GELU_QUICK:
        return x / (1.0f + expf(-1.702f * x));
    case VR_ACT_SILU:
        return x / (1.0f + expf(-x));
    }
    return x;
}

#endif
