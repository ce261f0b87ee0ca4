/*
 * flash_vstream_qwen.c - Flash-VStream on Qwen2-VL: parts, and what is looked at. Notes, tensors and traps:
 * flash_vstream_qwen.md.
 *
 *   pairs of frames -> ViT at half resolution -> k-means: CSM -> steps shown whole: DAM -> merger -> rows of the decoder
 *
 * Ref: IVGSZ/Flash-VStream Flash-VStream-Qwen/models/vstream_qwen2vl_model.py, vstream_qwen2vl_processor.py.
 */
#include "systems/flash_vstream_qwen.h"

#include <stdlib.h>

#include "base/limits.h"
#include "media/frame_list.h"
#include "media/smart_resize.h"

/* of the second resize: the processor's own, which nothing within the first one's reaches */
enum { SECOND_PIXELS_MIN = 3136, SECOND_PIXELS_MAX = 12845056 };

static void system_close(void *state)
{
    vr_flash_qwen *s = state;
    vr_qwen_vit_free(s->vit);
    vr_llama_free(s->llama);
}

static int numbers_read(vr_flash_qwen *s, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_weights_float(w, &s->fps, e, "video.fps"));
    VR_TRY(vr_weights_int(w, &s->frames_max, 2, 4096, e, "video.frames_max"));
    VR_TRY(vr_weights_int(w, &s->pixels_max, 1, 1 << 22, e, "video.pixels_max"));
    VR_TRY(vr_weights_int(w, &s->pixels_min, 1, s->pixels_max, e, "video.pixels_min"));
    VR_TRY(vr_weights_floats(w, s->mean, 3, e, "pixel.mean"));
    VR_TRY(vr_weights_floats(w, s->std, 3, e, "pixel.std"));
    VR_TRY(vr_weights_int(w, &s->temporal_length, 1, 4096, e, "memory.temporal_length"));
    VR_TRY(vr_weights_int(w, &s->spatial_length, 1, 4096, e, "memory.spatial_length"));
    VR_TRY(vr_weights_int(w, &s->pool, 1, 16, e, "memory.pool_size"));
    if (!(s->fps > 0)) return vr_fail(e, VR_ERR_WEIGHTS, "%s: video.fps is %g", vr_weights_path(w), (double)s->fps);
    return VR_OK;
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    vr_flash_qwen *s = state;
    VR_TRY(numbers_read(s, w, e));
    VR_TRY(vr_llama_open(&s->llama, w, e));
    VR_TRY(vr_qwen_vit_open(&s->vit, w, e));
    if (vr_qwen_vit_depth(s->vit) != 2) /* lists of frames are made even, whatever the depth */
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: vit.temporal_patch_size is %d, expected 2", vr_weights_path(w),
                       vr_qwen_vit_depth(s->vit));
    const int merge = vr_qwen_vit_merge(s->vit), side = vr_qwen_vit_patch(s->vit) * merge * s->pool;
    if (s->pixels_max < side * side)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: video.pixels_max %d has no room for %d x %d pixels", vr_weights_path(w),
                       s->pixels_max, side, side);
    return vr_patch_merger_bind(&s->merger, w, vr_qwen_vit_width(s->vit), merge * merge, vr_llama_config_get(s->llama)->width,
                                e);
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const vr_flash_qwen *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    const vr_flash_qwen *s = state;
    out->n_frames = 0;
    out->n_frames_max = s->frames_max;
    out->hears = false;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* pixels of a picture that both resizes make of a frame */
static int sides_make(const vr_flash_qwen *s, const char *path, int width, int height, vr_flash_qwen_layout *l, vr_err *e)
{
    const int first = l->full.patch * l->full.merge, second = first * s->pool;
    if (!vr_smart_resize(height, width, first, s->pixels_min, s->pixels_max, &l->first_height, &l->first_width))
        return vr_fail(e, VR_ERR_VIDEO, "%s: frames of %d x %d pixels are too narrow for this system", path, width, height);
    if (l->first_height < second || l->first_width < second ||
        !vr_smart_resize(l->first_height, l->first_width, second, SECOND_PIXELS_MIN, SECOND_PIXELS_MAX, &l->full.height,
                         &l->full.width) ||
        l->full.height > VR_MAX_IMAGE_SIZE || l->full.width > VR_MAX_IMAGE_SIZE)
        return vr_fail(e, VR_ERR_VIDEO, "%s: frames of %d x %d pixels become %d x %d, this system takes sides of %d to %d",
                       path, width, height, l->first_width, l->first_height, second, VR_MAX_IMAGE_SIZE);
    return VR_OK;
}

int vr_flash_qwen_layout_make(const vr_flash_qwen *s, const char *path, int width, int height, int n_frames,
                              vr_flash_qwen_layout *out, vr_err *e)
{
    const int merge = vr_qwen_vit_merge(s->vit), depth = vr_qwen_vit_depth(s->vit);
    *out = (vr_flash_qwen_layout){ .n_steps = n_frames / depth };
    out->full = (vr_qwen_grid){ .patch = vr_qwen_vit_patch(s->vit), .merge = merge, .depth = depth, .pool = 1 };
    VR_TRY(sides_make(s, path, width, height, out, e));
    out->half = out->full;
    out->half.pool = s->pool;
    out->n_slots = smaller(out->n_steps, s->temporal_length);
    out->n_whole = smaller(out->n_steps, s->spatial_length);
    if (out->n_steps > s->spatial_length) out->n_whole = smaller(out->n_whole, out->n_slots); /* a key is a slot */
    out->slot_rows = vr_qwen_grid_patches(&out->half) / (merge * merge);
    out->whole_rows = vr_qwen_grid_patches(&out->full) / (merge * merge);
    return VR_OK;
}

int vr_flash_qwen_rows(const vr_flash_qwen_layout *layout)
{
    return layout->n_whole * layout->whole_rows + layout->n_slots * layout->slot_rows;
}

void vr_flash_qwen_layout_most(const vr_flash_qwen *s, vr_flash_qwen_layout *most, int64_t *first_pixels)
{
    const int merge = vr_qwen_vit_merge(s->vit), unit = vr_qwen_vit_patch(s->vit) * merge, second = unit * s->pool;
    int64_t pixels = 0;
    *most = (vr_flash_qwen_layout){ .n_steps = 1, .n_slots = s->temporal_length, .n_whole = s->spatial_length };
    most->full =
        (vr_qwen_grid){ .patch = vr_qwen_vit_patch(s->vit), .merge = merge, .depth = vr_qwen_vit_depth(s->vit), .pool = 1 };
    *first_pixels = 0;
    for (int h = second; h <= VR_MAX_IMAGE_SIZE; h += unit) {
        for (int w = second; w <= VR_MAX_IMAGE_SIZE; w += unit) {
            const int64_t area = (int64_t)h * w, grown = (int64_t)(h - unit) * (w - unit);
            int height, width;
            if (area > s->pixels_max && grown >= s->pixels_min) break; /* neither is within, nor grown to the least */
            if (!vr_smart_resize(h, w, second, 0, INT64_MAX, &height, &width)) continue;
            if (area > *first_pixels) *first_pixels = area;
            if ((int64_t)height * width <= pixels) continue;
            pixels = (int64_t)height * width;
            most->full.height = height;
            most->full.width = width;
        }
    }
    most->half = most->full;
    most->half.pool = s->pool;
    most->slot_rows = vr_qwen_grid_patches(&most->half) / (merge * merge);
    most->whole_rows = vr_qwen_grid_patches(&most->full) / (merge * merge);
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_flash_qwen *s = state;
    vr_source_info info;
    vr_flash_qwen_layout layout;
    vr_source_info_get(source, &info);
    const double rate = vr_source_rate(&info);
    const double seconds = rate > 0 ? (double)info.n_frames / rate : (double)info.n_frames;
    int n = vr_frame_list_extracted(seconds, options->fps > 0 ? options->fps : (double)s->fps);
    if (options->n_frames) n = info.n_frames < options->n_frames ? (int)info.n_frames : options->n_frames;
    if (view->image) n = 1;
    VR_TRY(vr_view_take(view, vr_frame_list_count(n, s->frames_max), e));
    vr_frame_list_make(view->frame_indices, info.n_frames, n, s->frames_max);
    vr_view_seconds(view, &info);
    view->seed = options->seed;
    int width, height;
    vr_source_shown(&info, &width, &height);
    VR_TRY(vr_flash_qwen_layout_make(s, vr_source_path(source), width, height, view->n_frames, &layout, e));
    view->n_video_rows = vr_flash_qwen_rows(&layout);
    return VR_OK;
}

static int system_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    return vr_flash_qwen_look(state, run, source, view, hooks, e);
}

const vr_system vr_system_flash_vstream_qwen = {
    .name = "flash-vstream-qwen",
    .state_bytes = sizeof(vr_flash_qwen),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .watch = system_watch,
    .stream = &vr_flash_qwen_stream,
    .rows_piece = "<|video_pad|>",
};
