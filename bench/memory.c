/*
 * memory.c - families kmeans (frames to slots), memory_update (one frame of a stream, 26 rows to 25) and scene_tiling.
 *
 *   kmeans:         x [T, 16 x 1024] -> distances of pairs, rounds, centroids [25, 16 x 1024]
 *   memory_update:  one frame -> its distances, rounds, three picks, the merged row and its distances
 *   scene_tiling:   class rows [3600, 1024], an hour at a frame a second -> similarities, depths, last frames of scenes
 *
 * Floor: read the rows once.  Oracle, in double and from the features: labels of the first and last round are the nearest
 * centroids, the centroids the means of their members; similarities as defined.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "compress/scene_tiling.h"
#include "compress/temporal_memory.h"

#define SLOTS    25
#define COLUMNS  (16 * 1024)
#define CLASS    1024
#define FRAMES   64 /* of the stream, over and over */
#define SEED     7
#define MAX_WAYS 4

typedef struct memory_data {
    bench_run *run;
    const char *what;
    int T, D;
    float *x; /* [T,D] */
    size_t x_bytes, floor_bytes;
} memory_data;

typedef struct memory_way {
    memory_data *data;
    vr_run run;
    vr_arena arena;
    vr_kmeans km;
    vr_temporal_memory stream;
    vr_random random;
    int next;         /* frame of the stream */
    double *distance; /* [T,T] */
    float *y;         /* [SLOTS, D]; scene_tiling: similarity and depth [2 T] */
    int32_t *ends;    /* [T] */
} memory_way;

/* Scenes of some ten frames: what they share, a drift, and noise. */
static void fill(memory_data *d)
{
    uint64_t noise = UINT64_C(2685821657736338717);
    for (int t = 0; t < d->T; t++) {
        uint64_t scene = UINT64_C(4101842887655102017) + (uint64_t)(t / 10);
        const float drift = 0.05f * (float)(t % 10);
        for (int k = 0; k < d->D; k++)
            d->x[(int64_t)t * d->D + k] = (1.0f - drift) * bench_random(&scene) + 0.3f * bench_random(&noise);
    }
}

static double call_read(void *arg)
{
    const memory_data *d = arg;
    return bench_read(d->run->pool, d->x, d->floor_bytes);
}

static double call_kmeans(void *arg)
{
    memory_way *w = arg;
    const memory_data *d = w->data;
    vr_random random = { SEED };
    const double start = bench_seconds();
    vr_kmeans_distances(&w->run, d->x, d->T, d->D, w->distance);
    vr_kmeans_run(&w->km, w->distance, d->T, SLOTS, NULL, NULL, 0, &random);
    vr_kmeans_centroids(&w->run, &w->km, NULL, d->x, d->D, w->y);
    return bench_seconds() - start;
}

static double call_update(void *arg)
{
    memory_way *w = arg;
    const double start = bench_seconds();
    vr_temporal_memory_update(&w->stream, &w->run, w->data->x + (int64_t)(w->next++ % w->data->T) * w->data->D, 1, &w->random);
    return bench_seconds() - start;
}

static double call_scenes(void *arg)
{
    memory_way *w = arg;
    const memory_data *d = w->data;
    const vr_scene_rule rule = { .alpha = 0.5f, .most = 15 };
    const double start = bench_seconds();
    vr_scene_similarity(&w->run, d->x, d->T, d->D, w->y);
    vr_scene_depth(w->y, d->T - 1, w->y + d->T);
    vr_scene_ends(w->y + d->T, d->T, &rule, w->ends);
    return bench_seconds() - start;
}

/* --- oracle --------------------------------------------------------------------------------------------------------------- */

static double square_between(const float *a, const float *b, int D)
{
    double sum = 0.0;
    for (int k = 0; k < D; k++) sum += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
    return sum;
}

/* Is every row's label its nearest centroid? Centroid j is row ids[j] of c, or row j without ids. */
static bool labels_right(const float *x, int T, int D, const int32_t *labels, const float *c, const int32_t *ids)
{
    for (int i = 0; i < T; i++) {
        const float *row = x + (int64_t)i * D;
        double least = (double)INFINITY, own = 0.0;
        for (int j = 0; j < SLOTS; j++) {
            const double square = square_between(row, c + (int64_t)(ids ? ids[j] : j) * D, D);
            least = square < least ? square : least;
            own = j == labels[i] ? square : own;
        }
        if (!(own <= least * (1.0 + 1e-5) + 1e-6)) return false;
    }
    return true;
}

/* y [SLOTS,D] are the means of the rows with their labels; an emptied slot may be anything. */
static bool means_right(const float *x, int T, int D, const int32_t *labels, const float *y)
{
    for (int j = 0; j < SLOTS; j++) {
        for (int k = 0; k < D; k += 37) {
            double sum = 0.0;
            int n = 0;
            for (int i = 0; i < T; i++) {
                if (labels[i] == j) sum += (double)x[(int64_t)i * D + k], n++;
            }
            if (n > 0 && !(fabs(sum / n - (double)y[(int64_t)j * D + k]) < 1e-5)) return false;
        }
    }
    return true;
}

static bool kmeans_right(memory_way *w)
{
    const memory_data *d = w->data;
    call_kmeans(w);
    const int32_t *last = w->km.labels + (int64_t)(w->km.n_rounds - 1) * d->T;
    return labels_right(d->x, d->T, d->D, w->km.labels, d->x, w->km.draws) &&
           labels_right(d->x, d->T, d->D, last, w->y, NULL) && means_right(d->x, d->T, d->D, last, w->y);
}

/* An update of a full memory, from its rows before. */
static bool update_right(memory_way *w)
{
    const int T = SLOTS + 1, D = w->data->D;
    while (w->stream.n < SLOTS || w->next < 2 * SLOTS) call_update(w);
    float *before = malloc((size_t)T * (size_t)D * sizeof *before);
    if (!before) return false;
    memcpy(before, vr_temporal_memory_rows(&w->stream, w->run.be), (size_t)SLOTS * (size_t)D * sizeof *before);
    memcpy(before + (int64_t)SLOTS * D, w->data->x + (int64_t)(w->next % w->data->T) * D, (size_t)D * sizeof *before);
    call_update(w);
    const vr_kmeans *km = &w->stream.km;
    const int32_t *last = km->labels + (int64_t)(km->n_rounds - 1) * T;
    const float *rows = vr_temporal_memory_rows(&w->stream, w->run.be);
    const bool ok = km->T == T && labels_right(before, T, D, km->labels, before, km->draws) &&
                    labels_right(before, T, D, last, rows, NULL) && means_right(before, T, D, last, rows);
    free(before);
    return ok;
}

static bool scenes_right(memory_way *w)
{
    const memory_data *d = w->data;
    call_scenes(w);
    for (int t = 0; t + 1 < d->T; t++) {
        const float *a = d->x + (int64_t)t * d->D, *b = a + d->D;
        double ab = 0.0, aa = 0.0, bb = 0.0;
        for (int k = 0; k < d->D; k++)
            ab += (double)a[k] * (double)b[k], aa += (double)a[k] * (double)a[k], bb += (double)b[k] * (double)b[k];
        if (!(fabs(ab / sqrt(aa * bb) - (double)w->y[t]) < 1e-6)) return false;
    }
    return true;
}

/* --- groups --------------------------------------------------------------------------------------------------------------- */

typedef struct memory_family {
    const char *name;
    double (*call)(void *way);
    bool (*right)(memory_way *w);
    int rows; /* that a call needs; 0: all */
} memory_family;

static int way_open(memory_way *w, memory_data *d, const char *level, vr_err *e)
{
    const size_t T = (size_t)d->T, D = (size_t)d->D, pairs = T < 1024 ? T * T : 0;
    *w = (memory_way){ .data = d, .random = { SEED } };
    VR_TRY(vr_backend_open_cpu(&w->run.be,
                               &(vr_cpu_options){ .n_threads = d->run->n_threads, .gemm = VR_GEMM_OWN, .level = level }, e));
    VR_TRY(vr_arena_open(&w->arena, pairs * 32 + T * 2048 + 4 * (SLOTS + 2) * D * sizeof(float) + ((size_t)4 << 20), e));
    w->run.scratch = w->run.host = &w->arena;
    w->y = vr_arena_floats(&w->arena, D * SLOTS > 2 * T ? D * SLOTS : 2 * T);
    w->ends = vr_arena_alloc(&w->arena, T, sizeof *w->ends);
    w->distance = vr_arena_alloc(&w->arena, pairs, sizeof *w->distance);
    if (strcmp(d->what, "kmeans") == 0) vr_kmeans_alloc(&w->km, &w->arena, d->T, SLOTS, false);
    if (strcmp(d->what, "memory_update") == 0) vr_temporal_memory_alloc(&w->stream, &w->run, SLOTS, 1, d->D);
    return VR_OK;
}

static int measure_case(bench_run *run, const memory_family *family, int T, int D, vr_err *e)
{
    memory_data d = { .run = run, .what = family->name, .T = T, .D = D, .x_bytes = (size_t)T * (size_t)D * sizeof(float) };
    memory_way ways[MAX_WAYS] = { 0 };
    const char *levels[4];
    const int n_levels = bench_levels(run, levels);
    int rc = VR_OK;
    bench_group g = { .bench = family->name, .type = "f32" };
    const int rows = family->rows ? family->rows : T;
    d.floor_bytes = (size_t)rows * (size_t)D * sizeof(float);
    snprintf(g.shape, sizeof g.shape, "%dx%d", rows, D);
    if (!bench_begin(run, &g)) return VR_OK;
    d.x = bench_alloc(d.x_bytes);
    if (!d.x) {
        rc = vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", family->name);
        goto done;
    }
    fill(&d);
    bench_add(&g, BENCH_FLOOR, "read", call_read, &d);
    for (int i = 0; i < n_levels; i++) {
        if ((rc = way_open(&ways[i], &d, levels[i], e)) != VR_OK) goto done;
        if (!family->right(&ways[i])) {
            rc = vr_fail(e, VR_ERR_OTHER, "%s %s: wrong result", family->name, levels[i]);
            goto done;
        }
        bench_way *b = bench_add(&g, BENCH_OWN, family->name, family->call, &ways[i]);
        b->bytes = (double)d.floor_bytes, b->floors = 1, b->n_threads = run->n_threads;
        snprintf(b->level, sizeof b->level, "%s", levels[i]);
    }
    peer_add(run->peer, &g, d.what, d.x, d.x_bytes, (const int[]){ T, D, SLOTS, SEED }, 4, 7, 3);
    bench_measure(run, &g);
done:
    for (int i = 0; i < MAX_WAYS; i++) {
        vr_backend_free(ways[i].run.be);
        vr_arena_close(&ways[i].arena);
    }
    bench_free(d.x, d.x_bytes);
    return rc;
}

int bench_kmeans(bench_run *run, vr_err *e)
{
    const memory_family family = { "kmeans", call_kmeans, kmeans_right, 0 };
    VR_TRY(measure_case(run, &family, SLOTS + 1, COLUMNS, e));
    return measure_case(run, &family, 250, COLUMNS, e);
}

int bench_memory_update(bench_run *run, vr_err *e)
{
    return measure_case(run, &(memory_family){ "memory_update", call_update, update_right, SLOTS + 1 }, FRAMES, COLUMNS, e);
}

int bench_scene_tiling(bench_run *run, vr_err *e)
{
    return measure_case(run, &(memory_family){ "scene_tiling", call_scenes, scenes_right, 0 }, 3600, CLASS, e);
}
