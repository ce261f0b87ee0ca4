/*
 * picture.c - see picture.h.
 *
 *   packed formats: bytes r, g, b of each pixel by table | palette | 1 bit | 16-bit grey | JPEG planes (jpeg_rgb.c)
 *
 * Ref:   Pillow src/libImaging/Convert.c, PngImagePlugin.py (modes), Unpack.c.
 * Trap:  PIL drops alpha without blending. Of 16-bit colours it keeps the high byte, but 16-bit grey is clipped at 255.
 */
#include "media/picture.h"

#include <stdlib.h>

#include <libavutil/intreadwrite.h>
#include <libavutil/pixfmt.h>

#include "media/frames.h"
#include "media/jpeg_rgb.h"

/* Where the bytes of a pixel that PIL keeps lie. */
typedef struct packing {
    enum AVPixelFormat format;
    uint8_t step, r, g, b;
} packing;

static const packing packings[] = {
    { AV_PIX_FMT_RGB24, 3, 0, 1, 2 },    { AV_PIX_FMT_BGR24, 3, 2, 1, 0 },   { AV_PIX_FMT_RGBA, 4, 0, 1, 2 },
    { AV_PIX_FMT_BGRA, 4, 2, 1, 0 },     { AV_PIX_FMT_ARGB, 4, 1, 2, 3 },    { AV_PIX_FMT_ABGR, 4, 3, 2, 1 },
    { AV_PIX_FMT_RGB0, 4, 0, 1, 2 },     { AV_PIX_FMT_BGR0, 4, 2, 1, 0 },    { AV_PIX_FMT_0RGB, 4, 1, 2, 3 },
    { AV_PIX_FMT_0BGR, 4, 3, 2, 1 },     { AV_PIX_FMT_GRAY8, 1, 0, 0, 0 },   { AV_PIX_FMT_YA8, 2, 0, 0, 0 },
    { AV_PIX_FMT_RGB48BE, 6, 0, 2, 4 },  { AV_PIX_FMT_RGB48LE, 6, 1, 3, 5 }, { AV_PIX_FMT_RGBA64BE, 8, 0, 2, 4 },
    { AV_PIX_FMT_RGBA64LE, 8, 1, 3, 5 }, { AV_PIX_FMT_YA16BE, 4, 0, 0, 0 },  { AV_PIX_FMT_YA16LE, 4, 1, 1, 1 },
};

static void grey(uint8_t *rgb, uint8_t value)
{
    rgb[0] = rgb[1] = rgb[2] = value;
}

static void copy_packed(uint8_t *rgb, const AVFrame *frame, const packing *p)
{
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *in = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x++, in += p->step, rgb += 3) {
            rgb[0] = in[p->r];
            rgb[1] = in[p->g];
            rgb[2] = in[p->b];
        }
    }
}

static void copy_palette(uint8_t *rgb, const AVFrame *frame)
{
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *in = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x++, rgb += 3) {
            const uint32_t colour = AV_RN32(frame->data[1] + (ptrdiff_t)in[x] * 4); /* 0xAARRGGBB in native order */
            rgb[0] = (uint8_t)(colour >> 16);
            rgb[1] = (uint8_t)(colour >> 8);
            rgb[2] = (uint8_t)colour;
        }
    }
}

static void copy_bits(uint8_t *rgb, const AVFrame *frame, bool one_is_white)
{
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *in = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x++, rgb += 3) {
            const bool one = (in[x / 8] >> (7 - x % 8)) & 1;
            grey(rgb, one == one_is_white ? 255 : 0);
        }
    }
}

static void copy_grey16(uint8_t *rgb, const AVFrame *frame, bool big_endian)
{
    for (int y = 0; y < frame->height; y++) {
        const uint8_t *in = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x++, in += 2, rgb += 3) {
            const unsigned value = big_endian ? AV_RB16(in) : AV_RL16(in);
            grey(rgb, (uint8_t)(value > 255 ? 255 : value));
        }
    }
}

/* PIL's conversion to rgb [height, width, 3]; false: no rule for this format. */
static bool convert(uint8_t *rgb, const AVFrame *frame)
{
    for (size_t i = 0; i < sizeof packings / sizeof *packings; i++) {
        if ((int)packings[i].format != frame->format) continue;
        copy_packed(rgb, frame, &packings[i]);
        return true;
    }
    switch (frame->format) {
    case AV_PIX_FMT_PAL8:
        copy_palette(rgb, frame);
        return true;
    case AV_PIX_FMT_MONOBLACK:
        copy_bits(rgb, frame, true);
        return true;
    case AV_PIX_FMT_MONOWHITE:
        copy_bits(rgb, frame, false);
        return true;
    case AV_PIX_FMT_GRAY16BE:
        copy_grey16(rgb, frame, true);
        return true;
    case AV_PIX_FMT_GRAY16LE:
        copy_grey16(rgb, frame, false);
        return true;
    default:
        return vr_jpeg_rgb(rgb, frame);
    }
}

int vr_picture_resize(uint8_t *rgb, int width, int height, const AVFrame *frame, bool still, vr_scaler *scaler, vr_err *e)
{
    int full_width = frame->width, full_height = frame->height;
    if (!still) vr_scaler_turned_size(scaler, frame, &full_width, &full_height);
    uint8_t *full = malloc((size_t)full_width * (size_t)full_height * 3);
    if (!full) return vr_fail(e, VR_ERR_LIMIT, "no memory for a picture of %d x %d pixels", full_width, full_height);
    int rc = VR_OK;
    if (!still || !convert(full, frame)) rc = vr_scaler_run(scaler, full, full_width, full_height, frame, e);
    if (rc == VR_OK) rc = vr_resize_pil_bicubic(rgb, width, height, full, full_width, full_height, e);
    free(full);
    return rc;
}
