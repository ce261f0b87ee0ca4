/*
 * flash_vstream_facts.c - Flash-VStream: what is told of the frames that a memory is made of (vr_facts).
 *
 *   slot of each frame, frames shown whole -> grid of each (map or temporal tokens), where it lies on the picture
 *
 * A frame has tokens of its own where it is shown whole, or alone in its slot.
 */
#include "systems/flash_vstream.h"

#include <stdlib.h>
#include <string.h>

/* Where CLIP's crop lies on the picture, in fractions of it. */
static void crop_tell(vr_frame_fact *fact, int width, int height)
{
    const double shorter = width < height ? width : height;
    const float x = (float)((width - shorter) / 2 / width), y = (float)((height - shorter) / 2 / height);
    fact->left = x;
    fact->right = 1 - x;
    fact->top = y;
    fact->bottom = 1 - y;
}

static void frame_tell(const vr_flash *s, vr_frame_fact *fact, const vr_flash_story *story)
{
    const int side = fact->high ? s->map_side : s->temporal_side;
    const bool alone = fact->slot > 0 && story->weights[fact->slot - 1] == 1;
    fact->kept = true;
    fact->n_lines = fact->n_columns = side;
    fact->n_tokens = (fact->high ? s->map_tokens : 0) + (alone ? s->temporal_tokens : 0);
    crop_tell(fact, story->width, story->height);
}

void vr_flash_tell(const vr_flash *s, vr_view *view, const vr_flash_story *story)
{
    const int T = view->n_frames, L = story->n_before, patches = vr_vit_side(s->vit) * vr_vit_side(s->vit);
    memset(view->frame_facts, 0, (size_t)T * sizeof *view->frame_facts);
    view->facts = (vr_facts){ .regime = view->image ? "picture" : "memory",
                              .n_tokens_before = (int64_t)T * patches,
                              .n_tokens = view->n_video_rows };
    for (int i = 0; i < L; i++) view->frame_facts[i].slot = story->labels[i] + 1;
    for (int i = L; i < T; i++) view->frame_facts[i].high = true;
    for (int i = 0; i < story->n_picks; i++) view->frame_facts[story->picks[i]].high = true;
    for (int i = 0; i < T; i++) frame_tell(s, &view->frame_facts[i], story);
    vr_view_step(view, "pool", (int64_t)T * patches, (int64_t)T * s->map_tokens, "tokens");
    if (L == 0) return;
    vr_view_step(view, "temporal", L, story->n_slots, "frames");
    vr_view_step(view, "abstract", L, story->n_abstract, "frames");
    vr_view_step(view, "retrieve", L, story->n_picks, "frames");
    vr_flash_tell_retrieved(view, story->n_slots, story->n_abstract, story->picks, story->n_picks);
}

void vr_flash_tell_retrieved(vr_view *view, int n_slots, int n_abstract, const int32_t *positions, int n)
{
    free(view->retrieved);
    view->retrieved = malloc((size_t)(n > 0 ? n : 1) * sizeof *positions);
    if (!view->retrieved) return; /* nothing is told then */
    for (int i = 0; i < n; i++) view->retrieved[i] = positions[i];
    view->facts.memory = (vr_memory_fact){ .n_slots = n_slots, .n_abstract = n_abstract, .n_retrieved = n };
}

void vr_flash_tell_stream(const vr_flash *s, vr_view *view, const vr_flash_stream_story *story)
{
    const int64_t patches = (int64_t)vr_vit_side(s->vit) * vr_vit_side(s->vit);
    for (int i = 0; i < view->n_frames; i++) {
        vr_frame_fact *fact = &view->frame_facts[i];
        *fact = (vr_frame_fact){ .kept = true, .high = true, .n_tokens = s->map_tokens };
        fact->n_lines = fact->n_columns = s->map_side;
        crop_tell(fact, story->width, story->height);
    }
    view->facts =
        (vr_facts){ .regime = "memory", .n_tokens_before = story->n_frames * patches, .n_tokens = view->n_video_rows };
    vr_view_step(view, "pool", story->n_frames * patches, story->n_frames * s->map_tokens, "tokens");
    vr_view_step(view, "temporal", story->n_frames, story->n_slots, "frames");
    vr_view_step(view, "abstract", story->n_frames, story->n_abstract, "frames");
    vr_view_step(view, "retrieve", story->n_frames, story->n_picks, "frames");
    vr_flash_tell_retrieved(view, story->n_slots, story->n_abstract, story->picks, story->n_picks);
}
