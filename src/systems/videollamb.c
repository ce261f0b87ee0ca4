/*
 * videollamb.c - VideoLLaMB: its parts and what is looked at. Notes, tensors and traps: videollamb.md.
 *
 *   frames -> tower -> class rows [T,D], pooled rows [T,P,D]                      videollamb_look.c
 *   class rows -> scenes; scene by scene: [memory ; rows] -> bridge -> retrieval   videollamb_memory.c
 *   rows of the decoder: patch rows of the last scene, or the memories of all
 *
 * Ref: bigai-nlco/VideoLLaMB llava/model/llava_arch.py, multimodal_projector; bigai-nlco/MM-NIAVH needlehaystack/baselines.
 */
#include "systems/videollamb.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "media/linspace.h"

enum { SCENE_FRAMES_MOST = 4096, CUTS_MOST = 4095 };

static void system_close(void *state)
{
    vr_videollamb *s = state;
    vr_vit_free(s->vit);
    vr_vit_free(s->image_vit);
    vr_memory_bridge_free(s->bridge);
    vr_llama_free(s->llama);
}

/* Which of `names` (n of them) the key holds. */
static int choice_read(const vr_weights *w, int *out, const char *const *names, int n, const char *key, vr_err *e)
{
    vr_string value;
    VR_TRY(vr_weights_string(w, &value, e, "%s", key));
    for (int i = 0; i < n; i++) {
        *out = i;
        if (strlen(names[i]) == value.n_bytes && memcmp(names[i], value.data, value.n_bytes) == 0) return VR_OK;
    }
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s is unknown", vr_weights_path(w), key);
}

static int pixels_read(vr_videollamb *s, const vr_weights *w, vr_err *e)
{
    static const char *const names[] = {
        [VR_PIXELS_BILINEAR] = "normalise-bilinear", [VR_PIXELS_BICUBIC] = "tensor-bicubic", [VR_PIXELS_CLIP] = "clip"
    };
    int video, image;
    VR_TRY(choice_read(w, &video, names, 3, "video.resize", e));
    VR_TRY(choice_read(w, &image, names, 3, "image.resize", e));
    s->video_pixels = (vr_videollamb_pixels)video;
    s->image_pixels = (vr_videollamb_pixels)image;
    s->pixels.side = vr_vit_image_size(s->vit);
    VR_TRY(vr_weights_floats(w, s->pixels.mean, 3, e, "pixel.mean"));
    return vr_weights_floats(w, s->pixels.std, 3, e, "pixel.std");
}

static int frames_read(vr_videollamb *s, const vr_weights *w, vr_err *e)
{
    static const char *const samplings[] = { "linspace" };
    int sampling;
    VR_TRY(choice_read(w, &sampling, samplings, 1, "video.sampling", e));
    VR_TRY(vr_weights_int(w, &s->multiple, 1, 1024, e, "video.frames_multiple"));
    VR_TRY(vr_weights_int(w, &s->n_frames_max, s->multiple, VR_MAX_FRAMES, e, "video.frames_max"));
    if (vr_weights_has(w, "video.frames"))
        VR_TRY(vr_weights_int(w, &s->n_frames, s->multiple, s->n_frames_max, e, "video.frames"));
    VR_TRY(vr_weights_float(w, &s->fps, e, "video.fps"));
    if (!(s->fps > 0)) return vr_fail(e, VR_ERR_WEIGHTS, "%s: video.fps %g cannot be", vr_weights_path(w), (double)s->fps);
    if (s->multiple % vr_vit_group(s->vit) == 0 && s->n_frames % s->multiple == 0 && s->n_frames_max % s->multiple == 0)
        return VR_OK;
    return vr_fail(e, VR_ERR_WEIGHTS,
                   "%s: video.frames_multiple %d does not go with vit.temporal_frames, video.frames or video.frames_max",
                   vr_weights_path(w), s->multiple);
}

static int scenes_read(vr_videollamb *s, const vr_weights *w, vr_err *e)
{
    static const char *const caches[] = { "memory", "patches" }, *const outputs[] = { "last_scene", "memory" };
    int cache, output, count;
    VR_TRY(choice_read(w, &cache, caches, 2, "bridge.cache", e));
    VR_TRY(choice_read(w, &output, outputs, 2, "bridge.output", e));
    s->caches_patches = cache == 1;
    s->shows_memory = output == 1;
    VR_TRY(vr_weights_int(w, &s->scene_frames, 1, SCENE_FRAMES_MOST, e, "scene.frames_max"));
    if (vr_weights_has(w, "scene.count")) {
        VR_TRY(vr_weights_int(w, &count, 2, CUTS_MOST, e, "scene.count"));
        s->rule.n_cuts = count - 1;
    } else {
        VR_TRY(vr_weights_float(w, &s->rule.alpha, e, "scene.alpha"));
        VR_TRY(vr_weights_int(w, &s->rule.most, 1, CUTS_MOST, e, "scene.boundaries_max"));
    }
    s->speaks = vr_weights_has(w, "stream.scene_alpha");
    if (!s->speaks) return VR_OK;
    VR_TRY(vr_weights_float(w, &s->speech.alpha, e, "stream.scene_alpha"));
    return vr_weights_int(w, &s->speech.most, 1, CUTS_MOST, e, "stream.boundaries_max");
}

static int towers_open(vr_videollamb *s, vr_weights *w, vr_err *e)
{
    const vr_vit_parts video = { .prefix = "vit", .stage = "vision", .class_row = true, .input_norm = true, .temporal = true };
    const vr_vit_parts image = { .prefix = "image_vit", .stage = "vision", .class_row = true, .input_norm = true };
    VR_TRY(vr_vit_open(&s->vit, w, &video, e));
    s->D = vr_vit_width(s->vit);
    if (vr_weights_has(w, "image_vit.block_count")) VR_TRY(vr_vit_open(&s->image_vit, w, &image, e));
    if (!s->image_vit && vr_vit_group(s->vit) > 1)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: no image_vit, and vit takes %d frames at once", vr_weights_path(w),
                       vr_vit_group(s->vit));
    if (s->image_vit && (vr_vit_width(s->image_vit) != s->D || vr_vit_image_size(s->image_vit) != vr_vit_image_size(s->vit) ||
                         vr_vit_side(s->image_vit) != vr_vit_side(s->vit)))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: vit and image_vit are of different sizes", vr_weights_path(w));
    return VR_OK;
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    vr_videollamb *s = state;
    VR_TRY(vr_llama_open(&s->llama, w, e));
    vr_llama_norm_last(s->llama);
    VR_TRY(towers_open(s, w, e));
    VR_TRY(vr_memory_bridge_open(&s->bridge, w, s->D, e));
    VR_TRY(vr_project_bind(&s->project, w, "project.video", s->D, vr_llama_config_get(s->llama)->width, e));
    VR_TRY(pixels_read(s, w, e));
    VR_TRY(frames_read(s, w, e));
    VR_TRY(scenes_read(s, w, e));
    VR_TRY(vr_weights_int(w, &s->pool_side, 1, vr_vit_side(s->vit), e, "bridge.pool_side"));
    s->P = s->pool_side * s->pool_side;
    if (s->shows_memory && s->rule.n_cuts == 0)
        VR_TRY(vr_weights_table(w, &s->scene_position, s->rule.most + 1, s->D, e, "bridge.scene_position"));
    if (vr_videollamb_rows_most(s, s->n_frames_max, false) <= VR_MAX_CONTEXT) return VR_OK;
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: a scene gives more than %d rows", vr_weights_path(w), VR_MAX_CONTEXT);
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const vr_videollamb *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    const vr_videollamb *s = state;
    out->n_frames = s->n_frames;
    out->n_frames_max = s->n_frames_max;
    out->hears = false;
    out->streams = true;
    out->fps = (double)s->fps;
}

/* --frames N, which must be a multiple. */
static int frames_wanted(const vr_videollamb *s, int n, vr_err *e)
{
    const int below = n / s->multiple * s->multiple, above = below + s->multiple;
    if (n > s->n_frames_max)
        return vr_fail(e, VR_ERR_USAGE, "--frames %d: this model looks at %d frames at most", n, s->n_frames_max);
    if (n % s->multiple == 0) return VR_OK;
    if (below == 0 || above > s->n_frames_max)
        return vr_fail(e, VR_ERR_USAGE, "--frames %d: this model looks at multiples of %d, the nearest is %d", n, s->multiple,
                       below == 0 ? above : below);
    return vr_fail(e, VR_ERR_USAGE, "--frames %d: this model looks at multiples of %d, the nearest are %d and %d", n,
                   s->multiple, below, above);
}

/* Frames at a rate: ceil(D / rate * fps), cut to a multiple, at least one multiple (processing_video.py; vid_utils.py). */
static int frames_at_rate(const vr_videollamb *s, const vr_source *source, double fps, int *n, vr_err *e)
{
    vr_source_info info;
    vr_source_info_get(source, &info);
    const double rate = vr_source_rate(&info);
    if (rate == 0)
        return vr_fail(e, VR_ERR_VIDEO, "%s: its frame rate is not known, so give a number of frames (--frames)",
                       vr_source_path(source));
    const double wanted = ceil((double)info.n_frames / rate * fps);
    const int most = wanted < s->n_frames_max ? (int)wanted : s->n_frames_max, whole = most - most % s->multiple;
    *n = whole < s->multiple ? s->multiple : whole;
    return VR_OK;
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_videollamb *s = state;
    vr_source_info info;
    int n = options->n_frames ? options->n_frames : s->n_frames;
    vr_source_info_get(source, &info);
    if (view->image)
        n = 1;
    else if (options->n_frames)
        VR_TRY(frames_wanted(s, options->n_frames, e));
    else if (options->fps > 0 || s->n_frames == 0)
        VR_TRY(frames_at_rate(s, source, options->fps > 0 ? options->fps : (double)s->fps, &n, e));
    VR_TRY(vr_view_take(view, n, e));
    vr_linspace(view->frame_indices, info.n_frames, n);
    vr_view_seconds(view, &info);
    view->n_video_rows = vr_videollamb_rows_most(s, n, view->image);
    return VR_OK;
}

static int system_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_videollamb *s = state;
    const size_t mark = vr_arena_mark(run->scratch);
    vr_videollamb_seen seen;
    vr_videollamb_seen_take(s, run, &seen, view->n_frames);
    VR_TRY(vr_videollamb_look(s, run, source, view, &seen, hooks, e));
    VR_TRY(vr_videollamb_show(s, run, &seen, view, e));
    vr_arena_release(run->scratch, mark);
    return VR_OK;
}

const vr_system vr_system_videollamb = {
    .name = "videollamb",
    .state_bytes = sizeof(vr_videollamb),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .watch = system_watch,
    .stream = &vr_videollamb_stream,
    .rows_mark = -201,
    .rows_mark_image = -200,
    .rows_mark_once = true,
};
