/*
 * pack_strip_body.h - quantised weights as a panel of f32, for the vectors of a vec_*.h included before.
 *
 *   group of 32 columns of a strip: VF rows, four columns a word -> a column -> f32 -> times scale, + least -> panel
 *
 * A strip lies as a panel wants it, a column of 16 rows in one vector or two: no transpose. Products of a number and a scale fit
 * f32, so one fma gives the bits of the product and the sum after it.
 * Ref:   base/strips.h; kernels/dsp.h pack_strip.
 */
#include <stddef.h>

#include "kernels/dsp.h"
#include "kernels/vec/unroll.h"

#define TILE  (VF * VF_TILE_VECTORS)
#define PARTS (VR_STRIP_ROWS / VF) /* vectors of a column */

/* type is a constant where this is called. */
VR_INLINE void pack_group(float *panel, const unsigned char *block, int group, vr_dtype type)
{
    const bool eight = type == VR_DTYPE_Q8_R16, has_least = type == VR_DTYPE_Q4M_R16;
    const size_t head = has_least ? offsetof(vr_q4m_block, q) : offsetof(vr_q8_block, q);
    const int quads = eight ? 8 : 4;
    const unsigned char *numbers = block + head + (size_t)(group * quads * VR_STRIP_ROWS) * 4;
    const uint16_t *scales = (const uint16_t *)(const void *)block + group * VR_STRIP_ROWS;
    VR_UNROLL
    for (int p = 0; p < PARTS; p++) {
        const vf scale = vf_load_f16(scales + p * VF);
        const vf offset = has_least ? vf_load_f16(scales + offsetof(vr_q4m_block, least) / sizeof *scales + p * VF)
                                    : vf_mul(scale, vf_set1((float)-vr_strip_excess(type)));
        VR_UNROLL
        for (int v = 0; v < quads; v++) {
            const unsigned char *at = numbers + (v * VR_STRIP_ROWS + p * VF) * 4;
            float *const to = panel + v * 4 * TILE + p * VF;
            VR_UNROLL
            for (int j = 0; j < 4; j++) {
                vf_store(to + j * TILE, vf_fma(vf_load_bits(at, 8 * j, eight ? 255 : 15), scale, offset));
                if (!eight) vf_store(to + (16 + j) * TILE, vf_fma(vf_load_bits(at, 8 * j + 4, 15), scale, offset));
            }
        }
    }
}

VR_INLINE void pack_strip(float *panel, const unsigned char *strip, vr_dtype type, int k, int K)
{
    for (int i = 0; i < K; i += VR_STRIP_GROUP) {
        const int column = k + i;
        pack_group(panel + (ptrdiff_t)i * TILE, strip + (size_t)(column / VR_STRIP_COLUMNS) * vr_strip_block_bytes(type),
                   column % VR_STRIP_COLUMNS / VR_STRIP_GROUP, type);
    }
}

void VR_LEVEL(vr_pack_strip)(float *panel, const void *strip, vr_dtype type, int row, int k, int K)
{
    (void)row; /* tile_cols >= 16: always 0 */
    if (type == VR_DTYPE_Q8_R16)
        pack_strip(panel, strip, VR_DTYPE_Q8_R16, k, K);
    else if (type == VR_DTYPE_Q4_R16)
        pack_strip(panel, strip, VR_DTYPE_Q4_R16, k, K);
    else
        pack_strip(panel, strip, VR_DTYPE_Q4M_R16, k, K);
}
