/*
 * clip_pixels.c - see clip_pixels.h.
 *
 *   [height, width, 3] -> [size, size * long / short, 3] (or upright) -> middle: left = (width - size) / 2, top likewise
 *
 * Ref:  transformers 4.31 image_transforms.py: get_resize_output_image_size (long side cut, not rounded), center_crop, rescale
 *       (float64, then float32), normalize; image_processing_clip.py.
 * Trap: the original scales u8 * (1/255) in double and rounds to float; for all 256 values that is u8 / 255 in float, as
 *       vr_pixels_normalise computes (tests/unit/media_clip_test.c).
 */
#include "media/clip_pixels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "media/frames.h"

/* Half of what is left over, down or to the even number. */
static size_t margin(int rest, bool even)
{
    return (size_t)(even && rest % 4 == 3 ? rest / 2 + 1 : rest / 2);
}

static int crop(uint8_t *out, int size, const uint8_t *rgb, int width, int height, bool even, vr_err *e)
{
    const int shorter = width < height ? width : height, longer = width < height ? height : width;
    const int64_t long_side = (int64_t)size * longer / shorter;
    if (long_side > VR_MAX_FRAME_SIDE)
        return vr_fail(e, VR_ERR_LIMIT, "a picture of %d x %d pixels is too narrow: its long side would become %lld pixels",
                       width, height, (long long)long_side);
    const int w = width < height ? size : (int)long_side, h = width < height ? (int)long_side : size;
    const size_t left = margin(w - size, even), top = margin(h - size, even), line = 3 * (size_t)size;
    uint8_t *resized = malloc(3 * (size_t)w * (size_t)h);
    if (!resized) return vr_fail(e, VR_ERR_LIMIT, "no memory to resize a picture of %d x %d pixels", width, height);
    const int rc = vr_resize_pil_bicubic(resized, w, h, rgb, width, height, e);
    for (size_t y = 0; rc == VR_OK && y < (size_t)size; y++)
        memcpy(out + y * line, resized + 3 * ((top + y) * (size_t)w + left), line);
    free(resized);
    return rc;
}

int vr_clip_pixels_crop(uint8_t *out, int size, const uint8_t *rgb, int width, int height, vr_err *e)
{
    return crop(out, size, rgb, width, height, false, e);
}

int vr_clip_pixels_crop_even(uint8_t *out, int size, const uint8_t *rgb, int width, int height, vr_err *e)
{
    return crop(out, size, rgb, width, height, true, e);
}
