/*
 * flash_vstream_qwen_stream.c - Flash-VStream (Qwen): the memory of a stream, one frame at a time.
 *
 *   frame -> step: the first 2K frames in pairs, then each frame twice -> half resolution -> ViT -> bank, and behind the slots
 *         -> more than K slots: k-means with the weights that they have, K remain; times are places among the K + 1
 *         -> heaviest slots -> nearest steps of the bank -> those that are new: whole -> ViT -> merger -> rows on the shelf
 *   question: copy of slots and shelf -> slots -> merger -> rows
 *
 * Ref:  Flash-VStream-Qwen/models/vstream_qwen2vl_realtime.py:531-640.
 * Trap: times of slots stay below K + 1 for ever, those of whole steps count on; text stands behind the *number* of rows. So the
 *       published code.
 * Trap: the published bank grows without end. Here it holds VR_FLASH_QWEN_BANK steps; when it is full, every second one that is
 *       not shown whole is given up, so that what is left is spread over the whole stream.
 * Owner: the memory is scratch of the adding thread's run; a snapshot is host memory of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "compress/ordered_kmeans.h"
#include "media/frames.h"
#include "media/smart_resize.h"
#include "systems/flash_vstream_qwen.h"

enum { VR_FLASH_QWEN_BANK = 256, DEPTH = 2 };

/* The frames of a step. */
typedef struct seen {
    int64_t number[DEPTH];
    double seconds[DEPTH];
} seen;

typedef struct stream {
    const vr_flash_qwen *s;
    vr_backend *be;
    vr_random random;
    vr_flash_qwen_layout l; /* of the first frame; later ones are brought to its sides. While planning: the largest */
    bool known;
    int64_t n_frames, n_steps;
    vr_flash_qwen_patches patches;
    /* the bank, room for bank_max */
    int bank_max, n_bank;
    uint8_t *pictures; /* [n_bank, 2, height, width, 3] host */
    float *bank;       /* [n_bank, Ph, D] */
    int32_t *numbers;  /* [n_bank] steps */
    seen *frames;      /* [n_bank] */
    /* the slots */
    int n_slots;
    float *slots, *made; /* [K + 1, Ph, D], [K, Ph, D] */
    float *weights;      /* [K + 1] */
    int32_t *times;      /* [K + 1] */
    vr_ordered_kmeans km;
    /* steps that are shown whole */
    int n_whole;
    float *whole;   /* [P, D] of one */
    float *rows;    /* [spatial_length, whole_rows, Dl] the shelf */
    int32_t *shelf; /* [spatial_length] the step of each place; -1: none */
    int32_t *picks; /* [n_whole] rows of the bank */
    int32_t *order; /* [n_whole] places on the shelf */
} stream;

typedef struct snapshot {
    vr_flash_qwen_layout l;
    float *rows;            /* [n_whole, whole_rows, Dl] */
    float *slots;           /* [n_slots, Ph, D] */
    int32_t *whole, *times; /* [n_whole] steps, [n_slots] */
    seen *frames;           /* [n_whole] */
} snapshot;

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* The layout that takes most memory of all that frames may lead to; first_pixels: the most between the resizes. */
static void layout_most(const vr_flash_qwen *s, vr_flash_qwen_layout *most, int64_t *first_pixels)
{
    const int merge = vr_qwen_vit_merge(s->vit), unit = vr_qwen_vit_patch(s->vit) * merge, second = unit * s->pool;
    int64_t pixels = 0;
    *most = (vr_flash_qwen_layout){ .n_steps = 1, .n_slots = s->temporal_length, .n_whole = s->spatial_length };
    most->full = (vr_qwen_grid){ .patch = vr_qwen_vit_patch(s->vit), .merge = merge, .depth = DEPTH, .pool = 1 };
    *first_pixels = 0;
    for (int h = second; h <= VR_MAX_IMAGE_SIZE; h += unit) {
        for (int w = second; w <= VR_MAX_IMAGE_SIZE; w += unit) {
            const int64_t area = (int64_t)h * w, grown = (int64_t)(h - unit) * (w - unit);
            int height, width;
            if (area > s->pixels_max && grown >= s->pixels_min) break; /* neither is within, nor grown to the least */
            if (!vr_smart_resize(h, w, second, 0, INT64_MAX, &height, &width)) continue;
            if (area > *first_pixels) *first_pixels = area;
            if ((int64_t)height * width <= pixels) continue;
            pixels = (int64_t)height * width;
            most->full.height = height;
            most->full.width = width;
        }
    }
    most->half = most->full;
    most->half.pool = s->pool;
    most->slot_rows = vr_qwen_grid_patches(&most->half) / (merge * merge);
    most->whole_rows = vr_qwen_grid_patches(&most->full) / (merge * merge);
}

static int rows_most(const void *state)
{
    vr_flash_qwen_layout most;
    int64_t pixels;
    layout_most(state, &most, &pixels);
    return vr_flash_qwen_rows(&most);
}

static size_t row_floats(const vr_flash_qwen *s, int n)
{
    return (size_t)n * (size_t)vr_llama_config_get(s->llama)->width;
}

/* Of a file that is followed: frames at a rate to its end, not a list of so many. */
static int stream_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_flash_qwen *s = state;
    return vr_view_take_rate(view, source, options, (double)s->fps, e);
}

static void stream_free(void *memory)
{
    free(memory);
}

static int stream_open(const void *state, const vr_stream_options *options, vr_run *run, void **memory, vr_err *e)
{
    const vr_flash_qwen *s = state;
    int64_t pixels;
    stream *m = calloc(1, sizeof *m);
    *memory = m;
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a stream");
    m->s = s;
    m->be = run->be;
    m->random.state = options->seed;
    layout_most(s, &m->l, &pixels);
    const size_t K = (size_t)s->temporal_length, n_shelf = (size_t)s->spatial_length,
                 half = vr_flash_qwen_floats(s, &m->l.half);
    const int least = 2 * (s->temporal_length + s->spatial_length);
    m->bank_max = least > VR_FLASH_QWEN_BANK ? least : VR_FLASH_QWEN_BANK;
    const size_t bank = (size_t)m->bank_max;
    vr_flash_qwen_patches_take(&m->l, run, &m->patches);
    m->pictures = vr_arena_alloc(run->host, bank * DEPTH, vr_flash_qwen_picture_bytes(&m->l));
    m->bank = vr_arena_floats(run->scratch, bank * half);
    m->numbers = vr_arena_alloc(run->host, bank, sizeof *m->numbers);
    m->frames = vr_arena_alloc(run->host, bank, sizeof *m->frames);
    m->slots = vr_arena_floats(run->scratch, (K + 1) * half);
    m->made = vr_arena_floats(run->scratch, K * half);
    m->weights = vr_arena_floats(run->host, K + 1);
    m->times = vr_arena_alloc(run->host, K + 1, sizeof *m->times);
    vr_ordered_kmeans_alloc(&m->km, run->host, s->temporal_length + 1, s->temporal_length, false);
    m->whole = vr_arena_floats(run->scratch, vr_flash_qwen_floats(s, &m->l.full));
    m->rows = vr_arena_floats(run->scratch, n_shelf * row_floats(s, m->l.whole_rows));
    m->shelf = vr_arena_alloc(run->host, n_shelf, sizeof *m->shelf);
    m->picks = vr_arena_alloc(run->host, n_shelf, sizeof *m->picks);
    m->order = vr_arena_alloc(run->host, n_shelf, sizeof *m->order);
    for (size_t i = 0; !run->be->plan && i < n_shelf; i++) m->shelf[i] = -1;
    return VR_OK;
}

static size_t step_bytes(const stream *m)
{
    return DEPTH * vr_flash_qwen_picture_bytes(&m->l);
}

static void rows_copy(const stream *m, float *to, const float *from, int n)
{
    const int D = vr_qwen_vit_width(m->s->vit);
    m->be->ops->copy_rows(m->be, to, D, from, D, n * vr_qwen_grid_patches(&m->l.half), D);
}

static bool is_whole(const stream *m, int row)
{
    for (int k = 0; k < m->n_whole; k++)
        if (m->picks[k] == row) return true;
    return false;
}

/* A full bank: every second step that is not shown whole leaves. */
static void bank_thin(stream *m)
{
    const size_t half = vr_flash_qwen_floats(m->s, &m->l.half);
    int n = 0, n_passed = 0;
    if (m->n_bank < m->bank_max) return;
    for (int i = 0; i < m->n_bank; i++) {
        if (!is_whole(m, i) && n_passed++ % 2) continue;
        if (n < i) {
            rows_copy(m, m->bank + (size_t)n * half, m->bank + (size_t)i * half, 1);
            memcpy(m->pictures + (size_t)n * step_bytes(m), m->pictures + (size_t)i * step_bytes(m), step_bytes(m));
            m->numbers[n] = m->numbers[i];
            m->frames[n] = m->frames[i];
        }
        n++;
    }
    m->n_bank = n;
}

/* The frame as a picture of its step, which is the last of the bank; false in *fresh: the second one of a pair. */
static int picture_take(stream *m, vr_run *run, const vr_stream_frame *frame, bool *fresh, vr_err *e)
{
    const bool second = m->n_frames < DEPTH * (int64_t)m->s->temporal_length && m->n_frames % DEPTH == 1;
    const size_t n_bytes = vr_flash_qwen_picture_bytes(&m->l), width = (size_t)m->l.first_width;
    uint8_t *resized = vr_arena_alloc(run->host, 3 * (size_t)m->l.first_height * width, 1);
    VR_TRY(vr_resize_pil_bicubic(resized, m->l.first_width, m->l.first_height, frame->rgb, frame->width, frame->height, e));
    if (!second) {
        bank_thin(m);
        m->numbers[m->n_bank++] = (int32_t)m->n_steps++;
    }
    const int at = m->n_bank - 1;
    uint8_t *pictures = m->pictures + (size_t)at * step_bytes(m);
    VR_TRY(vr_flash_qwen_picture(&m->l, resized, pictures + (second ? n_bytes : 0), e));
    if (!second) memcpy(pictures + n_bytes, pictures, n_bytes);
    for (int i = second; i < DEPTH; i++) {
        m->frames[at].number[i] = frame->number >= 0 ? frame->number : frame->index;
        m->frames[at].seconds[i] = frame->seconds;
    }
    for (int i = 0; second && i < m->s->spatial_length; i++) /* it was shown as one frame twice */
        if (m->shelf[i] == m->numbers[at]) m->shelf[i] = -1;
    *fresh = !second;
    return VR_OK;
}

/* The last step of the bank among the slots. */
static void slots_update(stream *m, const vr_run *run, bool fresh)
{
    const vr_flash_qwen *s = m->s;
    const bool plan = run->be->plan;
    const size_t half = vr_flash_qwen_floats(s, &m->l.half);
    const int K = s->temporal_length;
    if (plan) m->n_slots = K; /* the longest way is counted */
    if (fresh) m->n_slots++;
    const int n = m->n_slots;
    rows_copy(m, m->slots + (size_t)(n - 1) * half, m->bank + (size_t)(plan ? 0 : m->n_bank - 1) * half, 1);
    if (!plan) m->weights[n - 1] = 1, m->times[n - 1] = n - 1;
    if (n <= K) return;
    vr_ordered_kmeans_rows(run, &m->km, m->slots, n, (int)half, K, m->weights, &m->random, m->made);
    rows_copy(m, m->slots, m->made, K);
    m->n_slots = K;
    if (plan) return;
    memcpy(m->weights, m->km.weights, (size_t)K * sizeof *m->weights);
    memcpy(m->times, m->km.positions, (size_t)K * sizeof *m->times);
}

/* The place of a step on the shelf; one that nothing of `picks` needs where it is not there. */
static int shelf_place(const stream *m, int32_t step)
{
    for (int i = 0; i < m->s->spatial_length; i++)
        if (m->shelf[i] == step) return i;
    for (int i = 0; i < m->s->spatial_length; i++) {
        int k = 0;
        while (k < m->n_whole && m->numbers[m->picks[k]] != m->shelf[i]) k++;
        if (k == m->n_whole) return i;
    }
    return 0; /* never: there are as many places as picks */
}

static void whole_update(stream *m, vr_run *run)
{
    const vr_flash_qwen *s = m->s;
    const bool plan = run->be->plan;
    const size_t half = vr_flash_qwen_floats(s, &m->l.half), of_step = row_floats(s, m->l.whole_rows);
    const int T = plan ? m->bank_max : m->n_bank;
    if (m->n_steps > s->spatial_length || plan) {
        m->n_whole = smaller(s->spatial_length, m->n_slots);
        vr_flash_qwen_choose(run, m->slots, m->weights, m->n_slots, m->bank, T, half, m->n_whole, m->picks);
    } else {
        m->n_whole = (int)m->n_steps;
        for (int k = 0; k < m->n_whole; k++) m->picks[k] = k;
    }
    for (int k = 0; k < (plan ? 1 : m->n_whole); k++) {
        const int32_t step = plan ? 0 : m->numbers[m->picks[k]];
        const int place = plan ? 0 : shelf_place(m, step);
        if (plan || m->shelf[place] != step) {
            const uint8_t *pictures = m->pictures + (plan ? 0 : (size_t)m->picks[k] * step_bytes(m));
            vr_flash_qwen_encode(s, run, &m->patches, &m->l.full, pictures, 1, m->whole, "");
            vr_flash_qwen_merge(s, run, m->whole, m->l.whole_rows, m->rows + (size_t)place * of_step);
        }
        if (!plan) m->shelf[place] = step, m->order[k] = place;
    }
}

static int stream_add(const void *state, void *memory, vr_run *run, const vr_stream_frame *frame, vr_stream_event *event,
                      vr_err *e)
{
    const vr_flash_qwen *s = state;
    stream *m = memory;
    vr_run quiet = *run;
    quiet.dump = NULL; /* stages are those of a question */
    bool fresh = true;
    (void)event;
    if (!frame) {
        vr_flash_qwen_layout most;
        int64_t pixels;
        layout_most(s, &most, &pixels);
        vr_arena_alloc(run->host, 3 * (size_t)pixels, 1); /* of picture_take */
    } else {
        if (!m->known) VR_TRY(vr_flash_qwen_layout_make(s, "the stream", frame->width, frame->height, DEPTH, &m->l, e));
        m->known = true;
        VR_TRY(picture_take(m, run, frame, &fresh, e));
    }
    const size_t at = frame ? (size_t)m->n_bank - 1 : 0;
    const uint8_t *pictures = m->pictures + at * step_bytes(m);
    vr_flash_qwen_encode(s, &quiet, &m->patches, &m->l.half, pictures, 1, m->bank + at * vr_flash_qwen_floats(s, &m->l.half),
                         "");
    slots_update(m, &quiet, fresh);
    whole_update(m, &quiet);
    VR_TRY(vr_backend_sync(run->be, e));
    if (frame) m->n_frames++;
    return VR_OK;
}

static void snapshot_free(void *memory)
{
    snapshot *shot = memory;
    if (!shot) return;
    free(shot->rows);
    free(shot->slots);
    free(shot->whole);
    free(shot->times);
    free(shot->frames);
    free(shot);
}

static int snapshot_open(const void *state, const void *memory, void **out, vr_err *e)
{
    const vr_flash_qwen *s = state;
    vr_flash_qwen_layout most;
    int64_t pixels;
    (void)memory;
    layout_most(s, &most, &pixels);
    const size_t n_whole = (size_t)most.n_whole, n_slots = (size_t)most.n_slots;
    snapshot *shot = calloc(1, sizeof *shot);
    *out = shot;
    if (shot) {
        shot->rows = malloc(n_whole * row_floats(s, most.whole_rows) * sizeof *shot->rows);
        shot->slots = malloc(n_slots * vr_flash_qwen_floats(s, &most.half) * sizeof *shot->slots);
        shot->whole = malloc(n_whole * sizeof *shot->whole);
        shot->times = malloc(n_slots * sizeof *shot->times);
        shot->frames = malloc(n_whole * sizeof *shot->frames);
    }
    if (shot && shot->rows && shot->slots && shot->whole && shot->times && shot->frames) return VR_OK;
    snapshot_free(shot);
    *out = NULL;
    return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a copy of the stream's memory");
}

static int snapshot_take(const void *state, const void *memory, void *out, vr_err *e)
{
    const vr_flash_qwen *s = state;
    const stream *m = memory;
    snapshot *shot = out;
    const size_t of_step = row_floats(s, m->l.whole_rows), half = vr_flash_qwen_floats(s, &m->l.half);
    (void)e;
    shot->l = m->l;
    shot->l.n_steps = (int)m->n_steps;
    shot->l.n_slots = m->n_slots;
    shot->l.n_whole = m->n_whole;
    for (int k = 0; k < m->n_whole; k++) {
        m->be->read(m->be, shot->rows + (size_t)k * of_step, m->rows + (size_t)m->order[k] * of_step,
                    of_step * sizeof *m->rows);
        shot->whole[k] = m->numbers[m->picks[k]];
        shot->frames[k] = m->frames[m->picks[k]];
    }
    m->be->read(m->be, shot->slots, m->slots, (size_t)m->n_slots * half * sizeof *m->slots);
    memcpy(shot->times, m->times, (size_t)m->n_slots * sizeof *m->times);
    return VR_OK;
}

static int by_number(const void *a, const void *b)
{
    const seen *x = a, *y = b;
    return (x->number[0] > y->number[0]) - (x->number[0] < y->number[0]);
}

/* The frames of the steps shown whole, each once, in order of time. */
static int frames_tell(const snapshot *shot, vr_view *view, vr_err *e)
{
    const size_t n = (size_t)shot->l.n_whole;
    seen *in_order = malloc(n * sizeof *in_order);
    if (!in_order) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a list of frames");
    memcpy(in_order, shot->frames, n * sizeof *in_order);
    qsort(in_order, n, sizeof *in_order, by_number);
    int rc = vr_view_take(view, (int)n * DEPTH, e);
    view->n_frames = 0;
    for (size_t k = 0; rc == VR_OK && k < n; k++)
        for (int i = 0; i < DEPTH; i++) {
            const int at = view->n_frames;
            if (at > 0 && view->frame_indices[at - 1] >= in_order[k].number[i]) continue;
            view->frame_indices[at] = in_order[k].number[i];
            view->frame_seconds[at] = in_order[k].seconds[i];
            view->frame_facts[at] = (vr_frame_fact){ .kept = true, .high = true, .n_tokens = shot->l.whole_rows };
            view->n_frames++;
        }
    free(in_order);
    view->facts = (vr_facts){ .regime = "memory",
                              .n_tokens_before = (int64_t)shot->l.n_steps * shot->l.whole_rows,
                              .n_tokens = view->n_video_rows,
                              .memory = { .n_slots = shot->l.n_slots } };
    vr_view_step(view, "temporal", shot->l.n_steps, shot->l.n_slots, "steps");
    vr_view_step(view, "retrieve", shot->l.n_steps, shot->l.n_whole, "steps");
    return rc;
}

static int stream_show(const void *state, const void *memory, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_flash_qwen *s = state;
    const snapshot *shot = memory;
    vr_flash_qwen_layout most;
    int64_t pixels;
    (void)hooks;
    layout_most(s, &most, &pixels);
    const vr_flash_qwen_layout *l = shot ? &shot->l : &most;
    const size_t mark = vr_arena_mark(run->scratch), half = vr_flash_qwen_floats(s, &l->half);
    const size_t n_whole = (size_t)l->n_whole * row_floats(s, l->whole_rows);
    const int n = vr_flash_qwen_rows(l), group = s->pool * s->pool;
    float *slots = vr_arena_floats(run->scratch, (size_t)l->n_slots * half);
    vr_run quiet = *run;
    quiet.dump = NULL;
    if (shot) {
        run->be->write(run->be, view->rows, shot->rows, n_whole * sizeof *view->rows);
        run->be->write(run->be, slots, shot->slots, (size_t)l->n_slots * half * sizeof *slots);
    }
    for (int i = 0; i < (shot ? l->n_slots : smaller(group, l->n_slots)); i += group)
        vr_flash_qwen_merge(s, &quiet, slots + (size_t)i * half, smaller(group, l->n_slots - i) * l->slot_rows,
                            view->rows + n_whole + row_floats(s, i * l->slot_rows));
    vr_run_dump(run, view->rows, 2, (const int64_t[2]){ n, vr_llama_config_get(s->llama)->width }, "project.video");
    view->n_video_rows = n;
    vr_arena_release(run->scratch, mark);
    if (!shot) return VR_OK;
    vr_dump_i32(run->dump, "compress.dam.index", shot->whole, 1, (const int64_t[1]){ l->n_whole });
    VR_TRY(vr_flash_qwen_places(l, &(vr_flash_qwen_memory){ .whole = shot->whole, .slot_times = shot->times }, view, e));
    view->n_positions = n;
    free(view->positions_plain); /* text does not know of the memory's grid: there is no such stage */
    view->positions_plain = NULL;
    VR_TRY(frames_tell(shot, view, e));
    return vr_backend_sync(run->be, e);
}

const vr_stream_system vr_flash_qwen_stream = {
    .open = stream_open,
    .free = stream_free,
    .add = stream_add,
    .snapshot_open = snapshot_open,
    .snapshot_free = snapshot_free,
    .snapshot_take = snapshot_take,
    .show = stream_show,
    .rows_most = rows_most,
    .plan = stream_plan,
};
