/*
 * jpeg_rgb.h - planes of a decoded JPEG to RGB24 with libjpeg's arithmetic.
 *
 *   Y, Cb, Cr planes -> triangle ("fancy") upsampling of the chroma -> YCbCr to RGB in 16-bit fixed point
 *
 * For full-range 8-bit planes in the layouts 4:4:4, 4:2:2 (h2v1), 4:4:0 (h1v2) and 4:2:0 (h2v2).
 * Ref: libjpeg-turbo jdsample.c (h2v1, h1v2, h2v2 fancy upsampling), jdcolor.c (YCC to RGB); ITU-T T.871.
 */
#ifndef VR_JPEG_RGB_H
#define VR_JPEG_RGB_H

#include <stdbool.h>
#include <stdint.h>

#include <libavutil/frame.h>

/* rgb [height, width, 3]; false: another layout, nothing written, or no memory for a row. */
bool vr_jpeg_rgb(uint8_t *rgb, const AVFrame *frame);

#endif
