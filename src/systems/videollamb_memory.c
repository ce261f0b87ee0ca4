/*
 * videollamb_memory.c - VideoLLaMB: class rows and pooled rows become scenes, and these the rows that the decoder reads.
 *
 *   class rows -> similarity -> depth -> ends of scenes;  of each at most scene_frames frames, spread evenly
 *   memory = initial
 *   scene:  [memory ; rows (+ position of the scene)] -> bridge -> [memory' ; rows'];  cache += memory' or rows'
 *           memory = retrieve(memory', cache)
 *   decoder: gelu(project(rows' of the last scene)), or of the memories of all scenes
 *   a picture, or at most 3 frames where memories are shown: each frame alone, from the initial memory, with a cache of its own
 *
 * Ref:  rmt_r_transformer_projector.py:290-403 (A); MM-NIAVH's copy of it (B).
 * Trap: A caches memories from before their retrieval and carries on those from after it.
 */
#include "systems/videollamb.h"

#include <stdio.h>

#include "media/linspace.h"

#define FEW 3 /* frames that are no scenes, where memories are shown */

typedef struct show {
    const vr_videollamb *s;
    vr_run *run;
    vr_view *view;
    const vr_videollamb_seen *seen;
    int M;
    float *x;       /* [M + frames of a scene * P, D] */
    float *memory;  /* [M, D] that the next scene begins with */
    float *outputs; /* [M * scenes, D] memories that are shown */
    vr_memory_cache cache;
    int64_t *picked; /* [frames of a scene] host */
    int n_rows;      /* in view->rows so far */
} show;

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static bool alone(const vr_videollamb *s, int T, bool image)
{
    return image || (s->shows_memory && T <= FEW);
}

static int scenes_most(const vr_videollamb *s, int T)
{
    return smaller(T, (s->rule.n_cuts > 0 ? s->rule.n_cuts : s->rule.most) + 1);
}

int vr_videollamb_rows_most(const vr_videollamb *s, int T, bool image)
{
    const int M = vr_memory_bridge_rows(s->bridge), scenes = scenes_most(s, T);
    if (alone(s, T, image)) return T * (s->shows_memory ? M : s->P);
    if (s->shows_memory) return scenes * M;
    return smaller(s->rule.n_cuts > 0 ? T - scenes + 1 : T, s->scene_frames) * s->P; /* every scene has a frame */
}

/* x [n, D] -> n more rows of the decoder */
static void project(show *w, const float *x, int n)
{
    const vr_matrix *m = &w->s->project.w;
    float *out = w->view->rows + (size_t)w->n_rows * (size_t)m->rows;
    w->run->be->ops->linear(w->run->be, out, x, m, w->s->project.b, VR_ACT_GELU, NULL, n);
    vr_run_dump(w->run, out, 2, (const int64_t[2]){ n, m->rows }, "project.video");
    w->n_rows += n;
}

/* The stage of a scene whose rows are not shown: the original computes them all the same. */
static void project_unseen(show *w, const float *x, int n, const char *name)
{
    const vr_matrix *m = &w->s->project.w;
    if (!w->run->dump) return;
    const size_t mark = vr_arena_mark(w->run->scratch);
    float *out = vr_arena_floats(w->run->scratch, (size_t)n * (size_t)m->rows);
    w->run->be->ops->linear(w->run->be, out, x, m, w->s->project.b, VR_ACT_GELU, NULL, n);
    vr_run_dump(w->run, out, 2, (const int64_t[2]){ n, m->rows }, "%s.tokens", name);
    vr_arena_release(w->run->scratch, mark);
}

static void copy(const show *w, float *to, const float *from, int n)
{
    w->run->be->ops->copy_rows(w->run->be, to, w->s->D, from, w->s->D, n, w->s->D);
}

static float *patches_of(const show *w)
{
    return w->x + (size_t)w->M * (size_t)w->s->D;
}

/* The frames w->picked [n] behind the memory through the bridge; the new memory to w->memory. */
static void scene_read(show *w, const float *memory, int n, const float *position, const char *name)
{
    const vr_videollamb *s = w->s;
    const int R = n * s->P;
    float *patches = patches_of(w);
    copy(w, w->x, memory, w->M);
    for (int i = 0; i < n; i++) {
        const size_t frame = w->run->be->plan ? 0 : (size_t)w->picked[i];
        copy(w, patches + (size_t)(i * s->P) * (size_t)s->D, w->seen->pooled + frame * (size_t)s->P * (size_t)s->D, s->P);
    }
    if (position) w->run->be->ops->add_rows(w->run->be, patches, patches, position, R, s->D, 1, 1);
    vr_memory_bridge_read(s->bridge, w->run, w->x, R, name);
    copy(w, w->memory, w->x, w->M);
}

static void cache_append(show *w, int n)
{
    const bool patches = w->s->caches_patches;
    vr_memory_cache_append(w->s->bridge, w->run, &w->cache, patches ? patches_of(w) : w->memory, patches ? n * w->s->P : w->M);
}

/* One scene of n frames. */
static void scene_show(show *w, int scene, int n, bool last)
{
    const vr_videollamb *s = w->s;
    char name[32];
    snprintf(name, sizeof name, "compress.scene.%02d", scene);
    const float *position = s->scene_position ? s->scene_position + (size_t)scene * (size_t)s->D : NULL;
    scene_read(w, scene == 0 ? vr_memory_bridge_initial(s->bridge) : w->memory, n, position, name);
    cache_append(w, n);
    vr_memory_bridge_retrieve(s->bridge, w->run, &w->cache, w->memory, name);
    if (s->shows_memory)
        copy(w, w->outputs + (size_t)(scene * w->M) * (size_t)s->D, w->memory, w->M);
    else if (last)
        project(w, patches_of(w), n * s->P);
    if (!s->shows_memory && (!last || w->run->be->plan)) project_unseen(w, patches_of(w), n * s->P, name);
}

/* Every frame by itself. */
static int frames_show(show *w, vr_err *e)
{
    const vr_videollamb *s = w->s;
    const int T = w->seen->T;
    const bool plan = w->run->be->plan;
    if (!plan) VR_TRY(vr_videollamb_tell_scenes(w->view, T, e));
    for (int f = 0; f < T; f++) {
        char name[32];
        snprintf(name, sizeof name, "compress.scene.%02d", f);
        if (!plan) w->picked[0] = f;
        scene_read(w, vr_memory_bridge_initial(s->bridge), 1, NULL, name);
        if (s->shows_memory) {
            w->cache.n = 0;
            cache_append(w, 1);
            vr_memory_bridge_retrieve(s->bridge, w->run, &w->cache, w->memory, name);
            copy(w, w->outputs + (size_t)(f * w->M) * (size_t)s->D, w->memory, w->M);
        } else {
            project(w, patches_of(w), s->P);
        }
        if (!plan) vr_videollamb_tell_scene(s, w->view, f, f, f, 0, w->picked, 1, true);
    }
    if (s->shows_memory) project(w, w->outputs, T * w->M);
    return VR_OK;
}

/* Ends of the scenes; while planning one scene. depth [T - 1]. */
static int scenes_find(const show *w, float *depth, int32_t *ends)
{
    const vr_videollamb *s = w->s;
    const int T = w->seen->T;
    vr_dump *dump = vr_run_stages(w->run);
    const size_t mark = vr_arena_mark(w->run->host);
    float *similarity = vr_arena_floats(w->run->host, (size_t)T);
    int n = 1;
    vr_scene_similarity(w->run, w->seen->classes, T, s->D, similarity);
    if (!w->run->be->plan) {
        vr_scene_depth(similarity, T - 1, depth);
        n = vr_scene_ends(depth, T, &s->rule, ends);
        vr_dump_f32(dump, "compress.similarity", similarity, 1, (const int64_t[1]){ T - 1 });
        vr_dump_f32(dump, "compress.depth", depth, 1, (const int64_t[1]){ T - 1 });
        vr_dump_i32(dump, "compress.boundaries", ends, 1, (const int64_t[1]){ n });
    }
    vr_arena_release(w->run->host, mark);
    return n;
}

/* The frames first .. last of a scene that are read -> w->picked; returns their number. */
static int frames_pick(const show *w, int scene, int first, int last)
{
    const int L = last - first + 1, n = smaller(L, w->s->scene_frames);
    int32_t *steps = vr_arena_alloc(w->run->host, (size_t)n, sizeof *steps);
    if (w->run->be->plan) return n;
    char name[48];
    vr_linspace(w->picked, L, n);
    for (int i = 0; i < n; i++) steps[i] = (int32_t)(w->picked[i] += first);
    snprintf(name, sizeof name, "compress.scene.%02d.frames", scene);
    vr_dump_i32(w->run->dump, name, steps, 1, (const int64_t[1]){ n });
    return n;
}

static int scenes_show(show *w, vr_err *e)
{
    const vr_videollamb *s = w->s;
    const int T = w->seen->T;
    const bool plan = w->run->be->plan;
    float *depth = vr_arena_floats(w->run->host, (size_t)T);
    int32_t *ends = vr_arena_alloc(w->run->host, (size_t)T, sizeof *ends);
    const int n_scenes = scenes_find(w, depth, ends);
    if (!plan) VR_TRY(vr_videollamb_tell_scenes(w->view, n_scenes, e));
    for (int i = 0, first = 0; i < n_scenes; i++) {
        const int end = plan ? T - 1 : ends[i];
        const size_t mark = vr_arena_mark(w->run->host);
        const int n = frames_pick(w, i, first, end);
        const bool last = i == n_scenes - 1;
        scene_show(w, i, n, last);
        if (!plan)
            vr_videollamb_tell_scene(s, w->view, i, first, end, last ? 0 : depth[end], w->picked, n, s->shows_memory || last);
        vr_arena_release(w->run->host, mark);
        first = end + 1;
    }
    if (s->shows_memory) project(w, w->outputs, n_scenes * w->M);
    return VR_OK;
}

int vr_videollamb_show(const vr_videollamb *s, vr_run *run, const vr_videollamb_seen *seen, vr_view *view, vr_err *e)
{
    const int T = seen->T, n = smaller(T, s->scene_frames), scenes = alone(s, T, view->image) ? T : scenes_most(s, T);
    const size_t mark = vr_arena_mark(run->scratch), D = (size_t)s->D;
    show w = { .s = s, .run = run, .view = view, .seen = seen, .M = vr_memory_bridge_rows(s->bridge) };
    w.x = vr_arena_floats(run->scratch, (size_t)(w.M + n * s->P) * D);
    w.memory = vr_arena_floats(run->scratch, (size_t)w.M * D);
    w.outputs = vr_arena_floats(run->scratch, (size_t)(s->shows_memory ? scenes * w.M : 0) * D);
    w.picked = vr_arena_alloc(run->host, (size_t)n, sizeof *w.picked);
    vr_memory_cache_open(s->bridge, run, &w.cache,
                         s->caches_patches ? smaller(T, scenes * s->scene_frames) * s->P : scenes * w.M);
    VR_TRY(alone(s, T, view->image) ? frames_show(&w, e) : scenes_show(&w, e));
    if (!run->be->plan) {
        view->n_video_rows = w.n_rows;
        vr_videollamb_tell_end(s, view, seen);
    }
    vr_arena_release(run->scratch, mark);
    return vr_backend_sync(run->be, e);
}
