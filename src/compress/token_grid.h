/*
 * token_grid.h - LongVU: the tokens of a frame as a square grid, cut to what the original takes for the picture.
 */
#ifndef VR_TOKEN_GRID_H
#define VR_TOKEN_GRID_H

#include <stdbool.h>
#include <stdint.h>

/* Lines row_first .. row_end-1, columns col_first .. col_end-1 of a grid. */
typedef struct vr_crop {
    int row_first, row_end, col_first, col_end;
} vr_crop;

/* The open part of a side x side grid for the pair (a, b), as the original cuts it; may be empty. a, b >= 1. */
vr_crop vr_crop_open(int side, int a, int b);
/* The same for tokens: an empty part means the whole grid. */
vr_crop vr_crop_tokens(int side, int a, int b);

int vr_crop_count(const vr_crop *crop); /* tokens with a newline behind every line */

/* Which rows make the tokens of n frames: of [n*side*side + 1, D], grids one behind the other, the last row the newline.
 * ids [n * vr_crop_count] out. */
void vr_crop_ids(const vr_crop *crop, int side, int n, int32_t *ids);

#endif
