/*
 * rules.h - which tokens Whisper may say next, and where its words were said.
 *
 *   logits [V] -> blanks and ends not first -> signs beside speech never -> times: pairs, never back -> logits, the others -inf
 *   ids said in a window -> segments between pairs of times, and how far to go on
 *
 * A time token is 20 ms: token `times` is the window's start. Pure functions; the weight file's ids are checked when they are
 * read.
 * Ref: openai/whisper decoding.py (SuppressBlank, SuppressTokens, ApplyTimestampRules), transcribe.py.
 */
#ifndef VR_RULES_H
#define VR_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/weights.h"

/* Ids of `speech.token.*`, all below vocab. */
typedef struct vr_speech_tokens {
    int vocab;
    int start, end, previous, no_speech, transcribe, no_times;
    int times;                 /* the first time: no_times + 1; all above are times too */
    int language, n_languages; /* the first of so many in a row; 0: none */
    bool multilingual;
    vr_ids never, never_first; /* owned */
} vr_speech_tokens;

/* Reads `speech.token.*`, `speech.multilingual`, `speech.suppress`, `speech.suppress_first`. tokens is zeroed; on failure it
 * still has to be freed. */
int vr_speech_tokens_read(vr_speech_tokens *tokens, const vr_weights *w, int vocab, vr_err *e);
void vr_speech_tokens_free(vr_speech_tokens *tokens);

/* Sets to -inf what may not come after said [n]. */
void vr_rules_apply(const vr_speech_tokens *tokens, float *logits, const int32_t *said, int n);

/* Of ids [n] that were said in a window. */
typedef struct vr_speech_piece {
    int first, last; /* ids [first, last) */
    int start, end;  /* times from the window's start, in time tokens; end -1: the window's end */
} vr_speech_piece;

/* pieces [n + 1] -> how many; *go_on: time tokens to the next window, -1: to this one's end. */
int vr_rules_cut(const vr_speech_tokens *tokens, const int32_t *ids, int n, vr_speech_piece *pieces, int *go_on);

#endif
