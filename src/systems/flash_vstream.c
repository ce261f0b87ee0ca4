/*
 * flash_vstream.c - Flash-VStream (LLaVA): its parts and what is looked at. Notes, tensors and traps: flash_vstream.md.
 *
 *   clip, 1 frame a second -> maps -> abstract | temporal | retrieved | spatial -> rows      flash_vstream_clip.c
 *   stream, frame by frame -> the same memories, in bounds -> copy -> rows                   flash_vstream_stream.c
 *
 * Ref: IVGSZ/Flash-VStream Flash-VStream-LLaVA, flash_vstream/model/builder.py, vstream_arch.py.
 */
#include "systems/flash_vstream.h"

#include <stdlib.h>

#include "base/limits.h"

#define LENGTH_MOST 4096 /* slots of a memory; the published ones have 25 */

static void system_close(void *state)
{
    vr_flash *s = state;
    vr_vit_free(s->vit);
    vr_llama_free(s->llama);
}

/* A grid of `side` tokens a line out of one of `from`, by whole windows. */
static int side_read(const vr_weights *w, int *side, int from, const char *key, vr_err *e)
{
    VR_TRY(vr_weights_int(w, side, 1, from, e, "%s", key));
    if (from / (from / *side) == *side) return VR_OK;
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s %d cannot be made of %d tokens a line by whole windows", vr_weights_path(w), key,
                   *side, from);
}

static int numbers_read(vr_flash *s, const vr_weights *w, vr_err *e)
{
    int retrieved, abstract_side;
    VR_TRY(vr_weights_float(w, &s->fps, e, "video.fps"));
    VR_TRY(vr_weights_floats(w, s->mean, 3, e, "pixel.mean"));
    VR_TRY(vr_weights_floats(w, s->std, 3, e, "pixel.std"));
    VR_TRY(side_read(w, &s->map_side, vr_vit_side(s->vit), "memory.pool_side", e));
    VR_TRY(side_read(w, &s->temporal_side, s->map_side, "memory.temporal_side", e));
    VR_TRY(side_read(w, &abstract_side, s->map_side, "memory.abstract_side", e));
    VR_TRY(vr_weights_int(w, &s->spatial_length, 1, LENGTH_MOST, e, "memory.spatial_length"));
    VR_TRY(vr_weights_int(w, &s->temporal_length, 1, LENGTH_MOST, e, "memory.temporal_length"));
    VR_TRY(vr_weights_int(w, &s->abstract.N, 1, LENGTH_MOST, e, "memory.abstract_length"));
    VR_TRY(vr_weights_int(w, &retrieved, VR_MEMORY_KEYS, VR_MEMORY_KEYS, e, "memory.retrieved_length"));
    VR_TRY(vr_weights_float(w, &s->abstract.ratio, e, "memory.abstract_ratio"));
    s->map_tokens = s->map_side * s->map_side;
    s->temporal_tokens = s->temporal_side * s->temporal_side;
    s->abstract_side = abstract_side;
    s->abstract.P = abstract_side * abstract_side;
    s->abstract.D = s->D;
    return VR_OK;
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    vr_flash *s = state;
    const vr_vit_parts clip = { .prefix = "vit", .stage = "vision", .class_row = true, .input_norm = true };
    int E;
    VR_TRY(vr_llama_open(&s->llama, w, e));
    VR_TRY(vr_vit_open(&s->vit, w, &clip, e));
    s->D = vr_vit_width(s->vit);
    VR_TRY(numbers_read(s, w, e));
    VR_TRY(vr_weights_int(w, &E, 1, VR_MAX_WIDTH, e, "memory.abstract_width"));
    VR_TRY(vr_weights_matrix(w, &s->abstract.q, E, s->D, e, "abstract.q.weight"));
    VR_TRY(vr_weights_vector(w, &s->abstract.q_bias, E, e, "abstract.q.bias"));
    VR_TRY(vr_weights_matrix(w, &s->abstract.k, E, s->D, e, "abstract.k.weight"));
    VR_TRY(vr_weights_vector(w, &s->abstract.k_bias, E, e, "abstract.k.bias"));
    const int most = vr_flash_rows(s, s->abstract.N, s->temporal_length, VR_MEMORY_KEYS + s->spatial_length);
    if (most > VR_MAX_CONTEXT) return vr_fail(e, VR_ERR_WEIGHTS, "%s: a memory of %d tokens", vr_weights_path(w), most);
    return vr_project_mlp_bind(&s->project, w, "project.video", s->D, vr_llama_config_get(s->llama)->width, 0, e);
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const vr_flash *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    const vr_flash *s = state;
    out->n_frames = 0;
    out->n_frames_max = VR_MAX_FRAMES;
    out->hears = false;
    out->streams = true;
    out->fps = (double)s->fps;
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_flash *s = state;
    VR_TRY(vr_view_take_rate(view, source, options, (double)s->fps, e));
    view->seed = options->seed;
    view->memory = options->memory;
    view->n_video_rows = vr_flash_clip_rows(s, view->n_frames);
    return VR_OK;
}

const vr_system vr_system_flash_vstream = {
    .name = "flash-vstream",
    .state_bytes = sizeof(vr_flash),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .watch = vr_flash_watch,
    .stream = &vr_flash_stream,
    .paper_memory = true,
    .rows_mark = -200,
    .rows_mark_once = true,
};
