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
    const size_t n = (size_t)capacity, places = n + (size_t)K;
    *m = (vr_temporal_memory){ .K = K, .D = D, .capacity = capacity };
    m->rows = vr_arena_floats(run->scratch, places * (size_t)D);
    m->spare = vr_arena_floats(run->scratch, n * (size_t)D);
    m->lines = vr_arena_alloc(run->scratch, n * places, sizeof *m->lines);
    m->share = vr_arena_floats(run->scratch, n);
    m->ids = vr_arena_alloc(run->scratch, n, sizeof *m->ids);
    m->distance = vr_arena_alloc(run->host, n * n, sizeof *m->distance);
    m->before = vr_arena_alloc(run->host, n * n, sizeof *m->before);
    m->line = vr_arena_alloc(run->host, n * places, sizeof *m->line);
    m->place = vr_arena_alloc(run->host, n, sizeof *m->place);
    m->taken = vr_arena_alloc(run->host, places, sizeof *m->taken);
    m->next = vr_arena_alloc(run->host, n, sizeof *m->next);
    m->member = vr_arena_floats(run->host, n);
    m->order_all = vr_arena_alloc(run->host, n, sizeof *m->order_all);
    m->roots = vr_arena_floats(run->host, n * VR_MEMORY_KEYS);
    vr_kmeans_alloc(&m->km, run->host, capacity, K, false);
    vr_temporal_memory_clear(m);
}

void vr_temporal_memory_clear(vr_temporal_memory *m)
{
    m->n = m->n_keys = m->n_places = 0;
}

static int place_take(vr_temporal_memory *m)
{
    int p = 0;
    while (p < m->n_places && m->taken[p]) p++;
    assert(p < m->capacity + m->K);
    if (p == m->n_places) m->n_places++;
    m->taken[p] = true;
    return p;
}

/* What no slot points to is free again. */
static void places_free(vr_temporal_memory *m)
{
    memset(m->taken, 0, (size_t)m->n_places * sizeof *m->taken);
    for (int j = 0; j < m->n; j++) m->taken[m->place[j]] = true;
}

/* Distances of x [t,D], the rows of slots first .. first + t - 1, to all n, into lines and columns of the matrix. */
static void measure(vr_temporal_memory *m, const vr_run *run, const float *x, int first, int t, int n)
{
    const int N = m->n_places;
    run->be->ops->distances(run->be, m->lines, x, t, m->rows, N, m->D);
    run->be->read(run->be, m->line, m->lines, (size_t)t * (size_t)N * sizeof *m->line);
    for (int i = 0; i < t; i++) {
        for (int k = 0; k < n; k++) {
            const double d = m->line[(int64_t)i * N + m->place[k]];
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

/* The members of slot j, mixed into a free place. */
static int mixture(vr_temporal_memory *m, const vr_run *run, int j)
{
    const float *const share = m->km.mixture + (int64_t)j * m->km.T;
    int n = 0;
    for (int i = 0; i < m->km.T; i++) {
        if (share[i] == 0.0f) continue;
        m->order_all[n] = m->place[i];
        m->member[n++] = share[i];
    }
    const int p = place_take(m);
    run->be->write(run->be, m->ids, m->order_all, (size_t)n * sizeof *m->ids);
    run->be->write(run->be, m->share, m->member, (size_t)n * sizeof *m->share);
    run->be->ops->gather_rows(run->be, m->spare, m->rows, m->ids, n, m->D);
    run->be->ops->mix_rows(run->be, m->rows + (int64_t)p * m->D, m->share, 1, m->spare, n, m->D);
    return p;
}

/* The slots of the last run become the rows. */
static void merge(vr_temporal_memory *m, const vr_run *run)
{
    const vr_kmeans *const km = &m->km;
    const int T = km->T, K = km->K;
    for (int j = 0; j < K; j++) m->next[j] = km->source[j] < 0 ? mixture(m, run, j) : m->place[km->source[j]];
    memcpy(m->place, m->next, (size_t)K * sizeof *m->place);
    m->n = K;
    for (int j = 0; j < K; j++) {
        for (int k = 0; k < K && km->source[j] >= 0; k++) {
            if (km->source[k] >= 0)
                m->distance[(int64_t)j * m->capacity + k] = m->before[(int64_t)km->source[j] * T + km->source[k]];
        }
    }
    for (int j = 0; j < K; j++) {
        if (km->source[j] < 0) measure(m, run, m->rows + (int64_t)m->place[j] * m->D, j, 1, K);
    }
    places_free(m);
}

void vr_temporal_memory_update(vr_temporal_memory *m, const vr_run *run, const float *x, int t, vr_random *random)
{
    const int n = m->n, T = n + t;
    if (run->be->plan) /* the most that measure looks at: what the operation takes for itself is counted */
        run->be->ops->distances(run->be, m->lines, m->rows, m->capacity, m->rows, m->capacity + m->K, m->D);
    if (run->be->plan || t == 0) return;
    assert(T <= m->capacity);
    for (int i = 0; i < t; i++) {
        m->place[n + i] = place_take(m);
        run->be->ops->copy_rows(run->be, m->rows + (int64_t)m->place[n + i] * m->D, m->D, x + (int64_t)i * m->D, m->D, 1, m->D);
    }
    measure(m, run, x, n, t, T);
    m->n = T;
    m->n_keys = 0;
    if (n == 0) return;
    for (int i = 0; i < T; i++)
        memcpy(m->before + (int64_t)i * T, m->distance + (int64_t)i * m->capacity, (size_t)T * sizeof *m->before);
    vr_kmeans_run(&m->km, m->before, T, m->K, NULL, NULL, 0, random);
    retrieve(m);
    if (T > m->K) merge(m, run);
}

const float *vr_temporal_memory_rows(const vr_temporal_memory *m, vr_backend *be)
{
    be->write(be, m->ids, m->place, (size_t)m->n * sizeof *m->ids);
    be->ops->gather_rows(be, m->spare, m->rows, m->ids, m->n, m->D);
    return m->spare;
}
