/*
 * pipeline.c - family pipeline: a whole question about a clip (--weights FILE --clip FILE), in the stages that vidrun tells.
 *
 *   model, once -> round: session -> watch -> ask, always the likeliest token -> a line for every stage, and for the whole
 *
 * Floors, where there is one to be stated: towers, Q-Formers and prompt by their products, the answer by the bytes that its
 * tokens read. What is decoded (scan, frames, sound) has none.
 * Trap:  stages are told in wall time, with --processor too.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/part.h"
#include "vidrun.h"

enum { ANSWER = 32, MOST_STAGES = 11 };

static const char question[] = "What is happening in the video?";

typedef struct stage {
    char name[16];
    double seconds, units;
    const char *unit; /* static, of the program */
} stage;

typedef struct pipeline {
    bench_run *run;
    vr_weights *w; /* the same file, for its sizes */
    vr_model *model;
    stage stages[MOST_STAGES]; /* of the last round */
    int n_stages;
    double total;
    vr_plan plan;
    int rc;
    vr_err *e;
} pipeline;

static void tell(pipeline *p, const char *name, double seconds, double units, const char *unit)
{
    int i = 0;
    while (i < p->n_stages && strcmp(p->stages[i].name, name) != 0) i++;
    if (i == MOST_STAGES) return;
    if (i == p->n_stages) {
        p->stages[p->n_stages++] = (stage){ .unit = unit };
        snprintf(p->stages[i].name, sizeof p->stages[i].name, "%s", name);
    }
    p->stages[i].seconds += seconds, p->stages[i].units += units;
}

static void on_timing(void *cookie, const vr_timing *t)
{
    tell(cookie, t->stage, t->seconds, (double)t->count, t->unit);
}

static int ask(pipeline *p, vr_session *s, vr_err *e)
{
    const vr_ask_options options = { .sampling = { .temperature = 0, .top_p = 1, .repetition_penalty = 1 },
                                     .n_predict = ANSWER };
    vr_answer answer;
    VR_TRY(vr_session_watch(s, e));
    VR_TRY(vr_session_ask(s, question, &options, &answer, e));
    vr_session_plan(s, &p->plan);
    p->plan.n_prompt_rows = answer.n_prompt_rows;
    return VR_OK;
}

static int run_once(pipeline *p, vr_err *e)
{
    vr_session *s = NULL;
    const double start = bench_seconds();
    for (int i = 0; i < p->n_stages; i++) p->stages[i].seconds = p->stages[i].units = 0.0;
    int rc = vr_session_open(&s, p->model, p->run->clip, &(vr_watch_options){ .n_predict = ANSWER }, question, e);
    if (rc == VR_OK) rc = ask(p, s, e);
    const int closed = vr_session_close(s, rc == VR_OK ? e : NULL);
    p->total = bench_seconds() - start;
    return rc == VR_OK ? closed : rc;
}

static double probes(const bench_run *run, double operations, double rate, double bytes)
{
    const double products = operations > 0.0 ? operations / (rate * bench_probe_fma(run)) : 0.0;
    return products + (bytes > 0.0 ? bytes / bench_probe_read(run) : 0.0);
}

/* The least that a stage can take now; NaN: none is stated. */
static double floor_of(const pipeline *p, const char *name)
{
    const vr_weights *w = p->w;
    const int frames = p->plan.n_frames, rows = part_key(w, "qformer", "query_count"), clips = p->plan.n_clips;
    double operations = 0.0, rate = 2.0, bytes = 0.0;
    if (strcmp(name, "vision") == 0) {
        const int patch = part_key(w, "vit", "patch_size"), side = patch ? part_key(w, "vit", "image_size") / patch : 0;
        operations = frames * (part_tower(w, "vit") + part_tower(w, "siglip") + part_tower(w, "dino") +
                               part_qformer(w, "qformer", side * side + 1)) +
                     part_qformer(w, "video_qformer", frames * rows);
    } else if (strcmp(name, "audio") == 0) {
        operations = clips * part_imagebind(w) + part_qformer(w, "audio_qformer", clips);
    } else if (strcmp(name, "prompt") == 0) {
        part_matrices layers = { 0 };
        part_count(&layers, w, "blk.", NULL);
        operations = 2.0 * p->plan.n_prompt_rows * layers.numbers, rate = layers.quantised ? 4.0 : 2.0;
    } else if (strcmp(name, "answer") == 0) {
        for (int i = 0; i < p->n_stages; i++) {
            if (strcmp(p->stages[i].name, name) == 0) bytes = p->stages[i].units * part_decoder(w).bytes;
        }
    }
    return operations + bytes > 0.0 ? probes(p->run, operations, rate, bytes) : (double)NAN;
}

/* Ways: for every stage its floor, then itself; then the whole. */
static bool round_whole(void *arg, bench_group *g, int r)
{
    pipeline *p = arg;
    p->rc = run_once(p, p->e);
    if (p->rc != VR_OK) return false;
    for (int i = 0; i < g->n_ways; i++) g->ways[i].time[r] = (double)NAN;
    for (int i = 0; i < p->n_stages; i++) {
        for (int k = 0; k < g->n_ways; k++) {
            if (strcmp(g->ways[k].form, p->stages[i].name) != 0) continue;
            const bool is_floor = g->ways[k].kind == BENCH_FLOOR;
            g->ways[k].time[r] = is_floor ? floor_of(p, p->stages[i].name) : p->stages[i].seconds;
        }
    }
    g->ways[g->n_ways - 1].time[r] = p->total;
    return true;
}

static void add_stage(const pipeline *p, bench_group *g, const char *name, double units, const char *unit)
{
    unsigned floors = 0;
    if (!isnan(floor_of(p, name))) {
        floors = 1u << g->n_ways;
        bench_add(g, BENCH_FLOOR, name, NULL, NULL);
    }
    bench_way *w = bench_add(g, BENCH_OWN, name, NULL, NULL);
    vr_recipe recipe;
    vr_model_recipe(p->model, &recipe);
    w->floors = floors, w->n_threads = p->run->n_threads, w->units = units, w->unit = unit;
    snprintf(w->level, sizeof w->level, "%s", recipe.cpu_level);
}

static int measure(pipeline *p, vr_err *e)
{
    bench_group g = { .bench = "pipeline", .type = "auto", .least_rounds = 1, .whole = round_whole, .whole_arg = p };
    struct rusage usage;
    VR_TRY(run_once(p, e)); /* not counted: the file is read, and the stages are known */
    snprintf(g.shape, sizeof g.shape, "%d frames %d rows", p->plan.n_frames, p->plan.n_prompt_rows);
    for (int i = 0; i < p->n_stages; i++) add_stage(p, &g, p->stages[i].name, p->stages[i].units, p->stages[i].unit);
    add_stage(p, &g, "whole", 1.0, "questions");
    bench_measure(p->run, &g);
    getrusage(RUSAGE_SELF, &usage);
    bench_note(
        "pipeline: weights %.0f MB (mapped), planned %.0f MB; memory of this process at most %.0f MB, 128 of them for probes",
        1e-6 * (double)p->plan.weights_bytes, 1e-6 * (double)(p->plan.scratch_bytes + p->plan.cache_bytes),
        1.024e-3 * (double)usage.ru_maxrss);
    return p->rc;
}

int bench_pipeline(bench_run *run, vr_err *e)
{
    pipeline p = { .run = run, .e = e };
    if (!run->weights || !run->clip) return vr_fail(e, VR_ERR_USAGE, "pipeline: --weights FILE and --clip FILE are needed");
    if (!bench_begin(run, &(bench_group){ .bench = "pipeline", .type = "auto" })) return VR_OK;
    const vr_model_options options = {
        .cpu = { .n_threads = run->n_threads, .precision = VR_PRECISION_AUTO, .level = run->level },
        .device = "cpu",
        .hooks = { .timing = on_timing, .cookie = &p }
    };
    int rc = vr_model_open(&p.model, run->weights, &options, e);
    if (rc == VR_OK) rc = vr_weights_open(&p.w, run->weights, e);
    if (rc == VR_OK) rc = measure(&p, e);
    vr_weights_free(p.w);
    vr_model_free(p.model);
    return rc;
}
