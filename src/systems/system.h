/*
 * system.h - what a published system is to the pipeline: it decides what is looked at and turns it into rows of the decoder.
 *
 *   open -> plan (what will be looked at: nothing decoded) -> watch (frames and sound -> features, or rows at once)
 *        -> show (features and the question -> rows), where the rows depend on the question
 *
 * One table a system, found by the key vidrun.system. Only src/systems knows that there are several.
 */
#ifndef VR_SYSTEM_H
#define VR_SYSTEM_H

#include "decode/llama.h"
#include "media/source.h"
#include "vidrun.h"

/* The text around the clip's rows: what a system needs to know of a question before it makes the rows. */
typedef struct vr_question {
    int n_text;           /* tokens of text in the whole prompt, BOS included */
    const int32_t *after; /* [n_after] tokens after the last rows of the clip; borrowed */
    int n_after;
} vr_question;

/* What of a clip is looked at, and what became of it. Arrays are owned (vr_view_free); rows belong to the session. The facts
 * are told for the last question: watch or show fills them, but not while planning. */
typedef struct vr_view {
    bool image;
    bool caption; /* of a stream: the rows are for the query, not for a question */
    int n_frames;
    bool every_frame;               /* the rate asked for is so high that every frame is looked at */
    uint64_t seed;                  /* of what watch draws by chance */
    vr_memory_rule memory;
    int64_t *frame_indices;         /* [n_frames] ascending */
    double *frame_seconds;          /* [n_frames] */
    int n_clips;                    /* of sound to be listened to; watch sets 0 where nothing could be heard */
    int n_audio_rows, n_video_rows; /* after plan: the most that there may be */
    float *rows;        /* [n_audio_rows + n_video_rows, Dl] in backend memory, audio rows first; room for those of plan */
    int32_t *positions; /* [n_video_rows, 3] owned: time, row, column of each row of video, counted from the first one's place;
                           NULL: one after the other */
    int n_positions;    /* places that the rows of video take, so that the text after them comes behind */
    int32_t *positions_plain;   /* [n_video_rows, 3] owned: the same before the system set times of its own, only for the stage
                                 prompt.positions.text; NULL: there are no stages of positions */
    void *features;             /* of the system, from watch to show; NULL where rows do not depend on the question */
    vr_facts facts;             /* its pointers are set by vr_view_facts alone */
    vr_frame_fact *frame_facts; /* [n_frames] */
    vr_scene_fact *scene_facts; /* [facts.n_scenes] owned */
    uint8_t *mel;               /* what facts.sound shows; NULL: none */
    int32_t *retrieved;         /* what facts.memory shows; NULL: none */
} vr_view;

void vr_view_free(vr_view *view);
/* Takes the list of frames and of their facts: n_frames of frame_indices, frame_seconds and frame_facts, all 0. */
int vr_view_take(vr_view *view, int n_frames, vr_err *e);
/* The same for a system that looks at `fps` frames a second (options->fps instead, where given): every round(rate / fps)-th of
 * the source, options->n_frames spread evenly, or the first of a picture. VR_ERR_LIMIT where that is too many. */
int vr_view_take_rate(vr_view *view, const vr_source *source, const vr_watch_options *options, double fps, vr_err *e);
/* The same for a system that looks at a number of frames (options->n_frames instead, where given), or at one picture.
 * VR_ERR_USAGE beyond n_most and where a rate is asked for. */
int vr_view_take_number(vr_view *view, const vr_watch_options *options, int n_frames, int n_most, vr_err *e);
/* frame_seconds of frame_indices. */
void vr_view_seconds(vr_view *view, const vr_source_info *info);
void vr_view_facts(const vr_view *view, vr_facts *out);
/* Facts of a clip whose rows are made of all its frames: of n_before tokens. */
void vr_view_tell_shared(vr_view *view, int64_t n_before);
void vr_view_step(vr_view *view, const char *name, int64_t before, int64_t after, const char *unit);

/* A memory that grows frame by frame and stays in bounds: of a system that follows streams (src/stream.c). One thread adds
 * frames; what another one needs for a question is copied between two of them, into a snapshot that is opened once and
 * overwritten. Nothing here waits or locks. */
typedef struct vr_stream_system {
    /* run: of the thread that adds; memory may keep what it takes of run->scratch. With a planning backend the same scratch
     * memory is taken. options: fps and query are resolved, query NULL where captions are off. */
    int (*open)(const void *state, const vr_stream_options *options, vr_run *run, void **memory, vr_err *e);
    void (*free)(void *memory);
    /* frame NULL: planning. event is zeroed by the caller, who also releases what add has taken of run->scratch. */
    int (*add)(const void *state, void *memory, vr_run *run, const vr_stream_frame *frame, vr_stream_event *event, vr_err *e);
    int (*snapshot_open)(const void *state, const void *memory, void **snapshot, vr_err *e);
    void (*snapshot_free)(void *snapshot);
    int (*snapshot_take)(const void *state, const void *memory, void *snapshot, vr_err *e);
    /* The rows for a question: fills view's rows, n_video_rows (at most rows_most), positions and facts; frame_indices and
     * frame_seconds are those of the frames in the rows. run: of the thread that asks. snapshot NULL: planning.
     * Trap: stages of a question are written as ask020.NAME (frames so far), but those of all captions (view->caption) under one
     *       name: one more row each, of the same shape; stages that change their shape must then be left out. */
    int (*show)(const void *state, const void *snapshot, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e);
    int (*rows_most)(const void *state); /* of video, for any question */
    /* The frames of a file that is followed: as plan of vr_system, which it is where this is NULL. */
    int (*plan)(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e);
} vr_stream_system;

typedef struct vr_system {
    const char *name; /* value of vidrun.system */
    size_t state_bytes;                                 /* of the state */
    int (*open)(void *state, vr_weights *w, vr_err *e); /* state: zeroed; closed in any case */
    void (*close)(void *state);
    const vr_llama *(*decoder)(const void *state);
    void (*recipe)(const void *state, vr_recipe *out); /* fills n_frames, n_frames_max and hears */
    /* Fills all of view but rows. NULL: a system that sees nothing; then there is no watch, and sessions have no source. */
    int (*plan)(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e);
    /* The most rows of video that a question leaves room for; VR_ERR_LIMIT where not even one frame fits. NULL: those of
     * plan. */
    int (*budget)(const void *state, const vr_view *view, const vr_question *question, int *n_video_rows, vr_err *e);
    /* Fills view->rows, or view->features where there is a show; with a planning backend it takes the same scratch memory
     * but reads no media. */
    int (*watch)(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e);
    /* Fills view->rows and n_video_rows for a question; *changed: they differ from those of the question before. May watch
     * the source again where the question demands other features. NULL: rows do not depend on the question. */
    int (*show)(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_question *question, bool *changed,
                const vr_hooks *hooks, vr_err *e);
    void (*features_free)(void *features); /* NULL without show */
    const vr_stream_system *stream;        /* NULL: follows no stream */
    bool pieces;                           /* plan knows options->from and to */
    bool paper_memory;                     /* knows VR_MEMORY_PAPER */
    int32_t rows_mark;                     /* what the stage prompt.ids shows for rows of the clip; 0: nothing */
    int32_t rows_mark_image;               /* of a picture; 0: as rows_mark */
    bool rows_mark_once;                   /* once for all rows, not once a row */
    const char *rows_piece;                /* NULL, or the piece whose id it shows instead of rows_mark */
} vr_system;

/* NULL: no such system. */
const vr_system *vr_system_find(vr_string name);
/* Names of all systems, separated by blanks. */
const char *vr_system_names(void);

/* state: of the system, bound to w; NULL after an error. */
int vr_system_open(const vr_system *system, void **state, vr_weights *w, vr_err *e);
void vr_system_close(const vr_system *system, void *state); /* NULL is legal */

/* Helpers of systems. */
int vr_widths_check(const vr_weights *w, const char *what, int has, int wants, vr_err *e); /* VR_ERR_WEIGHTS unless equal */
void vr_hooks_progress(const vr_hooks *hooks, const char *stage, int64_t done, int64_t total);
void vr_hooks_timing(const vr_hooks *hooks, const char *stage, double seconds, int64_t count, const char *unit);
int vr_hooks_check(const vr_hooks *hooks, vr_err *e); /* VR_ERR_CANCEL when the caller asked to stop */

extern const vr_system vr_system_videollamb;
extern const vr_system vr_system_video_llama, vr_system_videochat, vr_system_longvu, vr_system_flash_vstream,
    vr_system_flash_vstream_qwen, vr_system_text;

#endif
