/*
 * kmeans.c - see kmeans.h.
 *
 *   equal rows found -> first centroids drawn -> rounds of { roots -> labels -> new shares -> columns -> how far they moved }
 *   column_j[i] = sum_k a_jk d_ik,  self_j = 1/2 sum_i a_ji column_j[i];   |x_i - c_j|^2 = column_j[i] - self_j
 *   |c_j - c'_j|^2 = -1/2 sum_i (a_ji - a'_ji)(column_j[i] - column'_j[i])
 *
 * Ref:   Flash-VStream compress_functions.py:130-169 (weighted_kmeans_feature). A round costs T^2 multiplications here, T K D
 *        there.
 * Trap:  ties are the rule where a video stands still. Equal rows (distance exactly 0) are therefore one row with the sum of
 *        their weights: a cluster of equal rows is that row to the last bit, and two slots of the same rows are equally far
 *        from everything, so the lower one wins, as it does in the original.
 * Trap:  roots are compared as f32, as the original does: what differs in the last bits of a double is a tie.
 * Trap:  after the round that ends it, centroids are the old ones, labels and weights the new.
 */
#include "compress/kmeans.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "compress/nearest.h"

#define LEAST_MOVE 1e-4

/* K centroids over T rows, inside km->work. */
typedef struct centroids {
    double *share;  /* [K,T] */
    double *column; /* [K,T] */
    double *self;   /* [K] */
} centroids;

void vr_kmeans_alloc(vr_kmeans *km, vr_arena *host, int max_rows, int max_slots, bool keep_roots)
{
    const size_t T = (size_t)max_rows, K = (size_t)max_slots, rounds = VR_KMEANS_ROUNDS;
    *km = (vr_kmeans){ .max_rows = max_rows, .max_slots = max_slots };
    km->draws = vr_arena_alloc(host, T, sizeof *km->draws);
    km->labels = vr_arena_alloc(host, rounds * T, sizeof *km->labels);
    km->refills = vr_arena_alloc(host, rounds * K, sizeof *km->refills);
    if (keep_roots) km->roots = vr_arena_floats(host, rounds * T * K);
    km->row_roots = vr_arena_floats(host, K);
    km->weights = vr_arena_floats(host, K);
    km->mixture = vr_arena_floats(host, K * T);
    km->source = vr_arena_alloc(host, K, sizeof *km->source);
    km->work = vr_arena_alloc(host, 2 * (2 * K * T + K), sizeof *km->work);
    km->equal = vr_arena_alloc(host, T, sizeof *km->equal);
}

static centroids centroids_of(const vr_kmeans *km, int which)
{
    const size_t n = (size_t)km->K * (size_t)km->T;
    double *work = km->work + (size_t)which * (2 * n + (size_t)km->K);
    return (centroids){ work, work + n, work + 2 * n };
}

static void find_equal(vr_kmeans *km, const double *distance)
{
    for (int i = 0; i < km->T; i++) {
        int k = 0;
        while (k < i && !(km->equal[k] == k && distance[(int64_t)i * km->T + k] == 0.0)) k++;
        km->equal[i] = k;
    }
}

static void be_row(const vr_kmeans *km, const centroids *c, int j, int row)
{
    double *share = c->share + (int64_t)j * km->T;
    memset(share, 0, (size_t)km->T * sizeof *share);
    share[km->equal[row]] = 1.0;
}

static void columns(const vr_kmeans *km, const centroids *c, const double *distance)
{
    const int T = km->T;
    for (int j = 0; j < km->K; j++) {
        const double *share = c->share + (int64_t)j * T;
        double *column = c->column + (int64_t)j * T, self = 0.0;
        memset(column, 0, (size_t)T * sizeof *column);
        for (int k = 0; k < T; k++) {
            const double *d = distance + (int64_t)k * T;
            if (share[k] == 0.0) continue;
            for (int i = 0; i < T; i++) column[i] += share[k] * d[i];
        }
        for (int i = 0; i < T; i++) self += share[i] * column[i];
        c->self[j] = 0.5 * self;
    }
}

static void find_labels(const vr_kmeans *km, const centroids *c, int32_t *labels, float *roots)
{
    const int T = km->T, K = km->K;
    for (int i = 0; i < T; i++) {
        float *const row = roots ? roots + (int64_t)i * K : km->row_roots;
        const int first = km->equal[i];
        for (int j = 0; j < K; j++) {
            const double square = c->column[(int64_t)j * T + first] - c->self[j];
            row[j] = square < 0.0 ? 0.0f : (float)sqrt(square);
        }
        labels[i] = vr_nearest(row, K, 1);
    }
}

/* Means of the members; emptied slots take a row. */
static void find_means(vr_kmeans *km, const centroids *c, const int32_t *labels, const float *weights, double *sums,
                       vr_random *random)
{
    const int T = km->T, K = km->K;
    memset(c->share, 0, (size_t)K * (size_t)T * sizeof *c->share);
    memset(sums, 0, (size_t)K * sizeof *sums);
    for (int i = 0; i < T; i++) {
        const double w = weights ? (double)weights[i] : 1.0;
        c->share[(int64_t)labels[i] * T + km->equal[i]] += w;
        sums[labels[i]] += w;
    }
    for (int j = 0; j < K; j++) {
        double *share = c->share + (int64_t)j * T;
        km->weights[j] = (float)sums[j];
        if (sums[j] > 0.0) {
            for (int i = 0; i < T; i++) share[i] /= sums[j];
            continue;
        }
        const int32_t row = (int32_t)vr_random_below(random, (uint32_t)T);
        km->refills[km->n_refills++] = row;
        be_row(km, c, j, row);
    }
}

static double moved(const vr_kmeans *km, const centroids *a, const centroids *b)
{
    double total = 0.0;
    for (int64_t j = 0; j < km->K; j++) {
        double square = 0.0;
        for (int64_t i = j * km->T; i < (j + 1) * km->T; i++)
            square -= 0.5 * (a->share[i] - b->share[i]) * (a->column[i] - b->column[i]);
        total += square < 0.0 ? 0.0 : sqrt(square);
    }
    return total;
}

static void tell(vr_kmeans *km, const centroids *c)
{
    for (int j = 0; j < km->K; j++) {
        km->source[j] = -1;
        for (int i = 0; i < km->T; i++) {
            const double share = c->share[(int64_t)j * km->T + i];
            km->mixture[(int64_t)j * km->T + i] = (float)share;
            if (share == 1.0) km->source[j] = i;
        }
    }
}

static void keep_rows(vr_kmeans *km, const float *weights)
{
    memset(km->mixture, 0, (size_t)km->K * (size_t)km->T * sizeof *km->mixture);
    for (int i = 0; i < km->T; i++) {
        km->mixture[(int64_t)i * km->T + i] = 1.0f;
        km->source[i] = i;
        km->weights[i] = weights ? weights[i] : 1.0f;
    }
}

void vr_kmeans_run(vr_kmeans *km, const double *distance, int T, int K, const float *weights, const int32_t *candidates,
                   int n_candidates, vr_random *random)
{
    assert(T <= km->max_rows && K <= km->max_slots && K >= 1);
    km->T = T, km->K = T < K ? T : K;
    km->n_rounds = km->n_draws = km->n_refills = 0;
    if (T <= K) {
        keep_rows(km, weights);
        return;
    }
    assert(!candidates || K <= n_candidates);
    centroids now = centroids_of(km, 0), next = centroids_of(km, 1);
    find_equal(km, distance);
    km->n_draws = candidates ? n_candidates : T;
    vr_random_permutation(random, km->n_draws, km->draws);
    for (int j = 0; j < K; j++) be_row(km, &now, j, candidates ? candidates[km->draws[j]] : km->draws[j]);
    columns(km, &now, distance);
    while (km->n_rounds < VR_KMEANS_ROUNDS) {
        int32_t *const labels = km->labels + (int64_t)km->n_rounds * T;
        find_labels(km, &now, labels, km->roots ? km->roots + (int64_t)km->n_rounds * T * K : NULL);
        km->n_rounds++;
        find_means(km, &next, labels, weights, next.self, random);
        columns(km, &next, distance);
        if (moved(km, &now, &next) < LEAST_MOVE) break;
        const centroids old = now;
        now = next, next = old;
    }
    tell(km, &now);
}

void vr_kmeans_centroids(const vr_run *run, const vr_kmeans *km, const int32_t *order, const float *x, int D, float *y)
{
    const size_t mark = vr_arena_mark(run->scratch), T = (size_t)km->T;
    float *a = vr_arena_floats(run->scratch, (size_t)km->K * T);
    for (int j = 0; j < km->K && !run->be->plan; j++) {
        const size_t slot = (size_t)(order ? order[j] : j);
        run->be->write(run->be, a + (size_t)j * T, km->mixture + slot * T, T * sizeof *a);
    }
    run->be->ops->mix_rows(run->be, y, a, km->K, x, km->T, D);
    vr_arena_release(run->scratch, mark);
}

void vr_kmeans_distances(const vr_run *run, const float *x, int T, int D, double *distance)
{
    const size_t mark = vr_arena_mark(run->scratch), n = (size_t)T * (size_t)T;
    double *d = vr_arena_alloc(run->scratch, n, sizeof *d);
    run->be->ops->distances(run->be, d, x, T, x, T, D);
    if (!run->be->plan) run->be->read(run->be, distance, d, n * sizeof *d);
    vr_arena_release(run->scratch, mark);
}

void vr_kmeans_dump(const vr_run *run, const vr_kmeans *km, const char *prefix)
{
    vr_dump *const dump = vr_run_stages(run);
    char name[VR_MAX_NAME + 1];
    if (!dump) return;
    snprintf(name, sizeof name, "%s.draws", prefix);
    if (km->n_draws) vr_dump_i32(dump, name, km->draws, 1, (const int64_t[1]){ km->n_draws });
    for (int r = 0; r < km->n_rounds; r++) {
        snprintf(name, sizeof name, "%s.labels.%02d", prefix, r);
        vr_dump_i32(dump, name, km->labels + (int64_t)r * km->T, 1, (const int64_t[1]){ km->T });
        snprintf(name, sizeof name, "%s.dist.%02d", prefix, r);
        if (km->roots) vr_dump_f32(dump, name, km->roots + (int64_t)r * km->T * km->K, 2, (const int64_t[2]){ km->T, km->K });
    }
    snprintf(name, sizeof name, "%s.weights", prefix);
    vr_dump_f32(dump, name, km->weights, 1, (const int64_t[1]){ km->K });
}
