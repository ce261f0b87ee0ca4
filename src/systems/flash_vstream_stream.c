/*
 * flash_vstream_stream.c - Flash-VStream: the memory of a stream, one frame at a time.
 *
 *   frame -> map [64,D] = spatial memory, and into the bank while it has room
 *         -> 4x4 tokens -> behind the temporal memory; 26 rows become 25 (compress/temporal_memory.c)
 *         -> 1 token    -> behind the abstract memory; then its slots move towards it
 *   retrieved: maps of the bank numbered as the rows nearest to the rows numbered as the 3 heaviest slots
 *
 * Ref:  Flash-VStream-LLaVA vstream_arch.py:611-698 (embed_video_streaming).
 * Trap: the newest frame is in all four memories, unlike in a clip's; the first frame retrieves nothing.
 *       A row's number is taken for a frame's, and a pick is no row behind its key, which has a slot's number: below 25 for
 *       ever. So the bank keeps 25 maps, where the original keeps all.
 * Owner: the memory is scratch of the adding thread's run; a snapshot is host memory of its own.
 */
#include "systems/flash_vstream.h"

#include <stdlib.h>
#include <string.h>

#include "systems/flash_vstream_paper.h"

typedef struct stream {
    const vr_flash *s;
    vr_backend *be; /* of the thread that adds */
    vr_random random;
    bool by_paper; /* paper is used, else temporal and bank are */
    vr_flash_paper paper;
    vr_temporal_memory temporal;
    float *bank;     /* [n_bank, map tokens, D] maps of the first frames */
    float *map;      /* [map tokens, D] of the newest */
    float *abstract; /* [N, abstract tokens, D] */
    int n_bank, n_abstract;
    int64_t n_frames;
    int width, height;             /* of the newest frame */
    vr_flash_seen newest, *banked; /* [n_bank] owned: of the maps */
} stream;

typedef struct snapshot {
    float *rows; /* [rows_most, D] owned */
    int n_rows;
    int width, height, n_slots, n_abstract;
    int64_t n_frames;
    int n_seen;
    vr_flash_seen frames[VR_MEMORY_KEYS + 1]; /* shown whole: retrieved, then the newest */
} snapshot;

static size_t map_floats(const vr_flash *s)
{
    return (size_t)s->map_tokens * (size_t)s->D;
}

static void stream_free(void *memory)
{
    stream *m = memory;
    if (!m) return;
    free(m->banked);
    free(m);
}

static int stream_open(const void *state, const vr_stream_options *options, vr_run *run, void **memory, vr_err *e)
{
    const vr_flash *s = state;
    *memory = NULL;
    stream *m = calloc(1, sizeof *m);
    vr_flash_seen *banked = calloc((size_t)s->temporal_length, sizeof *banked);
    if (!m || !banked) {
        free(m);
        free(banked);
        return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a stream");
    }
    m->s = s;
    m->be = run->be;
    m->random.state = options->seed;
    m->by_paper = options->memory == VR_MEMORY_PAPER;
    m->banked = banked;
    m->map = vr_arena_floats(run->scratch, map_floats(s));
    m->abstract = vr_arena_floats(run->scratch, (size_t)s->abstract.N * (size_t)(s->abstract.P * s->D));
    if (m->by_paper) {
        vr_flash_paper_take(&m->paper, run, s->temporal_length, s->temporal_tokens * s->D, s->map_tokens * s->D);
    } else {
        vr_temporal_memory_alloc(&m->temporal, run, s->temporal_length, 1, s->temporal_tokens * s->D);
        m->n_bank = s->temporal_length;
        m->bank = vr_arena_floats(run->scratch, (size_t)m->n_bank * map_floats(s));
    }
    *memory = m;
    return VR_OK;
}

/* The memory as it is now. */
static vr_flash_memory memory_of(const stream *m)
{
    vr_flash_memory now = { .abstract = m->abstract, .n_abstract = m->n_abstract, .spatial = m->map, .n_spatial = 1 };
    now.temporal = m->by_paper ? m->paper.rows : vr_temporal_memory_rows(&m->temporal, m->be);
    now.n_temporal = m->by_paper ? m->paper.n : m->temporal.n;
    now.retrieved = m->by_paper ? m->paper.bank : m->bank;
    now.n_picks = m->by_paper ? m->paper.n_picks : m->temporal.n_keys;
    now.picks = m->by_paper ? m->paper.picks : m->temporal.picks;
    return now;
}

/* Three numbers of an update, -1 for those that it has not. */
static void keys_dump(vr_dump *dump, const char *name, const int32_t *keys, int n)
{
    int32_t padded[VR_MEMORY_KEYS];
    for (int i = 0; i < VR_MEMORY_KEYS; i++) padded[i] = i < n ? keys[i] : -1;
    vr_dump_i32(dump, name, padded, 2, (const int64_t[2]){ 1, VR_MEMORY_KEYS });
}

/* What an update drew and chose, as published. */
static void update_dump(const stream *m, vr_dump *dump)
{
    const vr_kmeans *km = &m->temporal.km;
    if (m->temporal.n_keys == 0) return;
    if (km->n_draws > 0) {
        vr_dump_i32(dump, "compress.stream.draws", km->draws, 2, (const int64_t[2]){ 1, km->T });
        vr_dump_f32(dump, "compress.stream.weights", km->weights, 2, (const int64_t[2]){ 1, km->K });
    }
    keys_dump(dump, "compress.stream.order", m->temporal.order, m->temporal.n_keys);
    keys_dump(dump, "compress.stream.index", m->temporal.picks, m->temporal.n_keys);
}

static void memory_dump(const stream *m, const vr_run *run)
{
    const vr_flash *s = m->s;
    const int number = (int)m->n_frames;
    const int64_t map[3] = { 1, s->map_tokens, s->D };
    if (!vr_run_stages(run)) return;
    const vr_flash_memory now = memory_of(m);
    update_dump(m, run->dump);
    for (int i = 0; i < now.n_picks; i++)
        vr_run_dump(run, now.retrieved + (size_t)now.picks[i] * map_floats(s), 3, map, "compress.stream.spatial.%03d", number);
    vr_run_dump(run, m->map, 3, map, "compress.stream.spatial.%03d", number);
    vr_run_dump(run, now.temporal, 3, (const int64_t[3]){ now.n_temporal, s->temporal_tokens, s->D },
                "compress.stream.temporal.%03d", number);
    vr_run_dump(run, m->abstract, 3, (const int64_t[3]){ m->n_abstract, s->abstract.P, s->D }, "compress.stream.abstract.%03d",
                number);
}

/* m->map is the newest frame's. */
static void memory_add(stream *m, vr_run *run)
{
    const vr_flash *s = m->s;
    float *temporal = vr_arena_floats(run->scratch, (size_t)(s->temporal_tokens * s->D));
    float *abstract = vr_arena_floats(run->scratch, (size_t)(s->abstract.P * s->D));
    if (m->n_frames < m->n_bank)
        run->be->ops->copy_rows(run->be, m->bank + (size_t)m->n_frames * map_floats(s), s->D, m->map, s->D, s->map_tokens,
                                s->D);
    if (run->be->plan) m->n_abstract = s->abstract.N; /* the longest way is counted */
    vr_flash_pool(s, run, m->map, 1, s->temporal_side, temporal);
    vr_flash_pool(s, run, m->map, 1, s->abstract_side, abstract);
    if (m->by_paper)
        vr_flash_paper_add(&m->paper, run, temporal, m->map, &m->newest, &m->random);
    else
        vr_temporal_memory_update(&m->temporal, run, temporal, 1, &m->random);
    vr_abstract_memory_append(&s->abstract, run, m->abstract, &m->n_abstract, abstract, 1, NULL);
}

static int stream_add(const void *state, void *memory, vr_run *run, const vr_stream_frame *frame, vr_stream_event *event,
                      vr_err *e)
{
    const vr_flash *s = state;
    stream *m = memory;
    const size_t S = (size_t)vr_vit_image_size(s->vit);
    vr_flash_picture picture;
    float *pixels = vr_arena_floats(run->scratch, 3 * S * S);
    (void)event;
    vr_flash_picture_take(s, run, &picture);
    if (frame) VR_TRY(vr_flash_pixels(s, run, &picture, frame->rgb, frame->width, frame->height, pixels, e));
    vr_flash_maps(s, run, pixels, 1, m->map);
    if (frame) m->width = frame->width, m->height = frame->height;
    if (frame) m->newest = (vr_flash_seen){ frame->number >= 0 ? frame->number : frame->index, frame->seconds };
    memory_add(m, run);
    VR_TRY(vr_backend_sync(run->be, e));
    if (!frame) return VR_OK;
    if (m->n_frames < m->n_bank) m->banked[m->n_frames] = m->newest;
    m->n_frames++;
    memory_dump(m, run);
    return VR_OK;
}

static int rows_most(const void *state)
{
    const vr_flash *s = state;
    return vr_flash_rows(s, s->abstract.N, s->temporal_length, VR_MEMORY_KEYS + 1);
}

static void snapshot_free(void *memory)
{
    snapshot *shot = memory;
    if (!shot) return;
    free(shot->rows);
    free(shot);
}

static int snapshot_open(const void *state, const void *memory, void **out, vr_err *e)
{
    const vr_flash *s = state;
    (void)memory;
    snapshot *shot = calloc(1, sizeof *shot);
    *out = shot;
    if (shot) shot->rows = calloc((size_t)rows_most(s) * (size_t)s->D, sizeof *shot->rows);
    if (shot && shot->rows) return VR_OK;
    snapshot_free(shot);
    *out = NULL;
    return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a copy of the stream's memory");
}

static int snapshot_take(const void *state, const void *memory, void *out, vr_err *e)
{
    const vr_flash *s = state;
    const stream *m = memory;
    snapshot *shot = out;
    vr_flash_piece pieces[VR_FLASH_PIECES];
    const vr_flash_memory now = memory_of(m);
    const int n_pieces = vr_flash_pieces(s, &now, pieces);
    (void)e;
    shot->n_rows = 0;
    for (int i = 0; i < n_pieces; i++) {
        m->be->read(m->be, shot->rows + (size_t)shot->n_rows * (size_t)s->D, pieces[i].rows,
                    (size_t)pieces[i].n_rows * (size_t)s->D * sizeof *shot->rows);
        shot->n_rows += pieces[i].n_rows;
    }
    shot->width = m->width;
    shot->height = m->height;
    shot->n_frames = m->n_frames;
    shot->n_slots = now.n_temporal;
    shot->n_abstract = now.n_abstract;
    const vr_flash_seen *const banked = m->by_paper ? m->paper.bank_seen : m->banked;
    shot->n_seen = 0;
    for (int i = 0; i < now.n_picks; i++) shot->frames[shot->n_seen++] = banked[now.picks[i]];
    shot->frames[shot->n_seen++] = m->newest;
    return VR_OK;
}

/* The frames shown whole, each once, in order of time. */
static int frames_tell(const vr_flash *s, const snapshot *shot, vr_view *view, vr_err *e)
{
    vr_flash_seen in_order[VR_MEMORY_KEYS + 1];
    int32_t picks[VR_MEMORY_KEYS] = { 0 };
    int n = 0;
    for (int i = 0; i < shot->n_seen; i++) {
        int at = n;
        while (at > 0 && in_order[at - 1].number > shot->frames[i].number) at--;
        if (at > 0 && in_order[at - 1].number == shot->frames[i].number) continue;
        memmove(in_order + at + 1, in_order + at, (size_t)(n - at) * sizeof *in_order);
        in_order[at] = shot->frames[i];
        n++;
    }
    VR_TRY(vr_view_take(view, n, e));
    for (int i = 0; i < n; i++) {
        view->frame_indices[i] = in_order[i].number;
        view->frame_seconds[i] = in_order[i].seconds;
        for (int k = 0; k + 1 < shot->n_seen; k++)
            if (shot->frames[k].number == in_order[i].number) picks[k] = i;
    }
    vr_flash_tell_stream(s, view,
                         &(vr_flash_stream_story){ .width = shot->width,
                                                   .height = shot->height,
                                                   .n_frames = shot->n_frames,
                                                   .n_slots = shot->n_slots,
                                                   .n_abstract = shot->n_abstract,
                                                   .picks = picks,
                                                   .n_picks = shot->n_seen - 1 });
    return VR_OK;
}

static int stream_show(const void *state, const void *memory, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_flash *s = state;
    const snapshot *shot = memory;
    const int n = shot ? shot->n_rows : rows_most(s);
    const size_t mark = vr_arena_mark(run->scratch), n_floats = (size_t)n * (size_t)s->D;
    float *all = vr_arena_floats(run->scratch, n_floats);
    (void)hooks;
    if (shot) run->be->write(run->be, all, shot->rows, n_floats * sizeof *all);
    vr_flash_project(s, run, all, n, view->rows);
    view->n_video_rows = n;
    vr_arena_release(run->scratch, mark);
    if (shot) VR_TRY(frames_tell(s, shot, view, e));
    return vr_backend_sync(run->be, e);
}

const vr_stream_system vr_flash_stream = {
    .open = stream_open,
    .free = stream_free,
    .add = stream_add,
    .snapshot_open = snapshot_open,
    .snapshot_free = snapshot_free,
    .snapshot_take = snapshot_take,
    .show = stream_show,
    .rows_most = rows_most,
};
