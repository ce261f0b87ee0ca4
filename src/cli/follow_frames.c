/*
 * follow_frames.c - see follow.h: the reader and the frame handler.
 *
 *   reader:  vr_feed_next -> wait until due (--realtime) | until the slot is free -> slot; a frame still in it is dropped
 *   handler: slot -> questions whose place comes before this frame -> push -> its caption, questions after so many frames
 *
 * Trap: the clock of the stream is tied to the wall when the first frame comes. After a pause of the sender it is late for
 *       ever, which is right: such a frame is not held back, and only one that nobody fetched in time is dropped.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/follow_inside.h"

#define GRACE 0.05 /* seconds: a frame of the same time comes first */

static void wait_until(vr_follow *f, double time)
{
    const struct timespec deadline = { .tv_sec = (time_t)time, .tv_nsec = (long)((time - floor(time)) * 1e9) };
    pthread_cond_timedwait(&f->changed, &f->lock, &deadline);
}

/* Whether the frame in the slot may still be waited for. */
static bool holds_back(const vr_follow *f, double due)
{
    if (f->stop || f->ending) return false;
    if (f->paced) return vr_clock() < due;
    return f->slot_full && (f->exact || vr_clock() < due);
}

static int slot_fill(vr_follow *f, const vr_stream_frame *frame, vr_err *e)
{
    const size_t n_bytes = (size_t)frame->width * (size_t)frame->height * 3;
    if (n_bytes > f->slot_bytes) {
        uint8_t *grown = realloc(f->slot_rgb, n_bytes);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "no memory for a frame of %d x %d", frame->width, frame->height);
        f->slot_rgb = grown;
        f->slot_bytes = n_bytes;
    }
    memcpy(f->slot_rgb, frame->rgb, n_bytes);
    f->slot = *frame;
    f->slot_full = true;
    pthread_cond_broadcast(&f->changed);
    return VR_OK;
}

/* *first: the first frame was dropped just now. False: it is over. */
static bool slot_put(vr_follow *f, const vr_stream_frame *frame, bool *first)
{
    vr_err e = { 0 };
    int rc = VR_OK;
    pthread_mutex_lock(&f->lock);
    if (!f->anchored) f->anchor = vr_clock() - frame->seconds;
    f->anchored = true;
    const double due = f->anchor + frame->seconds;
    while (holds_back(f, due)) {
        if (f->exact)
            pthread_cond_wait(&f->changed, &f->lock);
        else
            wait_until(f, due);
    }
    const bool go_on = !f->stop && !f->ending;
    if (go_on && f->slot_full) *first = f->n_dropped++ == 0;
    if (go_on) rc = slot_fill(f, frame, &e);
    pthread_mutex_unlock(&f->lock);
    if (rc != VR_OK) vr_follow_fail(f, rc, &e);
    return go_on && rc == VR_OK;
}

void *vr_follow_reader(void *cookie)
{
    vr_follow *const f = cookie;
    for (;;) {
        vr_stream_frame frame;
        vr_feed_info info;
        vr_err e = { 0 };
        bool first_dropped = false;
        const int rc = vr_feed_next(f->feed, &frame, &e);
        if (rc != VR_OK) vr_follow_fail(f, rc, &e);
        vr_feed_info_get(f->feed, &info);
        pthread_mutex_lock(&f->lock);
        f->n_bad = info.n_bad;
        f->n_jumps = info.n_jumps;
        pthread_mutex_unlock(&f->lock);
        if (rc != VR_OK || !frame.rgb || !slot_put(f, &frame, &first_dropped)) break;
        if (first_dropped) {
            pthread_mutex_lock(&f->screen);
            vr_report_line(f->report,
                           "frames are dropped from %.1f seconds on: looking at one takes longer than the next needs "
                           "to come",
                           frame.seconds);
            pthread_mutex_unlock(&f->screen);
        }
    }
    pthread_mutex_lock(&f->lock);
    f->source_ended = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* Wall clock at which the next question by time is asked even if no frame comes; infinity: none is. */
static double question_due(const vr_follow *f)
{
    const vr_timetable *const t = &f->table;
    if (f->exact || f->n_frames == 0 || f->n_jobs >= VR_FOLLOW_JOBS || t->next == t->count) return (double)INFINITY;
    if (t->items[t->next].frames >= 0) return (double)INFINITY;
    return f->anchor + t->items[t->next].seconds + GRACE;
}

/* The next frame; its pixels are in *rgb, which changes places with the slot's. *due: no frame, but a question is to be asked.
 * False: no frame will come. */
static bool slot_take(vr_follow *f, vr_stream_frame *frame, uint8_t **rgb, size_t *n_bytes, bool *due)
{
    pthread_mutex_lock(&f->lock);
    *due = false;
    while (!f->stop && !f->ending && !f->slot_full && !f->source_ended) {
        const double question = question_due(f);
        if ((*due = vr_clock() >= question)) break;
        if (isfinite(question))
            wait_until(f, question);
        else
            pthread_cond_wait(&f->changed, &f->lock);
    }
    const bool there = !f->stop && !f->ending && f->slot_full;
    if (there) {
        uint8_t *const pixels = f->slot_rgb;
        const size_t room = f->slot_bytes;
        f->slot_rgb = *rgb, f->slot_bytes = *n_bytes;
        *rgb = pixels, *n_bytes = room;
        *frame = f->slot;
        frame->rgb = pixels;
        f->slot_full = false;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return there || *due;
}

static bool stopped(vr_follow *f)
{
    pthread_mutex_lock(&f->lock);
    const bool stop = f->stop || f->ending;
    pthread_mutex_unlock(&f->lock);
    return stop;
}

/* Questions whose place is reached; at the end of the stream all that are left. */
static void questions_post(vr_follow *f, double next_seconds)
{
    vr_timed_question *q;
    while (!stopped(f) && (q = vr_timetable_due(&f->table, f->n_frames, next_seconds)) != NULL) {
        vr_follow_job job = { .text = q->text, .asked = vr_clock() };
        if (!vr_follow_post(f, &job, next_seconds == (double)INFINITY)) return;
        q->text = NULL;
        f->table.next++;
    }
}

/* Nothing may be asked while a frame is looked at, as both write stages. */
static void turn_take(vr_follow *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->answering || f->n_jobs > 0) {
        if (f->stop && !f->answering) break;
        pthread_cond_wait(&f->changed, &f->lock);
    }
    f->pushing = true;
    pthread_mutex_unlock(&f->lock);
}

static bool look(vr_follow *f, const vr_stream_frame *frame)
{
    vr_stream_event event;
    vr_err e = { 0 };
    if (f->dumping) turn_take(f);
    const int rc = vr_stream_push(f->stream, frame, &event, &e);
    pthread_mutex_lock(&f->lock);
    f->pushing = false;
    if (rc == VR_OK) {
        f->n_frames++;
        f->seconds = frame->seconds;
    }
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (rc != VR_OK) {
        vr_follow_fail(f, rc, &e);
        return false;
    }
    vr_follow_job caption = { .caption = true, .event = event, .asked = vr_clock() };
    if (event.caption) vr_follow_post(f, &caption, false);
    questions_post(f, -(double)INFINITY);
    return true;
}

/* What is left to be asked when no more frames come. */
static void finish(vr_follow *f)
{
    int late = 0;
    for (int i = f->table.next; i < f->table.count; i++)
        late +=
            f->table.items[i].frames > f->n_frames || (f->table.items[i].frames < 0 && f->table.items[i].seconds > f->seconds);
    if (late > 0 && !stopped(f)) {
        pthread_mutex_lock(&f->screen);
        vr_report_line(f->report, "the video ended before the place of %d question%s", late, late == 1 ? "" : "s");
        pthread_mutex_unlock(&f->screen);
    }
    questions_post(f, (double)INFINITY);
    if (!f->prompt) return;
    vr_follow_job job = { .text = strdup(f->prompt), .asked = vr_clock() };
    vr_err e = { 0 };
    if (job.text && vr_follow_post(f, &job, true)) return;
    if (job.text)
        free(job.text);
    else
        vr_follow_fail(f, vr_fail(&e, VR_ERR_LIMIT, "not enough memory for the question"), &e);
}

void *vr_follow_frames(void *cookie)
{
    vr_follow *const f = cookie;
    vr_stream_frame frame;
    uint8_t *rgb = NULL;
    size_t n_bytes = 0;
    bool due;
    while (slot_take(f, &frame, &rgb, &n_bytes, &due)) {
        questions_post(f, due ? vr_clock() - f->anchor : frame.seconds);
        if (!due && !look(f, &frame)) break;
    }
    free(rgb);
    if (f->n_frames > 0) finish(f);
    pthread_mutex_lock(&f->lock);
    f->frames_done = true;
    f->n_unanswered += f->table.count - f->table.next;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    vr_follow_wake(f);
    return NULL;
}
