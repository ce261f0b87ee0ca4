/*
 * ops_norm.c - operations on whole rows: norms, gated activations, rotary positions.
 *
 *   rows of x -> tiles of rows (threads) -> one dsp kernel per row
 */
#include "kernels/cpu/cpu.h"

#define TILE_FLOATS 32768 /* 128 KB: some 20 us */

typedef struct rows {
    const vr_dsp *d;
    float *y;
    const float *x, *w, *b;
    int T, D, per_tile;
    float eps, scale;
} rows;

/* Rows a tile, at least 1. */
static int rows_per_tile(int64_t floats_per_row)
{
    return floats_per_row >= TILE_FLOATS ? 1 : (int)(TILE_FLOATS / (floats_per_row > 0 ? floats_per_row : 1));
}

static void run(vr_backend *be, rows *r, vr_pool_tile *tile)
{
    assert(r->T >= 0 && r->D >= 0);
    if (r->D == 0) return;
    r->d = &vr_cpu_of(be)->dsp;
    r->per_tile = rows_per_tile(r->D);
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(r->T, r->per_tile), tile, r);
}

static void layer_norm_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const rows *r = arg;
    const int first = tile * r->per_tile, last = vr_min_int(r->T, first + r->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * r->D;
        r->d->layer_norm(r->y + at, r->x + at, r->w, r->b, r->D, r->eps);
    }
}

void vr_cpu_layer_norm(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps)
{
    rows r = { .y = y, .x = x, .w = w, .b = b, .T = T, .D = D, .eps = eps };
    run(be, &r, layer_norm_tile);
}

static void rms_norm_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const rows *r = arg;
    const int first = tile * r->per_tile, last = vr_min_int(r->T, first + r->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * r->D;
        r->d->rms_norm(r->y + at, r->x + at, r->w, r->D, r->eps);
    }
}

void vr_cpu_rms_norm(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps)
{
    rows r = { .y = y, .x = x, .w = w, .T = T, .D = D, .eps = eps };
    run(be, &r, rms_norm_tile);
}

static void l2_norm_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const rows *r = arg;
    const int first = tile * r->per_tile, last = vr_min_int(r->T, first + r->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * r->D;
        r->d->l2_norm(r->y + at, r->x + at, r->D, r->eps, r->scale);
    }
}

void vr_cpu_l2_norm(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale)
{
    rows r = { .y = y, .x = x, .T = T, .D = D, .eps = eps, .scale = scale };
    run(be, &r, l2_norm_tile);
}

typedef struct gated_job {
    const vr_dsp *d;
    float *y;
    const float *gate, *up;
    vr_activation act;
    int64_t n;
} gated_job;

static void gated_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const gated_job *j = arg;
    const int64_t first = (int64_t)tile * TILE_FLOATS, left = j->n - first;
    j->d->gated(j->y + first, j->gate + first, j->up + first, j->act, (int)(left < TILE_FLOATS ? left : TILE_FLOATS));
}

void vr_cpu_gated(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n)
{
    assert(n >= 0 && n / TILE_FLOATS < INT32_MAX);
    gated_job j = { .d = &vr_cpu_of(be)->dsp, .y = y, .gate = gate, .up = up, .act = act, .n = n };
    vr_pool_run(vr_cpu_of(be)->pool, (int)((n + TILE_FLOATS - 1) / TILE_FLOATS), gated_tile, &j);
}

typedef struct rope_job {
    const vr_dsp *d;
    float *x;
    int64_t row;
    const float *cosine, *sine;
    vr_rope_pairs pairs;
    int T, H, E, per_tile;
} rope_job;

static void rope_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const rope_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * (j->E / 2);
        for (int h = 0; h < j->H; h++) {
            j->d->rope(j->x + t * j->row + (int64_t)h * j->E, j->cosine + at, j->sine + at, j->pairs, j->E);
        }
    }
}

void vr_cpu_rope(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                 int H, int E)
{
    assert(T >= 0 && H >= 0 && E >= 0 && E % 2 == 0);
    rope_job j = { &vr_cpu_of(be)->dsp, x, row, cosine, sine, pairs, T, H, E, rows_per_tile((int64_t)H * E) };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), rope_tile, &j);
}
