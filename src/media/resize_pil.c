/*
 * resize_pil.c - PIL's antialiased bicubic on RGB24, bit for bit; the contract is in frames.h.
 *
 *   in [H0, W0, 3] -> across, all rows -> [H0, W, 3] uint8 -> down -> out [H, W, 3]
 *
 * The kernel widens with the reduction; weights are 22-bit fixed point, made in double. An axis of unchanged size is skipped.
 * Ref:   Pillow src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc, ImagingResampleInner).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/frames.h"

enum { FRACTION_BITS = 22 };

/* Weights of one axis: output o is the sum of weight[o * width + k] * in[first[o] + k], k < count[o]. */
typedef struct axis {
    int *first, *count; /* [out] */
    int32_t *weight;    /* [out, width] */
    int width;
} axis;

static void free_axis(axis *a)
{
    free(a->first);
    free(a->count);
    free(a->weight);
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static int32_t to_fixed(double w)
{
    return (int32_t)(w * (1 << FRACTION_BITS) + (w < 0 ? -0.5 : 0.5));
}

static int make_axis(axis *a, int in, int out, vr_err *e)
{
    const double scale = (double)in / out, widen = scale > 1.0 ? scale : 1.0, support = 2.0 * widen;
    a->width = (int)ceil(support) * 2 + 1;
    a->first = calloc((size_t)out, sizeof *a->first);
    a->count = calloc((size_t)out, sizeof *a->count);
    a->weight = calloc((size_t)out * (size_t)a->width, sizeof *a->weight);
    double *w = malloc((size_t)a->width * sizeof *w);
    if (!a->first || !a->count || !a->weight || !w) {
        free(w);
        return vr_fail(e, VR_ERR_LIMIT, "no memory to resize a picture");
    }
    for (int o = 0; o < out; o++) {
        const double centre = (o + 0.5) * scale, inverse = 1.0 / widen;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        if (low < 0) low = 0;
        if (high > in) high = in;
        double sum = 0;
        for (int k = 0; k < high - low; k++) sum += w[k] = bicubic((k + low - centre + 0.5) * inverse);
        for (int k = 0; k < high - low; k++) {
            a->weight[(size_t)o * (size_t)a->width + (size_t)k] = to_fixed(sum != 0.0 ? w[k] * (1.0 / sum) : w[k]);
        }
        a->first[o] = low;
        a->count[o] = high - low;
    }
    free(w);
    return VR_OK;
}

static uint8_t from_fixed(int32_t sum)
{
    const int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One pixel of three samples; pixels of the input lie stride bytes apart. Weights are at most 1.7 together, so sums fit. */
static void weigh(uint8_t *out, const axis *a, int o, const uint8_t *in, size_t stride)
{
    const int32_t *weight = a->weight + (size_t)o * (size_t)a->width;
    int32_t sum[3] = { 1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1) };
    in += (size_t)a->first[o] * stride;
    for (int k = 0; k < a->count[o]; k++, in += stride) {
        sum[0] += weight[k] * in[0];
        sum[1] += weight[k] * in[1];
        sum[2] += weight[k] * in[2];
    }
    for (int c = 0; c < 3; c++) out[c] = from_fixed(sum[c]);
}

/* Rows of a padded picture repeat. */
static void across(uint8_t *out, int width, const uint8_t *in, int in_width, int rows, const axis *a)
{
    const size_t from_row = (size_t)in_width * 3, to_row = (size_t)width * 3;
    for (int y = 0; y < rows; y++, in += from_row, out += to_row) {
        if (y > 0 && memcmp(in, in - from_row, from_row) == 0) {
            memcpy(out, out - to_row, to_row);
            continue;
        }
        for (int x = 0; x < width; x++) weigh(out + x * 3, a, x, in, 3);
    }
}

static void down(uint8_t *out, int width, int height, const uint8_t *in, const axis *a)
{
    enum { BLOCK = 96 }; /* samples (32 pixels) summed side by side: a constant, so that vectors hold them */
    const size_t row = (size_t)width * 3;
    for (int y = 0; y < height; y++, out += row) {
        const int32_t *weight = a->weight + (size_t)y * (size_t)a->width;
        const uint8_t *first = in + (size_t)a->first[y] * row;
        size_t at = 0;
        for (; at + BLOCK <= row; at += BLOCK) {
            int32_t sum[BLOCK];
            for (int i = 0; i < BLOCK; i++) sum[i] = 1 << (FRACTION_BITS - 1);
            for (int k = 0; k < a->count[y]; k++) {
                const uint8_t *from = first + (size_t)k * row + at;
                for (int i = 0; i < BLOCK; i++) sum[i] += weight[k] * from[i];
            }
            for (int i = 0; i < BLOCK; i++) out[at + (size_t)i] = from_fixed(sum[i]);
        }
        for (; at < row; at += 3) weigh(out + at, a, y, in + at, row);
    }
}

int vr_resize_pil_bicubic(uint8_t *out, int width, int height, const uint8_t *in, int in_width, int in_height, vr_err *e)
{
    axis horizontal = { 0 }, vertical = { 0 };
    uint8_t *between = NULL;
    const uint8_t *columns = in; /* [in_height, width, 3] */
    int rc = VR_OK;
    if (width != in_width) {
        if ((rc = make_axis(&horizontal, in_width, width, e)) != VR_OK) goto done;
        uint8_t *target = out;
        if (height != in_height) target = between = malloc((size_t)in_height * (size_t)width * 3);
        if (!target) {
            rc = vr_fail(e, VR_ERR_LIMIT, "no memory to resize a picture of %d x %d pixels", in_width, in_height);
            goto done;
        }
        across(target, width, in, in_width, in_height, &horizontal);
        columns = target;
    }
    if (height != in_height) {
        if ((rc = make_axis(&vertical, in_height, height, e)) != VR_OK) goto done;
        down(out, width, height, columns, &vertical);
    } else if (columns == in) {
        memcpy(out, in, (size_t)width * (size_t)height * 3);
    }
done:
    free(between);
    free_axis(&horizontal);
    free_axis(&vertical);
    return rc;
}
