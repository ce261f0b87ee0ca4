/*
 * smart_resize.h - Qwen2-VL: sides of a frame that are multiples of a factor, within a number of pixels.
 */
#ifndef VR_SMART_RESIZE_H
#define VR_SMART_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Both sides to the nearest multiple of factor (halves to even, at least one factor); where that is more than pixels_max or
 * less than pixels_min, both are shrunk or grown alike and cut down or up. Doubles, as Python's. false: a side is more than
 * 200 times the other, which the original refuses. Sides and factor are at least 1. */
bool vr_smart_resize(int height, int width, int factor, int64_t pixels_min, int64_t pixels_max, int *out_height,
                     int *out_width);

#endif
