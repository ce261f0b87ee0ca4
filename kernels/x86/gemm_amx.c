/*
 * gemm_amx.c - the matrix product on bf16 pairs with AMX: gemm_tiles_body.h on the tile instructions.
 *
 * Trap:  the kernel lets a process use tiles only after it has asked (kernels/cpu/cpuid.c).
 */
#if defined(__x86_64__)
#include "kernels/x86/tiles.h"

#include "kernels/x86/gemm_tiles_body.h"

void vr_gemm_tile_bf16_amx(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows, int cols,
                           int pairs, bool add)
{
    gemm_tiles(c, c_row, a, a_row, panel, rows, cols, pairs, add);
}
#else
typedef int vr_no_gemm_amx; /* an object without a declaration is not C */
#endif
