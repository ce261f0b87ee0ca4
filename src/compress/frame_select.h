/*
 * frame_select.h - LongVU: frames that look like their neighbours are not kept.
 */
#ifndef VR_FRAME_SELECT_H
#define VR_FRAME_SELECT_H

#include <stdint.h>

#define VR_FRAME_WINDOW 16  /* frames compared with each other */
#define VR_FRAME_MOST   400 /* frames kept of a longer choice */

/* similarity [m]: of each frame of a window with the whole window (kernels/ops.h frame_similarity). Writes the positions
 * first + j of the frames kept, ascending, and returns their number: those below the threshold, and always frame m/2. */
int vr_frame_select(const float *similarity, int m, float threshold, int first, int32_t *kept);

/* More than VR_FRAME_MOST: kept[i] = kept[floor(i n/VR_FRAME_MOST)]; returns the new number. */
int vr_frame_thin(int32_t *kept, int n);

#endif
