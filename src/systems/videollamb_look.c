/*
 * videollamb_look.c - VideoLLaMB: frames become class rows and pooled rows.
 *
 *   frame at its native size -> pixels -> tower, a group at a time -> class row [D]; patches [g*g,D] -> pooled [P,D]
 *
 * Of the tower's rows nothing else is kept. Pooled rows of all frames are, until the scenes are known: 512 frames of B are
 * 411 MB, and to see the chosen ones again would take up to as long as seeing them all (videollamb.md).
 */
#include "systems/videollamb.h"

#include "base/clock.h"
#include "media/clip_pixels.h"
#include "media/frames.h"

#define PASS 4 /* frames that go through a tower together where they do not see each other */

size_t vr_videollamb_pixel_floats(const vr_videollamb *s)
{
    const size_t S = (size_t)vr_vit_image_size(s->vit);
    return 3 * S * S;
}

void vr_videollamb_eye_take(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, bool image)
{
    const size_t n = vr_videollamb_pixel_floats(s);
    *eye = (vr_videollamb_eye){ .vit = image && s->image_vit ? s->image_vit : s->vit,
                                .how = image ? s->image_pixels : s->video_pixels };
    eye->group = image ? 1 : vr_vit_group(eye->vit) > 1 ? vr_vit_group(eye->vit) : PASS;
    eye->planes = vr_arena_floats(run->host, n);
    eye->crop = vr_arena_alloc(run->host, n, 1);
    eye->pixels = vr_arena_floats(run->scratch, (size_t)eye->group * n);
    eye->rows = vr_arena_floats(run->scratch, (size_t)(eye->group * vr_vit_tokens(eye->vit)) * (size_t)s->D);
}

int vr_videollamb_pixels_make(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, const uint8_t *rgb, int width,
                              int height, vr_err *e)
{
    const int S = s->pixels.side;
    switch (eye->how) {
    case VR_PIXELS_BILINEAR:
        VR_TRY(vr_float_resize_bilinear(eye->planes, &s->pixels, rgb, width, height, e));
        break;
    case VR_PIXELS_BICUBIC:
        VR_TRY(vr_float_resize_bicubic(eye->planes, &s->pixels, rgb, width, height, e));
        break;
    case VR_PIXELS_CLIP:
        VR_TRY(vr_clip_pixels_crop(eye->crop, S, rgb, width, height, e));
        vr_pixels_normalise(eye->planes, eye->crop, S, S, s->pixels.mean, s->pixels.std);
        break;
    }
    vr_dump_f32(run->dump, "input.pixels", eye->planes, 4, (const int64_t[4]){ 1, 3, S, S });
    return VR_OK;
}

void vr_videollamb_seen_take(const vr_videollamb *s, vr_run *run, vr_videollamb_seen *seen, int T)
{
    *seen = (vr_videollamb_seen){ .T = T };
    seen->classes = vr_arena_floats(run->scratch, (size_t)T * (size_t)s->D);
    seen->pooled = vr_arena_floats(run->scratch, (size_t)T * (size_t)s->P * (size_t)s->D);
}

int vr_videollamb_eye_look(const vr_videollamb *s, vr_run *run, vr_videollamb_eye *eye, int n, vr_videollamb_seen *seen,
                           int first, vr_err *e)
{
    const vr_ops *op = run->be->ops;
    const int tokens = vr_vit_tokens(eye->vit);
    const int64_t frame = (int64_t)tokens * s->D;
    const size_t D = (size_t)s->D;
    float *pooled = seen->pooled + (size_t)first * (size_t)s->P * D;
    const double start = vr_clock();
    vr_vit_forward(eye->vit, run, eye->pixels, n, eye->rows);
    op->copy_rows(run->be, seen->classes + (size_t)first * D, s->D, eye->rows, frame, n, s->D);
    op->pool_grid(run->be, pooled, s->pool_side, eye->rows + D, frame, vr_vit_side(eye->vit), true, n, s->D);
    vr_run_dump(run, pooled, 3, (const int64_t[3]){ n, s->P, s->D }, "compress.pool");
    VR_TRY(vr_backend_sync(run->be, e));
    eye->seconds += vr_clock() - start;
    return VR_OK;
}

/* frames NULL: planning, one group is enough. */
static int frames_look(const vr_videollamb *s, vr_run *run, vr_frames *frames, vr_videollamb_eye *eye, vr_videollamb_seen *seen,
                       double *decoding, const vr_hooks *hooks, vr_err *e)
{
    const size_t pixel_floats = vr_videollamb_pixel_floats(s);
    uint8_t *rgb = vr_arena_alloc(run->host, 3 * (size_t)seen->width * (size_t)seen->height, 1);
    for (int first = 0; first < seen->T; first += eye->group) {
        const int n = seen->T - first < eye->group ? seen->T - first : eye->group;
        const double start = vr_clock();
        VR_TRY(vr_hooks_check(hooks, e));
        for (int i = 0, index; frames && i < n; i++) {
            VR_TRY(vr_frames_next(frames, rgb, &index, e));
            VR_TRY(vr_videollamb_pixels_make(s, run, eye, rgb, seen->width, seen->height, e));
            run->be->write(run->be, eye->pixels + (size_t)i * pixel_floats, eye->planes, pixel_floats * sizeof *eye->planes);
        }
        *decoding += vr_clock() - start;
        VR_TRY(vr_videollamb_eye_look(s, run, eye, n, seen, first, e));
        if (!frames) break;
        vr_hooks_progress(hooks, "vision", first + n, seen->T);
    }
    return VR_OK;
}

int vr_videollamb_look(const vr_videollamb *s, vr_run *run, vr_source *source, const vr_view *view, vr_videollamb_seen *seen,
                       const vr_hooks *hooks, vr_err *e)
{
    const size_t mark = vr_arena_mark(run->scratch);
    vr_source_info info;
    vr_frames *frames = NULL;
    vr_videollamb_eye eye;
    double decoding = 0;
    vr_source_info_get(source, &info);
    vr_source_shown(&info, &seen->width, &seen->height);
    vr_videollamb_eye_take(s, run, &eye, view->image);
    if (!run->be->plan)
        VR_TRY(vr_frames_open(&frames, source, view->frame_indices, seen->T, seen->width, seen->height,
                              info.is_image ? VR_RESIZE_PIL_BICUBIC : VR_RESIZE_SWS_BILINEAR, &hooks->log, e));
    const int rc = frames_look(s, run, frames, &eye, seen, &decoding, hooks, e);
    vr_frames_free(frames);
    vr_arena_release(run->scratch, mark);
    if (rc != VR_OK || run->be->plan) return rc;
    vr_hooks_timing(hooks, "frames", decoding, seen->T, "frames");
    vr_hooks_timing(hooks, "vision", eye.seconds, seen->T, "frames");
    return VR_OK;
}
