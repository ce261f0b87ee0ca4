/*
 * longvu_show.c - LongVU: grids of the kept frames and a question become the rows that the decoder reads.
 *
 *   few frames (FULL):    every frame on the 12x12 grid
 *   more (MIX):           every frame on the 8x8 grid, the frames that fit the question best on the 12x12 grid
 *   many (STC):           12x12 grids, and within 8 frames only the tokens that differ from the first of them
 *   all of them: cut to the picture, a newline behind every line; what is still too long goes through STC
 *
 * Rows are made eight frames at a time, so that memory holds the rows that are kept and no more. STC therefore projects
 * twice: once to decide, once to write.
 * Ref:  LongVU cambrian_arch.py:939-1510.
 * Trap: the regime depends on the number of frames alone, not on their real number of tokens.
 */
#include "systems/longvu.h"

#include <stdio.h>

#include "compress/query_select.h"
#include "compress/token_prune.h"

#define CHUNK VR_PRUNE_CHUNK

enum { FULL, MIX, STC };

typedef struct show {
    const vr_longvu *s;
    vr_run *run;
    vr_longvu_features *f;
    vr_view *view; /* for the facts */
    int Dl, W;
    int n, regime, high, low, k; /* tokens a frame; frames shown at high resolution */
    vr_crop high_crop, low_crop;
    float *grid, *resized; /* [CHUNK*q*q + 1, Dl] projected, the newline behind it; [CHUNK*low*low, W] */
    float *rows;           /* [CHUNK * most tokens, Dl] */
    int32_t *ids;          /* the same number */
} show;

static int tokens_most(const vr_longvu *s)
{
    return s->query_side * (s->query_side + 1);
}

static void buffers_take(show *w)
{
    const size_t q = (size_t)w->s->query_side, low = (size_t)w->s->low_side, most = CHUNK * (size_t)tokens_most(w->s);
    w->grid = vr_arena_floats(w->run->scratch, (CHUNK * q * q + 1) * (size_t)w->Dl);
    w->resized = vr_arena_floats(w->run->scratch, CHUNK * low * low * (size_t)w->W);
    w->rows = vr_arena_floats(w->run->scratch, most * (size_t)w->Dl);
    w->ids = vr_arena_alloc(w->run->host, most, sizeof *w->ids);
}

/* Frames first .. first + n - 1 (n <= CHUNK) on one of the grids, cut, with newlines -> out [n * tokens, Dl]. dump: the
 * uncut grids. */
static void chunk_make(show *w, bool is_low, int first, int n, float *out, vr_dump *dump)
{
    const vr_longvu *s = w->s;
    const vr_ops *op = w->run->be->ops;
    const int q = s->query_side, side = is_low ? s->low_side : q, rows = n * side * side;
    const vr_crop *crop = is_low ? &w->low_crop : &w->high_crop;
    const float *grids = w->f->grids + (size_t)first * (size_t)(q * q) * (size_t)w->W;
    vr_run run = *w->run;
    run.dump = dump;
    if (is_low) op->resize_grid(run.be, w->resized, side, grids, (int64_t)q * q * w->W, q, n, w->W);
    vr_project_mlp_forward(&s->project, &run, is_low ? w->resized : grids, rows, w->grid);
    vr_run_dump(&run, w->grid, 3, (const int64_t[3]){ n, (int64_t)side * side, w->Dl },
                is_low ? "project.video.low" : "project.video");
    op->copy_rows(run.be, w->grid + (size_t)rows * (size_t)w->Dl, w->Dl, s->newline, 0, 1, w->Dl);
    if (!run.be->plan) vr_crop_ids(crop, side, n, w->ids);
    op->gather_rows(run.be, out, w->grid, w->ids, n * vr_crop_count(crop), w->Dl);
}

static int chunk_length(const show *w, int first)
{
    return w->n - first < CHUNK ? w->n - first : CHUNK;
}

/* All frames on one grid -> rows; returns their number. */
static int all_show(show *w, bool is_low, float *rows, vr_dump *dump)
{
    const int tokens = is_low ? w->low : w->high;
    for (int first = 0; first < w->n; first += CHUNK)
        chunk_make(w, is_low, first, chunk_length(w, first), rows + (size_t)(first * tokens) * (size_t)w->Dl, dump);
    return w->n * tokens;
}

/* score [n] of the frames for the question (host) */
static void frames_score(show *w, const vr_question *question, float *score)
{
    const vr_ops *op = w->run->be->ops;
    vr_arena *scratch = w->run->scratch;
    const size_t mark = vr_arena_mark(scratch), D = (size_t)w->Dl;
    float *text = vr_arena_floats(scratch, (size_t)question->n_after * D), *mean = vr_arena_floats(scratch, CHUNK * D);
    float *text_mean = vr_arena_floats(w->run->host, D), *frame_mean = vr_arena_floats(w->run->host, CHUNK * D);
    vr_llama_embed(w->s->llama, w->run, question->after, question->n_after, text);
    op->mean_rows(w->run->be, mean, text, 1, question->n_after > 0 ? question->n_after : 1, w->Dl);
    if (!w->run->be->plan) w->run->be->read(w->run->be, text_mean, mean, D * sizeof *mean);
    for (int first = 0; first < w->n; first += CHUNK) {
        const int n = chunk_length(w, first);
        chunk_make(w, true, first, n, w->rows, w->run->dump);
        op->mean_rows(w->run->be, mean, w->rows, n, w->low, w->Dl);
        if (w->run->be->plan) continue;
        w->run->be->read(w->run->be, frame_mean, mean, (size_t)n * D * sizeof *mean);
        vr_query_score(score + first, frame_mean, text_mean, n, w->Dl);
    }
    vr_arena_release(scratch, mark);
}

static void mix_dump(const show *w, const float *score, const bool *chosen)
{
    vr_dump *dump = vr_run_stages(w->run);
    if (!dump) return;
    vr_dump_f32(dump, "compress.mix.score", score, 1, (const int64_t[1]){ w->n });
    for (int32_t f = 0; f < w->n; f++) {
        const int32_t tokens = chosen[f] ? w->high : w->low;
        if (chosen[f]) vr_dump_i32(dump, "compress.mix.chosen", &f, 1, (const int64_t[1]){ 1 });
        vr_dump_i32(dump, "compress.mix.frame_tokens", &tokens, 1, (const int64_t[1]){ 1 });
    }
}

static void mix_tell(const show *w, const bool *chosen)
{
    const int64_t low = (int64_t)w->n * w->low;
    vr_view_step(w->view, "mix", low, low + (int64_t)w->k * (w->high - w->low), "tokens");
    for (int f = 0; f < w->n; f++)
        if (chosen[f]) vr_longvu_tell_grid(w->view, w->f, f, w->s->query_side, &w->high_crop, true);
}

/* Low grids, w->k of the frames on the high one. */
static int mix_show(show *w, const vr_question *question, float *rows)
{
    const size_t mark = vr_arena_mark(w->run->scratch);
    float *score = vr_arena_floats(w->run->host, (size_t)w->n);
    bool *chosen = vr_arena_alloc(w->run->host, (size_t)w->n, sizeof *chosen);
    int at = 0;
    frames_score(w, question, score);
    if (!w->run->be->plan) vr_query_choose(chosen, score, w->n, w->k);
    mix_dump(w, score, chosen);
    if (!w->run->be->plan) mix_tell(w, chosen);
    for (int f = 0; !w->run->be->plan && f < w->n; f++) {
        chunk_make(w, !chosen[f], f, 1, rows + (size_t)at * (size_t)w->Dl, NULL);
        at += chosen[f] ? w->high : w->low;
    }
    vr_arena_release(w->run->scratch, mark);
    return at;
}

static void prune_dump(const show *w, int tokens, int chunk, int n, const float *similarity, const uint8_t *mask)
{
    const int64_t rest[2] = { n - 1, tokens };
    vr_dump *dump = vr_run_stages(w->run);
    if (!dump) return;
    char name[48];
    snprintf(name, sizeof name, "compress.stc.cosine.%02d", chunk);
    if (n > 1) vr_dump_f32(dump, name, similarity + tokens, 2, rest);
    for (int i = 0; i < n * tokens; i++) w->ids[i] = mask[i]; /* free between two grids */
    vr_dump_i32(dump, "compress.stc.kept", w->ids, 2, (const int64_t[2]){ n, tokens });
}

/* Which tokens stay of every chunk: list ids and lengths. */
static void chunks_prune(show *w, bool is_low, vr_token_list *list)
{
    vr_run *run = w->run;
    const int tokens = is_low ? w->low : w->high;
    const size_t mark = vr_arena_mark(run->host), most = (size_t)(CHUNK * tokens);
    float *similarity = vr_arena_floats(run->host, most); /* read here, not by kernels */
    uint8_t *mask = vr_arena_alloc(run->host, most, 1);
    int32_t *indices = vr_arena_alloc(run->host, most, sizeof *indices), n_kept = 0;
    int at = 0;
    for (int first = 0; first < w->n; first += CHUNK) {
        const int n = chunk_length(w, first);
        chunk_make(w, is_low, first, n, w->rows, run->dump);
        run->be->ops->prune(run->be, &(vr_prune){ .x = w->rows,
                                                  .dtype = VR_DTYPE_F32,
                                                  .n_frames = n,
                                                  .N = tokens,
                                                  .D = w->Dl,
                                                  .window = CHUNK,
                                                  .anchor = VR_PRUNE_FIRST,
                                                  .threshold = w->s->drop_threshold,
                                                  .similarity = similarity,
                                                  .mask = mask,
                                                  .indices = indices,
                                                  .n_kept = &n_kept });
        prune_dump(w, tokens, first / CHUNK, n, similarity, mask);
        if (run->be->plan) continue;
        for (int i = 0; i < n_kept; i++) list->ids[at++] = first * tokens + indices[i];
        list->lengths[list->n_chunks++] = n_kept;
    }
    vr_arena_release(run->host, mark);
}

static void list_dump(const show *w, const vr_token_list *list, int n)
{
    const int32_t removed = list->removed;
    vr_dump *dump = vr_run_stages(w->run);
    if (!dump) return;
    for (int c = 0; c < list->n_chunks; c++) {
        const int32_t length = list->lengths[c];
        vr_dump_i32(dump, "compress.stc.chunk_lengths", &length, 1, (const int64_t[1]){ 1 });
    }
    vr_dump_i32(dump, "compress.stc.removed_per_chunk", &removed, 1, (const int64_t[1]){ 1 });
    vr_dump_i32(dump, "compress.visual.index", list->ids, 1, (const int64_t[1]){ n });
}

static void prune_tell(const show *w, const vr_token_list *list, int kept, int tokens)
{
    int different = 0;
    for (int c = 0; c < list->n_chunks; c++) different += list->lengths[c];
    vr_longvu_tell_tokens(w->view, w->f, list->ids, kept, tokens);
    vr_view_step(w->view, "prune", (int64_t)w->n * tokens, different, "tokens");
    if (kept < different) vr_view_step(w->view, "cut", different, kept, "tokens");
}

/* The sequence of one grid, pruned to at most `room` rows; returns their number. */
static int prune_show(show *w, bool is_low, int room, float *rows)
{
    vr_run *run = w->run;
    const int tokens = is_low ? w->low : w->high, n_chunks = (w->n + CHUNK - 1) / CHUNK;
    const size_t mark = vr_arena_mark(run->scratch);
    vr_token_list list = { .ids = vr_arena_alloc(run->host, (size_t)w->n * (size_t)tokens, sizeof *list.ids),
                           .lengths = vr_arena_alloc(run->host, (size_t)n_chunks, sizeof *list.lengths) };
    chunks_prune(w, is_low, &list);
    const int kept = run->be->plan ? 0 : vr_token_list_cut(&list, room);
    list_dump(w, &list, kept);
    if (!run->be->plan) prune_tell(w, &list, kept, tokens);
    for (int at = 0; at < kept;) {
        const int chunk = list.ids[at] / (CHUNK * tokens), first = chunk * CHUNK;
        int end = at;
        for (; end < kept && list.ids[end] / (CHUNK * tokens) == chunk; end++) list.ids[end] -= first * tokens;
        chunk_make(w, is_low, first, chunk_length(w, first), w->rows, NULL);
        run->be->ops->gather_rows(run->be, rows + (size_t)at * (size_t)w->Dl, w->rows, list.ids + at, end - at, w->Dl);
        at = end;
    }
    vr_arena_release(run->scratch, mark);
    return kept;
}

static void regime_dump(const show *w, const vr_longvu_budget *b, int before, int after)
{
    const int32_t numbers[14] = { w->f->n_in, w->n,      b->L,    b->B,   b->R,   b->cap, b->n_full,
                                  b->n_low,   w->regime, w->high, w->low, before, w->k,   after };
    vr_dump_i32(vr_run_stages(w->run), "compress.regime", numbers, 1, (const int64_t[1]){ 14 });
}

static void regime_choose(show *w, const vr_longvu_budget *b)
{
    const vr_longvu *s = w->s;
    w->high_crop = vr_longvu_crop(s, w->f, false);
    w->high = vr_crop_count(&w->high_crop);
    w->regime = w->n < b->n_full ? FULL : w->n > b->n_low ? STC : MIX;
    if (!s->low_side) return;
    w->low_crop = vr_longvu_crop(s, w->f, true);
    w->low = vr_crop_count(&w->low_crop);
}

/* While planning every way is walked, so that the longest is counted. */
static int plan_show(show *w, const vr_question *question, float *rows)
{
    w->n = w->f->n_max;
    w->k = 1;
    if (w->s->low_side) mix_show(w, question, rows);
    return prune_show(w, false, 0, rows);
}

/* All kept frames on one grid, as far as is known before tokens are chosen. */
static void grids_tell(const show *w, bool is_low)
{
    static const char *const regimes[] = { [FULL] = "full", [MIX] = "mix", [STC] = "prune" };
    const vr_longvu *s = w->s;
    const bool finer = !is_low && s->low_side > 0;
    vr_longvu_tell_frames(w->view, w->f);
    for (int i = 0; i < w->n; i++)
        vr_longvu_tell_grid(w->view, w->f, i, is_low ? s->low_side : s->query_side, is_low ? &w->low_crop : &w->high_crop,
                            finer);
    w->view->facts.regime = w->view->image ? "picture" : regimes[w->regime];
    w->view->facts.n_tokens_before = (int64_t)w->n * w->high;
    if (is_low) vr_view_step(w->view, "grid", (int64_t)w->n * w->high, (int64_t)w->n * w->low, "tokens");
}

int vr_longvu_show(const vr_longvu *s, vr_run *run, vr_view *view, vr_longvu_features *f, const vr_longvu_budget *b,
                   const vr_question *question, vr_err *e)
{
    show w = { .s = s, .run = run, .f = f, .view = view, .n = f->n };
    w.Dl = vr_llama_config_get(s->llama)->width;
    w.W = vr_spatial_sampler_width(s->sampler);
    const size_t mark = vr_arena_mark(run->scratch);
    buffers_take(&w);
    regime_choose(&w, b);
    if (run->be->plan) {
        plan_show(&w, question, view->rows);
    } else if (view->image) { /* a picture is always on the small grid, where there is one */
        grids_tell(&w, s->low_side > 0);
        view->n_video_rows = all_show(&w, s->low_side > 0, view->rows, run->dump);
    } else {
        const bool is_low = w.regime == MIX && s->low_side > 0;
        const int before = w.n * (is_low ? w.low : w.high);
        grids_tell(&w, is_low);
        if (is_low && s->query_side > s->low_side) w.k = vr_query_room(b->R, w.n, w.high, w.low);
        if (is_low && run->dump)
            for (int first = 0; first < w.n; first += CHUNK)
                chunk_make(&w, false, first, chunk_length(&w, first), w.rows, run->dump);
        if (w.k > 0)
            view->n_video_rows = mix_show(&w, question, view->rows);
        else if (b->R < before)
            view->n_video_rows = prune_show(&w, is_low, b->R, view->rows);
        else
            view->n_video_rows = all_show(&w, is_low, view->rows, run->dump);
        if (!is_low) w.low = 0;
        regime_dump(&w, b, before, view->n_video_rows);
    }
    view->facts.n_tokens = view->n_video_rows;
    vr_arena_release(run->scratch, mark);
    return vr_backend_sync(run->be, e);
}
