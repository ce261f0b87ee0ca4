/*
 * ops_grid.c - operations on grids of rows: layer scale, mean, gather, bilinear resize.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

#define TILE_FLOATS 65536 /* 256 KB moved a tile: some 20 us */

static int rows_per_tile(int D)
{
    return D >= TILE_FLOATS ? 1 : TILE_FLOATS / (D > 0 ? D : 1);
}

typedef struct scale_job {
    float *y;
    const float *residual, *x, *scale;
    int T, D, per_tile;
} scale_job;

static void scale_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const scale_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * j->D;
        for (int d = 0; d < j->D; d++) j->y[at + d] = j->residual[at + d] + j->scale[d] * j->x[at + d];
    }
}

void vr_cpu_scale_add(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D)
{
    assert(T >= 0 && D >= 0);
    scale_job j = { y, residual, x, scale, T, D, rows_per_tile(D) };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), scale_tile, &j);
}

typedef struct mean_job {
    float *y;
    const float *x;
    int T, D;
} mean_job;

#define MEAN_COLUMNS 64 /* sums of a block stay in registers and the first-level cache */

static void mean_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const mean_job *j = arg;
    const float *x = j->x + (int64_t)tile * j->T * j->D;
    float *y = j->y + (int64_t)tile * j->D;
    for (int first = 0; first < j->D; first += MEAN_COLUMNS) {
        const int n = vr_min_int(MEAN_COLUMNS, j->D - first);
        double sum[MEAN_COLUMNS] = { 0 };
        for (int t = 0; t < j->T; t++)
            for (int d = 0; d < n; d++) sum[d] += (double)x[(int64_t)t * j->D + first + d];
        for (int d = 0; d < n; d++) y[first + d] = (float)(sum[d] / j->T);
    }
}

void vr_cpu_mean_rows(vr_backend *be, float *y, const float *x, int N, int T, int D)
{
    assert(N >= 0 && T >= 1 && D >= 0);
    mean_job j = { y, x, T, D };
    vr_pool_run(vr_cpu_of(be)->pool, N, mean_tile, &j);
}

typedef struct gather_job {
    const vr_dsp *d;
    float *y;
    const float *x;
    const int32_t *ids;
    int T, D, per_tile;
    bool stream;
} gather_job;

static void gather_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const gather_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    if (j->stream) {
        j->d->gather(j->y + (int64_t)first * j->D, j->x, j->ids + first, last - first, (size_t)j->D * sizeof(float));
        return;
    }
    for (int t = first; t < last; t++)
        memcpy(j->y + (int64_t)t * j->D, j->x + (int64_t)j->ids[t] * j->D, (size_t)j->D * sizeof(float));
}

void vr_cpu_gather_rows(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D)
{
    assert(T >= 0 && D >= 0);
    if (D == 0) return;
    gather_job j = { .d = &vr_cpu_of(be)->dsp, .y = y, .x = x, .ids = ids, .T = T, .D = D, .per_tile = rows_per_tile(D) };
    j.stream = (int64_t)T * D * (int64_t)sizeof(float) >= VR_STREAM_BYTES;
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), gather_tile, &j);
}

typedef struct resize_job {
    float *y;
    const float *x;
    int64_t x_batch;
    int side, in_side, D;
} resize_job;

/* The two rows that make row i, and the share of the second; f32 as torch computes it. */
static void taps(int i, int side, int in_side, int *first, int *second, float *share)
{
    const float scale = (float)in_side / (float)side;
    float u = scale * ((float)i + 0.5f) - 0.5f;
    if (u < 0) u = 0;
    *first = vr_min_int((int)u, in_side - 1);
    *second = vr_min_int(*first + 1, in_side - 1);
    *share = u - (float)*first;
}

/* One line of one grid. */
static void resize_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const resize_job *j = arg;
    const int n = tile / j->side, r = tile % j->side, D = j->D;
    const float *x = j->x + n * j->x_batch;
    int top, bottom, left, right;
    float v, h;
    taps(r, j->side, j->in_side, &top, &bottom, &v);
    for (int c = 0; c < j->side; c++) {
        taps(c, j->side, j->in_side, &left, &right, &h);
        float *y = j->y + ((int64_t)tile * j->side + c) * D;
        const float *a = x + ((int64_t)top * j->in_side + left) * D, *b = x + ((int64_t)top * j->in_side + right) * D;
        const float *p = x + ((int64_t)bottom * j->in_side + left) * D, *q = x + ((int64_t)bottom * j->in_side + right) * D;
        for (int d = 0; d < D; d++) y[d] = (1 - v) * ((1 - h) * a[d] + h * b[d]) + v * ((1 - h) * p[d] + h * q[d]);
    }
}

void vr_cpu_resize_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D)
{
    assert(N >= 0 && side >= 1 && in_side >= 1 && D >= 0);
    resize_job j = { y, x, x_batch, side, in_side, D };
    vr_pool_run(vr_cpu_of(be)->pool, N * side, resize_tile, &j);
}
