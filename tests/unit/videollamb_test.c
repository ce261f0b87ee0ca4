/*
 * videollamb_test.c - VideoLLaMB's parts against their formulas in double, and a tiny whole one on clips and streams.
 *
 *   random weights -> weight file in memory -> attention over time, bridge, retrieval -> rows
 *                  -> reference (double)    ----------------------------------------> rows
 *   tiny system    -> plan, watch, stream   -> scenes, frames that are kept, events
 */
#include "compress/memory_bridge.h"
#include "encode/temporal.h"
#include "systems/system.h"
#include "tests/unit/media_support.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/model_support.h"

enum { D = 8, H = 2, E = D / H, F = 12, G = 2, S = 4, M = 3, DL = 8, V = 11 };

static double *rows_new(int n)
{
    double *x = calloc((size_t)n * D, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* y [T, n_out] = x W^T + b, W and b of PREFIX.NAME, from row `first` of W on */
static void linear(double *y, const double *x, int T, int n_in, const model *m, const char *prefix, const char *name, int first,
                   int n_out)
{
    char w[64], b[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    const float *W = model_find(m, prefix, w) + first * n_in, *B = model_find(m, prefix, b) + first;
    for (int t = 0; t < T; t++)
        for (int o = 0; o < n_out; o++) {
            double sum = (double)B[o];
            for (int i = 0; i < n_in; i++) sum += (double)W[o * n_in + i] * x[t * n_in + i];
            y[t * n_out + o] = sum;
        }
}

static void norm(double *y, const double *x, int T, const model *m, const char *prefix, const char *name, double epsilon)
{
    char w[64], b[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    const float *W = model_find(m, prefix, w), *B = model_find(m, prefix, b);
    for (int t = 0; t < T; t++) {
        double mean = 0, square = 0;
        for (int d = 0; d < D; d++) mean += x[t * D + d] / D;
        for (int d = 0; d < D; d++) square += (x[t * D + d] - mean) * (x[t * D + d] - mean) / D;
        for (int d = 0; d < D; d++) y[t * D + d] = (x[t * D + d] - mean) / sqrt(square + epsilon) * (double)W[d] + (double)B[d];
    }
}

/* out [Q,D], all heads */
static void attend(double *out, const double *q, int Q, const double *k, const double *v, int R)
{
    for (int h = 0; h < H; h++)
        for (int i = 0; i < Q; i++) {
            double weight[64], sum = 0;
            ck_assert_int_le(R, 64);
            for (int j = 0; j < R; j++) {
                double score = 0;
                for (int e = 0; e < E; e++) score += q[i * D + h * E + e] * k[j * D + h * E + e];
                sum += weight[j] = exp(score / sqrt(E));
            }
            for (int e = 0; e < E; e++) {
                double value = 0;
                for (int j = 0; j < R; j++) value += weight[j] / sum * v[j * D + h * E + e];
                out[i * D + h * E + e] = value;
            }
        }
}

static void near(const char *what, const float *got, const double *wanted, int n)
{
    double distance = 0, length = 0;
    for (int i = 0; i < n; i++) {
        distance += ((double)got[i] - wanted[i]) * ((double)got[i] - wanted[i]);
        length += wanted[i] * wanted[i];
    }
    ck_assert_msg(sqrt(distance / length) < 1e-5, "%s: off by %g", what, sqrt(distance / length));
}

static void random_rows(float *x, double *same, int n)
{
    for (int i = 0; i < n; i++) same[i] = (double)(x[i] = (float)(rand() % 2001 - 1000) / 500.0f);
}

/* --- attention over time --- */

static void temporal_reference(const model *m, double *x, int N, int T)
{
    static const char p[] = "vit.blk.1.temporal.";
    const float *position = model_find(m, p, "position");
    double here[G * D], normed[G * D], q[G * D], k[G * D], v[G * D], out[G * D], added[G * D];
    for (int first = 0; first < N; first += G)
        for (int t = 0; t < T; t++) {
            for (int g = 0; g < G; g++)
                for (int d = 0; d < D; d++) here[g * D + d] = x[((first + g) * T + t) * D + d] + (double)position[g * D + d];
            norm(normed, here, G, m, p, "norm", 1e-5);
            linear(q, normed, G, D, m, p, "qkv", 0, D);
            linear(k, normed, G, D, m, p, "qkv", D, D);
            linear(v, normed, G, D, m, p, "qkv", 2 * D, D);
            attend(out, q, G, k, v, G);
            linear(added, out, G, D, m, p, "out", 0, D);
            for (int g = 0; g < G; g++)
                for (int d = 0; d < D; d++) x[((first + g) * T + t) * D + d] = here[g * D + d] + added[g * D + d];
        }
}

static void temporal_run(vr_run run, const model *m)
{
    enum { N = 3 * G, T = 5 };
    const vr_block_config config = { .width = D, .n_heads = H, .epsilon = 1e-5f };
    vr_temporal temporal;
    vr_err e = { 0 };
    ck_assert_msg(vr_temporal_bind(&temporal, m->weights, &config, G, "vit", 1, &e) == VR_OK, "%s", e.text);
    float *x = vr_arena_floats(run.scratch, N * T * D);
    double *wanted = rows_new(N * T);
    random_rows(x, wanted, N * T * D);
    temporal_reference(m, wanted, N, T);
    vr_temporal_forward(&temporal, &config, G, &run, x, N, T);
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("attention over time", x, wanted, N * T * D);
    free(wanted);
}

static void temporal_add(model *m, const char *tower, int block)
{
    char name[64];
    snprintf(name, sizeof name, "%s.blk.%d.temporal.position", tower, block);
    model_add(m, G, D, name);
    snprintf(name, sizeof name, "%s.blk.%d.temporal.norm", tower, block);
    model_add_both(m, 0, D, name);
    snprintf(name, sizeof name, "%s.blk.%d.temporal.qkv", tower, block);
    model_add_both(m, 3 * D, D, name);
    snprintf(name, sizeof name, "%s.blk.%d.temporal.out", tower, block);
    model_add_both(m, D, D, name);
}

START_TEST(attention_over_time)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    model m = { 0 };
    temporal_add(&m, "vit", 1);
    model_open(&m);
    EVERY_RUN(temporal_run(run, &m));
    model_free(&m);
}
END_TEST

/* --- bridge and retrieval --- */

static void attention_add(model *m, const char *prefix)
{
    static const char *const parts[] = { "q", "k", "v", "out" };
    char name[64];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", prefix, parts[i]);
        model_add_both(m, D, D, name);
    }
    snprintf(name, sizeof name, "%s.norm", prefix);
    model_add_both(m, 0, D, name);
}

static void bridge_add(model *m, int n_layers)
{
    char name[64];
    model_int(m, "bridge.block_count", (uint32_t)n_layers);
    model_int(m, "bridge.memory_count", M);
    model_int(m, "bridge.head_count", H);
    model_int(m, "bridge.feed_forward_length", F);
    model_float(m, "bridge.norm_epsilon", 1e-12f);
    model_add(m, M, D, "bridge.memory");
    for (int i = 0; i < n_layers; i++) {
        snprintf(name, sizeof name, "bridge.blk.%d.self", i);
        attention_add(m, name);
        snprintf(name, sizeof name, "bridge.blk.%d.fc1", i);
        model_add_both(m, F, D, name);
        snprintf(name, sizeof name, "bridge.blk.%d.fc2", i);
        model_add_both(m, D, F, name);
        snprintf(name, sizeof name, "bridge.blk.%d.ffn_norm", i);
        model_add_both(m, 0, D, name);
    }
    attention_add(m, "retrieval.cross");
}

/* x [Q,D] = norm(out(attend(x, rows)) + x) */
static void post_attend(const model *m, const char *prefix, double *x, int Q, const double *rows, int R)
{
    double *q = rows_new(Q), *k = rows_new(R), *v = rows_new(R), *out = rows_new(Q);
    linear(q, x, Q, D, m, prefix, "q", 0, D);
    linear(k, rows, R, D, m, prefix, "k", 0, D);
    linear(v, rows, R, D, m, prefix, "v", 0, D);
    attend(out, q, Q, k, v, R);
    linear(q, out, Q, D, m, prefix, "out", 0, D);
    for (int i = 0; i < Q * D; i++) q[i] += x[i];
    norm(x, q, Q, m, prefix, "norm", 1e-12);
    free(q), free(k), free(v), free(out);
}

static void layer_reference(const model *m, int layer, double *x, int T)
{
    char prefix[64];
    double *hidden = calloc((size_t)T * F, sizeof *hidden), *y = rows_new(T);
    snprintf(prefix, sizeof prefix, "bridge.blk.%d.self.", layer);
    post_attend(m, prefix, x, T, x, T);
    snprintf(prefix, sizeof prefix, "bridge.blk.%d.", layer);
    linear(hidden, x, T, D, m, prefix, "fc1", 0, F);
    for (int i = 0; i < T * F; i++) hidden[i] *= 0.5 * (1 + erf(hidden[i] / sqrt(2)));
    linear(y, hidden, T, F, m, prefix, "fc2", 0, D);
    for (int i = 0; i < T * D; i++) y[i] += x[i];
    norm(x, y, T, m, prefix, "ffn_norm", 1e-12);
    free(hidden), free(y);
}

static void bridge_run(vr_run run, const model *m)
{
    enum { R = 9, CACHED = 7 };
    vr_memory_bridge *bridge;
    vr_memory_cache cache;
    vr_err e = { 0 };
    ck_assert_msg(vr_memory_bridge_open(&bridge, m->weights, D, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_memory_bridge_rows(bridge), M);
    ck_assert(vr_memory_bridge_initial(bridge)[1] == model_find(m, "bridge.", "memory")[1]);
    float *x = vr_arena_floats(run.scratch, (M + R) * D), *rows = vr_arena_floats(run.scratch, CACHED * D);
    double *wanted = rows_new(M + R), *cached = rows_new(CACHED);
    random_rows(x, wanted, (M + R) * D);
    random_rows(rows, cached, CACHED * D);
    for (int i = 0; i < 2; i++) layer_reference(m, i, wanted, M + R);
    vr_memory_bridge_read(bridge, &run, x, R, "scene");
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("bridge", x, wanted, (M + R) * D);

    for (int i = 0; i < M * D; i++) wanted[i] = (double)x[i];
    post_attend(m, "retrieval.cross.", wanted, M, cached, CACHED);
    vr_memory_cache_open(bridge, &run, &cache, CACHED);
    vr_memory_cache_append(bridge, &run, &cache, rows, 3);
    vr_memory_cache_append(bridge, &run, &cache, rows + 3 * D, CACHED - 3);
    vr_memory_bridge_retrieve(bridge, &run, &cache, x, "scene");
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("retrieval", x, wanted, M * D);
    free(wanted), free(cached);
    vr_memory_bridge_free(bridge);
}

START_TEST(bridge_and_retrieval)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    model m = { 0 };
    bridge_add(&m, 2);
    model_open(&m);
    EVERY_RUN(bridge_run(run, &m));
    model_free(&m);
}
END_TEST

/* --- the whole, tiny: pictures of 4 x 4 pixels --- */

static void tower_add(model *m, const char *tower, bool temporal)
{
    static const struct {
        const char *name;
        int rows, cols;
    } parts[] = {
        { "norm1", 0, D }, { "qkv", 3 * D, D }, { "out", D, D }, { "norm2", 0, D }, { "fc1", F, D }, { "fc2", D, F }
    };
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = { { "block_count", 1 }, { "embedding_length", D }, { "feed_forward_length", F },
                    { "head_count", H },  { "image_size", S },       { "patch_size", 1 } };
    char name[64];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(name, sizeof name, "%s.%s", tower, numbers[i].name);
        model_int(m, name, numbers[i].value);
    }
    snprintf(name, sizeof name, "%s.norm_epsilon", tower);
    model_float(m, name, 1e-5f);
    snprintf(name, sizeof name, "%s.activation", tower);
    model_string(m, name, "gelu");
    snprintf(name, sizeof name, "%s.patch.weight", tower);
    model_add(m, D, 3, name);
    snprintf(name, sizeof name, "%s.class", tower);
    model_add(m, 0, D, name);
    snprintf(name, sizeof name, "%s.position", tower);
    model_add(m, S * S + 1, D, name);
    snprintf(name, sizeof name, "%s.input_norm", tower);
    model_add_both(m, 0, D, name);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "%s.blk.0.%s", tower, parts[i].name);
        model_add_both(m, parts[i].rows, parts[i].cols, name);
    }
    if (temporal) temporal_add(m, tower, 0);
}

static void decoder_add(model *m)
{
    static const struct {
        const char *name;
        int rows, cols;
    } parts[] = { { "attn_norm", 0, DL }, { "attn_q", DL, DL },      { "attn_k", DL, DL },
                  { "attn_v", DL, DL },   { "attn_output", DL, DL }, { "ffn_norm", 0, DL },
                  { "ffn_gate", F, DL },  { "ffn_up", F, DL },       { "ffn_down", DL, F } };
    char name[64];
    model_int(m, "llama.block_count", 1);
    model_int(m, "llama.embedding_length", DL);
    model_int(m, "llama.feed_forward_length", F);
    model_int(m, "llama.attention.head_count", H);
    model_int(m, "llama.attention.head_count_kv", H);
    model_int(m, "llama.rope.dimension_count", DL / H);
    model_int(m, "llama.vocab_size", V);
    model_int(m, "llama.context_length", 64);
    model_int(m, "prompt.context", 64);
    model_float(m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    model_float(m, "llama.rope.freq_base", 100);
    model_string(m, "llama.rope.pairs", "halves");
    model_add(m, V, DL, "token_embd.weight");
    model_add(m, 0, DL, "output_norm.weight");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "blk.0.%s.weight", parts[i].name);
        model_add(m, parts[i].rows, parts[i].cols, name);
    }
}

/* A: attention over time, 3 scenes, the last one is shown. Else B: scenes by threshold, memories are shown. */
static void system_add(model *m, bool a, int multiple)
{
    tower_add(m, "vit", a);
    if (a) tower_add(m, "image_vit", false);
    model_int(m, "vit.temporal_frames", a ? G : 0);
    bridge_add(m, 1);
    decoder_add(m);
    model_add_both(m, DL, D, "project.video");
    model_three(m, "pixel.mean", 0.5f, 0.5f, 0.5f);
    model_three(m, "pixel.std", 0.25f, 0.25f, 0.25f);
    model_string(m, "video.resize", a ? "normalise-bilinear" : "clip");
    model_string(m, "image.resize", a ? "tensor-bicubic" : "clip");
    model_string(m, "video.sampling", "linspace");
    model_int(m, "video.frames_multiple", (uint32_t)multiple);
    model_int(m, "video.frames_max", 64);
    if (a) model_int(m, "video.frames", 8);
    model_float(m, "video.fps", 1);
    model_int(m, "bridge.pool_side", 2);
    model_string(m, "bridge.cache", a ? "memory" : "patches");
    model_string(m, "bridge.output", a ? "last_scene" : "memory");
    model_int(m, "scene.frames_max", 3);
    if (a) {
        model_int(m, "scene.count", 3);
        model_float(m, "stream.scene_alpha", 0.5f);
        model_int(m, "stream.boundaries_max", 15);
    } else {
        model_float(m, "scene.alpha", 0.5f);
        model_int(m, "scene.boundaries_max", 4);
        model_add(m, 5, D, "bridge.scene_position");
    }
}

typedef struct whole {
    model m;
    void *state;
    vr_run run;
    vr_arena arena;
} whole;

static void whole_open(whole *w, bool a)
{
    vr_err e = { 0 };
    *w = (whole){ 0 };
    system_add(&w->m, a, a ? 8 : 1);
    model_open(&w->m);
    const int rc = vr_system_open(&vr_system_videollamb, &w->state, w->m.weights, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_weights_unused(w->m.weights, NULL), 0);
    w->run = run_open("c", 1, &w->arena);
}

static void whole_close(whole *w)
{
    vr_system_close(&vr_system_videollamb, w->state);
    vr_backend_free(w->run.be);
    vr_arena_close(&w->arena);
    model_free(&w->m);
}

START_TEST(frames_that_cannot_be)
{
    static const struct {
        int n_frames;
        const char *says;
    } wrong[] = {
        { 12, "nearest are 8 and 16" }, { 3, "nearest is 8" }, { 63, "nearest are 56 and 64" }, { 72, "64 frames at most" }
    };
    whole w;
    whole_open(&w, true);
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vr_err e = { 0 };
        vr_view view = { 0 };
        const vr_watch_options options = { .n_frames = wrong[i].n_frames };
        ck_assert_int_eq(vr_system_videollamb.plan(w.state, source, &options, &view, &e), VR_ERR_USAGE);
        ck_assert_msg(strstr(e.text, wrong[i].says) != NULL, "%s", e.text);
        vr_view_free(&view);
    }
    vr_source_free(source);
    whole_close(&w);
}
END_TEST

START_TEST(files_that_cannot_be)
{
    vr_err e = { 0 };
    void *state;
    model m = { 0 };
    system_add(&m, true, 3); /* groups of 2 */
    model_open(&m);
    ck_assert_int_eq(vr_system_open(&vr_system_videollamb, &state, m.weights, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "video.frames_multiple 3") != NULL, "%s", e.text);
    model_free(&m);
}
END_TEST

/* Scenes follow each other without a gap; what is shown is kept. */
static void expect_scenes(const vr_view *view, int n_scenes)
{
    int next = 0;
    ck_assert_int_eq(view->facts.n_scenes, n_scenes);
    for (int i = 0; i < n_scenes; i++) {
        ck_assert_int_eq(view->scene_facts[i].first, next);
        ck_assert_int_ge(view->scene_facts[i].last, next);
        next = view->scene_facts[i].last + 1;
    }
    ck_assert_int_eq(next, view->n_frames);
}

/* Watches a clip in memory that was planned; the clip's rows are finite and as many as its scenes make. */
static void clip_watch(whole *w, bool a, int n_frames)
{
    const vr_system *system = &vr_system_videollamb;
    const vr_hooks silent = { 0 };
    vr_err e = { 0 };
    vr_view view = { 0 };
    vr_backend *nothing;
    vr_arena counted, arena;
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    ck_assert_int_eq(system->plan(w->state, source, &(vr_watch_options){ .n_frames = n_frames }, &view, &e), VR_OK);
    const int most = view.n_video_rows;
    ck_assert_int_eq(vr_backend_open_plan(&nothing, &e), VR_OK);
    vr_arena_plan(&counted);
    vr_run plan = { .be = nothing, .scratch = &counted, .host = &counted };
    ck_assert_int_eq(system->watch(w->state, &plan, source, &view, &silent, &e), VR_OK);
    ck_assert_int_eq(vr_arena_open(&arena, counted.peak, &e), VR_OK);
    vr_run run = { .be = w->run.be, .scratch = &arena, .host = &arena };
    view.rows = calloc((size_t)most * DL, sizeof *view.rows);
    ck_assert_ptr_nonnull(view.rows);
    ck_assert_msg(system->watch(w->state, &run, source, &view, &silent, &e) == VR_OK, "%s", e.text);
    ck_assert_int_le(view.n_video_rows, most);
    for (int i = 0; i < view.n_video_rows * DL; i++) ck_assert(isfinite(view.rows[i]));
    if (a) {
        expect_scenes(&view, 3);
        const int last = view.scene_facts[2].last - view.scene_facts[2].first + 1;
        ck_assert_int_eq(view.n_video_rows, 4 * (last < 3 ? last : 3));
    } else {
        ck_assert_int_eq(view.n_video_rows, M * view.facts.n_scenes);
        expect_scenes(&view, view.facts.n_scenes);
        if (n_frames <= 3) ck_assert_int_eq(view.facts.n_scenes, n_frames);
    }
    free(view.rows);
    vr_arena_close(&arena);
    vr_backend_free(nothing);
    vr_source_free(source);
    vr_view_free(&view);
}

START_TEST(clips)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    whole w;
    whole_open(&w, true);
    clip_watch(&w, true, 8);
    clip_watch(&w, true, 40);
    whole_close(&w);
    whole_open(&w, false);
    clip_watch(&w, false, 1);
    clip_watch(&w, false, 3);
    clip_watch(&w, false, 4);
    clip_watch(&w, false, 37);
    whole_close(&w);
}
END_TEST

/* --- streams --- */

typedef struct watched {
    whole w;
    void *memory, *shot;
    int64_t n;
} watched;

static void watched_open(watched *t, bool a, vr_captions captions)
{
    const vr_stream_options options = { .fps = 2, .captions = captions, .query = captions == VR_CAPTIONS_OFF ? NULL : "what?" };
    vr_err e = { 0 };
    whole_open(&t->w, a);
    t->n = 0;
    ck_assert_int_eq(vr_system_videollamb.stream->open(t->w.state, &options, &t->w.run, &t->memory, &e), VR_OK);
    ck_assert_int_eq(vr_system_videollamb.stream->snapshot_open(t->w.state, t->memory, &t->shot, &e), VR_OK);
}

static void watched_close(watched *t)
{
    vr_system_videollamb.stream->snapshot_free(t->shot);
    vr_system_videollamb.stream->free(t->memory);
    whole_close(&t->w);
}

/* One more frame, of a colour; time passes at 2 frames a second. */
static vr_stream_event watched_add(watched *t, int red, int green)
{
    uint8_t rgb[S * S * 3] = { 0 };
    vr_err e = { 0 };
    vr_stream_event event = { 0 };
    for (int i = 0; i < S * S; i++) {
        rgb[3 * i] = (uint8_t)(red + i);
        rgb[3 * i + 1] = (uint8_t)(green + rand() % 3);
    }
    const vr_stream_frame frame = { rgb, S, S, t->n, (double)t->n / 2, 10 * t->n };
    const size_t mark = vr_arena_mark(t->w.run.scratch);
    const int rc = vr_system_videollamb.stream->add(t->w.state, t->memory, &t->w.run, &frame, &event, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    vr_arena_release(t->w.run.scratch, mark);
    t->n++;
    return event;
}

static void watched_take(watched *t)
{
    vr_err e = { 0 };
    ck_assert_int_eq(vr_system_videollamb.stream->snapshot_take(t->w.state, t->memory, t->shot, &e), VR_OK);
}

/* Shows the snapshot; which frames it is made of. */
static vr_view watched_show(watched *t)
{
    const vr_stream_system *stream = vr_system_videollamb.stream;
    const vr_hooks silent = { 0 };
    vr_err e = { 0 };
    vr_view view = { 0 };
    view.rows = calloc((size_t)stream->rows_most(t->w.state) * DL, sizeof *view.rows);
    const size_t mark = vr_arena_mark(t->w.run.scratch);
    const int rc = stream->show(t->w.state, t->shot, &t->w.run, &view, &silent, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    vr_arena_release(t->w.run.scratch, mark);
    ck_assert_int_le(view.n_video_rows, stream->rows_most(t->w.state));
    for (int i = 0; i < view.n_video_rows * DL; i++) ck_assert(isfinite(view.rows[i]));
    return view;
}

static void view_done(vr_view *view)
{
    free(view->rows);
    view->rows = NULL;
    vr_view_free(view);
}

START_TEST(frames_of_a_stream)
{
    watched t;
    watched_open(&t, true, VR_CAPTIONS_OFF);
    for (int i = 0; i < 2; i++) watched_add(&t, i, 0);
    watched_take(&t);
    vr_view view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 8); /* two frames are spread over eight places */
    for (int i = 0; i < 8; i++) ck_assert_int_eq(view.frame_indices[i], i == 7 ? 10 : 0);
    expect_scenes(&view, 3);
    view_done(&view);

    while (t.n < 128) watched_add(&t, (int)t.n, 0);
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 128); /* all of them */
    for (int i = 0; i < 128; i++) ck_assert_int_eq(view.frame_indices[i], 10 * i);
    const vr_view before = view;

    while (t.n < 131) watched_add(&t, 0, 0); /* 0, 2, ... 126, 128, 130 are kept */
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 128); /* the snapshot is what it was, though its frames have left the memory */
    ck_assert_int_eq(view.frame_indices[127], 1270);
    ck_assert_int_eq(view.n_video_rows, before.n_video_rows);
    ck_assert_mem_eq(view.rows, before.rows, (size_t)view.n_video_rows * DL * sizeof *view.rows);
    view_done(&view);
    view = before;
    view_done(&view);
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 64);
    ck_assert_int_eq(view.frame_indices[63], 1300);
    for (int i = 0; i < 64; i++) ck_assert_int_eq(view.frame_indices[i] % 20, 0);
    view_done(&view);

    while (t.n < 5000) {
        watched_add(&t, 0, 0);
        if (t.n % 7 == 0) watched_take(&t);
    }
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 64); /* however many are kept: 80 here, every 64th and the newest */
    ck_assert_int_eq(view.frame_indices[0], 0);
    ck_assert_int_eq(view.frame_indices[63], 49990); /* the newest is always there */
    for (int i = 1; i < 64; i++) {
        const int64_t step = view.frame_indices[i] - view.frame_indices[i - 1];
        ck_assert(step > 0 && step <= 2 * 640);
    }
    view_done(&view);

    for (int i = 0; i < 200; i++) { /* the stride doubles within, and the number stays */
        for (int k = 0; k < 29; k++) watched_add(&t, 0, 0);
        watched_take(&t);
        view = watched_show(&t);
        ck_assert_int_eq(view.n_frames, 64);
        view_done(&view);
    }
    watched_close(&t);
}
END_TEST

START_TEST(memories_of_a_stream) /* B: no captions, any number of frames */
{
    watched t;
    watched_open(&t, false, VR_CAPTIONS_ORIGINAL);
    for (int i = 0; i < 13; i++) {
        const vr_stream_event event = watched_add(&t, 20 * i, 100);
        ck_assert(!event.caption);
    }
    watched_take(&t);
    vr_view view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 13);
    ck_assert_int_eq(view.n_video_rows, M * view.facts.n_scenes);
    view_done(&view);
    watched_close(&t);
}
END_TEST

START_TEST(captions_of_the_original)
{
    watched t;
    int64_t last = 0;
    int n = 0;
    watched_open(&t, true, VR_CAPTIONS_ORIGINAL);
    for (int i = 0; i < 60; i++) {
        const vr_stream_event event = watched_add(&t, i / 10 % 2 * 200, i / 10 % 2 * 30);
        ck_assert_int_eq(event.queried, i == 1); /* the first frame later than the query */
        ck_assert(i != 1 || (event.caption && event.seconds == 0));
        if (i < 2 || !event.caption) continue;
        ck_assert_int_ge(event.n_scenes, 2);
        ck_assert_int_ge(i - last, 2); /* never after two frames in a row */
        ck_assert(event.seconds == (double)i / 2);
        last = i;
        n++;
    }
    ck_assert_int_gt(n, 10); /* once there were two boundaries, every second frame */
    watched_close(&t);
}
END_TEST

START_TEST(captions_of_scenes)
{
    watched t;
    double end = 0;
    int n = 0;
    watched_open(&t, true, VR_CAPTIONS_SCENES);
    for (int i = 0; i < 60; i++) {
        const vr_stream_event event = watched_add(&t, i / 12 % 2 * 200, i / 12 % 2 * 30);
        if (!event.caption) continue;
        n++;
        ck_assert_int_eq(event.n_scenes, n);
        ck_assert(event.scene_start == end && event.scene_end > event.scene_start); /* nothing is left out */
        ck_assert(event.scene_end + 0.5 <= event.seconds);
        end = event.scene_end;
    }
    ck_assert_int_ge(n, 3);
    watched_close(&t);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("videollamb");
    tcase_add_test(tests, attention_over_time);
    tcase_add_test(tests, bridge_and_retrieval);
    tcase_add_test(tests, frames_that_cannot_be);
    tcase_add_test(tests, files_that_cannot_be);
    tcase_add_test(tests, clips);
    tcase_add_test(tests, frames_of_a_stream);
    tcase_add_test(tests, memories_of_a_stream);
    tcase_add_test(tests, captions_of_the_original);
    tcase_add_test(tests, captions_of_scenes);
    return run_case("videollamb", tests);
}
