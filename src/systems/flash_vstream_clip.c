/*
 * flash_vstream_clip.c - Flash-VStream: the memory of a whole clip.
 *
 *   frames -> maps [64,D] ; the newest is the spatial memory, of the L frames before it:
 *     -> 4x4 tokens  -> k-means: 25 slots ............. temporal
 *     -> 1 token     -> attention of 25 slots ......... abstract
 *     -> maps of the frames numbered as the 3 heaviest slots ... retrieved
 *
 * Ref:  Flash-VStream-LLaVA vstream_arch.py:214-277, compress_functions.py:130-169, 263-277.
 * Trap: a key is the frame with a slot's number, not the slot: retrieved frames are among the first 25, and only their maps
 *       are kept.
 * Owner: the memory of a clip is scratch of the run.
 */
#include "base/clock.h"
#include "compress/kmeans_long.h"
#include "compress/retrieve.h"
#include "compress/weight_order.h"
#include "media/frames.h"
#include "systems/flash_vstream.h"
#include "systems/flash_vstream_paper.h"

#define PAIRS_MOST 4096 /* frames; beyond, their distances of all pairs would take more than 2 * 134 MB */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Of T frames: those of the spatial memory, those before, and their slots. */
typedef struct parts {
    int n_spatial, L, n_slots;
} parts;

static parts parts_of(const vr_flash *s, int T)
{
    const int n_spatial = smaller(s->spatial_length, T), L = T - n_spatial;
    return (parts){ n_spatial, L, smaller(s->temporal_length, L) };
}

int vr_flash_clip_rows(const vr_flash *s, int T)
{
    const parts p = parts_of(s, T);
    return vr_flash_rows(s, smaller(s->abstract.N, p.L), p.n_slots, smaller(VR_MEMORY_KEYS, p.n_slots) + p.n_spatial);
}

/* What is kept of a clip while its frames go by. Backend memory but for the buffers of pictures. */
typedef struct look {
    const vr_flash *s;
    vr_run *run;
    const vr_hooks *hooks;
    int T;
    parts p;
    float *first;         /* [n_slots, map tokens, D] maps of the first frames */
    float *last;          /* [n_spatial, map tokens, D] maps of the newest */
    float *temporal;      /* [L, temporal tokens, D] */
    float *abstract;      /* [L, abstract tokens, D] */
    float *pixels, *maps; /* of a pass */
    int width, height;    /* of the video, after rotation */
    uint8_t *rgb;         /* [height,width,3] */
    vr_flash_picture picture;
    double decoding, encoding;
} look;

static void buffers_take(look *l)
{
    const vr_flash *s = l->s;
    vr_arena *scratch = l->run->scratch;
    const size_t D = (size_t)s->D, map_floats = (size_t)s->map_tokens * D, S = (size_t)vr_vit_image_size(s->vit);
    const size_t pass = (size_t)smaller(l->T, VR_FLASH_PASS);
    l->first = vr_arena_floats(scratch, (size_t)l->p.n_slots * map_floats);
    l->last = vr_arena_floats(scratch, (size_t)l->p.n_spatial * map_floats);
    l->temporal = vr_arena_floats(scratch, (size_t)l->p.L * (size_t)s->temporal_tokens * D);
    l->abstract = vr_arena_floats(scratch, (size_t)l->p.L * (size_t)s->abstract.P * D);
    l->pixels = vr_arena_floats(scratch, pass * 3 * S * S);
    l->maps = vr_arena_floats(scratch, pass * map_floats);
    l->rgb = vr_arena_alloc(l->run->host, 3 * (size_t)l->width * (size_t)l->height, 1);
    vr_flash_picture_take(s, l->run, &l->picture);
}

/* Maps of frames first .. first + n - 1, those among [from, from + n_out) to their places in out. */
static void maps_keep(look *l, int first, int n, int from, int n_out, float *out)
{
    const size_t map_floats = (size_t)l->s->map_tokens * (size_t)l->s->D;
    const int begin = first > from ? first : from, end = smaller(first + n, from + n_out);
    if (begin >= end) return;
    l->run->be->ops->copy_rows(l->run->be, out + (size_t)(begin - from) * map_floats, l->s->D,
                               l->maps + (size_t)(begin - first) * map_floats, l->s->D, (end - begin) * l->s->map_tokens,
                               l->s->D);
}

/* The maps of a pass -> what is remembered of them. */
static void pass_keep(look *l, int first, int n)
{
    const vr_flash *s = l->s;
    const int before = first >= l->p.L ? 0 : smaller(n, l->p.L - first); /* frames that the slots are made of */
    float *temporal = l->temporal + (size_t)first * (size_t)(s->temporal_tokens * s->D);
    float *abstract = l->abstract + (size_t)first * (size_t)(s->abstract.P * s->D);
    vr_run_dump(l->run, l->maps, 3, (const int64_t[3]){ n, s->map_tokens, s->D }, "compress.pool.frame");
    maps_keep(l, first, n, 0, l->p.n_slots, l->first);
    maps_keep(l, first, n, l->p.L, l->p.n_spatial, l->last);
    if (before == 0) return;
    vr_flash_pool(s, l->run, l->maps, before, s->temporal_side, temporal);
    vr_flash_pool(s, l->run, l->maps, before, s->abstract_side, abstract);
    vr_run_dump(l->run, temporal, 3, (const int64_t[3]){ before, s->temporal_tokens, s->D }, "compress.pool.long");
    vr_run_dump(l->run, abstract, 3, (const int64_t[3]){ before, s->abstract.P, s->D }, "compress.pool.turing");
}

/* frames NULL: planning, one pass is enough. */
static int frames_look(look *l, vr_frames *frames, vr_err *e)
{
    const size_t S = (size_t)vr_vit_image_size(l->s->vit);
    const int n_run = frames ? l->T : smaller(l->T, VR_FLASH_PASS);
    for (int first = 0; first < n_run; first += VR_FLASH_PASS) {
        const int n = smaller(n_run - first, VR_FLASH_PASS);
        const double start = vr_clock();
        VR_TRY(vr_hooks_check(l->hooks, e));
        for (int i = 0, index; frames && i < n; i++) {
            VR_TRY(vr_frames_next(frames, l->rgb, &index, e));
            VR_TRY(
                vr_flash_pixels(l->s, l->run, &l->picture, l->rgb, l->width, l->height, l->pixels + (size_t)i * 3 * S * S, e));
        }
        const double decoded = vr_clock();
        vr_flash_maps(l->s, l->run, l->pixels, n, l->maps);
        pass_keep(l, first, n);
        VR_TRY(vr_backend_sync(l->run->be, e));
        l->decoding += decoded - start;
        l->encoding += vr_clock() - decoded;
        if (frames) vr_hooks_progress(l->hooks, "vision", first + n, l->T);
    }
    return VR_OK;
}

/* Slots of the L frames -> km; distance [n, n] of the first n frames: of all, or, of a long clip, of those that may be
 * retrieved. */
static void frames_cluster(const look *l, vr_kmeans *km, double *distance, int n, uint64_t seed)
{
    const int L = l->p.L, K = l->p.n_slots, columns = l->s->temporal_tokens * l->s->D;
    vr_random random = { seed };
    vr_kmeans_distances(l->run, l->temporal, n, columns, distance);
    if (L > PAIRS_MOST)
        vr_kmeans_long_run(km, l->run, l->temporal, L, columns, K, &random);
    else if (l->run->be->plan)
        km->T = L, km->K = K;
    else
        vr_kmeans_run(km, distance, L, K, NULL, NULL, 0, &random);
}

/* Which of the first frames are shown whole, as published: picks [VR_MEMORY_KEYS]; returns their number. distance [n, n] of the
 * first n frames: a pick is no frame behind its key, and keys are slot numbers. */
static int frames_retrieve(const look *l, const vr_kmeans *km, const double *distance, int n_frames, int32_t *picks)
{
    const int K = l->p.n_slots, n = smaller(VR_MEMORY_KEYS, K);
    vr_arena *host = l->run->host;
    vr_dump *dump = vr_run_stages(l->run);
    const size_t mark = vr_arena_mark(host);
    int32_t *order = vr_arena_alloc(host, (size_t)K, sizeof *order);
    float *roots = vr_arena_floats(host, (size_t)n_frames * VR_MEMORY_KEYS);
    if (!l->run->be->plan) {
        vr_order_descending(km->weights, K, order);
        vr_retrieve_nearest(distance, n_frames, order, n, picks, roots);
        vr_dump_i32(dump, "compress.retrieve.order", order, 1, (const int64_t[1]){ K });
        vr_dump_f32(dump, "compress.retrieve.dist", roots, 2, (const int64_t[2]){ n_frames, n });
        vr_dump_i32(dump, "compress.retrieve.index", picks, 1, (const int64_t[1]){ n });
    }
    vr_arena_release(host, mark);
    return n;
}

/* A memory -> rows of the decoder; returns their number. */
static int rows_make(const vr_flash *s, vr_run *run, const vr_flash_memory *m, float *rows)
{
    vr_flash_piece pieces[VR_FLASH_PIECES];
    const int n_pieces = vr_flash_pieces(s, m, pieces);
    const int n = vr_flash_rows(s, m->n_abstract, m->n_temporal, m->n_picks + m->n_spatial);
    const size_t mark = vr_arena_mark(run->scratch);
    float *all = vr_arena_floats(run->scratch, (size_t)n * (size_t)s->D), *to = all;
    for (int i = 0; i < n_pieces; i++) {
        run->be->ops->copy_rows(run->be, to, s->D, pieces[i].rows, s->D, pieces[i].n_rows, s->D);
        to += (size_t)pieces[i].n_rows * (size_t)s->D;
    }
    vr_flash_project(s, run, all, n, rows);
    vr_arena_release(run->scratch, mark);
    return n;
}

/* Slots of the last run by time, and of all frames those nearest to the heaviest: labels and weights are of slots by time. */
static int paper_make(const look *l, const vr_kmeans *km, float *slots, int32_t *labels, float *weights, int32_t *picks)
{
    const vr_flash *s = l->s;
    const int L = l->p.L, K = l->p.n_slots, columns = s->temporal_tokens * s->D;
    vr_run *run = l->run;
    const size_t mark = vr_arena_mark(run->host);
    int32_t *order = vr_arena_alloc(run->host, (size_t)K, sizeof *order),
            *rank = vr_arena_alloc(run->host, (size_t)K, sizeof *rank);
    double *times = vr_arena_alloc(run->host, (size_t)(L + K), sizeof *times); /* of frames, then of slots */
    for (int i = 0; i < L && !run->be->plan; i++) times[i] = i;
    if (!run->be->plan) {
        vr_flash_slots_by_time(km, NULL, times, order, weights, times + L);
        for (int k = 0; k < K; k++) rank[order[k]] = k;
        for (int i = 0; i < L; i++) labels[i] = rank[labels[i]];
    }
    vr_kmeans_centroids(run, km, order, l->temporal, columns, slots);
    const int n = vr_flash_nearest(run, l->temporal, L, columns, slots, weights, K, picks);
    vr_arena_release(run->host, mark);
    return smaller(n, K);
}

/* Looks again at the frames that were picked of all: their maps -> l->first, one after the other. */
static int picks_look(look *l, vr_source *source, const vr_view *view, const int32_t *picks, int n, vr_err *e)
{
    vr_run run = *l->run;
    run.dump = NULL;
    for (int j = 0, index; j < n; j++) {
        vr_frames *frames = NULL;
        if (!run.be->plan)
            VR_TRY(vr_frames_open(&frames, source, &view->frame_indices[picks[j]], 1, l->width, l->height,
                                  VR_RESIZE_PIL_BICUBIC, &l->hooks->log, e));
        int rc = frames ? vr_frames_next(frames, l->rgb, &index, e) : VR_OK;
        vr_frames_free(frames);
        if (rc == VR_OK && !run.be->plan)
            rc = vr_flash_pixels(l->s, &run, &l->picture, l->rgb, l->width, l->height, l->pixels, e);
        VR_TRY(rc);
        vr_flash_maps(l->s, &run, l->pixels, 1, l->first + (size_t)j * (size_t)l->s->map_tokens * (size_t)l->s->D);
    }
    return VR_OK;
}

/* Slots, abstract memory and picks of the L frames before the spatial memory -> m and story, in memory of the run. */
static void memory_make(look *l, const vr_view *view, vr_flash_memory *m, vr_flash_story *story, int32_t *picks)
{
    const vr_flash *s = l->s;
    const int L = l->p.L, K = l->p.n_slots, columns = s->temporal_tokens * s->D;
    vr_run *run = l->run;
    const int n_known = L > PAIRS_MOST ? K : L;
    vr_kmeans km;
    float *slots = vr_arena_floats(run->scratch, (size_t)K * (size_t)columns);
    float *abstract = vr_arena_floats(run->scratch, (size_t)s->abstract.N * (size_t)(s->abstract.P * s->D));
    float *weights = vr_arena_floats(run->host, (size_t)K);
    int32_t *labels = vr_arena_alloc(run->host, (size_t)L, sizeof *labels);
    double *distance = vr_arena_alloc(run->host, (size_t)n_known * (size_t)n_known, sizeof *distance);
    vr_kmeans_alloc(&km, run->host, L, K, run->dump != NULL);
    frames_cluster(l, &km, distance, n_known, view->seed);
    for (int i = 0; i < L && !run->be->plan; i++)
        labels[i] = km.n_rounds > 0 ? km.labels[(size_t)(km.n_rounds - 1) * (size_t)L + (size_t)i] : i;
    vr_kmeans_dump(run, &km, "compress.kmeans");
    if (view->memory == VR_MEMORY_PAPER) {
        m->n_picks = paper_make(l, &km, slots, labels, weights, picks);
    } else {
        vr_kmeans_centroids(run, &km, NULL, l->temporal, columns, slots);
        m->n_picks = frames_retrieve(l, &km, distance, n_known, picks);
        for (int k = 0; k < K && !run->be->plan; k++) weights[k] = km.weights[k];
    }
    vr_run_dump(run, slots, 3, (const int64_t[3]){ K, s->temporal_tokens, s->D }, "compress.temporal");
    m->temporal = slots;
    m->n_temporal = K;
    vr_abstract_memory_append(&s->abstract, run, abstract, &m->n_abstract, l->abstract, L, "compress.abstract");
    m->abstract = abstract;
    *story = (vr_flash_story){ l->width, l->height, L, labels, weights, K, m->n_abstract, picks, m->n_picks };
}

int vr_flash_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_flash *s = state;
    vr_source_info info;
    vr_frames *frames = NULL;
    vr_source_info_get(source, &info);
    look l = { .s = s, .run = run, .hooks = hooks, .T = view->n_frames, .p = parts_of(s, view->n_frames) };
    vr_source_shown(&info, &l.width, &l.height);
    const size_t mark = vr_arena_mark(run->scratch);
    buffers_take(&l);
    if (!run->be->plan) {
        VR_TRY(vr_frames_open(&frames, source, view->frame_indices, l.T, l.width, l.height, VR_RESIZE_PIL_BICUBIC, &hooks->log,
                              e));
        if (view->every_frame)
            vr_log_print(&hooks->log, VR_LOG_WARN, "%s: has too few frames a second to choose from, all of them are looked at",
                         vr_source_path(source));
    }
    const int rc = frames_look(&l, frames, e);
    vr_frames_free(frames);
    VR_TRY(rc);
    const double start = vr_clock();
    static const int32_t in_order[VR_MEMORY_KEYS] = { 0, 1, 2 };
    int32_t picks[VR_MEMORY_KEYS] = { 0 };
    vr_flash_memory m = { .spatial = l.last, .n_spatial = l.p.n_spatial, .picks = picks, .retrieved = l.first };
    vr_flash_story story = { .width = l.width, .height = l.height };
    if (l.p.L > 0) memory_make(&l, view, &m, &story, picks);
    if (view->memory == VR_MEMORY_PAPER) {
        VR_TRY(picks_look(&l, source, view, picks, m.n_picks, e));
        m.picks = in_order;
    }
    view->n_video_rows = rows_make(s, run, &m, view->rows);
    VR_TRY(vr_backend_sync(run->be, e));
    if (!run->be->plan) vr_flash_tell(s, view, &story);
    vr_arena_release(run->scratch, mark);
    if (run->be->plan) return VR_OK;
    vr_hooks_timing(hooks, "frames", l.decoding, l.T, "frames");
    vr_hooks_timing(hooks, "vision", l.encoding, l.T, "frames");
    vr_hooks_timing(hooks, "memory", vr_clock() - start, l.T, "frames");
    return VR_OK;
}
