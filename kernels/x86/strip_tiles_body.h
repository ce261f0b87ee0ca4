/*
 * strip_tiles_body.h - quantised rows times strips in tiles of bytes, for the tiles of tiles.h and these included before:
 *
 *   vf                  a vector of 16 numbers: vf_zero, vf_load, vf_store, vf_set1, vf_load_f16, vf_fma, vf_mul
 *   vf_load_i32(p)      16 whole numbers as f32
 *
 *   256 columns at a time: two strips -> signed bytes [strips][groups of 32][8 quads][16 rows][4], first-level cache
 *     16 rows of x, one strip:  a group: tile of 16 x 32 bytes of x, tile of 8 x 64 bytes -> one product -> 16 x 16 whole sums
 *       -> memory -> f32, times the group's scales, added to 16 f32 sums in registers
 *
 * A group is half of what a tile holds: sums have to leave the tiles behind every group anyway, for its scales, and a vector
 * of 16 rows of W is one row of a tile of b, so the strip as it lies in the file needs no shuffle, only its sign. Numbers are
 * made signed once for all rows of x: taking the excess off by the sums of rows would be an addition for each of 16 vectors of
 * every product, and 4-bit numbers have to be unpacked as it is. Expected costs: bench/LOG.md.
 * Ref:   kernels/quantised.h, base/strips.h.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/strips.h"
#include "kernels/dsp.h"
#include "kernels/vec/unroll.h"

#define BLOCKS      4 /* of 64 columns: 8 KB of x and 8 KB of signed bytes beside 9 KB of strips in a first cache of 32 KB */
#define GROUP_BYTES (VR_STRIP_GROUP * VR_STRIP_ROWS)
#define BLOCK_BYTES (2 * GROUP_BYTES)

static const tile_config configs[2 * TILE_ROWS] = TILE_CONFIGS(VR_STRIP_GROUP, VR_STRIP_GROUP / 4);

/* out: [2 groups][8 quads][16 rows][4 columns] */
VR_INLINE void signed_block(int8_t *out, const unsigned char *block, vr_dtype type)
{
    const int excess = vr_strip_excess(type);
    if (type == VR_DTYPE_Q8_R16) {
        const unsigned char *in = block + offsetof(vr_q8_block, q);
        for (int i = 0; i < BLOCK_BYTES; i++) out[i] = (int8_t)(in[i] - excess);
        return;
    }
    const unsigned char *in = block + (type == VR_DTYPE_Q4_R16 ? offsetof(vr_q4_block, q) : offsetof(vr_q4m_block, q));
    for (int g = 0; g < 2; g++, in += GROUP_BYTES / 2, out += GROUP_BYTES) {
        for (int i = 0; i < GROUP_BYTES / 2; i++) out[i] = (int8_t)((in[i] & 15) - excess);
        for (int i = 0; i < GROUP_BYTES / 2; i++) out[GROUP_BYTES / 2 + i] = (int8_t)((in[i] >> 4) - excess);
    }
}

/* Sums of both groups of a block, of up to 16 rows; step: bytes of x from group to group; others: not the first 16 rows. */
VR_INLINE void block_sums(int32_t whole[2][TILE_ROWS][VR_STRIP_ROWS], const int8_t *q, ptrdiff_t step, const int8_t *numbers,
                          bool others TILES_STATE)
{
    enum { ROW = VR_STRIP_ROWS * 4 };
    TILE_LOAD(6, numbers, ROW);
    TILE_LOAD(7, numbers + GROUP_BYTES, ROW);
    if (others) {
        TILE_ZERO(2);
        TILE_ZERO(3);
        TILE_LOAD(5, q, VR_STRIP_GROUP);
        TILE_DOT_BYTES(2, 5, 6);
        TILE_LOAD(5, q + step, VR_STRIP_GROUP);
        TILE_DOT_BYTES(3, 5, 7);
        TILE_STORE(2, whole[0], ROW);
        TILE_STORE(3, whole[1], ROW);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_LOAD(4, q, VR_STRIP_GROUP);
        TILE_DOT_BYTES(0, 4, 6);
        TILE_LOAD(4, q + step, VR_STRIP_GROUP);
        TILE_DOT_BYTES(1, 4, 7);
        TILE_STORE(0, whole[0], ROW);
        TILE_STORE(1, whole[1], ROW);
    }
}

/* y (+)= rows at `place` of x (as vr_quantised_place has it), one strip: `blocks` blocks from `block` on, signed at numbers.
 * Sums of rows that are not there are computed of zeros and dropped, so that all of them stay in registers. type, others, and
 * rows where it is 16 are constants where this is called. */
VR_INLINE void strip_part(float *y, int64_t y_row, const vr_quantised_rows *x, int64_t place, int rows,
                          const unsigned char *block, const int8_t *numbers, int blocks, bool add, vr_dtype type,
                          bool others TILES_STATE)
{
    const bool least = type == VR_DTYPE_Q4M_R16;
    _Alignas(64) int32_t whole[2][TILE_ROWS][VR_STRIP_ROWS];
    float row_sums[TILE_ROWS] = { 0 };
    vf total[TILE_ROWS];
    if (rows < TILE_ROWS) memset(whole, 0, sizeof whole);
    VR_UNROLL
    for (int t = 0; t < TILE_ROWS; t++) total[t] = add && t < rows ? vf_load(y + t * y_row) : vf_zero();
    for (int b = 0; b < blocks; b++, block += vr_strip_block_bytes(type), numbers += BLOCK_BYTES) {
        block_sums(whole, x->q + place * VR_STRIP_GROUP, (ptrdiff_t)x->tile * VR_STRIP_GROUP, numbers, others TILES_PASS);
        for (int g = 0; g < 2; g++, place += x->tile) {
            const uint16_t *scales = (const uint16_t *)(const void *)block + g * VR_STRIP_ROWS;
            const vf scale = vf_load_f16(scales);
            VR_UNROLL
            for (int t = 0; t < TILE_ROWS; t++) total[t] = vf_fma(vf_load_i32(whole[g][t]), scale, total[t]);
            if (!least) continue;
            const vf lowest = vf_load_f16(scales + offsetof(vr_q4m_block, least) / sizeof *scales);
            for (int t = 0; t < rows; t++) row_sums[t] = (float)x->sums[place + t];
            VR_UNROLL
            for (int t = 0; t < TILE_ROWS; t++) total[t] = vf_fma(vf_set1(row_sums[t]), lowest, total[t]);
        }
    }
    VR_UNROLL
    for (int t = 0; t < TILE_ROWS; t++)
        if (t < rows) vf_store(y + t * y_row, total[t]);
}

VR_INLINE void strip_tiles(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                           int n_strips, vr_dtype type)
{
    const size_t block_bytes = vr_strip_block_bytes(type), strip_bytes = (size_t)x->blocks * block_bytes;
    const int64_t place = vr_quantised_place(x, first);
    const int others = T - TILE_ROWS;
    _Alignas(64) int8_t numbers[2][BLOCKS * BLOCK_BYTES];
    TILES_OPEN(configs, T);
    for (int b = 0; b == 0 || b < x->blocks; b += BLOCKS) {
        const int blocks = x->blocks - b < BLOCKS ? x->blocks - b : BLOCKS;
        const int64_t at = place + (int64_t)b * 2 * x->tile;
        for (int s = 0; s < n_strips; s++) {
            const unsigned char *block = (const unsigned char *)strip + (size_t)s * strip_bytes + (size_t)b * block_bytes;
            float *const out = y + s * VR_STRIP_ROWS, *const below = out + TILE_ROWS * y_row;
            for (int i = 0; i < blocks; i++)
                signed_block(numbers[s] + (ptrdiff_t)i * BLOCK_BYTES, block + (size_t)i * block_bytes, type);
            TILES_WRITTEN;
            if (others >= 0)
                strip_part(out, y_row, x, at, TILE_ROWS, block, numbers[s], blocks, b > 0, type, false TILES_PASS);
            else
                strip_part(out, y_row, x, at, T, block, numbers[s], blocks, b > 0, type, false TILES_PASS);
            if (others == TILE_ROWS)
                strip_part(below, y_row, x, at + TILE_ROWS, TILE_ROWS, block, numbers[s], blocks, b > 0, type, true TILES_PASS);
            else if (others > 0)
                strip_part(below, y_row, x, at + TILE_ROWS, others, block, numbers[s], blocks, b > 0, type, true TILES_PASS);
        }
    }
    TILES_CLOSE;
    for (int t = 0; t < T; t++) {
        const vf scale = vf_set1(x->scale[first + t]);
        for (int s = 0; s < n_strips; s++) {
            float *const out = y + t * y_row + s * VR_STRIP_ROWS;
            vf_store(out, vf_mul(vf_load(out), scale));
        }
    }
}

/* The three kernels of a level; few: those of the level for rows that are too few for tiles. */
#define DEFINE_STRIP_TILES(level, few)                                                                                         \
    void vr_strip_q8_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,         \
                             int n_strips)                                                                                     \
    {                                                                                                                          \
        if (T <= VR_STRIP_T)                                                                                                   \
            vr_strip_q8_##few(y, y_row, x, first, T, strip, n_strips);                                                         \
        else                                                                                                                   \
            strip_tiles(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q8_R16);                                              \
    }                                                                                                                          \
    void vr_strip_q4_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,         \
                             int n_strips)                                                                                     \
    {                                                                                                                          \
        if (T <= VR_STRIP_T)                                                                                                   \
            vr_strip_q4_##few(y, y_row, x, first, T, strip, n_strips);                                                         \
        else                                                                                                                   \
            strip_tiles(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4_R16);                                              \
    }                                                                                                                          \
    void vr_strip_q4m_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,        \
                              int n_strips)                                                                                    \
    {                                                                                                                          \
        if (T <= VR_STRIP_T)                                                                                                   \
            vr_strip_q4m_##few(y, y_row, x, first, T, strip, n_strips);                                                        \
        else                                                                                                                   \
            strip_tiles(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4M_R16);                                             \
    }
