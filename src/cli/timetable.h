/*
 * timetable.h - questions of a stream that have their place: a time or a number of frames.
 *
 *   --ask FILE          lines "TIME<TAB>question"; TIME is seconds, MM:SS or HH:MM:SS, all with a fraction if wanted
 *   --ask-after N,M     numbers, with a question each from a stream of lines
 *                       -> sorted by place; those of one place stay in their order
 *
 * Blank lines are passed over. Everything that can be wrong is VR_ERR_USAGE and names the line; owned by the struct.
 */
#ifndef VR_TIMETABLE_H
#define VR_TIMETABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

typedef struct vr_timed_question {
    double seconds; /* asked before the first frame that is later; with frames < 0 */
    int64_t frames; /* asked after so many frames; -1: by time */
    char *text;
} vr_timed_question;

typedef struct vr_timetable {
    vr_timed_question *items;
    int count, capacity;
    int next; /* of the reader */
} vr_timetable;

/* Zero-initialise. An empty file or list is refused. */
int vr_timetable_read_file(vr_timetable *table, const char *path, vr_err *e);
int vr_timetable_read_lines(vr_timetable *table, const char *places, FILE *lines, vr_err *e);
void vr_timetable_free(vr_timetable *table);

/* The question whose place is reached after n_frames frames, the next of which comes at next_seconds (infinity: none comes);
 * NULL: not yet. */
vr_timed_question *vr_timetable_due(const vr_timetable *table, int64_t n_frames, double next_seconds);

/* "1:02:03.5" -> 3723.5; false: no such thing. */
bool vr_time_parse(const char *text, double *seconds);
/* HH:MM:SS, with milliseconds behind the mark (0: none; ' ': only where there are some, behind a point). Returns text. */
const char *vr_time_format(double seconds, char mark, char *text, size_t n_bytes);

#endif
