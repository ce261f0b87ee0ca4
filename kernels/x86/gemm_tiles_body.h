/*
 * gemm_tiles_body.h - the matrix product on bf16 pairs in tiles, for the tiles of tiles.h included before.
 *
 *   32 rows of a x 64 columns of the panel [K/2][64][2]: two halves of 32 columns, each 2 x 2 tiles of sums in registers
 *   each 16 pairs of k: 2 tiles of a, 2 of the panel (16 rows of 64 bytes, 256 bytes apart) -> 4 products
 *
 * Serves gemm_amx.c and, in plain C, kernels/ref/gemm_tiles_c.c.
 * Ref:   kernels/dsp.h gemm_tile_bf16 with pair_rows 32, pair_step 16.
 */
#include <stdbool.h>
#include <stddef.h>

#include "kernels/dsp.h"

#define TILE       64
#define STEP       16 /* pairs */
#define PANEL_STEP (STEP * TILE * 2)

static const tile_config configs[2 * TILE_ROWS] = TILE_CONFIGS(4 * STEP, STEP);

/* 32 columns; two: more than 16 rows */
static inline __attribute__((always_inline)) void half_panel(float *c, int64_t c_row, const uint16_t *a, int64_t a_row,
                                                             const uint16_t *panel, bool two, int steps, bool add TILES_STATE)
{
    const int64_t c_bytes = c_row * 4, a_bytes = a_row * 2, panel_bytes = (int64_t)TILE * 4;
    if (add) {
        TILE_LOAD(0, c, c_bytes);
        TILE_LOAD(1, c + 16, c_bytes);
        if (two) TILE_LOAD(2, c + TILE_ROWS * c_row, c_bytes);
        if (two) TILE_LOAD(3, c + TILE_ROWS * c_row + 16, c_bytes);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int s = 0; s < steps; s++, a += (ptrdiff_t)2 * STEP, panel += PANEL_STEP) {
        TILE_LOAD(4, a, a_bytes);
        TILE_LOAD(6, panel, panel_bytes);
        TILE_LOAD(7, panel + 32, panel_bytes);
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
        if (!two) continue;
        TILE_LOAD(5, a + TILE_ROWS * a_row, a_bytes);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, c, c_bytes);
    TILE_STORE(1, c + 16, c_bytes);
    if (two) TILE_STORE(2, c + TILE_ROWS * c_row, c_bytes);
    if (two) TILE_STORE(3, c + TILE_ROWS * c_row + 16, c_bytes);
}

static inline __attribute__((always_inline)) void gemm_tiles(float *c, int64_t c_row, const uint16_t *a, int64_t a_row,
                                                             const uint16_t *panel, int rows, int cols, int pairs, bool add)
{
    const int steps = (pairs + STEP - 1) / STEP;
    TILES_OPEN(configs, rows);
    for (int v = 0; v < cols; v += TILE / 2) {
        half_panel(c + v, c_row, a, a_row, panel + (ptrdiff_t)2 * v, rows > TILE_ROWS, steps, add TILES_PASS);
    }
    TILES_CLOSE;
}
