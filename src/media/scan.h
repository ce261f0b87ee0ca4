/*
 * scan.h - times of all packets of a video stream, from one pass over the file.
 *
 *   packets -> pts -> sorted: index i of a frame = i-th packet in order of presentation
 *           -> key packets: where decoding may start
 *
 * Every packet counts, shown or not, as decord does. Ref: decord src/video/video_reader.cc IndexKeyframes.
 * Trap: packets that an edit list hides count, but no frame comes out for them. decord steps through the frames that do come
 *       out and counts them from the key frame it started at, so an index names a later frame; vr_scan_shown steps as it does.
 * Trap: where a packet has no pts (raw streams, AVI) or times repeat or start anew (joined files), times cannot name frames:
 *       timed = false, and frames are counted as they come out.
 */
#ifndef VR_SCAN_H
#define VR_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "media/demux.h"

typedef struct vr_scan_key {
    int64_t pts, dts; /* dts: pts where the packet has none */
} vr_scan_key;

typedef struct vr_scan {
    int64_t *pts; /* [n] ascending; owned */
    int64_t n, pts_room;
    vr_scan_key *keys; /* [n_keys] ascending by pts; owned */
    int64_t n_keys, keys_room;
    int64_t *hidden; /* [n_hidden] indices of packets without a frame, ascending; owned */
    int64_t n_hidden, hidden_room;
    bool timed;
    bool cut_short; /* the file broke off, or its last packet is incomplete */
} vr_scan;

/* stream must be selected. A still picture is one frame, whatever follows it. */
int vr_scan_run(vr_scan *out, vr_demuxer *demuxer, int stream, vr_err *e);
void vr_scan_free(vr_scan *scan); /* frees the arrays only */

/* Index of the last frame shown at or before pts, -1 when there is none. */
int64_t vr_scan_find(const vr_scan *scan, int64_t pts);
/* Replace indices [n], each 0..scan->n-1, by those of the frames that decord shows for them, read in this order; scan->n: it
 * finds no frame any more. */
void vr_scan_shown(const vr_scan *scan, int64_t *indices, int n);
/* The last key packet shown at or before pts; NULL when there is none. */
const vr_scan_key *vr_scan_key_before(const vr_scan *scan, int64_t pts);

#endif
