/*
 * longvu_facts.c - LongVU: what is told of the frames and tokens that a question was shown (vr_facts).
 *
 *   kept frames -> grid of each (high or low), where it lies on the picture -> tokens left of it
 *
 * Trap: a grid covers the padded square and is cut as compress/token_grid.c says: of a landscape video it leaves out the
 *       left and the right of the picture and reaches into the padding above and below. So it is told, in fractions of the
 *       picture.
 */
#include "systems/longvu.h"

#include <string.h>

void vr_longvu_tell_frames(vr_view *view, const vr_longvu_features *f)
{
    memset(view->frame_facts, 0, (size_t)view->n_frames * sizeof *view->frame_facts);
    view->facts = (vr_facts){ 0 };
    for (int i = 0; i < f->n; i++) view->frame_facts[f->kept[i]].kept = true;
    vr_view_step(view, "select", f->n_in, f->n, "frames");
}

void vr_longvu_tell_grid(vr_view *view, const vr_longvu_features *f, int i, int side, const vr_crop *crop, bool high)
{
    vr_frame_fact *fact = &view->frame_facts[f->kept[i]];
    const int longer = f->width > f->height ? f->width : f->height;
    const double x = (longer - f->width) / 2, y = (longer - f->height) / 2; /* as vr_pad_square: whole pixels */
    const double cell = (double)longer / side;
    fact->high = high;
    fact->n_tokens = vr_crop_count(crop);
    fact->n_lines = crop->row_end - crop->row_first;
    fact->n_columns = crop->col_end - crop->col_first;
    fact->left = (float)((crop->col_first * cell - x) / f->width);
    fact->right = (float)((crop->col_end * cell - x) / f->width);
    fact->top = (float)((crop->row_first * cell - y) / f->height);
    fact->bottom = (float)((crop->row_end * cell - y) / f->height);
    fact->tokens = NULL;
}

void vr_longvu_tell_tokens(vr_view *view, vr_longvu_features *f, const int32_t *ids, int n, int tokens)
{
    for (int i = 0; i < f->n; i++) {
        vr_frame_fact *fact = &view->frame_facts[f->kept[i]];
        uint8_t *mask = f->tokens + (size_t)i * f->places;
        memset(mask, 0, f->places);
        fact->tokens = mask;
        fact->n_tokens = 0;
    }
    for (int t = 0; t < n; t++) {
        const int i = ids[t] / tokens, token = ids[t] % tokens;
        vr_frame_fact *fact = &view->frame_facts[f->kept[i]];
        const int line = token / (fact->n_columns + 1), column = token % (fact->n_columns + 1);
        fact->n_tokens++;
        if (column < fact->n_columns) f->tokens[(size_t)i * f->places + (size_t)(line * fact->n_columns + column)] = 1;
    }
}
