/*
 * mel.h - Kaldi's log-mel features of one clip.
 *
 *   wave [n] -> 25 ms every 10 ms -> DC removed, pre-emphasis, Hann -> |FFT|^2 -> mel triangles -> ln -> [bins, frames]
 *
 * At 16 kHz: 400 samples every 160, FFT of 512, 20..8000 Hz. Ref: torchaudio.compliance.kaldi.fbank with ImageBind's arguments.
 */
#ifndef VR_MEL_H
#define VR_MEL_H

#include <stdint.h>

#include "base/err.h"

typedef struct vr_mel vr_mel;

int vr_mel_open(vr_mel **out, int sample_rate, int bins, vr_err *e);
void vr_mel_free(vr_mel *mel); /* NULL is legal */

int vr_mel_window(const vr_mel *mel);                        /* samples of a frame: the shortest wave with features */
int64_t vr_mel_frames(const vr_mel *mel, int64_t n_samples); /* 0 when shorter; the tail is dropped */
/* out [bins, frames]: the first `frames` frames, columns beyond the wave 0.0. */
void vr_mel_run(vr_mel *mel, float *out, int frames, const float *wave, int64_t n_samples);

#endif
