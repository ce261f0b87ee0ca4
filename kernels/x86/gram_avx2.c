/*
 * gram_avx2.c - Gram matrices of up to 16 long rows with AVX2.
 *
 *   rows [n] x 128 columns -> widen -> block [16 vectors][16 rows], 8 KB -> tiles of products -> sums [16][16] vectors -> g
 *                                      while the first eight tiles of a block fill the other one, two rows each
 *
 * As gram_body.h, but for sixteen registers: rows are taken in threes and a last four, so that every tile has nine sums or ten
 * (eight are needed to keep two units of latency four busy) and computes nothing twice:
 *
 *   rows 0-2:  columns 0-3 (the half on and above the diagonal), 4-6, 7-9, 10-12, 13-15
 *   rows 3-5:  columns 3-6 (half), 7-9, ...      rows 12-15:  columns 12-15 (half)
 *
 * Numbers are widened into the block, once; on the way into a product they would be widened five times. Widening takes a
 * quarter of the time of the products where it stands alone, and nothing between them: it uses other units. Only 16 rows are
 * worth that; fewer, and the last blocks, are filled before their products.
 * Ref:   kernels/ref/prune_c.c; bench/LOG.md.
 */
#if defined(__x86_64__)
#include <stdbool.h>
#include <string.h>

#include "kernels/x86/vec_avx2.h"

#include "kernels/dsp.h"
#include "kernels/vec/pair_body.h"

#define ROWS    VR_DSP_GRAM
#define VECTORS 16 /* of a row in a block; even */
#define COLUMNS (VECTORS * VF)
#define AHEAD   4 /* blocks from the one being filled to the one being fetched into the second-level cache */

typedef struct gram_work {
    _Alignas(64) float block[2][VECTORS * ROWS * VF];
    _Alignas(64) float sums[ROWS * ROWS * VF];
} gram_work;

/* Products of one block. */
typedef struct gram_step {
    const float *block;
    float *sums, *next;      /* next: the block that is filled meanwhile */
    const void *const *rows; /* its numbers: COLUMNS from next_first */
    int64_t next_first;
} gram_step;

/* Columns that do not exist are zeros up to an even number of vectors. */
VR_INLINE void fill_block(pair_fn pair, load_fn load, float *block, const void *const *rows, int n, int64_t first, int columns)
{
    for (int r = 0; r < n; r++) {
        float *y = block + r * VF;
        int d = 0;
        for (; d <= columns - 2 * VF; d += 2 * VF, y += 2 * ROWS * VF) {
            vf two[2];
            pair(two, rows[r], first + d);
            vf_store(y, two[0]);
            vf_store(y + ROWS * VF, two[1]);
        }
        if (d < columns) vf_store(y + ROWS * VF, vf_zero());
        for (; d < columns; d += VF, y += ROWS * VF) vf_store(y, load(rows[r], first + d, columns - d < VF ? columns - d : VF));
    }
}

/* A vector of rows x against one of rows y. */
VR_INLINE void products(vf sum[4][4], const float *x, const float *y, int height, int width, bool diagonal)
{
    vf a[4];
    VR_UNROLL
    for (int r = 0; r < height; r++) a[r] = vf_load(x + r * VF);
    VR_UNROLL
    for (int c = 0; c < width; c++) {
        const vf b = diagonal && c < height ? a[c] : vf_load(y + c * VF);
        VR_UNROLL
        for (int r = 0; r < height; r++) {
            if (!diagonal || r <= c) sum[r][c] = vf_fma(a[r], b, sum[r][c]);
        }
    }
}

/* Two vectors of a row into the next block. */
VR_INLINE void fill_pair(pair_fn pair, size_t size, float *to, const unsigned char *from)
{
    vf two[2];
    _mm_prefetch((const char *)from + AHEAD * COLUMNS * size, _MM_HINT_T1);
    pair(two, from, 0);
    vf_store(to, two[0]);
    vf_store(to + ROWS * VF, two[1]);
}

/* Rows i.. (height) against rows j.. (width); diagonal: i = j, products below it are left out; fills: the rows of the next
 * block that belong to this tile. All but i, j, vectors (even) and the number of the tile are constants where this is called. */
VR_INLINE void gram_tile(pair_fn pair, size_t size, const gram_step *s, int i, int j, int height, int width, bool diagonal,
                         bool fills, int vectors, int tile)
{
    vf sum[4][4];
    VR_UNROLL
    for (int k = 0; k < height * width; k++) sum[k / width][k % width] = vf_zero();
    const float *x = s->block + i * VF, *y = s->block + j * VF;
    const unsigned char *one = NULL, *two = NULL;
    float *to = NULL;
    if (fills) {
        one = (const unsigned char *)s->rows[2 * tile] + (size_t)s->next_first * size;
        two = (const unsigned char *)s->rows[2 * tile + 1] + (size_t)s->next_first * size;
        to = s->next + 2 * tile * VF;
    }
    for (int v = 0; v < vectors; v += 2, x += 2 * ROWS * VF, y += 2 * ROWS * VF) {
        if (fills) {
            fill_pair(pair, size, to, one);
            fill_pair(pair, size, to + VF, two);
            one += 2 * VF * size, two += 2 * VF * size, to += 2 * ROWS * VF;
        }
        products(sum, x, y, height, width, diagonal);
        products(sum, x + ROWS * VF, y + ROWS * VF, height, width, diagonal);
    }
    float *const total = s->sums + (i * ROWS + j) * VF;
    VR_UNROLL
    for (int k = 0; k < height * width; k++) {
        const int r = k / width, c = k % width;
        float *const at = total + (r * ROWS + c) * VF;
        if (!diagonal || r <= c) vf_store(at, vf_add(vf_load(at), sum[r][c]));
    }
}

/* n_used: 4, 7, 10, 13 or 16; fills is a constant where this is called, and means 16 rows and a whole block. */
VR_INLINE void gram_block(pair_fn pair, size_t size, const gram_step *s, bool fills, int n_used, int vectors)
{
    int tile = 0, i = 0;
    for (; i < n_used - 4; i += 3) {
        if (fills && tile < ROWS / 2)
            gram_tile(pair, size, s, i, i, 3, 4, true, true, vectors, tile++);
        else
            gram_tile(pair, size, s, i, i, 3, 4, true, false, vectors, tile++);
        for (int j = i + 4; j < n_used; j += 3) {
            if (fills && tile < ROWS / 2)
                gram_tile(pair, size, s, i, j, 3, 3, false, true, vectors, tile++);
            else
                gram_tile(pair, size, s, i, j, 3, 3, false, false, vectors, tile++);
        }
    }
    gram_tile(pair, size, s, i, i, 4, 4, true, false, vectors, tile);
}

VR_INLINE void gram(pair_fn pair, load_fn load, size_t size, double *g, const void *const *rows, int n, int64_t first,
                    int columns)
{
    gram_work w;
    const int n_used = n <= 4 ? 4 : (n + 1) / 3 * 3 + 1;
    bool filled = false;
    memset(w.sums, 0, (size_t)n_used * ROWS * VF * sizeof(float));
    if (n < n_used) memset(w.block, 0, sizeof w.block);
    for (int d = 0, now = 0; d < columns; d += COLUMNS, now ^= 1) {
        const int part = columns - d < COLUMNS ? columns - d : COLUMNS;
        const gram_step s = { w.block[now], w.sums, w.block[now ^ 1], rows, first + d + COLUMNS };
        if (!filled) fill_block(pair, load, w.block[now], rows, n, first + d, part);
        filled = n == ROWS && columns - d >= 2 * COLUMNS;
        if (filled)
            gram_block(pair, size, &s, true, ROWS, VECTORS);
        else
            gram_block(pair, size, &s, false, n_used, (part + VF - 1) / VF);
    }
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j++) g[i * ROWS + j] = (double)vf_sum(vf_load(w.sums + (i * ROWS + j) * VF));
    }
}

#define DEFINE_GRAM(dtype, type)                                                                                               \
    void vr_gram_##dtype##_avx2(double *g, const void *const *rows, int n, int64_t first, int columns)                         \
    {                                                                                                                          \
        gram(pair_##dtype, load_##dtype, sizeof(type), g, rows, n, first, columns);                                            \
    }

DEFINE_GRAM(f32, float)
DEFINE_GRAM(f16, uint16_t)
DEFINE_GRAM(bf16, uint16_t)
#else
typedef int vr_no_gram_avx2; /* an object without a declaration is not C */
#endif
