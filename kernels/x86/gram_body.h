/*
 * gram_body.h - Gram matrices of up to 16 long rows, for the vectors of a vec_*.h included before.
 *
 *   rows [n] x 256 columns -> widen -> block [256 / VF][16][VF], 16 KB -> tiles -> sums [16][16] vectors -> g
 *
 * The block is copied even from f32: rows lie a multiple of 4 KB apart, where 16 of them share the few places of the first-level cache.
 * Tiles of 4 x 4 products (avx2: 4 x 2, of 16 registers). Sums of a block stay in registers; their totals wait in the cache as vectors,
 * so lanes are added once a call, and squares, all of one sign, are rounded by blocks.
 * Traffic: the rows once. Work: n (n + 1) / 2 products a column; rows that do not exist count as zeros up to a multiple of 4.
 * Ref:   kernels/ref/prune_c.c; bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/x86/load_body.h"

#define ROWS    VR_DSP_GRAM
#define HEIGHT  4
#define WIDTH   (VF == 16 ? 4 : 2)
#define COLUMNS 256

typedef struct gram_work {
    float block[COLUMNS * ROWS];
    float sums[ROWS * ROWS * VF];
} gram_work;

VR_INLINE void fill_block(load_fn load, float *block, const void *const *rows, int n, int n_used, int64_t first, int columns)
{
    for (int r = 0; r < n_used; r++) {
        for (int d = 0; d < columns; d += VF) {
            const int part = columns - d < VF ? columns - d : VF;
            vf_store(block + (d / VF * ROWS + r) * VF, r < n ? load(rows[r], first + d, part) : vf_zero());
        }
    }
}

/* Rows i.. against rows j..; skew: j - i, HEIGHT where it is more, a constant where this is called. Products below the diagonal of g
 * are left out. */
VR_INLINE void gram_tile(float *sums, const float *block, int i, int j, int vectors, int skew)
{
    vf sum[HEIGHT][WIDTH];
    VR_UNROLL
    for (int k = 0; k < HEIGHT * WIDTH; k++) sum[k / WIDTH][k % WIDTH] = vf_zero();
    for (int v = 0; v < vectors; v++, block += ROWS * VF) {
        vf x[HEIGHT];
        VR_UNROLL
        for (int r = 0; r < HEIGHT; r++) x[r] = vf_load(block + (i + r) * VF);
        VR_UNROLL
        for (int c = 0; c < WIDTH; c++) {
            const vf y = vf_load(block + (j + c) * VF);
            VR_UNROLL
            for (int r = 0; r < HEIGHT; r++) {
                if (r <= skew + c) sum[r][c] = vf_fma(x[r], y, sum[r][c]);
            }
        }
    }
    VR_UNROLL
    for (int k = 0; k < HEIGHT * WIDTH; k++) {
        const int r = k / WIDTH, c = k % WIDTH;
        float *const total = sums + ((i + r) * ROWS + j + c) * VF;
        if (r <= skew + c) vf_store(total, vf_add(vf_load(total), sum[r][c]));
    }
}

static void gram_block(gram_work *w, int n_used, int vectors)
{
    for (int i = 0; i < n_used; i += HEIGHT) {
        gram_tile(w->sums, w->block, i, i, vectors, 0);
        if (WIDTH < HEIGHT) gram_tile(w->sums, w->block, i, i + WIDTH, vectors, WIDTH);
        for (int j = i + HEIGHT; j < n_used; j += WIDTH) gram_tile(w->sums, w->block, i, j, vectors, HEIGHT);
    }
}

VR_INLINE void gram(load_fn load, double *g, const void *const *rows, int n, int64_t first, int columns)
{
    gram_work w;
    const int n_used = (n + HEIGHT - 1) / HEIGHT * HEIGHT;
    for (int i = 0; i < n_used * ROWS * VF; i += VF) vf_store(w.sums + i, vf_zero());
    for (int d = 0; d < columns; d += COLUMNS) {
        const int part = columns - d < COLUMNS ? columns - d : COLUMNS;
        fill_block(load, w.block, rows, n, n_used, first + d, part);
        gram_block(&w, n_used, (part + VF - 1) / VF);
    }
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j++) g[i * ROWS + j] = (double)vf_sum(vf_load(w.sums + (i * ROWS + j) * VF));
    }
}

#define DEFINE_GRAM(dtype)                                                                                                     \
    void VR_LEVEL(vr_gram_##dtype)(double *g, const void *const *rows, int n, int64_t first, int columns)                      \
    {                                                                                                                          \
        gram(load_##dtype, g, rows, n, first, columns);                                                                        \
    }

DEFINE_GRAM(f32)
DEFINE_GRAM(f16)
DEFINE_GRAM(bf16)
