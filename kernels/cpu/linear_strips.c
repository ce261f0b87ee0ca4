/*
 * linear_strips.c - products with quantised weights (base/strips.h).
 *
 *   VR_GEMM_ROWS rows of x -> signed bytes in tiles of strip_rows rows, one scale a row, threads share them
 *     -> tasks (pairs of strips of W): a tile at a time -> strip kernel -> finish
 *
 * With one row the same code is the decoder's: W is read once, front to back, and nothing of it is unpacked to memory.
 * With many rows what a kernel needs is on its way before: rows of x (by the kernel), the rows of y of the next tile, and piece
 * by piece the two strips of W that this thread will probably take next. bench/LOG.md.
 * Ref:  kernels/quantised.h.
 * Trap: columns of the last strip that do not exist are computed, but never leave the buffer.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

enum { STRIPS = 2, PAIR_ROWS = STRIPS * VR_STRIP_ROWS, TASKS_A_THREAD = 8 };

typedef struct strips_job {
    const vr_product *p;
    vr_dsp_strip_fn *kernel;
    vr_quantised_rows rows;
    int first, n; /* rows of x */
    int pairs;    /* of strips, that a task takes */
} strips_job;

#define QUANTISE_ROWS 16 /* a tile of the first step */

static void quantise_task(void *arg, int task, int thread)
{
    (void)thread;
    const strips_job *j = arg;
    const vr_product *p = j->p;
    const vr_quantised_rows *x = &j->rows;
    const int end = vr_min_int(j->n, (task + 1) * QUANTISE_ROWS);
    for (int t = task * QUANTISE_ROWS; t < end; t++) {
        const int64_t place = vr_quantised_place(x, t);
        p->cpu->dsp.quantise(x->q + place * VR_STRIP_GROUP, x->sums + place, x->scale + t,
                             p->x + (int64_t)(j->first + t) * p->w->cols, p->w->cols, x->tile);
    }
}

#define LINE       64
#define MOST_LINES 64 /* fetched for a tile: with more, two strips and the next two take more than the second cache has */

/* The rows of y of the tile behind row t, columns column .. column + n - 1, into the first cache; of two strips at `strips`,
 * lines *at .. of each into the second: as many as lie ahead of a tile when all tiles share them. */
static void fetch(const strips_job *j, int t, int column, int n, const unsigned char *strips, size_t *at)
{
    const vr_product *p = j->p;
    const size_t strip_bytes = (size_t)j->rows.blocks * vr_strip_block_bytes(p->w->dtype), lines = strip_bytes / LINE;
    const size_t tiles = (size_t)vr_ceil_div(j->n, j->rows.tile), end = *at + (lines + tiles - 1) / tiles;
    for (int r = t + j->rows.tile; r < vr_min_int(t + 2 * j->rows.tile, j->n); r++) {
        const float *y = p->y + (int64_t)(j->first + r) * p->w->rows + column;
        __builtin_prefetch(y, 1, 3);
        __builtin_prefetch(y + n - 1, 1, 3);
    }
    if (!strips || end - *at > MOST_LINES / STRIPS) return;
    for (; *at < end && *at < lines; ++*at) {
        __builtin_prefetch(strips + *at * LINE, 0, 2);
        __builtin_prefetch(strips + strip_bytes + *at * LINE, 0, 2);
    }
}

static void pair_of_strips(const strips_job *j, int number)
{
    const vr_product *p = j->p;
    const int N = p->w->rows, column = number * PAIR_ROWS, n = vr_min_int(PAIR_ROWS, N - column);
    const size_t strip_bytes = (size_t)j->rows.blocks * vr_strip_block_bytes(p->w->dtype);
    const unsigned char *strip = (const unsigned char *)p->w->data + (size_t)(number * STRIPS) * strip_bytes;
    const int strips = vr_ceil_div(n, VR_STRIP_ROWS), together = j->n == 1 ? 1 : strips;
    const int next = number + vr_pool_threads(p->cpu->pool);
    const unsigned char *const coming =
        (next + 1) * PAIR_ROWS <= N ? strip + (size_t)(next - number) * STRIPS * strip_bytes : NULL;
    float sums[VR_STRIP_MAX_T * PAIR_ROWS];
    size_t fetched = 0;
    for (int t = 0; t < j->n; t += j->rows.tile) {
        const int rows = vr_min_int(j->rows.tile, j->n - t);
        if (j->n > VR_STRIP_T) fetch(j, t, column, n, coming, &fetched);
        for (int s = 0; s < strips; s += together) /* one row: one stream of weights */
            j->kernel(sums + s * VR_STRIP_ROWS, PAIR_ROWS, &j->rows, t, rows, strip + (size_t)s * strip_bytes, together);
        for (int r = 0; r < rows; r++) {
            const int64_t at = (int64_t)(j->first + t + r) * N + column;
            p->cpu->dsp.finish(p->y + at, sums + r * PAIR_ROWS, p->bias ? p->bias + column : NULL, p->act,
                               p->residual ? p->residual + at : NULL, n);
        }
    }
}

static void strips_task(void *arg, int task, int thread)
{
    (void)thread;
    const strips_job *j = arg;
    const int end = vr_min_int((task + 1) * j->pairs, vr_ceil_div(j->p->w->rows, PAIR_ROWS));
    for (int i = task * j->pairs; i < end; i++) pair_of_strips(j, i);
}

/* One row: tasks are few and long, because a stream of weights that begins anew first waits for the memory. */
static int pairs_of_a_task(const strips_job *j)
{
    const int pairs = vr_ceil_div(j->p->w->rows, PAIR_ROWS), tasks = TASKS_A_THREAD * vr_pool_threads(j->p->cpu->pool);
    return j->n == 1 ? vr_ceil_div(pairs, tasks) : 1;
}

void vr_linear_strips(const vr_product *p)
{
    const int blocks = vr_strip_blocks(p->w->cols), most = vr_min_int(p->T, VR_GEMM_ROWS);
    const size_t n = (size_t)(most + p->cpu->dsp.strip_rows), groups = (size_t)blocks * 2; /* a last tile may be short */
    strips_job j = { .p = p, .rows.blocks = blocks, .kernel = vr_dsp_strip(&p->cpu->dsp, p->w->dtype) };
    unsigned char *memory = vr_cpu_rows(p->cpu, n * (groups * (VR_STRIP_GROUP + sizeof(int32_t)) + sizeof(float)));
    if (!memory) return;
    j.rows.q = (int8_t *)memory; /* rows of a multiple of 64 bytes: what follows is aligned */
    j.rows.sums = (int32_t *)(void *)(memory + n * groups * VR_STRIP_GROUP);
    j.rows.scale = (float *)(void *)(j.rows.sums + n * groups);
    for (j.first = 0; j.first < p->T; j.first += VR_GEMM_ROWS) {
        j.n = vr_min_int(VR_GEMM_ROWS, p->T - j.first);
        j.rows.tile = vr_min_int(j.n, p->cpu->dsp.strip_rows);
        vr_pool_run(p->cpu->pool, vr_ceil_div(j.n, QUANTISE_ROWS), quantise_task, &j);
        j.pairs = pairs_of_a_task(&j);
        vr_pool_run(p->cpu->pool, vr_ceil_div(p->w->rows, PAIR_ROWS * j.pairs), strips_task, &j);
    }
}

void vr_strips_panel(float *panel, const vr_dsp *d, const vr_matrix *w, int column, int n, int k, int depth)
{
    const int step = vr_min_int(VR_STRIP_ROWS, d->tile_cols);
    for (int c = 0; c < d->tile_cols; c += step) {
        const int row = (column + c) % VR_STRIP_ROWS;
        if (c < n) {
            const size_t strip = vr_strips_bytes(w->dtype, column + c - row, w->cols);
            d->pack_strip(panel + c, (const unsigned char *)w->data + strip, w->dtype, row, k, depth);
            continue;
        }
        for (int i = 0; i < depth; i++) memset(panel + (ptrdiff_t)i * d->tile_cols + c, 0, (size_t)step * sizeof *panel);
    }
}
