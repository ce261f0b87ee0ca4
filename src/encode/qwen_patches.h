/*
 * qwen_patches.h - Qwen2-VL: pictures of one grid step to the vectors of its patches.
 */
#ifndef VR_QWEN_PATCHES_H
#define VR_QWEN_PATCHES_H

#include <stddef.h>
#include <stdint.h>

/* How a step is cut: its pictures are RGB24 [height, width, 3] of whole patches, groups of merge x merge patches whole too. */
typedef struct vr_qwen_grid {
    int height, width;       /* pixels */
    int patch, merge, depth; /* pixels a side, patches a side of a group, pictures of a step */
    int pool; /* pixels a side whose mean is one pixel of a patch; 1: none. patch * merge * pool divides both sides */
} vr_qwen_grid;

/* The grid that the tower sees, after pooling. */
int vr_qwen_grid_lines(const vr_qwen_grid *grid);
int vr_qwen_grid_columns(const vr_qwen_grid *grid);    /* patches a line */
int vr_qwen_grid_patches(const vr_qwen_grid *grid);    /* P, their product */
size_t vr_qwen_patch_floats(const vr_qwen_grid *grid); /* numbers of a patch */

/* Of patch t < P: its line and column. Groups come line by line, and so do the patches of a group. */
void vr_qwen_grid_place(const vr_qwen_grid *grid, int t, int *line, int *column);

/* out [P, 3 * depth * patch * patch]: colour, picture, line, column of a patch; each number is
 * (u/255 - mean) / std, or the mean of pool x pool of these. pictures: depth of them, one behind the other. */
void vr_qwen_patches(float *out, const uint8_t *pictures, const vr_qwen_grid *grid, const float mean[3], const float std[3]);

#endif
