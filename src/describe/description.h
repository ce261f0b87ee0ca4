/*
 * description.h - a clip as text: what describers have found, each about a stretch of time.
 *
 *   describers (captions of pieces: tell.c; speech: Whisper) -> vr_description -> told.c, chat_text.c -> what a language model reads
 *
 * A further describer (tags, dense captions, action labels) fills the list that bears its name; those that nobody fills stay empty
 * and are not told.
 */
#ifndef VR_DESCRIPTION_H
#define VR_DESCRIPTION_H

#include "base/text.h"

typedef struct vr_note {
    double start, end; /* seconds */
    char *text;        /* owned */
} vr_note;

typedef struct vr_notes {
    vr_note *items;
    int count, capacity;
} vr_notes;

typedef struct vr_description {
    vr_notes tags;     /* "dog | street" of a frame each */
    vr_notes captions; /* a sentence each */
    vr_notes dense;    /* "a dog,a gray road" of a frame each */
    vr_notes speech;   /* what is said; texts begin with the blank that Whisper writes */
    vr_text summary;   /* of everything */
} vr_description;

/* Who fills lists of a description. */
typedef struct vr_describer {
    const char *name; /* for progress and messages */
    int (*describe)(void *state, vr_description *out, vr_err *e);
    void *state;
} vr_describer;

/* text is copied; n_bytes of it. */
int vr_notes_add(vr_notes *notes, double start, double end, const char *text, size_t n_bytes, vr_err *e);
void vr_notes_free(vr_notes *notes);
/* A note that says the same as the one before it, blanks aside, is merged into that one, whose time then reaches to its end. */
void vr_notes_merge(vr_notes *notes);
void vr_description_free(vr_description *description);

#endif
