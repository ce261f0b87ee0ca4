/*
 * scene_tiling.h - VideoLLaMB: where scenes end, from how alike neighbouring frames are.
 *
 *   class rows [T,D] -> similarity of neighbours [T-1] -> depth of each valley [T-1] -> last frames of scenes
 *
 * A depth is the climb from a valley to the hill on its left plus that to the hill on its right.
 */
#ifndef VR_SCENE_TILING_H
#define VR_SCENE_TILING_H

#include <stdint.h>

#include "kernels/backend.h"

typedef struct vr_scene_rule {
    int n_cuts;  /* > 0: the deepest n_cuts places; 0: those deeper than mean + alpha * deviation (n - 1) */
    float alpha; /* 0.5 as published */
    int most;    /* of the second rule: if there are more, the deepest `most` */
} vr_scene_rule;

/* similarity [T-1] host: cosine of rows i and i+1 of x [T,D] in backend memory. Scratch of the run: some 16 T bytes. */
void vr_scene_similarity(const vr_run *run, const float *x, int T, int D, float *similarity);

/* similarity [n] -> depth [n]; n >= 0. */
void vr_scene_depth(const float *similarity, int n, float *depth);

/* depth [T-1] of T >= 1 frames -> ends [at most T] out: the last frame of every scene, ascending, T - 1 the last; returns
 * their number. Among equal depths the lower place. */
int vr_scene_ends(const float *depth, int T, const vr_scene_rule *rule, int32_t *ends);

/* Scenes of a stream: 12 bytes a frame, whatever a frame weighs. */
typedef struct vr_scene_stream {
    int T, D;
    float *pair; /* [2,D] backend memory: the last class row, the new one */
    /* owned, grow by doubling */
    int capacity;
    float *similarity; /* [T - 1] */
    float *depth;      /* [T - 1] of the last vr_scene_stream_ends */
    int32_t *ends;     /* [T] */
} vr_scene_stream;

/* Takes 2 D floats of the run's scratch, for as long as the stream lives. */
void vr_scene_stream_open(vr_scene_stream *s, const vr_run *run, int D);
void vr_scene_stream_free(vr_scene_stream *s); /* zeroed is legal */
/* The class row x [D] of the next frame, backend memory. VR_ERR_LIMIT without memory. While planning it takes scratch only. */
int vr_scene_stream_append(vr_scene_stream *s, const vr_run *run, const float *x, vr_err *e);
/* Ends of the scenes of all frames so far, borrowed until the next call; returns their number (0 before the first frame). */
int vr_scene_stream_ends(vr_scene_stream *s, const vr_scene_rule *rule, const int32_t **ends);

#endif
