/*
 * picture.h - a decoded frame as PIL would hand it to a tower: RGB, then bicubic.
 *
 *   still picture -> PIL's convert('RGB') ---+-> full-size RGB24 -> vr_resize_pil_bicubic -> [height, width, 3]
 *   frame of a video -> turn, swscale -------+
 */
#ifndef VR_PICTURE_H
#define VR_PICTURE_H

#include <stdbool.h>

#include "media/scale.h"

/* scaler serves frames of video and pixel formats that PIL has no rule for. */
int vr_picture_resize(uint8_t *rgb, int width, int height, const AVFrame *frame, bool still, vr_scaler *scaler, vr_err *e);

#endif
