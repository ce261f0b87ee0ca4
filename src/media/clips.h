/*
 * clips.h - where the clips of a soundtrack begin.
 *
 *   S samples -> d = S/rate seconds -> m = max(d - clip, 0) -> start_i = floor(m * i * rate / divisor)
 *
 * d and m are doubles, the rest is exact, as with Python's Fraction: m = M/2^s, evaluated in 128-bit integers.
 * Ref: ImageBind data.py:67-75, 128-161; pytorchvideo ConstantClipsPerVideoSampler (0.1.5 divides by n_clips, later by
 *      n_clips - 1).
 */
#ifndef VR_CLIPS_H
#define VR_CLIPS_H

#include <stdint.h>

/* starts [n_clips]; n_clips <= 4096, sample_rate <= VR_MAX_SAMPLE_RATE, divisor 1..4096. */
void vr_clips_starts(int64_t *starts, int n_clips, int64_t n_samples, int sample_rate, double clip_seconds, int divisor);

#endif
