/*
 * utter.h - what is said in one window: ids by rule and chance, and how sure the model is of them.
 *
 *   prompt ids -> decoder -> logits -> rules -> likeliest id, or drawn at a temperature -> ... -> end
 *   temperature 0, 0.2, .. 1.0: until the text does not repeat itself and is likely enough, or there seems to be no speech
 *
 * Ref: openai/whisper decoding.py (DecodingTask, GreedyDecoder), transcribe.py (decode_with_fallback), utils.py.
 */
#ifndef VR_UTTER_H
#define VR_UTTER_H

#include "decode/sample.h"
#include "speech/rules.h"
#include "speech/whisper.h"
#include "text/tokenizer.h"

/* Borrowed. */
typedef struct vr_utter {
    const vr_whisper *whisper;
    const vr_speech_tokens *tokens;
    const vr_tokenizer *tokenizer;
    vr_run *run;
    vr_whisper_state *state;         /* has looked at the window */
    uint64_t *seed;                  /* of the next drawing; counted up */
    bool (*cancelled)(void *cookie); /* asked between tokens; true ends with VR_ERR_CANCEL. May be NULL */
    void *cookie;
} vr_utter;

typedef struct vr_utterance {
    vr_ids ids; /* without the prompt and the end */
    double temperature;
    double log_probability; /* mean of its ids and the end */
    double compression;     /* bytes of the text for a byte of its deflated form; above 2.4 it repeats itself */
    double no_speech;       /* probability that the window holds no speech */
    bool likely;            /* log_probability is high enough, or was where the likeliest words were taken */
} vr_utterance;

/* out: zeroed or of an earlier call; free ids. prompt [n_prompt] with tokens->start at start; n_prompt below the context.
 * Stages, of the first temperature: speech.ids (tokens read), speech.decoder.layer.00.., speech.logits (of every step). */
int vr_utter_window(const vr_utter *u, const int32_t *prompt, int n_prompt, int start, vr_utterance *out, vr_err *e);
/* Whether nothing of it is to be told: there seems to be no speech, or it stayed unlikely at every temperature. */
bool vr_utterance_is_dropped(const vr_utterance *out);

/* The likeliest language: its place from 0. */
int vr_utter_language(const vr_utter *u, int *language, vr_err *e);

/* Takes of run->scratch what the calls above do, for a plan. */
void vr_utter_plan(const vr_whisper *whisper, vr_run *run, vr_whisper_state *state);

/* Appends the text of the words among ids [n]. */
int vr_utter_text(const vr_utter *u, const int32_t *ids, int n, vr_text *text, vr_err *e);

#endif
