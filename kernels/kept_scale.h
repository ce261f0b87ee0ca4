/*
 * kept_scale.h - the scale of a group of Q8 (kept.h), as every level of the CPU computes it.
 *
 * Trap: rounded up, never to nearest: so bytes never pass 127, however few digits a small scale has left in f16.
 */
#ifndef VR_KEPT_SCALE_H
#define VR_KEPT_SCALE_H

#include <stdbool.h>

#include "base/half.h"

static inline uint16_t vr_kept_scale(float largest, bool finite)
{
    if (!finite) return 0x7e00;
    const float exact = largest / 127;
    const uint16_t near = vr_f32_to_f16(exact);
    return vr_f16_to_f32(near) < exact ? (uint16_t)(near + 1) : near;
}

/* What numbers of the group are multiplied with; 0 where all bytes are 0. */
static inline float vr_kept_inverse(uint16_t scale)
{
    const float value = vr_f16_to_f32(scale);
    return value > 0 ? 1 / value : 0;
}

#endif
