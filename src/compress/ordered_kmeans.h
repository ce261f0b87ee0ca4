/*
 * ordered_kmeans.h - Flash-VStream, second generation: k-means of distinct steps, slots ordered by time.
 *
 *   x [T,D] -> distinct rows, sorted -> k-means (kmeans.h) -> mean time of each slot -> slots by time
 *   fewer distinct rows than slots: those, by time, behind the first rows of x
 */
#ifndef VR_ORDERED_KMEANS_H
#define VR_ORDERED_KMEANS_H

#include "compress/kmeans.h"

typedef struct vr_ordered_kmeans {
    vr_kmeans km;      /* slots as drawn; where there are too few distinct rows only n_rounds (1) and labels are told */
    int K;             /* slots of the result: min(T, slots asked for) */
    int32_t *distinct; /* [n_distinct] rows (of equal ones the first), sorted by their numbers from the left */
    int n_distinct;
    float *weights;     /* [K] members, by time */
    float *times;       /* [K] mean place of the members */
    int32_t *positions; /* [K] times rounded, half to even */
    int32_t *slots;     /* inside: the slot of km that each of the result is */
    float *slot_times;  /* inside: [K] of the slots of km */
    double *distance;   /* [T,T] squared */
} vr_ordered_kmeans;

void vr_ordered_kmeans_alloc(vr_ordered_kmeans *o, vr_arena *host, int max_rows, int max_slots, bool keep_roots);

/* x [T,D] in backend memory that the host can read -> y [K,D] centroids by time, T >= 1. weights [T] or NULL (ones). Scratch
 * of the run: T*T doubles.
 * An emptied slot makes the published code fail; here it keeps weight 0 and the time of the row it took. */
void vr_ordered_kmeans_rows(const vr_run *run, vr_ordered_kmeans *o, const float *x, int T, int D, int K, const float *weights,
                            vr_random *random, float *y);

#endif
