/*
 * aggregator.h - one global row that gathers what all frames show, beside a vision tower.
 *
 *   after each of the tower's last blocks: g [D], rows X [N,T,D] of all frames -> g += attend(g, X); g += mlp(g)
 *
 * The tower's rows are read only.
 */
#ifndef VR_AGGREGATOR_H
#define VR_AGGREGATOR_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_aggregator vr_aggregator;

/* Binds `aggregator.*` for a tower of this width, heads, and grid (a class row and side * side patches). */
int vr_aggregator_open(vr_aggregator **out, vr_weights *w, int width, int n_heads, int side, vr_err *e);
void vr_aggregator_free(vr_aggregator *aggregator);                               /* NULL is legal */
int vr_aggregator_block_count(const vr_aggregator *aggregator);                   /* how many blocks of the tower it follows */
void vr_aggregator_begin(const vr_aggregator *aggregator, vr_run *run, float *g); /* g [D] = what it begins with */

/* Step j after the j-th of those blocks: x [N, 1 + side*side, D] -> g [D] in place.
 * Stages: vision.gmhra.JJ.keys [N*T, D], .attn [1, D], vision.gmhra.JJ [1, D]. */
void vr_aggregator_step(const vr_aggregator *aggregator, vr_run *run, int j, const float *x, int N, float *g);

#endif
