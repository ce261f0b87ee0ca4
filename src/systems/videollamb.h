/*
 * videollamb.h - VideoLLaMB from the inside: videollamb.c (parts, plan), videollamb_look.c (frames -> class rows and pooled
 * rows), videollamb_memory.c (those -> scenes -> rows of the decoder), videollamb_facts.c (what is told of it),
 * videollamb_stream.c (frames that come one by one), videollamb_speech.c (what is said of them unasked).
 */
#ifndef VR_VIDEOLLAMB_H
#define VR_VIDEOLLAMB_H

#include "base/ragged.h"
#include "compress/memory_bridge.h"
#include "compress/scene_tiling.h"
#include "encode/vit.h"
#include "media/float_resize.h"
#include "project/project.h"
#include "systems/system.h"

/* How a frame becomes pixels. */
typedef enum vr_videollamb_pixels {
    VR_PIXELS_BILINEAR, /* normalise-bilinear */
    VR_PIXELS_BICUBIC,  /* tensor-bicubic */
    VR_PIXELS_CLIP      /* clip */
} vr_videollamb_pixels;

typedef struct vr_videollamb {
    vr_vit *vit;       /* of the frames of a video */
    vr_vit *image_vit; /* of pictures and of a stream's class rows; NULL: vit */
    vr_memory_bridge *bridge;
    vr_project project; /* D -> Dl, GELU behind it */
    vr_llama *llama;
    const float *scene_position; /* [scenes_most, D]  bridge.scene_position, or NULL */
    vr_videollamb_pixels video_pixels, image_pixels;
    vr_float_pixels pixels;
    int D;        /* width of the tower */
    int n_frames; /* 0: fps a second */
    int n_frames_max, multiple;
    float fps;
    int pool_side, P;     /* P = pool_side^2 rows a frame */
    bool caches_patches;  /* the cache of the retrieval holds patch rows, not memories */
    bool shows_memory;    /* the decoder reads the memories of all scenes, not the patch rows of the last */
    vr_scene_rule rule;   /* of a clip */
    int scene_frames;     /* of a scene that are read, at most */
    bool speaks;          /* in a stream, by the rule below */
    vr_scene_rule speech; /* of a stream */
} vr_videollamb;

/* Buffers that bring frames through a tower: scratch of the run. */
typedef struct vr_videollamb_eye {
    const vr_vit *vit;
    vr_videollamb_pixels how;
    int group;      /* frames that go through the tower together */
    float *planes;  /* [3,S,S] host */
    uint8_t *crop;  /* [S,S,3] host */
    float *pixels;  /* [group, 3,S,S] */
    float *rows;    /* [group, tokens, D] */
    double seconds; /* in the tower */
} vr_videollamb_eye;

/* Of the frames that went by. */
typedef struct vr_videollamb_seen {
    int T;
    int width, height; /* of their pictures */
    float *classes;    /* [T, D] backend memory */
    float *pooled;     /* [T, P, D] */
} vr_videollamb_seen;

size_t vr_videollamb_pixel_floats(const vr_videollamb *s); /* of one frame: 3 S S */
void vr_videollamb_eye_take(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, bool image);
/* A frame at its native size -> eye->planes. Stage input.pixels. */
int vr_videollamb_pixels_make(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, const uint8_t *rgb, int width,
                              int height, vr_err *e);
void vr_videollamb_seen_take(const vr_videollamb *s, vr_run *run, vr_videollamb_seen *seen, int T);
/* n frames of eye->pixels are frames first .. first + n - 1; n <= eye->group, a multiple of the tower's group. Syncs. Stage
 * compress.pool. */
int vr_videollamb_eye_look(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, int n, vr_videollamb_seen *seen,
                           int first, vr_err *e);
int vr_videollamb_look(const vr_videollamb *s, vr_run *run, vr_source *source, const vr_view *view, vr_videollamb_seen *seen,
                       const vr_hooks *hooks, vr_err *e);

int vr_videollamb_rows_most(const vr_videollamb *s, int T, bool image);
/* Fills view->rows, n_video_rows and, but for planning, the facts of its frames. */
int vr_videollamb_show(const vr_videollamb *s, vr_run *run, const vr_videollamb_seen *seen, vr_view *view, vr_err *e);

/* Facts, in this order: how many frames and tokens; a scene and the frames of it that are read, picked [n] of those sampled;
 * what became of them. */
int vr_videollamb_tell_scenes(vr_view *view, int n_scenes, vr_err *e);
void vr_videollamb_tell_scene(const vr_videollamb *s, vr_view *view, int scene, int first, int last, float depth,
                              const int64_t *picked, int n, bool shown);
void vr_videollamb_tell_end(const vr_videollamb *s, vr_view *view, const vr_videollamb_seen *seen);

/* What is remembered of a stream to know when to speak. */
typedef struct vr_videollamb_speech {
    vr_captions captions;
    double fps;
    int64_t n_frames;
    vr_scene_stream scenes;
    vr_scene_rule rule;
    bool asked;        /* the query waits for its first answer */
    int64_t pending;   /* the first frame that is not through yet */
    int64_t last_mark; /* the newest boundary at the last caption */
    int64_t told;      /* last frame of the scene told last, -1: none */
    int n_told;
    double *seconds; /* [room] owned: of all frames, where scenes are told */
    int64_t room;
    /* stages, written when the stream ends */
    vr_dump *dump;
    vr_ids marks;
    vr_ragged boundaries, all_marks;
} vr_videollamb_speech;

/* Takes scratch of the run for as long as the stream lives; captions are off where the model says nothing unasked. */
void vr_videollamb_speech_open(const vr_videollamb *s, vr_run *run, const vr_stream_options *options,
                               vr_videollamb_speech *speech);
void vr_videollamb_speech_free(vr_videollamb_speech *speech); /* writes stages of the whole stream */
/* The class row [D] of the next frame, where captions are not off; n_picked frames would be shown now. frame NULL: planning. */
int vr_videollamb_speech_add(vr_videollamb_speech *speech, vr_run *run, const float *class_row, const vr_stream_frame *frame,
                             int n_picked, vr_stream_event *event, vr_err *e);

extern const vr_stream_system vr_videollamb_stream;

#endif
