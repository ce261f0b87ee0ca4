/*
 * sheet_layout.c - the numbers of a sheet, see sheet.h.
 *
 *   columns 1, 2, ... -> size of a picture, height of all -> the largest that fits; of equals the one with the most columns
 */
#include "cli/sheet.h"

#include "cli/canvas.h"

static vr_sheet_layout layout_with(int n, int columns, int width, int height)
{
    const int most = n == 1 ? 640 : n <= 4 ? 480 : 320; /* larger shows nothing more */
    vr_sheet_layout l = { .n_frames = n, .columns = columns, .lines = (n + columns - 1) / columns };
    l.border = columns > 10 ? 2 : 3;
    l.gap = columns > 10 ? 4 : 10;
    int64_t w = (VR_SHEET_WIDTH - l.gap) / columns - l.gap - 2 * l.border;
    if (w > most) w = most;
    if (w < 1) w = 1;
    int64_t h = w * height / width;
    if (h > most) h = most, w = h * width / height;
    l.frame_width = w > 1 ? (int)w : 1;
    l.frame_height = h > 1 ? (int)h : 1;
    l.scale = l.frame_width >= 130 ? 2 : 1;
    l.label_height = VR_FONT_HEIGHT * l.scale + 3;
    l.width = l.gap + columns * (l.frame_width + 2 * l.border + l.gap);
    l.height = l.gap + l.lines * (l.frame_height + 2 * l.border + l.label_height + l.gap);
    return l;
}

vr_sheet_layout vr_sheet_layout_for(int n_frames, int width, int height)
{
    const int n = n_frames < VR_SHEET_FRAMES ? n_frames : VR_SHEET_FRAMES;
    vr_sheet_layout best = layout_with(n, 1, width, height);
    for (int columns = 2; columns <= n; columns++) {
        const vr_sheet_layout l = layout_with(n, columns, width, height);
        const bool fits = l.height <= VR_SHEET_HEIGHT, best_fits = best.height <= VR_SHEET_HEIGHT;
        if (l.width > VR_SHEET_WIDTH || (l.frame_width < VR_SHEET_LEAST && l.frame_width < best.frame_width)) break;
        if (!best_fits || (fits && l.frame_width >= best.frame_width)) best = l;
    }
    return best;
}

void vr_sheet_cell(const vr_sheet_layout *l, int i, int *x, int *y)
{
    *x = l->gap + l->border + i % l->columns * (l->frame_width + 2 * l->border + l->gap);
    *y = l->gap + l->border + i / l->columns * (l->frame_height + 2 * l->border + l->label_height + l->gap);
}

int vr_sheet_position(const vr_sheet_layout *l, int n_frames, int i)
{
    return (int)((int64_t)i * n_frames / l->n_frames);
}
