/*
 * utter.c - see utter.h.
 *
 *   once:   read prompt -> logits of `start`: no_speech; of the last row -> rules -> id -> read id -> ...
 *           at most context/2 ids, or until the context is full
 *   window: once at 0; again at 0.2, .. while (compression > 2.4 or log_probability < -1) and not silence
 *
 * Trap:  probabilities are those behind the rules, before the temperature; the end counts as one more id.
 * Trap:  silence needs both: no_speech above 0.6 and log_probability below -1. The original asks this twice, with < here and
 *        "not >" when it skips a window: the same but for equal numbers.
 * Trap:  where even the likeliest words are unlikely, the last temperature draws random ones (claps, barking, music); the
 *        original prints them, here they are dropped. Words that were likely, but repeat themselves, end at the last one as
 *        there.
 * Trap:  zlib at its default level is part of the definition of compression.
 */
#include "speech/utter.h"

#include <math.h>
#include <stdlib.h>
#include <zlib.h>

#include "text/blank.h"

#define MOST_COMPRESSION  2.4
#define LEAST_PROBABILITY (-1.0) /* logarithm */
#define MOST_NO_SPEECH    0.6

enum { TEMPERATURES = 6 }; /* 0, 0.2, .. 1.0 */

int vr_utter_text(const vr_utter *u, const int32_t *ids, int n, vr_text *text, vr_err *e)
{
    vr_text_stream stream = { 0 };
    vr_text bytes = { 0 };
    int rc = VR_OK;
    for (int i = 0; i < n && rc == VR_OK; i++) {
        if (ids[i] >= u->tokens->end) continue;
        const vr_string piece = vr_tokenizer_piece(u->tokenizer, ids[i]);
        rc = vr_text_append(&bytes, piece.data, piece.n_bytes, e);
    }
    char *out = rc == VR_OK ? malloc(3 * (bytes.n_bytes + 4)) : NULL;
    if (rc == VR_OK && !out) rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory for the words");
    if (rc == VR_OK) {
        const size_t length = vr_text_stream_push(&stream, vr_text_string(&bytes), bytes.n_bytes, true, out);
        rc = vr_text_append(text, out, length, e);
    }
    free(out);
    vr_text_free(&bytes);
    return rc;
}

static int compression_measure(const vr_utter *u, const vr_ids *ids, double *ratio, vr_err *e)
{
    vr_text text = { 0 };
    int rc = vr_utter_text(u, ids->data, ids->count, &text, e);
    if (rc == VR_OK) {
        const char *data = vr_text_string(&text);
        size_t n = text.n_bytes;
        for (size_t blank; (blank = vr_blank_bytes(data, n, false)) > 0; n -= blank) data += blank;
        for (size_t blank; (blank = vr_blank_bytes(data, n, true)) > 0;) n -= blank;
        uLongf packed = compressBound((uLong)n);
        Bytef *out = malloc(packed);
        if (!out || compress(out, &packed, (const Bytef *)data, (uLong)n) != Z_OK)
            rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory to compress the words");
        else
            *ratio = (double)n / (double)packed;
        free(out);
    }
    vr_text_free(&text);
    return rc;
}

/* log of sum of exp */
static double log_total(const float *logits, int V)
{
    float top = -INFINITY;
    double sum = 0;
    for (int i = 0; i < V; i++)
        if (logits[i] > top) top = logits[i];
    if (!isfinite(top)) return 0;
    for (int i = 0; i < V; i++) sum += exp((double)logits[i] - (double)top);
    return (double)top + log(sum);
}

/* Memory of a decoding, of scratch and host (which may be one). */
typedef struct memory {
    size_t mark, host_mark;
    float *x, *there; /* [context, D], [V] backend memory */
    float *logits;    /* [V] host */
} memory;

static memory memory_take(const vr_whisper *whisper, vr_run *run)
{
    const vr_whisper_config *c = vr_whisper_config_get(whisper);
    memory m = { .mark = vr_arena_mark(run->scratch), .host_mark = vr_arena_mark(run->host) };
    m.x = vr_arena_floats(run->scratch, (size_t)c->context * (size_t)c->width);
    m.there = vr_arena_floats(run->scratch, (size_t)c->vocab);
    m.logits = vr_arena_floats(run->host, (size_t)c->vocab);
    return m;
}

static void memory_release(const memory *m, vr_run *run)
{
    vr_arena_release(run->host, m->host_mark);
    vr_arena_release(run->scratch, m->mark);
}

void vr_utter_plan(const vr_whisper *whisper, vr_run *run, vr_whisper_state *state)
{
    const vr_whisper_config *c = vr_whisper_config_get(whisper);
    const memory m = memory_take(whisper, run);
    vr_whisper_forward(whisper, run, state, NULL, c->context, m.x);
    state->cache.n_rows = 0;
    vr_arena_floats(run->host, (size_t)c->vocab); /* of the sampler: values and ids */
    vr_arena_alloc(run->host, (size_t)c->vocab, sizeof(int32_t));
    memory_release(&m, run);
}

static int head(const vr_utter *u, vr_run *run, const memory *m, int row, vr_err *e)
{
    const vr_whisper_config *c = vr_whisper_config_get(u->whisper);
    vr_whisper_head(u->whisper, run, m->x + (size_t)row * (size_t)c->width, m->there);
    run->be->read(run->be, m->logits, m->there, (size_t)c->vocab * sizeof *m->logits);
    return vr_backend_sync(run->be, e);
}

static int step_read(const vr_utter *u, vr_run *run, const memory *m, const int32_t *ids, int T, vr_err *e)
{
    if (u->cancelled && u->cancelled(u->cookie)) return vr_fail(e, VR_ERR_CANCEL, "stopped");
    vr_dump_i32(vr_run_stages(run), "speech.ids", ids, 1, (const int64_t[1]){ T });
    vr_whisper_forward(u->whisper, run, u->state, ids, T, m->x);
    return VR_OK;
}

/* The decoding at one temperature; prompt is read already, x holds its rows, the last of which is `row`. */
static int say(const vr_utter *u, vr_run *run, const memory *m, int row, double temperature, vr_utterance *out, vr_err *e)
{
    const vr_whisper_config *c = vr_whisper_config_get(u->whisper);
    const int most = c->context / 2, n_prompt = row + 1;
    vr_sampler sampler;
    vr_sampler_open(&sampler, &(vr_sampling){ .temperature = (float)temperature,
                                              .top_p = 1,
                                              .repetition_penalty = 1,
                                              .seed = temperature > 0 ? (*u->seed)++ : 0 });
    double sum = 0;
    for (int i = 0; i < most; i++) {
        VR_TRY(head(u, run, m, i == 0 ? row : 0, e));
        vr_dump_f32(vr_run_stages(run), "speech.logits", m->logits, 2, (const int64_t[2]){ 1, c->vocab });
        vr_rules_apply(u->tokens, m->logits, out->ids.data, out->ids.count);
        const int32_t id = vr_sampler_next(&sampler, m->logits, c->vocab, NULL, 0, run->host);
        sum += (double)m->logits[id] - log_total(m->logits, c->vocab);
        if (id == u->tokens->end) break;
        VR_TRY(vr_ids_push(&out->ids, id, e));
        if (n_prompt + out->ids.count > c->context || i + 1 == most) break;
        VR_TRY(step_read(u, run, m, &id, 1, e));
    }
    out->log_probability = sum / (out->ids.count + 1);
    return compression_measure(u, &out->ids, &out->compression, e);
}

static int once(const vr_utter *u, vr_run *run, const int32_t *prompt, int n_prompt, int start, double temperature,
                vr_utterance *out, vr_err *e)
{
    const memory m = memory_take(u->whisper, run);
    out->ids.count = 0;
    out->temperature = temperature;
    u->state->cache.n_rows = 0;
    int rc = step_read(u, run, &m, prompt, n_prompt, e);
    if (rc == VR_OK) rc = head(u, run, &m, start, e);
    if (rc == VR_OK) {
        const double total = log_total(m.logits, vr_whisper_config_get(u->whisper)->vocab);
        out->no_speech = exp((double)m.logits[u->tokens->no_speech] - total);
        rc = say(u, run, &m, n_prompt - 1, temperature, out, e);
    }
    memory_release(&m, run);
    return rc;
}

static bool is_silence(const vr_utterance *out)
{
    return out->no_speech > MOST_NO_SPEECH && out->log_probability < LEAST_PROBABILITY;
}

bool vr_utterance_is_dropped(const vr_utterance *out)
{
    return is_silence(out) || !out->likely;
}

int vr_utter_window(const vr_utter *u, const int32_t *prompt, int n_prompt, int start, vr_utterance *out, vr_err *e)
{
    vr_run quiet = *u->run;
    bool first = false;
    quiet.dump = NULL;
    for (int i = 0; i < TEMPERATURES; i++) {
        VR_TRY(once(u, i == 0 ? u->run : &quiet, prompt, n_prompt, start, i / 5.0, out, e));
        const bool likely = !(out->log_probability < LEAST_PROBABILITY);
        if (i == 0) first = likely;
        out->likely = likely || first;
        if ((likely && !(out->compression > MOST_COMPRESSION)) || is_silence(out)) break;
    }
    return VR_OK;
}

int vr_utter_language(const vr_utter *u, int *language, vr_err *e)
{
    vr_run quiet = *u->run;
    quiet.dump = NULL;
    const memory m = memory_take(u->whisper, &quiet);
    const int32_t start = u->tokens->start;
    u->state->cache.n_rows = 0;
    int rc = step_read(u, &quiet, &m, &start, 1, e);
    if (rc == VR_OK) rc = head(u, &quiet, &m, 0, e);
    const float *logits = m.logits + u->tokens->language;
    *language = 0;
    for (int i = 1; rc == VR_OK && i < u->tokens->n_languages; i++)
        if (logits[i] > logits[*language]) *language = i;
    memory_release(&m, &quiet);
    return rc;
}
