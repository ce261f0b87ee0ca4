/*
 * video_llama.c - Video-LLaMA: order and constants of its parts. Notes, tensors and traps: video_llama.md.
 *
 *   frames -> ViT -> Q-Former [T,32,D] -> + position of the frame -> Video Q-Former [32,D] -> project [32,Dl]
 *   sound  -> 8 clips -> ImageBind [8,E] -> + position of the clip -> Audio Q-Former [8,D] -> project [8,Dl]
 *   rows of the decoder: sound first, then frames
 *
 * Ref: DAMO-NLP-SG/Video-LLaMA video_llama.py:186-371, conversation_video.py:232-327.
 */
#include "systems/system.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "compress/qformer.h"
#include "encode/imagebind.h"
#include "encode/vit.h"
#include "media/frames.h"
#include "media/sound.h"
#include "project/project.h"

#define FRAMES_A_PASS 4 /* frames that go through the tower together; more saves nothing at 257 rows a frame */

typedef struct video_llama {
    vr_vit *vit;
    vr_qformer *qformer, *video_qformer;
    const float *frame_position; /* [n_frames_max, D]  video_qformer.position */
    vr_project project_video;
    int n_frames, n_frames_max;
    float pixel_mean[3], pixel_std[3];
    bool hears; /* the parts below exist */
    vr_sound_config sound;
    vr_imagebind *imagebind;
    vr_qformer *audio_qformer;
    const float *clip_position; /* [n_clips, E]  audio_qformer.position */
    vr_project project_audio;
    vr_llama *llama;
} video_llama;

static void system_close(void *state)
{
    video_llama *s = state;
    vr_vit_free(s->vit);
    vr_qformer_free(s->qformer);
    vr_qformer_free(s->video_qformer);
    vr_imagebind_free(s->imagebind);
    vr_qformer_free(s->audio_qformer);
    vr_llama_free(s->llama);
}

static int vision_open(video_llama *s, vr_weights *w, vr_err *e)
{
    const int Dl = vr_llama_config_get(s->llama)->width;
    const vr_vit_parts eva = { .prefix = "vit", .stage = "vision", .patch_bias = true, .class_row = true, .output_norm = true };
    VR_TRY(vr_vit_open(&s->vit, w, &eva, e));
    VR_TRY(vr_qformer_open(&s->qformer, w, "qformer", e));
    VR_TRY(vr_qformer_open(&s->video_qformer, w, "video_qformer", e));
    VR_TRY(vr_widths_check(w, "vit", vr_vit_width(s->vit), vr_qformer_encoder_width(s->qformer), e));
    VR_TRY(vr_widths_check(w, "qformer", vr_qformer_width(s->qformer), vr_qformer_encoder_width(s->video_qformer), e));
    VR_TRY(vr_weights_int(w, &s->n_frames_max, 1, VR_MAX_FRAMES, e, "video.frames_max"));
    VR_TRY(vr_weights_int(w, &s->n_frames, 1, s->n_frames_max, e, "video.frames"));
    if ((int64_t)s->n_frames_max * vr_qformer_queries(s->qformer) > VR_MAX_CONTEXT)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: video.frames_max %d with qformer.query_count %d gives more than %d rows",
                       vr_weights_path(w), s->n_frames_max, vr_qformer_queries(s->qformer), VR_MAX_CONTEXT);
    VR_TRY(vr_weights_floats(w, s->pixel_mean, 3, e, "pixel.mean"));
    VR_TRY(vr_weights_floats(w, s->pixel_std, 3, e, "pixel.std"));
    VR_TRY(vr_weights_table(w, &s->frame_position, s->n_frames_max, vr_qformer_width(s->qformer), e, "video_qformer.position"));
    return vr_project_bind(&s->project_video, w, "project.video", vr_qformer_width(s->video_qformer), Dl, e);
}

static int sound_config_read(vr_sound_config *c, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_weights_int(w, &c->sample_rate, 1000, VR_MAX_SAMPLE_RATE, e, "audio.sample_rate"));
    VR_TRY(vr_weights_int(w, &c->n_clips, 1, 256, e, "audio.clips"));
    VR_TRY(vr_weights_int(w, &c->clip_divisor, 1, 256, e, "audio.clip_divisor"));
    VR_TRY(vr_weights_int(w, &c->mel_bins, 1, 1024, e, "audio.mel_bins"));
    VR_TRY(vr_weights_int(w, &c->mel_frames, 1, 16384, e, "audio.mel_frames"));
    VR_TRY(vr_weights_float(w, &c->clip_seconds, e, "audio.clip_seconds"));
    VR_TRY(vr_weights_float(w, &c->mean, e, "audio.mean"));
    VR_TRY(vr_weights_float(w, &c->std, e, "audio.std"));
    if (!(c->clip_seconds > 0 && c->clip_seconds <= 60 && c->std != 0))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: audio.clip_seconds %g or audio.std %g cannot be", vr_weights_path(w),
                       (double)c->clip_seconds, (double)c->std);
    return VR_OK;
}

static int hearing_open(video_llama *s, vr_weights *w, vr_err *e)
{
    const int Dl = vr_llama_config_get(s->llama)->width;
    VR_TRY(sound_config_read(&s->sound, w, e));
    VR_TRY(vr_imagebind_open(&s->imagebind, w, s->sound.mel_bins, s->sound.mel_frames, e));
    VR_TRY(vr_qformer_open(&s->audio_qformer, w, "audio_qformer", e));
    const int E = vr_imagebind_output_width(s->imagebind);
    VR_TRY(vr_widths_check(w, "imagebind", E, vr_qformer_encoder_width(s->audio_qformer), e));
    VR_TRY(vr_weights_table(w, &s->clip_position, s->sound.n_clips, E, e, "audio_qformer.position"));
    return vr_project_bind(&s->project_audio, w, "project.audio", vr_qformer_width(s->audio_qformer), Dl, e);
}

static int system_open(void *state, vr_weights *w, vr_err *e)
{
    video_llama *s = state;
    VR_TRY(vr_llama_open(&s->llama, w, e));
    VR_TRY(vision_open(s, w, e));
    VR_TRY(vr_weights_bool(w, &s->hears, e, "audio.present"));
    return s->hears ? hearing_open(s, w, e) : VR_OK;
}

static const vr_llama *system_decoder(const void *state)
{
    return ((const video_llama *)state)->llama;
}

static void system_recipe(const void *state, vr_recipe *out)
{
    const video_llama *s = state;
    out->n_frames = s->n_frames;
    out->n_frames_max = s->n_frames_max;
    out->hears = s->hears;
}

static int system_plan(const void *state, const vr_source *source, const vr_watch_options *options, vr_view *view, vr_err *e)
{
    const video_llama *s = state;
    vr_source_info info;
    vr_source_info_get(source, &info);
    VR_TRY(vr_view_take_number(view, options, s->n_frames, s->n_frames_max, e));
    view->n_frames = vr_frames_uniform(view->frame_indices, info.n_frames, view->n_frames);
    vr_view_seconds(view, &info);
    view->n_video_rows = vr_qformer_queries(s->video_qformer);
    const bool listens = s->hears && info.has_audio && !options->no_audio && !view->image;
    view->n_clips = listens ? s->sound.n_clips : 0;
    view->n_audio_rows = listens ? vr_qformer_queries(s->audio_qformer) : 0;
    return VR_OK;
}

/* Reads up to n frames from `frames`, normalised, to pixels (backend memory); *read: how many. host [S*S*3 bytes | 3*S*S
 * floats]. */
static int pixels_read(const video_llama *s, vr_run *run, vr_frames *frames, int n, float *pixels, uint8_t *rgb, float *planes,
                       vr_err *e)
{
    const int S = vr_vit_image_size(s->vit);
    const size_t n_floats = 3 * (size_t)S * (size_t)S;
    for (int i = 0; i < n; i++) {
        int index;
        VR_TRY(vr_frames_next(frames, rgb, &index, e));
        vr_pixels_normalise(planes, rgb, S, S, s->pixel_mean, s->pixel_std);
        vr_dump_f32(run->dump, "input.pixels", planes, 4, (const int64_t[4]){ 1, 3, S, S });
        run->be->write(run->be, pixels + (size_t)i * n_floats, planes, n_floats * sizeof *planes);
    }
    return VR_OK;
}

/* Frames in passes through ViT and Q-Former: out [n_frames, Q, D]. frames NULL: planning. */
static int frames_encode(const video_llama *s, vr_run *run, vr_frames *frames, int n_frames, float *out, const vr_hooks *hooks,
                         vr_err *e)
{
    const int S = vr_vit_image_size(s->vit), R = vr_vit_tokens(s->vit);
    const size_t n_floats = 3 * (size_t)S * (size_t)S, frame_rows = (size_t)vr_qformer_queries(s->qformer);
    const size_t pass = (size_t)(n_frames < FRAMES_A_PASS ? n_frames : FRAMES_A_PASS);
    const size_t mark = vr_arena_mark(run->scratch);
    float *pixels = vr_arena_floats(run->scratch, pass * n_floats);
    float *features = vr_arena_floats(run->scratch, pass * (size_t)R * (size_t)vr_vit_width(s->vit));
    float *planes = vr_arena_floats(run->host, n_floats);
    uint8_t *rgb = vr_arena_alloc(run->host, n_floats, 1);
    double decoding = 0, encoding = 0;
    for (int first = 0; first < n_frames; first += FRAMES_A_PASS) {
        const int n = n_frames - first < FRAMES_A_PASS ? n_frames - first : FRAMES_A_PASS;
        const double start = vr_clock();
        VR_TRY(vr_hooks_check(hooks, e));
        if (frames) VR_TRY(pixels_read(s, run, frames, n, pixels, rgb, planes, e));
        const double decoded = vr_clock();
        vr_vit_forward(s->vit, run, pixels, n, features);
        vr_run_dump(run, features, 3, (const int64_t[3]){ n, R, vr_vit_width(s->vit) }, "vision.out");
        vr_qformer_forward(s->qformer, run, features, n, R,
                           out + (size_t)first * frame_rows * (size_t)vr_qformer_width(s->qformer), 3);
        VR_TRY(vr_backend_sync(run->be, e));
        decoding += decoded - start;
        encoding += vr_clock() - decoded;
        if (frames) vr_hooks_progress(hooks, "vision", first + n, n_frames);
    }
    vr_arena_release(run->scratch, mark);
    if (frames) vr_hooks_timing(hooks, "frames", decoding, n_frames, "frames");
    if (frames) vr_hooks_timing(hooks, "vision", encoding, n_frames, "frames");
    return VR_OK;
}

static int see(const video_llama *s, vr_run *run, vr_source *source, const vr_view *view, float *rows, const vr_hooks *hooks,
               vr_err *e)
{
    const int T = view->n_frames, Q = vr_qformer_queries(s->qformer), D = vr_qformer_width(s->qformer);
    const int S = vr_vit_image_size(s->vit), Qv = view->n_video_rows;
    const size_t mark = vr_arena_mark(run->scratch);
    float *looked = vr_arena_floats(run->scratch, (size_t)T * (size_t)Q * (size_t)D);
    float *watched = vr_arena_floats(run->scratch, (size_t)Qv * (size_t)vr_qformer_width(s->video_qformer));
    vr_frames *frames = NULL;
    if (!run->be->plan) {
        const vr_resize resize = view->image ? VR_RESIZE_PIL_BICUBIC : VR_RESIZE_SWS_BILINEAR;
        VR_TRY(vr_frames_open(&frames, source, view->frame_indices, T, S, S, resize, &hooks->log, e));
    }
    const int rc = frames_encode(s, run, frames, T, looked, hooks, e);
    vr_frames_free(frames);
    VR_TRY(rc);
    run->be->ops->add_rows(run->be, looked, looked, s->frame_position, T * Q, D, Q, T);
    vr_run_dump(run, looked, 3, (const int64_t[3]){ 1, (int64_t)T * Q, D }, "video_qformer.in");
    vr_qformer_forward(s->video_qformer, run, looked, 1, T * Q, watched, 3);
    vr_project_forward(&s->project_video, run, watched, Qv, rows, "project.video", 3);
    vr_arena_release(run->scratch, mark);
    return vr_backend_sync(run->be, e);
}

/* The mel of the clips as bytes, from the quietest value to the loudest; what pads a short clip counts as silence. Without
 * memory nothing is shown. */
static void tell_sound(const video_llama *s, vr_view *view, const float *mel)
{
    const size_t n = (size_t)view->n_clips * (size_t)s->sound.mel_bins * (size_t)s->sound.mel_frames;
    const float padding = (0 - s->sound.mean) / s->sound.std;
    float least = INFINITY, most = -INFINITY;
    view->mel = calloc(n, 1);
    if (!view->mel) return;
    for (size_t i = 0; i < n; i++) {
        if (mel[i] == padding) continue;
        least = fminf(least, mel[i]);
        most = fmaxf(most, mel[i]);
    }
    const float scale = most > least ? 255 / (most - least) : 0;
    for (size_t i = 0; i < n; i++)
        if (mel[i] != padding) view->mel[i] = (uint8_t)((mel[i] - least) * scale);
    view->facts.sound =
        (vr_sound_fact){ .n_clips = view->n_clips, .n_bins = s->sound.mel_bins, .n_columns = s->sound.mel_frames };
}

static int hear(const video_llama *s, vr_run *run, vr_source *source, vr_view *view, float *rows, const vr_hooks *hooks,
                vr_err *e)
{
    const int N = view->n_clips, bins = s->sound.mel_bins, columns = s->sound.mel_frames, Qa = view->n_audio_rows;
    const int E = vr_imagebind_output_width(s->imagebind);
    const size_t n_floats = (size_t)N * (size_t)bins * (size_t)columns;
    const size_t mark = vr_arena_mark(run->scratch);
    float *mel = vr_arena_floats(run->scratch, n_floats);
    float *mel_host = vr_arena_floats(run->host, n_floats);
    float *heard = vr_arena_floats(run->scratch, (size_t)N * (size_t)E);
    float *listened = vr_arena_floats(run->scratch, (size_t)Qa * (size_t)vr_qformer_width(s->audio_qformer));
    const double start = vr_clock();
    if (!run->be->plan) {
        bool usable = false;
        VR_TRY(vr_sound_read(source, &s->sound, mel_host, &usable, run->dump, &hooks->log, e));
        vr_hooks_timing(hooks, "sound", vr_clock() - start, usable ? N : 0, "clips");
        if (!usable) { /* the original then asks as if the file were silent */
            view->n_clips = view->n_audio_rows = 0;
            vr_arena_release(run->scratch, mark);
            return VR_OK;
        }
        vr_dump_f32(run->dump, "input.mel", mel_host, 3, (const int64_t[3]){ N, bins, columns });
        tell_sound(s, view, mel_host);
        run->be->write(run->be, mel, mel_host, n_floats * sizeof *mel);
    }
    const double decoded = vr_clock();
    vr_imagebind_forward(s->imagebind, run, mel, N, heard);
    run->be->ops->add_rows(run->be, heard, heard, s->clip_position, N, E, 1, N);
    vr_run_dump(run, heard, 3, (const int64_t[3]){ 1, N, E }, "audio_qformer.in");
    vr_qformer_forward(s->audio_qformer, run, heard, 1, N, listened, 3);
    vr_project_forward(&s->project_audio, run, listened, Qa, rows, "project.audio", 3);
    vr_arena_release(run->scratch, mark);
    VR_TRY(vr_backend_sync(run->be, e));
    if (!run->be->plan) vr_hooks_timing(hooks, "audio", vr_clock() - decoded, N, "clips");
    return VR_OK;
}

/* What is told of the clip; the frames share their rows. */
static void tell(const video_llama *s, vr_view *view)
{
    const int64_t patches = (int64_t)view->n_frames * vr_vit_tokens(s->vit),
                  rows = (int64_t)view->n_frames * vr_qformer_queries(s->qformer);
    vr_view_tell_shared(view, patches + view->n_clips);
    vr_view_step(view, "qformer", patches, rows, "tokens");
    vr_view_step(view, "video_qformer", rows, view->n_video_rows, "tokens");
    if (view->n_clips > 0) vr_view_step(view, "audio_qformer", view->n_clips, view->n_audio_rows, "tokens");
}

static int system_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    const video_llama *s = state;
    const size_t Dl = (size_t)vr_llama_config_get(s->llama)->width;
    if (view->n_clips > 0) VR_TRY(hear(s, run, source, view, view->rows, hooks, e));
    VR_TRY(see(s, run, source, view, view->rows + (size_t)view->n_audio_rows * Dl, hooks, e));
    if (!run->be->plan) tell(s, view);
    return VR_OK;
}

const vr_system vr_system_video_llama = {
    .name = "video-llama",
    .state_bytes = sizeof(video_llama),
    .open = system_open,
    .close = system_close,
    .decoder = system_decoder,
    .recipe = system_recipe,
    .plan = system_plan,
    .watch = system_watch,
    .rows_mark = -1,
};
