/*
 * gram_avx2.c - Gram matrices of up to 16 long rows with AVX2.
 *
 *   rows [n] x 256 columns -> widen -> block [32 vectors][16 rows], 16 KB -> tiles of products -> sums [16][16] vectors -> g
 *
 * As gram_body.h, but for sixteen registers: rows are taken in threes and a last four, so that every tile has nine sums or ten
 * (eight are needed to keep two units of latency four busy) and computes nothing twice:
 *
 *   rows 0-2:  columns 0-3 (the half on and above the diagonal), 4-6, 7-9, 10-12, 13-15
 *   rows 3-5:  columns 3-6 (half), 7-9, ...      rows 12-15:  columns 12-15 (half)
 *
 * Numbers are widened into the block, once; on the way into a product they would be widened five times.
 * Ref:   kernels/ref/prune_c.c; bench/LOG.md.
 */
#if defined(__x86_64__)
#include <stdbool.h>
#include <string.h>

#include "kernels/x86/vec_avx2.h"

#include "kernels/dsp.h"
#include "kernels/x86/pair_body.h"

#define ROWS    VR_DSP_GRAM
#define VECTORS 32 /* of a row in a block */
#define COLUMNS (VECTORS * VF)

typedef struct gram_work {
    _Alignas(64) float block[VECTORS * ROWS * VF];
    _Alignas(64) float sums[ROWS * ROWS * VF];
    const char *ahead[ROWS]; /* two blocks ahead; of rows that do not exist something near */
    int ahead_bytes;         /* that a block takes of a row */
} gram_work;

VR_INLINE void fill_block(pair_fn pair, load_fn load, size_t size, gram_work *w, const void *const *rows, int n, int64_t first,
                          int columns)
{
    w->ahead_bytes = COLUMNS * (int)size;
    for (int r = 0; r < n; r++) {
        float *y = w->block + r * VF;
        w->ahead[r] = (const char *)rows[r] + (size_t)(first + 2 * COLUMNS) * size;
        int d = 0;
        for (; d <= columns - 2 * VF; d += 2 * VF, y += 2 * ROWS * VF) {
            vf two[2];
            pair(two, rows[r], first + d);
            vf_store(y, two[0]);
            vf_store(y + ROWS * VF, two[1]);
        }
        for (; d < columns; d += VF, y += ROWS * VF) vf_store(y, load(rows[r], first + d, columns - d < VF ? columns - d : VF));
    }
}

/* Rows i.. (height) against rows j.. (width); diagonal: i = j, products below it are left out. All but i, j, vectors and the
 * number of the tile are constants where this is called. */
VR_INLINE void gram_tile(gram_work *w, int i, int j, int height, int width, bool diagonal, int vectors, int tile)
{
    vf sum[4][4];
    VR_UNROLL
    for (int k = 0; k < height * width; k++) sum[k / width][k % width] = vf_zero();
    const float *x = w->block + i * VF, *y = w->block + j * VF;
    for (int k = 2 * tile; k < 2 * tile + 2 && k < ROWS; k++) {
        for (int at = 0; at < w->ahead_bytes; at += 64) _mm_prefetch(w->ahead[k] + at, _MM_HINT_T1);
    }
    for (int v = 0; v < vectors; v++, x += ROWS * VF, y += ROWS * VF) {
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
    float *const total = w->sums + (i * ROWS + j) * VF;
    VR_UNROLL
    for (int k = 0; k < height * width; k++) {
        const int r = k / width, c = k % width;
        float *const at = total + (r * ROWS + c) * VF;
        if (!diagonal || r <= c) vf_store(at, vf_add(vf_load(at), sum[r][c]));
    }
}

/* n_used: 4, 7, 10, 13 or 16. */
static void gram_block(gram_work *w, int n_used, int vectors)
{
    int tile = 0, i = 0;
    for (; i < n_used - 4; i += 3) {
        gram_tile(w, i, i, 3, 4, true, vectors, tile++);
        for (int j = i + 4; j < n_used; j += 3) gram_tile(w, i, j, 3, 3, false, vectors, tile++);
    }
    gram_tile(w, i, i, 4, 4, true, vectors, tile);
}

VR_INLINE void gram(pair_fn pair, load_fn load, size_t size, double *g, const void *const *rows, int n, int64_t first,
                    int columns)
{
    gram_work w;
    const int n_used = n <= 4 ? 4 : (n + 1) / 3 * 3 + 1;
    for (int i = 0; i < ROWS; i++) w.ahead[i] = (const char *)rows[0];
    memset(w.sums, 0, (size_t)n_used * ROWS * VF * sizeof(float));
    if (n < n_used) memset(w.block, 0, sizeof w.block);
    for (int d = 0; d < columns; d += COLUMNS) {
        const int part = columns - d < COLUMNS ? columns - d : COLUMNS;
        fill_block(pair, load, size, &w, rows, n, first + d, part);
        gram_block(&w, n_used, (part + VF - 1) / VF);
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
