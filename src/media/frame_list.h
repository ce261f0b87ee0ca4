/*
 * frame_list.h - Flash-VStream (Qwen): which frames are looked at, by two lists one behind the other.
 *
 *   video -> extracted: about fps a second, first and last frame among them -> at most `most` of these -> an even number
 */
#ifndef VR_FRAME_LIST_H
#define VR_FRAME_LIST_H

#include <stdint.h>

/* Frames that are extracted: round(seconds * fps), halves to even, 4 to 14400. */
int vr_frame_list_extracted(double seconds, double fps);

/* Entries of the list for so many extracted frames (>= 1): even, at most `most` (>= 2) rounded down to even. */
int vr_frame_list_count(int n_extracted, int most);

/* out [vr_frame_list_count]: frame of the video (of n_total) of each entry, ascending; some may come more than once, and the
 * last one comes twice where the number would be odd. */
void vr_frame_list_make(int64_t *out, int64_t n_total, int n_extracted, int most);

#endif
