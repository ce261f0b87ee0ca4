/*
 * linspace.c - places spread evenly, see linspace.h.
 *
 * Ref:  VideoLLaMB languagebind/video/processing_video.py:78-196; numpy/core/function_base.py, linspace.
 * Trap: the product is made in double of a step that was rounded: for n = 40, 56, 64, 512 it sometimes falls just below the
 *       whole number that integer division gives (n_total = 154, n = 64: place 21 is 50, not 51).
 */
#include "media/linspace.h"

#include <math.h>

void vr_linspace(int64_t *out, int64_t n_total, int n)
{
    const double step = n > 1 ? (double)(n_total - 1) / (double)(n - 1) : 0;
    for (int i = 0; i < n; i++) out[i] = (int64_t)floor(i * step);
    if (n > 1) out[n - 1] = n_total - 1;
}
