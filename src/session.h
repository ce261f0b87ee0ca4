/*
 * session.h - the model and the session from the inside, for pipeline.c, ask.c, turns.c, tell.c, facts.c and stream*.c alone.
 */
#ifndef VR_SESSION_H
#define VR_SESSION_H

#include "base/text.h"
#include "base/weights.h"
#include "decode/generate.h"
#include "layers.h"
#include "systems/system.h"
#include "text/answer.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "vidrun.h"

struct vr_model {
    vr_hooks hooks;
    vr_cpu_options cpu; /* level: of the backend */
    int device;         /* CUDA device of the backend; -1: the CPU */
    vr_backend *backend;
    vr_weights *weights;
    const vr_system *system;
    void *state;           /* of the system */
    const vr_llama *llama; /* belongs to the system */
    vr_kept kept;          /* keys and values */
    int n_layers_asked;    /* on the device; -1: all that fit */
    vr_layers layers;
    vr_tokenizer *tokenizer;
    vr_recipe recipe;
    int rows_max; /* of a prompt, the clip's included; the last ones are cut off. 0: no bound */
    vr_text name, template_names, template_default, query; /* what the recipe points to */
};

/* Also who answers about a stream: then there is no source, and stream.c fills the view before each question. */
struct vr_session {
    vr_model *model; /* borrowed */
    vr_hooks hooks;  /* the model's, or those of the thread that answers about a stream */
    vr_prompt *prompt;
    char *system_text; /* NULL: the file's */
    bool dump_turns;
    vr_dump *dump;
    vr_source *source;
    vr_source_info info;
    vr_view view;
    int n_planned_rows;
    int context;
    size_t scratch_bytes, cache_bytes, rest_bytes; /* rest: of what the processor computes beside a device */
    size_t work_bytes;                             /* of a device: scratch memory, and what operations take (vr_device_work) */
    /* from vr_session_watch on */
    vr_arena scratch, host; /* host: closed where backend memory is the host's */
    vr_run run;
    vr_kvcache cache;
    vr_rest rest;
    int32_t *cached;    /* [context] the rows in the cache, cache.n_rows of them */
    int32_t *positions; /* [context, 3] time, row and column of each row of the prompt, and of those answered */
    int next_position;  /* of the row to come */
    float *logits;      /* [V] backend memory; of the host, where the processor has the last layers */
    /* the conversation */
    char *told; /* the clip as text: what the decoder is given instead of rows (tell.c); NULL: rows */
    vr_turn *turns;
    int n_turns, n_dropped_turns; /* dropped: the oldest, no longer part of the prompt */
    vr_text answer;
    vr_ids answer_ids;
    vr_answer_text answer_text;
    void (*on_prompt)(vr_session *s, const int32_t *rows, int n); /* rows of a prompt were read, logits are those of the last */
    void *cookie;                                                 /* of on_prompt */
};

/* Rows of the whole prompt for a question that would be asked now (NULL: none): s->n_planned_rows, or VR_ERR_LIMIT. */
int vr_session_budget(vr_session *s, const char *question, int n_predict, vr_err *e);

/* The last turn (turns.c): a question without an answer is added, or it is taken away. */
int vr_session_turn_push(vr_session *s, const char *question, vr_err *e);
void vr_session_turn_pop(vr_session *s);

/* VR_ERR_USAGE where the system does not know the rule. */
int vr_session_rule_check(const vr_model *model, vr_memory_rule rule, vr_err *e);
/* Of the keys and values of a whole context. */
size_t vr_session_cache_bytes(const vr_session *s);
/* Counts what the longest part of a prompt and an answer take of run->scratch; run plans. */
void vr_session_answer_plan(const vr_session *s, vr_run *run);
/* Is there s->scratch_bytes and s->cache_bytes of memory in this machine? Decides which layers a device takes: s->rest_bytes, by
 * s->work_bytes and beside_bytes: of a device, for what works there at the same time. */
int vr_session_memory_check(vr_session *s, size_t beside_bytes, vr_err *e);
/* Takes the memory that was planned, and view.rows at its start. */
int vr_session_memory_open(vr_session *s, vr_backend *be, vr_err *e);
/* The rows of the clip are others: those in the cache are no longer valid. */
void vr_session_rows_changed(vr_session *s);
/* Stage prompt.ids; dump NULL: nothing. */
void vr_session_ids_dump(const vr_session *s, vr_dump *dump, const int32_t *rows, int n);

#endif
