/*
 * videochat.c - VideoChat-Embed: order and constants of its parts. Notes, tensors and traps: videochat.md.
 *
 *   frames -> ViT, all but the last blocks frame by frame -> last blocks, each followed by a step of the aggregator
 *          -> rows of all frames [257 T, D] and the global row -> norm -> Q-Former [96, Dq] -> project [96, Dl]
 *
 * Ref: OpenGVLab/Ask-Anything video_chat/models/videochat.py:86-176, eva_vit.py:431-484, conversation.py:87-173.
 */
#include "systems/videochat.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "compress/qformer.h"
#include "encode/aggregator.h"
#include "encode/vit.h"
#include "media/clip_pixels.h"
#include "media/frames.h"
#include "project/project.h"
#include "systems/system.h"

#define FRAMES_A_PASS 4 /* frames that go through the blocks together; more saves nothing at 257 rows a frame */

typedef struct videochat {
    vr_vit *vit;
    vr_aggregator *aggregator;
    vr_qformer *qformer;
    vr_project project;
    vr_llama *llama;
    int n_frames, n_frames_max;
    float pixel_mean[3], pixel_std[3];
} videochat;

static void system_close(void *state)
{
    videochat *s = state;
    vr_vit_free(s->vit);
    vr_aggregator_free(s->aggregator);
    vr_qformer_free(s->qformer);
    vr_llama_free(s->llama);
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    videochat *s = state;
    const vr_vit_parts eva = { .prefix = "vit", .stage = "vision", .patch_bias = true, .class_row = true, .output_norm = true };
    VR_TRY(vr_llama_open(&s->llama, w, e));
    VR_TRY(vr_vit_open(&s->vit, w, &eva, e));
    VR_TRY(vr_aggregator_open(&s->aggregator, w, vr_vit_width(s->vit), vr_vit_heads(s->vit), vr_vit_side(s->vit), e));
    if (vr_aggregator_block_count(s->aggregator) > vr_vit_block_count(s->vit))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: aggregator.block_count %d is more than vit.block_count %d", vr_weights_path(w),
                       vr_aggregator_block_count(s->aggregator), vr_vit_block_count(s->vit));
    VR_TRY(vr_qformer_open(&s->qformer, w, "qformer", e));
    VR_TRY(vr_widths_check(w, "vit", vr_vit_width(s->vit), vr_qformer_encoder_width(s->qformer), e));
    VR_TRY(vr_weights_int(w, &s->n_frames_max, 1, VR_MAX_FRAMES, e, "video.frames_max"));
    VR_TRY(vr_weights_int(w, &s->n_frames, 1, s->n_frames_max, e, "video.frames"));
    VR_TRY(vr_weights_floats(w, s->pixel_mean, 3, e, "pixel.mean"));
    VR_TRY(vr_weights_floats(w, s->pixel_std, 3, e, "pixel.std"));
    return vr_project_bind(&s->project, w, "project.video", vr_qformer_width(s->qformer), vr_llama_config_get(s->llama)->width,
                           e);
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const videochat *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    const videochat *s = state;
    out->n_frames = s->n_frames;
    out->n_frames_max = s->n_frames_max;
}

void vr_videochat_middles(int64_t *out, int64_t n_total, int n)
{
    const double part = (double)(n_total - 1) / n;
    const int64_t start = (int64_t)(part / 2);
    for (int i = 0; i < n; i++) out[i] = start + (int64_t)rint(part * i);
}

/* The frames between options->from and to: those whose time is not before the one and before the other; at least one. */
static void piece(const vr_source_info *info, const vr_watch_options *options, int64_t *first, int64_t *n)
{
    const double n_frames = (double)info->n_frames, rate = vr_source_rate(info);
    const double begin = rate > 0 ? fmin(ceil(options->from * rate - 1e-6), n_frames - 1) : 0;
    const double end = rate > 0 && options->to > 0 ? fmin(ceil(options->to * rate - 1e-6), n_frames) : n_frames;
    *first = begin > 0 ? (int64_t)begin : 0;
    *n = end > (double)*first ? (int64_t)end - *first : 1;
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const videochat *s = state;
    vr_source_info info;
    vr_source_info_get(source, &info);
    VR_TRY(vr_view_take_number(view, options, s->n_frames, s->n_frames_max, e));
    const int n = view->n_frames;
    int64_t first, n_frames;
    piece(&info, options, &first, &n_frames);
    if (!view->image) vr_videochat_middles(view->frame_indices, n_frames, n);
    for (int i = 0; i < n && !view->image; i++) view->frame_indices[i] += first;
    vr_view_seconds(view, &info);
    view->n_video_rows = vr_qformer_queries(s->qformer);
    return VR_OK;
}

/* One pass over the frames. */
typedef struct reader {
    const videochat *s;
    vr_run *run;
    vr_frames *frames; /* NULL: planning */
    bool image;
    int width, height; /* of the pictures that frames gives */
    uint8_t *rgb, *picture;
    float *planes, *pixels;
} reader;

/* The next n frames as pixels in backend memory. */
static int pixels_read(const reader *r, int n, vr_err *e)
{
    const int S = vr_vit_image_size(r->s->vit);
    const size_t n_floats = 3 * (size_t)S * (size_t)S;
    for (int i = 0; i < n; i++) {
        int index;
        VR_TRY(vr_frames_next(r->frames, r->image ? r->picture : r->rgb, &index, e));
        if (!r->image) VR_TRY(vr_clip_pixels_crop_even(r->picture, S, r->rgb, r->width, r->height, e));
        vr_pixels_normalise(r->planes, r->picture, S, S, r->s->pixel_mean, r->s->pixel_std);
        vr_dump_f32(r->run->dump, "input.pixels", r->planes, 4, (const int64_t[4]){ 1, 3, S, S });
        r->run->be->write(r->run->be, r->pixels + (size_t)i * n_floats, r->planes, n_floats * sizeof *r->planes);
    }
    return VR_OK;
}

/* T frames through the blocks that see one frame alone: x [T, tokens, D] */
static int frames_encode(const reader *r, int T, int n_blocks, float *x, const vr_hooks *hooks, vr_err *e)
{
    const size_t frame = (size_t)vr_vit_tokens(r->s->vit) * (size_t)vr_vit_width(r->s->vit);
    double decoding = 0, encoding = 0;
    for (int first = 0; first < T; first += FRAMES_A_PASS) {
        const int n = T - first < FRAMES_A_PASS ? T - first : FRAMES_A_PASS;
        const double start = vr_clock();
        VR_TRY(vr_hooks_check(hooks, e));
        if (r->frames) VR_TRY(pixels_read(r, n, e));
        const double decoded = vr_clock();
        vr_vit_embed(r->s->vit, r->run, r->pixels, n, x + (size_t)first * frame);
        vr_vit_blocks(r->s->vit, r->run, x + (size_t)first * frame, n, 0, n_blocks);
        VR_TRY(vr_backend_sync(r->run->be, e));
        decoding += decoded - start;
        encoding += vr_clock() - decoded;
        if (r->frames) vr_hooks_progress(hooks, "vision", first + n, T);
    }
    if (r->frames) vr_hooks_timing(hooks, "frames", decoding, T, "frames");
    if (r->frames) vr_hooks_timing(hooks, "vision", encoding, T, "frames");
    return VR_OK;
}

/* The last blocks, all frames in step, with the aggregator behind each: x [T, tokens, D] and the global row g [D] */
static int frames_aggregate(const videochat *s, vr_run *run, int T, int first_block, float *x, float *g, const vr_hooks *hooks,
                            vr_err *e)
{
    const size_t frame = (size_t)vr_vit_tokens(s->vit) * (size_t)vr_vit_width(s->vit);
    const double start = vr_clock();
    vr_aggregator_begin(s->aggregator, run, g);
    for (int l = first_block; l < vr_vit_block_count(s->vit); l++) {
        for (int first = 0; first < T; first += FRAMES_A_PASS) {
            const int n = T - first < FRAMES_A_PASS ? T - first : FRAMES_A_PASS;
            VR_TRY(vr_hooks_check(hooks, e));
            vr_vit_blocks(s->vit, run, x + (size_t)first * frame, n, l, l + 1);
        }
        vr_aggregator_step(s->aggregator, run, l - first_block, x, T, g);
        VR_TRY(vr_backend_sync(run->be, e));
    }
    if (!run->be->plan) vr_hooks_timing(hooks, "aggregator", vr_clock() - start, T, "frames");
    return VR_OK;
}

static int see(const videochat *s, vr_run *run, vr_frames *frames, const vr_source_info *info, vr_view *view,
               const vr_hooks *hooks, vr_err *e)
{
    const int T = view->n_frames, R = vr_vit_tokens(s->vit), D = vr_vit_width(s->vit), rows = T * R + 1;
    const int S = vr_vit_image_size(s->vit), Q = vr_qformer_queries(s->qformer);
    const int alone = vr_vit_block_count(s->vit) - vr_aggregator_block_count(s->aggregator);
    const size_t n_floats = 3 * (size_t)S * (size_t)S, pass = (size_t)(T < FRAMES_A_PASS ? T : FRAMES_A_PASS);
    reader r = { .s = s, .run = run, .frames = frames, .image = view->image };
    vr_source_shown(info, &r.width, &r.height);
    float *x = vr_arena_floats(run->scratch, (size_t)rows * (size_t)D); /* the global row is the last */
    float *g = x + (size_t)T * (size_t)R * (size_t)D;
    const size_t mark = vr_arena_mark(run->scratch);
    r.pixels = vr_arena_floats(run->scratch, pass * n_floats);
    r.planes = vr_arena_floats(run->host, n_floats);
    r.picture = vr_arena_alloc(run->host, n_floats, 1);
    r.rgb = vr_arena_alloc(run->host, 3 * (size_t)r.width * (size_t)r.height, 1);
    VR_TRY(frames_encode(&r, T, alone, x, hooks, e));
    vr_arena_release(run->scratch, mark);
    VR_TRY(frames_aggregate(s, run, T, alone, x, g, hooks, e));
    vr_run_dump(run, x, 2, (const int64_t[2]){ rows, D }, "vision.out");
    vr_vit_norm(s->vit, run, x, rows);
    vr_run_dump(run, x, 2, (const int64_t[2]){ rows, D }, "vision.norm");
    float *looked = vr_arena_floats(run->scratch, (size_t)Q * (size_t)vr_qformer_width(s->qformer));
    vr_qformer_forward(s->qformer, run, x, 1, rows, looked, 2);
    vr_project_forward(&s->project, run, looked, Q, view->rows, "project.video", 2);
    return vr_backend_sync(run->be, e);
}

/* What is told of the clip; the frames share their rows. */
static void tell(const videochat *s, vr_view *view)
{
    const int64_t rows = (int64_t)view->n_frames * vr_vit_tokens(s->vit) + 1;
    vr_view_tell_shared(view, rows);
    vr_view_step(view, "qformer", rows, view->n_video_rows, "tokens");
}

static int system_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const videochat *s = state;
    const int S = vr_vit_image_size(s->vit);
    const size_t mark = vr_arena_mark(run->scratch);
    vr_source_info info;
    vr_frames *frames = NULL;
    vr_source_info_get(source, &info);
    if (!run->be->plan) {
        int width = S, height = S;
        if (!view->image) vr_source_shown(&info, &width, &height);
        VR_TRY(vr_frames_open(&frames, source, view->frame_indices, view->n_frames, width, height, VR_RESIZE_PIL_BICUBIC,
                              &hooks->log, e));
    }
    const int rc = see(s, run, frames, &info, view, hooks, e);
    vr_frames_free(frames);
    vr_arena_release(run->scratch, mark);
    if (rc == VR_OK && !run->be->plan) tell(s, view);
    return rc;
}

const vr_system vr_system_videochat = {
    .name = "videochat",
    .state_bytes = sizeof(videochat),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .watch = system_watch,
    .pieces = true,
};
