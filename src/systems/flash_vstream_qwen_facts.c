/*
 * flash_vstream_qwen_facts.c - Flash-VStream (Qwen): what is told of the frames that a memory is made of (vr_facts).
 *
 *   slot of each step, steps shown whole -> grid of each of its two frames (whole or half resolution)
 *
 * A frame has tokens of its own where its step is shown whole, or alone in its slot; the two frames of a step share them.
 */
#include "systems/flash_vstream_qwen.h"

#include <stdlib.h>

#include "systems/flash_vstream.h"

static bool is_alone(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, int step)
{
    int n = 0;
    for (int i = 0; i < layout->n_steps; i++) n += memory->slots[i] == memory->slots[step];
    return n == 1;
}

static bool is_whole(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, int step)
{
    for (int k = 0; k < layout->n_whole; k++)
        if (memory->whole[k] == step) return true;
    return false;
}

static vr_frame_fact step_tell(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, int step)
{
    const bool high = is_whole(layout, memory, step);
    const vr_qwen_grid *grid = high ? &layout->full : &layout->half;
    return (vr_frame_fact){ .kept = true,
                            .slot = memory->slots[step] + 1,
                            .high = high,
                            .n_tokens =
                                (high ? layout->whole_rows : 0) + (is_alone(layout, memory, step) ? layout->slot_rows : 0),
                            .n_lines = vr_qwen_grid_lines(grid) / grid->merge,
                            .n_columns = vr_qwen_grid_columns(grid) / grid->merge,
                            .right = 1,
                            .bottom = 1 };
}

void vr_flash_qwen_tell(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, vr_view *view)
{
    const int depth = layout->full.depth, n = layout->n_whole * depth;
    int32_t *frames = malloc((size_t)n * sizeof *frames);
    view->facts = (vr_facts){ .regime = view->image ? "picture" : "memory",
                              .n_tokens_before = (int64_t)layout->n_steps * layout->whole_rows,
                              .n_tokens = view->n_video_rows };
    for (int i = 0; i < view->n_frames; i++) view->frame_facts[i] = step_tell(layout, memory, i / depth);
    vr_view_step(view, "temporal", layout->n_steps, layout->n_slots, "steps");
    vr_view_step(view, "retrieve", layout->n_steps, layout->n_whole, "steps");
    for (int i = 0; frames && i < n; i++) frames[i] = memory->whole[i / depth] * depth + i % depth;
    if (frames) vr_flash_tell_retrieved(view, layout->n_slots, 0, frames, n);
    free(frames);
}
