/*
 * log_mel.h - the log-mel spectrum that Whisper hears, one frame at a time.
 *
 *   400 samples around the frame's place, every 160 -> Hann -> |DFT|^2 [201] -> mel triangles (Slaney) -> log10
 *
 * At 16 kHz: a frame is 25 ms, every 10 ms. The range of the values (the loudest of all frames) is the caller's: listen.h.
 */
#ifndef VR_LOG_MEL_H
#define VR_LOG_MEL_H

#include "base/err.h"

enum { VR_SPEECH_RATE = 16000, VR_LOG_MEL_WINDOW = 400, VR_LOG_MEL_HOP = 160 };

typedef struct vr_log_mel vr_log_mel;

int vr_log_mel_open(vr_log_mel **out, int bins, vr_err *e); /* bins: 80, or 128 */
void vr_log_mel_free(vr_log_mel *mel);                      /* NULL is legal */

/* wave [VR_LOG_MEL_WINDOW], out [bins]: log10(max(energy, 1e-10)). */
void vr_log_mel_frame(vr_log_mel *mel, const float *wave, float *out);

#endif
