/*
 * kmeans.h - Flash-VStream: weighted k-means of frames, from the distances of all pairs of rows alone.
 *
 *   x [T,D] -> op distances [T,T] -> rounds: mixtures of rows -> labels -> mixtures ...  -> op mix_rows -> centroids [K,D]
 *
 * A centroid is a mixture of rows, c_j = sum_k a_jk x_k with sum_k a_jk = 1, so a round needs no features:
 *   |x_i - c_j|^2 = sum_k a_jk d_ik - 1/2 sum_kl a_jk a_jl d_kl,    d_ik = |x_i - x_k|^2
 * Distances of pairs, not their products (Gram), because they keep their digits when frames are alike.
 *
 * Rounds: at most 10; label: the nearest centroid, the lower slot among equals; an emptied slot takes a row drawn at random;
 * ends with the old centroids once they move by less than 1e-4 in all. T <= K: the rows as they are, nothing is drawn.
 */
#ifndef VR_KMEANS_H
#define VR_KMEANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "kernels/backend.h"

#define VR_KMEANS_ROUNDS 10

/* Room and result. All arrays are host memory of the arena given to vr_kmeans_alloc. */
typedef struct vr_kmeans {
    int max_rows, max_slots;
    int T, K;         /* of the last run: K = min(T, slots asked for) */
    int n_rounds;     /* 0: T <= K */
    int n_draws;      /* T, or 0 where nothing was drawn */
    int32_t *draws;   /* [T] the permutation; its first K rows are the first centroids */
    int32_t *labels;  /* [n_rounds, T] */
    int32_t *refills; /* [n_refills] rows that emptied slots took, as drawn */
    int n_refills;
    float *roots;     /* [n_rounds, T, K] distances of rows to slots; NULL: not kept */
    float *weights;   /* [K] of the members at the last labels */
    float *mixture;   /* [K, T] centroid j is sum_i mixture[j,i] x_i; rows equal to an earlier one have no share */
    int32_t *source;  /* [K] the row that slot j is, bit by bit; -1: a mixture */
    double *work;     /* inside */
    float *row_roots; /* inside: [K] */
    int32_t *equal;   /* inside: [T] the first row that is equal */
} vr_kmeans;

/* Room for runs of up to max_rows rows and max_slots slots; keep_roots: for stages. */
void vr_kmeans_alloc(vr_kmeans *km, vr_arena *host, int max_rows, int max_slots, bool keep_roots);

/* distance [T,T], symmetric, exactly 0 for equal rows; weights [T] or NULL (ones); candidates [n_candidates] the rows that
 * first centroids are drawn from, or NULL: all. K <= n_candidates unless T <= K. */
void vr_kmeans_run(vr_kmeans *km, const double *distance, int T, int K, const float *weights, const int32_t *candidates,
                   int n_candidates, vr_random *random);

/* distance [T,T] host: squared distances of x [T,D], backend memory. Scratch of the run: T*T doubles. */
void vr_kmeans_distances(const vr_run *run, const float *x, int T, int D, double *distance);

/* y [K,D] = centroids of the last run over x [T,D], backend memory; a slot that is a row is that row to the bit. order [K]:
 * the slot of each row of y, or NULL. While planning the caller sets km->T and km->K, which say how much scratch is taken. */
void vr_kmeans_centroids(const vr_run *run, const vr_kmeans *km, const int32_t *order, const float *x, int D, float *y);

/* Stages PREFIX.draws, .dist.NN, .labels.NN, .weights; of a run without rounds the weights alone. */
void vr_kmeans_dump(const vr_run *run, const vr_kmeans *km, const char *prefix);

#endif
