/*
 * demux.h - packets of one stream of an input, from an accepted container only.
 *
 *   vr_input --pread--> AVIOContext --> probe by content --> allow-list --> streams --> packets
 *
 * The demuxer sees bytes and never a name: no protocol, playlist, sequence pattern or reference to another file can be opened,
 * whatever the file says. Each reader (scan, frames, sound) opens its own demuxer, so none disturbs the position of another.
 * FFmpeg 4.4 to 7. Opening silences FFmpeg's own log, which is global to the process.
 */
#ifndef VR_DEMUX_H
#define VR_DEMUX_H

#include <stdbool.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/err.h"
#include "media/input.h"

typedef struct vr_demuxer {
    const vr_input *input; /* borrowed */
    int64_t position;      /* of the next read in the input */
    AVIOContext *io;
    AVFormatContext *format;
    bool still; /* the container is a single picture */
} vr_demuxer;

int vr_demuxer_open(vr_demuxer **out, const vr_input *input, vr_err *e);
void vr_demuxer_free(vr_demuxer *demuxer); /* NULL is legal */

/* The stream a player would choose, cover art aside; AVERROR_STREAM_NOT_FOUND or AVERROR_DECODER_NOT_FOUND. */
int vr_demuxer_best(const vr_demuxer *demuxer, enum AVMediaType type);
/* Packets of this stream only from now on. */
void vr_demuxer_select(vr_demuxer *demuxer, int stream);
/* Next packet of the selected stream; 0, AVERROR_EOF or another negative code: the file is broken from here on. */
int vr_demuxer_read(vr_demuxer *demuxer, int stream, AVPacket *packet);

#endif
