/*
 * query_select.c - see query_select.h.
 *
 *   mean of a frame's tokens . mean of the text's rows -> score -> k largest
 *
 * Ref:  LongVU cambrian_arch.py:1386-1453. By linearity the mean over all products of tokens and text rows is the product of
 *       the means.
 */
#include "compress/query_select.h"

int vr_query_room(int room, int n, int high, int low)
{
    if (room <= n * low || high <= low) return 0;
    const int k = (room - n * low) / (high - low);
    return k < n ? k : n;
}

void vr_query_score(float *score, const float *frame_mean, const float *text_mean, int n, int D)
{
    for (int f = 0; f < n; f++) {
        double sum = 0;
        for (int d = 0; d < D; d++) sum += (double)frame_mean[(long)f * D + d] * (double)text_mean[d];
        score[f] = (float)sum;
    }
}

/* a is shown before b */
static bool is_before(const float *score, int a, int b)
{
    if (score[a] > score[b]) return true;
    if (score[a] == score[b]) return a < b;
    const bool a_nan = score[a] != score[a], b_nan = score[b] != score[b];
    return a_nan == b_nan ? a_nan && a < b : b_nan;
}

void vr_query_choose(bool *chosen, const float *score, int n, int k)
{
    for (int f = 0; f < n; f++) {
        int before = 0;
        for (int g = 0; g < n; g++) before += g != f && is_before(score, g, f);
        chosen[f] = before < k;
    }
}
