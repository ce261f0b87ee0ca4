/*
 * prune_gpu.cu - similarity of every row to that of the first frame of its window, on a GPU: from the formula to kernels/cuda.
 *
 *   x [frames, N, D] bf16 -> s [frames, N]: cosine with row (first frame of the window, place); 1 for the first frames
 *
 * Teaching code: checked by tests/simt/ladder_test.cc, linked nowhere. S: bytes of x. What each step moves through memory:
 *   1 papers    as a library does it: norms to memory, rows of length 1 to memory in f32, products from there       S + 2S + 2S
 *   2 fused     one kernel, a thread a row: 2S (row and anchor); a warp's 32 loads are 32 lines, of which each gives 2 bytes at
 *               a time: the first-level cache is too small for 32 rows and reads most lines again
 *   3 lanes     a warp a row, lanes side by side: a load is one line of 64 bytes: 2S, the anchors mostly from the second level
 *   4 window    a warp a place of a window, frames one after the other: the anchor stays in the first level: S
 *   5 vectors   the same in loads of 16 bytes: S, an eighth of the instructions (kernels/cuda/prune.cu)
 */
#ifndef VR_LADDER_PRUNE_GPU
#define VR_LADDER_PRUNE_GPU

#include "kernels/cuda/device.h"

#define LADDER_THREADS 128

struct ladder_job {
    const vr_bf16 *x;
    float *s;
    int n_frames, N, D, window;
};

static __device__ float cosine_of(float ab, float aa, float bb)
{
    const float a = sqrtf(aa), b = sqrtf(bb);
    return ab / ((a < 1e-8f ? 1e-8f : a) * (b < 1e-8f ? 1e-8f : b));
}

/* 1: three launches, a thread a row */
static __global__ void papers_norms(ladder_job j, float *norm)
{
    const int row = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= j.n_frames * j.N) return;
    float sum = 0;
    for (int d = 0; d < j.D; d++) sum += vr_number(j.x, (int64_t)row * j.D + d) * vr_number(j.x, (int64_t)row * j.D + d);
    norm[row] = fmaxf(sqrtf(sum), 1e-8f);
}

static __global__ void papers_divide(ladder_job j, const float *norm, float *unit)
{
    const int row = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= j.n_frames * j.N) return;
    for (int d = 0; d < j.D; d++) unit[(int64_t)row * j.D + d] = vr_number(j.x, (int64_t)row * j.D + d) / norm[row];
}

static __global__ void papers_products(ladder_job j, const float *unit)
{
    const int row = (int)(blockIdx.x * blockDim.x + threadIdx.x), f = row / j.N;
    if (row >= j.n_frames * j.N) return;
    const int anchor = f / j.window * j.window * j.N + row % j.N;
    float sum = 0;
    for (int d = 0; d < j.D; d++) sum += unit[(int64_t)anchor * j.D + d] * unit[(int64_t)row * j.D + d];
    j.s[row] = sum;
}

/* 2 */
static __global__ void fused(ladder_job j)
{
    const int row = (int)(blockIdx.x * blockDim.x + threadIdx.x), f = row / j.N;
    if (row >= j.n_frames * j.N) return;
    const vr_bf16 *b = j.x + (int64_t)row * j.D, *a = j.x + ((int64_t)(f / j.window * j.window) * j.N + row % j.N) * j.D;
    float ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < j.D; d++) {
        const float u = vr_number(a, d), v = vr_number(b, d);
        ab += u * v, aa += u * u, bb += v * v;
    }
    j.s[row] = cosine_of(ab, aa, bb);
}

/* One warp: all lanes get the cosine of two rows. */
static __device__ float warp_cosine(const vr_bf16 *a, const vr_bf16 *b, int D)
{
    float ab = 0, aa = 0, bb = 0;
    for (int d = (int)threadIdx.x % VR_WARP; d < D; d += VR_WARP) {
        const float u = vr_number(a, d), v = vr_number(b, d);
        ab += u * v, aa += u * u, bb += v * v;
    }
    ab = vr_warp_sum(ab), aa = vr_warp_sum(aa), bb = vr_warp_sum(bb);
    return cosine_of(ab, aa, bb);
}

/* 3 */
static __global__ void lanes(ladder_job j)
{
    const int row = (int)((blockIdx.x * blockDim.x + threadIdx.x) / VR_WARP), f = row / j.N;
    if (row >= j.n_frames * j.N) return; /* a whole warp */
    const int64_t anchor = (int64_t)(f / j.window * j.window) * j.N + row % j.N;
    const float s = warp_cosine(j.x + anchor * j.D, j.x + (int64_t)row * j.D, j.D);
    if (threadIdx.x % VR_WARP == 0) j.s[row] = s;
}

/* 4 */
static __global__ void window_of(ladder_job j)
{
    const int task = (int)((blockIdx.x * blockDim.x + threadIdx.x) / VR_WARP), place = task % j.N,
              first = task / j.N * j.window;
    if (first >= j.n_frames) return;
    const int64_t anchor = (int64_t)first * j.N + place;
    for (int f = first; f < first + j.window && f < j.n_frames; f++) {
        const int64_t row = (int64_t)f * j.N + place;
        const float s = warp_cosine(j.x + anchor * j.D, j.x + row * j.D, j.D);
        if (threadIdx.x % VR_WARP == 0) j.s[row] = s;
    }
}

/* 5: D a multiple of 8, x of 16 bytes */
static __global__ void vectors(ladder_job j)
{
    const int task = (int)((blockIdx.x * blockDim.x + threadIdx.x) / VR_WARP), place = task % j.N,
              first = task / j.N * j.window;
    if (first >= j.n_frames) return;
    const uint4 *a = reinterpret_cast<const uint4 *>(j.x + ((int64_t)first * j.N + place) * j.D);
    for (int f = first; f < first + j.window && f < j.n_frames; f++) {
        const int64_t row = (int64_t)f * j.N + place;
        const uint4 *b = reinterpret_cast<const uint4 *>(j.x + row * j.D);
        float ab = 0, aa = 0, bb = 0;
        for (int d = (int)threadIdx.x % VR_WARP; d < j.D / 8; d += VR_WARP) {
            const uint4 p = a[d], q = b[d];
            const unsigned u[4] = { p.x, p.y, p.z, p.w }, v[4] = { q.x, q.y, q.z, q.w };
            for (int i = 0; i < 4; i++) {
                const float u0 = __uint_as_float(u[i] << 16), u1 = __uint_as_float(u[i] & 0xffff0000u);
                const float v0 = __uint_as_float(v[i] << 16), v1 = __uint_as_float(v[i] & 0xffff0000u);
                ab += u0 * v0 + u1 * v1, aa += u0 * u0 + u1 * u1, bb += v0 * v0 + v1 * v1;
            }
        }
        ab = vr_warp_sum(ab), aa = vr_warp_sum(aa), bb = vr_warp_sum(bb);
        if (threadIdx.x % VR_WARP == 0) j.s[row] = cosine_of(ab, aa, bb);
    }
}

#endif
