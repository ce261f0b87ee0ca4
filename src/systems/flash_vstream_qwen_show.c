/*
 * flash_vstream_qwen_show.c - Flash-VStream (Qwen): a copy of a stream's memory, and the rows for a question.
 *
 *   memory -> copy: rows of the steps shown whole, slots, times;   slots -> merger -> rows behind them
 *
 * Ref:  Flash-VStream-Qwen/models/vstream_qwen2vl_realtime.py:531-640.
 * Trap: text stands behind the number of rows, not behind what the memory's grid takes, as of a clip.
 * Owner: a snapshot is host memory of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "systems/flash_vstream_qwen_stream.h"

typedef struct snapshot {
    vr_flash_qwen_layout l;
    float *rows;                /* [n_whole, whole_rows, Dl] */
    float *slots;               /* [n_slots, Ph, D] */
    int32_t *whole, *times;     /* [n_whole] steps, [n_slots] */
    vr_flash_qwen_seen *frames; /* [n_whole] */
} snapshot;

int vr_flash_qwen_rows_most(const void *state)
{
    vr_flash_qwen_layout most;
    int64_t pixels;
    vr_flash_qwen_layout_most(state, &most, &pixels);
    return vr_flash_qwen_rows(&most);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

void vr_flash_qwen_snapshot_free(void *memory)
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

int vr_flash_qwen_snapshot_open(const void *state, const void *memory, void **out, vr_err *e)
{
    const vr_flash_qwen *s = state;
    vr_flash_qwen_layout most;
    int64_t pixels;
    (void)memory;
    vr_flash_qwen_layout_most(s, &most, &pixels);
    const size_t n_whole = (size_t)most.n_whole, n_slots = (size_t)most.n_slots;
    snapshot *shot = calloc(1, sizeof *shot);
    *out = shot;
    if (shot) {
        shot->rows = malloc(n_whole * vr_flash_qwen_row_floats(s, most.whole_rows) * sizeof *shot->rows);
        shot->slots = malloc(n_slots * vr_flash_qwen_floats(s, &most.half) * sizeof *shot->slots);
        shot->whole = malloc(n_whole * sizeof *shot->whole);
        shot->times = malloc(n_slots * sizeof *shot->times);
        shot->frames = malloc(n_whole * sizeof *shot->frames);
    }
    if (shot && shot->rows && shot->slots && shot->whole && shot->times && shot->frames) return VR_OK;
    vr_flash_qwen_snapshot_free(shot);
    *out = NULL;
    return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a copy of the stream's memory");
}

int vr_flash_qwen_snapshot_take(const void *state, const void *memory, void *out, vr_err *e)
{
    const vr_flash_qwen *s = state;
    const vr_flash_qwen_stream_memory *m = memory;
    snapshot *shot = out;
    const size_t of_step = vr_flash_qwen_row_floats(s, m->l.whole_rows), half = vr_flash_qwen_floats(s, &m->l.half);
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
    const vr_flash_qwen_seen *x = a, *y = b;
    return (x->number[0] > y->number[0]) - (x->number[0] < y->number[0]);
}

/* The frames of the steps shown whole, each once, in order of time. */
static int frames_tell(const snapshot *shot, vr_view *view, vr_err *e)
{
    const size_t n = (size_t)shot->l.n_whole;
    vr_flash_qwen_seen *in_order = malloc(n * sizeof *in_order);
    if (!in_order) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a list of frames");
    memcpy(in_order, shot->frames, n * sizeof *in_order);
    qsort(in_order, n, sizeof *in_order, by_number);
    int rc = vr_view_take(view, (int)n * VR_FLASH_QWEN_DEPTH, e);
    view->n_frames = 0;
    for (size_t k = 0; rc == VR_OK && k < n; k++)
        for (int i = 0; i < VR_FLASH_QWEN_DEPTH; i++) {
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

int vr_flash_qwen_show(const void *state, const void *memory, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_flash_qwen *s = state;
    const snapshot *shot = memory;
    vr_flash_qwen_layout most;
    int64_t pixels;
    (void)hooks;
    vr_flash_qwen_layout_most(s, &most, &pixels);
    const vr_flash_qwen_layout *l = shot ? &shot->l : &most;
    const size_t mark = vr_arena_mark(run->scratch), half = vr_flash_qwen_floats(s, &l->half);
    const size_t n_whole = (size_t)l->n_whole * vr_flash_qwen_row_floats(s, l->whole_rows);
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
                            view->rows + n_whole + vr_flash_qwen_row_floats(s, i * l->slot_rows));
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
