/*
 * ask.c - a question to the clip: conversation -> rows -> answer, see pipeline.c for what comes before.
 *
 *   turns -> spans (prompt.c) -> rows: tokens and rows of the clip -> those not yet in the cache are read -> token by token
 *
 * Ref:  Video-LLaMA conversation_video.py:185-231 (answer), :329-343 (splicing).
 * Trap: the original re-reads the whole conversation every turn. So do we in effect: rows equal to those in the cache are
 *       kept, which changes nothing in f32; with a dump everything is read again, so that the stages are whole.
 *       When prompt and answer exceed the context the oldest turns are left out, and stay so; where even the question alone is
 *       too long, the first rows are dropped as in the original. Rows of the clip never are: the original then answers about a
 *       clip it no longer sees.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* A conversation as tokens and rows of the clip. */
typedef struct asked {
    vr_spans spans;
    vr_ids *texts; /* [spans.count] tokens of each text span; empty for the others */
    vr_ids rows;
} asked;

static void asked_free(asked *a)
{
    for (int i = 0; a->texts && i < a->spans.count; i++) vr_ids_free(&a->texts[i]);
    free(a->texts);
    vr_ids_free(&a->rows);
    vr_spans_free(&a->spans);
}

/* turns -> spans -> tokens of each text; the first has BOS in front. What a had is replaced. */
static int texts_make(const vr_session *s, const vr_turn *turns, int n_turns, asked *a, vr_err *e)
{
    const vr_tokenizer *tokenizer = s->model->tokenizer;
    const vr_prompt_scene scene = { .image = s->view.image,
                                    .heard = s->view.n_clips > 0,
                                    .n_frames = s->view.n_frames,
                                    .seconds = s->view.frame_seconds,
                                    .system_text = s->system_text,
                                    .told = s->told };
    asked_free(a);
    *a = (asked){ 0 };
    VR_TRY(vr_prompt_render(s->prompt, &scene, turns, n_turns, &a->spans, e));
    a->texts = calloc((size_t)a->spans.count, sizeof *a->texts);
    if (!a->texts) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the prompt");
    if (vr_tokenizer_bos(tokenizer) >= 0) VR_TRY(vr_ids_push(&a->texts[0], vr_tokenizer_bos(tokenizer), e));
    for (int i = 0; i < a->spans.count; i++) {
        const vr_text *text = &a->spans.items[i].text;
        if (a->spans.items[i].kind == VR_SPAN_TEXT)
            VR_TRY(vr_tokenizer_encode(tokenizer, vr_text_string(text), text->n_bytes, &a->texts[i], e));
    }
    return VR_OK;
}

static vr_question question_of(const asked *a)
{
    vr_question q = { 0 };
    for (int i = 0; i < a->spans.count; i++) {
        q.n_text += a->texts[i].count;
        if (i > 0 && a->spans.items[i].kind == VR_SPAN_TEXT) {
            q.after = a->texts[i].data;
            q.n_after = a->texts[i].count;
        }
    }
    return q;
}

/* texts and rows of the clip in order */
static int rows_make(const vr_session *s, asked *a, vr_err *e)
{
    a->rows.count = 0;
    for (int i = 0; i < a->spans.count; i++) {
        const vr_span_kind kind = a->spans.items[i].kind;
        const int first = kind == VR_SPAN_AUDIO ? 0 : s->view.n_audio_rows;
        const int count = kind == VR_SPAN_AUDIO ? s->view.n_audio_rows : s->view.n_video_rows;
        for (int t = 0; t < a->texts[i].count; t++) VR_TRY(vr_ids_push(&a->rows, a->texts[i].data[t], e));
        for (int r = 0; kind != VR_SPAN_TEXT && r < count; r++) VR_TRY(vr_ids_push(&a->rows, VR_CLIP_ROW(first + r), e));
    }
    return VR_OK;
}

/* s->positions of the prompt's rows, and the place behind them */
static void positions_make(vr_session *s, const int32_t *rows, int n)
{
    const vr_view *view = &s->view;
    const vr_clip_positions clip = { view->n_audio_rows, view->n_video_rows, view->positions, view->n_positions };
    s->next_position = vr_positions(s->positions, rows, n, &clip);
}

/* positions [n, 3] as a stage [3, n] */
static int positions_write(const vr_session *s, const char *name, const int32_t *positions, int n, vr_err *e)
{
    int32_t *turned = malloc((size_t)n * 3 * sizeof *turned);
    if (!turned) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stage %s", name);
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < n; t++) turned[i * n + t] = positions[3 * t + i];
    vr_dump_i32(s->dump, name, turned, 2, (const int64_t[2]){ 3, n });
    free(turned);
    return VR_OK;
}

/* prompt.positions.text stands for a text that knows of the clip's grid: there is none of a stream */
static int positions_dump(const vr_session *s, const int32_t *rows, int n, vr_err *e)
{
    const vr_view *view = &s->view;
    if (!s->dump || !view->positions) return VR_OK;
    if (view->positions_plain) {
        const vr_clip_positions clip = { view->n_audio_rows, view->n_video_rows, view->positions_plain, view->n_positions };
        int32_t *plain = malloc((size_t)n * 3 * sizeof *plain);
        if (!plain) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stage prompt.positions.text");
        vr_positions(plain, rows, n, &clip);
        const int rc = positions_write(s, "prompt.positions.text", plain, n, e);
        free(plain);
        if (rc != VR_OK) return rc;
    }
    return positions_write(s, "prompt.positions", s->positions, n, e);
}

void vr_session_ids_dump(const vr_session *s, vr_dump *dump, const int32_t *rows, int n)
{
    const vr_system *system = s->model->system;
    const char *piece = system->rows_piece;
    const int32_t known = s->view.image && system->rows_mark_image ? system->rows_mark_image : system->rows_mark;
    const int32_t mark = piece ? vr_tokenizer_find(s->model->tokenizer, piece, strlen(piece)) : known;
    for (int i = 0; dump && i < n; i++) {
        const bool is_clip = rows[i]<0, follows = i> 0 && rows[i - 1] < 0;
        if (is_clip && (mark == 0 || (follows && system->rows_mark_once))) continue;
        const int32_t id = is_clip ? mark : rows[i];
        vr_dump_i32(dump, "prompt.ids", &id, 1, (const int64_t[1]){ 1 });
    }
}

/* Cuts off what the original's bound of a prompt does not let pass: the end, be it the question. -> rows cut off */
static int rows_cut(const vr_session *s, vr_ids *rows)
{
    const int most = s->model->rows_max, n = most && rows->count > most ? rows->count - most : 0;
    rows->count -= n;
    return n;
}

/* Rows to drop at the beginning so that n_predict more fit; VR_ERR_LIMIT where that would reach the clip, or what was told of
 * it. */
static int rows_dropped(const vr_session *s, const vr_ids *rows, int n_predict, int *dropped, vr_err *e)
{
    *dropped = 0;
    const int64_t excess = (int64_t)rows->count + n_predict - s->context;
    if (excess <= 0) return VR_OK;
    int first_clip_row = 0;
    while (!s->told && first_clip_row < rows->count && rows->data[first_clip_row] >= 0) first_clip_row++;
    if (excess > first_clip_row || excess >= rows->count)
        return vr_fail(e, VR_ERR_LIMIT, "the prompt has %d tokens, with an answer of up to %d the context of %d is exceeded",
                       rows->count, n_predict, s->context);
    *dropped = (int)excess;
    return VR_OK;
}

int vr_session_budget(vr_session *s, const char *question, int n_predict, vr_err *e)
{
    char nothing[] = "";
    char *copy = question ? strdup(question) : nothing;
    if (!copy) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the question");
    const vr_turn turn = { .question = copy };
    asked a = { 0 };
    int dropped;
    const vr_system *system = s->model->system;
    int rc = texts_make(s, &turn, 1, &a, e);
    const vr_question asked_now = rc == VR_OK ? question_of(&a) : (vr_question){ 0 };
    if (rc == VR_OK && system->budget) rc = system->budget(s->model->state, &s->view, &asked_now, &s->view.n_video_rows, e);
    if (rc == VR_OK) rc = rows_make(s, &a, e);
    if (rc == VR_OK) rows_cut(s, &a.rows);
    if (rc == VR_OK) rc = rows_dropped(s, &a.rows, n_predict, &dropped, e);
    s->n_planned_rows = a.rows.count;
    asked_free(&a);
    if (question) free(copy);
    return rc;
}

static bool asked_to_stop(void *cookie)
{
    const vr_hooks *hooks = &((vr_session *)cookie)->hooks;
    return hooks->cancelled && hooks->cancelled(hooks->cookie);
}

static void prompt_progress(void *cookie, int64_t done, int64_t total)
{
    vr_hooks_progress(&((vr_session *)cookie)->hooks, "prompt", done, total);
}

void vr_session_rows_changed(vr_session *s)
{
    for (int i = 0; i < s->cache.n_rows; i++)
        if (s->cached[i] < 0) s->cache.n_rows = i;
}

/* The clip's rows for this question; in a stream they are there (stream.c). */
static int clip_show(vr_session *s, const asked *a, vr_err *e)
{
    const vr_system *system = s->model->system;
    if (!system->show || !s->source || s->told) return VR_OK;
    const vr_question question = question_of(a);
    bool changed = true;
    VR_TRY(system->show(s->model->state, &s->run, s->source, &s->view, &question, &changed, &s->hooks, e));
    if (changed) vr_session_rows_changed(s);
    return VR_OK;
}

/* Bring the cache to the rows of the prompt; s->logits are those of the last row. */
static int prompt_read(vr_session *s, const vr_generate *g, const int32_t *rows, int n, vr_answer *out, vr_err *e)
{
    int same = 0;
    const int most = s->dump                   ? 0
                     : n - 1 < s->cache.n_rows ? n - 1
                                               : s->cache.n_rows; /* the last row must be read for its logits */
    while (same < most && rows[same] == s->cached[same]) same++;
    s->cache.n_rows = same;
    memcpy(s->cached + same, rows + same, (size_t)(n - same) * sizeof *rows);
    out->n_reused_rows = same;
    positions_make(s, rows, n);
    vr_session_ids_dump(s, s->dump, rows, n);
    VR_TRY(positions_dump(s, rows, n, e));
    VR_TRY(vr_generate_read(g, rows, n, s->logits, e));
    if (s->on_prompt) s->on_prompt(s, rows, n);
    return VR_OK;
}

/* Show what the id adds to the answer. *go_on = false: the caller has had enough. */
static int text_show(vr_session *s, vr_text_stream *stream, int32_t id, bool last, const vr_ask_options *options, bool *go_on,
                     vr_err *e)
{
    const vr_string piece = id >= 0 ? vr_tokenizer_piece(s->model->tokenizer, id) : (vr_string){ "", 0 };
    char *whole = malloc(3 * (piece.n_bytes + 4));
    if (!whole) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the answer");
    const size_t n_bytes = vr_text_stream_push(stream, piece.data, piece.n_bytes, last, whole);
    const char *shown;
    size_t n_shown;
    const int rc = vr_answer_push(&s->answer_text, whole, n_bytes, last, &shown, &n_shown, e);
    free(whole);
    if (rc == VR_OK && n_shown > 0 && options->text) *go_on = options->text(options->cookie, shown, n_shown);
    return rc;
}

/* The logits of every step, under the names that the recorded runs of the systems have for them. */
static const char *const step_stages[] = { "decoder.step_logits", "answer.logits", "decoder.logits.steps" };

/* Ids that the repetition penalty counts beside the answer's: those of the prompt where rows of the clip have one too. There the
 * original generates from ids, elsewhere from rows that have none (transformers RepetitionPenaltyLogitsProcessor). */
static int seen_begin(const vr_session *s, const vr_sampling *sampling, vr_ids *seen, vr_err *e)
{
    const char *piece = s->model->system->rows_piece;
    if (!piece || sampling->repetition_penalty == 1.0f) return VR_OK;
    const int32_t mark = vr_tokenizer_find(s->model->tokenizer, piece, strlen(piece));
    bool clip = false;
    for (int i = 0; i < s->cache.n_rows; i++) {
        const int32_t row = s->cached[i];
        if (row >= 0 || !clip) VR_TRY(vr_ids_push(seen, row >= 0 ? row : mark, e));
        clip = clip || row < 0;
    }
    return VR_OK;
}

static int answer_generate(vr_session *s, const vr_generate *g, const vr_ask_options *options, vr_ids *seen, vr_answer *out,
                           vr_err *e)
{
    const int V = vr_llama_config_get(s->model->llama)->vocab;
    vr_sampler sampler;
    vr_text_stream stream = { .n_pending = 0 };
    bool go_on = true;
    vr_sampler_open(&sampler, &options->sampling);
    vr_answer_begin(&s->answer_text, vr_prompt_cut(s->prompt), vr_prompt_after(s->prompt), vr_prompt_cleans(s->prompt));
    s->answer_ids.count = 0;
    out->stop = VR_STOP_LENGTH;
    while (s->answer_ids.count < options->n_predict) {
        for (size_t i = 0; i < sizeof step_stages / sizeof *step_stages; i++)
            vr_run_dump(&s->run, s->logits, 2, (const int64_t[2]){ 1, V }, "%s", step_stages[i]);
        int32_t id;
        VR_TRY(vr_generate_choose(g, &sampler, s->logits, seen->data, seen->count, &id, e));
        VR_TRY(vr_ids_push(&s->answer_ids, id, e));
        VR_TRY(vr_ids_push(seen, id, e));
        vr_dump_i32(s->dump, "answer.ids", &id, 1, (const int64_t[1]){ 1 });
        VR_TRY(text_show(s, &stream, id, false, options, &go_on, e));
        if (vr_prompt_stops(s->prompt, s->answer_ids.data, s->answer_ids.count)) {
            out->stop = VR_STOP_END;
            break;
        }
        if (!go_on || asked_to_stop(s)) {
            out->stop = VR_STOP_CALLER;
            break;
        }
        if (s->answer_ids.count == options->n_predict) break;
        s->cached[s->cache.n_rows] = id;
        for (int i = 0; i < 3; i++) s->positions[3 * s->cache.n_rows + i] = s->next_position;
        s->next_position++;
        VR_TRY(vr_generate_next(g, id, s->logits, e));
    }
    return text_show(s, &stream, -1, true, options, &go_on, e);
}

/* Whether the conversation from turn `first` on leaves room for n_predict rows; -> a: its texts. */
static int turns_fit(const vr_session *s, int first, int n_predict, asked *a, bool *fit, vr_err *e)
{
    const vr_model *m = s->model;
    VR_TRY(texts_make(s, s->turns + first, s->n_turns - first, a, e));
    const vr_question question = question_of(a);
    int n_video_rows = s->view.n_video_rows;
    if (m->system->budget && m->system->budget(m->state, &s->view, &question, &n_video_rows, NULL) != VR_OK) {
        *fit = false;
        return VR_OK;
    }
    int64_t n = question.n_text;
    for (int i = 0; i < a->spans.count; i++) {
        if (a->spans.items[i].kind == VR_SPAN_VIDEO) n += n_video_rows;
        if (a->spans.items[i].kind == VR_SPAN_AUDIO) n += s->view.n_audio_rows;
    }
    *fit = n + n_predict <= s->context && (m->rows_max == 0 || n <= m->rows_max);
    return VR_OK;
}

/* Texts of as many of the last turns as the context takes: the oldest are left out, the one that is asked never. */
static int turns_take(vr_session *s, int n_predict, asked *a, vr_answer *out, vr_err *e)
{
    int first = s->n_dropped_turns;
    bool fit;
    VR_TRY(turns_fit(s, first, n_predict, a, &fit, e));
    while (!fit && first + 1 < s->n_turns) VR_TRY(turns_fit(s, ++first, n_predict, a, &fit, e));
    out->n_dropped_turns = first;
    return VR_OK;
}

/* What was left out for want of room. */
static void tell_dropped(const vr_session *s, const vr_answer *out)
{
    const vr_log *log = &s->hooks.log;
    if (out->n_dropped_turns > s->n_dropped_turns)
        vr_log_print(log, VR_LOG_WARN,
                     "the conversation exceeds the context of %d tokens: the oldest %d of %d turns are no longer read; the "
                     "clip is",
                     s->context, out->n_dropped_turns, s->n_turns);
    if (out->n_dropped_rows > 0)
        vr_log_print(log, VR_LOG_WARN, "the prompt exceeds the context: its first %d of %d tokens are dropped",
                     out->n_dropped_rows, out->n_dropped_rows + out->n_prompt_rows);
}

static int turn_answer(vr_session *s, const vr_ask_options *options, vr_answer *out, vr_err *e)
{
    const vr_generate g = { .llama = s->model->llama,
                            .run = &s->run,
                            .cache = &s->cache,
                            .clip_rows = s->view.rows,
                            .positions = s->positions,
                            .cancelled = asked_to_stop,
                            .progress = prompt_progress,
                            .cookie = s };
    asked a = { 0 };
    const double start = vr_clock();
    int rc = turns_take(s, options->n_predict, &a, out, e);
    if (rc == VR_OK) rc = clip_show(s, &a, e);
    if (rc == VR_OK) rc = rows_make(s, &a, e);
    const int n_cut = rc == VR_OK ? rows_cut(s, &a.rows) : 0;
    if (n_cut > 0)
        vr_log_print(&s->hooks.log, VR_LOG_WARN,
                     "the prompt is longer than the %d tokens that the system was made for: its last %d are cut off",
                     s->model->rows_max, n_cut);
    if (rc == VR_OK) rc = rows_dropped(s, &a.rows, options->n_predict, &out->n_dropped_rows, e);
    out->n_prompt_rows = a.rows.count - out->n_dropped_rows;
    if (rc == VR_OK) tell_dropped(s, out);
    if (rc == VR_OK) rc = prompt_read(s, &g, a.rows.data + out->n_dropped_rows, out->n_prompt_rows, out, e);
    asked_free(&a);
    if (rc != VR_OK) return rc;
    const double read = vr_clock();
    out->prompt_seconds = read - start;
    vr_hooks_timing(&s->hooks, "prompt", out->prompt_seconds, out->n_prompt_rows - out->n_reused_rows, "tokens");
    vr_ids seen = { 0 };
    rc = seen_begin(s, &options->sampling, &seen, e);
    if (rc == VR_OK) rc = answer_generate(s, &g, options, &seen, out, e);
    vr_ids_free(&seen);
    out->answer_seconds = vr_clock() - read;
    const char *note = s->run.be->note ? s->run.be->note(s->run.be) : NULL;
    if (note) vr_log_print(&s->hooks.log, VR_LOG_WARN, "%s", note);
    if (rc == VR_OK) vr_hooks_timing(&s->hooks, "answer", out->answer_seconds, s->answer_ids.count, "tokens");
    return rc;
}

int vr_session_ask(vr_session *s, const char *question, const vr_ask_options *options, vr_answer *out, vr_err *e)
{
    *out = (vr_answer){ 0 };
    VR_TRY(vr_session_turn_push(s, question, e));
    if (s->dump && s->dump_turns) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "turn%d.", s->n_turns);
        vr_dump_prefix(s->dump, prefix);
    }
    const size_t mark = vr_arena_mark(&s->scratch);
    int rc = turn_answer(s, options, out, e);
    vr_arena_release(&s->scratch, mark);
    vr_text_clear(&s->answer);
    if (rc == VR_OK) rc = vr_answer_final(&s->answer_text, &s->answer, e);
    char *kept = rc == VR_OK ? strdup(vr_text_string(&s->answer)) : NULL;
    if (rc == VR_OK && !kept) rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory for the answer");
    if (rc != VR_OK) { /* the question was not answered: the conversation is as it was */
        vr_session_turn_pop(s);
        return rc;
    }
    s->n_dropped_turns = out->n_dropped_turns;
    s->turns[s->n_turns - 1].answer = kept;
    out->text = vr_text_string(&s->answer);
    out->ids = s->answer_ids.data;
    out->n_ids = s->answer_ids.count;
    return VR_OK;
}
