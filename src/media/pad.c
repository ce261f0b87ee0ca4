/*
 * pad.c - pictures on a square, see frames.h.
 */
#include <string.h>

#include "media/frames.h"

void vr_pad_square(uint8_t *out, const uint8_t *rgb, int width, int height, const uint8_t pad[3])
{
    const int side = width > height ? width : height, left = (side - width) / 2, top = (side - height) / 2;
    const size_t line = (size_t)side * 3;
    for (size_t x = 0; x < line; x += 3) memcpy(out + x, pad, 3);
    for (int y = 1; y < side; y++) memcpy(out + (size_t)y * line, out, line);
    for (int y = 0; y < height; y++)
        memcpy(out + (size_t)(top + y) * line + (size_t)left * 3, rgb + (size_t)y * (size_t)width * 3, (size_t)width * 3);
}
