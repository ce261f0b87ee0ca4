/*
 * spatial_sampler.h - LongVU's spatial vision aggregator (SVA): one learned query, asked at every place of a coarse grid,
 * looks at the tokens of all towers under that place.
 */
#ifndef VR_SPATIAL_SAMPLER_H
#define VR_SPATIAL_SAMPLER_H

#include "base/weights.h"
#include "compress/token_grid.h"
#include "kernels/backend.h"

typedef struct vr_spatial_sampler vr_spatial_sampler;

#define VR_SAMPLER_TOWERS 2

/* Binds `sampler.*`; towers: names of the towers in the order of their keys; tower_side a multiple of query_side. */
int vr_spatial_sampler_open(vr_spatial_sampler **out, vr_weights *w, const char *const towers[VR_SAMPLER_TOWERS],
                            int tower_side, int query_side, vr_err *e);
void vr_spatial_sampler_free(vr_spatial_sampler *sampler);       /* NULL is legal */
int vr_spatial_sampler_width(const vr_spatial_sampler *sampler); /* W */

/* features[i] [N, side*side, W] of tower i, context [N, W] -> out [N, q*q, W]. open: the part of the tower grids that is
 * picture; places under which nothing is open see everything. Stages: sampler.layer.00... */
void vr_spatial_sampler_forward(const vr_spatial_sampler *sampler, vr_run *run, const float *const features[VR_SAMPLER_TOWERS],
                                const float *context, const vr_crop *open, int N, float *out);

/* Stage sampler.mask: seen[q*q, r*r] of one frame, 1 seen. */
void vr_spatial_sampler_dump_mask(const vr_spatial_sampler *sampler, vr_run *run, const vr_crop *open);

#endif
