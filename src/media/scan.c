/*
 * scan.c - see scan.h.
 */
#include "media/scan.h"

#include <stdlib.h>

static int no_memory(const vr_demuxer *demuxer, vr_err *e)
{
    return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for the times of its frames", demuxer->input->name);
}

/* A larger block for one more element; NULL when there is no memory, and the old block stays. */
static void *grow(void *block, int64_t n, int64_t *room, size_t size)
{
    if (n < *room) return block;
    const int64_t wanted = *room ? *room * 2 : 1024;
    if ((uint64_t)wanted > SIZE_MAX / size) return NULL;
    void *larger = realloc(block, (size_t)wanted * size);
    if (larger) *room = wanted;
    return larger;
}

static int add_packet(vr_scan *scan, const vr_demuxer *demuxer, const AVPacket *packet, vr_err *e)
{
    int64_t *pts = grow(scan->pts, scan->n, &scan->pts_room, sizeof *pts);
    if (!pts) return no_memory(demuxer, e);
    scan->pts = pts;
    int64_t shown = packet->pts;
    if (shown == AV_NOPTS_VALUE) {
        scan->timed = false;
        shown = packet->dts != AV_NOPTS_VALUE ? packet->dts : scan->n;
    }
    pts[scan->n++] = shown;
    if (packet->flags & AV_PKT_FLAG_DISCARD) {
        int64_t *hidden = grow(scan->hidden, scan->n_hidden, &scan->hidden_room, sizeof *hidden);
        if (!hidden) return no_memory(demuxer, e);
        scan->hidden = hidden;
        hidden[scan->n_hidden++] = shown; /* a time; sort_scan makes it an index */
    }
    if (!(packet->flags & AV_PKT_FLAG_KEY)) return VR_OK;
    vr_scan_key *keys = grow(scan->keys, scan->n_keys, &scan->keys_room, sizeof *keys);
    if (!keys) return no_memory(demuxer, e);
    scan->keys = keys;
    if (scan->n_keys && keys[scan->n_keys - 1].pts >= shown) scan->timed = false;
    keys[scan->n_keys++] = (vr_scan_key){ .pts = shown, .dts = packet->dts != AV_NOPTS_VALUE ? packet->dts : shown };
    return VR_OK;
}

static int compare_pts(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int compare_keys(const void *a, const void *b)
{
    const vr_scan_key *x = a, *y = b;
    return (x->pts > y->pts) - (x->pts < y->pts);
}

static void sort_scan(vr_scan *scan)
{
    if (scan->n) qsort(scan->pts, (size_t)scan->n, sizeof *scan->pts, compare_pts);
    if (scan->n_keys) qsort(scan->keys, (size_t)scan->n_keys, sizeof *scan->keys, compare_keys);
    if (scan->n_hidden) qsort(scan->hidden, (size_t)scan->n_hidden, sizeof *scan->hidden, compare_pts);
    for (int64_t i = 1; i < scan->n; i++) scan->timed = scan->timed && scan->pts[i] != scan->pts[i - 1];
    for (int64_t i = 0; i < scan->n_hidden; i++) scan->hidden[i] = vr_scan_find(scan, scan->hidden[i]);
}

int vr_scan_run(vr_scan *scan, vr_demuxer *demuxer, int stream, vr_err *e)
{
    *scan = (vr_scan){ .timed = true };
    AVPacket *packet = av_packet_alloc();
    if (!packet) return no_memory(demuxer, e);
    int rc = VR_OK, code = 0;
    while (rc == VR_OK && (code = vr_demuxer_read(demuxer, stream, packet)) == 0) {
        rc = add_packet(scan, demuxer, packet, e);
        scan->cut_short = (packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
        av_packet_unref(packet);
        if (demuxer->still) break;
    }
    av_packet_free(&packet);
    if (code == AVERROR(ENOMEM)) rc = no_memory(demuxer, e);
    if (rc != VR_OK) {
        vr_scan_free(scan);
        return rc;
    }
    if (code < 0 && code != AVERROR_EOF) scan->cut_short = true;
    sort_scan(scan);
    return VR_OK;
}

void vr_scan_free(vr_scan *scan)
{
    free(scan->pts);
    free(scan->keys);
    free(scan->hidden);
    *scan = (vr_scan){ .timed = true };
}

int64_t vr_scan_find(const vr_scan *scan, int64_t pts)
{
    int64_t low = 0, high = scan->n; /* pts[low-1] <= pts < pts[high] */
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (scan->pts[middle] <= pts) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

const vr_scan_key *vr_scan_key_before(const vr_scan *scan, int64_t pts)
{
    int64_t low = 0, high = scan->n_keys;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (scan->keys[middle].pts <= pts) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low ? &scan->keys[low - 1] : NULL;
}

/* Index of the key frame that decoding of index i starts at. */
static int64_t start_of(const vr_scan *scan, int64_t i)
{
    const vr_scan_key *key = vr_scan_key_before(scan, scan->pts[i < scan->n ? i : scan->n - 1]);
    return key ? vr_scan_find(scan, key->pts) : 0;
}

/* The frame `steps` frames after the first one at or after `from` that is not hidden. */
static int64_t step(const vr_scan *scan, int64_t from, int64_t steps)
{
    int64_t at = from + steps;
    for (int64_t i = 0; i < scan->n_hidden && scan->hidden[i] <= at; i++) at += scan->hidden[i] >= from;
    return at;
}

void vr_scan_shown(const vr_scan *scan, int64_t *indices, int n)
{
    if (!scan->timed || scan->n_hidden == 0) return;
    int64_t expected = 0; /* the index decord believes to come next */
    int64_t next = 0;     /* the frame that does, or a hidden one before it */
    for (int i = 0; i < n; i++) {
        const int64_t index = indices[i], start = start_of(scan, index);
        if (index != expected && (index < expected || start != start_of(scan, expected))) {
            next = start;
            expected = start;
        }
        const int64_t shown = step(scan, next, index - expected);
        indices[i] = shown < scan->n ? shown : scan->n;
        next = shown + 1;
        expected = index + 1;
    }
}
