/*
 * pool_grid.c - means of windows of grids of rows.
 *
 *   x [N, in_side, in_side, D] -> one line of one grid a tile, sums in double over runs of columns -> y [N, side, side, D]
 *
 * Ref:   torch AvgPool2d without padding, AdaptiveAvgPool2d; the windows of ops.h.
 */
#include "kernels/cpu/cpu.h"

#define COLUMNS 128 /* sums of a run stay in the first-level cache */

typedef struct pool_job {
    float *y;
    const float *x;
    int64_t x_batch;
    int side, in_side, D;
    bool adaptive;
} pool_job;

static void window(const pool_job *j, int i, int *first, int *end)
{
    const int step = j->in_side / j->side;
    *first = j->adaptive ? (int)((int64_t)i * j->in_side / j->side) : i * step;
    *end = j->adaptive ? (int)(((int64_t)(i + 1) * j->in_side + j->side - 1) / j->side) : (i + 1) * step;
}

static void pool_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const pool_job *j = arg;
    const float *grid = j->x + tile / j->side * j->x_batch;
    int top, bottom, left, right;
    window(j, tile % j->side, &top, &bottom);
    for (int c = 0; c < j->side; c++) {
        float *y = j->y + ((int64_t)tile * j->side + c) * j->D;
        window(j, c, &left, &right);
        const double share = 1.0 / (double)((bottom - top) * (right - left));
        for (int first = 0; first < j->D; first += COLUMNS) {
            const int n = vr_min_int(COLUMNS, j->D - first);
            double sum[COLUMNS] = { 0 };
            for (int r = top; r < bottom; r++) {
                for (int k = left; k < right; k++) {
                    const float *x = grid + ((int64_t)r * j->in_side + k) * j->D + first;
                    for (int d = 0; d < n; d++) sum[d] += (double)x[d];
                }
            }
            for (int d = 0; d < n; d++) y[first + d] = (float)(sum[d] * share);
        }
    }
}

void vr_cpu_pool_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int N,
                      int D)
{
    assert(N >= 0 && side >= 1 && in_side >= side && D >= 0);
    pool_job j = { y, x, x_batch, side, in_side, D, adaptive };
    vr_pool_run(vr_cpu_of(be)->pool, N * side, pool_tile, &j);
}
