/*
 * decoder.c - see decoder.h.
 *
 * Ref:   FFmpeg libavcodec/avcodec.h, "send/receive encoding and decoding API overview".
 * Trap:  a demuxer may land anywhere before (mov, mkv) or after (mpegts, broken indexes) the time asked for, and may derive
 *        other dts for the packets around it; a seek counts only when the key packet with the pts of the scan comes by again.
 */
#include "media/decoder.h"

#include <stdlib.h>

#include "base/limits.h"

static int open_codec(vr_decoder *d, enum AVMediaType type, vr_err *e)
{
    const char *name = d->demuxer->input->name;
    const char *kind = type == AVMEDIA_TYPE_VIDEO ? "video" : "sound";
    d->stream = vr_demuxer_best(d->demuxer, type);
    if (d->stream == AVERROR_DECODER_NOT_FOUND) return vr_fail(e, VR_ERR_VIDEO, "%s: no decoder for its %s", name, kind);
    if (d->stream < 0) return vr_fail(e, VR_ERR_VIDEO, "%s: has no %s", name, kind);
    vr_demuxer_select(d->demuxer, d->stream);
    const AVStream *stream = d->demuxer->format->streams[d->stream];
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    if (!codec) return vr_fail(e, VR_ERR_VIDEO, "%s: no decoder for its %s", name, kind);
    d->codec = avcodec_alloc_context3(codec);
    d->packet = av_packet_alloc();
    if (!d->codec || !d->packet || avcodec_parameters_to_context(d->codec, stream->codecpar) < 0) {
        return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
    }
    d->codec->pkt_timebase = stream->time_base;
    d->codec->thread_count = d->demuxer->input->read_on ? 1 : 2; /* a second thread would hold a frame of a stream back */
    d->codec->max_pixels = (int64_t)VR_MAX_FRAME_SIDE * VR_MAX_FRAME_SIDE;
    if (d->demuxer->still) d->codec->idct_algo = FF_IDCT_INT; /* JPEG: libjpeg's transform, as PIL has it */
    const int code = avcodec_open2(d->codec, codec, NULL);
    if (code < 0) return vr_fail(e, VR_ERR_VIDEO, "%s: the decoder '%s' refuses its %s", name, codec->name, kind);
    return VR_OK;
}

int vr_decoder_open(vr_decoder **out, const vr_input *input, enum AVMediaType type, vr_err *e)
{
    *out = NULL;
    vr_decoder *d = calloc(1, sizeof *d);
    if (!d) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", input->name);
    int rc = vr_demuxer_open(&d->demuxer, input, e);
    if (rc == VR_OK) rc = open_codec(d, type, e);
    if (rc == VR_OK) *out = d, d = NULL;
    vr_decoder_free(d);
    return rc;
}

void vr_decoder_free(vr_decoder *d)
{
    if (!d) return;
    avcodec_free_context(&d->codec);
    av_packet_free(&d->packet);
    vr_demuxer_free(d->demuxer);
    free(d);
}

/* Give the codec its next packet, or the end. Only AVERROR(ENOMEM) is a failure. */
static int feed(vr_decoder *d)
{
    if (!d->packet_held && !d->draining) {
        const int code = vr_demuxer_read(d->demuxer, d->stream, d->packet);
        if (code == AVERROR(ENOMEM)) return code;
        d->draining = code < 0;
        d->packet_held = code == 0;
        if (code < 0 && code != AVERROR_EOF) d->broken = code;
    }
    const int code = avcodec_send_packet(d->codec, d->packet_held ? d->packet : NULL);
    if (code == AVERROR(EAGAIN)) return 0; /* keep it: frames have to be taken first */
    if (d->packet_held) av_packet_unref(d->packet);
    if (code < 0 && code != AVERROR_EOF && d->packet_held) d->n_bad++;
    d->packet_held = false;
    return code == AVERROR(ENOMEM) ? code : 0;
}

int vr_decoder_next(vr_decoder *d, AVFrame *frame)
{
    enum { MAX_DRAIN_ERRORS = 256 }; /* more than any decoder holds back; without it a stubborn one could fail for ever */
    av_frame_unref(frame);
    for (int drain_errors = 0; drain_errors < MAX_DRAIN_ERRORS;) {
        const int code = avcodec_receive_frame(d->codec, frame);
        if (code == 0 || code == AVERROR_EOF || code == AVERROR(ENOMEM)) return code;
        if (code != AVERROR(EAGAIN)) d->n_bad++;
        if (d->draining) drain_errors++;
        const int fed = feed(d);
        if (fed < 0) return fed;
    }
    return AVERROR_EOF;
}

bool vr_decoder_seek(vr_decoder *d, int64_t pts, int64_t dts)
{
    avcodec_flush_buffers(d->codec);
    av_packet_unref(d->packet);
    d->packet_held = d->draining = false;
    if (av_seek_frame(d->demuxer->format, d->stream, dts, AVSEEK_FLAG_BACKWARD) < 0) return false;
    while (vr_demuxer_read(d->demuxer, d->stream, d->packet) == 0) {
        if (d->packet->flags & AV_PKT_FLAG_KEY) {
            d->packet_held = d->packet->pts == pts;
            if (d->packet_held) return true;
            if (d->packet->pts == AV_NOPTS_VALUE || d->packet->pts > pts) break;
        }
        av_packet_unref(d->packet);
    }
    av_packet_unref(d->packet);
    return false;
}

int vr_frame_channels(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 24, 100)
    return frame->ch_layout.nb_channels;
#else
    return frame->channels;
#endif
}
