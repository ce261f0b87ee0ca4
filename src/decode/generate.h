/*
 * generate.h - read the rows of a prompt, then answer token by token.
 */
#ifndef VR_GENERATE_H
#define VR_GENERATE_H

#include "decode/llama.h"
#include "decode/sample.h"
#include "text/tokenizer.h"

/* A prompt as rows: id >= 0 is a token, -1 - i is row i of the clip's rows. */
#define VR_CLIP_ROW(i) (-1 - (i))

typedef struct vr_generate {
    const vr_llama *llama;
    vr_run *run;
    vr_kvcache *cache;
    const float *clip_rows; /* [n, Dl] in backend memory */
    const int32_t
        *positions; /* [cache->n_max, 3] of the rows of the cache, those to come included: vr_positions; NULL: numbers */
    /* Asked between parts of the prompt and between tokens; true ends with VR_ERR_CANCEL. May be NULL. */
    bool (*cancelled)(void *cookie);
    void (*progress)(void *cookie, int64_t done, int64_t total); /* may be NULL */
    void *cookie;
} vr_generate;

/* Where the rows of a clip's video stand. */
typedef struct vr_clip_positions {
    int first, count;        /* rows of the clip that are its video */
    const int32_t *relative; /* [count, 3] time, row, column from the place of the first; NULL: one after the other */
    int n_positions;         /* places that they take together; with relative */
} vr_clip_positions;

/* out [n, 3]: time, row and column of every row of a prompt; text counts on in all three. Returns the place of the row behind
 * the last. */
int vr_positions(int32_t *out, const int32_t *rows, int n, const vr_clip_positions *clip);

/* Read rows[first..n) (rows before are in the cache already, first = cache->n_rows < n); logits [V] of the last one,
 * in backend memory, with run->rest in the host's. Stages: prompt.embeds, decoder.*, decoder.logits. */
int vr_generate_read(const vr_generate *g, const int32_t *rows, int n, float *logits, vr_err *e);

/* Add one answered token; logits [V] of the next. */
int vr_generate_next(const vr_generate *g, int32_t id, float *logits, vr_err *e);

/* The next token from such logits: vr_sampler_next's choice, whatever the memory. */
int vr_generate_choose(const vr_generate *g, vr_sampler *sampler, const float *logits, const int32_t *seen, int n_seen,
                       int32_t *id, vr_err *e);
/* Takes of run->scratch what choose does, for a plan. */
void vr_generate_choose_plan(const vr_llama *llama, vr_run *run);

#endif
