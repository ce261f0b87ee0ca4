/*
 * flash_vstream_test.c - Flash-VStream's memories of clips and streams against the published rules, written down plainly.
 *
 *   random weights -> weight file in memory -> system: clip or frames -> rows
 *                  -> maps of the same frames -> rules in double ------> rows
 *
 * Slots are few (5 of the temporal, 4 of the abstract memory), so that short clips fill them; some frames repeat.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/weight_order.h"
#include "systems/flash_vstream.h"
#include "systems/flash_vstream_paper.h"
#include "tests/unit/gguf_writer.h"
#include "tests/unit/media_support.h"
#include "tests/unit/memory_support.h"

enum { D = 6, DL = 4, F = 5, SIDE = 8, PATCH = 2, S = SIDE * PATCH, MAP = 4, POOLED = 2, K = 5, N = 4, E = 3, KEYS = 3 };
enum { MAP_ROWS = MAP * MAP, POOLED_ROWS = POOLED * POOLED, LONG = POOLED_ROWS * D, MOST = 64 };
enum { FRAMES = 30, WIDTH = 22, HEIGHT = 18 };

typedef struct tensor {
    char name[48];
    int rows, cols; /* rows 0: a vector */
    float *data;
} tensor;

typedef struct small_model {
    tensor tensors[MOST];
    int count;
    void *bytes;
    vr_weights *weights;
    void *state;
} small_model;

/* ---- a small model ---- */

static void add(small_model *m, vr_random *r, int rows, int cols, const char *name)
{
    ck_assert_int_lt(m->count, MOST);
    tensor *t = &m->tensors[m->count++];
    const size_t n = (size_t)(rows ? rows : 1) * (size_t)cols;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows, t->cols = cols;
    t->data = malloc(n * sizeof *t->data);
    ck_assert_ptr_nonnull(t->data);
    random_fill(r, t->data, n);
}

static void tensors_add(small_model *m, vr_random *r)
{
    static const struct {
        const char *name;
        int rows, cols;
    } all[] = { { "vit.patch.weight", D, 3 * PATCH * PATCH },
                { "vit.class", 0, D },
                { "vit.position", SIDE * SIDE + 1, D },
                { "vit.input_norm.weight", 0, D },
                { "vit.input_norm.bias", 0, D },
                { "vit.blk.0.norm1.weight", 0, D },
                { "vit.blk.0.norm1.bias", 0, D },
                { "vit.blk.0.qkv.weight", 3 * D, D },
                { "vit.blk.0.qkv.bias", 0, 3 * D },
                { "vit.blk.0.out.weight", D, D },
                { "vit.blk.0.out.bias", 0, D },
                { "vit.blk.0.norm2.weight", 0, D },
                { "vit.blk.0.norm2.bias", 0, D },
                { "vit.blk.0.fc1.weight", F, D },
                { "vit.blk.0.fc1.bias", 0, F },
                { "vit.blk.0.fc2.weight", D, F },
                { "vit.blk.0.fc2.bias", 0, D },
                { "abstract.q.weight", E, D },
                { "abstract.q.bias", 0, E },
                { "abstract.k.weight", E, D },
                { "abstract.k.bias", 0, E },
                { "project.video.fc1.weight", DL, D },
                { "project.video.fc1.bias", 0, DL },
                { "project.video.fc2.weight", DL, DL },
                { "project.video.fc2.bias", 0, DL },
                { "token_embd.weight", 3, DL },
                { "output_norm.weight", 0, DL },
                { "output.weight", 3, DL },
                { "blk.0.attn_norm.weight", 0, DL },
                { "blk.0.attn_q.weight", DL, DL },
                { "blk.0.attn_k.weight", DL, DL },
                { "blk.0.attn_v.weight", DL, DL },
                { "blk.0.attn_output.weight", DL, DL },
                { "blk.0.ffn_norm.weight", 0, DL },
                { "blk.0.ffn_gate.weight", F, DL },
                { "blk.0.ffn_up.weight", F, DL },
                { "blk.0.ffn_down.weight", DL, F } };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) add(m, r, all[i].rows, all[i].cols, all[i].name);
}

static const float *find(const small_model *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, name) == 0) return m->tensors[i].data;
    ck_abort_msg("%s", name);
}

/* temporal_side: of the file, to be wrong about */
static void keys_put(writer *f, int temporal_side)
{
    const struct {
        const char *key;
        int value;
    } numbers[] = { { "vit.block_count", 1 },
                    { "vit.embedding_length", D },
                    { "vit.head_count", 2 },
                    { "vit.feed_forward_length", F },
                    { "vit.image_size", S },
                    { "vit.patch_size", PATCH },
                    { "memory.pool_side", MAP },
                    { "memory.temporal_side", temporal_side },
                    { "memory.abstract_side", 1 },
                    { "memory.spatial_length", 1 },
                    { "memory.temporal_length", K },
                    { "memory.abstract_length", N },
                    { "memory.retrieved_length", KEYS },
                    { "memory.abstract_width", E },
                    { "llama.block_count", 1 },
                    { "llama.embedding_length", DL },
                    { "llama.feed_forward_length", F },
                    { "llama.attention.head_count", 2 },
                    { "llama.attention.head_count_kv", 2 },
                    { "llama.rope.dimension_count", 2 },
                    { "llama.vocab_size", 3 },
                    { "llama.context_length", 64 },
                    { "prompt.context", 64 } };
    const struct {
        const char *key;
        float value;
    } floats[] = { { "vit.norm_epsilon", 1e-5f },
                   { "video.fps", 1 },
                   { "memory.abstract_ratio", 0.25f },
                   { "llama.attention.layer_norm_rms_epsilon", 1e-5f },
                   { "llama.rope.freq_base", 100 } };
    const size_t n_numbers = sizeof numbers / sizeof numbers[0], n_floats = sizeof floats / sizeof floats[0];
    put_head(f, 3, 37, n_numbers + n_floats + 4);
    for (size_t i = 0; i < n_numbers; i++) put_key(f, numbers[i].key, 4), put_u32(f, (uint32_t)numbers[i].value);
    for (size_t i = 0; i < n_floats; i++) put_key(f, floats[i].key, 6), put_f32(f, floats[i].value);
    put_key(f, "vit.activation", 8), put_string(f, "gelu_quick");
    put_key(f, "llama.rope.pairs", 8), put_string(f, "halves");
    put_array(f, "pixel.mean", 6, 3), put_f32(f, 0.4f), put_f32(f, 0.5f), put_f32(f, 0.6f);
    put_array(f, "pixel.std", 6, 3), put_f32(f, 0.2f), put_f32(f, 0.3f), put_f32(f, 0.4f);
}

static int model_open(small_model *m, vr_random *r, int temporal_side, vr_err *e)
{
    writer f = { 0 };
    uint64_t offset = 0;
    *m = (small_model){ .count = 0 };
    tensors_add(m, r);
    ck_assert_int_eq(m->count, 37);
    keys_put(&f, temporal_side);
    for (int i = 0; i < m->count; i++) {
        const tensor *t = &m->tensors[i];
        if (t->rows)
            put_tensor(&f, t->name, 0, offset, 2, (uint64_t)t->cols, (uint64_t)t->rows);
        else
            put_tensor(&f, t->name, 0, offset, 1, (uint64_t)t->cols);
        offset += ((uint64_t)(t->rows ? t->rows : 1) * (uint64_t)t->cols * 4 + 31) / 32 * 32;
    }
    pad(&f, 32);
    for (int i = 0; i < m->count; i++) {
        const tensor *t = &m->tensors[i];
        put(&f, t->data, (size_t)(t->rows ? t->rows : 1) * (size_t)t->cols * 4);
        pad(&f, 32);
    }
    ck_assert_int_eq(posix_memalign(&m->bytes, 64, f.n), 0);
    memcpy(m->bytes, f.bytes, f.n);
    ck_assert_msg(vr_weights_open_memory(&m->weights, m->bytes, f.n, "flash.bin", e) == VR_OK, "%s", e->text);
    writer_free(&f);
    return vr_system_open(&vr_system_flash_vstream, &m->state, m->weights, e);
}

static void model_free(small_model *m)
{
    vr_system_close(&vr_system_flash_vstream, m->state);
    vr_weights_free(m->weights);
    free(m->bytes);
    for (int i = 0; i < m->count; i++) free(m->tensors[i].data);
}

/* ---- the published rules, spec A4.1 to A4.3 ---- */

typedef struct memory {
    float abstract[N][D], temporal[FRAMES][LONG], weights[FRAMES], rows[FRAMES][LONG], maps[FRAMES][MAP_ROWS * D],
        spatial[MAP_ROWS * D];
    double times[FRAMES]; /* by the paper: of the slots */
    int n_abstract, n_temporal, n_keys, picks[KEYS];
} memory;

static void means(float *out, int side, const float *map)
{
    const int s = MAP / side;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int d = 0; d < D; d++) {
                double sum = 0;
                for (int i = 0; i < s * s; i++) sum += (double)map[((y * s + i / s) * MAP + x * s + i % s) * D + d];
                out[(y * side + x) * D + d] = (float)(sum / (s * s));
            }
}

static double far(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < LONG; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return (double)(float)sqrt(sum);
}

static int nearest(const float *x, float (*rows)[LONG], int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (far(x, rows[i]) < far(x, rows[best])) best = i;
    return best;
}

/* The new centroids of x [T], and how far they have moved. */
static double centroids_move(float (*x)[LONG], int T, const float *w, const int *label, float (*c)[LONG], float (*next)[LONG],
                             float *weights, vr_random *r)
{
    double moved = 0;
    for (int j = 0; j < K; j++) {
        double sum[LONG] = { 0 };
        weights[j] = 0;
        for (int i = 0; i < T; i++) {
            if (label[i] != j) continue;
            weights[j] += w ? w[i] : 1;
            for (int d = 0; d < LONG; d++) sum[d] += (double)(w ? w[i] : 1) * (double)x[i][d];
        }
        const float *refill = weights[j] > 0 ? NULL : x[vr_random_below(r, (uint32_t)T)];
        for (int d = 0; d < LONG; d++) next[j][d] = refill ? refill[d] : (float)(sum[d] / (double)weights[j]);
        moved += far(c[j], next[j]);
    }
    return moved;
}

/* x [T], of weights w or NULL (ones) -> y [min(T,K)], their weights and the last labels. */
static int cluster(float (*x)[LONG], int T, const float *w, float (*y)[LONG], float *weights, int *label, vr_random *r)
{
    float c[K][LONG], next[K][LONG];
    int32_t draw[FRAMES];
    if (T <= K) {
        memcpy(y, x, (size_t)T * sizeof *x);
        for (int i = 0; i < T; i++) weights[i] = w ? w[i] : 1, label[i] = i;
        return T;
    }
    vr_random_permutation(r, T, draw);
    for (int j = 0; j < K; j++) memcpy(c[j], x[draw[j]], sizeof c[j]);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < T; i++) label[i] = nearest(x[i], c, K);
        if (centroids_move(x, T, w, label, c, next, weights, r) < 1e-4) break;
        memcpy(c, next, sizeof c);
    }
    memcpy(y, c, sizeof c);
    return K;
}

/* Frames numbered as the heaviest slots -> the nearest rows of x [T]. */
static void retrieve(memory *m, float (*x)[LONG], int T, const float *weights, int n)
{
    int32_t order[FRAMES];
    vr_order_descending(weights, n, order);
    m->n_keys = n < KEYS ? n : KEYS;
    for (int j = 0; j < m->n_keys; j++) m->picks[j] = nearest(x[order[j]], x, T);
}

/* The paper: y [n] clustered of x [T], of weights w and times, by mean time -> m's slots; the frames of rows [n_rows] nearest to
 * the three heaviest. */
static void paper_slots(memory *m, float (*x)[LONG], int T, const float *w, const double *times, int n_rows, vr_random *r)
{
    float y[FRAMES][LONG], weights[FRAMES];
    double mean[FRAMES];
    int label[FRAMES];
    bool taken[FRAMES] = { false };
    const int n = cluster(x, T, w, y, weights, label, r);
    for (int j = 0; j < n; j++) {
        double sum = 0, time = 0;
        for (int i = 0; i < T; i++)
            if (label[i] == j) sum += (double)(w ? w[i] : 1), time += (double)(w ? w[i] : 1) * times[i];
        mean[j] = sum > 0 ? time / sum : times[T - 1];
    }
    for (int k = 0; k < n; k++) {
        int first = -1;
        for (int j = 0; j < n; j++)
            if (!taken[j] && (first < 0 || mean[j] < mean[first])) first = j;
        taken[first] = true;
        memcpy(m->temporal[k], y[first], sizeof y[first]);
        m->weights[k] = weights[first];
        m->times[k] = mean[first];
    }
    m->n_temporal = n;
    m->n_keys = n < KEYS ? n : KEYS;
    memset(taken, 0, sizeof taken);
    for (int k = 0; k < m->n_keys; k++) {
        int heavy = -1;
        for (int j = 0; j < n; j++)
            if (!taken[j] && (heavy < 0 || m->weights[j] > m->weights[heavy])) heavy = j;
        taken[heavy] = true;
        m->picks[k] = 0; /* a slot of two is equally far from both but for rounding */
        for (int i = 1; i < n_rows; i++)
            if (far(m->temporal[heavy], m->rows[i]) < (1 - 5e-6) * far(m->temporal[heavy], m->rows[m->picks[k]]))
                m->picks[k] = i;
    }
}

/* The abstract memory sees n tokens x. */
static void attend(const small_model *model, memory *m, float (*x)[D], int n)
{
    const float *wq = find(model, "abstract.q.weight"), *bq = find(model, "abstract.q.bias");
    const float *wk = find(model, "abstract.k.weight"), *bk = find(model, "abstract.k.bias");
    for (int i = 0; i < N; i++) {
        double score[FRAMES], total = 0;
        for (int j = 0; j < n; j++) {
            double dot = 0;
            for (int h = 0; h < E; h++) {
                double q = (double)bq[h], k = (double)bk[h];
                for (int d = 0; d < D; d++) {
                    q += (double)m->abstract[i][d] * (double)wq[h * D + d];
                    k += (double)x[j][d] * (double)wk[h * D + d];
                }
                dot += q * k;
            }
            total += score[j] = exp(dot / sqrt(E));
        }
        for (int d = 0; d < D; d++) {
            double seen = 0;
            for (int j = 0; j < n; j++) seen += score[j] / total * (double)x[j][d];
            m->abstract[i][d] = (float)(0.75 * (double)m->abstract[i][d] + 0.25 * seen);
        }
    }
}

static void stream_rule(const small_model *model, memory *m, float (*maps)[MAP_ROWS * D], int t, bool paper, vr_random *r)
{
    float all[K + 1][LONG], mean[1][D], weights[FRAMES];
    double times[K + 1];
    int label[FRAMES];
    const int T = m->n_temporal + 1;
    memcpy(all, m->temporal, (size_t)m->n_temporal * sizeof all[0]);
    means(all[T - 1], POOLED, maps[t]);
    means(mean[0], 1, maps[t]);
    memcpy(m->rows[t], all[T - 1], sizeof all[0]);
    memcpy(m->maps[t], maps[t], sizeof maps[t]);
    memcpy(m->spatial, maps[t], sizeof m->spatial);
    if (paper) {
        memcpy(weights, m->weights, sizeof weights);
        memcpy(times, m->times, (size_t)m->n_temporal * sizeof times[0]);
        weights[T - 1] = 1;
        times[T - 1] = t;
        paper_slots(m, all, T, weights, times, t + 1, r);
    } else {
        m->n_temporal = cluster(all, T, NULL, m->temporal, weights, label, r);
        if (t > 0) retrieve(m, all, T, weights, m->n_temporal);
    }
    if (m->n_abstract < N)
        memcpy(m->abstract[m->n_abstract++], mean[0], sizeof mean[0]);
    else
        attend(model, m, mean, 1);
}

static void clip_rule(const small_model *model, memory *m, float (*maps)[MAP_ROWS * D], int T, bool paper, vr_random *r)
{
    float mean[FRAMES][D], weights[FRAMES];
    double times[FRAMES];
    int label[FRAMES];
    const int L = T - 1;
    for (int i = 0; i < T; i++) {
        means(m->rows[i], POOLED, maps[i]);
        means(mean[i], 1, maps[i]);
        memcpy(m->maps[i], maps[i], sizeof maps[i]);
        times[i] = i;
    }
    memcpy(m->spatial, maps[T - 1], sizeof m->spatial);
    if (paper) {
        paper_slots(m, m->rows, L, NULL, times, L, r);
    } else {
        m->n_temporal = cluster(m->rows, L, NULL, m->temporal, weights, label, r);
        retrieve(m, m->rows, L, weights, m->n_temporal);
    }
    m->n_abstract = L < N ? L : N;
    memcpy(m->abstract, mean, (size_t)m->n_abstract * sizeof mean[0]);
    for (int i = N; i < L; i += N) attend(model, m, mean + i, L - i < N ? L - i : N);
}

/* ---- comparison ---- */

/* The memory as the projector would read it. */
static int rows_of(const small_model *model, vr_run *run, const memory *m, float *rows)
{
    const vr_flash *s = model->state;
    float *all = vr_arena_floats(run->scratch, (size_t)((N + K * POOLED_ROWS + (KEYS + 1) * MAP_ROWS) * D)), *to = all;
    memcpy(to, m->abstract, (size_t)(m->n_abstract * D) * sizeof *to);
    to += m->n_abstract * D;
    memcpy(to, m->temporal, (size_t)(m->n_temporal * LONG) * sizeof *to);
    to += m->n_temporal * LONG;
    for (int j = 0; j < m->n_keys; j++, to += MAP_ROWS * D) memcpy(to, m->maps[m->picks[j]], sizeof m->maps[0]);
    memcpy(to, m->spatial, sizeof m->spatial);
    to += MAP_ROWS * D;
    const int n = (int)(to - all) / D;
    vr_flash_project(s, run, all, n, rows);
    return n;
}

static void expect_rows(const small_model *model, vr_run *run, const memory *m, const float *rows, int n, const char *what)
{
    const size_t mark = vr_arena_mark(run->scratch);
    float *want = vr_arena_floats(run->scratch, (size_t)(N + K * POOLED_ROWS + (KEYS + 1) * MAP_ROWS) * DL);
    ck_assert_msg(rows_of(model, run, m, want) == n, "%s: %d rows", what, n);
    for (int i = 0; i < n * DL; i++)
        ck_assert_msg(fabsf(rows[i] - want[i]) <= 2e-5f * (1 + fabsf(want[i])), "%s: row %d: %g, not %g", what, i / DL,
                      (double)rows[i], (double)want[i]);
    vr_arena_release(run->scratch, mark);
}

/* Maps of rgb [n] as the system makes them. */
static void maps_make(const small_model *model, vr_run *run, const uint8_t *rgb, int n, int width, int height,
                      float (*maps)[MAP_ROWS * D])
{
    const vr_flash *s = model->state;
    const size_t mark = vr_arena_mark(run->scratch);
    vr_flash_picture picture;
    vr_err e = { 0 };
    float *pixels = vr_arena_floats(run->scratch, 3 * S * S), *map = vr_arena_floats(run->scratch, MAP_ROWS * D);
    vr_flash_picture_take(s, run, &picture);
    for (int i = 0; i < n; i++) {
        const uint8_t *frame = rgb + (size_t)i * 3 * (size_t)(width * height);
        ck_assert_msg(vr_flash_pixels(s, run, &picture, frame, width, height, pixels, &e) == VR_OK, "%s", e.text);
        vr_flash_maps(s, run, pixels, 1, map);
        memcpy(maps[i], map, sizeof maps[i]);
    }
    vr_arena_release(run->scratch, mark);
}

static void frames_draw(vr_random *r, uint8_t *rgb)
{
    const size_t n_bytes = 3 * WIDTH * HEIGHT;
    for (size_t i = 0; i < FRAMES * n_bytes; i++) rgb[i] = (uint8_t)vr_random_below(r, 256);
    for (int i = 1; i < FRAMES; i++) /* a fifth of the frames repeat one before */
        if (vr_random_below(r, 5) == 0)
            memcpy(rgb + (size_t)i * n_bytes, rgb + vr_random_below(r, (uint32_t)i) * n_bytes, n_bytes);
}

static void expect_stream_facts(const vr_view *view, const memory *m, int n_frames)
{
    vr_facts facts;
    vr_view_facts(view, &facts);
    ck_assert_int_eq(facts.memory.n_slots, m->n_temporal);
    ck_assert_int_eq(facts.memory.n_abstract, m->n_abstract);
    ck_assert_int_eq(facts.memory.n_retrieved, m->n_keys);
    for (int i = 0; i < m->n_keys; i++) ck_assert_int_eq((int)view->frame_indices[facts.memory.retrieved[i]], m->picks[i]);
    for (int i = 0; i < facts.n_frames; i++) ck_assert(facts.frames[i].high && facts.frames[i].n_tokens == MAP_ROWS);
    ck_assert_int_eq((int)facts.steps[1].before, n_frames);
    ck_assert_int_eq((int)facts.n_tokens, view->n_video_rows);
}

static void check_stream(const small_model *model, vr_run run, const uint8_t *rgb, vr_memory_rule rule, uint64_t seed)
{
    const vr_stream_system *system = vr_system_flash_vstream.stream;
    static float maps[FRAMES][MAP_ROWS * D];
    static memory m;
    const vr_hooks silent = { 0 };
    vr_view view = { .rows = vr_arena_floats(run.scratch, (size_t)system->rows_most(model->state) * DL) };
    vr_stream_event event = { 0 };
    vr_random r = { seed };
    void *memory_of_stream, *shot;
    vr_err e = { 0 };
    m = (memory){ 0 };
    maps_make(model, &run, rgb, FRAMES, WIDTH, HEIGHT, maps);
    ck_assert_int_eq(
        system->open(model->state, &(vr_stream_options){ .seed = seed, .memory = rule }, &run, &memory_of_stream, &e), VR_OK);
    ck_assert_int_eq(system->snapshot_open(model->state, memory_of_stream, &shot, &e), VR_OK);
    for (int t = 0; t < FRAMES; t++) {
        const vr_stream_frame frame = { rgb + (size_t)t * 3 * WIDTH * HEIGHT, WIDTH, HEIGHT, t, t, -1 };
        const size_t mark = vr_arena_mark(run.scratch);
        char what[32];
        snprintf(what, sizeof what, "frame %d", t);
        ck_assert_msg(system->add(model->state, memory_of_stream, &run, &frame, &event, &e) == VR_OK, "%s", e.text);
        vr_arena_release(run.scratch, mark);
        ck_assert_int_eq(system->snapshot_take(model->state, memory_of_stream, shot, &e), VR_OK);
        ck_assert_int_eq(system->show(model->state, shot, &run, &view, &silent, &e), VR_OK);
        stream_rule(model, &m, maps, t, rule == VR_MEMORY_PAPER, &r);
        expect_rows(model, &run, &m, view.rows, view.n_video_rows, what);
        ck_assert_int_ge(view.n_frames, 1);
        ck_assert_int_eq((int)view.frame_indices[view.n_frames - 1], t);
        expect_stream_facts(&view, &m, t + 1);
        float *const rows = view.rows;
        vr_view_free(&view);
        view.rows = rows;
    }
    system->snapshot_free(shot);
    system->free(memory_of_stream);
}

START_TEST(streams)
{
    static uint8_t rgb[FRAMES * 3 * WIDTH * HEIGHT];
    vr_random r = random_open();
    small_model m;
    vr_err e = { 0 };
    ck_assert_msg(model_open(&m, &r, POOLED, &e) == VR_OK, "%s", e.text);
    frames_draw(&r, rgb);
    const uint64_t seed = vr_random_next(&r);
    EVERY_RUN(check_stream(&m, run, rgb, VR_MEMORY_ORIGINAL, seed));
    EVERY_RUN(check_stream(&m, run, rgb, VR_MEMORY_PAPER, seed));
    model_free(&m);
}
END_TEST

/* Plan, then watch with just the memory that was planned. */
static void clip_watch(const small_model *model, const vr_run *run, vr_source *source, vr_view *view)
{
    const vr_hooks silent = { 0 };
    vr_backend *nothing;
    vr_arena counted, taken;
    vr_err e = { 0 };
    vr_view planned = *view;
    ck_assert_int_eq(vr_backend_open_plan(&nothing, &e), VR_OK);
    vr_arena_plan(&counted);
    vr_run plan = { .be = nothing, .scratch = &counted, .host = &counted };
    ck_assert_int_eq(vr_system_flash_vstream.watch(model->state, &plan, source, &planned, &silent, &e), VR_OK);
    vr_backend_free(nothing);
    ck_assert_int_eq(planned.n_video_rows, view->n_video_rows);
    ck_assert_int_eq(vr_arena_open(&taken, counted.peak, &e), VR_OK);
    vr_run real = { .be = run->be, .scratch = &taken, .host = &taken };
    ck_assert_msg(vr_system_flash_vstream.watch(model->state, &real, source, view, &silent, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(planned.n_video_rows, view->n_video_rows);
    vr_arena_close(&taken);
}

static void expect_facts(const vr_view *view, const memory *m)
{
    vr_facts facts;
    vr_view_facts(view, &facts);
    ck_assert_int_eq(facts.memory.n_slots, m->n_temporal);
    ck_assert_int_eq(facts.memory.n_abstract, m->n_abstract);
    ck_assert_int_eq(facts.memory.n_retrieved, m->n_keys);
    for (int i = 0; i < m->n_keys; i++) {
        ck_assert_int_eq(facts.memory.retrieved[i], m->picks[i]);
        ck_assert(facts.frames[m->picks[i]].high);
    }
    for (int i = 0; i < view->n_frames; i++) {
        const bool newest = i == view->n_frames - 1;
        ck_assert(facts.frames[i].kept && (facts.frames[i].slot == 0) == newest);
        ck_assert_int_le(facts.frames[i].slot, m->n_temporal);
    }
    ck_assert_int_eq((int)facts.n_tokens, view->n_video_rows);
}

static void check_clip(const small_model *model, vr_run run, int T, vr_memory_rule rule, uint64_t seed)
{
    static float maps[FRAMES][MAP_ROWS * D];
    static memory m;
    vr_source *source = open_clip(FIXTURES "count.mkv", NULL);
    vr_source_info info;
    vr_view view = { .image = false };
    vr_err e = { 0 };
    vr_random r = { seed };
    char what[32];
    vr_source_info_get(source, &info);
    ck_assert_msg(vr_system_flash_vstream.plan(model->state, source,
                                               &(vr_watch_options){ .n_frames = T, .seed = seed, .memory = rule }, &view,
                                               &e) == VR_OK,
                  "%s", e.text);
    ck_assert_int_eq(view.n_frames, T);
    const size_t n_bytes = (size_t)T * 3 * (size_t)info.width * (size_t)info.height;
    uint8_t *rgb = malloc(n_bytes);
    ck_assert_ptr_nonnull(rgb);
    read_frames(source, rgb, view.frame_indices, T, info.width, info.height, VR_RESIZE_PIL_BICUBIC, NULL);
    maps_make(model, &run, rgb, T, info.width, info.height, maps);
    free(rgb);
    view.rows = vr_arena_floats(run.scratch, (size_t)view.n_video_rows * DL);
    clip_watch(model, &run, source, &view);
    m = (memory){ 0 };
    if (T > 1) clip_rule(model, &m, maps, T, rule == VR_MEMORY_PAPER, &r);
    memcpy(m.spatial, maps[T - 1], sizeof m.spatial);
    snprintf(what, sizeof what, "clip of %d", T);
    expect_rows(model, &run, &m, view.rows, view.n_video_rows, what);
    if (T > 1) expect_facts(&view, &m);
    vr_view_free(&view);
    vr_source_free(source);
}

START_TEST(clips) /* one frame, less than a memory, just one, more; chunks of the abstract memory cut short and whole */
{
    static const int lengths[] = { 1, 2, 4, 6, 7, 12, 13, 23 };
    vr_random r = random_open();
    small_model m;
    vr_err e = { 0 };
    ck_assert_msg(model_open(&m, &r, POOLED, &e) == VR_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const uint64_t seed = vr_random_next(&r);
        EVERY_RUN(check_clip(&m, run, lengths[i], VR_MEMORY_ORIGINAL, seed));
        EVERY_RUN(check_clip(&m, run, lengths[i], VR_MEMORY_PAPER, seed));
    }
    model_free(&m);
}
END_TEST

START_TEST(bank_thins_out) /* frames stay evenly spread, however long a stream lasts */
{
    enum { LAST = 3000, WIDE = 3 };
    vr_arena arena;
    vr_run run = run_open("c", 1, &arena);
    vr_random r = { 5 };
    vr_flash_paper p;
    vr_flash_paper_take(&p, &run, K, WIDE, WIDE);
    for (int i = 0; i < LAST; i++) {
        float row[WIDE];
        const vr_flash_seen seen = { i, i };
        random_fill(&r, row, WIDE);
        row[0] = (float)i;
        vr_flash_paper_add(&p, &run, row, row, &seen, &r);
        ck_assert_int_eq((int)p.n_bank, i / (int)p.stride + 1);
        ck_assert_int_le(p.n_bank, VR_FLASH_BANK);
        ck_assert(p.stride == 1 || 2 * p.n_bank > VR_FLASH_BANK - 2);
    }
    ck_assert_int_eq((int)p.stride, 8);
    for (int k = 0; k < p.n_bank; k++) {
        ck_assert_int_eq((int)p.bank_seen[k].number, k * (int)p.stride);
        ck_assert(p.bank[k * WIDE] == (float)(k * (int)p.stride) && p.bank_rows[k * WIDE] == p.bank[k * WIDE]);
    }
    float frames = 0;
    for (int j = 0; j < p.n; j++) frames += p.weights[j];
    ck_assert(frames == (float)LAST); /* nothing is forgotten */
    for (int j = 1; j < p.n; j++) ck_assert(p.times[j - 1] <= p.times[j]);
    vr_backend_free(run.be);
    vr_arena_close(&arena);
}
END_TEST

START_TEST(refused) /* 3 tokens a line cannot be made of 4 by whole windows */
{
    vr_random r = { 1 };
    small_model m;
    vr_err e = { 0 };
    ck_assert_int_eq(model_open(&m, &r, 3, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "memory.temporal_side 3") != NULL, "%s", e.text);
    model_free(&m);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, streams);
    tcase_add_test(tests, clips);
    tcase_add_test(tests, bank_thins_out);
    tcase_add_test(tests, refused);
    return run_tests("flash_vstream", tests);
}
