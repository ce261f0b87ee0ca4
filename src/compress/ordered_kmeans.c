/*
 * ordered_kmeans.c - see ordered_kmeans.h.
 *
 *   T <= K: the steps as they are.  distinct rows < K: those, each with the mean place of its copies.  else: k-means
 *
 * Ref:  Flash-VStream-Qwen compress_functions.py:181-298 (weighted_kmeans_ordered_feature), vstream_qwen2vl_model.py:145-179.
 * Trap: the permutation is drawn over the distinct rows in sorted order; rows drawn for emptied slots are rows of x.
 * Trap: the original measures in the expanded form, where a row on its own centroid is 0 or no number; both mean the nearest,
 *       and so does the exact 0 here.
 * Trap: padding goes in front with times 0, 1, ..., so the times of the result need not ascend.
 */
#include "compress/ordered_kmeans.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compress/weight_order.h"

void vr_ordered_kmeans_alloc(vr_ordered_kmeans *o, vr_arena *host, int max_rows, int max_slots, bool keep_roots)
{
    *o = (vr_ordered_kmeans){ .K = 0 };
    vr_kmeans_alloc(&o->km, host, max_rows, max_slots, keep_roots);
    o->distance = vr_arena_alloc(host, (size_t)max_rows * (size_t)max_rows, sizeof *o->distance);
    o->distinct = vr_arena_alloc(host, (size_t)max_rows, sizeof *o->distinct);
    o->weights = vr_arena_floats(host, (size_t)max_slots);
    o->times = vr_arena_floats(host, (size_t)max_slots);
    o->positions = vr_arena_alloc(host, (size_t)max_slots, sizeof *o->positions);
    o->slots = vr_arena_alloc(host, (size_t)max_slots, sizeof *o->slots);
    o->slot_times = vr_arena_floats(host, (size_t)max_slots);
}

/* Rows lie in backend memory and mostly differ in their first numbers: few are read, then more at a time. */
static int compare_rows(vr_backend *be, const float *a, const float *b, int D)
{
    enum { FEW = 16, MORE = 1024 };
    float u[MORE], v[MORE];
    for (int first = 0, n; first < D; first += n) {
        const int most = first == 0 ? FEW : MORE;
        n = D - first < most ? D - first : most;
        be->read(be, u, a + first, (size_t)n * sizeof *u);
        be->read(be, v, b + first, (size_t)n * sizeof *v);
        for (int d = 0; d < n; d++) {
            if (u[d] < v[d]) return -1;
            if (u[d] > v[d]) return 1;
        }
    }
    return 0;
}

/* Sorted by insertion, the place found by halving: rows differ in their first numbers, so a comparison is cheap. */
static void find_distinct(vr_backend *be, vr_ordered_kmeans *o, const float *x, int T, int D)
{
    o->n_distinct = 0;
    for (int i = 0; i < T; i++) {
        int low = 0, high = o->n_distinct, order = 1;
        while (low < high && order != 0) {
            const int middle = low + (high - low) / 2;
            order = compare_rows(be, x + (int64_t)i * D, x + (int64_t)o->distinct[middle] * D, D);
            if (order < 0)
                high = middle;
            else
                low = middle + 1;
        }
        if (order == 0) continue;
        memmove(o->distinct + low + 1, o->distinct + low, (size_t)(o->n_distinct - low) * sizeof *o->distinct);
        o->distinct[low] = i;
        o->n_distinct++;
    }
}

/* labels [T] of n slots -> slot_times: mean place of the members; of none: the row that the slot took. */
static void find_times(vr_ordered_kmeans *o, const int32_t *labels, int T, int n)
{
    for (int j = 0; j < n; j++) {
        double sum = 0.0;
        int count = 0;
        for (int i = 0; i < T; i++) {
            if (labels[i] == j) sum += i, count++;
        }
        o->slot_times[j] = count ? (float)(sum / count) : (float)o->km.source[j];
    }
}

/* Fewer distinct rows than slots. */
static void pad_distinct(vr_ordered_kmeans *o, int T, int K)
{
    vr_kmeans *km = &o->km;
    const int n = o->n_distinct, n_padding = K - n;
    km->T = T, km->K = K;
    km->n_rounds = 1, km->n_draws = km->n_refills = 0;
    for (int i = 0; i < T; i++) {
        int j = 0;
        while (j < n - 1 && o->distance[(int64_t)i * T + o->distinct[j]] != 0.0) j++;
        km->labels[i] = j;
    }
    find_times(o, km->labels, T, n);
    vr_order_ascending(o->slot_times, n, o->slots);
    memset(km->mixture, 0, (size_t)K * (size_t)T * sizeof *km->mixture);
    for (int i = 0; i < K; i++) {
        const int j = i < n_padding ? -1 : o->slots[i - n_padding];
        km->source[i] = j < 0 ? i : o->distinct[j];
        km->mixture[(int64_t)i * T + km->source[i]] = 1.0f;
        o->weights[i] = 1.0f;
        o->times[i] = j < 0 ? (float)i : o->slot_times[j];
    }
    for (int i = 0; i < K; i++) o->slots[i] = i;
}

static void cluster(vr_ordered_kmeans *o, int T, int K, const float *weights, vr_random *random)
{
    vr_kmeans *km = &o->km;
    vr_kmeans_run(km, o->distance, T, K, weights, o->distinct, o->n_distinct, random);
    find_times(o, km->labels + (int64_t)(km->n_rounds - 1) * T, T, K);
    vr_order_ascending(o->slot_times, K, o->slots);
    for (int i = 0; i < K; i++) o->weights[i] = km->weights[o->slots[i]], o->times[i] = o->slot_times[o->slots[i]];
}

static void keep_rows(vr_ordered_kmeans *o, int T, int K)
{
    vr_kmeans_run(&o->km, o->distance, T, K, NULL, NULL, 0, NULL);
    for (int i = 0; i < T; i++) o->slots[i] = i, o->weights[i] = 1.0f, o->times[i] = (float)i;
}

void vr_ordered_kmeans_rows(const vr_run *run, vr_ordered_kmeans *o, const float *x, int T, int D, int K, const float *weights,
                            vr_random *random, float *y)
{
    assert(T >= 1 && K >= 1 && T <= o->km.max_rows && K <= o->km.max_slots);
    o->K = o->km.K = T < K ? T : K, o->km.T = T;
    o->n_distinct = 0;
    if (T > K) vr_kmeans_distances(run, x, T, D, o->distance);
    if (!run->be->plan) {
        if (T > K) find_distinct(run->be, o, x, T, D);
        if (T <= K)
            keep_rows(o, T, K);
        else if (o->n_distinct < K)
            pad_distinct(o, T, K);
        else
            cluster(o, T, K, weights, random);
        for (int i = 0; i < o->K; i++) o->positions[i] = (int32_t)lrintf(o->times[i]);
    }
    vr_kmeans_centroids(run, &o->km, o->slots, x, D, y);
}
