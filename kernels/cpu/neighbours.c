/*
 * neighbours.c - depthwise convolution 3 x 3 x 3 over frames of grids of rows, added to them.
 *
 *   x [T,side,side,D] -> a line of one grid: 64 channels at a time, 27 taps each -> y
 *
 * Ref:   ops.h add_neighbours; Ask-Anything video_chat/models/eva_vit.py:311-378 (Global_MHRA.dpe).
 */
#include "kernels/cpu/cpu.h"

#define CHANNELS 64 /* sums of a block stay in registers and the first-level cache */

typedef struct neighbours_job {
    float *y;
    const float *x, *w, *bias;
    int64_t batch;
    int T, side, D;
} neighbours_job;

/* sum[0..n) += what the neighbours at (t, r, c), dt, dr, dc away, are worth in the channels from `first` on */
static void add_taps(const neighbours_job *j, double *sum, int t, int r, int c, int first, int n)
{
    for (int k = 0; k < 27; k++) {
        const int at = t + k / 9 - 1, line = r + k / 3 % 3 - 1, column = c + k % 3 - 1;
        if (at < 0 || at >= j->T || line < 0 || line >= j->side || column < 0 || column >= j->side) continue;
        const float *x = j->x + at * j->batch + ((int64_t)line * j->side + column) * j->D + first;
        const float *w = j->w + (int64_t)k * j->D + first;
        for (int d = 0; d < n; d++) sum[d] += (double)w[d] * (double)x[d];
    }
}

/* One line of one grid. */
static void neighbours_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const neighbours_job *j = arg;
    const int t = tile / j->side, r = tile % j->side;
    for (int c = 0; c < j->side; c++) {
        const int64_t row = t * j->batch + ((int64_t)r * j->side + c) * j->D;
        for (int first = 0; first < j->D; first += CHANNELS) {
            const int n = vr_min_int(CHANNELS, j->D - first);
            double sum[CHANNELS] = { 0 };
            add_taps(j, sum, t, r, c, first, n);
            for (int d = 0; d < n; d++)
                j->y[row + first + d] = (float)((double)j->x[row + first + d] + (double)j->bias[first + d] + sum[d]);
        }
    }
}

void vr_cpu_add_neighbours(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                           int side, int D)
{
    assert(T >= 0 && side >= 0 && D >= 0);
    neighbours_job j = { y, x, w, bias, batch, T, side, D };
    vr_pool_run(vr_cpu_of(be)->pool, T * side, neighbours_tile, &j);
}
