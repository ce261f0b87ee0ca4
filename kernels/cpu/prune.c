/*
 * prune.c - rows that say something new: cosine similarity to an anchor fused with the decision to keep.
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* frame that f is compared with, -1: none */
static int anchor_of(const vr_prune *p, int f)
{
    const int first = f / p->window * p->window;
    if (f == first) return -1;
    if (p->anchor == VR_PRUNE_FIRST) return first;
    if (p->anchor == VR_PRUNE_PREVIOUS) return f - 1;
    return (f - first) % 2 ? f - 1 : -1;
}

void vr_cpu_prune(vr_backend *be, const vr_prune *p)
{
    (void)be;
    assert(p->dtype == VR_DTYPE_F32 && !p->n_least && !p->rows);
    const float *x = p->x;
    int n_kept = 0;
    for (int f = 0; f < p->n_frames; f++) {
        const int anchor = anchor_of(p, f);
        for (int i = 0; i < p->N; i++) {
            const int64_t at = (int64_t)f * p->N + i;
            double ab = 0, aa = 0, bb = 0;
            const float *b = x + at * p->D, *a = anchor < 0 ? b : x + ((int64_t)anchor * p->N + i) * p->D;
            for (int d = 0; d < p->D; d++) {
                ab += (double)a[d] * (double)b[d];
                aa += (double)a[d] * (double)a[d];
                bb += (double)b[d] * (double)b[d];
            }
            const float s = (float)(ab / (fmax(sqrt(aa), 1e-8) * fmax(sqrt(bb), 1e-8)));
            p->similarity[at] = anchor < 0 ? 0 : s;
            p->mask[at] = anchor < 0 || s < p->threshold;
            if (p->mask[at]) p->indices[n_kept++] = (int32_t)at;
        }
    }
    *p->n_kept = n_kept;
}

void vr_cpu_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window)
{
    (void)be;
    for (int first = 0; first < n_frames; first += window) {
        const int m = vr_min_int(window, n_frames - first);
        for (int i = 0; i < m; i++) {
            double mean = 0;
            for (int k = 0; k < m; k++) {
                const float *a = x + (first + i) * D, *b = x + (first + k) * D;
                double ab = 0, aa = 0, bb = 0;
                for (int64_t d = 0; d < D; d++) {
                    ab += (double)a[d] * (double)b[d];
                    aa += (double)a[d] * (double)a[d];
                    bb += (double)b[d] * (double)b[d];
                }
                mean += ab / sqrt(aa * bb);
            }
            similarity[first + i] = (float)(mean / m);
        }
    }
}
