/*
 * events.h - what a stream led to, on standard output: lines of text, or one JSON object a line (--json).
 *
 *   [00:00:06] a man runs                 caption         {"event":"caption","time":6,..,"text":"a man runs"}
 *   > What is he holding?                 question        {"event":"answer","time":19,..,"question":..,"answer":..}
 *   [00:00:19] a ball                     answer          {"event":"start"|"error"|"end",..}
 *
 * time: seconds of the stream; wall: seconds since it was opened; latency: from the question to the whole answer.
 * One thread at a time writes (follow.c).
 */
#ifndef VR_EVENTS_H
#define VR_EVENTS_H

#include "cli/output.h"
#include "vidrun.h"

typedef struct vr_event {
    double time, wall, latency;
    int64_t frames, dropped;
    const char *question; /* or query */
    const vr_answer *answer;
    const vr_sampling *sampling;
    const vr_stream_event *caption; /* NULL: a question */
} vr_event;

typedef struct vr_event_totals {
    double time, wall;
    int64_t frames, dropped, captions, captions_skipped, answers, unanswered, bad, jumps;
    bool interrupted;
} vr_event_totals;

void vr_events_start(vr_output *out, const vr_recipe *recipe, const char *video, double fps, const vr_feed_info *feed);
/* The line of a caption, or the JSON of a caption or answer. */
void vr_events_write(vr_output *out, bool json, const vr_event *event);
/* "> question" where it is not on the terminal already, and the time in front of the answer; its text follows in pieces. */
void vr_events_question(vr_output *out, const char *question, double time, bool typed);
void vr_events_error(vr_output *out, const vr_event *event, const vr_err *e);
void vr_events_end(vr_output *out, const vr_event_totals *totals);

#endif
