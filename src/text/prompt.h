/*
 * prompt.h - a conversation about a clip as the text and rows that the decoder reads.
 *
 *   templates and media texts of the weight file + what was seen + turns -> spans: text | video rows | audio rows | text ...
 *
 * Every text span is tokenised on its own, as the original does (Video-LLaMA conversation_video.py:329-343).
 * Placeholders of a template: {system}, {text}; of a media text: {video}, {audio}, {frames}, {times}, {numpy_times}; what the user says is
 * never searched for placeholders.
 */
#ifndef VR_PROMPT_H
#define VR_PROMPT_H

#include <stdbool.h>

#include "base/text.h"
#include "base/weights.h"
#include "text/tokenizer.h"

typedef struct vr_prompt vr_prompt;

typedef enum vr_span_kind { VR_SPAN_TEXT, VR_SPAN_VIDEO, VR_SPAN_AUDIO } vr_span_kind;

typedef struct vr_span {
    vr_span_kind kind;
    vr_text text; /* of VR_SPAN_TEXT; may be empty */
} vr_span;

typedef struct vr_spans {
    vr_span *items;
    int count, capacity;
} vr_spans;

void vr_spans_free(vr_spans *spans);

/* What the first message is about. */
typedef struct vr_prompt_scene {
    bool image, heard;       /* a still picture; sound rows exist */
    int n_frames;
    const double *seconds;   /* [n_frames] */
    const char *system_text; /* NULL: the file's */
    const char *told;        /* what stands instead of the media text, as it is; NULL: the media text */
} vr_prompt_scene;

typedef struct vr_turn {
    char *question;
    char *answer; /* NULL: being asked */
} vr_turn;

/* tokenizer is borrowed. template_name NULL: the file's default. An unknown name is VR_ERR_USAGE and lists the known ones. */
int vr_prompt_open(vr_prompt **out, const vr_weights *w, const char *template_name, const vr_tokenizer *tokenizer, vr_err *e);
void vr_prompt_free(vr_prompt *prompt); /* NULL is legal */

/* Append the spans of the conversation; the first is always text (the place of BOS). */
int vr_prompt_render(const vr_prompt *prompt, const vr_prompt_scene *scene, const vr_turn *turns, int n_turns, vr_spans *out,
                     vr_err *e);

/* Whether the ids of an answer end with one of the template's stop sequences or with an end-of-text id. */
bool vr_prompt_stops(const vr_prompt *prompt, const int32_t *ids, int n_ids);

/* The answer is what stands before the first `cut` and after the last `after`; borrowed strings, empty: no such mark. */
const char *vr_prompt_cut(const vr_prompt *prompt);
const char *vr_prompt_after(const vr_prompt *prompt);

/* Whether answers are cleaned (text/answer.h). */
bool vr_prompt_cleans(const vr_prompt *prompt);

/* Names of the file's templates, separated by blanks; of the default one. */
int vr_prompt_names(const vr_weights *w, vr_text *names, vr_text *default_name, vr_err *e);

#endif
