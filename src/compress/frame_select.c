/*
 * frame_select.c - see frame_select.h.
 *
 *   features of 16 frames -> similarity of each with all (op frame_similarity) -> positions kept -> at most 400
 *
 * Ref:  LongVU cambrian_arch.py:646-785 (select_frame).
 * Trap: the middle frame is kept because the original sets its similarity to 0, so a threshold of 0 or less keeps nothing at
 *       all.
 */
#include "compress/frame_select.h"

int vr_frame_select(const float *similarity, int m, float threshold, int first, int32_t *kept)
{
    int n = 0;
    for (int j = 0; j < m; j++) {
        const float s = j == m / 2 ? 0 : similarity[j];
        if (s < threshold) kept[n++] = first + j;
    }
    return n;
}

int vr_frame_thin(int32_t *kept, int n)
{
    if (n <= VR_FRAME_MOST) return n;
    const double step = (double)n / VR_FRAME_MOST;
    for (int i = 0; i < VR_FRAME_MOST; i++) kept[i] = kept[(int)(step * i)];
    return VR_FRAME_MOST;
}
