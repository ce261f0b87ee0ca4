/*
 * vidrun.h - the public interface: open a weight file, watch a clip, ask about it.
 *
 *   vr_model_open(weights) -> vr_session_open(video) -> vr_session_ask(prompt) ... -> free
 *                          -> vr_stream_open, vr_feed_open(video) -> push, ask ... -> free
 *
 * A model is read-only after opening and may serve several sessions, one at a time (they share its threads). Nothing here
 * prints or exits: errors are values (base/err.h), everything a user may want to see comes through vr_hooks. Strings handed
 * in are copied where they are kept. The program (main.c, cli/) uses this header alone.
 */
#ifndef VIDRUN_H
#define VIDRUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "decode/sample.h"
#include "kernels/backend.h"

#define VIDRUN_VERSION "0.1.0"

typedef struct vr_model vr_model;
typedef struct vr_session vr_session;

/* Wall time of one finished stage: "scan", "frames", "vision", "sound", "audio", "prompt", "answer". */
typedef struct vr_timing {
    const char *stage;
    double seconds;
    int64_t count;    /* of units done in it; 0: no rate is meant */
    const char *unit; /* "frames", "clips", "tokens" */
} vr_timing;

/* All optional; called from the calling thread only. */
typedef struct vr_hooks {
    vr_log log;
    void (*progress)(void *cookie, const char *stage, int64_t done, int64_t total);
    void (*timing)(void *cookie, const vr_timing *timing);
    bool (*cancelled)(void *cookie); /* asked between frames, layers' chunks and tokens; true ends with VR_ERR_CANCEL */
    void *cookie;
} vr_hooks;

/* What the decoder keeps keys and values in: f32, f16, bytes with a scale for each 32 (kernels/kept.h).
 *   auto   f32 with VR_PRECISION_F32, f16 with the others */
typedef enum vr_kv { VR_KV_F32, VR_KV_F16, VR_KV_Q8_0, VR_KV_AUTO } vr_kv;

typedef struct vr_model_options {
    vr_cpu_options cpu;
    vr_kv kv; /* a device that knows f32 alone keeps f32 and says so */
    const char *device; /* "cpu", "cuda", "cuda:N", "auto": a GPU where there is one; NULL: the CPU */
    const char *gpu_layers; /* of the decoder, on the GPU: "auto", all that fit, or a number; NULL: auto. The others are the CPU's */
    int n_context;  /* rows of prompt and answer of a stock text model; 0: 4096, or what it was made for where that is less */
    vr_hooks hooks; /* used while opening, and by sessions */
} vr_model_options;

/* Opens, checks and binds the whole file before anything else happens. */
int vr_model_open(vr_model **out, const char *path, const vr_model_options *options, vr_err *e);
void vr_model_free(vr_model *model);

/* What the file proposes: defaults of the published system. */
typedef struct vr_recipe {
    const char *system;        /* "video-llama"; borrowed */
    const char *name;          /* general.name; borrowed */
    const char *templates;     /* names, separated by blanks; borrowed */
    const char *template_name; /* the default one */
    const char *cpu_level;
    const char *precision; /* "f32", "bf16", "int8", "auto" */
    const char *kv;        /* what keys and values are kept in: "f32", "f16", "q8_0" */
    bool reads_text;   /* a text model: sessions are opened without a video */
    bool hears;        /* has a sound branch */
    bool streams;      /* can follow a stream */
    bool pieces;       /* can look at a part of a video, and so tell it as text */
    double fps;        /* frames a second of a stream */
    const char *query; /* that captions of a stream answer; NULL: the system says nothing unasked; borrowed */
    int n_frames, n_frames_max;
    int n_predict;
    int context;          /* rows of prompt and answer together */
    vr_sampling sampling; /* seed is 0 */
} vr_recipe;

void vr_model_recipe(const vr_model *model, vr_recipe *out);

/* How frames are remembered, where the published code does not do what its paper says (Flash-VStream). */
typedef enum vr_memory_rule {
    VR_MEMORY_ORIGINAL, /* as the code */
    VR_MEMORY_PAPER     /* as the paper; VR_ERR_USAGE where a system knows no other rule */
} vr_memory_rule;

typedef struct vr_watch_options {
    int n_frames;  /* 0: the recipe's */
    double fps;    /* frames a second of the video; 0: the recipe's */
    double from, to; /* seconds of the video that are looked at; to 0: up to its end. Where recipe.pieces says so */
    uint64_t seed; /* of what the system draws by chance while it watches */
    vr_memory_rule memory;
    bool no_audio;
    bool image;                /* still picture: the first frame, the picture's prompt */
    const char *system_text;   /* NULL: the recipe's */
    const char *template_name; /* NULL: the recipe's */
    int n_predict;             /* for the check of the budget; 0: the recipe's */
    const char *dump_dir;      /* NULL: no stages are written */
    bool dump_turns;           /* stages of a question are written as turn1.NAME, turn2.NAME, ... */
} vr_watch_options;

/* What a run will do and need, known before anything is decoded. */
typedef struct vr_plan {
    int64_t n_frames_total;         /* frames of the file */
    int n_frames;                   /* sampled */
    const int64_t *frame_indices;   /* [n_frames], borrowed from the session */
    const double *frame_seconds;    /* [n_frames], borrowed */
    int frame_width, frame_height;  /* after rotation */
    int n_clips;                    /* of sound; 0: silent, no sound branch, or told not to listen */
    int n_video_rows, n_audio_rows; /* rows that the decoder reads */
    int n_prompt_rows;              /* the whole first prompt for the given question; 0 when none was given */
    int context;                    /* rows of prompt and answer together */
    size_t weights_bytes, scratch_bytes, cache_bytes, rows_bytes;
    const char *device; /* NULL: the processor computes everything; borrowed from the model */
    int n_layers, n_device_layers, n_fitting_layers; /* of the decoder, those on the device, those that would fit */
    size_t device_bytes, device_free_bytes;          /* needed (what is there already is not), free */
} vr_plan;

/* Plan only: scans the file (demuxes, decodes nothing) and measures memory. question may be NULL. video is NULL for a text model
 * and for no other (VR_ERR_USAGE).
 * VR_ERR_LIMIT when the prompt or the memory would be exceeded. */
int vr_session_open(vr_session **out, vr_model *model, const char *video, const vr_watch_options *options, const char *question,
                    vr_err *e);
void vr_session_plan(const vr_session *session, vr_plan *out);

/* Decode and encode the clip; once, before the first question. Afterwards the plan tells what was really heard. */
int vr_session_watch(vr_session *session, vr_err *e);

/* Something said in the clip. */
typedef struct vr_said {
    double start, end; /* seconds */
    const char *text;
} vr_said;

typedef struct vr_tell_options {
    const vr_said *said; /* [n_said] in order of time; NULL: nothing was listened to */
    int n_said;
    int n_predict; /* of the answers to come; 0: the recipe's */
} vr_tell_options;

/* Instead of vr_session_watch, VideoChat-Text without other models: the clip is looked at in pieces of 30 to 60 s, each is told in
 * a sentence by the model itself, and questions are answered from that text and from what is said. Where it is more than the
 * context takes, groups of lines are summarised, see describe/told.h. VR_ERR_USAGE where recipe.pieces is false, for a picture and
 * with a dump. */
int vr_session_tell(vr_session *session, const vr_tell_options *options, vr_err *e);
const char *vr_session_told(const vr_session *session); /* what the model is given; NULL: rows. Borrowed */

/* One step on the way from the clip to the rows of the decoder. */
typedef struct vr_step {
    const char *name; /* static */
    int64_t before, after;
    const char *unit; /* of both; static */
} vr_step;

/* What became of a sampled frame. Its grid of tokens lies somewhere on the picture: in fractions of it, and it may reach
 * beyond 0..1. */
typedef struct vr_frame_fact {
    bool kept;              /* some of the rows are its own, or made of it among others */
    int slot;               /* of the memory that it went into, from 1; 0: none */
    bool high;              /* on the finer one of two grids; where there are scenes: rows are its own */
    int n_tokens;           /* rows of its own, ends of lines included; 0: none */
    int n_lines, n_columns; /* of its grid; 0: none */
    float left, top, right, bottom;
    const uint8_t *tokens; /* [n_lines, n_columns] 1: kept; NULL: all are */
} vr_frame_fact;

/* Frames that belong together. */
typedef struct vr_scene_fact {
    int first, last; /* of the sampled frames, by place; the next scene begins behind last */
    float depth;     /* how deep the valley of similarity behind its last frame is; 0: nothing follows */
    bool shown;      /* rows of the decoder are its own */
} vr_scene_fact;

/* The sound that was listened to, small enough to be shown. */
typedef struct vr_sound_fact {
    int n_clips, n_bins, n_columns; /* n_clips 0: nothing was heard */
    const uint8_t *mel;             /* [n_clips, n_bins, n_columns] log-mel, 0 the quietest and 255 the loudest of all clips */
} vr_sound_fact;

/* A memory whose slots are made of frames that are alike, and frames that it shows whole (Flash-VStream). */
typedef struct vr_memory_fact {
    int n_slots;              /* that frames share; 0: there is no such memory */
    int n_abstract;           /* slots that saw every frame */
    int n_retrieved;          /* frames shown whole because a heavy slot led to them */
    const int32_t *retrieved; /* [n_retrieved] positions in the list of frames, the heaviest slot first; repeats possible */
} vr_memory_fact;

enum { VR_FACT_STEPS = 6 };

/* What became of the clip for the last question. */
typedef struct vr_facts {
    const char *regime; /* "full", "mix", "prune", "memory", "picture"; NULL: the system knows one way only */
    int n_steps;
    vr_step steps[VR_FACT_STEPS];
    int n_frames;                      /* sampled */
    const vr_frame_fact *frames;       /* [n_frames] as in the plan; borrowed until the next question */
    int n_kept, n_high;                /* frames */
    int n_scenes;                      /* 0: the system knows none */
    const vr_scene_fact *scenes;       /* [n_scenes] borrowed likewise */
    int64_t n_tokens_before, n_tokens; /* that could have been, and rows of the clip in the prompt */
    vr_sound_fact sound;               /* borrowed */
    vr_memory_fact memory;             /* borrowed */
} vr_facts;

/* After an answer. */
void vr_session_facts(const vr_session *session, vr_facts *out);
/* Decodes the clip once more: frames of the plan at `positions` [n], ascending -> rgb [n, height, width, 3]. */
int vr_session_frames(vr_session *session, const int *positions, int n, int width, int height, uint8_t *rgb, vr_err *e);

/* --- streams: frames come one by one, memory stays in bounds, questions may be asked at any time ---
 *
 *   vr_stream_open -> vr_stream_push(frame) ...      one thread: the frame handler
 *                  -> vr_stream_snapshot, vr_stream_ask(question) | vr_stream_caption ...     one other: the question handler
 *                  -> vr_stream_close                when both have ended
 *
 * A question is answered from the memory as it was at vr_stream_snapshot; frames go on coming meanwhile. A snapshot is taken
 * between two frames and costs a copy of the memory, whose size does not depend on how long the stream has lasted. */
typedef struct vr_stream vr_stream;

/* A picture of a stream. */
typedef struct vr_stream_frame {
    const uint8_t *rgb; /* [height, width, 3] after rotation; borrowed */
    int width, height;  /* may differ from frame to frame */
    int64_t index;      /* of the frames that were pushed, from 0; vr_stream_push counts them itself */
    double seconds;     /* time of the stream, never falling */
    int64_t number;     /* in its file; -1: not known */
} vr_stream_frame;

typedef enum vr_captions {
    VR_CAPTIONS_ORIGINAL, /* when the published system would speak */
    VR_CAPTIONS_OFF,
    VR_CAPTIONS_SCENES /* once for every scene, when it has ended */
} vr_captions;

typedef struct vr_stream_options {
    double fps;    /* frames a second that are looked at; 0: the recipe's */
    uint64_t seed; /* of what the memory draws by chance */
    vr_memory_rule memory;
    vr_captions captions;
    const char *query;         /* what a caption answers; NULL: the recipe's, where it has one */
    int n_threads_ask;         /* of the question handler; 0: as many as the model's */
    vr_hooks ask_hooks;        /* of the question handler; the model's are called by the frame handler */
    const char *system_text;   /* NULL: the recipe's */
    const char *template_name; /* NULL: the recipe's */
    const char *dump_dir; /* NULL: no stages are written; else the two threads must take turns: no push during an answer */
} vr_stream_options;

/* What a frame led to. */
typedef struct vr_stream_event {
    bool caption;                  /* the system would say something now */
    bool queried;                  /* it is the first answer to the query */
    double seconds;                /* time that is told with it */
    int n_scenes;                  /* ended so far */
    double scene_start, scene_end; /* of the scene that a caption is about; 0, 0: none in particular */
} vr_stream_event;

/* VR_ERR_USAGE where the system follows no streams. */
int vr_stream_open(vr_stream **out, vr_model *model, const vr_stream_options *options, vr_err *e);
void vr_stream_plan(const vr_stream *stream, vr_plan *out); /* memory and rows; no frames */

/* Look at one more frame. Waits for a snapshot that is being copied, never for an answer. */
int vr_stream_push(vr_stream *stream, const vr_stream_frame *frame, vr_stream_event *event, vr_err *e);

/* What is remembered now is what questions are answered from. Any thread, but not during an answer; waits for a frame that is
 * being pushed. *n_frames, *seconds (may be NULL): pushed so far, time of the last. VR_ERR_VIDEO before the first frame. */
int vr_stream_snapshot(vr_stream *stream, int64_t *n_frames, double *seconds, vr_err *e);

typedef struct vr_ask_options {
    vr_sampling sampling;
    int n_predict; /* >= 1 */
    /* Text of the answer as it grows: whole UTF-8 characters, not NUL-terminated. Return false to stop the answer there. */
    bool (*text)(void *cookie, const char *text, size_t n_bytes);
    void *cookie;
} vr_ask_options;

typedef enum vr_stop {
    VR_STOP_END,    /* the model ended its answer */
    VR_STOP_LENGTH, /* n_predict tokens */
    VR_STOP_CALLER  /* the text callback or hooks.cancelled said so; the part answered is kept in the conversation */
} vr_stop;

typedef struct vr_answer {
    const char *text;   /* NUL-terminated, borrowed until the next call on the session */
    const int32_t *ids; /* [n_ids], the stop tokens included; borrowed likewise */
    int n_ids;
    int n_prompt_rows, n_reused_rows, n_dropped_rows; /* reused: still in the cache from the turn before */
    int n_dropped_turns;                              /* the oldest, for which the context has no room any more */
    vr_stop stop;
    double prompt_seconds, answer_seconds;
} vr_answer;

/* A question of the conversation; earlier turns are part of the prompt. */
int vr_session_ask(vr_session *session, const char *question, const vr_ask_options *options, vr_answer *out, vr_err *e);

/* How well the model foretells a text: exp of the mean of -log p(token | those before). The text is cut into pieces of n_rows
 * tokens; each is read for itself, and its second half counts. Any model: no clip takes part. VR_ERR_LIMIT where the text is
 * shorter than two pieces. */
typedef struct vr_perplexity {
    double value, deviation; /* standard error of the value */
    int n_tokens, n_counted, n_rows;
    double seconds;
} vr_perplexity;

int vr_model_perplexity(vr_model *model, const char *text, size_t n_bytes, int n_rows, vr_perplexity *out, vr_err *e);

void vr_session_reset(vr_session *session); /* forget the turns, keep the clip */
/* The turns so far, those that are no longer read included; strings are borrowed until the next question. */
int vr_session_turn_count(const vr_session *session);
void vr_session_turn(const vr_session *session, int i, const char **question, const char **answer);
/* A turn of an earlier conversation, as if it had been asked and answered now. */
int vr_session_turn_add(vr_session *session, const char *question, const char *answer, vr_err *e);
/* Writes out what the dump holds; NULL is legal. The error is that of the dump (full disk). */
int vr_session_close(vr_session *session, vr_err *e);

/* A question about the snapshot, each a new conversation. out is borrowed until the next call; a picture of the rows is told by
 * vr_stream_facts. */
int vr_stream_ask(vr_stream *stream, const char *question, const vr_ask_options *options, vr_answer *out, vr_err *e);
/* The query about the snapshot: what event.caption asks for. */
int vr_stream_caption(vr_stream *stream, const vr_ask_options *options, vr_answer *out, vr_err *e);
void vr_stream_facts(const vr_stream *stream, vr_facts *out); /* after an answer */
/* Writes out what the dump holds; NULL is legal. The error is that of the dump. */
int vr_stream_close(vr_stream *stream, vr_err *e);

/* Frames of a file or pipe, one by one: of a file those that the system would look at, of a pipe (standard input, a named pipe)
 * the first at or after every 1/fps seconds. A pipe is read on and on, nothing is kept; its time starts at 0, never falls. */
typedef struct vr_feed vr_feed;

typedef struct vr_feed_info {
    bool live;              /* a pipe: nothing else is known */
    int64_t n_frames_total; /* frames of the file */
    int n_frames;           /* of them that will come */
    int64_t n_bad;          /* pieces of a pipe that could not be decoded so far */
    int64_t n_jumps;        /* times that its clock jumped */
} vr_feed_info;

/* fps 0: the recipe's. A pipe is first read by vr_feed_next. */
int vr_feed_open(vr_feed **out, vr_model *model, const char *video, double fps, vr_err *e);
void vr_feed_info_get(const vr_feed *feed, vr_feed_info *out);
/* frame->rgb is borrowed until the next call; NULL: the end. VR_ERR_VIDEO where not even one frame came. */
int vr_feed_next(vr_feed *feed, vr_stream_frame *frame, vr_err *e);
void vr_feed_stop(vr_feed *feed); /* from any thread: vr_feed_next ends soon, also while it waits for a pipe */
void vr_feed_free(vr_feed *feed); /* NULL is legal */

#endif
