/*
 * qwen_patches.c - see qwen_patches.h.
 *
 * Ref:  Flash-VStream-Qwen models/vstream_qwen2vl_processor.py:36-157 (order of patches), vstream_qwen2vl_model.py:113-142
 *       (temporal_pool: the mean of normalised pixels, picture by picture).
 */
#include "encode/qwen_patches.h"

int vr_qwen_grid_lines(const vr_qwen_grid *grid)
{
    return grid->height / (grid->patch * grid->pool);
}

int vr_qwen_grid_columns(const vr_qwen_grid *grid)
{
    return grid->width / (grid->patch * grid->pool);
}

int vr_qwen_grid_patches(const vr_qwen_grid *grid)
{
    return vr_qwen_grid_lines(grid) * vr_qwen_grid_columns(grid);
}

size_t vr_qwen_patch_floats(const vr_qwen_grid *grid)
{
    return 3 * (size_t)grid->depth * (size_t)grid->patch * (size_t)grid->patch;
}

void vr_qwen_grid_place(const vr_qwen_grid *grid, int t, int *line, int *column)
{
    const int m = grid->merge, group = t / (m * m), groups = vr_qwen_grid_columns(grid) / m, inside = t % (m * m);
    *line = group / groups * m + inside / m;
    *column = group % groups * m + inside % m;
}

/* One colour of one picture of one patch, whose first pixel is at from. */
static float *part(float *out, const uint8_t *from, const vr_qwen_grid *grid, const float value[256])
{
    const size_t line = 3 * (size_t)grid->width, pool = (size_t)grid->pool, side = (size_t)grid->patch;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            const uint8_t *at = from + y * pool * line + x * pool * 3;
            float sum = 0;
            for (size_t i = 0; i < pool; i++)
                for (size_t j = 0; j < pool; j++) sum += value[at[i * line + j * 3]];
            *out++ = sum / (float)(pool * pool);
        }
    return out;
}

void vr_qwen_patches(float *out, const uint8_t *pictures, const vr_qwen_grid *grid, const float mean[3], const float std[3])
{
    const int n = vr_qwen_grid_patches(grid), side = grid->patch * grid->pool;
    const size_t line = 3 * (size_t)grid->width, picture = line * (size_t)grid->height;
    float value[3][256];
    for (int c = 0; c < 3; c++)
        for (int u = 0; u < 256; u++) value[c][u] = ((float)u / 255.0F - mean[c]) / std[c];
    for (int t = 0; t < n; t++) {
        int row, column;
        vr_qwen_grid_place(grid, t, &row, &column);
        const uint8_t *from = pictures + (size_t)(row * side) * line + (size_t)(column * side) * 3;
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < grid->depth; i++) out = part(out, from + c + (size_t)i * picture, grid, value[c]);
    }
}
