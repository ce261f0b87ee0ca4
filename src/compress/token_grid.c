/*
 * token_grid.c - see token_grid.h.
 *
 *   grid [side, side] -> lines and columns of the crop, a newline behind each line -> [count, D]
 *
 * Ref:  LongVU cambrian_arch.py:386-443 (unmask_attention_mask, unpad_image).
 * Trap: a video hands in (height, width) where the code reads (width, height): of a landscape video the left and right
 *       columns are cut and the padding lines stay. The checkpoints were trained so; a picture hands in (width, height) and
 *       is cut right.
 */
#include "compress/token_grid.h"

vr_crop vr_crop_open(int side, int a, int b)
{
    vr_crop crop = { 0, side, 0, side };
    if ((double)a / (double)b > 1.0) {
        const int n = (int)((double)b * ((double)side / (double)a)), p = (side - n) / 2;
        crop.row_first = p;
        crop.row_end = side - p;
    } else {
        const int n = (int)((double)a * ((double)side / (double)b)), p = (side - n) / 2;
        crop.col_first = p;
        crop.col_end = side - p;
    }
    return crop;
}

vr_crop vr_crop_tokens(int side, int a, int b)
{
    const vr_crop crop = vr_crop_open(side, a, b);
    if (crop.row_first < crop.row_end && crop.col_first < crop.col_end) return crop;
    return (vr_crop){ 0, side, 0, side };
}

int vr_crop_count(const vr_crop *crop)
{
    return (crop->row_end - crop->row_first) * (crop->col_end - crop->col_first + 1);
}

void vr_crop_ids(const vr_crop *crop, int side, int n, int32_t *ids)
{
    const int newline = n * side * side;
    for (int f = 0; f < n; f++) {
        for (int r = crop->row_first; r < crop->row_end; r++) {
            for (int c = crop->col_first; c < crop->col_end; c++) *ids++ = (f * side + r) * side + c;
            *ids++ = newline;
        }
    }
}
