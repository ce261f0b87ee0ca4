/*
 * source.h - one video, picture or sound file, opened and scanned with FFmpeg's libraries.
 *
 *   path or "-" -> demuxer (allow-list) -> scan: packets of the video stream, their times, key frames; streams found
 *
 * Only local files and standard input; "-" is spooled to an unlinked temporary file, because sampling needs the number of
 * frames first. Memory does not grow with the length of the video, but for 8 bytes a packet (24 for key packets) in the
 * index of times. Errors are VR_ERR_VIDEO and name the file and the cause, VR_ERR_OTHER where spooling fails and VR_ERR_LIMIT
 * without memory. FFmpeg's own log is silenced for the whole process.
 */
#ifndef VR_SOURCE_H
#define VR_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

typedef struct vr_source vr_source;

typedef struct vr_source_info {
    bool has_video, has_audio;
    bool is_image;          /* a still picture format: one frame without duration */
    int64_t n_frames;       /* packets of the chosen video stream, shown or not (decord's len) */
    int rate_num, rate_den; /* avg_frame_rate; 0/1 when unknown */
    int width, height;      /* coded size, before rotation */
    int rotation;           /* 0, 90, 180, 270: clockwise turns that the file asks for */
    int sample_rate, channels;
    double seconds; /* of the container; <= 0 when unknown */
} vr_source_info;

/* Zero frames of video with a video stream, and a file without a video stream, are errors here; sound without video too. */
int vr_source_open(vr_source **out, const char *path, const vr_log *log, vr_err *e);
void vr_source_free(vr_source *source); /* NULL is legal */
void vr_source_info_get(const vr_source *source, vr_source_info *out);
const char *vr_source_path(const vr_source *source);
double vr_source_rate(const vr_source_info *info);                         /* frames a second; 0 when unknown */
void vr_source_shown(const vr_source_info *info, int *width, int *height); /* size after rotation */

#endif
