/*
 * generate.c - see generate.h.
 *
 *   rows -> embedding rows and rows of the clip [T,Dl], VR_LLAMA_ROWS at a time -> llama -> logits (backend memory)
 *   logits -> the best few, where they are enough and memory is not the host's, or the row -> sampler -> id
 *
 * Ref:  transformers 4.45 modeling_qwen2_vl.py (get_rope_index); Flash-VStream vstream_qwen2vl_model.py:254-277, 778-938.
 * Trap: text goes on behind the places that the video takes, which its own times may reach beyond.
 */
#include "decode/generate.h"

#include <assert.h>

int vr_positions(int32_t *out, const int32_t *rows, int n, const vr_clip_positions *clip)
{
    int next = 0, start = -1; /* start: of the video, while its rows last */
    for (int t = 0; t < n; t++) {
        const int row = rows[t] < 0 ? VR_CLIP_ROW(rows[t]) - clip->first : -1;
        const bool placed = clip->relative && row >= 0 && row < clip->count;
        if (placed && start < 0) start = next;
        if (!placed && start >= 0) next = start + clip->n_positions, start = -1;
        for (int i = 0; i < 3; i++) out[3 * t + i] = placed ? start + clip->relative[3 * row + i] : next;
        if (!placed) next++;
    }
    return start >= 0 ? start + clip->n_positions : next;
}

/* rows -> x [T, Dl]; runs of tokens and of clip rows are copied in one piece each */
static void embed(const vr_generate *g, const int32_t *rows, int T, float *x)
{
    const int D = vr_llama_config_get(g->llama)->width;
    for (int t = 0; t < T;) {
        int end = t + 1;
        if (rows[t] >= 0) {
            while (end < T && rows[end] >= 0) end++;
            vr_llama_embed(g->llama, g->run, rows + t, end - t, x + (size_t)t * (size_t)D);
        } else {
            while (end < T && rows[end] == rows[end - 1] - 1) end++;
            const float *from = g->clip_rows + (size_t)VR_CLIP_ROW(rows[t]) * (size_t)D;
            g->run->be->ops->copy_rows(g->run->be, x + (size_t)t * (size_t)D, D, from, D, end - t, D);
        }
        t = end;
    }
}

/* x of T rows through the decoder; logits of the last one or NULL */
static int forward(const vr_generate *g, const int32_t *rows, int T, float *logits, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(g->llama);
    vr_run *run = g->run;
    const size_t mark = vr_arena_mark(run->scratch);
    float *x = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->width);
    embed(g, rows, T, x);
    vr_run_dump(run, x, 2, (const int64_t[2]){ T, c->width }, "prompt.embeds");
    const int32_t *positions = g->positions ? g->positions + 3 * (size_t)g->cache->n_rows : NULL;
    vr_llama_forward(g->llama, run, g->cache, positions, x, T, logits);
    vr_arena_release(run->scratch, mark);
    if (run->rest) VR_TRY(vr_backend_sync(run->rest->be, e));
    return vr_backend_sync(run->be, e);
}

int vr_generate_read(const vr_generate *g, const int32_t *rows, int n, float *logits, vr_err *e)
{
    const int first = g->cache->n_rows;
    assert(first < n && n <= g->cache->config.n_max);
    for (int t = first; t < n;) {
        const int T = n - t < VR_LLAMA_ROWS ? n - t : VR_LLAMA_ROWS;
        if (g->cancelled && g->cancelled(g->cookie)) return vr_fail(e, VR_ERR_CANCEL, "stopped while reading the prompt");
        VR_TRY(forward(g, rows + t, T, t + T == n ? logits : NULL, e));
        t += T;
        if (g->progress) g->progress(g->cookie, t - first, n - first);
    }
    if (g->run->dump) {
        const int64_t V = vr_llama_config_get(g->llama)->vocab;
        vr_run_dump(g->run, logits, 1, (const int64_t[1]){ V }, "decoder.logits");
    }
    return VR_OK;
}

int vr_generate_next(const vr_generate *g, int32_t id, float *logits, vr_err *e)
{
    vr_run quiet = *g->run; /* the stages are those of the prompt pass */
    quiet.dump = NULL;
    vr_generate silent = *g;
    silent.run = &quiet;
    return forward(&silent, &id, 1, logits, e);
}

/* From a few numbers; *id -1: they do not tell */
static int choose_of_few(const vr_generate *g, vr_sampler *sampler, const float *logits, int n, int32_t *id, vr_err *e)
{
    const vr_run *run = g->run;
    const int V = vr_llama_config_get(g->llama)->vocab;
    struct {
        int32_t ids[VR_BEST_MOST];
        float values[VR_BEST_MOST];
    } few, *there = vr_arena_alloc(run->scratch, 1, sizeof *there);
    run->be->ops->best(run->be, there->ids, there->values, logits, V, n);
    run->be->read(run->be, &few, there, sizeof few);
    VR_TRY(vr_backend_sync(run->be, e));
    *id = vr_sampler_pick(sampler, few.ids, few.values, n, V, run->host);
    return VR_OK;
}

/* From all of them */
static int choose_of_row(const vr_generate *g, vr_sampler *sampler, const float *logits, const int32_t *seen, int n_seen,
                         int32_t *id, vr_err *e)
{
    const vr_run *run = g->run;
    const int V = vr_llama_config_get(g->llama)->vocab;
    const float *row = logits;
    if (run->be->arena_open && !run->rest) {
        float *const here = vr_arena_floats(run->host, (size_t)V);
        run->be->read(run->be, here, logits, (size_t)V * sizeof *here);
        VR_TRY(vr_backend_sync(run->be, e));
        row = here;
    }
    *id = vr_sampler_next(sampler, row, V, seen, n_seen, run->host);
    return VR_OK;
}

int vr_generate_choose(const vr_generate *g, vr_sampler *sampler, const float *logits, const int32_t *seen, int n_seen,
                       int32_t *id, vr_err *e)
{
    const vr_run *run = g->run;
    const int V = vr_llama_config_get(g->llama)->vocab;
    const int n = run->be->arena_open && !run->rest ? vr_sampler_needs(sampler, V, n_seen) : 0;
    const size_t mark = vr_arena_mark(run->scratch);
    int rc = VR_OK;
    *id = -1;
    if (n > 0) rc = choose_of_few(g, sampler, logits, n, id, e);
    if (rc == VR_OK && *id < 0) rc = choose_of_row(g, sampler, logits, seen, n_seen, id, e);
    vr_arena_release(run->scratch, mark);
    return rc;
}

void vr_generate_choose_plan(const vr_llama *llama, vr_run *run)
{
    const size_t mark = vr_arena_mark(run->scratch), V = (size_t)vr_llama_config_get(llama)->vocab;
    vr_arena_alloc(run->scratch, VR_BEST_MOST, sizeof(int32_t) + sizeof(float));
    vr_arena_floats(run->host, V); /* the row; of the sampler: values and ids */
    vr_arena_floats(run->host, V);
    vr_arena_alloc(run->host, V, sizeof(int32_t));
    vr_arena_release(run->scratch, mark);
}
