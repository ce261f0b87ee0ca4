/*
 * smart_resize.c - see smart_resize.h.
 *
 * Ref:  qwen_vl_utils/vision_process.py (smart_resize); transformers 4.45 image_processing_qwen2_vl.py (the same, but sides
 *       below the factor are an error there).
 * Trap: an aspect ratio is not kept: 588 to multiples of 56 is 560, since 10.5 goes to the even 10.
 */
#include "media/smart_resize.h"

#include <math.h>

#define RATIO_MAX 200

static int multiple(double factors, int factor)
{
    return (int)factors * factor;
}

bool vr_smart_resize(int height, int width, int factor, int64_t pixels_min, int64_t pixels_max, int *out_height, int *out_width)
{
    const int longer = height > width ? height : width, shorter = height > width ? width : height;
    if (longer / RATIO_MAX > shorter || (longer / RATIO_MAX == shorter && longer % RATIO_MAX)) return false;
    const double h = height, w = width, f = factor;
    int rows = multiple(fmax(1, rint(h / f)), factor), columns = multiple(fmax(1, rint(w / f)), factor);
    const int64_t pixels = (int64_t)rows * columns;
    if (pixels > pixels_max) {
        const double shrink = sqrt(h * w / (double)pixels_max);
        rows = multiple(floor(h / shrink / f), factor);
        columns = multiple(floor(w / shrink / f), factor);
    } else if (pixels < pixels_min) {
        const double grow = sqrt((double)pixels_min / (h * w));
        rows = multiple(ceil(h * grow / f), factor);
        columns = multiple(ceil(w * grow / f), factor);
    }
    *out_height = rows;
    *out_width = columns;
    return rows > 0 && columns > 0;
}
