/*
 * png.c - see png.h.
 *
 * Trap: what fwrite took may fail to reach the disk only when the file is closed.
 * Trap: a rename over a device or a pipe would replace it by a file: such a PATH is written to as it is.
 */
#include "media/png.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>

#include "base/file.h"

static int encoder_open(AVCodecContext **out, int width, int height)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;
    *out = context;
    if (!context) return AVERROR_ENCODER_NOT_FOUND;
    context->width = width;
    context->height = height;
    context->pix_fmt = AV_PIX_FMT_RGB24;
    context->time_base = (AVRational){ 1, 25 };
    return avcodec_open2(context, codec, NULL);
}

static int frame_fill(AVFrame *frame, const uint8_t *rgb, int width, int height)
{
    frame->format = AV_PIX_FMT_RGB24;
    frame->width = width;
    frame->height = height;
    const int code = av_frame_get_buffer(frame, 0);
    const size_t line = (size_t)width * 3;
    for (int y = 0; code >= 0 && y < height; y++)
        memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], rgb + (size_t)y * line, line);
    return code;
}

static int encode(AVPacket *packet, const uint8_t *rgb, int width, int height)
{
    AVCodecContext *context = NULL;
    AVFrame *frame = av_frame_alloc();
    int code = frame ? encoder_open(&context, width, height) : AVERROR(ENOMEM);
    if (code >= 0) code = frame_fill(frame, rgb, width, height);
    if (code >= 0) code = avcodec_send_frame(context, frame);
    if (code >= 0) code = avcodec_send_frame(context, NULL);
    if (code >= 0) code = avcodec_receive_packet(context, packet);
    av_frame_free(&frame);
    avcodec_free_context(&context);
    return code;
}

/* The name that is written to; NULL: no memory. Owned by the caller. */
static char *part_name(const char *path, bool *as_it_is)
{
    const size_t room = strlen(path) + sizeof ".part";
    char *const part = malloc(room);
    struct stat there;
    *as_it_is = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    if (part) snprintf(part, room, "%s%s", path, *as_it_is ? "" : ".part");
    return part;
}

int vr_png_check(const char *path, vr_err *e)
{
    bool as_it_is;
    char *const part = part_name(path, &as_it_is);
    const int rc = part ? vr_file_check(part, e) : vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", path);
    free(part);
    return rc;
}

static int file_write(const char *path, const void *data, size_t n_bytes, vr_err *e)
{
    bool as_it_is;
    char *const part = part_name(path, &as_it_is);
    if (!part) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", path);
    FILE *file = fopen(part, "wb");
    int why = file ? 0 : errno;
    if (file && fwrite(data, 1, n_bytes, file) != n_bytes) why = errno;
    if (file && fclose(file) != 0 && why == 0) why = errno;
    if (why == 0 && !as_it_is && rename(part, path) != 0) why = errno;
    if (why != 0 && file && !as_it_is) unlink(part);
    free(part);
    return why == 0 ? VR_OK : vr_fail(e, VR_ERR_OTHER, "%s: cannot be written: %s", path, strerror(why));
}

int vr_png_write(const char *path, const uint8_t *rgb, int width, int height, vr_err *e)
{
    AVPacket *packet = av_packet_alloc();
    const int code = packet ? encode(packet, rgb, width, height) : AVERROR(ENOMEM);
    int rc;
    if (code < 0) {
        char why[AV_ERROR_MAX_STRING_SIZE] = "";
        av_strerror(code, why, sizeof why);
        rc = vr_fail(e, VR_ERR_OTHER, "%s: the picture cannot be made: %s", path, why);
    } else {
        rc = file_write(path, packet->data, (size_t)packet->size, e);
    }
    av_packet_free(&packet);
    return rc;
}
