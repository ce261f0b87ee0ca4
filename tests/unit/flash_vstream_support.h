/*
 * flash_vstream_support.h - a small Flash-VStream of random numbers, and its memories by the published rules, written down
 * plainly, for tests of clips and of streams.
 *
 * Slots are few (5 of the temporal, 4 of the abstract memory), so that short clips fill them.
 */
#ifndef VR_FLASH_VSTREAM_SUPPORT_H
#define VR_FLASH_VSTREAM_SUPPORT_H

#include "compress/weight_order.h"
#include "systems/flash_vstream.h"
#include "tests/unit/media_support.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/model_support.h"

enum { D = 6, DL = 4, F = 5, SIDE = 8, PATCH = 2, S = SIDE * PATCH, MAP = 4, POOLED = 2, K = 5, N = 4, E = 3, KEYS = 3 };
enum { MAP_ROWS = MAP * MAP, POOLED_ROWS = POOLED * POOLED, LONG = POOLED_ROWS * D };
enum { FRAMES = 30, WIDTH = 22, HEIGHT = 18 };

typedef struct small_model {
    model m;
    void *state;
} small_model;

/* ---- a small model ---- */

/* temporal_side: of the file, to be wrong about; the system's answer */
static inline int small_open(small_model *small, vr_random *r, int temporal_side, vr_err *e)
{
    const struct {
        const char *key;
        int value;
    } numbers[] = { { "memory.pool_side", MAP },         { "memory.temporal_side", temporal_side },
                    { "memory.abstract_side", 1 },       { "memory.spatial_length", 1 },
                    { "memory.temporal_length", K },     { "memory.abstract_length", N },
                    { "memory.retrieved_length", KEYS }, { "memory.abstract_width", E } };
    model *m = &small->m;
    *small = (small_model){ 0 };
    srand((unsigned)vr_random_next(r));
    model_add_tower(m, "vit", &(model_tower){ D, F, 2, S, PATCH, "gelu_quick" });
    model_add_both(m, E, D, "abstract.q");
    model_add_both(m, E, D, "abstract.k");
    model_add_both(m, DL, D, "project.video.fc1");
    model_add_both(m, DL, DL, "project.video.fc2");
    model_add_decoder(m, &(model_decoder){ .n_layers = 1,
                                           .width = DL,
                                           .hidden = F,
                                           .n_heads = 2,
                                           .n_kv_heads = 2,
                                           .head_width = 2,
                                           .vocabulary = 3,
                                           .context = 64 });
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) model_int(m, numbers[i].key, (uint32_t)numbers[i].value);
    model_float(m, "video.fps", 1);
    model_float(m, "memory.abstract_ratio", 0.25f);
    model_three(m, "pixel.mean", 0.4f, 0.5f, 0.6f);
    model_three(m, "pixel.std", 0.2f, 0.3f, 0.4f);
    ck_assert_int_eq(m->count, 37);
    model_open(m);
    return vr_system_open(&vr_system_flash_vstream, &small->state, m->weights, e);
}

static inline void small_free(small_model *small)
{
    vr_system_close(&vr_system_flash_vstream, small->state);
    model_free(&small->m);
}

/* ---- the published rules, spec A4.1 to A4.3 ---- */

typedef struct memory {
    float abstract[N][D], temporal[FRAMES][LONG], weights[FRAMES], rows[FRAMES][LONG], maps[FRAMES][MAP_ROWS * D],
        spatial[MAP_ROWS * D];
    double times[FRAMES]; /* by the paper: of the slots */
    int n_abstract, n_temporal, n_keys, picks[KEYS];
} memory;

static inline void means(float *out, int side, const float *map)
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

static inline double far(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < LONG; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return (double)(float)sqrt(sum);
}

static inline int nearest(const float *x, float (*rows)[LONG], int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (far(x, rows[i]) < far(x, rows[best])) best = i;
    return best;
}

/* The new centroids of x [T], and how far they have moved. */
static inline double centroids_move(float (*x)[LONG], int T, const float *w, const int *label, float (*c)[LONG],
                                    float (*next)[LONG], float *weights, vr_random *r)
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
static inline int cluster(float (*x)[LONG], int T, const float *w, float (*y)[LONG], float *weights, int *label, vr_random *r)
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
static inline void retrieve(memory *m, float (*x)[LONG], int T, const float *weights, int n)
{
    int32_t order[FRAMES];
    vr_order_descending(weights, n, order);
    m->n_keys = n < KEYS ? n : KEYS;
    for (int j = 0; j < m->n_keys; j++) m->picks[j] = nearest(x[order[j]], x, T);
}

/* The paper: y [n] clustered of x [T], of weights w and times, by mean time -> m's slots; the frames of rows [n_rows] nearest to
 * the three heaviest. */
static inline void paper_slots(memory *m, float (*x)[LONG], int T, const float *w, const double *times, int n_rows,
                               vr_random *r)
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
static inline void attend(const small_model *small, memory *m, float (*x)[D], int n)
{
    const float *wq = model_find(&small->m, "", "abstract.q.weight"), *bq = model_find(&small->m, "", "abstract.q.bias");
    const float *wk = model_find(&small->m, "", "abstract.k.weight"), *bk = model_find(&small->m, "", "abstract.k.bias");
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

/* ---- comparison ---- */

/* The memory as the projector would read it. */
static inline int rows_of(const small_model *small, vr_run *run, const memory *m, float *rows)
{
    const vr_flash *s = small->state;
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

static inline void expect_rows(const small_model *small, vr_run *run, const memory *m, const float *rows, int n,
                               const char *what)
{
    const size_t mark = vr_arena_mark(run->scratch);
    float *want = vr_arena_floats(run->scratch, (size_t)(N + K * POOLED_ROWS + (KEYS + 1) * MAP_ROWS) * DL);
    ck_assert_msg(rows_of(small, run, m, want) == n, "%s: %d rows", what, n);
    for (int i = 0; i < n * DL; i++)
        ck_assert_msg(fabsf(rows[i] - want[i]) <= 2e-5f * (1 + fabsf(want[i])), "%s: row %d: %g, not %g", what, i / DL,
                      (double)rows[i], (double)want[i]);
    vr_arena_release(run->scratch, mark);
}

/* Maps of rgb [n] as the system makes them. */
static inline void maps_make(const small_model *small, vr_run *run, const uint8_t *rgb, int n, int width, int height,
                             float (*maps)[MAP_ROWS * D])
{
    const vr_flash *s = small->state;
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

#endif
