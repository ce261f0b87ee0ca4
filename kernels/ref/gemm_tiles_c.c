/*
 * gemm_tiles_c.c - the matrix product in tiles with plain C for the tile instructions: checked on every machine, never chosen.
 *
 * Ref: kernels/x86/gemm_tiles_body.h.
 */
#define VR_PLAIN_TILES
#include "kernels/x86/tiles.h"

#include "kernels/x86/gemm_tiles_body.h"

void vr_gemm_tile_bf16_tiles(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows,
                             int cols, int pairs, bool add)
{
    gemm_tiles(c, c_row, a, a_row, panel, rows, cols, pairs, add);
}
