/*
 * scale.c - see scale.h.
 *
 *   vr_scaler_run:  frame -> [pass `squarable` -> turn_frame] -> pass `final` -> rows copied out
 *
 * Ref:   FFmpeg libavfilter/vf_scale.c (config_props, scale_frame: options given to swscale), vf_transpose.c (formats it
 *        accepts); decord src/video/ffmpeg/threaded_decoder.cc:18-45 (transpose before scale).
 * Trap:  vf_scale places the chroma of yuv420p, and of no other format, at 128/256 of a line (MPEG-2); colour matrix and
 *        range are the frame's own, untagged means BT.601. Otherwise pixels are off by some levels, by up to 60 at edges.
 * Trap:  swscale writes and reads in blocks: planes live in buffers of av_frame_get_buffer, never in the caller's tight rows.
 */
#include "media/scale.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

/* One swscale conversion with the picture it writes; rebuilt when what comes in or goes out changes. */
typedef struct pass {
    struct SwsContext *sws;
    AVFrame *out;
    int in_width, in_height, in_format;
    enum AVColorSpace space;
    enum AVColorRange range;
} pass;

struct vr_scaler {
    const char *name; /* borrowed */
    int rotation;
    pass squarable; /* to a format that can be turned */
    pass final;     /* to RGB24 */
    AVFrame *turned;
};

static int no_memory(const vr_scaler *s, vr_err *e)
{
    return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for a frame", s->name);
}

/* Fresh storage for frame; its old one is dropped. */
static bool allocate(AVFrame **frame, int width, int height, int format)
{
    if (!*frame) *frame = av_frame_alloc();
    if (!*frame) return false;
    av_frame_unref(*frame);
    (*frame)->width = width;
    (*frame)->height = height;
    (*frame)->format = format;
    return av_frame_get_buffer(*frame, 0) == 0;
}

static bool pass_fits(const pass *p, const AVFrame *in, int width, int height, int format)
{
    return p->sws && p->in_width == in->width && p->in_height == in->height && p->in_format == in->format &&
           p->space == in->colorspace && p->range == in->color_range && p->out->width == width && p->out->height == height &&
           p->out->format == format;
}

/* The matrix of the frame; vf_scale knows those up to BT.2020 and takes the rest for BT.601. */
static const int *matrix_of(enum AVColorSpace space)
{
    const int number = (int)space;
    const bool known = number >= 1 && number <= 10 && space != AVCOL_SPC_YCGCO;
    return sws_getCoefficients(known ? number : AVCOL_SPC_BT470BG);
}

static void set_colours(pass *p)
{
    int *in_table, *out_table, in_full, out_full, brightness, contrast, saturation;
    if (sws_getColorspaceDetails(p->sws, &in_table, &in_full, &out_table, &out_full, &brightness, &contrast, &saturation) < 0)
        return;
    if (p->range != AVCOL_RANGE_UNSPECIFIED) in_full = p->range == AVCOL_RANGE_JPEG;
    const int *matrix = matrix_of(p->space);
    sws_setColorspaceDetails(p->sws, matrix, in_full, matrix, out_full, brightness, contrast, saturation);
}

static int build_pass(const vr_scaler *s, pass *p, const AVFrame *in, int width, int height, int format, vr_err *e)
{
    sws_freeContext(p->sws);
    p->sws = sws_alloc_context();
    if (!p->sws || !allocate(&p->out, width, height, format)) return no_memory(s, e);
    p->in_width = in->width;
    p->in_height = in->height;
    p->in_format = in->format;
    p->space = in->colorspace;
    p->range = in->color_range;
    const struct {
        const char *name;
        int value;
    } options[] = {
        { "sws_flags", SWS_BILINEAR },
        { "srcw", in->width },
        { "srch", in->height },
        { "src_format", in->format },
        { "dstw", width },
        { "dsth", height },
        { "dst_format", format },
        { "src_h_chr_pos", -513 },
        { "dst_h_chr_pos", -513 },
        { "src_v_chr_pos", in->format == AV_PIX_FMT_YUV420P ? 128 : -513 },
        { "dst_v_chr_pos", format == AV_PIX_FMT_YUV420P ? 128 : -513 },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) av_opt_set_int(p->sws, options[i].name, options[i].value, 0);
    if (sws_init_context(p->sws, NULL, NULL) < 0) {
        const char *pixels = av_get_pix_fmt_name(in->format);
        sws_freeContext(p->sws);
        p->sws = NULL;
        return vr_fail(e, VR_ERR_VIDEO, "%s: frames of %d x %d pixels, '%s', cannot be scaled to %d x %d", s->name, in->width,
                       in->height, pixels ? pixels : "unknown", width, height);
    }
    set_colours(p);
    return VR_OK;
}

static int run_pass(const vr_scaler *s, pass *p, const AVFrame *in, int width, int height, int format, vr_err *e)
{
    if (!pass_fits(p, in, width, height, format)) VR_TRY(build_pass(s, p, in, width, height, format, e));
    const int rows =
        sws_scale(p->sws, (const uint8_t *const *)in->data, in->linesize, 0, in->height, p->out->data, p->out->linesize);
    if (rows != height) return vr_fail(e, VR_ERR_VIDEO, "%s: a frame cannot be scaled", s->name);
    p->out->colorspace = in->colorspace;
    p->out->color_range = in->color_range;
    return VR_OK;
}

/* Formats whose planes may be turned: whole bytes per sample, chroma as wide as it is high. */
static bool can_turn(const AVPixFmtDescriptor *format)
{
    const uint64_t not_planes = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BITSTREAM;
    return !(format->flags & not_planes) && format->log2_chroma_w == format->log2_chroma_h;
}

/* The format nearest to this one that can be turned, as FFmpeg's filter graph chooses it. */
static enum AVPixelFormat turnable_format(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *from = av_pix_fmt_desc_get(format);
    if (!from || can_turn(from)) return format;
    const int has_alpha = (from->flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
    enum AVPixelFormat best = AV_PIX_FMT_NONE;
    for (const AVPixFmtDescriptor *d = av_pix_fmt_desc_next(NULL); d; d = av_pix_fmt_desc_next(d)) {
        const enum AVPixelFormat id = av_pix_fmt_desc_get_id(d);
        if (can_turn(d) && sws_isSupportedOutput(id)) best = av_find_best_pix_fmt_of_2(best, id, format, has_alpha, NULL);
    }
    return best;
}

/* out [out_h, out_w] pixels of step bytes, from in turned clockwise; sizes are those of the output plane. */
static void turn_plane(uint8_t *out, int out_stride, int out_w, int out_h, const uint8_t *in, int in_stride, int step,
                       int rotation)
{
    const ptrdiff_t line = in_stride, pixel = step;
    /* offset of the input pixel of output (0,0), and what one step right and one step down in the output are in the input */
    ptrdiff_t origin = 0, right = pixel, down = line;
    switch (rotation) {
    case 90:
        origin = (out_w - 1) * line, right = -line, down = pixel;
        break;
    case 180:
        origin = (out_h - 1) * line + (out_w - 1) * pixel, right = -pixel, down = -line;
        break;
    case 270:
        origin = (out_h - 1) * pixel, right = line, down = -pixel;
        break;
    default:
        break;
    }
    for (int y = 0; y < out_h; y++) {
        uint8_t *to = out + (ptrdiff_t)y * out_stride;
        const uint8_t *from = in + origin + y * down;
        for (int x = 0; x < out_w; x++) {
            if (step == 1) {
                to[x] = from[x * right];
            } else {
                memcpy(to + x * pixel, from + x * right, (size_t)step);
            }
        }
    }
}

void vr_scaler_turned_size(const vr_scaler *s, const AVFrame *frame, int *width, int *height)
{
    const bool sideways = s->rotation == 90 || s->rotation == 270;
    *width = sideways ? frame->height : frame->width;
    *height = sideways ? frame->width : frame->height;
}

static int turn_frame(vr_scaler *s, const AVFrame *in, vr_err *e)
{
    int width, height;
    vr_scaler_turned_size(s, in, &width, &height);
    if (!allocate(&s->turned, width, height, in->format)) return no_memory(s, e);
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(in->format);
    int steps[4];
    av_image_fill_max_pixsteps(steps, NULL, format);
    const int n_planes = av_pix_fmt_count_planes(in->format);
    for (int i = 0; i < n_planes; i++) {
        const int shift = i == 1 || i == 2 ? format->log2_chroma_w : 0; /* plane 3 is alpha */
        turn_plane(s->turned->data[i], s->turned->linesize[i], AV_CEIL_RSHIFT(width, shift), AV_CEIL_RSHIFT(height, shift),
                   in->data[i], in->linesize[i], steps[i], s->rotation);
    }
    s->turned->colorspace = in->colorspace;
    s->turned->color_range = in->color_range;
    return VR_OK;
}

int vr_scaler_open(vr_scaler **out, const char *name, int rotation, vr_err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
    (*out)->name = name;
    (*out)->rotation = rotation;
    return VR_OK;
}

static void close_pass(pass *p)
{
    sws_freeContext(p->sws);
    av_frame_free(&p->out);
}

void vr_scaler_free(vr_scaler *s)
{
    if (!s) return;
    close_pass(&s->squarable);
    close_pass(&s->final);
    av_frame_free(&s->turned);
    free(s);
}

int vr_scaler_run(vr_scaler *s, uint8_t *rgb, int width, int height, const AVFrame *frame, vr_err *e)
{
    const AVFrame *in = frame;
    if (s->rotation != 0) {
        const enum AVPixelFormat format = turnable_format(in->format);
        if (format != (enum AVPixelFormat)in->format) {
            VR_TRY(run_pass(s, &s->squarable, in, in->width, in->height, format, e));
            in = s->squarable.out;
        }
        VR_TRY(turn_frame(s, in, e));
        in = s->turned;
    }
    VR_TRY(run_pass(s, &s->final, in, width, height, AV_PIX_FMT_RGB24, e));
    const size_t row_bytes = (size_t)width * 3;
    for (int y = 0; y < height; y++) {
        memcpy(rgb + (size_t)y * row_bytes, s->final.out->data[0] + (ptrdiff_t)y * s->final.out->linesize[0], row_bytes);
    }
    return VR_OK;
}
