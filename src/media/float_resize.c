/*
 * float_resize.c - pictures resized as floats, see float_resize.h.
 *
 *   bilinear: four neighbours of each of the side x side places, normalised on the way
 *   bicubic:  lines across (only the columns of the middle) [3, height, side] -> down -> normalised
 *
 * Ref:  VideoLLaMB languagebind/video/processing_video.py:36-75, languagebind/image/processing_image.py; pytorchvideo
 *       transforms/functional.py, short_side_scale; torch ATen native/cpu/UpSampleKernel.cpp.
 * Trap: places are computed in float, as torch does; of a large picture double would find others. The long side of a video's
 *       frame is floor(long/short * side), of a picture floor(side * long / short): they may differ by one.
 */
#include "media/float_resize.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

/* One axis: output o is the sum of weight[o * width + k] * in[first[o] + k], k < count[o]. */
typedef struct axis {
    int *first, *count; /* [side] */
    float *weight;      /* [side, width] */
    int width;
} axis;

static void axis_free(axis *a)
{
    free(a->first);
    free(a->count);
    free(a->weight);
}

static int axis_take(axis *a, int side, int width, vr_err *e)
{
    a->width = width;
    a->first = calloc((size_t)side, sizeof *a->first);
    a->count = calloc((size_t)side, sizeof *a->count);
    a->weight = calloc((size_t)side * (size_t)width, sizeof *a->weight);
    return a->first && a->count && a->weight ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory to resize a picture");
}

/* Where the middle begins: Python's round, halves to even. */
static int middle(int out, int side)
{
    return (int)rint((out - side) / 2.0);
}

/* in lines become out, of which the middle is kept; align_corners off. */
static int bilinear_axis(axis *a, int in, int out, int side, vr_err *e)
{
    const float scale = (float)in / (float)out;
    const int begin = middle(out, side);
    VR_TRY(axis_take(a, side, 2, e));
    for (int o = 0; o < side; o++) {
        float place = scale * ((float)(o + begin) + 0.5F) - 0.5F;
        if (place < 0) place = 0;
        const int low = (int)place < in - 1 ? (int)place : in - 1;
        const float part = place - (float)low;
        a->first[o] = low;
        a->count[o] = low < in - 1 ? 2 : 1;
        a->weight[2 * o] = a->count[o] == 2 ? 1 - part : 1;
        a->weight[2 * o + 1] = part;
    }
    return VR_OK;
}

static float bicubic(float x)
{
    const float a = -0.5F;
    x = fabsf(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static int bicubic_axis(axis *a, int in, int out, int side, vr_err *e)
{
    const float scale = (float)in / (float)out, support = scale >= 1 ? 2 * scale : 2, inverse = scale >= 1 ? 1 / scale : 1;
    const int begin = middle(out, side);
    VR_TRY(axis_take(a, side, (int)ceilf(support) * 2 + 1, e));
    for (int o = 0; o < side; o++) {
        const float centre = scale * ((float)(o + begin) + 0.5F);
        int low = (int)(centre - support + 0.5F), high = (int)(centre + support + 0.5F);
        if (low < 0) low = 0;
        if (high > in) high = in;
        float *w = a->weight + (size_t)o * (size_t)a->width, sum = 0;
        a->first[o] = low;
        a->count[o] = high - low < a->width ? high - low : a->width;
        for (int k = 0; k < a->count[o]; k++) sum += w[k] = bicubic(((float)(k + low) - centre + 0.5F) * inverse);
        for (int k = 0; sum != 0 && k < a->count[o]; k++) w[k] /= sum;
    }
    return VR_OK;
}

static int size_check(int64_t width, int64_t height, int side, vr_err *e)
{
    if (width <= VR_MAX_FRAME_SIDE && height <= VR_MAX_FRAME_SIDE) return VR_OK;
    return vr_fail(e, VR_ERR_LIMIT, "a picture that is so narrow would have %lld pixels beside %d, at most %d are possible",
                   (long long)(width > height ? width : height), side, VR_MAX_FRAME_SIDE);
}

/* [side] columns of one line of bytes -> to, unnormalised (0..1) or normalised */
static void across(float *to, const axis *a, int side, const uint8_t *line, int c, float mean, float std)
{
    for (int o = 0; o < side; o++) {
        const float *w = a->weight + (size_t)o * (size_t)a->width;
        float sum = 0;
        for (int k = 0; k < a->count[o]; k++)
            sum += w[k] * (((float)line[(size_t)(a->first[o] + k) * 3 + (size_t)c] / 255.0F - mean) / std);
        to[o] = sum;
    }
}

/* rgb -> out [side, side] of channel c; between [height of rgb, side]: lines that are needed */
static void channel(float *out, float *between, const axis *columns, const axis *lines, int side, const uint8_t *rgb, int width,
                    int c, float mean, float std)
{
    const int last = side - 1, from = lines->first[0], end = lines->first[last] + lines->count[last];
    for (int y = from; y < end; y++)
        across(between + (size_t)y * (size_t)side, columns, side, rgb + (size_t)y * (size_t)width * 3, c, mean, std);
    for (int o = 0; o < side; o++) {
        const float *w = lines->weight + (size_t)o * (size_t)lines->width;
        float *to = out + (size_t)o * (size_t)side;
        for (int x = 0; x < side; x++) to[x] = 0;
        for (int k = 0; k < lines->count[o]; k++) {
            const float *line = between + (size_t)(lines->first[o] + k) * (size_t)side;
            for (int x = 0; x < side; x++) to[x] += w[k] * line[x];
        }
    }
}

int vr_float_resize_bilinear(float *out, const vr_float_pixels *p, const uint8_t *rgb, int width, int height, vr_err *e)
{
    const int side = p->side;
    const double tall = floor((double)height / (double)width * side), wide = floor((double)width / (double)height * side);
    const int new_width = width < height ? side : (int)wide, new_height = width < height ? (int)tall : side;
    const size_t area = (size_t)side * (size_t)side;
    axis columns = { 0 }, lines = { 0 };
    float *between = malloc((size_t)height * (size_t)side * sizeof *between);
    int rc = between ? size_check(new_width, new_height, side, e)
                     : vr_fail(e, VR_ERR_LIMIT, "not enough memory to resize a picture");
    if (rc == VR_OK) rc = bilinear_axis(&columns, width, new_width, side, e);
    if (rc == VR_OK) rc = bilinear_axis(&lines, height, new_height, side, e);
    for (int c = 0; rc == VR_OK && c < 3; c++)
        channel(out + (size_t)c * area, between, &columns, &lines, side, rgb, width, c, p->mean[c], p->std[c]);
    free(between);
    axis_free(&columns);
    axis_free(&lines);
    return rc;
}

int vr_float_resize_bicubic(float *out, const vr_float_pixels *p, const uint8_t *rgb, int width, int height, vr_err *e)
{
    const int side = p->side, shorter = width < height ? width : height;
    const int64_t new_width = (int64_t)side * width / shorter, new_height = (int64_t)side * height / shorter;
    const size_t area = (size_t)side * (size_t)side;
    axis columns = { 0 }, lines = { 0 };
    float *between = malloc((size_t)height * (size_t)side * sizeof *between);
    int rc = between ? size_check(new_width, new_height, side, e)
                     : vr_fail(e, VR_ERR_LIMIT, "not enough memory to resize a picture");
    if (rc == VR_OK) rc = bicubic_axis(&columns, width, (int)new_width, side, e);
    if (rc == VR_OK) rc = bicubic_axis(&lines, height, (int)new_height, side, e);
    for (int c = 0; rc == VR_OK && c < 3; c++) {
        float *to = out + (size_t)c * area;
        channel(to, between, &columns, &lines, side, rgb, width, c, 0, 1);
        for (size_t i = 0; i < area; i++) to[i] = (to[i] - p->mean[c]) / p->std[c];
    }
    free(between);
    axis_free(&columns);
    axis_free(&lines);
    return rc;
}
