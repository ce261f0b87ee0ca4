/*
 * gram_body.h - Gram matrices of up to 16 long rows with 32 registers, for the vectors of a vec_*.h included before.
 *
 *   rows [n] x 1 KB -> block [vectors][16 rows], 16 KB -> tiles of 4 x 4 products -> sums [16][16] vectors -> g
 *
 * The block is a copy because rows lie a multiple of 4 KB apart, where 16 of them share the few places of the first-level
 * cache; it holds numbers as they are stored, which are widened on the way into a product. The block after the next is asked
 * for during the products of this one: a block takes longer than the processor looks ahead. Sums of a block stay in registers;
 * their totals wait in the cache as vectors, so lanes are added once a call, and squares, all of one sign, are rounded by
 * blocks. gram_avx2.c has tiles for 16 registers.
 * Traffic: the rows once. Work: n (n + 1) / 2 products a column; rows that do not exist count as zeros up to a multiple of 4.
 * Ref:   kernels/ref/prune_c.c; bench/LOG.md.
 */
#include <stdbool.h>
#include <string.h>

#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"

#define ROWS    VR_DSP_GRAM
#define SIDE    4 /* of a tile */
#define BYTES   (VF * 4)
#define VECTORS (1024 / BYTES) /* of a row in a block */

typedef struct gram_work {
    _Alignas(64) unsigned char block[VECTORS * ROWS * BYTES];
    _Alignas(64) float sums[ROWS * ROWS * VF];
    const unsigned char *ahead[ROWS]; /* two blocks ahead; for rows that do not exist something near */
} gram_work;

/* Part h of the numbers of one stored vector, as f32. */
typedef vf part_fn(const unsigned char *vector, int h);
typedef vf product_fn(vf x, vf y, vf sum);

VR_INLINE vf part_f32(const unsigned char *vector, int h)
{
    (void)h;
    return vf_load((const float *)(const void *)vector);
}

VR_INLINE vf part_f16(const unsigned char *vector, int h)
{
    return vf_load_f16((const uint16_t *)(const void *)vector + h * VF);
}

/* Even numbers, odd numbers. */
VR_INLINE vf part_bf16(const unsigned char *vector, int h)
{
    const uint16_t *p = (const uint16_t *)(const void *)vector;
    return h == 0 ? vf_load_bf16_even(p) : vf_load_bf16_odd(p);
}

VR_INLINE void fill_block(gram_work *w, const void *const *rows, int n, int n_used, size_t first, size_t n_bytes)
{
    const size_t whole = n_bytes / BYTES, rest = n_bytes % BYTES;
    for (int r = 0; r < n_used; r++) {
        const unsigned char *x = (const unsigned char *)rows[r < n ? r : 0] + first;
        unsigned char *y = w->block + r * BYTES;
        if (r >= n) {
            for (int v = 0; v < VECTORS; v++) memset(y + v * ROWS * BYTES, 0, BYTES);
            continue;
        }
        w->ahead[r] = x + 2 * n_bytes;
        for (size_t v = 0; v < whole; v++)
            vf_store((float *)(void *)(y + v * ROWS * BYTES), vf_load((const float *)(const void *)(x + v * BYTES)));
        if (rest == 0) continue;
        memcpy(y + whole * ROWS * BYTES, x + whole * BYTES, rest);
        memset(y + whole * ROWS * BYTES + rest, 0, BYTES - rest);
    }
}

/* Rows i.. against rows j..; diagonal: i = j, products below it are left out. parts and diagonal are constants where this is
 * called. tile: number of the tile; the first eight ask for two rows each of the block after the next. */
VR_INLINE void gram_tile(part_fn part, product_fn product, int parts, gram_work *w, int i, int j, int vectors, bool diagonal,
                         int tile)
{
    vf sum[SIDE][SIDE];
    VR_UNROLL
    for (int k = 0; k < SIDE * SIDE; k++) sum[k / SIDE][k % SIDE] = vf_zero();
    const unsigned char *block = w->block, *one = w->ahead[2 * tile % ROWS], *two = w->ahead[(2 * tile + 1) % ROWS];
    for (int v = 0; v < vectors; v++, block += ROWS * BYTES) {
        __builtin_prefetch(one + v * BYTES, 0, 2);
        __builtin_prefetch(two + v * BYTES, 0, 2);
        VR_UNROLL
        for (int h = 0; h < parts; h++) {
            vf x[SIDE];
            VR_UNROLL
            for (int r = 0; r < SIDE; r++) x[r] = part(block + (i + r) * BYTES, h);
            VR_UNROLL
            for (int c = 0; c < SIDE; c++) {
                const vf y = diagonal ? x[c] : part(block + (j + c) * BYTES, h);
                VR_UNROLL
                for (int r = 0; r < SIDE; r++) {
                    if (!diagonal || r <= c) sum[r][c] = product(x[r], y, sum[r][c]);
                }
            }
        }
    }
    VR_UNROLL
    for (int k = 0; k < SIDE * SIDE; k++) {
        const int r = k / SIDE, c = k % SIDE;
        float *const total = w->sums + ((i + r) * ROWS + j + c) * VF;
        if (!diagonal || r <= c) vf_store(total, vf_add(vf_load(total), sum[r][c]));
    }
}

VR_INLINE void gram_block(part_fn part, product_fn product, int parts, gram_work *w, int n_used, int vectors)
{
    int tile = 0;
    for (int i = 0; i < n_used; i += SIDE) {
        gram_tile(part, product, parts, w, i, i, vectors, true, tile++);
        for (int j = i + SIDE; j < n_used; j += SIDE) gram_tile(part, product, parts, w, i, j, vectors, false, tile++);
    }
}

/* parts: vectors of f32 in a stored vector; size: bytes of a number. */
VR_INLINE void gram(part_fn part, product_fn product, int parts, size_t size, double *g, const void *const *rows, int n,
                    int64_t first, int columns)
{
    gram_work w;
    const int n_used = (n + SIDE - 1) / SIDE * SIDE;
    const size_t end = (size_t)columns * size, step = VECTORS * BYTES;
    for (int i = 0; i < ROWS; i++) w.ahead[i] = w.block;
    for (int i = 0; i < n_used * ROWS * VF; i += VF) vf_store(w.sums + i, vf_zero());
    for (size_t at = 0; at < end; at += step) {
        const size_t n_bytes = end - at < step ? end - at : step;
        fill_block(&w, rows, n, n_used, (size_t)first * size + at, n_bytes);
        gram_block(part, product, parts, &w, n_used, (int)((n_bytes + BYTES - 1) / BYTES));
    }
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j++) g[i * ROWS + j] = (double)vf_sum(vf_load(w.sums + (i * ROWS + j) * VF));
    }
}

#define DEFINE_GRAM(dtype, parts, type)                                                                                        \
    void VR_LEVEL(vr_gram_##dtype)(double *g, const void *const *rows, int n, int64_t first, int columns)                      \
    {                                                                                                                          \
        gram(part_##dtype, vf_fma, parts, sizeof(type), g, rows, n, first, columns);                                           \
    }
