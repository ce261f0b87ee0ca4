/*
 * temporal_memory.h - Flash-VStream: the temporal memory of a stream, K rows that every clip is clustered into.
 *
 *   state: rows, the place of every slot's row among them, squared distances of all pairs of slots
 *   clip [t,D] -> rows in free places, t new lines of distances -> n <= K: done
 *             -> k-means of n + t rows to K -> keys, picks -> slots that are a row take its place, mixtures and their distances
 *                are made
 *
 * Only what is new is touched: after a frame 24 of 25 slots are old rows, which stay where they are, so two lines of distances
 * are computed, not 26, and one row is written, not 25.
 * Trap:  weights are not carried: every row counts 1 in every update, as in the published code.
 */
#ifndef VR_TEMPORAL_MEMORY_H
#define VR_TEMPORAL_MEMORY_H

#include "compress/kmeans.h"

#define VR_MEMORY_KEYS 3

typedef struct vr_temporal_memory {
    int K, D, capacity;
    int n;                         /* rows now; more than K only after a first clip that was longer */
    double *distance;              /* [n, n] squares, host; lines of `capacity` numbers */
    vr_kmeans km;                  /* of the last update; meaningless before the second clip */
    int n_keys;                    /* of the last update: min(3, slots); 0 after the first clip */
    int32_t order[VR_MEMORY_KEYS]; /* heaviest slots */
    int32_t picks[VR_MEMORY_KEYS]; /* of the rows that were clustered the ones nearest to those of these numbers */
    /* inside */
    int n_places;                  /* of rows, that were ever taken; at most capacity + K */
    int32_t *place, *next;         /* [capacity] of slots; equal rows may share one */
    float *member;                 /* [capacity] shares of one slot */
    bool *taken;                   /* [capacity + K] places */
    float *rows;                   /* [capacity + K, D] backend */
    float *spare, *share;          /* [capacity, D], [capacity] backend */
    int32_t *ids;                  /* [capacity] backend */
    double *lines, *line, *before; /* [capacity * (capacity + K)] backend, host, host */
    int32_t *order_all;            /* [capacity] */
    float *roots;                  /* [capacity, 3] */
} vr_temporal_memory;

/* Takes memory of the run's arenas for K slots and clips of up to max_clip rows of D floats, as long as the stream lives. */
void vr_temporal_memory_alloc(vr_temporal_memory *m, const vr_run *run, int K, int max_clip, int D);
void vr_temporal_memory_clear(vr_temporal_memory *m);
/* One clip x [t,D], t <= max_clip, backend memory. The first clip is kept as it is, whatever its length. Takes no scratch;
 * nothing happens while planning. */
void vr_temporal_memory_update(vr_temporal_memory *m, const vr_run *run, const float *x, int t, vr_random *random);
/* The rows [n,D] in the order of the slots, backend memory of m, until the next call or update. */
const float *vr_temporal_memory_rows(const vr_temporal_memory *m, vr_backend *be);

#endif
