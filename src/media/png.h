/*
 * png.h - a picture as a PNG file.
 *
 *   RGB24 -> libavcodec's encoder -> PATH.part -> renamed to PATH
 *
 * The file is there whole or not at all; one that was there before is replaced (a device or pipe is written to). VR_ERR_OTHER names the file and the cause.
 */
#ifndef VR_PNG_H
#define VR_PNG_H

#include <stdint.h>

#include "base/err.h"

/* rgb [height, width, 3] */
int vr_png_write(const char *path, const uint8_t *rgb, int width, int height, vr_err *e);

/* Whether vr_png_write could begin; nothing is left behind. */
int vr_png_check(const char *path, vr_err *e);

#endif
