/*
 * scale.h - decoded frames to RGB24 of any size, the way FFmpeg's filters do it.
 *
 *   AVFrame -> (turn by 90, 180, 270) -> swscale bilinear -> RGB24 [height, width, 3]
 *
 * Byte-equal to `ffmpeg -noautorotate -vf transpose=..,scale=W:H:flags=bilinear -pix_fmt rgb24` of the same FFmpeg, and to
 * decord's pixels. A size equal to the frame's gives plain conversion to RGB.
 */
#ifndef VR_SCALE_H
#define VR_SCALE_H

#include <libavutil/frame.h>

#include "base/err.h"

typedef struct vr_scaler vr_scaler;

/* name (borrowed) stands for the file in messages; rotation 0, 90, 180, 270 clockwise. */
int vr_scaler_open(vr_scaler **out, const char *name, int rotation, vr_err *e);
void vr_scaler_free(vr_scaler *scaler); /* NULL is legal */
/* Size of a frame after the turn. */
void vr_scaler_turned_size(const vr_scaler *scaler, const AVFrame *frame, int *width, int *height);
/* Frames may change size, format or colours from call to call. */
int vr_scaler_run(vr_scaler *scaler, uint8_t *rgb, int width, int height, const AVFrame *frame, vr_err *e);

#endif
