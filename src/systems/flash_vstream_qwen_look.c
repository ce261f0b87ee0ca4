/*
 * flash_vstream_qwen_look.c - Flash-VStream (Qwen): a clip becomes a memory, the memory rows of the decoder.
 *
 *   all pictures -> half resolution -> ViT [t,Ph,D] -> k-means: slots [n_slots,Ph,D] (CSM), heaviest first
 *     -> nearest step of each of the heaviest -> ViT at full resolution, step by step [P,D] (DAM)
 *   DAM | CSM -> merger -> rows
 *
 * Steps never meet in the tower, so only those that are shown whole are encoded at full resolution: the pictures wait as bytes.
 * With a dump all of them are encoded once more before, for the stages.
 * Ref:  Flash-VStream-Qwen/models/vstream_qwen2vl_model.py:79-323, compress_functions.py:181-298.
 * Trap: rows of the DAM come in order of weight, those of the CSM in order of time; one step may be shown more than once.
 */
#include "systems/flash_vstream_qwen.h"

#include "base/clock.h"
#include "compress/ordered_kmeans.h"
#include "media/frames.h"

typedef struct look {
    const vr_flash_qwen *s;
    vr_run *run;
    const vr_hooks *hooks;
    vr_flash_qwen_layout l;
    int pass;          /* pooled steps that go through the tower together: as many patches as a whole one */
    uint8_t *pictures; /* [2t, height, width, 3] host */
    vr_flash_qwen_patches patches;
    float *half;  /* [t, Ph, D] */
    float *slots; /* [n_slots, Ph, D] */
    float *whole; /* [P, D] of one step */
    double encoding;
} look;

static void buffers_take(look *k, int n_frames)
{
    vr_arena *scratch = k->run->scratch;
    const size_t t = (size_t)k->l.n_steps, half = vr_flash_qwen_floats(k->s, &k->l.half);
    k->pictures = vr_arena_alloc(k->run->host, (size_t)n_frames, vr_flash_qwen_picture_bytes(&k->l));
    vr_flash_qwen_patches_take(&k->l, k->run, &k->patches);
    k->half = vr_arena_floats(scratch, t * half);
    k->slots = vr_arena_floats(scratch, (size_t)k->l.n_slots * half);
    k->whole = vr_arena_floats(scratch, vr_flash_qwen_floats(k->s, &k->l.full));
}

/* Every frame of the list through both resizes. */
static int pictures_read(look *k, vr_source *source, const vr_view *view, vr_err *e)
{
    const int n = view->n_frames, width = k->l.first_width, height = k->l.first_height;
    const double start = vr_clock();
    const size_t mark = vr_arena_mark(k->run->host);
    uint8_t *rgb = vr_arena_alloc(k->run->host, 3 * (size_t)width * (size_t)height, 1);
    vr_frames *frames = NULL;
    int rc = VR_OK;
    if (!k->run->be->plan)
        rc = vr_frames_open(&frames, source, view->frame_indices, n, width, height, VR_RESIZE_PIL_BICUBIC, &k->hooks->log, e);
    for (int i = 0, index; frames && i < n && rc == VR_OK; i++) {
        rc = vr_hooks_check(k->hooks, e);
        if (rc == VR_OK) rc = vr_frames_next(frames, rgb, &index, e);
        if (rc == VR_OK)
            rc = vr_flash_qwen_picture(&k->l, rgb, k->pictures + (size_t)i * vr_flash_qwen_picture_bytes(&k->l), e);
    }
    vr_frames_free(frames);
    vr_arena_release(k->run->host, mark);
    if (rc == VR_OK && !k->run->be->plan) vr_hooks_timing(k->hooks, "frames", vr_clock() - start, n, "frames");
    return rc;
}

/* n steps from `first` on through the tower -> out [n, patches of the grid, D]; stage: of the patches. */
static int encode(look *k, const vr_qwen_grid *grid, int first, int n, float *out, vr_dump *dump, const char *stage, vr_err *e)
{
    const size_t step_bytes = (size_t)grid->depth * vr_flash_qwen_picture_bytes(&k->l);
    const double start = vr_clock();
    vr_run run = *k->run;
    run.dump = dump;
    VR_TRY(vr_hooks_check(k->hooks, e));
    vr_flash_qwen_encode(k->s, &run, &k->patches, grid, k->pictures + (size_t)first * step_bytes, n, out, stage);
    VR_TRY(vr_backend_sync(run.be, e));
    k->encoding += vr_clock() - start;
    return VR_OK;
}

/* k->half; with a dump the stages of the whole resolution come first. */
static int steps_encode(look *k, vr_err *e)
{
    const bool plan = k->run->be->plan;
    const int t = plan && k->l.n_steps > k->pass ? k->pass : k->l.n_steps;
    const size_t half = vr_flash_qwen_floats(k->s, &k->l.half);
    for (int i = 0; vr_run_stages(k->run) && i < t; i++)
        VR_TRY(encode(k, &k->l.full, i, 1, k->whole, k->run->dump, "input.pixels", e));
    for (int i = 0; i < t; i += k->pass) {
        const int n = t - i < k->pass ? t - i : k->pass;
        VR_TRY(encode(k, &k->l.half, i, n, k->half + (size_t)i * half, k->run->dump, "compress.half.pixels", e));
        if (!plan) vr_hooks_progress(k->hooks, "vision", i + n, t + k->l.n_whole);
    }
    return VR_OK;
}

/* The first numbers of each distinct step, in their order. */
static void distinct_dump(const look *k, const vr_ordered_kmeans *o)
{
    enum { SHOWN = 8 };
    float shown[SHOWN];
    const size_t half = vr_flash_qwen_floats(k->s, &k->l.half);
    for (int i = 0; vr_run_stages(k->run) && i < o->n_distinct; i++) {
        k->run->be->read(k->run->be, shown, k->half + (size_t)o->distinct[i] * half, sizeof shown);
        vr_dump_f32(k->run->dump, "compress.csm.unique", shown, 2, (const int64_t[2]){ 1, SHOWN });
    }
}

static void slots_make(look *k, vr_ordered_kmeans *o, uint64_t seed)
{
    const int t = k->l.n_steps, K = k->l.n_slots, Ph = vr_qwen_grid_patches(&k->l.half), D = vr_qwen_vit_width(k->s->vit);
    vr_dump *dump = vr_run_stages(k->run);
    vr_random random = { seed };
    vr_ordered_kmeans_rows(k->run, o, k->half, t, Ph * D, K, NULL, &random, k->slots);
    if (o->km.n_rounds > 0) {
        distinct_dump(k, o);
        vr_kmeans_dump(k->run, &o->km, "compress.kmeans");
    }
    vr_dump_f32(dump, "compress.csm.weights", o->weights, 1, (const int64_t[1]){ K });
    vr_dump_f32(dump, "compress.csm.times", o->times, 1, (const int64_t[1]){ K });
    vr_run_dump(k->run, k->slots, 3, (const int64_t[3]){ K, Ph, D }, "compress.csm");
}

/* DAM | CSM -> rows of the decoder */
static int rows_make(look *k, const int32_t *steps, float *rows, vr_err *e)
{
    const int Dl = vr_llama_config_get(k->s->llama)->width, K = k->l.n_slots;
    const bool plan = k->run->be->plan;
    const size_t of_whole = (size_t)k->l.whole_rows * (size_t)Dl, of_slot = (size_t)k->l.slot_rows * (size_t)Dl;
    for (int i = 0; i < (plan ? 1 : k->l.n_whole); i++) {
        int before = 0; /* the same step, some rows above */
        while (!plan && steps[before] != steps[i]) before++;
        if (before < i && !k->run->dump) {
            k->run->be->ops->copy_rows(k->run->be, rows + (size_t)i * of_whole, Dl, rows + (size_t)before * of_whole, Dl,
                                       k->l.whole_rows, Dl);
        } else {
            VR_TRY(encode(k, &k->l.full, plan ? 0 : steps[i], 1, k->whole, NULL, "", e));
            vr_flash_qwen_merge(k->s, k->run, k->whole, k->l.whole_rows, rows + (size_t)i * of_whole);
        }
        if (!plan) vr_hooks_progress(k->hooks, "vision", k->l.n_steps + i + 1, k->l.n_steps + k->l.n_whole);
    }
    rows += (size_t)k->l.n_whole * of_whole;
    for (int i = 0; i < (plan && K > k->pass ? k->pass : K); i += k->pass) {
        const int n = K - i < k->pass ? K - i : k->pass;
        vr_flash_qwen_merge(k->s, k->run, k->slots + (size_t)i * vr_flash_qwen_floats(k->s, &k->l.half), n * k->l.slot_rows,
                            rows + (size_t)i * of_slot);
    }
    return vr_backend_sync(k->run->be, e);
}

/* The slot of the result that a step went into. */
static int32_t slot_of(const vr_ordered_kmeans *o, int step)
{
    if (o->km.n_rounds == 0) return step;
    const int32_t *labels = o->km.labels + (size_t)(o->km.n_rounds - 1) * (size_t)o->km.T;
    int slot = o->K - 1; /* from behind: rows that fill up stand in front */
    for (; slot > 0; slot--) {
        const int32_t label = o->km.n_draws > 0 ? o->slots[slot] : labels[o->km.source[slot]];
        if (labels[step] == label) break;
    }
    return slot;
}

static int memory_make(look *k, vr_view *view, vr_err *e)
{
    vr_ordered_kmeans o;
    vr_arena *host = k->run->host;
    const double start = vr_clock(), encoded = k->encoding;
    int32_t *steps = vr_arena_alloc(host, (size_t)k->l.n_whole, sizeof *steps);
    int32_t *slots = vr_arena_alloc(host, (size_t)k->l.n_steps, sizeof *slots);
    vr_ordered_kmeans_alloc(&o, host, k->l.n_steps, k->s->temporal_length, false);
    slots_make(k, &o, view->seed);
    if (k->l.n_steps > k->s->spatial_length)
        vr_flash_qwen_choose(k->run, k->slots, o.weights, k->l.n_slots, k->half, k->l.n_steps,
                             vr_flash_qwen_floats(k->s, &k->l.half), k->l.n_whole, steps);
    else
        for (int i = 0; !k->run->be->plan && i < k->l.n_whole; i++) steps[i] = i;
    vr_dump_i32(vr_run_stages(k->run), "compress.dam.index", steps, 1, (const int64_t[1]){ k->l.n_whole });
    VR_TRY(vr_backend_sync(k->run->be, e));
    VR_TRY(rows_make(k, steps, view->rows, e));
    if (k->run->be->plan) return VR_OK;
    vr_hooks_timing(k->hooks, "vision", k->encoding, k->l.n_steps, "steps");
    vr_hooks_timing(k->hooks, "memory", vr_clock() - start - (k->encoding - encoded), k->l.n_steps, "steps");
    for (int i = 0; i < k->l.n_steps; i++) slots[i] = slot_of(&o, i);
    const vr_flash_qwen_memory memory = { steps, o.positions, slots };
    VR_TRY(vr_flash_qwen_places(&k->l, &memory, view, e));
    vr_flash_qwen_tell(&k->l, &memory, view);
    return VR_OK;
}

int vr_flash_qwen_look(const vr_flash_qwen *s, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    look k = { .s = s, .run = run, .hooks = hooks, .pass = s->pool * s->pool };
    vr_source_info info;
    vr_source_info_get(source, &info);
    int width, height;
    vr_source_shown(&info, &width, &height);
    VR_TRY(vr_flash_qwen_layout_make(s, vr_source_path(source), width, height, view->n_frames, &k.l, e));
    const size_t mark = vr_arena_mark(run->scratch);
    buffers_take(&k, view->n_frames);
    int rc = pictures_read(&k, source, view, e);
    if (rc == VR_OK) rc = steps_encode(&k, e);
    if (rc == VR_OK) rc = memory_make(&k, view, e);
    vr_arena_release(run->scratch, mark);
    return rc;
}
