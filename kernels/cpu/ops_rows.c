/*
 * ops_rows.c - operations that move rows: add, copy, keep, embed, patches. All EXACT.
 *
 *   patches: image [C, height, width] -> rows [py*cols + px, (c*side + i)*side + j]: runs of side floats in both
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

#define TILE_FLOATS 65536 /* 256 KB moved a tile: some 20 us */

static int rows_per_tile(int D)
{
    return D >= TILE_FLOATS ? 1 : TILE_FLOATS / (D > 0 ? D : 1);
}

typedef struct add_job {
    const vr_dsp *d;
    float *y;
    const float *x, *b;
    int T, D, repeat, n_b, per_tile;
} add_job;

static void add_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const add_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int t = first; t < last; t++) {
        const int64_t at = (int64_t)t * j->D;
        j->d->add(j->y + at, j->x + at, j->b + (int64_t)(t / j->repeat % j->n_b) * j->D, j->D);
    }
}

void vr_cpu_add_rows(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b)
{
    assert(T >= 0 && D >= 0 && (T == 0 || (repeat >= 1 && n_b >= 1)));
    add_job j = { &vr_cpu_of(be)->dsp, y, x, b, T, D, repeat, n_b, rows_per_tile(D) };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), add_tile, &j);
}

typedef struct copy_job {
    float *y;
    const float *x;
    int64_t y_row, x_row;
    int T, D, per_tile;
} copy_job;

static void copy_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const copy_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int t = first; t < last; t++) memcpy(j->y + t * j->y_row, j->x + t * j->x_row, (size_t)j->D * sizeof(float));
}

void vr_cpu_copy_rows(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D)
{
    assert(T >= 0 && D >= 0);
    if (D == 0) return;
    copy_job j = { y, x, y_row, x_row, T, D, rows_per_tile(D) };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), copy_tile, &j);
}

typedef struct keep_job {
    vr_dsp_keep_fn *keep; /* NULL: F32 */
    size_t element;
    unsigned char *y;
    int64_t row, head;
    const float *x;
    int T, H, E, per_tile;
} keep_job;

static void keep_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const keep_job *j = arg;
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int64_t i = (int64_t)first * j->H; i < (int64_t)last * j->H; i++) {
        void *const y = j->y + (size_t)(i / j->H * j->row + i % j->H * j->head) * j->element;
        const float *const x = j->x + i * j->E;
        if (j->keep)
            j->keep(y, x, j->E);
        else
            memcpy(y, x, (size_t)j->E * sizeof *x);
    }
}

void vr_cpu_keep_rows(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H, int E)
{
    assert(T >= 0 && H >= 0 && E >= 0 && type < VR_KEPTS);
    if (H == 0 || E == 0) return;
    keep_job j = { .keep = vr_cpu_of(be)->dsp.kept[type].keep, .element = vr_kept_bytes(type), .y = y, .row = row, .head = head };
    j.x = x, j.T = T, j.H = H, j.E = E, j.per_tile = rows_per_tile(H * E);
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), keep_tile, &j);
}

typedef struct embed_job {
    const vr_dsp *d;
    float *y;
    const vr_matrix *w;
    const int32_t *ids;
    int T, per_tile;
} embed_job;

static void embed_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const embed_job *j = arg;
    const size_t D = (size_t)j->w->cols, element = vr_dtype_bytes(j->w->dtype);
    const int first = tile * j->per_tile, last = vr_min_int(j->T, first + j->per_tile);
    for (int t = first; t < last; t++) {
        assert(j->ids[t] >= 0 && j->ids[t] < j->w->rows);
        if (vr_is_strips(j->w->dtype)) {
            const vr_matrix strip = vr_matrix_rows(j->w, j->ids[t] / VR_STRIP_ROWS * VR_STRIP_ROWS, 0);
            vr_strip_widen(j->y + (size_t)t * D, strip.data, j->w->dtype, j->ids[t] % VR_STRIP_ROWS, 0, j->w->cols);
            continue;
        }
        const unsigned char *row = (const unsigned char *)j->w->data + (size_t)j->ids[t] * D * element;
        j->d->widen[vr_dsp_dtype(j->w->dtype)](j->y + (size_t)t * D, row, j->w->cols);
    }
}

void vr_cpu_embed_rows(vr_backend *be, float *y, const vr_matrix *w, const int32_t *ids, int T)
{
    assert(T >= 0);
    embed_job j = { &vr_cpu_of(be)->dsp, y, w, ids, T, rows_per_tile(w->cols) };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, j.per_tile), embed_tile, &j);
}

typedef struct patch_job {
    float *y;
    const float *x;
    int C, height, width, side, stride, rows, cols;
} patch_job;

/* One row of patches of one image. */
static void patch_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const patch_job *j = arg;
    const int image = tile / j->rows, py = tile % j->rows;
    const int64_t patch = (int64_t)j->C * j->side * j->side, plane = (int64_t)j->height * j->width;
    for (int px = 0; px < j->cols; px++) {
        float *y = j->y + (((int64_t)image * j->rows + py) * j->cols + px) * patch;
        for (int c = 0; c < j->C; c++) {
            const float *x =
                j->x + ((int64_t)image * j->C + c) * plane + (int64_t)py * j->stride * j->width + (int64_t)px * j->stride;
            for (int i = 0; i < j->side; i++, y += j->side)
                memcpy(y, x + (int64_t)i * j->width, (size_t)j->side * sizeof(float));
        }
    }
}

void vr_cpu_patches(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride)
{
    assert(N >= 0 && C >= 0 && side >= 1 && stride >= 1 && height >= side && width >= side);
    patch_job j = { .y = y, .x = x, .C = C, .height = height, .width = width, .side = side, .stride = stride };
    j.rows = (height - side) / stride + 1;
    j.cols = (width - side) / stride + 1;
    assert((int64_t)N * j.rows < INT32_MAX);
    vr_pool_run(vr_cpu_of(be)->pool, N * j.rows, patch_tile, &j);
}
