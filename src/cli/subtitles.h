/*
 * subtitles.h - captions as a subtitle file, SubRip or WebVTT, that can be played while it grows.
 *
 *   caption at t ... caption at u  ->  cue t --> u      a caption of a scene  ->  cue of the scene
 *
 * A cue lasts until the next one begins, or the stream ends: it is written then. The first error is kept and told by close.
 */
#ifndef VR_SUBTITLES_H
#define VR_SUBTITLES_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

typedef struct vr_subtitles {
    FILE *file;       /* NULL: none are written */
    const char *path; /* borrowed */
    bool vtt;
    char *text; /* of the cue that is still shown; owned; NULL: none is */
    double start;
    int n_cues;
    int error; /* errno of the first failure */
} vr_subtitles;

/* path NULL: nothing will be written. */
int vr_subtitles_open(vr_subtitles *s, const char *path, bool vtt, vr_err *e);
void vr_subtitles_caption(vr_subtitles *s, double seconds, const char *text);
void vr_subtitles_scene(vr_subtitles *s, double start, double end, const char *text);
int vr_subtitles_close(vr_subtitles *s, double end, vr_err *e);

#endif
