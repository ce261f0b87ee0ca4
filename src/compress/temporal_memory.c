/*
 * temporal_memory.c - see temporal_memory.h.
 *
 * Ref:  Flash-VStream-LLaVA vstream_arch.py:611-698 (the streaming form of the temporal and retrieved memories).
 * Trap: the keys are the rows whose numbers are those of the heaviest slots, not the centroids of these slots; and the picks
 *       are used as numbers of frames by the published code.
 */
#include "compress/temporal_memory.h"

#include <assert.h>
#include <string.h>

#include "compress/retrieve.h"
#include "compress/weight_order.h"

void vr_temporal_memory_alloc(vr_temporal_memory *m, const vr_run *run, int K, int max_clip, int D)
{
    const int capacity = (K > max_clip ? K : max_clip) + max_clip;
    const size_t n = (size_t)capacity, pairs = n * n;
    *m = (vr_temporal_memory){ .K = K, .D = D, .capacity = capacity };
    m->rows = vr_arena_floats(run->scratch, n * (size_t)D);
    m->spare = vr_arena_floats(run->scratch, n * (size_t)D);
    m->lines = vr_arena_alloc(run->scratch, pairs, sizeof *m->lines);
    m->share = vr_arena_floats(run->scratch, n);
    m->ids = vr_arena_alloc(run->scratch, n, sizeof *m->ids);
    m->distance = vr_arena_alloc(run->host, pairs, sizeof *m->distance);
    m->before = vr_arena_alloc(run->host, pairs, sizeof *m->before);
    m->line = vr_arena_alloc(run->host, pairs, sizeof *m->line);
    m->order_all = vr_arena_alloc(run->host, n, sizeof *m->order_all);
    m->roots = vr_arena_floats(run->host, n * VR_MEMORY_KEYS);
    vr_kmeans_alloc(&m->km, run->host, capacity, K, false);
}

void vr_temporal_memory_clear(vr_temporal_memory *m)
{
    m->n = m->n_keys = 0;
}

/* Distances of rows first .. first + t - 1 to all n rows, into lines and columns of the matrix. */
static void measure(vr_temporal_memory *m, const vr_run *run, int first, int t, int n)
{
    run->be->ops->distances(run->be, m->lines, m->rows + (int64_t)first * m->D, t, m->rows, n, m->D);
    run->be->read(run->be, m->line, m->lines, (size_t)t * (size_t)n * sizeof *m->line);
    for (int i = 0; i < t; i++) {
        for (int k = 0; k < n; k++) {
            const double d = m->line[(int64_t)i * n + k];
            m->distance[(int64_t)(first + i) * m->capacity + k] = m->distance[(int64_t)k * m->capacity + first + i] = d;
        }
    }
}

static void retrieve(vr_temporal_memory *m)
{
    vr_order_descending(m->km.weights, m->km.K, m->order_all);
    m->n_keys = m->km.K < VR_MEMORY_KEYS ? m->km.K : VR_MEMORY_KEYS;
    memcpy(m->order, m->order_all, (size_t)m->n_keys * sizeof *m->order);
    vr_retrieve_nearest(m->before, m->km.T, m->order, m->n_keys, m->picks, m->roots);
}

/* The slots of the last run become the rows. */
static void merge(vr_temporal_memory *m, const vr_run *run)
{
    const vr_kmeans *const km = &m->km;
    const int T = km->T, K = km->K;
    for (int j = 0; j < K; j++) m->order_all[j] = km->source[j] < 0 ? 0 : km->source[j];
    run->be->write(run->be, m->ids, m->order_all, (size_t)K * sizeof *m->ids);
    run->be->ops->gather_rows(run->be, m->spare, m->rows, m->ids, K, m->D);
    for (int j = 0; j < K; j++) {
        if (km->source[j] >= 0) continue;
        run->be->write(run->be, m->share, km->mixture + (int64_t)j * T, (size_t)T * sizeof *m->share);
        run->be->ops->mix_rows(run->be, m->spare + (int64_t)j * m->D, m->share, 1, m->rows, T, m->D);
    }
    float *const rows = m->rows;
    m->rows = m->spare, m->spare = rows;
    for (int j = 0; j < K; j++) {
        for (int k = 0; k < K && km->source[j] >= 0; k++) {
            if (km->source[k] >= 0)
                m->distance[(int64_t)j * m->capacity + k] = m->before[(int64_t)km->source[j] * T + km->source[k]];
        }
    }
    for (int j = 0; j < K; j++) {
        if (km->source[j] < 0) measure(m, run, j, 1, K);
    }
    m->n = K;
}

void vr_temporal_memory_update(vr_temporal_memory *m, const vr_run *run, const float *x, int t, vr_random *random)
{
    const int n = m->n, T = n + t;
    if (run->be->plan || t == 0) return;
    assert(T <= m->capacity);
    run->be->ops->copy_rows(run->be, m->rows + (int64_t)n * m->D, m->D, x, m->D, t, m->D);
    measure(m, run, n, t, T);
    m->n = T;
    m->n_keys = 0;
    if (n == 0) return;
    for (int i = 0; i < T; i++)
        memcpy(m->before + (int64_t)i * T, m->distance + (int64_t)i * m->capacity, (size_t)T * sizeof *m->before);
    vr_kmeans_run(&m->km, m->before, T, m->K, NULL, NULL, 0, random);
    retrieve(m);
    if (T > m->K) merge(m, run);
}
