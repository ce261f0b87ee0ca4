/*
 * follow_inside.h - the state that the threads of follow*.c share.
 *
 *   lock: all below it; changed: anything of it has.   screen: report and output.   Never take lock while holding screen.
 */
#ifndef VR_FOLLOW_INSIDE_H
#define VR_FOLLOW_INSIDE_H

#include <pthread.h>

#include "cli/events.h"
#include "cli/follow.h"
#include "cli/subtitles.h"
#include "cli/timetable.h"

enum { VR_FOLLOW_JOBS = 16 }; /* questions that wait; more stay where they come from */

/* A question or caption that waits for the question handler. */
typedef struct vr_follow_job {
    bool caption, typed;
    bool taken;   /* the snapshot is its own already, of the frames and seconds below */
    char *text;   /* owned; NULL: a caption */
    double asked; /* wall clock */
    vr_stream_event event;
    int64_t frames;
    double seconds;
} vr_follow_job;

struct vr_follow {
    const vr_options *options;
    vr_report *report;
    vr_output *output;
    vr_hooks shown; /* the report's */
    const vr_recipe *recipe;
    const char *question; /* PROMPT; NULL: not given */
    const char *query;    /* of the captions; NULL: there are none */
    const char *prompt;   /* asked when the stream has ended; NULL: none, or it is the query */
    vr_sampling sampling;
    int n_predict;
    double fps;
    bool exact, paced, dumping;
    vr_model *model;
    vr_feed *feed;
    vr_stream *stream;
    vr_timetable table; /* of the frame handler */
    vr_subtitles srt, vtt;
    double start; /* wall clock */
    int wake[2];  /* pipe: a byte for the main thread */
    pthread_mutex_t screen;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* by the monotonic clock */
    /* slot: reader -> frame handler */
    bool slot_full, source_ended;
    vr_stream_frame slot;
    uint8_t *slot_rgb; /* owned */
    size_t slot_bytes;
    bool anchored;
    double anchor; /* wall clock of second 0 of the stream */
    /* frame handler */
    bool frames_done, pushing;
    int64_t n_frames, n_dropped, n_bad, n_jumps;
    double seconds; /* of the last frame */
    /* question handler */
    vr_follow_job jobs[VR_FOLLOW_JOBS + 1];
    int n_jobs;
    bool lines_done, answering, asker_done;
    int64_t n_captions, n_skipped, n_answers, n_unanswered;
    int question_rc; /* of a question that could not be answered */
    /* all */
    bool ending;            /* no more frames and questions, but PROMPT is still answered */
    bool stop, interrupted; /* stop: nothing more */
    int rc;                 /* first failure */
    vr_err error;
};

/* follow.c */
void vr_follow_fail(vr_follow *f, int rc, const vr_err *e); /* the first one ends everything */
void vr_follow_wake(vr_follow *f);

/* follow_frames.c: threads */
void *vr_follow_reader(void *follow);
void *vr_follow_frames(void *follow);

/* follow_answers.c */
/* Queue a job; its text is taken over. In an exact run, or with wait, it is handed over with its snapshot as soon as the
 * question handler is free; else false where there is no room. */
bool vr_follow_post(vr_follow *f, vr_follow_job *job, bool wait);
void vr_follow_drop(vr_follow *f);     /* the queue; with the lock held */
void *vr_follow_answers(void *follow); /* thread */

#endif
