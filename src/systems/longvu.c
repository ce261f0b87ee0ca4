/*
 * longvu.c - LongVU: its parts and what is looked at. Notes, tensors and traps: longvu.md.
 *
 *   frames at 1 a second -> DINOv2 -> frames kept -> SigLIP -> sampler: a grid a frame      longvu_look.c
 *   grids + question -> full, mixed or pruned tokens -> rows of the decoder                  longvu_show.c
 *
 * Ref: Vision-CAIR/LongVU longvu/cambrian_arch.py:646-1632, longvu/builder.py.
 */
#include "systems/longvu.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "compress/frame_select.h"

static void system_close(void *state)
{
    vr_longvu *s = state;
    vr_vit_free(s->siglip.vit);
    vr_vit_free(s->dino.vit);
    vr_spatial_sampler_free(s->sampler);
    vr_llama_free(s->llama);
}

static int tower_open(vr_longvu_tower *t, vr_weights *w, const vr_vit_parts *parts, vr_err *e)
{
    char key[64];
    int count, value;
    VR_TRY(vr_vit_open(&t->vit, w, parts, e));
    VR_TRY(vr_weights_floats(w, t->mean, 3, e, "%s.pixel.mean", parts->prefix));
    VR_TRY(vr_weights_floats(w, t->std, 3, e, "%s.pixel.std", parts->prefix));
    snprintf(key, sizeof key, "%s.pixel.pad", parts->prefix);
    VR_TRY(vr_weights_array(w, &count, e, "%s", key));
    if (count != 3) return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s has %d values, expected 3", vr_weights_path(w), key, count);
    for (int i = 0; i < 3; i++) {
        VR_TRY(vr_weights_array_int(w, key, i, &value, e));
        if (value < 0 || value > 255) return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s holds %d", vr_weights_path(w), key, value);
        t->pad[i] = (uint8_t)value;
    }
    return VR_OK;
}

static int numbers_read(vr_longvu *s, const vr_weights *w, vr_err *e)
{
    bool highres;
    VR_TRY(vr_weights_float(w, &s->fps, e, "video.fps"));
    VR_TRY(vr_weights_int(w, &s->tower_side, 1, 32, e, "longvu.tower_side"));
    VR_TRY(vr_weights_int(w, &s->query_side, 1, s->tower_side, e, "longvu.query_side"));
    VR_TRY(vr_weights_bool(w, &highres, e, "longvu.highres"));
    if (highres) VR_TRY(vr_weights_int(w, &s->low_side, 1, s->query_side, e, "longvu.low_side"));
    VR_TRY(vr_weights_float(w, &s->dino_threshold, e, "longvu.dino_threshold"));
    VR_TRY(vr_weights_float(w, &s->drop_threshold, e, "longvu.drop_threshold"));
    VR_TRY(vr_weights_int(w, &s->reserve, 0, VR_MAX_CONTEXT, e, "longvu.reserve"));
    VR_TRY(vr_weights_int(w, &s->max_length, s->reserve + 1, VR_MAX_CONTEXT, e, "longvu.max_length"));
    if (s->tower_side % s->query_side != 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: longvu.query_side %d does not divide longvu.tower_side %d", vr_weights_path(w),
                       s->query_side, s->tower_side);
    return VR_OK;
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    vr_longvu *s = state;
    static const char *const towers[VR_SAMPLER_TOWERS] = { "siglip", "dino" };
    const vr_vit_parts siglip = { .prefix = "siglip", .stage = "vision.siglip", .patch_bias = true };
    const vr_vit_parts dino = { .prefix = "dino",
                                .stage = "vision.dino",
                                .patch_bias = true,
                                .class_row = true,
                                .output_norm = true,
                                .layer_scale = true,
                                .gated = true };
    VR_TRY(numbers_read(s, w, e));
    VR_TRY(vr_llama_open(&s->llama, w, e));
    VR_TRY(tower_open(&s->siglip, w, &siglip, e));
    VR_TRY(tower_open(&s->dino, w, &dino, e));
    VR_TRY(vr_spatial_sampler_open(&s->sampler, w, towers, s->tower_side, s->query_side, e));
    const int W = vr_spatial_sampler_width(s->sampler), Dl = vr_llama_config_get(s->llama)->width;
    VR_TRY(vr_project_mlp_bind(&s->siglip.aux, w, "project.aux_siglip", vr_vit_width(s->siglip.vit), W, 1e-5f, e));
    VR_TRY(vr_project_mlp_bind(&s->dino.aux, w, "project.aux_dino", vr_vit_width(s->dino.vit), W, 1e-5f, e));
    VR_TRY(vr_project_mlp_bind(&s->project, w, "project.video", W, Dl, 0, e));
    return vr_weights_vector(w, &s->newline, Dl, e, "image_newline");
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const vr_longvu *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    (void)state;
    out->n_frames = 0;
    out->n_frames_max = VR_MAX_FRAMES;
    out->hears = false;
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const vr_longvu *s = state;
    VR_TRY(vr_view_take_rate(view, source, options, (double)s->fps, e));
    const int64_t most = (int64_t)vr_longvu_frames_most(s, view->n_frames) * s->query_side * (s->query_side + 1);
    view->n_video_rows = most < s->max_length ? (int)most : s->max_length;
    return VR_OK;
}

vr_longvu_budget vr_longvu_budget_of(const vr_longvu *s, const vr_question *question)
{
    vr_longvu_budget b = { .L = question->n_text + 1 };
    const int high = s->query_side * s->query_side, low = s->low_side ? s->low_side * s->low_side : high;
    b.B = s->max_length - b.L - s->reserve;
    b.R = b.B + 1;
    b.cap = b.B / low > 1 ? b.B / low : 1;
    b.n_full = b.B / high > 1 ? b.B / high : 1;
    b.n_low = s->low_side && b.B / low > 1 ? b.B / low : s->low_side ? 1 : b.n_full;
    return b;
}

int vr_longvu_frames_most(const vr_longvu *s, int n_in)
{
    const int low = s->low_side ? s->low_side : s->query_side, cap = s->max_length / (low * low);
    const int most = cap > VR_FRAME_MOST ? cap : VR_FRAME_MOST;
    return n_in < most ? n_in : most;
}

vr_crop vr_longvu_crop(const vr_longvu *s, const vr_longvu_features *f, bool is_low)
{
    if (!is_low) return vr_crop_tokens(s->query_side, f->pair_a, f->pair_b);
    const double ratio = (double)s->query_side / (double)s->low_side;
    const int a = (int)(f->pair_a / ratio), b = (int)(f->pair_b / ratio);
    return vr_crop_tokens(s->low_side, a > 0 ? a : 1, b > 0 ? b : 1);
}

/* Refused is what has no room for one frame on its smallest grid. Before features are there its shape is not known: then only
 * what has no room for a line of it. */
static int system_budget(const void *state, const vr_view *view, const vr_question *question, int *n_video_rows, vr_err *e)
{
    const vr_longvu *s = state;
    const vr_longvu_features *f = view->features;
    const vr_longvu_budget b = vr_longvu_budget_of(s, question);
    const int64_t grid = (int64_t)s->query_side * (s->query_side + 1), most = grid * vr_longvu_frames_most(s, view->n_frames);
    int least = (s->low_side ? s->low_side : s->query_side) + 1;
    if (f) {
        const vr_crop crop = vr_longvu_crop(s, f, s->low_side > 0);
        least = vr_crop_count(&crop);
    }
    if (b.R < least)
        return vr_fail(e, VR_ERR_LIMIT,
                       "the question leaves room for %d of %d tokens; one frame needs %s%d, so %s%d tokens of text would fit",
                       b.R > 0 ? b.R : 0, s->max_length, f ? "" : "at least ", least, f ? "" : "at most ",
                       s->max_length - s->reserve - least);
    *n_video_rows = most < b.R ? (int)most : b.R;
    return VR_OK;
}

static void features_free(void *features)
{
    vr_longvu_features *f = features;
    free(f->kept);
    free(f->tokens);
    free(f);
}

/* Whether frames are chosen does not depend on the question, unless the number of frames is near the cap: then show looks. */
static int system_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const vr_longvu *s = state;
    const vr_longvu_budget shortest = vr_longvu_budget_of(s, &(vr_question){ .n_text = 0 });
    const vr_longvu_budget longest = vr_longvu_budget_of(s, &(vr_question){ .n_text = s->max_length / 4 });
    vr_source_info info;
    vr_longvu_features *f = calloc(1, sizeof *f);
    view->features = f;
    if (!f) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the list of frames");
    vr_source_info_get(source, &info);
    vr_source_shown(&info, &f->width, &f->height);
    f->pair_a = view->image ? f->width : f->height;
    f->pair_b = view->image ? f->height : f->width;
    f->n_in = view->n_frames;
    f->n_max = vr_longvu_frames_most(s, f->n_in);
    f->places = (size_t)s->query_side * (size_t)s->query_side;
    f->kept = calloc((size_t)f->n_in, sizeof *f->kept);
    f->tokens = calloc((size_t)f->n_max, f->places);
    if (!f->kept || !f->tokens) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the list of frames");
    f->grids = vr_arena_floats(run->scratch, (size_t)f->n_max * f->places * (size_t)vr_spatial_sampler_width(s->sampler));
    if (run->be->plan || f->n_in >= shortest.cap) return vr_longvu_look(s, run, source, view, !view->image, f, hooks, e);
    if (view->image || f->n_in < longest.cap) return vr_longvu_look(s, run, source, view, false, f, hooks, e);
    return VR_OK;
}

static int system_show(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_question *question,
                       bool *changed, const vr_hooks *hooks, vr_err *e)
{
    const vr_longvu *s = state;
    vr_longvu_features *f = view->features;
    const vr_longvu_budget b = vr_longvu_budget_of(s, question);
    const bool select = !view->image && f->n_in >= b.cap;
    int most;
    *changed = true;
    if (!run->be->plan) VR_TRY(system_budget(s, view, question, &most, e));
    if (!f->looked || (f->selected != select && !run->be->plan))
        VR_TRY(vr_longvu_look(s, run, source, view, select, f, hooks, e));
    return vr_longvu_show(s, run, view, f, &b, question, e);
}

const vr_system vr_system_longvu = {
    .name = "longvu",
    .state_bytes = sizeof(vr_longvu),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .budget = system_budget,
    .watch = system_watch,
    .show = system_show,
    .features_free = features_free,
    .rows_mark = -200,
    .rows_mark_once = true,
};
