/*
 * kept.h - rows of keys and values as a cache keeps them: of one head, one position, E numbers.
 *
 *   F32   E floats
 *   F16   E numbers of 16 bits
 *   Q8    [E signed bytes][a byte where E is odd][groups of 32 numbers: scale f16] [bytes up to a multiple of 4]
 *         value e = scale[e / 32] * byte[e];  the last group may be short
 *
 * Elements, in which strides are counted: floats, 16-bit numbers, bytes. A row of 128 numbers takes 512, 256 or 136 bytes.
 * Groups of 32 as in stock Q8_0 blocks, because keys of some models (Qwen2: biases) have a few numbers that are much larger
 * than the rest, and one scale a head would cost that head its digits. Bytes come first, so that they lie where the row does.
 * Rounding (ops.h keep_rows), the same bits everywhere:
 *   F16   to nearest, halves to even; beyond 65504 infinite
 *   Q8    scale = the f16 number at or next above largest / 127, bytes = nearest(x * (1 / scale)), halves to even; so
 *         abs(value - x) <= (1 + 2^-15) scale / 2. A group with a number that is not finite: scale NaN, bytes 0; a group of
 *         zeros: scale 0, bytes 0
 * Read by C and by CUDA.
 */
#ifndef VR_KEPT_H
#define VR_KEPT_H

#include <stddef.h>
#include <stdint.h>

#define VR_KEPT_GROUP 32

typedef enum vr_kept { VR_KEPT_F32, VR_KEPT_F16, VR_KEPT_Q8, VR_KEPTS } vr_kept;

/* Bytes of an element. */
static inline size_t vr_kept_bytes(vr_kept t)
{
    return t == VR_KEPT_F32 ? 4 : t == VR_KEPT_F16 ? 2 : 1;
}

/* Where the scales of a row of Q8 begin: at a multiple of 2 bytes. */
static inline int vr_kept_scales(int E)
{
    return E + E % 2;
}

/* Elements of the row of one head. */
static inline int vr_kept_row(vr_kept t, int E)
{
    return t == VR_KEPT_Q8 ? (vr_kept_scales(E) + 2 * ((E + VR_KEPT_GROUP - 1) / VR_KEPT_GROUP) + 3) / 4 * 4 : E;
}

#endif
