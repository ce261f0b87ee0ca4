/*
 * stream.c - a model that watches without end: frames into a memory of fixed size, questions answered from a copy of it.
 *
 *   frame handler      push: system->add(memory) ──────────┐ one at a time
 *   question handler   snapshot: memory ─> copy ───────────┘
 *                      ask: copy ─> rows (system->show) ─> conversation of one turn (ask.c)
 *
 * The two share the weights and nothing else: each has its own backend and scratch memory, planned as a session's. A push waits
 * for a snapshot that is wanted, a snapshot for the push that is running; no one waits for an answer.
 *
 * Ref:   Flash-VStream cli_video_stream.py (frame handler, question handler, lock around the memory); VideoLLaMB inference.py
 *        LiveInfer (captions).
 * Trap:  a mutex is not fair: a frame handler that is late would take it again and again. It lets a waiting snapshot go first.
 * Trap:  the dump is one for both threads. It is written by push and ask in turns, which the caller has to see to.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ragged.h"
#include "device.h"
#include "session.h"

struct vr_stream {
    vr_model *model;                /* borrowed */
    const vr_stream_system *system; /* borrowed */
    vr_stream_options options;      /* fps and query are resolved; strings are not used any more */
    char *query;                    /* NULL: no captions */
    /* of the frame handler */
    void *memory;
    vr_arena scratch, host; /* host: closed where backend memory is the host's */
    vr_run run;
    /* of the question handler */
    void *snapshot;
    vr_session *asker;
    vr_backend *backend;
    vr_dump *dump;           /* owned by the asker */
    int64_t snapshot_frames; /* in the snapshot */
    int64_t last_asked;      /* snapshot_frames of the question before, with a dump */
    int n_asked_there;       /* questions at that place */
    int n_captions;          /* answered */
    vr_ragged caption_ids;   /* of each caption, with a dump */
    /* of both */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool pushing;  /* the memory is being changed */
    int n_waiting; /* snapshots that are wanted */
    int64_t n_frames;
    double seconds; /* of the last frame */
};

static int options_take(vr_stream *s, const vr_stream_options *o, vr_err *e)
{
    const vr_recipe *recipe = &s->model->recipe;
    VR_TRY(vr_session_rule_check(s->model, o->memory, e));
    s->options = *o;
    if (!(s->options.fps > 0)) s->options.fps = recipe->fps;
    const char *query = o->query ? o->query : recipe->query;
    if (!recipe->query || o->captions == VR_CAPTIONS_OFF) query = NULL;
    if (query) s->query = strdup(query);
    if (query && !s->query) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the query");
    s->options.query = s->query;
    if (!s->query) s->options.captions = VR_CAPTIONS_OFF;
    return VR_OK;
}

/* Run both threads' work over backends that do nothing: scratch memory of each; *work_bytes: what pushes take of a device. */
static int memory_plan(vr_stream *s, size_t *push_bytes, size_t *work_bytes, vr_err *e)
{
    const vr_model *m = s->model;
    vr_session *asker = s->asker;
    vr_backend *nothing, *nothing_asked;
    vr_arena pushed, asked;
    vr_stream_event event = { 0 };
    const vr_hooks silent = { 0 };
    vr_view view = { .n_video_rows = asker->view.n_video_rows };
    void *memory = NULL;
    VR_TRY(vr_backend_open_plan_of(&nothing, m->backend, e));
    int rc = vr_backend_open_plan_of(&nothing_asked, s->backend, e);
    if (rc != VR_OK) {
        vr_backend_free(nothing);
        return rc;
    }
    vr_arena_plan(&pushed);
    vr_arena_plan(&asked);
    vr_run run = { .be = nothing, .scratch = &pushed, .host = &pushed };
    vr_run ask = { .be = nothing_asked, .scratch = &asked, .host = &asked };
    rc = s->system->open(m->state, &s->options, &run, &memory, e);
    if (rc == VR_OK) rc = s->system->add(m->state, memory, &run, NULL, &event, e);
    s->system->free(memory);
    view.rows = vr_arena_floats(&asked, (size_t)view.n_video_rows * (size_t)vr_llama_config_get(m->llama)->width);
    vr_arena_floats(&asked, (size_t)vr_llama_config_get(m->llama)->vocab); /* logits */
    const size_t mark = vr_arena_mark(&asked);
    if (rc == VR_OK) rc = s->system->show(m->state, NULL, &ask, &view, &silent, e);
    vr_arena_release(&asked, mark);
    if (rc == VR_OK) vr_session_answer_plan(asker, &ask);
    view.rows = NULL;
    vr_view_free(&view);
    *push_bytes = pushed.peak;
    *work_bytes = vr_device_work(nothing, pushed.peak);
    asker->scratch_bytes = asked.peak;
    asker->work_bytes = vr_device_work(nothing_asked, asked.peak);
    vr_backend_free(nothing);
    vr_backend_free(nothing_asked);
    return rc;
}

/* The session that answers: without a clip of its own. */
static int asker_open(vr_stream *s, const vr_stream_options *o, vr_err *e)
{
    vr_session *a = s->asker = calloc(1, sizeof *a);
    if (!a) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stream");
    a->model = s->model;
    a->hooks = o->ask_hooks;
    a->context = s->model->recipe.context;
    a->cookie = s;
    if (o->system_text && !(a->system_text = strdup(o->system_text)))
        return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the system text");
    VR_TRY(vr_prompt_open(&a->prompt, s->model->weights, o->template_name, s->model->tokenizer, e));
    a->view.n_video_rows = s->system->rows_most(s->model->state);
    a->cache_bytes = vr_session_cache_bytes(a);
    if (o->dump_dir) VR_TRY(vr_dump_open(&a->dump, o->dump_dir, e));
    s->dump = a->dump;
    return VR_OK;
}

/* Pages are given when they are first written: a stream has all of them when it begins, not in its tenth hour. */
static void pages_take(vr_arena *a)
{
    enum { ROUNDED = 128 }; /* what vr_arena_alloc adds at most */
    if (a->release || a->size <= ROUNDED) return; /* memory of a device is all there */
    memset(vr_arena_alloc(a, a->size - ROUNDED, 1), 0, a->size - ROUNDED);
    vr_arena_release(a, 0);
}

static int memory_open(vr_stream *s, const vr_stream_options *o, vr_err *e)
{
    vr_model *m = s->model;
    size_t push_bytes, work_bytes;
    vr_cpu_options cpu = m->cpu;
    if (o->n_threads_ask > 0) cpu.n_threads = o->n_threads_ask;
    VR_TRY(vr_device_open_beside(&s->backend, m->backend, m->device, &cpu, e));
    VR_TRY(memory_plan(s, &push_bytes, &work_bytes, e));
    VR_TRY(vr_session_memory_check(s->asker, work_bytes, e));
    VR_TRY(vr_run_open(&s->run, m->backend, &s->scratch, &s->host, push_bytes, e));
    pages_take(&s->scratch);
    VR_TRY(vr_session_memory_open(s->asker, s->backend, e));
    s->run.dump = s->dump;
    VR_TRY(m->system->stream->open(m->state, &s->options, &s->run, &s->memory, e));
    return s->system->snapshot_open(m->state, s->memory, &s->snapshot, e);
}

int vr_stream_open(vr_stream **out, vr_model *model, const vr_stream_options *options, vr_err *e)
{
    *out = NULL;
    if (!model->system->stream)
        return vr_fail(e, VR_ERR_USAGE, "%s: %s follows no streams", vr_weights_path(model->weights), model->system->name);
    vr_stream *s = calloc(1, sizeof *s);
    if (!s) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stream");
    s->model = model;
    s->system = model->system->stream;
    s->last_asked = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    int rc = options_take(s, options, e);
    if (rc == VR_OK) rc = asker_open(s, options, e);
    if (rc == VR_OK) rc = memory_open(s, options, e);
    if (rc == VR_OK) {
        *out = s;
        return VR_OK;
    }
    vr_stream_close(s, NULL);
    return rc;
}

void vr_stream_plan(const vr_stream *s, vr_plan *out)
{
    vr_session_plan(s->asker, out);
    out->scratch_bytes += s->scratch.size;
    out->n_video_rows = s->system->rows_most(s->model->state);
}

static void frame_dump(const vr_stream *s, const vr_stream_frame *frame)
{
    const int32_t number = (int32_t)frame->number;
    if (frame->number >= 0) vr_dump_i32(s->dump, "input.frame_indices", &number, 1, (const int64_t[1]){ 1 });
}

int vr_stream_push(vr_stream *s, const vr_stream_frame *frame, vr_stream_event *event, vr_err *e)
{
    *event = (vr_stream_event){ 0 };
    pthread_mutex_lock(&s->lock);
    while (s->n_waiting > 0) pthread_cond_wait(&s->changed, &s->lock);
    s->pushing = true;
    vr_stream_frame numbered = *frame;
    numbered.index = s->n_frames;
    pthread_mutex_unlock(&s->lock);

    const size_t mark = vr_arena_mark(&s->scratch);
    frame_dump(s, frame);
    int rc = s->system->add(s->model->state, s->memory, &s->run, &numbered, event, e);
    if (rc == VR_OK) rc = vr_backend_sync(s->run.be, e);
    vr_arena_release(&s->scratch, mark);

    pthread_mutex_lock(&s->lock);
    s->pushing = false;
    if (rc == VR_OK) {
        s->n_frames++;
        s->seconds = frame->seconds;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int vr_stream_snapshot(vr_stream *s, int64_t *n_frames, double *seconds, vr_err *e)
{
    pthread_mutex_lock(&s->lock);
    s->n_waiting++;
    while (s->pushing) pthread_cond_wait(&s->changed, &s->lock);
    int rc = VR_OK;
    if (s->n_frames == 0)
        rc = vr_fail(e, VR_ERR_VIDEO, "nothing has been seen yet");
    else
        rc = s->system->snapshot_take(s->model->state, s->memory, s->snapshot, e);
    if (rc == VR_OK) s->snapshot_frames = s->n_frames;
    if (n_frames) *n_frames = s->n_frames;
    if (seconds) *seconds = s->seconds;
    s->n_waiting--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The rows of the snapshot; whatever was seen before is forgotten. */
static int rows_show(vr_stream *s, bool caption, vr_err *e)
{
    vr_session *a = s->asker;
    float *const rows = a->view.rows;
    vr_view_free(&a->view);
    a->view.rows = rows;
    a->view.caption = caption;
    a->run.dump = s->dump;
    vr_session_rows_changed(a);
    const size_t mark = vr_arena_mark(&a->scratch);
    int rc = s->system->show(s->model->state, s->snapshot, &a->run, &a->view, &a->hooks, e);
    if (rc == VR_OK) rc = vr_backend_sync(a->run.be, e);
    vr_arena_release(&a->scratch, mark);
    return rc;
}

static int answer(vr_stream *s, const char *question, bool caption, const vr_ask_options *options, vr_answer *out, vr_err *e)
{
    if (s->snapshot_frames == 0) return vr_fail(e, VR_ERR_VIDEO, "nothing has been seen yet");
    vr_session *a = s->asker;
    VR_TRY(rows_show(s, caption, e));
    a->dump = a->run.dump = caption ? NULL : s->dump;
    vr_session_reset(a);
    const int rc = vr_session_ask(a, question, options, out, e);
    a->dump = s->dump;
    return rc;
}

int vr_stream_ask(vr_stream *s, const char *question, const vr_ask_options *options, vr_answer *out, vr_err *e)
{
    *out = (vr_answer){ 0 };
    if (s->dump) {
        char prefix[48];
        s->n_asked_there = s->snapshot_frames == s->last_asked ? s->n_asked_there + 1 : 1;
        s->last_asked = s->snapshot_frames;
        if (s->n_asked_there == 1)
            snprintf(prefix, sizeof prefix, "ask%03lld.", (long long)s->snapshot_frames);
        else
            snprintf(prefix, sizeof prefix, "ask%03lld-%d.", (long long)s->snapshot_frames, s->n_asked_there);
        vr_dump_prefix(s->dump, prefix);
    }
    const int rc = answer(s, question, false, options, out, e);
    vr_dump_prefix(s->dump, "");
    return rc;
}

/* The stages of a caption: one row in those of all captions, and the prompt, which is the same for all. */
static void caption_dump(vr_session *a, const int32_t *rows, int n)
{
    const vr_stream *s = a->cookie;
    const int64_t V = vr_llama_config_get(a->model->llama)->vocab;
    if (s->n_captions == 0) vr_session_ids_dump(a, s->dump, rows, n);
    vr_run run = a->run;
    run.dump = s->dump;
    vr_run_dump(&run, a->logits, 2, (const int64_t[2]){ 1, V }, "stream.logits");
}

int vr_stream_caption(vr_stream *s, const vr_ask_options *options, vr_answer *out, vr_err *e)
{
    *out = (vr_answer){ 0 };
    if (!s->query) return vr_fail(e, VR_ERR_USAGE, "%s: no captions here", s->model->system->name);
    s->asker->on_prompt = s->dump ? caption_dump : NULL;
    int rc = answer(s, s->query, true, options, out, e);
    s->asker->on_prompt = NULL;
    if (rc == VR_OK && s->dump) rc = vr_ragged_push(&s->caption_ids, out->ids, out->n_ids, e);
    if (rc == VR_OK) s->n_captions++;
    return rc;
}

void vr_stream_facts(const vr_stream *s, vr_facts *out)
{
    vr_session_facts(s->asker, out);
}

int vr_stream_close(vr_stream *s, vr_err *e)
{
    if (!s) return VR_OK;
    if (s->dump) vr_ragged_dump(&s->caption_ids, s->dump, "stream.answer_ids");
    if (s->asker) s->asker->dump = s->dump;
    s->system->snapshot_free(s->snapshot);
    s->system->free(s->memory); /* may write what was kept for a stage of the whole stream */
    const int rc = vr_session_close(s->asker, e);
    vr_arena_close(&s->scratch);
    vr_arena_close(&s->host);
    vr_backend_free(s->backend);
    vr_ragged_free(&s->caption_ids);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->query);
    free(s);
    return rc;
}
