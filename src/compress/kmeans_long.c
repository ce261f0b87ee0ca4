/*
 * kmeans_long.c - see kmeans_long.h.
 *
 * Ref:   Flash-VStream compress_functions.py:130-169 (weighted_kmeans_feature).
 * Trap:  after the round that ends it, centroids are the old ones, labels and weights the new, as in kmeans.c.
 */
#include "compress/kmeans_long.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compress/nearest.h"

#define LEAST_MOVE 1e-4
#define CHUNK      1024 /* rows whose distances are read back together */

typedef struct rounds {
    vr_kmeans *km;
    const vr_run *run;
    const float *x;
    int T, D, K;
    float *now, *next;         /* [K, D] backend memory */
    float *shares;             /* [K, T] backend memory */
    double *distance, *square; /* [CHUNK, K] backend memory; of a pair of rows too. [CHUNK, K] host */
    float *before;             /* [K, T] host: the mixture of `now`, while km's is that of `next` */
} rounds;

static void be_row(const rounds *r, int j, int row)
{
    float *share = r->km->mixture + (size_t)j * (size_t)r->T;
    memset(share, 0, (size_t)r->T * sizeof *share);
    share[row] = 1;
}

/* Centroids of km's mixture. */
static void mix(const rounds *r, float *centroids)
{
    const vr_run *run = r->run;
    run->be->write(run->be, r->shares, r->km->mixture, (size_t)r->K * (size_t)r->T * sizeof *r->shares);
    run->be->ops->mix_rows(run->be, centroids, r->shares, r->K, r->x, r->T, r->D);
}

static void find_labels(const rounds *r, int32_t *labels)
{
    const vr_run *run = r->run;
    for (int first = 0; first < r->T; first += CHUNK) {
        const int n = r->T - first < CHUNK ? r->T - first : CHUNK;
        run->be->ops->distances(run->be, r->distance, r->x + (size_t)first * (size_t)r->D, n, r->now, r->K, r->D);
        run->be->read(run->be, r->square, r->distance, (size_t)n * (size_t)r->K * sizeof *r->square);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < r->K; j++) r->km->row_roots[j] = (float)sqrt(r->square[i * r->K + j]);
            labels[first + i] = vr_nearest(r->km->row_roots, r->K, 1);
        }
    }
}

/* Mixture and weights of the members; emptied slots take a row. */
static void find_means(const rounds *r, const int32_t *labels, vr_random *random)
{
    vr_kmeans *km = r->km;
    memset(km->weights, 0, (size_t)r->K * sizeof *km->weights);
    memset(km->mixture, 0, (size_t)r->K * (size_t)r->T * sizeof *km->mixture);
    for (int i = 0; i < r->T; i++) km->weights[labels[i]]++;
    for (int i = 0; i < r->T; i++)
        km->mixture[(size_t)labels[i] * (size_t)r->T + (size_t)i] = (float)(1 / (double)km->weights[labels[i]]);
    for (int j = 0; j < r->K; j++) {
        if (km->weights[j] > 0) continue;
        const int32_t row = (int32_t)vr_random_below(random, (uint32_t)r->T);
        km->refills[km->n_refills++] = row;
        be_row(r, j, row);
    }
}

static double moved(const rounds *r)
{
    const vr_run *run = r->run;
    double total = 0, square;
    for (int j = 0; j < r->K; j++) {
        const size_t at = (size_t)j * (size_t)r->D;
        run->be->ops->distances(run->be, r->distance, r->now + at, 1, r->next + at, 1, r->D);
        run->be->read(run->be, &square, r->distance, sizeof square);
        total += sqrt(square);
    }
    return total;
}

static void rounds_run(rounds *r, vr_random *random)
{
    vr_kmeans *km = r->km;
    const size_t n_bytes = (size_t)r->K * (size_t)r->T * sizeof *km->mixture;
    vr_random_permutation(random, r->T, km->draws);
    for (int j = 0; j < r->K; j++) be_row(r, j, km->draws[j]);
    mix(r, r->now);
    while (km->n_rounds < VR_KMEANS_ROUNDS) {
        int32_t *labels = km->labels + (size_t)km->n_rounds++ * (size_t)r->T;
        find_labels(r, labels);
        memcpy(r->before, km->mixture, n_bytes);
        find_means(r, labels, random);
        mix(r, r->next);
        if (moved(r) < LEAST_MOVE) {
            memcpy(km->mixture, r->before, n_bytes);
            break;
        }
        float *const old = r->now;
        r->now = r->next, r->next = old;
    }
}

void vr_kmeans_long_run(vr_kmeans *km, const vr_run *run, const float *x, int T, int D, int K, vr_random *random)
{
    assert(T > K && K >= 1 && T <= km->max_rows && K <= km->max_slots);
    const size_t mark = vr_arena_mark(run->scratch), host = vr_arena_mark(run->host);
    rounds r = { .km = km, .run = run, .x = x, .T = T, .D = D, .K = K };
    r.now = vr_arena_floats(run->scratch, (size_t)K * (size_t)D);
    r.next = vr_arena_floats(run->scratch, (size_t)K * (size_t)D);
    r.shares = vr_arena_floats(run->scratch, (size_t)K * (size_t)T);
    r.distance = vr_arena_alloc(run->scratch, (size_t)CHUNK * (size_t)K, sizeof *r.distance);
    r.square = vr_arena_alloc(run->host, (size_t)CHUNK * (size_t)K, sizeof *r.square);
    r.before = (float *)(void *)km->work;
    km->T = T, km->K = K;
    km->n_rounds = km->n_refills = 0;
    km->n_draws = T;
    km->roots = NULL;
    if (run->be->plan) { /* what the operation takes for itself is counted */
        run->be->ops->distances(run->be, r.distance, x, T < CHUNK ? T : CHUNK, r.now, K, D);
    } else {
        rounds_run(&r, random);
        for (int j = 0; j < K; j++) {
            km->source[j] = -1;
            for (int i = 0; i < T; i++)
                if (km->mixture[(size_t)j * (size_t)T + (size_t)i] == 1) km->source[j] = i;
        }
    }
    vr_arena_release(run->host, host);
    vr_arena_release(run->scratch, mark);
}
