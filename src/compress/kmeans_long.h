/*
 * kmeans_long.h - Flash-VStream: k-means of more rows than distances of all pairs could be kept of.
 *
 *   x [T,D] -> rounds of { distances to the K centroids [T,K] -> labels -> op mix_rows -> centroids [K,D] }
 *
 * The rules and the result are those of kmeans.h. Equal rows are not found here: where many rows are equal to the bit, means of
 * them may differ from them in the last bit, and slots of the same rows share them another way.
 */
#ifndef VR_KMEANS_LONG_H
#define VR_KMEANS_LONG_H

#include "compress/kmeans.h"

/* x [T,D] in backend memory, T > K >= 1. Fills km (of vr_kmeans_alloc) as vr_kmeans_run does, but keeps no roots. Scratch of the
 * run: K (2 D + T) floats and 1024 K doubles, taken while planning too. */
void vr_kmeans_long_run(vr_kmeans *km, const vr_run *run, const float *x, int T, int D, int K, vr_random *random);

#endif
