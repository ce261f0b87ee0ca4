/*
 * wave.h - the sound of a file as one channel at 16 kHz, from front to end.
 *
 *   pieces (audio.h) -> mean of the channels -> resampler (resample.h), a block at a time -> samples
 *
 * Memory does not grow with the length. What cannot be decoded is left out; a sound that changes its rate or channels ends
 * there.
 */
#ifndef VR_WAVE_H
#define VR_WAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "media/audio.h"

typedef struct vr_wave vr_wave;

int vr_wave_open(vr_wave **out, const vr_input *input, vr_err *e); /* VR_ERR_VIDEO where there is no sound */
void vr_wave_free(vr_wave *wave);                                  /* NULL is legal */

/* The next samples, n at most: *n_read of them, fewer only at the end. */
int vr_wave_read(vr_wave *wave, float *out, int n, int *n_read, vr_err *e);

/* What was wrong so far: packets left out; NULL, or why it ended early. */
int64_t vr_wave_bad(const vr_wave *wave);
const char *vr_wave_cause(const vr_wave *wave);

#endif
