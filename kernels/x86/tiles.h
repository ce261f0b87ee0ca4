/*
 * tiles.h - the tile instructions of AMX that products use: the real ones, or the same in plain C for every machine.
 *
 *   TILES_OPEN(rows)            configuration of this thread for `rows` rows of a (1..32), all tiles zero
 *   TILE_LOAD(t, from, stride)  rows of 64 bytes, `stride` bytes apart      TILE_STORE likewise
 *   TILE_DOT(c, a, b)           c[m][n] += a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1], bf16 -> f32; k = 0..15
 *   TILES_STATE, TILES_PASS     parameter and argument of functions in between
 *   TILES_CLOSE                 the registers are given back: a thread that holds them is switched more slowly
 *
 *   tiles 0, 1 | 2, 3: sums of the first and of the other rows, 16 columns each;  4, 5: a, those rows;  6, 7: b
 *
 * VR_PLAIN_TILES before the include chooses plain C (kernels/ref/gemm_tiles_c.c).
 * Ref:   Intel SDM volume 2, LDTILECFG, TDPBF16PS.
 * Trap:  gcc 12 moves the loading of a configuration above the stores that fill it: configurations are constants.
 */
#ifndef VR_TILES_H
#define VR_TILES_H

#include <stdint.h>

#define TILE_ROWS 16

/* palette, bytes a row of each tile, rows of each tile */
typedef struct tile_config {
    uint8_t palette, start, zeros[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

#ifdef VR_PLAIN_TILES
#include <string.h>

#include "base/half.h"

typedef struct plain_tiles {
    uint32_t data[8][TILE_ROWS][16];
    int rows[8];
} plain_tiles;

static inline void plain_load(plain_tiles *t, int i, const void *from, int64_t stride)
{
    for (int r = 0; r < t->rows[i]; r++) memcpy(t->data[i][r], (const unsigned char *)from + r * stride, 64);
}

static inline void plain_store(const plain_tiles *t, int i, void *to, int64_t stride)
{
    for (int r = 0; r < t->rows[i]; r++) memcpy((unsigned char *)to + r * stride, t->data[i][r], 64);
}

static inline void plain_dot(plain_tiles *t, int c, int a, int b)
{
    for (int m = 0; m < t->rows[c]; m++) {
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, &t->data[c][m][n], sizeof sum);
            for (int k = 0; k < t->rows[b]; k++) {
                const uint32_t x = t->data[a][m][k], y = t->data[b][k][n];
                sum += vr_bf16_to_f32((uint16_t)x) * vr_bf16_to_f32((uint16_t)y);
                sum += vr_bf16_to_f32((uint16_t)(x >> 16)) * vr_bf16_to_f32((uint16_t)(y >> 16));
            }
            memcpy(&t->data[c][m][n], &sum, sizeof sum);
        }
    }
}

static inline plain_tiles plain_open(int rows)
{
    plain_tiles t = { 0 };
    const int first = rows < TILE_ROWS ? rows : TILE_ROWS, others = rows > TILE_ROWS ? rows - TILE_ROWS : 1;
    for (int i = 0; i < 8; i++) t.rows[i] = i >= 6 ? TILE_ROWS : i == 2 || i == 3 || i == 5 ? others : first;
    return t;
}

#define TILES_STATE                , plain_tiles *tiles
#define TILES_PASS                 , tiles
#define TILES_OPEN(rows)           plain_tiles opened = plain_open(rows), *const tiles = &opened
#define TILE_LOAD(t, from, stride) plain_load(tiles, t, from, stride)
#define TILE_STORE(t, to, stride)  plain_store(tiles, t, to, stride)
#define TILE_ZERO(t)               memset(tiles->data[t], 0, sizeof tiles->data[t])
#define TILE_DOT(c, a, b)          plain_dot(tiles, c, a, b)
#define TILES_CLOSE                ((void)tiles)
#else
#include <immintrin.h>

#define CONFIG(first, others)                                                                                                  \
    {                                                                                                                          \
        1, 0, { 0 }, { 64, 64, 64, 64, 64, 64, 64, 64 },                                                                       \
        {                                                                                                                      \
            first, first, others, others, first, others, 16, 16                                                                \
        }                                                                                                                      \
    }
/* by rows - 1 */
static const tile_config tile_configs[2 * TILE_ROWS] = {
    CONFIG(1, 1),   CONFIG(2, 1),   CONFIG(3, 1),   CONFIG(4, 1),  CONFIG(5, 1),   CONFIG(6, 1),   CONFIG(7, 1),
    CONFIG(8, 1),   CONFIG(9, 1),   CONFIG(10, 1),  CONFIG(11, 1), CONFIG(12, 1),  CONFIG(13, 1),  CONFIG(14, 1),
    CONFIG(15, 1),  CONFIG(16, 1),  CONFIG(16, 1),  CONFIG(16, 2), CONFIG(16, 3),  CONFIG(16, 4),  CONFIG(16, 5),
    CONFIG(16, 6),  CONFIG(16, 7),  CONFIG(16, 8),  CONFIG(16, 9), CONFIG(16, 10), CONFIG(16, 11), CONFIG(16, 12),
    CONFIG(16, 13), CONFIG(16, 14), CONFIG(16, 15), CONFIG(16, 16)
};

#define TILES_STATE
#define TILES_PASS
#define TILES_OPEN(rows)           _tile_loadconfig(&tile_configs[(rows)-1])
#define TILE_LOAD(t, from, stride) _tile_loadd(t, from, (long)(stride))
#define TILE_STORE(t, to, stride)  _tile_stored(t, to, (long)(stride))
#define TILE_ZERO(t)               _tile_zero(t)
#define TILE_DOT(c, a, b)          _tile_dpbf16ps(c, a, b)
#define TILES_CLOSE                _tile_release()
#endif

#endif
