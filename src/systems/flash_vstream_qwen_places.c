/*
 * flash_vstream_qwen_places.c - Flash-VStream (Qwen): where the rows of a memory stand (AM-RoPE).
 *
 *   DAM row (k,y,x): (step k shows, y, x)         CSM row (k,y,x): S + (mean time of slot k, y, x)       S: rows of the DAM
 *
 * Ref:  Flash-VStream-Qwen/models/vstream_qwen2vl_model.py:254-277 (calc_am_rope), :778-938 (get_rope_index).
 * Trap: what the memory takes is reckoned from its number of slots, not from their times: text comes at S + max(slots, lines,
 *       columns), and the later slots of a long video stand beyond it.
 */
#include <stdlib.h>

#include "systems/flash_vstream_qwen.h"

/* n steps of lines x columns rows at out; times[k], or k where NULL; all behind `start` */
static int32_t *steps_place(int32_t *out, int n, int lines, int columns, const int32_t *times, int start)
{
    for (int k = 0; k < n; k++)
        for (int y = 0; y < lines; y++)
            for (int x = 0; x < columns; x++) {
                *out++ = start + (times ? times[k] : k);
                *out++ = start + y;
                *out++ = start + x;
            }
    return out;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

int vr_flash_qwen_places(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, vr_view *view, vr_err *e)
{
    const int merge = layout->full.merge, S = layout->n_whole * layout->whole_rows;
    const int lines = vr_qwen_grid_lines(&layout->full) / merge, columns = vr_qwen_grid_columns(&layout->full) / merge;
    const int half_lines = vr_qwen_grid_lines(&layout->half) / merge,
              half_columns = vr_qwen_grid_columns(&layout->half) / merge;
    const size_t n = (size_t)vr_flash_qwen_rows(layout) * 3;
    view->positions = malloc(n * sizeof *view->positions);
    view->positions_plain = malloc(n * sizeof *view->positions_plain);
    if (!view->positions || !view->positions_plain) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the places of rows");
    int32_t *at = steps_place(view->positions, layout->n_whole, lines, columns, memory->whole, 0);
    steps_place(at, layout->n_slots, half_lines, half_columns, memory->slot_times, S);
    at = steps_place(view->positions_plain, layout->n_whole, lines, columns, NULL, 0);
    steps_place(at, layout->n_slots, half_lines, half_columns, NULL, S);
    view->n_positions = S + larger(layout->n_slots, larger(half_lines, half_columns));
    return VR_OK;
}
