/*
 * answer.h - what of the decoded text is the answer, while it grows.
 *
 *   decoded text -> (blanks cleaned) -> raw text -> before the first `cut` -> without blanks at both ends -> shown
 *
 * What might still turn out to be the beginning of `cut`, and blanks that may be the last ones, wait. Cleaning drops the blank
 * in front of . ? ! , n't 'm 's 've 're and the two around a single '.
 * Ref:  transformers 4.43 tokenization_utils_base.py (clean_up_tokenization: for files that ask for it).
 * Trap: the original replaces one mark after the other in the whole text; here it is one pass, which differs in texts like
 *       "n ' t" only.
 * The final text also drops all up to the last `after` (Video-LLaMA conversation_video.py:222-229); what a stream has shown
 * before such a marker cannot be taken back.
 */
#ifndef VR_ANSWER_H
#define VR_ANSWER_H

#include <stdbool.h>

#include "base/text.h"

typedef struct vr_answer_text {
    const char *cut, *after; /* borrowed; empty: no such mark */
    vr_text raw;
    size_t n_shown; /* bytes of raw that were shown or skipped at the beginning */
    bool begun;     /* something was shown */
    bool clean;
    size_t n_clean; /* bytes of raw that are as they will stay; a blank behind them waits for what follows it */
} vr_answer_text;

/* answer is zeroed or was used before. */
void vr_answer_begin(vr_answer_text *answer, const char *cut, const char *after, bool clean);
/* Add text; *shown, *n_shown: the bytes that may be shown now (borrowed until the next call). last: nothing more will come. */
int vr_answer_push(vr_answer_text *answer, const char *data, size_t n_bytes, bool last, const char **shown, size_t *n_shown,
                   vr_err *e);
/* The final text, appended to out. */
int vr_answer_final(const vr_answer_text *answer, vr_text *out, vr_err *e);
void vr_answer_free(vr_answer_text *answer);

#endif
