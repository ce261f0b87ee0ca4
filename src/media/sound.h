/*
 * sound.h - soundtrack to log-mel clips as ImageBind's data.py makes them.
 *
 *   audio stream -> f32 samples, all channels -> 16 kHz (torchaudio's resampler) -> n_clips windows -> mean subtracted in place
 *   -> Kaldi log-mel of channel 0 [clip, mel_bins, mel_frames], normalised
 *
 * Two decoding passes, so that memory holds only the samples inside the windows.
 */
#ifndef VR_SOUND_H
#define VR_SOUND_H

#include "base/dump.h"
#include "base/err.h"
#include "media/source.h"

typedef struct vr_sound_config {
    int sample_rate;    /* 16000 */
    int n_clips;        /* 8 */
    float clip_seconds; /* 2 */
    int clip_divisor;   /* 8: clip i starts at i/8 of (duration - 2 s); 7 reaches the end (spec 3.7) */
    int mel_bins;       /* 128 */
    int mel_frames;     /* 204: shorter clips are padded with 0 before normalisation, longer cut */
    float mean, std;    /* -4.268, 9.138: (v - mean) / std */
} vr_sound_config;

/* mel [n_clips, mel_bins, mel_frames]. *heard = false, VR_OK and one warning where the file has no usable sound: no audio
 * stream, no decoder, nothing decoded, fewer than 400 samples at 16 kHz. dump: input.wave, input.clip_starts (input.mel is
 * the caller's). */
int vr_sound_read(vr_source *source, const vr_sound_config *config, float *mel, bool *heard, vr_dump *dump, const vr_log *log,
                  vr_err *e);

#endif
