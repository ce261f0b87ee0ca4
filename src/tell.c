/*
 * tell.c - a clip told as text: VideoChat-Text with nothing but the model at hand.
 *
 *   pieces of 30 to 60 s -> watch, "Describe the video in detail." -> captions --+
 *   what is said (the caller's) -> speech ---------------------------------------+-> told.c -> s->told: stands for the rows (ask.c)
 *                                  summaries of groups of lines <- the decoder <-+
 *
 * Ref:  spec VideoChat 13. The original has five other models tell the clip, and ChatGPT answer.
 * Trap: captions and summaries are drawn greedily, whatever the answers are drawn with: the text of a clip is always the same.
 * Trap: the prompt of a summary and its answer must fit as well as that of a question: the room is that of the longer answer.
 */
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "describe/told.h"

enum {
    PIECE_SECONDS = 60, /* at most */
    CAPTION_TOKENS = 128,
    QUESTION_TOKENS = 128 /* kept free for a question and what stands around it */
};

static const char describe[] = "Describe the video in detail.";

static int count(void *cookie, const char *text, size_t n_bytes, int *n_tokens, vr_err *e)
{
    const vr_session *s = cookie;
    vr_ids ids = { 0 };
    const int rc = vr_tokenizer_encode(s->model->tokenizer, text, n_bytes, &ids, e);
    *n_tokens = ids.count;
    vr_ids_free(&ids);
    return rc;
}

/* The text without the end mark that some systems leave in it: a text would hold a token that ends texts. */
static void end_cut(const vr_session *s, const vr_answer *answer, vr_text *out)
{
    if (answer->stop != VR_STOP_END || answer->n_ids == 0) return;
    const vr_string mark = vr_tokenizer_piece(s->model->tokenizer, answer->ids[answer->n_ids - 1]);
    if (mark.n_bytes == 0 || mark.n_bytes > out->n_bytes) return;
    char *const at = out->data + out->n_bytes - mark.n_bytes;
    if (memcmp(at, mark.data, mark.n_bytes) != 0) return;
    *at = '\0';
    out->n_bytes -= mark.n_bytes;
}

/* The likeliest answer to a question of its own, on one line. */
static int ask_alone(vr_session *s, const char *question, int n_predict, vr_text *out, vr_err *e)
{
    const vr_ask_options options = { .sampling = { .top_p = 1, .repetition_penalty = 1 }, .n_predict = n_predict };
    vr_answer answer;
    VR_TRY(vr_session_ask(s, question, &options, &answer, e));
    int rc = vr_text_append_string(out, answer.text, e);
    if (rc == VR_OK) end_cut(s, &answer, out);
    for (size_t i = 0; i < out->n_bytes; i++)
        if ((unsigned char)out->data[i] < ' ') out->data[i] = ' ';
    vr_session_reset(s);
    return rc == VR_OK && answer.stop == VR_STOP_CALLER ? vr_fail(e, VR_ERR_CANCEL, "stopped") : rc;
}

static int summarise(void *cookie, const char *text, double start, double end, int n_tokens, vr_text *out, vr_err *e)
{
    vr_session *s = cookie;
    char question[128];
    snprintf(question, sizeof question, "What happens from second %lld to second %lld of the video? Answer in one sentence.",
             (long long)start, (long long)end);
    s->told = strdup(text);
    if (!s->told) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a description");
    const int rc = ask_alone(s, question, n_tokens, out, e);
    free(s->told);
    s->told = NULL;
    return rc;
}

/* Looks at another part of the clip; the rows are others then. */
static int piece_watch(vr_session *s, double from, double to, vr_err *e)
{
    const vr_model *m = s->model;
    const vr_watch_options options = { .n_frames = s->view.n_frames, .from = from, .to = to };
    float *const rows = s->view.rows;
    vr_view_free(&s->view);
    s->view.rows = rows;
    vr_session_rows_changed(s);
    VR_TRY(m->system->plan(m->state, s->source, &options, &s->view, e));
    return m->system->watch(m->state, &s->run, s->source, &s->view, &s->hooks, e);
}

static double clip_seconds(const vr_session *s)
{
    const double rate = vr_source_rate(&s->info);
    return rate > 0 ? (double)s->info.n_frames / rate : s->info.seconds > 0 ? s->info.seconds : 0;
}

static int captions_make(void *state, vr_description *out, vr_err *e)
{
    vr_session *const s = state;
    const double seconds = clip_seconds(s);
    const int n = seconds > PIECE_SECONDS ? (int)ceil(seconds / PIECE_SECONDS) : 1;
    vr_text said = { 0 };
    int rc = VR_OK;
    for (int i = 0; rc == VR_OK && i < n; i++) {
        const double from = seconds * i / n, to = i + 1 < n ? seconds * (i + 1) / n : 0;
        vr_text_clear(&said);
        rc = piece_watch(s, from, to, e);
        if (rc == VR_OK) rc = ask_alone(s, describe, CAPTION_TOKENS, &said, e);
        if (rc == VR_OK && said.n_bytes)
            rc = vr_notes_add(&out->captions, from, to > 0 ? to : seconds, said.data, said.n_bytes, e);
        vr_hooks_progress(&s->hooks, "captions", i + 1, n);
    }
    vr_text_free(&said);
    return rc;
}

static int speech_take(void *state, vr_description *out, vr_err *e)
{
    const vr_tell_options *const o = state;
    for (int i = 0; i < o->n_said; i++)
        VR_TRY(vr_notes_add(&out->speech, o->said[i].start, o->said[i].end, o->said[i].text, strlen(o->said[i].text), e));
    return VR_OK;
}

static int told_make(vr_session *s, vr_description *description, const vr_tell_options *o, vr_err *e)
{
    const int answer = o->n_predict ? o->n_predict : s->model->recipe.n_predict;
    const int left = s->context - QUESTION_TOKENS - (answer > CAPTION_TOKENS ? answer : CAPTION_TOKENS);
    const vr_told_room room = { .n_tokens = left, .count = count, .summarise = summarise, .cookie = s };
    const int n_captions = description->captions.count, n_speech = description->speech.count;
    vr_text text = { 0 };
    int n_rounds;
    VR_TRY(vr_told_make(description, &room, &text, &n_rounds, e));
    if (n_rounds > 0)
        vr_log_print(&s->hooks.log, VR_LOG_INFO, "%d captions and %d lines of speech were summarised to %d lines", n_captions,
                     n_speech, description->captions.count);
    s->told = text.data; /* never empty */
    return VR_OK;
}

int vr_session_tell(vr_session *s, const vr_tell_options *options, vr_err *e)
{
    const double start = vr_clock();
    vr_tell_options o = *options;
    vr_description description = { 0 };
    const vr_describer describers[] = { { "captions", captions_make, s }, { "speech", speech_take, &o } };
    if (!s->model->system->pieces)
        return vr_fail(e, VR_ERR_USAGE, "%s cannot tell a clip as text", s->model->system->name);
    if (s->view.image) return vr_fail(e, VR_ERR_USAGE, "a picture is looked at, not told as text");
    if (s->dump) return vr_fail(e, VR_ERR_USAGE, "no stages are written of a clip that is told as text");
    VR_TRY(vr_session_memory_open(s, s->model->backend, e));
    s->hooks.timing = NULL; /* of every piece: one line for all is enough */
    int rc = VR_OK;
    for (size_t i = 0; rc == VR_OK && i < sizeof describers / sizeof *describers; i++)
        rc = describers[i].describe(describers[i].state, &description, e);
    if (rc == VR_OK) rc = told_make(s, &description, &o, e);
    vr_description_free(&description);
    s->hooks.timing = s->model->hooks.timing;
    if (rc == VR_OK) vr_hooks_timing(&s->hooks, "describe", vr_clock() - start, 0, NULL);
    return rc;
}

const char *vr_session_told(const vr_session *s)
{
    return s->told;
}
