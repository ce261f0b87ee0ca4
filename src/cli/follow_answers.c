/*
 * follow_answers.c - see follow.h: the queue of questions and the question handler.
 *
 *   job -> snapshot (if it has none of its own) -> vr_stream_ask | vr_stream_caption -> standard output, subtitles
 *
 * Trap: a question is counted as unanswered when the stream is stopped before its turn; the one that is being answered ends.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/follow_inside.h"
#include "cli/interrupt.h"

/* The job with the memory of this very moment, when the question handler is free. */
static bool hand_over(vr_follow *f, vr_follow_job *job, bool last, vr_err *e, int *rc)
{
    while (!f->stop && (last || !f->ending) && (f->answering || f->n_jobs > 0)) pthread_cond_wait(&f->changed, &f->lock);
    if (f->stop || (f->ending && !last)) return false;
    *rc = vr_stream_snapshot(f->stream, &job->frames, &job->seconds, e);
    job->taken = *rc == VR_OK;
    return job->taken;
}

/* A caption that nobody has told yet gives way to the next one. */
static bool caption_replace(vr_follow *f, const vr_follow_job *job)
{
    for (int i = 0; i < f->n_jobs; i++) {
        if (!f->jobs[i].caption) continue;
        f->jobs[i] = *job;
        f->n_skipped++;
        return true;
    }
    return false;
}

bool vr_follow_post(vr_follow *f, vr_follow_job *job, bool wait)
{
    vr_err e = { 0 };
    int rc = VR_OK;
    bool posted = true;
    pthread_mutex_lock(&f->lock);
    if (f->exact || wait)
        posted = hand_over(f, job, wait, &e, &rc);
    else if (!f->answering && f->n_jobs == 0 && f->n_frames > 0)
        rc = vr_stream_snapshot(f->stream, &job->frames, &job->seconds, &e), posted = job->taken = rc == VR_OK;
    else if (job->caption && caption_replace(f, job))
        posted = false;
    else if (f->n_jobs >= VR_FOLLOW_JOBS)
        posted = false, f->n_skipped += job->caption;
    if (posted) f->jobs[f->n_jobs++] = *job;
    pthread_cond_broadcast(&f->changed);
    while (posted && f->dumping && !f->stop && (f->answering || f->n_jobs > 0)) pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    if (rc != VR_OK) vr_follow_fail(f, rc, &e);
    return posted;
}

static bool on_text(void *cookie, const char *text, size_t n_bytes)
{
    vr_follow *const f = cookie;
    pthread_mutex_lock(&f->screen);
    const bool good = vr_output_write(f->output, text, n_bytes);
    pthread_mutex_unlock(&f->screen);
    return good;
}

static void tell_answer(vr_follow *f, const vr_follow_job *job, const vr_event *event)
{
    if (job->caption || f->options->json)
        vr_events_write(f->output, f->options->json, event);
    else
        vr_output_end_line(f->output, true);
    if (job->caption && event->caption->scene_end > event->caption->scene_start) {
        vr_subtitles_scene(&f->srt, event->caption->scene_start, event->caption->scene_end, event->answer->text);
        vr_subtitles_scene(&f->vtt, event->caption->scene_start, event->caption->scene_end, event->answer->text);
    } else if (job->caption) {
        vr_subtitles_caption(&f->srt, event->time, event->answer->text);
        vr_subtitles_caption(&f->vtt, event->time, event->answer->text);
    }
    if (!job->caption && event->answer->stop == VR_STOP_LENGTH)
        vr_report_line(f->report, "the answer was cut after %d tokens (--predict)", f->n_predict);
}

/* A question that cannot be answered (too long) is told; everything else ends the stream. */
static int tell_failure(vr_follow *f, const vr_event *event, int rc, const vr_err *e)
{
    if (!f->options->json) vr_output_end_line(f->output, false);
    if (rc != VR_ERR_LIMIT) return rc;
    if (f->options->json) vr_events_error(f->output, event, e);
    vr_report_error(f->report, e);
    return VR_OK;
}

static int answer(vr_follow *f, vr_follow_job *job, vr_answer *out, vr_err *e)
{
    const bool in_pieces = !job->caption && !f->options->json;
    const vr_ask_options options = {
        .sampling = f->sampling, .n_predict = f->n_predict, .text = in_pieces ? on_text : NULL, .cookie = f
    };
    if (!job->taken) VR_TRY(vr_stream_snapshot(f->stream, &job->frames, &job->seconds, e));
    if (in_pieces) {
        pthread_mutex_lock(&f->screen);
        vr_events_question(f->output, job->text, job->seconds, job->typed && f->output->terminal);
        pthread_mutex_unlock(&f->screen);
    }
    return job->caption ? vr_stream_caption(f->stream, &options, out, e)
                        : vr_stream_ask(f->stream, job->text, &options, out, e);
}

static void do_job(vr_follow *f, vr_follow_job *job)
{
    vr_answer out = { 0 };
    vr_err e = { 0 };
    int rc = answer(f, job, &out, &e);
    const bool answered = rc == VR_OK, refused = rc == VR_ERR_LIMIT;
    pthread_mutex_lock(&f->lock);
    f->n_captions += answered && job->caption;
    f->n_answers += answered && !job->caption;
    f->n_unanswered += !answered && !job->caption;
    if (refused) f->question_rc = rc;
    const int64_t dropped = f->n_dropped;
    pthread_mutex_unlock(&f->lock);
    const double now = vr_clock();
    const vr_event event = { .time = job->caption ? job->event.seconds : job->seconds,
                             .wall = now - f->start,
                             .latency = now - job->asked,
                             .frames = job->frames,
                             .dropped = dropped,
                             .question = job->caption ? f->query : job->text,
                             .answer = &out,
                             .sampling = &f->sampling,
                             .caption = job->caption ? &job->event : NULL };
    pthread_mutex_lock(&f->screen);
    if (answered)
        tell_answer(f, job, &event);
    else
        rc = tell_failure(f, &event, rc, &e);
    if (rc == VR_OK) rc = vr_output_result(f->output, "the answer", &e);
    if (rc == VR_OK && job->typed) vr_report_prompt(f->report);
    pthread_mutex_unlock(&f->screen);
    if (rc != VR_OK) vr_follow_fail(f, rc, &e);
    free(job->text);
}

void vr_follow_drop(vr_follow *f)
{
    for (int i = 0; i < f->n_jobs; i++) {
        f->n_unanswered += !f->jobs[i].caption;
        free(f->jobs[i].text);
    }
    f->n_jobs = 0;
}

/* Whether the first job can be done now. */
static bool ready(const vr_follow *f)
{
    return f->n_jobs > 0 && !(f->dumping && f->pushing) && (f->jobs[0].taken || f->n_frames > 0 || f->frames_done);
}

void *vr_follow_answers(void *cookie)
{
    vr_follow *const f = cookie;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->stop && !ready(f) && !(f->frames_done && f->lines_done && f->n_jobs == 0))
            pthread_cond_wait(&f->changed, &f->lock);
        if (f->stop || f->n_jobs == 0) break;
        vr_follow_job job = f->jobs[0];
        f->n_jobs--;
        memmove(f->jobs, f->jobs + 1, (size_t)f->n_jobs * sizeof *f->jobs);
        f->answering = true;
        pthread_mutex_unlock(&f->lock);
        do_job(f, &job);
        pthread_mutex_lock(&f->lock);
        f->answering = false;
        pthread_cond_broadcast(&f->changed);
        vr_follow_wake(f);
    }
    vr_follow_drop(f);
    f->asker_done = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    vr_follow_wake(f);
    return NULL;
}
