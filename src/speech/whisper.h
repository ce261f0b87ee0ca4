/*
 * whisper.h - Whisper's two halves: a window of sound to features, features and tokens to logits.
 *
 *   mel [F, bins] -> vr_whisper_encode -> features [P, D] -> vr_whisper_look -> keys and values of every decoder layer
 *                    ids [T] -> vr_whisper_forward (self-attention cache, keys and values of the sound) -> logits [V]
 *
 * Serves tiny to large-v3 (bins 80 or 128, P = 1500, F = 2P = 3000 frames = 30 s), and any other sizes.
 * A model is read-only; what a run changes is vr_whisper_state.
 */
#ifndef VR_WHISPER_H
#define VR_WHISPER_H

#include "base/weights.h"
#include "decode/kvcache.h"
#include "kernels/backend.h"

typedef struct vr_whisper vr_whisper;

typedef struct vr_whisper_config {
    int bins;      /* of the log-mel spectrum */
    int positions; /* P, of the features */
    int window;    /* F = 2P frames */
    int width;     /* D */
    int n_layers;  /* of the decoder */
    int context;   /* tokens of a prompt and what is said after it */
    int vocab;     /* V */
} vr_whisper_config;

/* Binds `speech.encoder.*`, `speech.decoder.*`. */
int vr_whisper_open(vr_whisper **out, vr_weights *w, vr_err *e);
void vr_whisper_free(vr_whisper *whisper); /* NULL is legal */
const vr_whisper_config *vr_whisper_config_get(const vr_whisper *whisper);

/* What the decoder looks at and has read. */
typedef struct vr_whisper_state {
    vr_kvcache cache; /* of the tokens read: cache.n_rows of them; owned by the caller */
    float *sound;     /* [n_layers, P, 2D] keys and values of the window */
} vr_whisper_state;

/* Takes state->sound of scratch; the cache is the caller's. */
void vr_whisper_state_take(const vr_whisper *whisper, vr_whisper_state *state, vr_arena *scratch);

/* mel [F, bins] (backend memory) -> features [P, D]. Stages: speech.encoder.block.00.., speech.encoder. */
void vr_whisper_encode(const vr_whisper *whisper, vr_run *run, const float *mel, float *features);
/* features [P, D] -> state->sound. */
void vr_whisper_look(const vr_whisper *whisper, vr_run *run, vr_whisper_state *state, const float *features);

/* Reads ids [T] behind the cache's rows, cache.n_rows + T <= context; every id is below V. x [T, D]: of the last layer, normed.
 * Stages: speech.decoder.layer.00... */
void vr_whisper_forward(const vr_whisper *whisper, vr_run *run, vr_whisper_state *state, const int32_t *ids, int T, float *x);
/* logits [V] of one row of x. */
void vr_whisper_head(const vr_whisper *whisper, vr_run *run, const float *x, float *logits);

#endif
