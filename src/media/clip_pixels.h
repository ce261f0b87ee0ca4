/*
 * clip_pixels.h - a picture as CLIP's image processor hands it to the tower.
 *
 *   rgb [height, width, 3] -> short side to `size`, Pillow's bicubic -> the middle [size, size, 3]
 *                          -> vr_pixels_normalise (frames.h): [3, size, size]
 *
 * rgb is a frame at its native size: vr_frames opened with that size and VR_RESIZE_PIL_BICUBIC.
 */
#ifndef VR_CLIP_PIXELS_H
#define VR_CLIP_PIXELS_H

#include <stdint.h>

#include "base/err.h"

/* out [size, size, 3] u8. VR_ERR_LIMIT without memory, or where the long side would exceed VR_MAX_FRAME_SIDE. */
int vr_clip_pixels_crop(uint8_t *out, int size, const uint8_t *rgb, int width, int height, vr_err *e);

/* The same, but an odd rest is halved to the even number, as torchvision's GroupCenterCrop does (VideoChat). */
int vr_clip_pixels_crop_even(uint8_t *out, int size, const uint8_t *rgb, int width, int height, vr_err *e);

#endif
