/*
 * tiles.h - the tile instructions of AMX that products use: the real ones, or the same in plain C for every machine.
 *
 *   TILE_CONFIGS(a, b)          configurations by rows - 1: `a` bytes a row of a, `b` rows of b (a is 4 b)
 *   TILES_OPEN(configs, rows)   that of this thread for `rows` rows of a (1..32), all tiles zero
 *   TILE_LOAD(t, from, stride)  rows of 64 bytes (of a: as configured), `stride` bytes apart      TILE_STORE likewise
 *   TILE_DOT(c, a, b)           c[m][n] += a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1], bf16 -> f32; k < rows of b
 *   TILE_DOT_BYTES(c, a, b)     c[m][n] += sum of a[m][4k+i] b[k][4n+i], i < 4, signed bytes -> whole numbers
 *   TILES_WRITTEN               what this function has written may be loaded from here on
 *   TILES_STATE, TILES_PASS     parameter and argument of functions in between
 *   TILES_CLOSE                 the registers are given back: a thread that holds them is switched more slowly
 *
 *   tiles 0, 1 | 2, 3: sums of the first and of the other rows, 16 columns each;  4, 5: a, those rows;  6, 7: b
 *
 * VR_PLAIN_TILES before the include chooses plain C (kernels/ref); it takes its shapes from the same configurations.
 * Ref:   Intel SDM volume 2, LDTILECFG, TDPBF16PS, TDPBSSD.
 * Trap:  gcc 12 moves the loading of a configuration above the stores that fill it: configurations are constants. Nor does its
 *        TILE_LOAD count as reading memory: stores before it may sink below without TILES_WRITTEN.
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

#define TILE_CONFIG(a, b, first, others)                                                                                       \
    {                                                                                                                          \
        1, 0, { 0 }, { 64, 64, 64, 64, a, a, 64, 64 },                                                                         \
        {                                                                                                                      \
            first, first, others, others, first, others, b, b                                                                  \
        }                                                                                                                      \
    }
#define TILE_CONFIGS(a, b)                                                                                                     \
    {                                                                                                                          \
        TILE_CONFIG(a, b, 1, 1), TILE_CONFIG(a, b, 2, 1), TILE_CONFIG(a, b, 3, 1), TILE_CONFIG(a, b, 4, 1),                    \
            TILE_CONFIG(a, b, 5, 1), TILE_CONFIG(a, b, 6, 1), TILE_CONFIG(a, b, 7, 1), TILE_CONFIG(a, b, 8, 1),                \
            TILE_CONFIG(a, b, 9, 1), TILE_CONFIG(a, b, 10, 1), TILE_CONFIG(a, b, 11, 1), TILE_CONFIG(a, b, 12, 1),             \
            TILE_CONFIG(a, b, 13, 1), TILE_CONFIG(a, b, 14, 1), TILE_CONFIG(a, b, 15, 1), TILE_CONFIG(a, b, 16, 1),            \
            TILE_CONFIG(a, b, 16, 1), TILE_CONFIG(a, b, 16, 2), TILE_CONFIG(a, b, 16, 3), TILE_CONFIG(a, b, 16, 4),            \
            TILE_CONFIG(a, b, 16, 5), TILE_CONFIG(a, b, 16, 6), TILE_CONFIG(a, b, 16, 7), TILE_CONFIG(a, b, 16, 8),            \
            TILE_CONFIG(a, b, 16, 9), TILE_CONFIG(a, b, 16, 10), TILE_CONFIG(a, b, 16, 11), TILE_CONFIG(a, b, 16, 12),         \
            TILE_CONFIG(a, b, 16, 13), TILE_CONFIG(a, b, 16, 14), TILE_CONFIG(a, b, 16, 15), TILE_CONFIG(a, b, 16, 16)         \
    }

#ifdef VR_PLAIN_TILES
#include <assert.h>
#include <string.h>

#include "base/half.h"

typedef struct plain_tiles {
    uint32_t data[8][TILE_ROWS][16];
    const tile_config *config;
} plain_tiles;

static inline void plain_load(plain_tiles *t, int i, const void *from, int64_t stride)
{
    memset(t->data[i], 0, sizeof t->data[i]);
    for (int r = 0; r < t->config->rows[i]; r++)
        memcpy(t->data[i][r], (const unsigned char *)from + r * stride, t->config->row_bytes[i]);
}

static inline void plain_store(const plain_tiles *t, int i, void *to, int64_t stride)
{
    for (int r = 0; r < t->config->rows[i]; r++)
        memcpy((unsigned char *)to + r * stride, t->data[i][r], t->config->row_bytes[i]);
}

/* the instruction faults where the shapes do not meet */
static inline int plain_steps(const plain_tiles *t, int c, int a, int b)
{
    const tile_config *s = t->config;
    assert(s->rows[c] == s->rows[a] && s->row_bytes[c] == s->row_bytes[b] && s->row_bytes[a] == 4 * s->rows[b]);
    return s->rows[b];
}

static inline uint32_t plain_pairs(uint32_t before, uint32_t x, uint32_t y)
{
    float sum;
    memcpy(&sum, &before, sizeof sum);
    sum += vr_bf16_to_f32((uint16_t)x) * vr_bf16_to_f32((uint16_t)y);
    sum += vr_bf16_to_f32((uint16_t)(x >> 16)) * vr_bf16_to_f32((uint16_t)(y >> 16));
    memcpy(&before, &sum, sizeof sum);
    return before;
}

static inline uint32_t plain_bytes(uint32_t before, uint32_t x, uint32_t y)
{
    for (int i = 0; i < 32; i += 8) before += (uint32_t)((int8_t)(x >> i) * (int8_t)(y >> i));
    return before;
}

static inline void plain_dot(plain_tiles *t, int c, int a, int b, uint32_t (*step)(uint32_t before, uint32_t x, uint32_t y))
{
    const int steps = plain_steps(t, c, a, b);
    for (int m = 0; m < t->config->rows[c]; m++) {
        for (int n = 0; n < 16; n++) {
            for (int k = 0; k < steps; k++) t->data[c][m][n] = step(t->data[c][m][n], t->data[a][m][k], t->data[b][k][n]);
        }
    }
}

#define TILES_STATE                , plain_tiles *tiles
#define TILES_PASS                 , tiles
#define TILES_OPEN(configs, rows)  plain_tiles opened = { .config = &(configs)[(rows)-1] }, *const tiles = &opened
#define TILE_LOAD(t, from, stride) plain_load(tiles, t, from, stride)
#define TILE_STORE(t, to, stride)  plain_store(tiles, t, to, stride)
#define TILE_ZERO(t)               memset(tiles->data[t], 0, sizeof tiles->data[t])
#define TILE_DOT(c, a, b)          plain_dot(tiles, c, a, b, plain_pairs)
#define TILE_DOT_BYTES(c, a, b)    plain_dot(tiles, c, a, b, plain_bytes)
#define TILES_WRITTEN              ((void)0)
#define TILES_CLOSE                ((void)tiles)
#else
#include <immintrin.h>

#define TILES_STATE
#define TILES_PASS
#define TILES_OPEN(configs, rows)  _tile_loadconfig(&(configs)[(rows)-1])
#define TILE_LOAD(t, from, stride) _tile_loadd(t, from, (long)(stride))
#define TILE_STORE(t, to, stride)  _tile_stored(t, to, (long)(stride))
#define TILE_ZERO(t)               _tile_zero(t)
#define TILE_DOT(c, a, b)          _tile_dpbf16ps(c, a, b)
#define TILE_DOT_BYTES(c, a, b)    _tile_dpbssd(c, a, b)
#define TILES_WRITTEN              __asm__ volatile("" ::: "memory")
#define TILES_CLOSE                _tile_release()
#endif

#endif
