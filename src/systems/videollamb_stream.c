/*
 * videollamb_stream.c - VideoLLaMB: the memory of a stream, one frame at a time. When it speaks: videollamb_speech.c.
 *
 *   frame -> pixels (kept) ---------------------> question: video tower over frames picked evenly -> videollamb_memory.c
 *         -> image tower -> class row -> event
 *
 * Kept are the pixels of at most KEPT frames: of a longer stream every stride-th and the newest; the stride doubles whenever
 * they become too many. Up to KEPT frames that is what the original keeps, which keeps all. From then on a question sees always
 * as many, those that are kept at the least, spread evenly over what is kept: its time does not follow the stride.
 *
 *   kept frames are blocks of one pool, counted: a snapshot takes a list of them and copies no pixels
 *
 * Ref:   llava/serve/inference.py (LiveInfer), cli_streaming.py.
 * Owner: the pool is scratch of the adding thread's run; lists are the memory's and the snapshot's own.
 */
#include "systems/videollamb.h"

#include <stdlib.h>
#include <string.h>

#include "media/linspace.h"

enum {
    KEPT = 128,
    KEPT_LEAST = KEPT / 2, /* just after the stride has doubled */
    POOL = 2 * KEPT        /* the memory's and those that only the snapshot still holds */
};

typedef struct kept {
    int block; /* in the pool */
    int64_t index, number;
    double seconds;
    int width, height;
} kept;

typedef struct stream {
    const vr_videollamb *s;
    float *pool;  /* [POOL, 3,S,S] */
    int *holders; /* [POOL] owned: lists that a block is in */
    kept frames[KEPT];
    int n;          /* kept */
    int64_t stride; /* between frames that are kept for good */
    int64_t n_frames;
    vr_videollamb_speech speech;
} stream;

typedef struct snapshot {
    const float *pool;
    kept frames[KEPT];
    int n;
    int64_t n_frames;
} snapshot;

static void stream_free(void *memory)
{
    stream *m = memory;
    if (!m) return;
    vr_videollamb_speech_free(&m->speech);
    free(m->holders);
    free(m);
}

static int stream_open(const void *state, const vr_stream_options *options, vr_run *run, void **memory, vr_err *e)
{
    const vr_videollamb *s = state;
    *memory = NULL;
    stream *m = calloc(1, sizeof *m);
    int *holders = calloc(POOL, sizeof *holders);
    if (!m || !holders) {
        free(m);
        free(holders);
        return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a stream");
    }
    m->s = s;
    m->holders = holders;
    m->stride = 1;
    m->pool = vr_arena_floats(run->scratch, POOL * vr_videollamb_pixel_floats(s));
    vr_videollamb_speech_open(s, run, options, &m->speech);
    *memory = m;
    return VR_OK;
}

static float *block_at(const vr_videollamb *s, float *pool, int block)
{
    return pool + (size_t)block * vr_videollamb_pixel_floats(s);
}

/* A block that no list holds. */
static int block_take(stream *m)
{
    int block = 0;
    while (m->holders[block] > 0) block++;
    m->holders[block] = 1;
    return block;
}

/* The frame in front of which there is room again: of those kept the one that is not to stay, or every second. */
static void kept_thin(stream *m)
{
    int n = 0;
    if (m->n == KEPT && m->frames[m->n - 1].index % m->stride == 0) m->stride *= 2;
    for (int i = 0; i < m->n; i++) {
        if (m->frames[i].index % m->stride == 0)
            m->frames[n++] = m->frames[i];
        else
            m->holders[m->frames[i].block]--;
    }
    m->n = n;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How many frames the video tower sees of a stream of n_frames. */
static int picked_count(const vr_videollamb *s, int64_t n_frames)
{
    const int most = (int)(n_frames > KEPT ? KEPT_LEAST : n_frames), n = most - most % s->multiple;
    return n < s->multiple ? s->multiple : n;
}

static int stream_add(const void *state, void *memory, vr_run *run, const vr_stream_frame *frame, vr_stream_event *event,
                      vr_err *e)
{
    const vr_videollamb *s = state;
    stream *m = memory;
    vr_run quiet = *run; /* stages of single frames are not those of a recorded run */
    vr_videollamb_eye eye;
    quiet.dump = NULL;
    vr_videollamb_eye_take(s, run, &eye, true);
    eye.how = s->video_pixels; /* Trap: frames of a stream are no pictures, though the tower of pictures sees them */
    if (frame) {
        const size_t n_bytes = vr_videollamb_pixel_floats(s) * sizeof *eye.planes;
        VR_TRY(vr_videollamb_pixels_make(s, &quiet, &eye, frame->rgb, frame->width, frame->height, e));
        if (m->n == KEPT || (m->n > 0 && m->frames[m->n - 1].index % m->stride != 0)) kept_thin(m);
        const int block = block_take(m);
        run->be->write(run->be, block_at(s, m->pool, block), eye.planes, n_bytes);
        run->be->write(run->be, eye.pixels, eye.planes, n_bytes);
        m->frames[m->n++] = (kept){ block,          m->n_frames,  frame->number >= 0 ? frame->number : frame->index,
                                    frame->seconds, frame->width, frame->height };
    }
    if (m->speech.captions != VR_CAPTIONS_OFF) {
        vr_vit_forward(eye.vit, &quiet, eye.pixels, 1, eye.rows);
        VR_TRY(vr_videollamb_speech_add(&m->speech, run, eye.rows, frame, picked_count(s, m->n_frames + 1), event, e));
    }
    if (!frame) return VR_OK;
    m->n_frames++;
    return VR_OK;
}

static int snapshot_open(const void *state, const void *memory, void **out, vr_err *e)
{
    const stream *m = memory;
    snapshot *shot = calloc(1, sizeof *shot);
    (void)state;
    *out = shot;
    if (!shot) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a copy of the stream's memory");
    shot->pool = m->pool;
    return VR_OK;
}

static int snapshot_take(const void *state, const void *memory, void *out, vr_err *e)
{
    const stream *m = memory;
    snapshot *shot = out;
    (void)state;
    (void)e;
    for (int i = 0; i < m->n; i++) m->holders[m->frames[i].block]++;
    for (int i = 0; i < shot->n; i++) m->holders[shot->frames[i].block]--;
    memcpy(shot->frames, m->frames, (size_t)m->n * sizeof *m->frames);
    shot->n = m->n;
    shot->n_frames = m->n_frames;
    return VR_OK;
}

/* The frames picked of the snapshot through the video tower. shot NULL: planning, one group is enough. */
static int picked_look(const vr_videollamb *s, const snapshot *shot, vr_run *run, const int64_t *picked,
                       vr_videollamb_seen *seen, const vr_hooks *hooks, vr_err *e)
{
    const size_t n_floats = vr_videollamb_pixel_floats(s), mark = vr_arena_mark(run->scratch);
    vr_videollamb_eye eye;
    vr_videollamb_eye_take(s, run, &eye, false);
    for (int first = 0; first < seen->T; first += eye.group) {
        const int n = (int)smaller(seen->T - first, eye.group);
        VR_TRY(vr_hooks_check(hooks, e));
        for (int i = 0; shot && i < n; i++)
            run->be->ops->copy_rows(run->be, eye.pixels + (size_t)i * n_floats, (int64_t)n_floats,
                                    shot->pool + (size_t)shot->frames[picked[first + i]].block * n_floats, (int64_t)n_floats, 1,
                                    (int)n_floats);
        VR_TRY(vr_videollamb_eye_look(s, run, &eye, n, seen, first, e));
        if (!shot) break;
        vr_hooks_progress(hooks, "vision", first + n, seen->T);
    }
    vr_arena_release(run->scratch, mark);
    return VR_OK;
}

/* One row of the stage of all captions: every one has as many scenes. */
static void ends_dump(const vr_view *view, vr_dump *dump)
{
    int32_t *ends = calloc((size_t)view->facts.n_scenes, sizeof *ends);
    for (int i = 0; ends && i < view->facts.n_scenes; i++) ends[i] = view->scene_facts[i].last;
    if (ends) vr_dump_i32(dump, "stream.scene_ends", ends, 2, (const int64_t[2]){ 1, view->facts.n_scenes });
    free(ends);
}

static int stream_show(const void *state, const void *memory, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_videollamb *s = state;
    const snapshot *shot = memory;
    const int T = picked_count(s, shot ? shot->n_frames : KEPT);
    int64_t picked[KEPT];
    vr_run quiet = *run;
    vr_videollamb_seen seen;
    if (shot) {
        vr_linspace(picked, shot->n, T);
        VR_TRY(vr_view_take(view, T, e));
        for (int i = 0; i < T; i++) {
            view->frame_indices[i] = shot->frames[picked[i]].number;
            view->frame_seconds[i] = shot->frames[picked[i]].seconds;
        }
    }
    if (view->caption) quiet.dump = NULL; /* stages that change their shape; what all captions have in common follows */
    vr_videollamb_seen_take(s, run, &seen, T);
    if (shot) seen.width = shot->frames[shot->n - 1].width, seen.height = shot->frames[shot->n - 1].height;
    VR_TRY(picked_look(s, shot, &quiet, picked, &seen, hooks, e));
    VR_TRY(vr_videollamb_show(s, &quiet, &seen, view, e));
    if (shot && view->caption && s->rule.n_cuts > 0) ends_dump(view, run->dump);
    return VR_OK;
}

static int rows_most(const void *state)
{
    const vr_videollamb *s = state;
    return vr_videollamb_rows_most(s, picked_count(s, KEPT), false);
}

const vr_stream_system vr_videollamb_stream = {
    .open = stream_open,
    .free = stream_free,
    .add = stream_add,
    .snapshot_open = snapshot_open,
    .snapshot_free = free,
    .snapshot_take = snapshot_take,
    .show = stream_show,
    .rows_most = rows_most,
};
