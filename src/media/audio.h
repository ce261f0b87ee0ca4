/*
 * audio.h - samples of the best sound stream, piece by piece.
 *
 *   decoder -> piece (an AVFrame: n samples of every channel) -> vr_audio_samples: f32 in [-1, 1) of one channel
 *
 * Times are ignored and pieces follow each other without gaps, as torchaudio reads them; nothing is mixed down.
 * Integer samples are divided by 2^(bits-1) as swresample does; what is not finite in a float stream becomes 0.
 */
#ifndef VR_AUDIO_H
#define VR_AUDIO_H

#include "media/decoder.h"

typedef struct vr_audio {
    vr_decoder *decoder;
    AVFrame *piece;
    int sample_rate, channels; /* of the first piece, 0 before it; a stream that changes them is refused */
} vr_audio;

int vr_audio_open(vr_audio **out, const vr_input *input, vr_err *e);
void vr_audio_free(vr_audio *audio); /* NULL is legal */
/* Next piece: *n_samples of it, 0 after the last one. VR_ERR_VIDEO where the stream cannot be used. */
int vr_audio_next(vr_audio *audio, int *n_samples, vr_err *e);
/* Samples [first, first + n) of one channel of the piece. */
void vr_audio_samples(const vr_audio *audio, int channel, int first, int n, float *out);

#endif
