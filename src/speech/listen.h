/*
 * listen.h - the log-mel spectrum of a whole file, handed out in windows from front to end.
 *
 *   pass 1: wave -> frames -> how many, and the loudest value of all
 *   pass 2: wave -> frames under the window -> max(x, loudest - 8) -> (x + 4)/4 -> [n_frames, bins]
 *
 * Memory is that of one window, however long the sound. Ref: openai/whisper audio.py (log_mel_spectrogram), transcribe.py.
 */
#ifndef VR_LISTEN_H
#define VR_LISTEN_H

#include <stdbool.h>

#include "base/log.h"
#include "media/input.h"

typedef struct vr_listen vr_listen;

typedef struct vr_listen_config {
    int bins;          /* of the spectrum */
    int window;        /* frames that a window may have, and frames of silence that the original thinks behind the sound */
    const vr_log *log; /* is told what is wrong with the sound; may be NULL */
    bool (*cancelled)(void *cookie); /* asked now and then; true ends with VR_ERR_CANCEL. May be NULL */
    void *cookie;
} vr_listen_config;

/* VR_ERR_VIDEO where there is no sound or nothing of it can be decoded. */
int vr_listen_open(vr_listen **out, const vr_input *input, const vr_listen_config *config, vr_err *e);
void vr_listen_free(vr_listen *listen); /* NULL is legal */

int64_t vr_listen_frames(const vr_listen *listen); /* of sound, 10 ms each; 0 for less than that */
double vr_listen_seconds(const vr_listen *listen);

/* mel [window, bins]: the first n rows are frames first.. (beyond the sound: silence), the others 0. first never falls;
 * n <= window. */
int vr_listen_window(vr_listen *listen, int64_t first, int n, float *mel, vr_err *e);

#endif
