/*
 * gemm_body.h - pack and tile of the matrix product, for the vectors of a vec_*.h included before.
 *
 *   pack:  VF rows x VF k of W  -> transpose in registers ->  panel [K][TILE]
 *   tile:  sums [6][1..4 vectors] in registers:  each k loads the vectors of one panel row and broadcasts 6 numbers of a
 *
 * At full width avx512 (and neon, a quarter as wide) keeps 24 sums, 4 vectors and a broadcast in 32 registers and needs 10 loads
 * for 24 multiply-adds; avx2 12, 2 and 1 in 16. Narrow tiles (the last columns of a product, heads of 72 or 88) skip the vectors
 * they do not have.
 * Ref:   Goto and van de Geijn 2008; bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"
#include "kernels/vec/unroll.h"

#define TILE  (VF * VF_TILE_VECTORS)
#define AHEAD 512 /* bytes; bench/LOG.md */

/* VF columns of a panel from rows of W, of which n (0..VF) exist. Rows are fetched ahead by hand: sixteen that advance together
 * are too many streams for the machine to see. */
VR_INLINE void pack_columns(load_fn load, size_t element, float *panel, const void *w, int64_t w_row, int n, int K)
{
    for (int k = 0; k < K; k += VF) {
        const int depth = K - k < VF ? K - k : VF;
        vf r[VF];
        VR_UNROLL
        for (int i = 0; i < VF; i++) {
            r[i] = i < n ? load(w, i * w_row + k, depth) : vf_zero();
            if (i < n) __builtin_prefetch((const char *)((uintptr_t)w + (size_t)(i * w_row + k) * element + AHEAD), 0, 3);
        }
        vf_transpose(r);
        if (depth == VF) {
            VR_UNROLL
            for (int i = 0; i < VF; i++) vf_store(panel + (int64_t)(k + i) * TILE, r[i]);
        } else {
            for (int i = 0; i < depth; i++) vf_store(panel + (int64_t)(k + i) * TILE, r[i]);
        }
    }
}

VR_INLINE void pack(load_fn load, size_t element, float *panel, const void *w, int64_t w_row, int n, int K)
{
    for (int c = 0; c < TILE; c += VF) {
        const unsigned char *rows = (const unsigned char *)w + (size_t)(c < n ? c * w_row : 0) * element;
        const int left = c < n ? n - c : 0;
        if (left >= VF)
            pack_columns(load, element, panel + c, rows, w_row, VF, K);
        else
            pack_columns(load, element, panel + c, rows, w_row, left, K);
    }
}

void VR_LEVEL(vr_pack_f32)(float *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(load_f32, 4, panel, w, w_row, n, K);
}

void VR_LEVEL(vr_pack_f16)(float *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(load_f16, 2, panel, w, w_row, n, K);
}

void VR_LEVEL(vr_pack_bf16)(float *panel, const void *w, int64_t w_row, int n, int K)
{
    pack(load_bf16, 2, panel, w, w_row, n, K);
}

/* rows and vectors are constants where this is called. */
VR_INLINE void tile(float *c, int64_t c_row, const float *a, int64_t a_row, const float *panel, int rows, int vectors, int K,
                    bool add)
{
    vf sum[6][VF_TILE_VECTORS];
    VR_UNROLL
    for (int r = 0; r < rows; r++) {
        VR_UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = add ? vf_load(c + r * c_row + v * VF) : vf_zero();
    }
    for (int k = 0; k < K; k++, panel += TILE) {
        vf b[VF_TILE_VECTORS];
        VR_UNROLL
        for (int v = 0; v < vectors; v++) b[v] = vf_load(panel + v * VF);
        VR_UNROLL
        for (int r = 0; r < rows; r++) {
            const vf x = vf_set1(a[r * a_row + k]);
            VR_UNROLL
            for (int v = 0; v < vectors; v++) sum[r][v] = vf_fma(x, b[v], sum[r][v]);
        }
    }
    VR_UNROLL
    for (int r = 0; r < rows; r++) {
        VR_UNROLL
        for (int v = 0; v < vectors; v++) vf_store(c + r * c_row + v * VF, sum[r][v]);
    }
}

VR_INLINE void tile_rows(float *c, int64_t c_row, const float *a, int64_t a_row, const float *panel, int rows, int vectors,
                         int K, bool add)
{
    switch (rows) {
    case 1:
        tile(c, c_row, a, a_row, panel, 1, vectors, K, add);
        break;
    case 2:
        tile(c, c_row, a, a_row, panel, 2, vectors, K, add);
        break;
    case 3:
        tile(c, c_row, a, a_row, panel, 3, vectors, K, add);
        break;
    case 4:
        tile(c, c_row, a, a_row, panel, 4, vectors, K, add);
        break;
    case 5:
        tile(c, c_row, a, a_row, panel, 5, vectors, K, add);
        break;
    case 6:
        tile(c, c_row, a, a_row, panel, 6, vectors, K, add);
        break;
    default:
        break;
    }
}

void VR_LEVEL(vr_gemm_tile)(float *c, int64_t c_row, const float *a, int64_t a_row, const float *panel, int rows, int cols,
                            int K, bool add)
{
    switch ((cols + VF - 1) / VF) {
    case 1:
        tile_rows(c, c_row, a, a_row, panel, rows, 1, K, add);
        break;
    case 2:
        tile_rows(c, c_row, a, a_row, panel, rows, 2, K, add);
        break;
#if VF_TILE_VECTORS == 4
    case 3:
        tile_rows(c, c_row, a, a_row, panel, rows, 3, K, add);
        break;
    case 4:
        tile_rows(c, c_row, a, a_row, panel, rows, 4, K, add);
        break;
#endif
    default:
        break;
    }
}
