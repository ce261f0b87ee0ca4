/*
 * live.h - frames of a pipe that may never end, as they come: no seeking, no spooling, nothing kept.
 *
 *   pipe --poll, read--> demuxer -> decoder -> clock -> the first frame at or after every 1/fps seconds -> RGB24 of its size
 *
 * Clock:  seconds since the first frame. A step back, or ahead by more than VR_LIVE_GAP seconds, is a jump of the sender's
 *         clock (a loop, a new programme): time goes on by one frame's duration. So it never falls; n_jumps counts.
 * Broken: packets that cannot be decoded are passed over and counted; a pipe that breaks off ends the stream like any other.
 * Trap:   a change of resolution is no error: every frame tells its size.
 * Errors: VR_ERR_VIDEO where it cannot be opened, is no video or ends before a frame was decoded; VR_ERR_LIMIT without memory.
 */
#ifndef VR_LIVE_H
#define VR_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

#define VR_LIVE_GAP 10.0 /* seconds */

typedef struct vr_live vr_live;

typedef struct vr_live_frame {
    const uint8_t *rgb; /* [height, width, 3] after rotation; borrowed until the next call; NULL: the end */
    int width, height;
    double seconds;
} vr_live_frame;

/* Whether this path ("-": standard input) has to be followed as it comes: a pipe or socket, no file. */
bool vr_live_is(const char *path);

/* Reads nothing yet. fps > 0; log is copied. */
int vr_live_open(vr_live **out, const char *path, double fps, const vr_log *log, vr_err *e);
int vr_live_next(vr_live *live, vr_live_frame *out, vr_err *e);
void vr_live_stop(vr_live *live); /* from any thread: next ends, also one that waits for the pipe */
void vr_live_counts(const vr_live *live, int64_t *n_bad, int64_t *n_jumps);
void vr_live_free(vr_live *live); /* NULL is legal */

#endif
