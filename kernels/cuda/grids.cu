/*
 * grids.cu - grids of rows: bilinear, means of windows, neighbours in three directions. One thread a number of the result.
 */
#include "kernels/cuda/cuda.h"

/* The two lines that make line i, and the share of the second; f32 as torch computes it. */
static __device__ void taps(int i, int side, int in_side, int *first, int *second, float *share)
{
    const float scale = (float)in_side / (float)side;
    float u = scale * ((float)i + 0.5f) - 0.5f;
    if (u < 0) u = 0;
    *first = (int)u < in_side - 1 ? (int)u : in_side - 1;
    *second = *first + 1 < in_side ? *first + 1 : in_side - 1;
    *share = u - (float)*first;
}

static __global__ void resize_grid(float *y, int side, const float *x, int64_t x_batch, int in_side, int D, int64_t n)
{
    VR_EACH(i, n)
    {
        const int d = (int)(i % D), column = (int)(i / D % side), line = (int)(i / D / side % side);
        const float *grid = x + i / D / side / side * x_batch + d;
        int top, bottom, left, right;
        float v, h;
        taps(line, side, in_side, &top, &bottom, &v);
        taps(column, side, in_side, &left, &right, &h);
        const float a = grid[((int64_t)top * in_side + left) * D], b = grid[((int64_t)top * in_side + right) * D];
        const float p = grid[((int64_t)bottom * in_side + left) * D], q = grid[((int64_t)bottom * in_side + right) * D];
        y[i] = (1 - v) * ((1 - h) * a + h * b) + v * ((1 - h) * p + h * q);
    }
}

void vr_cuda_resize_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)N * side * side * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (N - 1) * x_batch + (int64_t)in_side * in_side * D), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, resize_grid, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, side, x, x_batch, in_side, D, n);
    vr_cuda_end(c);
}

static __device__ void window(int i, int side, int in_side, bool adaptive, int *first, int *end)
{
    const int step = in_side / side;
    *first = adaptive ? (int)((int64_t)i * in_side / side) : i * step;
    *end = adaptive ? (int)(((int64_t)(i + 1) * in_side + side - 1) / side) : (i + 1) * step;
}

static __global__ void pool_grid(float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int D,
                                 int64_t n)
{
    VR_EACH(i, n)
    {
        const int d = (int)(i % D), column = (int)(i / D % side), line = (int)(i / D / side % side);
        const float *grid = x + i / D / side / side * x_batch + d;
        int top, bottom, left, right;
        window(line, side, in_side, adaptive, &top, &bottom);
        window(column, side, in_side, adaptive, &left, &right);
        double sum = 0;
        for (int r = top; r < bottom; r++)
            for (int k = left; k < right; k++) sum += (double)grid[((int64_t)r * in_side + k) * D];
        y[i] = (float)(sum * (1.0 / (double)((bottom - top) * (right - left))));
    }
}

void vr_cuda_pool_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int N,
                       int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)N * side * side * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (N - 1) * x_batch + (int64_t)in_side * in_side * D), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c))
        VR_LAUNCH(c, pool_grid, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, side, x, x_batch, in_side, adaptive, D, n);
    vr_cuda_end(c);
}

static __global__ void add_neighbours(float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                                      int side, int D, int64_t n)
{
    VR_EACH(i, n)
    {
        const int d = (int)(i % D), column = (int)(i / D % side), line = (int)(i / D / side % side);
        const int t = (int)(i / D / side / side);
        double sum = 0;
        for (int k = 0; k < 27; k++) {
            const int at = t + k / 9 - 1, r = line + k / 3 % 3 - 1, s = column + k % 3 - 1;
            if (at < 0 || at >= T || r < 0 || r >= side || s < 0 || s >= side) continue;
            sum += (double)w[(int64_t)k * D + d] * (double)x[at * batch + ((int64_t)r * side + s) * D + d];
        }
        const int64_t here = t * batch + ((int64_t)line * side + column) * D + d;
        y[here] = (float)((double)x[here] + (double)bias[d] + sum);
    }
}

void vr_cuda_add_neighbours(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                            int side, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t grid = (int64_t)side * side * D, n = T * grid;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (T - 1) * batch + grid), y = vr_cuda_out(c, y, (T - 1) * batch + grid);
    w = vr_cuda_in(c, w, 27 * (int64_t)D), bias = vr_cuda_in(c, bias, D);
    if (vr_cuda_ready(c))
        VR_LAUNCH(c, add_neighbours, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, x, batch, w, bias, T, side, D, n);
    vr_cuda_end(c);
}
