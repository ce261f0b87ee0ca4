/*
 * decoder.h - decoded frames of one stream, in order of presentation.
 *
 *   demuxer -> packets -> libavcodec (2 threads) -> AVFrame
 *
 * What cannot be decoded is counted and passed over; only lack of memory is an error.
 */
#ifndef VR_DECODER_H
#define VR_DECODER_H

#include <stdbool.h>
#include <stdint.h>

#include "media/demux.h"

typedef struct vr_decoder {
    vr_demuxer *demuxer; /* owned */
    AVCodecContext *codec;
    AVPacket *packet;
    int stream;
    bool packet_held; /* packet waits to be sent */
    bool draining;    /* no packets are left */
    int64_t n_bad;    /* packets or frames that could not be decoded */
    int broken;       /* what the demuxer said when it stopped before the end of the file; else 0 */
} vr_decoder;

/* The best stream of this type. VR_ERR_VIDEO when there is none or no decoder for it. */
int vr_decoder_open(vr_decoder **out, const vr_input *input, enum AVMediaType type, vr_err *e);
void vr_decoder_free(vr_decoder *decoder); /* NULL is legal */
/* 0, AVERROR_EOF after the last frame, or AVERROR(ENOMEM). frame is unreferenced first. */
int vr_decoder_next(vr_decoder *decoder, AVFrame *frame);
/* Go on with the key packet shown at pts (dts: where to look for it). False: it was not found, and the position is
 * undefined. */
bool vr_decoder_seek(vr_decoder *decoder, int64_t pts, int64_t dts);

int vr_frame_channels(const AVFrame *frame); /* of sound */

#endif
