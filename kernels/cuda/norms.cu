/*
 * norms.cu - layer norm, RMS norm, length 1: one block a row, the row read twice from the nearest cache.
 *
 *   x [T,D] -> sum (and sum of squares about the mean) over the block -> y [T,D]
 *
 * Sums in f32: a thread adds every 32nd to 256th number, the block adds the threads' sums as a tree, so the rounding grows with
 * D/256 only.
 */
#include "kernels/cuda/cuda.h"

static __global__ void layer_norm(float *y, const float *x, const float *w, const float *b, int T, int D, float eps)
{
    VR_SHARED(float, room, VR_WARP);
    for (int t = (int)blockIdx.x; t < T; t += (int)gridDim.x) {
        const int64_t at = (int64_t)t * D;
        float sum = 0, squares = 0;
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) sum += x[at + d];
        const float mean = vr_block_sum(sum, (float *)room) / (float)D;
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) squares += (x[at + d] - mean) * (x[at + d] - mean);
        const float factor = 1.0f / sqrtf(vr_block_sum(squares, (float *)room) / (float)D + eps);
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) y[at + d] = (x[at + d] - mean) * factor * w[d] + b[d];
    }
}

static __device__ float squares_of(const float *x, int D, float *room)
{
    float sum = 0;
    for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) sum += x[d] * x[d];
    return vr_block_sum(sum, room);
}

static __global__ void rms_norm(float *y, const float *x, const float *w, int T, int D, float eps)
{
    VR_SHARED(float, room, VR_WARP);
    for (int t = (int)blockIdx.x; t < T; t += (int)gridDim.x) {
        const int64_t at = (int64_t)t * D;
        const float factor = 1.0f / sqrtf(squares_of(x + at, D, (float *)room) / (float)D + eps);
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) y[at + d] = x[at + d] * factor * w[d];
    }
}

static __global__ void l2_norm(float *y, const float *x, int T, int D, float eps, float scale)
{
    VR_SHARED(float, room, VR_WARP);
    for (int t = (int)blockIdx.x; t < T; t += (int)gridDim.x) {
        const int64_t at = (int64_t)t * D;
        const float norm = sqrtf(squares_of(x + at, D, (float *)room));
        const float factor = scale / (norm < eps ? eps : norm);
        for (int d = (int)threadIdx.x; d < D; d += (int)blockDim.x) y[at + d] = x[at + d] * factor;
    }
}

void vr_cuda_layer_norm(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || D == 0 || !vr_cuda_begin(c)) return;
    const float *from = vr_cuda_in(c, x, (int64_t)T * D);
    float *to = vr_cuda_out(c, y, (int64_t)T * D);
    w = vr_cuda_in(c, w, D), b = vr_cuda_in(c, b, D);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, layer_norm, (unsigned)T, vr_cuda_row_threads(D), 0, to, from, w, b, T, D, eps);
    vr_cuda_end(c);
}

void vr_cuda_rms_norm(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || D == 0 || !vr_cuda_begin(c)) return;
    const float *from = vr_cuda_in(c, x, (int64_t)T * D);
    float *to = vr_cuda_out(c, y, (int64_t)T * D);
    w = vr_cuda_in(c, w, D);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, rms_norm, (unsigned)T, vr_cuda_row_threads(D), 0, to, from, w, T, D, eps);
    vr_cuda_end(c);
}

void vr_cuda_l2_norm(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || D == 0 || !vr_cuda_begin(c)) return;
    const float *from = vr_cuda_in(c, x, (int64_t)T * D);
    float *to = vr_cuda_out(c, y, (int64_t)T * D);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, l2_norm, (unsigned)T, vr_cuda_row_threads(D), 0, to, from, T, D, eps, scale);
    vr_cuda_end(c);
}
