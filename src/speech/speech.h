/*
 * speech.h - what is said in a file: timed segments of text, by Whisper. Public, as vidrun.h is.
 *
 *   vr_speech_open(weights) -> vr_speech_transcribe(file) ... -> vr_speech_free
 *
 * The file may be a video or sound alone, of any rate and number of channels. Memory does not depend on its length. Nothing
 * here prints; vr_hooks tell progress (stage "speech", in seconds of the file), warnings and timings. Errors: VR_ERR_VIDEO
 * where a file has no sound or none that can be decoded, VR_ERR_USAGE for a language that the model does not know.
 */
#ifndef VR_SPEECH_H
#define VR_SPEECH_H

#include "vidrun.h"

typedef struct vr_speech vr_speech;

/* Opens, checks and binds a weight file of the system whisper. options are used by transcribe too. */
int vr_speech_open(vr_speech **out, const char *path, const vr_model_options *options, vr_err *e);
void vr_speech_free(vr_speech *speech); /* NULL is legal */

typedef struct vr_speech_segment {
    double start, end;  /* seconds of the file */
    const char *text;   /* as the model writes it: usually with a blank before it; never empty */
    const int32_t *ids; /* [n_ids] words and times */
    int n_ids;
    /* of the window that it was heard in */
    double temperature, log_probability, compression, no_speech;
} vr_speech_segment;

typedef struct vr_speech_options {
    const char *language; /* "en", "de", ...; NULL: heard from the first window */
    uint64_t seed;        /* of what is drawn where the likeliest words will not do */
    const char *dump_dir; /* NULL: no stages are written; else those of the first window */
    /* Called as segments are found; all is borrowed for the call. Return false to stop there. */
    bool (*segment)(void *cookie, const vr_speech_segment *segment);
    void *cookie;
} vr_speech_options;

typedef struct vr_speech_result {
    double seconds;       /* of the sound */
    const char *language; /* "en", ...; borrowed from the model */
    int n_segments;
} vr_speech_result;

/* path may be "-". Stages: speech.mel [bins, F], speech.encoder.*, speech.decoder.*, speech.ids, speech.logits: utter.h. */
int vr_speech_transcribe(vr_speech *speech, const char *path, const vr_speech_options *options, vr_speech_result *out,
                         vr_err *e);

#endif
