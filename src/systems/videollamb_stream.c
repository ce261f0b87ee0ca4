/*
 * videollamb_stream.c - VideoLLaMB: the memory of a stream, one frame at a time, and when it speaks.
 *
 *   frame -> pixels (kept) ---------------------------------------------> question: video tower over frames picked evenly
 *         -> image tower -> class row -> similarity to the one before     -> videollamb_memory.c
 *                           -> scenes so far -> event
 *
 * Kept are the pixels of at most KEPT frames: of a longer stream every stride-th and the newest; the stride doubles whenever
 * they become too many. Up to KEPT frames that is what the original keeps, which keeps all. Of class rows only similarities
 * stay, 4 bytes a frame, and where scenes are told its time.
 *
 *   kept frames are blocks of one pool, counted: a snapshot takes a list of them and copies no pixels
 *
 * Ref:   llava/serve/inference.py (LiveInfer), cli_streaming.py.
 * Trap:  the original looks for an event once for every frame that is pending; the frame of the first answer stays pending.
 *        It compares seconds with numbers of frames, so slower than a frame a second it soon falls silent.
 * Owner: the pool is scratch of the adding thread's run; lists are the memory's and the snapshot's own.
 */
#include "systems/videollamb.h"

#include <stdlib.h>
#include <string.h>

#include "base/ragged.h"
#include "media/linspace.h"

enum { KEPT = 128, POOL = 2 * KEPT }; /* the memory's and those that only the snapshot still holds */

typedef struct kept {
    int block; /* in the pool */
    int64_t index, number;
    double seconds;
    int width, height;
} kept;

typedef struct stream {
    const vr_videollamb *s;
    vr_captions captions;
    double fps;
    float *pool;  /* [POOL, 3,S,S] */
    int *holders; /* [POOL] owned: lists that a block is in */
    kept frames[KEPT];
    int n;          /* kept */
    int64_t stride; /* between frames that are kept for good */
    int64_t n_frames;
    /* scenes and captions */
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
} stream;

typedef struct snapshot {
    const float *pool;
    kept frames[KEPT];
    int n;
    int64_t n_frames;
} snapshot;

static void stages_write(const stream *m)
{
    if (!m->dump) return;
    vr_ragged_dump(&m->boundaries, m->dump, "stream.boundaries");
    vr_ragged_dump(&m->all_marks, m->dump, "stream.marks");
}

static void stream_free(void *memory)
{
    stream *m = memory;
    if (!m) return;
    stages_write(m);
    vr_scene_stream_free(&m->scenes);
    vr_ids_free(&m->marks);
    vr_ragged_free(&m->boundaries);
    vr_ragged_free(&m->all_marks);
    free(m->seconds);
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
    m->captions = s->speaks ? options->captions : VR_CAPTIONS_OFF;
    m->fps = options->fps;
    m->asked = options->query != NULL && m->captions == VR_CAPTIONS_ORIGINAL;
    m->rule = s->speech;
    if (m->captions == VR_CAPTIONS_SCENES) m->rule.most = INT32_MAX; /* a stream may have any number of them */
    m->stride = 1;
    m->told = -1;
    m->dump = vr_run_stages(run);
    m->pool = vr_arena_floats(run->scratch, POOL * vr_videollamb_pixel_floats(s));
    vr_scene_stream_open(&m->scenes, run, s->D);
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
    if (m->n == KEPT) m->stride *= 2;
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

/* How many frames the video tower sees of m that there are. */
static int picked_count(const vr_videollamb *s, int m)
{
    const int n = m - m % s->multiple;
    return n < s->multiple ? s->multiple : n;
}

static bool is_mark(const stream *m, int32_t frame)
{
    for (int i = 0; i < m->marks.count; i++)
        if (m->marks.data[i] == frame) return true;
    return false;
}

/* The stages of a caption; marks are what the original remembers of boundaries. */
static int caption_dump(stream *m, const int32_t *ends, int n, bool queried, vr_err *e)
{
    if (!m->dump) return VR_OK;
    const int32_t index = (int32_t)m->n_frames;
    const int32_t event[4] = { index, index + 1, picked_count(m->s, (int)smaller(index + 1, KEPT)), queried };
    if (m->marks.count == 0) VR_TRY(vr_ids_push(&m->marks, 0, e));
    for (int i = 0; !queried && i < n; i++)
        if (!is_mark(m, ends[i])) VR_TRY(vr_ids_push(&m->marks, ends[i], e));
    vr_dump_i32(m->dump, "stream.events", event, 2, (const int64_t[2]){ 1, 4 });
    return vr_ragged_push(&m->all_marks, m->marks.data, m->marks.count, e);
}

/* As the original would: spec of its loop over pending frames. newest = m->n_frames. */
static int original_event(stream *m, double seconds, vr_stream_event *event, vr_err *e)
{
    const int32_t *ends = NULL;
    int n = 0;
    bool looked = false;
    while (!event->caption && m->pending <= m->n_frames) {
        const double pending = (double)m->pending / m->fps;
        if (m->asked && pending > 0) {
            m->asked = false;
            event->caption = event->queried = true;
            VR_TRY(caption_dump(m, NULL, 0, true, e));
            break;
        }
        m->pending++;
        if (!looked) n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
        looked = true;
        if (n > 2 && pending - (double)m->n_frames < 3 && m->n_frames - m->last_mark > 1) {
            event->caption = true;
            event->seconds = seconds;
            m->last_mark = m->n_frames;
            VR_TRY(caption_dump(m, ends, n, false, e));
        }
    }
    if (!looked) n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
    event->n_scenes = n > 0 ? n - 1 : 0;
    const int32_t none = -1;
    if (m->dump) return looked ? vr_ragged_push(&m->boundaries, ends, n, e) : vr_ragged_push(&m->boundaries, &none, 1, e);
    return VR_OK;
}

/* A scene has ended where two frames after its end the valley is still there; each is told once, in order. */
static int scene_event(stream *m, double seconds, vr_stream_event *event, vr_err *e)
{
    const int32_t *ends;
    if (m->n_frames == m->room) {
        const int64_t room = m->room ? 2 * m->room : 1024;
        double *grown = realloc(m->seconds, (size_t)room * sizeof *grown);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the times of %lld frames", (long long)room);
        m->seconds = grown;
        m->room = room;
    }
    m->seconds[m->n_frames] = seconds;
    const int n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
    for (int i = 0; i + 1 < n && !event->caption; i++) {
        if (ends[i] <= m->told || ends[i] + 2 > m->n_frames) continue;
        event->caption = true;
        event->seconds = seconds;
        event->scene_start = m->seconds[m->told + 1];
        event->scene_end = m->seconds[ends[i] + 1]; /* where the next one begins: a scene may be a single frame */
        m->told = ends[i];
        m->n_told++;
    }
    event->n_scenes = m->n_told;
    return VR_OK;
}

/* The class row of the pixels in `eye` joins the others. */
static int class_add(stream *m, vr_run *run, vr_videollamb_eye *eye, vr_err *e)
{
    vr_vit_forward(eye->vit, run, eye->pixels, 1, eye->rows);
    VR_TRY(vr_scene_stream_append(&m->scenes, run, eye->rows, e));
    const vr_run shown = { .be = run->be, .dump = m->dump };
    vr_run_dump(&shown, eye->rows, 2, (const int64_t[2]){ 1, m->s->D }, "stream.cls");
    return VR_OK;
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
    if (m->captions != VR_CAPTIONS_OFF) VR_TRY(class_add(m, &quiet, &eye, e));
    if (!frame) return VR_OK;
    if (m->captions == VR_CAPTIONS_ORIGINAL) VR_TRY(original_event(m, frame->seconds, event, e));
    if (m->captions == VR_CAPTIONS_SCENES) VR_TRY(scene_event(m, frame->seconds, event, e));
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
    const int T = picked_count(s, shot ? shot->n : KEPT);
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
