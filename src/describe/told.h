/*
 * told.h - a clip as text for the language model of a weight file: lines in time order, few enough for its context.
 *
 *   description -> lines "3-9second: ..." -> do they fit? -> text
 *                      ^                         | no: groups of lines -> a summary each (the caller's model) -> fewer lines
 *                      +-------------------------+
 *
 * The rule, where there is too much: lines are taken in order of their beginning, captions before speech, into groups as large as
 * the room; a group becomes one line with the time from its first to its last. That is repeated until everything fits. A line of
 * more than a quarter of the room is cut to that first.
 * Ref:   spec VideoChat 11.9 (form of the lines), 13 (map and reduce).
 */
#ifndef VR_TOLD_H
#define VR_TOLD_H

#include "describe/description.h"

typedef struct vr_told_room {
    int n_tokens; /* that the text may have */
    int (*count)(void *cookie, const char *text, size_t n_bytes, int *n_tokens, vr_err *e);
    /* What a text of lines says, in a sentence or two of at most n_tokens. */
    int (*summarise)(void *cookie, const char *text, double start, double end, int n_tokens, vr_text *out, vr_err *e);
    void *cookie;
} vr_told_room;

/* description is used up: its lists are merged and shortened. *n_rounds: how often lines were summarised. VR_ERR_LIMIT where the
 * room is too small for any line. */
int vr_told_make(vr_description *description, const vr_told_room *room, vr_text *out, int *n_rounds, vr_err *e);

#endif
