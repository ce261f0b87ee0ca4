/*
 * source.c - see source.h.
 *
 *   input -> demuxer -> best video stream -> scan -> info;  the demuxer is closed again, readers open their own
 *
 * Ref:   decord src/video/video_reader.cc (choice of stream, count of frames, rotation).
 * Trap:  rotation comes from the display matrix (FFmpeg 5 and later no longer export the "rotate" tag of old files).
 *        Its angle counts anticlockwise, ours clockwise. Orientation in EXIF data of pictures is not looked at: PIL ignores it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/display.h>

#include "base/limits.h"
#include "media/source_inside.h"

static const int32_t *display_matrix(const AVStream *stream)
{
    enum { MATRIX_BYTES = 9 * sizeof(int32_t) };
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *side = av_packet_side_data_get(stream->codecpar->coded_side_data,
                                                           stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return side && side->size >= MATRIX_BYTES ? (const int32_t *)(const void *)side->data : NULL;
#else
#if LIBAVFORMAT_VERSION_MAJOR >= 59
    size_t size = 0;
#else
    int size = 0;
#endif
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= MATRIX_BYTES ? (const int32_t *)(const void *)data : NULL;
#endif
}

int vr_stream_turns(const AVStream *stream)
{
    const int32_t *matrix = display_matrix(stream);
    if (!matrix) return 0;
    const double degrees = -av_display_rotation_get(matrix);
    if (!isfinite(degrees)) return 0;
    const int quarter = (int)lround(degrees / 90.0);
    if (fabs(degrees - 90.0 * quarter) > 1.0) return 0; /* other angles are not turned, as in decord */
    return ((quarter % 4 + 4) % 4) * 90;
}

static int stream_channels(const AVCodecParameters *parameters)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(59, 24, 100)
    return parameters->ch_layout.nb_channels;
#else
    return parameters->channels;
#endif
}

static void fill_info(vr_source *s, const vr_demuxer *d, int video, int audio)
{
    vr_source_info *info = &s->info;
    const AVStream *stream = d->format->streams[video];
    info->has_video = true;
    info->is_image = d->still || (s->scan.n == 1 && stream->codecpar->codec_id == AV_CODEC_ID_GIF);
    info->n_frames = s->scan.n;
    info->rate_den = 1;
    if (stream->avg_frame_rate.num > 0 && stream->avg_frame_rate.den > 0) {
        info->rate_num = stream->avg_frame_rate.num;
        info->rate_den = stream->avg_frame_rate.den;
    }
    info->width = stream->codecpar->width;
    info->height = stream->codecpar->height;
    info->rotation = info->is_image ? 0 : vr_stream_turns(stream);
    const int64_t duration = d->format->duration;
    info->seconds = duration != AV_NOPTS_VALUE && !info->is_image ? (double)duration / AV_TIME_BASE : 0;
    if (audio < 0) return;
    info->has_audio = true;
    info->sample_rate = d->format->streams[audio]->codecpar->sample_rate;
    info->channels = stream_channels(d->format->streams[audio]->codecpar);
}

/* Why there is no video stream to read. */
static int fail_stream(const vr_source *s, int video, int audio, vr_err *e)
{
    const char *name = s->input.name;
    if (video == AVERROR_DECODER_NOT_FOUND) return vr_fail(e, VR_ERR_VIDEO, "%s: no decoder for its video", name);
    if (audio >= 0) return vr_fail(e, VR_ERR_VIDEO, "%s: has sound but no video", name);
    return vr_fail(e, VR_ERR_VIDEO, "%s: has no video", name);
}

/* Some demuxers (matroska) take a file that breaks off for its end; the length that its header states gives it away. */
static void warn_short(const vr_source *s, const vr_demuxer *d, int video, const vr_log *log)
{
    const char *name = s->input.name;
    if (s->scan.cut_short) {
        vr_log_print(log, VR_LOG_WARN, "%s: the file is broken or cut short after %lld frames", name, (long long)s->scan.n);
        return;
    }
    if (!s->scan.timed || s->info.is_image) return;
    const double unit = av_q2d(d->format->streams[video]->time_base);
    const int64_t start = d->format->start_time != AV_NOPTS_VALUE ? d->format->start_time : 0;
    const double last = (double)s->scan.pts[s->scan.n - 1] * unit - (double)start / AV_TIME_BASE;
    if (s->info.seconds - last > 1.0 + 0.1 * s->info.seconds) {
        vr_log_print(log, VR_LOG_WARN, "%s: the last frame comes at %.1f of %.1f seconds; the file may be cut short", name,
                     last, s->info.seconds);
    }
}

static int read_source(vr_source *s, const vr_log *log, vr_err *e)
{
    vr_demuxer *d = NULL;
    VR_TRY(vr_demuxer_open(&d, &s->input, e));
    int rc = VR_OK;
    const int video = vr_demuxer_best(d, AVMEDIA_TYPE_VIDEO);
    const int audio = vr_demuxer_best(d, AVMEDIA_TYPE_AUDIO);
    if (video < 0) {
        rc = fail_stream(s, video, audio, e);
        goto done;
    }
    vr_demuxer_select(d, video);
    if ((rc = vr_scan_run(&s->scan, d, video, e)) != VR_OK) goto done;
    if (s->scan.n == 0) {
        rc = vr_fail(e, VR_ERR_VIDEO, "%s: its video has no frames", s->input.name);
        goto done;
    }
    fill_info(s, d, video, audio);
    if (s->info.width > VR_MAX_FRAME_SIDE || s->info.height > VR_MAX_FRAME_SIDE) {
        rc = vr_fail(e, VR_ERR_VIDEO, "%s: frames of %d x %d pixels are larger than %d a side", s->input.name, s->info.width,
                     s->info.height, VR_MAX_FRAME_SIDE);
        goto done;
    }
    warn_short(s, d, video, log);
done:
    vr_demuxer_free(d);
    return rc;
}

int vr_source_open(vr_source **out, const char *path, const vr_log *log, vr_err *e)
{
    *out = NULL;
    vr_source *s = calloc(1, sizeof *s);
    const size_t bytes = strlen(path) + 1;
    if (s) s->path = malloc(bytes);
    if (!s || !s->path) {
        free(s);
        return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", path);
    }
    memcpy(s->path, path, bytes);
    int rc = vr_input_open(&s->input, path, e);
    if (rc == VR_OK) rc = read_source(s, log, e);
    if (rc == VR_OK) *out = s, s = NULL;
    vr_source_free(s);
    return rc;
}

void vr_source_free(vr_source *s)
{
    if (!s) return;
    vr_scan_free(&s->scan);
    vr_input_close(&s->input);
    free(s->path);
    free(s);
}

void vr_source_info_get(const vr_source *source, vr_source_info *out)
{
    *out = source->info;
}

const char *vr_source_path(const vr_source *source)
{
    return source->path;
}

double vr_source_rate(const vr_source_info *info)
{
    return info->rate_num > 0 && info->rate_den > 0 ? (double)info->rate_num / (double)info->rate_den : 0;
}

void vr_source_shown(const vr_source_info *info, int *width, int *height)
{
    const bool turned = info->rotation % 180 != 0;
    *width = turned ? info->height : info->width;
    *height = turned ? info->width : info->height;
}
