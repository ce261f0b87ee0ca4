/*
 * demux.c - see demux.h.
 *
 * Ref:   FFmpeg libavformat/avformat.h (custom I/O, io_open), utils.c av_find_best_stream.
 * Trap:  image2 (numbered files), hls, dash, concat, sdp and the subtitle formats are not on the list on purpose: they open
 *        other files or are no video. Pictures come in through their *_pipe demuxers.
 * Trap:  after a custom buffer is handed to an AVIOContext, FFmpeg may replace it: free io->buffer, not the pointer given.
 */
#include "media/demux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libavutil/log.h>

#include "base/limits.h"

#if LIBAVFORMAT_VERSION_MAJOR < 59 /* const came with FFmpeg 5 */
typedef AVInputFormat input_format;
typedef AVCodec decoder_type;
#else
typedef const AVInputFormat input_format;
typedef const AVCodec decoder_type;
#endif

static const char *const accepted_formats[] = {
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo",    "flv",  "live_flv", "asf",  "ogg",
    "nut", "mxf",      "ivf", "dv",     "h264", "hevc",         "vvc",  "m4v",      "obu",  "av1",
    "vc1", "mjpeg",    "gif", "apng",   "wav",  "yuv4mpegpipe", "mp3",  "flac",     "aac",  "aiff",
    "au",  "w64",      "caf", "amr",    "webm", "ac3",          "eac3", "rm",       "h263", "opus",
};

static const char *const accepted_pictures[] = {
    "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "pam_pipe", "pbm_pipe", "pgm_pipe", "ppm_pipe", "gif_pipe",
};

static int read_input(void *opaque, uint8_t *buffer, int n)
{
    vr_demuxer *d = opaque;
    ssize_t got;
    if (d->input->read_on) return d->input->read_on(d->input->cookie, buffer, n);
    do {
        got = pread(d->input->fd, buffer, (size_t)n, (off_t)d->position);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return AVERROR(errno);
    if (got == 0) return AVERROR_EOF;
    d->position += got;
    return (int)got;
}

static int64_t seek_input(void *opaque, int64_t offset, int whence)
{
    vr_demuxer *d = opaque;
    int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return d->input->size;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        base = d->position;
        break;
    case SEEK_END:
        base = d->input->size;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < -base || offset > INT64_MAX - base) return AVERROR(EINVAL);
    d->position = base + offset;
    return d->position;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
    (void)format, (void)url, (void)flags, (void)options;
    *io = NULL;
    return AVERROR(EACCES);
}

/* Format names are lists: "mov,mp4,m4a,3gp,3g2,mj2". The first name is enough. */
static bool listed(const char *const *names, size_t count, const char *format)
{
    const size_t length = strcspn(format, ",");
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == length && strncmp(names[i], format, length) == 0) return true;
    }
    return false;
}

static int fail_av(const vr_input *input, int code, const char *what, vr_err *e)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    if (code == AVERROR(ENOMEM)) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", input->name);
    return vr_fail(e, VR_ERR_VIDEO, "%s: %s (%s)", input->name, what, text);
}

static int open_io(vr_demuxer *d, vr_err *e)
{
    enum { IO_BUFFER = 1 << 16 };
    unsigned char *buffer = av_malloc(IO_BUFFER);
    if (buffer)
        d->io = avio_alloc_context(buffer, IO_BUFFER, 0, d, read_input, NULL, d->input->read_on ? NULL : seek_input);
    if (d->io) return VR_OK;
    av_free(buffer);
    return fail_av(d->input, AVERROR(ENOMEM), "", e);
}

/* Find the container by its content and check it against the lists. */
static int probe(vr_demuxer *d, input_format **format, vr_err *e)
{
    input_format *found = NULL;
    const int score = av_probe_input_buffer2(d->io, &found, "", NULL, 0, 0);
    if (score < 0 || !found) {
        return vr_fail(e, VR_ERR_VIDEO, "%s: is no video, picture or sound file that is known here", d->input->name);
    }
    d->still = listed(accepted_pictures, sizeof accepted_pictures / sizeof *accepted_pictures, found->name);
    if (!d->still && !listed(accepted_formats, sizeof accepted_formats / sizeof *accepted_formats, found->name)) {
        return vr_fail(e, VR_ERR_VIDEO, "%s: files of the kind '%s' are not accepted", d->input->name, found->name);
    }
    *format = found;
    return VR_OK;
}

static int open_container(vr_demuxer *d, input_format *format, vr_err *e)
{
    d->format = avformat_alloc_context();
    if (!d->format) return fail_av(d->input, AVERROR(ENOMEM), "", e);
    d->format->pb = d->io;
    d->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    d->format->io_open = refuse_open;
    const int code = avformat_open_input(&d->format, "", format, NULL); /* frees and clears d->format when it fails */
    if (code < 0) return fail_av(d->input, code, "the container cannot be read, broken or cut short", e);
    return VR_OK;
}

/* FFmpeg decodes a little here already, so that the limit on picture sizes has to be set before. */
static int find_streams(vr_demuxer *d, vr_err *e)
{
    if (d->input->read_on) { /* who follows a stream wants to see, not to wait for its frame rate */
        d->format->fps_probe_size = 0;
        d->format->max_analyze_duration = AV_TIME_BASE;
    }
    const unsigned n = d->format->nb_streams;
    AVDictionary **options =
        n ? calloc(n, sizeof *options) : NULL; /* NOLINT(bugprone-sizeof-expression): an array of pointers */
    if (n && !options) return fail_av(d->input, AVERROR(ENOMEM), "", e);
    for (unsigned i = 0; i < n; i++) {
        av_dict_set_int(&options[i], "max_pixels", (int64_t)VR_MAX_FRAME_SIDE * VR_MAX_FRAME_SIDE, 0);
    }
    const int code = avformat_find_stream_info(d->format, options);
    for (unsigned i = 0; i < n; i++) av_dict_free(&options[i]);
    free(options);
    return code < 0 ? fail_av(d->input, code, "no streams can be read", e) : VR_OK;
}

int vr_demuxer_open(vr_demuxer **out, const vr_input *input, vr_err *e)
{
    *out = NULL;
    av_log_set_level(AV_LOG_QUIET);
    vr_demuxer *d = calloc(1, sizeof *d);
    if (!d) return fail_av(input, AVERROR(ENOMEM), "", e);
    d->input = input;
    input_format *format = NULL;
    int rc = open_io(d, e);
    if (rc == VR_OK) rc = probe(d, &format, e);
    if (rc == VR_OK) rc = open_container(d, format, e);
    if (rc == VR_OK) rc = find_streams(d, e);
    if (rc == VR_OK) *out = d, d = NULL;
    vr_demuxer_free(d);
    return rc;
}

void vr_demuxer_free(vr_demuxer *d)
{
    if (!d) return;
    avformat_close_input(&d->format);
    if (d->io) av_freep(&d->io->buffer);
    avio_context_free(&d->io);
    free(d);
}

static int find_best(const vr_demuxer *d, enum AVMediaType type, int wanted)
{
    decoder_type *decoder = NULL;
    return av_find_best_stream(d->format, type, wanted, -1, &decoder, 0);
}

int vr_demuxer_best(const vr_demuxer *d, enum AVMediaType type)
{
    const int best = find_best(d, type, -1);
    if (best < 0 || !(d->format->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC)) return best;
    for (unsigned i = 0; i < d->format->nb_streams; i++) {
        if (d->format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC) continue;
        const int other = find_best(d, type, (int)i);
        if (other >= 0) return other;
    }
    return AVERROR_STREAM_NOT_FOUND;
}

void vr_demuxer_select(vr_demuxer *d, int stream)
{
    for (unsigned i = 0; i < d->format->nb_streams; i++) {
        d->format->streams[i]->discard = (int)i == stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
}

int vr_demuxer_read(vr_demuxer *d, int stream, AVPacket *packet)
{
    enum { MAX_AGAIN = 1000 }; /* a demuxer that keeps asking to be called again is treated as broken */
    for (int again = 0; again < MAX_AGAIN;) {
        const int code = av_read_frame(d->format, packet);
        if (code == AVERROR(EAGAIN)) {
            again++;
            continue;
        }
        if (code < 0) return code;
        if (packet->stream_index == stream) return 0;
        av_packet_unref(packet); /* of a stream that appeared after the selection */
    }
    return AVERROR_INVALIDDATA;
}
