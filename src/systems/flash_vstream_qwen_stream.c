/*
 * flash_vstream_qwen_stream.c - Flash-VStream (Qwen): the memory of a stream, one frame at a time.
 *
 *   frame -> step: the first 2K frames in pairs, then each frame twice -> half resolution -> ViT -> bank, and behind the slots
 *         -> more than K slots: k-means with the weights that they have, K remain; times are places among the K + 1
 *         -> heaviest slots -> nearest steps of the bank -> those that are new: whole -> ViT -> merger -> rows on the shelf
 *
 * Ref:  Flash-VStream-Qwen/models/vstream_qwen2vl_realtime.py:531-640.
 * Trap: times of slots stay below K + 1 for ever, those of whole steps count on. So the published code.
 * Trap: the published bank grows without end. Here it holds BANK steps; when it is full, every second one that is not shown
 *       whole is given up, so that what is left is spread over the whole stream.
 * Owner: the memory is scratch of the adding thread's run.
 */
#include <stdlib.h>
#include <string.h>

#include "media/frames.h"
#include "systems/flash_vstream_qwen_stream.h"

enum { BANK = 256 }; /* steps: more than four minutes, 0.6 GB at the released width */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static void stream_free(void *memory)
{
    free(memory);
}

static int stream_open(const void *state, const vr_stream_options *options, vr_run *run, void **memory, vr_err *e)
{
    const vr_flash_qwen *s = state;
    int64_t pixels;
    vr_flash_qwen_stream_memory *m = calloc(1, sizeof *m);
    *memory = m;
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a stream");
    m->s = s;
    m->be = run->be;
    m->random.state = options->seed;
    vr_flash_qwen_layout_most(s, &m->l, &pixels);
    const size_t K = (size_t)s->temporal_length, n_shelf = (size_t)s->spatial_length,
                 half = vr_flash_qwen_floats(s, &m->l.half);
    const int least = 2 * (s->temporal_length + s->spatial_length);
    m->bank_max = least > BANK ? least : BANK;
    const size_t bank = (size_t)m->bank_max;
    vr_flash_qwen_patches_take(&m->l, run, &m->patches);
    m->pictures = vr_arena_alloc(run->host, bank * VR_FLASH_QWEN_DEPTH, vr_flash_qwen_picture_bytes(&m->l));
    m->bank = vr_arena_floats(run->scratch, bank * half);
    m->numbers = vr_arena_alloc(run->host, bank, sizeof *m->numbers);
    m->frames = vr_arena_alloc(run->host, bank, sizeof *m->frames);
    m->slots = vr_arena_floats(run->scratch, (K + 1) * half);
    m->made = vr_arena_floats(run->scratch, K * half);
    m->weights = vr_arena_floats(run->host, K + 1);
    m->times = vr_arena_alloc(run->host, K + 1, sizeof *m->times);
    vr_ordered_kmeans_alloc(&m->km, run->host, s->temporal_length + 1, s->temporal_length, false);
    m->whole = vr_arena_floats(run->scratch, vr_flash_qwen_floats(s, &m->l.full));
    m->rows = vr_arena_floats(run->scratch, n_shelf * vr_flash_qwen_row_floats(s, m->l.whole_rows));
    m->shelf = vr_arena_alloc(run->host, n_shelf, sizeof *m->shelf);
    m->picks = vr_arena_alloc(run->host, n_shelf, sizeof *m->picks);
    m->order = vr_arena_alloc(run->host, n_shelf, sizeof *m->order);
    for (size_t i = 0; !run->be->plan && i < n_shelf; i++) m->shelf[i] = -1;
    return VR_OK;
}

static size_t step_bytes(const vr_flash_qwen_stream_memory *m)
{
    return VR_FLASH_QWEN_DEPTH * vr_flash_qwen_picture_bytes(&m->l);
}

static void rows_copy(const vr_flash_qwen_stream_memory *m, float *to, const float *from, int n)
{
    const int D = vr_qwen_vit_width(m->s->vit);
    m->be->ops->copy_rows(m->be, to, D, from, D, n * vr_qwen_grid_patches(&m->l.half), D);
}

static bool is_whole(const vr_flash_qwen_stream_memory *m, int row)
{
    for (int k = 0; k < m->n_whole; k++)
        if (m->picks[k] == row) return true;
    return false;
}

/* A full bank: every second step that is not shown whole leaves. */
static void bank_thin(vr_flash_qwen_stream_memory *m)
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
static int picture_take(vr_flash_qwen_stream_memory *m, vr_run *run, const vr_stream_frame *frame, bool *fresh, vr_err *e)
{
    const bool second =
        m->n_frames < VR_FLASH_QWEN_DEPTH * (int64_t)m->s->temporal_length && m->n_frames % VR_FLASH_QWEN_DEPTH == 1;
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
    for (int i = second; i < VR_FLASH_QWEN_DEPTH; i++) {
        m->frames[at].number[i] = frame->number >= 0 ? frame->number : frame->index;
        m->frames[at].seconds[i] = frame->seconds;
    }
    for (int i = 0; second && i < m->s->spatial_length; i++) /* it was shown as one frame twice */
        if (m->shelf[i] == m->numbers[at]) m->shelf[i] = -1;
    *fresh = !second;
    return VR_OK;
}

/* The last step of the bank among the slots. */
static void slots_update(vr_flash_qwen_stream_memory *m, const vr_run *run, bool fresh)
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
static int shelf_place(const vr_flash_qwen_stream_memory *m, int32_t step)
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

static void whole_update(vr_flash_qwen_stream_memory *m, vr_run *run)
{
    const vr_flash_qwen *s = m->s;
    const bool plan = run->be->plan;
    const size_t half = vr_flash_qwen_floats(s, &m->l.half), of_step = vr_flash_qwen_row_floats(s, m->l.whole_rows);
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
    vr_flash_qwen_stream_memory *m = memory;
    vr_run quiet = *run;
    quiet.dump = NULL; /* stages are those of a question */
    bool fresh = true;
    (void)event;
    if (!frame) {
        vr_flash_qwen_layout most;
        int64_t pixels;
        vr_flash_qwen_layout_most(s, &most, &pixels);
        vr_arena_alloc(run->host, 3 * (size_t)pixels, 1); /* of picture_take */
    } else {
        if (!m->known)
            VR_TRY(vr_flash_qwen_layout_make(s, "the stream", frame->width, frame->height, VR_FLASH_QWEN_DEPTH, &m->l, e));
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

/* Of a file that is followed: frames at a rate to its end, not a list of so many. */
static int stream_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_flash_qwen *s = state;
    return vr_view_take_rate(view, source, options, (double)s->fps, e);
}

const vr_stream_system vr_flash_qwen_stream = {
    .open = stream_open,
    .free = stream_free,
    .add = stream_add,
    .snapshot_open = vr_flash_qwen_snapshot_open,
    .snapshot_free = vr_flash_qwen_snapshot_free,
    .snapshot_take = vr_flash_qwen_snapshot_take,
    .show = vr_flash_qwen_show,
    .rows_most = vr_flash_qwen_rows_most,
    .plan = stream_plan,
};
