/*
 * jpeg_rgb.c - see jpeg_rgb.h.
 *
 *   chroma rows y/2-1, y/2, y/2+1 --(3 near + 1 far)--> column sums --(3 near + 1 far)--> one full chroma row -> pixels
 *
 * Trap:  the rounding alternates (+1, +2 of 4 across; +8, +7 of 16 in both), so that no drift builds up; edges repeat.
 * Trap:  chroma halved across and at most two samples wide is not smoothed at all, only repeated.
 */
#include "media/jpeg_rgb.h"

#include <stddef.h>
#include <stdlib.h>

#include <libavutil/pixdesc.h>

/* Two neighbours weighed 3 to 1 down; scaled by 4, or by 1 where chroma is as high as luma. */
static void sum_rows(int *sums, const AVFrame *frame, int plane, int y, int chroma_width, int chroma_height, int shift_h,
                     bool smooth)
{
    const ptrdiff_t stride = frame->linesize[plane];
    const int row = y >> shift_h;
    const uint8_t *near = frame->data[plane] + row * stride;
    if (shift_h == 0) {
        for (int x = 0; x < chroma_width; x++) sums[x] = near[x];
        return;
    }
    int other = (y & 1) ? row + 1 : row - 1;
    if (other < 0) other = 0;
    if (other >= chroma_height) other = chroma_height - 1;
    if (!smooth) other = row;
    const uint8_t *far = frame->data[plane] + other * stride;
    for (int x = 0; x < chroma_width; x++) sums[x] = near[x] * 3 + far[x];
}

/* One row of chroma at full width. sums [chroma_width] are scaled by 4 when shift_h is 1. */
static void widen(uint8_t *out, int width, const int *sums, int chroma_width, int shift_w, int shift_h, bool smooth, int y)
{
    if (shift_w == 0) {
        const int round = (y & 1) ? 2 : 1;
        for (int x = 0; x < width; x++) out[x] = (uint8_t)(shift_h ? (sums[x] + round) >> 2 : sums[x]);
        return;
    }
    const int shift = shift_h ? 4 : 2, round_left = shift_h ? 8 : 1, round_right = shift_h ? 7 : 2;
    for (int x = 0; x < width; x++) {
        const int at = x >> 1, right = x & 1;
        int other = right ? at + 1 : at - 1;
        if (!smooth || other < 0 || other >= chroma_width) other = at;
        out[x] = (uint8_t)((sums[at] * 3 + sums[other] + (right ? round_right : round_left)) >> shift);
    }
}

static uint8_t clip(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void colour_row(uint8_t *rgb, const uint8_t *luma, const uint8_t *blue, const uint8_t *red, int width)
{
    enum { HALF = 1 << 15, R_CR = 91881, B_CB = 116130, G_CR = 46802, G_CB = 22554 }; /* 1.402, 1.772, .71414, .34414 * 2^16 */
    for (ptrdiff_t x = 0; x < width; x++) {
        const int cb = blue[x] - 128, cr = red[x] - 128, y = luma[x];
        rgb[3 * x] = clip(y + ((R_CR * cr + HALF) >> 16));
        rgb[3 * x + 1] = clip(y + ((HALF - G_CB * cb - G_CR * cr) >> 16));
        rgb[3 * x + 2] = clip(y + ((B_CB * cb + HALF) >> 16));
    }
}

/* Chroma shifts of the layouts that are handled; false for any other. */
static bool layout_of(const AVFrame *frame, int *shift_w, int *shift_h)
{
    bool full_range = frame->color_range == AVCOL_RANGE_JPEG;
    switch (frame->format) {
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ420P:
        full_range = true;
        break;
    case AV_PIX_FMT_YUV444P:
    case AV_PIX_FMT_YUV422P:
    case AV_PIX_FMT_YUV440P:
    case AV_PIX_FMT_YUV420P:
        break;
    default:
        return false;
    }
    return full_range && av_pix_fmt_get_chroma_sub_sample(frame->format, shift_w, shift_h) == 0;
}

/* JPEGs stored as RGB, and CMYK after libavcodec has multiplied by K, arrive as planes G, B, R. */
static void copy_planes(uint8_t *rgb, const AVFrame *frame)
{
    static const int plane_of[3] = { 2, 0, 1 };
    for (int y = 0; y < frame->height; y++, rgb += (ptrdiff_t)frame->width * 3) {
        for (int c = 0; c < 3; c++) {
            const uint8_t *in = frame->data[plane_of[c]] + (ptrdiff_t)y * frame->linesize[plane_of[c]];
            for (ptrdiff_t x = 0; x < frame->width; x++) rgb[3 * x + c] = in[x];
        }
    }
}

bool vr_jpeg_rgb(uint8_t *rgb, const AVFrame *frame)
{
    if (frame->format == AV_PIX_FMT_GBRP || frame->format == AV_PIX_FMT_GBRAP) {
        copy_planes(rgb, frame);
        return true;
    }
    int shift_w, shift_h;
    if (!layout_of(frame, &shift_w, &shift_h)) return false;
    const int width = frame->width;
    const int chroma_width = AV_CEIL_RSHIFT(width, shift_w), chroma_height = AV_CEIL_RSHIFT(frame->height, shift_h);
    const bool smooth = shift_w == 0 || chroma_width > 2;
    int *sums = calloc((size_t)chroma_width, sizeof *sums);
    uint8_t *chroma = calloc((size_t)width, 2);
    if (sums && chroma) {
        for (int y = 0; y < frame->height; y++) {
            for (int i = 0; i < 2; i++) {
                sum_rows(sums, frame, i + 1, y, chroma_width, chroma_height, shift_h, smooth);
                widen(chroma + (ptrdiff_t)i * width, width, sums, chroma_width, shift_w, shift_h, smooth, y);
            }
            const uint8_t *luma = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
            colour_row(rgb + (ptrdiff_t)y * width * 3, luma, chroma, chroma + width, width);
        }
    }
    const bool done = sums && chroma;
    free(sums);
    free(chroma);
    return done;
}
