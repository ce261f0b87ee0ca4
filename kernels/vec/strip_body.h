/*
 * strip_body.h - quantised rows times strips, for the vectors of a vec_*.h and the whole-number products included before:
 *
 *   vi                      a vector of VF whole numbers
 *   DOT_START(sum, excess)  where a group begins, sum: of the row's 32 numbers
 *   DOT(acc, w, x)          acc + products of 4 bytes a lane: w as stored, x the row's
 *   DOT_WEIGHTS(w, excess)  w as DOT wants it
 *
 *   group of 32 columns: 8 vectors of weights, each times T rows (a row's 4 bytes go to all lanes) -> whole sums in registers
 *                        -> f32, times the group's scales, added to f32 sums in registers
 *
 * T = 6 rows and 2 strips keep 12 whole and 12 f32 sums, 2 vectors of weights and a broadcast in 32 registers (avx512).
 * Ref:   kernels/quantised.h; bench/LOG.md.
 */
#include <stddef.h>

#include "base/strips.h"
#include "kernels/dsp.h"
#include "kernels/vec/unroll.h"

#define PARTS (VR_STRIP_ROWS / VF) /* vectors of a strip */
#define AHEAD 16                   /* groups of a tile of x that are fetched ahead, from the third-level cache: bench/LOG.md */

VR_INLINE int32_t four_of(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return four;
}

/* T, strips and type are constants where this is called. */
VR_INLINE void strip_tile(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int strips,
                          vr_dtype type)
{
    const bool eight = type == VR_DTYPE_Q8_R16, least = type == VR_DTYPE_Q4M_R16;
    const size_t block = vr_strip_block_bytes(type), strip_bytes = (size_t)x->blocks * block;
    const ptrdiff_t step = (ptrdiff_t)x->tile * VR_STRIP_GROUP;
    const int8_t *q = x->q + vr_quantised_place(x, first) * VR_STRIP_GROUP;
    const int32_t *sums = x->sums + vr_quantised_place(x, first);
    const unsigned char *w = strip;
    const int excess = vr_strip_excess(type), vectors = eight ? 8 : 4;
    const size_t head = least ? offsetof(vr_q4m_block, q) : offsetof(vr_q8_block, q);
    vf total[VR_STRIP_T][2 * PARTS];
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        VR_UNROLL
        for (int p = 0; p < strips * PARTS; p++) total[t][p] = vf_zero();
    }
    for (int g = 0; g < 2 * x->blocks; g++, q += step, sums += x->tile) {
        const unsigned char *b = w + (size_t)(g / 2) * block, *numbers = b + head + g % 2 * vectors * 64;
        vi whole[VR_STRIP_T][2 * PARTS];
        if (T > 2) {
            VR_UNROLL
            for (int t = 0; t < T; t += 2) __builtin_prefetch(q + AHEAD * step + t * VR_STRIP_GROUP, 0, 3);
        }
        VR_UNROLL
        for (int t = 0; t < T; t++) {
            VR_UNROLL
            for (int p = 0; p < strips * PARTS; p++) whole[t][p] = DOT_START(sums[t], excess);
        }
        VR_UNROLL
        for (int v = 0; v < vectors; v++) {
            vi low[2 * PARTS], high[2 * PARTS];
            VR_UNROLL
            for (int p = 0; p < strips * PARTS; p++) {
                const unsigned char *at = numbers + (size_t)(p / PARTS) * strip_bytes + v * 64 + p % PARTS * VF * 4;
                const vi both = vi_load(at);
                low[p] = DOT_WEIGHTS(eight ? both : vi_low_halves(both), excess);
                high[p] = eight ? low[p] : DOT_WEIGHTS(vi_high_halves(both), excess);
            }
            VR_UNROLL
            for (int t = 0; t < T; t++) {
                const vi a = vi_set1(four_of(q + t * VR_STRIP_GROUP + 4 * v));
                VR_UNROLL
                for (int p = 0; p < strips * PARTS; p++) whole[t][p] = DOT(whole[t][p], low[p], a);
                if (eight) continue;
                const vi c = vi_set1(four_of(q + t * VR_STRIP_GROUP + 16 + 4 * v));
                VR_UNROLL
                for (int p = 0; p < strips * PARTS; p++) whole[t][p] = DOT(whole[t][p], high[p], c);
            }
        }
        VR_UNROLL
        for (int p = 0; p < strips * PARTS; p++) {
            const unsigned char *at = b + (size_t)(p / PARTS) * strip_bytes + (size_t)(g % 2) * 2 * VR_STRIP_ROWS;
            const vf scale = vf_load_f16((const uint16_t *)(const void *)at + p % PARTS * VF);
            VR_UNROLL
            for (int t = 0; t < T; t++) total[t][p] = vf_fma(vi_to_float(whole[t][p]), scale, total[t][p]);
            if (!least) continue;
            const vf lowest =
                vf_load_f16((const uint16_t *)(const void *)(at + offsetof(vr_q4m_block, least)) + p % PARTS * VF);
            VR_UNROLL
            for (int t = 0; t < T; t++) total[t][p] = vf_fma(vi_to_float(vi_set1(sums[t])), lowest, total[t][p]);
        }
    }
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        const vf scale = vf_set1(x->scale[first + t]);
        VR_UNROLL
        for (int p = 0; p < strips * PARTS; p++) vf_store(y + t * y_row + p * VF, vf_mul(total[t][p], scale));
    }
}

VR_INLINE void strip_rows(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int strips,
                          vr_dtype type)
{
    switch (T) {
    case 1:
        strip_tile(y, y_row, x, first, 1, strip, strips, type);
        break;
    case 2:
        strip_tile(y, y_row, x, first, 2, strip, strips, type);
        break;
    case 3:
        strip_tile(y, y_row, x, first, 3, strip, strips, type);
        break;
#if VF == 16
    case 4:
        strip_tile(y, y_row, x, first, 4, strip, strips, type);
        break;
    case 5:
        strip_tile(y, y_row, x, first, 5, strip, strips, type);
        break;
    case 6:
        strip_tile(y, y_row, x, first, 6, strip, strips, type);
        break;
#endif
    default:
        break;
    }
}
