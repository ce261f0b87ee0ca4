/*
 * retrieve.h - Flash-VStream: which frames of the bank are shown whole.
 *
 *   first generation:  squared distances of all rows, keys are rows -> nearest row of each key
 *   second:            keys [k,D], bank [t,D] -> |a|^2 + |b|^2 - 2 a.b -> nearest row of each key
 */
#ifndef VR_RETRIEVE_H
#define VR_RETRIEVE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"

/* distance [T,T] squared; picks[j] = the row nearest to row keys[j], the lower row among equals.
 * roots [T, n_keys] out: the distances. T >= 1. All of it host memory. */
void vr_retrieve_nearest(const double *distance, int T, const int32_t *keys, int n_keys, int32_t *picks, float *roots);

/* picks [n_keys] host: for each key the nearest row of the bank by the expanded form in f32, whose rounding decides among rows
 * that are alike: not a number (a square below 0) before all numbers, then the smallest, then the lower row.
 *   keys [n_keys,D], bank [T,D] backend memory.
 *   bfloat16: every step rounded as the released code does on a GPU; keys and bank are then host memory too (CPU backends). */
void vr_retrieve_expanded(const vr_run *run, const float *keys, int n_keys, const float *bank, int T, int D, bool bfloat16,
                          int32_t *picks);

#endif
