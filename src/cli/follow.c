/*
 * follow.c - see follow.h: what is set up and told, and the main thread, which waits for Ctrl-C and for typed questions.
 *
 *   lines are read:   from a terminal: while frames come, and afterwards if nothing else was asked
 *                     from a redirected standard input: while frames come, or, in an exact run, when all have come
 *                     VIDEO is standard input: from the terminal of the process, where it has one
 *
 * Trap: poll knows nothing of what a FILE has read ahead: standard input is made unbuffered.
 * Trap: reading the terminal from a background job would stop the whole process.
 */
#include "cli/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/follow_inside.h"
#include "cli/interrupt.h"
#include "cli/questions.h"

/* Where typed questions come from. */
typedef struct typist {
    FILE *file; /* NULL: nowhere */
    bool owned, terminal;
    bool afterwards; /* lines are read when the frames are done */
    bool stays;      /* the conversation goes on when the frames are done */
    vr_question line;
} typist;

void vr_follow_wake(vr_follow *f)
{
    const ssize_t n = write(f->wake[1], "", 1);
    (void)n; /* full: it wakes all the same */
}

void vr_follow_fail(vr_follow *f, int rc, const vr_err *e)
{
    pthread_mutex_lock(&f->lock);
    if (f->rc == VR_OK) {
        f->rc = rc;
        f->error = *e;
    }
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (f->feed) vr_feed_stop(f->feed);
    vr_follow_wake(f);
}

int vr_follow_open(vr_follow **out, const vr_options *options, vr_report *report, vr_output *output, vr_err *e)
{
    vr_follow *const f = *out = calloc(1, sizeof *f);
    pthread_condattr_t monotonic;
    if (!f) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stream");
    f->options = options, f->report = report, f->output = output;
    f->wake[0] = f->wake[1] = -1;
    pthread_mutex_init(&f->screen, NULL);
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    vr_report_hooks(report, &f->shown);
    if (pipe(f->wake) != 0) return vr_fail(e, VR_ERR_OTHER, "no pipe can be made: %s", strerror(errno));
    for (int i = 0; i < 2; i++) fcntl(f->wake[i], F_SETFL, O_NONBLOCK);
    if (options->ask_file) VR_TRY(vr_timetable_read_file(&f->table, options->ask_file, e));
    if (options->ask_after) VR_TRY(vr_timetable_read_lines(&f->table, options->ask_after, stdin, e));
    return VR_OK;
}

static void on_log(void *cookie, vr_log_level level, const char *text)
{
    vr_follow *const f = cookie;
    pthread_mutex_lock(&f->screen);
    f->shown.log.write(f->shown.log.cookie, level, text);
    pthread_mutex_unlock(&f->screen);
}

static bool on_cancelled(void *cookie)
{
    (void)cookie;
    return vr_interrupt_count() > 1;
}

void vr_follow_hooks(vr_follow *f, vr_hooks *hooks)
{
    *hooks = (vr_hooks){ .log = { on_log, f }, .cancelled = on_cancelled, .cookie = f };
}

static int captions_check(const vr_follow *f, vr_err *e)
{
    const vr_options *const o = f->options;
    if (f->recipe->query || (o->captions == VR_CAPTIONS_ORIGINAL && !o->srt && !o->vtt)) return VR_OK;
    return vr_fail(e, VR_ERR_USAGE, "option --%s: %s says nothing unasked",
                   o->srt   ? "srt"
                   : o->vtt ? "vtt"
                            : "captions",
                   f->recipe->system);
}

static void tell_plan(vr_follow *f, const vr_feed_info *info)
{
    const char *const video = strcmp(f->options->video, "-") == 0 ? "standard input" : f->options->video;
    char what[128], seed[48] = "";
    if (info->live)
        snprintf(what, sizeof what, "%.60s, %g frame%s a second", video, f->fps, f->fps == 1 ? "" : "s");
    else
        snprintf(what, sizeof what, "%d of %lld frames", info->n_frames, (long long)info->n_frames_total);
    if (f->sampling.temperature > 0) snprintf(seed, sizeof seed, ", seed %llu", (unsigned long long)f->sampling.seed);
    vr_report_line(f->report, "following %s%s%s", what, f->paced ? " at the pace of the video" : "", seed);
}

static int open_stream(vr_follow *f, const char *question, vr_err *e)
{
    const vr_options *const o = f->options;
    vr_feed_info info;
    const bool speaks = f->recipe->query && o->captions != VR_CAPTIONS_OFF;
    f->query = !speaks ? NULL : question ? question : f->recipe->query;
    f->prompt = speaks ? NULL : question;
    f->dumping = o->dump_dir && !o->estimate;
    f->fps = vr_options_given(o, VR_OPTION_FPS) ? (double)o->fps : f->recipe->fps;
    vr_stream_options options = { .fps = f->fps,
                                  .seed = o->seed,
                                  .memory = (vr_memory_rule)o->memory,
                                  .captions = (vr_captions)o->captions,
                                  .query = f->query,
                                  .system_text = o->system_text,
                                  .template_name = o->template_name,
                                  .dump_dir = f->dumping ? o->dump_dir : NULL };
    if (!f->recipe->query) options.captions = VR_CAPTIONS_OFF;
    vr_follow_hooks(f, &options.ask_hooks);
    VR_TRY(captions_check(f, e));
    if (!o->estimate) VR_TRY(vr_feed_open(&f->feed, f->model, o->video, f->fps, e));
    VR_TRY(vr_stream_open(&f->stream, f->model, &options, e));
    if (o->estimate) return VR_OK;
    vr_feed_info_get(f->feed, &info);
    f->paced = o->realtime;
    f->exact = !o->realtime && !info.live;
    VR_TRY(vr_subtitles_open(&f->srt, o->srt, false, e));
    VR_TRY(vr_subtitles_open(&f->vtt, o->vtt, true, e));
    tell_plan(f, &info);
    if (o->json) vr_events_start(f->output, f->recipe, o->video, f->fps, &info);
    return vr_output_result(f->output, "the events", e);
}

static void typist_open(vr_follow *f, typist *t, const char *question)
{
    const vr_options *const o = f->options;
    const bool asked = question || o->ask_file;
    if (o->ask_after) return; /* its lines are read already */
    if (strcmp(o->video, "-") == 0) {
        const int file = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
        if (file >= 0 && tcgetpgrp(file) == getpgrp()) t->file = fdopen(file, "r");
        if (file >= 0 && !t->file) close(file);
        t->owned = t->terminal = t->file != NULL;
    } else if (isatty(STDIN_FILENO) || !asked) {
        t->terminal = isatty(STDIN_FILENO);
        t->file = stdin;
    }
    if (!t->file) return;
    setvbuf(t->file, NULL, _IONBF, 0);
    t->afterwards = !t->terminal && f->exact;
    t->stays = !t->terminal || !asked;
    if (!t->terminal) return;
    vr_report_line(f->report, "ask at any time; /help lists commands");
    vr_report_prompt(f->report);
}

static void typist_close(vr_follow *f, typist *t)
{
    if (t->file && t->owned) fclose(t->file);
    t->file = NULL;
    vr_question_free(&t->line);
    pthread_mutex_lock(&f->lock);
    f->lines_done = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* The end that the user wants: of the frames and of the questions that wait; the second time, of everything. */
static void stop(vr_follow *f, bool interrupted)
{
    pthread_mutex_lock(&f->lock);
    f->stop |= f->ending;
    f->ending = true;
    f->interrupted |= interrupted;
    vr_follow_drop(f);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    vr_feed_stop(f->feed);
}

static void on_screen(vr_follow *f, const char *text, const vr_err *e)
{
    pthread_mutex_lock(&f->screen);
    if (e) vr_report_error(f->report, e);
    if (text) vr_report_line(f->report, "%s", text);
    vr_report_prompt(f->report);
    pthread_mutex_unlock(&f->screen);
}

static void post_line(vr_follow *f, const typist *t)
{
    vr_follow_job job = { .typed = t->terminal, .text = strdup(t->line.text), .asked = vr_clock() };
    vr_err e = { 0 };
    if (!job.text) {
        vr_follow_fail(f, vr_fail(&e, VR_ERR_LIMIT, "not enough memory for the question"), &e);
        return;
    }
    pthread_mutex_lock(&f->lock);
    if (f->asker_done)
        free(job.text), f->n_unanswered++;
    else
        f->jobs[f->n_jobs++] = job; /* there is room: read_line was called */
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* A line is there, or its end. */
static void read_line(vr_follow *f, typist *t)
{
    vr_err e = { 0 };
    const int rc = vr_question_read_line(&t->line, t->file, &e);
    if (rc == VR_ERR_CANCEL) return; /* a signal */
    if (rc == VR_ERR_USAGE || rc == VR_ERR_LIMIT) {
        vr_question_skip_line(t->file);
        if (t->terminal)
            on_screen(f, NULL, &e);
        else
            vr_follow_fail(f, rc, &e);
    } else if (rc != VR_OK) {
        vr_follow_fail(f, rc, &e);
    } else if (t->line.end) {
        typist_close(f, t);
    } else if (vr_question_blank(&t->line)) {
        if (t->terminal) on_screen(f, NULL, NULL);
    } else if (t->terminal && t->line.text[0] == '/') {
        if (strcmp(t->line.text, "/quit") == 0)
            stop(f, false);
        else
            on_screen(f, "/quit ends the stream, Ctrl-D only the questions; Ctrl-C ends it too", NULL);
    } else {
        post_line(f, t);
    }
}

/* The main thread until the question handler has ended. */
static void converse(vr_follow *f, typist *t)
{
    if (!t->file) typist_close(f, t);
    for (;;) {
        char bytes[64];
        pthread_mutex_lock(&f->lock);
        const bool done = f->asker_done, frames_done = f->frames_done, room = f->n_jobs < VR_FOLLOW_JOBS, ending = f->ending;
        pthread_mutex_unlock(&f->lock);
        if (done) break;
        if (t->file && (ending || (frames_done && !t->stays))) typist_close(f, t);
        const bool reads = t->file && room && (frames_done || !t->afterwards);
        const int files[2] = { f->wake[0], reads ? fileno(t->file) : -1 };
        const unsigned readable = vr_interrupt_poll(files, 2);
        if (readable == 0 && vr_interrupted()) stop(f, true);
        while (readable & 1 && read(f->wake[0], bytes, sizeof bytes) > 0) {
        }
        if (readable & 2) read_line(f, t);
    }
    typist_close(f, t);
}

static int start_threads(vr_follow *f, pthread_t threads[3], int *n, vr_err *e)
{
    static void *(*const mains[3])(void *) = { vr_follow_reader, vr_follow_frames, vr_follow_answers };
    for (*n = 0; *n < 3; ++*n) {
        const int rc = pthread_create(&threads[*n], NULL, mains[*n], f);
        if (rc != 0) return vr_fail(e, VR_ERR_OTHER, "a thread cannot be started: %s", strerror(rc));
    }
    return VR_OK;
}

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

static void tell_end(vr_follow *f)
{
    const vr_event_totals totals = { .time = f->seconds,
                                     .wall = vr_clock() - f->start,
                                     .frames = f->n_frames,
                                     .dropped = f->n_dropped,
                                     .captions = f->n_captions,
                                     .captions_skipped = f->n_skipped,
                                     .answers = f->n_answers,
                                     .unanswered = f->n_unanswered,
                                     .bad = f->n_bad,
                                     .jumps = f->n_jumps,
                                     .interrupted = f->interrupted };
    char clock[32];
    if (f->options->json) vr_events_end(f->output, &totals);
    if (f->n_frames == 0) return;
    vr_report_line(f->report, "%lld frames to %s in %.1f s, %lld dropped; %lld captions, %lld answers",
                   (long long)totals.frames, vr_time_format(totals.time, ' ', clock, sizeof clock), totals.wall,
                   (long long)totals.dropped, (long long)totals.captions, (long long)totals.answers);
    if (totals.captions_skipped > 0)
        vr_report_line(f->report, "%lld caption%s skipped: the one before was still to be told",
                       (long long)totals.captions_skipped, plural(totals.captions_skipped));
    if (totals.unanswered > 0)
        vr_report_line(f->report, "%lld question%s not answered", (long long)totals.unanswered, plural(totals.unanswered));
}

int vr_follow_begin(vr_follow *f, vr_model *model, const vr_recipe *recipe, const vr_sampling *sampling, const char *question,
                    vr_err *e)
{
    f->model = model, f->recipe = recipe, f->sampling = *sampling, f->question = question;
    f->n_predict = f->options->n_predict ? f->options->n_predict : recipe->n_predict;
    return open_stream(f, question, e);
}

void vr_follow_plan(const vr_follow *f, vr_plan *out)
{
    vr_stream_plan(f->stream, out);
}

int vr_follow_run(vr_follow *f, vr_err *e)
{
    typist t = { 0 };
    pthread_t threads[3];
    int n_threads = 0;
    typist_open(f, &t, f->question);
    f->start = vr_clock();
    vr_err failed = { 0 };
    const int rc = start_threads(f, threads, &n_threads, &failed);
    if (rc != VR_OK) vr_follow_fail(f, rc, &failed);
    if (rc == VR_OK) converse(f, &t);
    typist_close(f, &t);
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    tell_end(f);
    if (f->rc == VR_OK) f->rc = vr_output_result(f->output, "the events", &f->error);
    if (f->rc != VR_OK && e) *e = f->error;
    VR_TRY(f->rc);
    if (f->interrupted) return vr_fail(e, VR_ERR_CANCEL, "interrupted");
    return f->question_rc != VR_OK && !t.terminal ? vr_fail(e, f->question_rc, "%s", "") : VR_OK;
}

int vr_follow_close(vr_follow *f, vr_err *e)
{
    if (!f) return VR_OK;
    vr_err ignored;
    int rc = vr_subtitles_close(&f->srt, f->seconds, e);
    const int vtt = vr_subtitles_close(&f->vtt, f->seconds, rc == VR_OK ? e : &ignored);
    if (rc == VR_OK) rc = vtt;
    const int dump = vr_stream_close(f->stream, rc == VR_OK ? e : &ignored);
    if (rc == VR_OK) rc = dump;
    vr_feed_free(f->feed);
    vr_timetable_free(&f->table);
    for (int i = 0; i < 2; i++)
        if (f->wake[i] >= 0) close(f->wake[i]);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    pthread_mutex_destroy(&f->screen);
    free(f->slot_rgb);
    free(f);
    return rc;
}
