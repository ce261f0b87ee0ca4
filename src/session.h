/*
 * session.h - the model and the session from the inside, for pipeline.c, ask.c and facts.c alone.
 */
#ifndef VR_SESSION_H
#define VR_SESSION_H

#include "base/text.h"
#include "base/weights.h"
#include "decode/generate.h"
#include "systems/system.h"
#include "text/answer.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "vidrun.h"

struct vr_model {
    vr_hooks hooks;
    vr_backend *backend;
    vr_weights *weights;
    const vr_system *system;
    void *state;           /* of the system */
    const vr_llama *llama; /* belongs to the system */
    vr_tokenizer *tokenizer;
    vr_recipe recipe;
    vr_text name, template_names, template_default; /* what the recipe points to */
};

struct vr_session {
    vr_model *model; /* borrowed */
    vr_prompt *prompt;
    char *system_text; /* NULL: the file's */
    bool dump_turns;
    vr_dump *dump;
    vr_source *source;
    vr_source_info info;
    vr_view view;
    int n_planned_rows;
    int context;
    size_t scratch_bytes, cache_bytes;
    /* from vr_session_watch on */
    vr_arena scratch;
    vr_run run;
    vr_kvcache cache;
    int32_t *cached;    /* [context] the rows in the cache, cache.n_rows of them */
    int32_t *positions; /* [context, 3] time, row and column of each row of the prompt, and of those answered */
    int next_position;  /* of the row to come */
    float *logits;      /* [V] */
    /* the conversation */
    vr_turn *turns;
    int n_turns;
    vr_text answer;
    vr_ids answer_ids;
    vr_answer_text answer_text;
};

/* Rows of the whole prompt for a question that would be asked now (NULL: none): s->n_planned_rows, or VR_ERR_LIMIT. */
int vr_session_budget(vr_session *s, const char *question, int n_predict, vr_err *e);

#endif
