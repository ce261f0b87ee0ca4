/*
 * videollamb_facts.c - VideoLLaMB: what is told of scenes and frames (vr_facts).
 *
 *   scene: first and last of the sampled frames, depth of the valley behind it
 *   frame: kept where its scene's rows are made of it; with a grid where rows of the decoder are its own
 *
 * Trap: the towers see the middle square alone: the grid lies there, and what is left of it and right of it was never seen.
 */
#include "systems/videollamb.h"

#include <stdlib.h>

int vr_videollamb_tell_scenes(vr_view *view, int n_scenes, vr_err *e)
{
    free(view->scene_facts);
    view->facts = (vr_facts){ .regime = view->image ? "picture" : "scenes" };
    view->scene_facts = calloc((size_t)n_scenes, sizeof *view->scene_facts);
    if (!view->scene_facts) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a list of %d scenes", n_scenes);
    view->facts.n_scenes = view->image ? 0 : n_scenes;
    return VR_OK;
}

void vr_videollamb_tell_scene(const vr_videollamb *s, vr_view *view, int scene, int first, int last, float depth,
                              const int64_t *picked, int n, bool shown)
{
    view->scene_facts[scene] = (vr_scene_fact){ .first = first, .last = last, .depth = depth, .shown = shown };
    for (int i = 0; i < n; i++) {
        vr_frame_fact *fact = &view->frame_facts[picked[i]];
        fact->kept = true;
        if (s->shows_memory || !shown) continue;
        fact->high = !view->image;
        fact->n_tokens = s->P;
        fact->n_lines = fact->n_columns = s->pool_side;
        fact->right = fact->bottom = 1;
    }
}

/* The grids lie on the middle square of the picture. */
static void grids_place(vr_view *view, int width, int height)
{
    const float w = (float)width, h = (float)height, x = w > h ? (1 - h / w) / 2 : 0, y = h > w ? (1 - w / h) / 2 : 0;
    for (int i = 0; i < view->n_frames; i++) {
        vr_frame_fact *fact = &view->frame_facts[i];
        if (fact->n_lines == 0) continue;
        fact->left = x, fact->right = 1 - x;
        fact->top = y, fact->bottom = 1 - y;
    }
}

void vr_videollamb_tell_end(const vr_videollamb *s, vr_view *view, const vr_videollamb_seen *seen)
{
    int kept = 0;
    for (int i = 0; i < view->n_frames; i++) kept += view->frame_facts[i].kept;
    grids_place(view, seen->width, seen->height);
    view->facts.n_tokens_before = (int64_t)view->n_frames * s->P;
    view->facts.n_tokens = view->n_video_rows;
    vr_view_step(view, "scenes", view->n_frames, kept, "frames");
    vr_view_step(view, "bridge", (int64_t)kept * s->P, view->n_video_rows, "tokens");
}
