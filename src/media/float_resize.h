/*
 * float_resize.h - pictures resized as floats: the short side to `side`, then the middle, as torch does it on a CPU.
 *
 *   rgb [height, width, 3] -> new size -> [3, side, side], normalised: (x/255 - mean) / std by channel
 *
 *   new size: the short side is `side`, the long one floor of the same ratio; the middle begins at (new - side)/2, halves to
 *   even.
 */
#ifndef VR_FLOAT_RESIZE_H
#define VR_FLOAT_RESIZE_H

#include <stdint.h>

#include "base/err.h"

typedef struct vr_float_pixels {
    int side;
    float mean[3], std[3];
} vr_float_pixels;

/* Frames of a video: normalised, then bilinear without antialiasing. VR_ERR_LIMIT without memory, or where the picture is so
 * long that its long side would exceed VR_MAX_FRAME_SIDE. */
int vr_float_resize_bilinear(float *out, const vr_float_pixels *p, const uint8_t *rgb, int width, int height, vr_err *e);

/* Pictures: bicubic (a = -0.5) with antialiasing, overshoot kept, then normalised. Errors likewise. */
int vr_float_resize_bicubic(float *out, const vr_float_pixels *p, const uint8_t *rgb, int width, int height, vr_err *e);

#endif
