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

static uint8_t from_fixed(int64_t sum)
{
    const int64_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One output sample; samples of the input lie stride bytes apart. */
static uint8_t weigh(const axis *a, int o, const uint8_t *in, size_t stride)
{
    const int32_t *weight = a->weight + (size_t)o * (size_t)a->width;
    int64_t sum = 1 << (FRACTION_BITS - 1);
    in += (size_t)a->first[o] * stride;
    for (int k = 0; k < a->count[o]; k++) sum += (int64_t)weight[k] * in[(size_t)k * stride];
    return from_fixed(sum);
}

static void across(uint8_t *out, int width, const uint8_t *in, int in_width, int rows, const axis *a)
{
    for (int y = 0; y < rows; y++) {
        const uint8_t *from = in + (size_t)y * (size_t)in_width * 3;
        uint8_t *to = out + (size_t)y * (size_t)width * 3;
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < 3; c++) to[x * 3 + c] = weigh(a, x, from + c, 3);
        }
    }
}

static void down(uint8_t *out, int width, int height, const uint8_t *in, const axis *a)
{
    const size_t row = (size_t)width * 3;
    for (int y = 0; y < height; y++) {
        for (size_t i = 0; i < row; i++) out[(size_t)y * row + i] = weigh(a, y, in + i, row);
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
