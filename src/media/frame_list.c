/*
 * frame_list.c - see frame_list.h.
 *
 * Ref:  Flash-VStream-Qwen scripts/extract_frames.py (numpy.linspace, round); qwen_vl_utils/vision_process.py:118-222
 *       (torch.linspace in float32, round).
 * Trap: both linspaces round: numpy multiplies in double and ends at the last frame exactly, torch goes from both ends to the
 *       middle in float32.
 */
#include "media/frame_list.h"

#include <math.h>

enum { EXTRACTED_MIN = 4, EXTRACTED_MAX = 14400 };

int vr_frame_list_extracted(double seconds, double fps)
{
    const double n = rint(seconds * fps);
    return n >= EXTRACTED_MAX ? EXTRACTED_MAX : n >= EXTRACTED_MIN ? (int)n : EXTRACTED_MIN;
}

int vr_frame_list_count(int n_extracted, int most)
{
    const int n = n_extracted > most ? most / 2 * 2 : n_extracted;
    return n + n % 2;
}

/* entry i of n between 0 and last */
static int64_t space_double(int64_t last, int n, int i)
{
    if (n < 2) return 0;
    return i == n - 1 ? last : (int64_t)rint(i * ((double)last / (n - 1)));
}

static int space_float(int last, int n, int i)
{
    const float step = (float)last / (float)(n - 1);
    const float value = i < n / 2 ? step * (float)i : (float)last - step * (float)(n - i - 1);
    return (int)rintf(value);
}

void vr_frame_list_make(int64_t *out, int64_t n_total, int n_extracted, int most)
{
    const int count = vr_frame_list_count(n_extracted, most);
    for (int i = 0; i < count; i++) {
        const int entry = n_extracted > most ? space_float(n_extracted - 1, count, i) : i < n_extracted ? i : n_extracted - 1;
        out[i] = space_double(n_total - 1, n_extracted, entry);
    }
}
