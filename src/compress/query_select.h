/*
 * query_select.h - LongVU: the frames that fit the question best are shown at high resolution.
 */
#ifndef VR_QUERY_SELECT_H
#define VR_QUERY_SELECT_H

#include <stdbool.h>

/* How many of n frames can be shown with `high` instead of `low` tokens within `room` tokens; 0: none, or all n at low do
 * not fit. */
int vr_query_room(int room, int n, int high, int low);

/* score[f] = frame_mean[f] . text_mean, [n, D] and [D]: the mean of all token products (LongVU cambrian_arch.py:1386-1453). */
void vr_query_score(float *score, const float *frame_mean, const float *text_mean, int n, int D);

/* chosen[f]: f is among the k frames with the largest scores, the lower index among equals; NaN is the smallest. */
void vr_query_choose(bool *chosen, const float *score, int n, int k);

#endif
