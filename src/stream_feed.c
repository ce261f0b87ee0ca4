/*
 * stream_feed.c - where the frames of a stream come from: a file, of which the system chooses frames, or a pipe.
 *
 *   file -> scan -> system->plan: indices, times -> media/frames, one by one at their own size
 *   pipe -> media/live: one by one as they come
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "media/frames.h"
#include "media/live.h"
#include "session.h"

struct vr_feed {
    vr_live *live; /* NULL: a file */
    vr_source *source;
    vr_view view; /* which frames of the file */
    vr_frames *frames;
    uint8_t *rgb;
    int width, height;
    int64_t n_frames_total;
    int64_t next;
    atomic_bool stop;
};

/* The frames of the file that the system would look at, at fps a second. */
static int file_open(vr_feed *f, const vr_model *model, const char *path, double fps, vr_err *e)
{
    vr_source_info info;
    const vr_watch_options options = { .fps = fps, .no_audio = true };
    VR_TRY(vr_source_open(&f->source, path, &model->hooks.log, e));
    vr_source_info_get(f->source, &info);
    if (info.is_image) return vr_fail(e, VR_ERR_VIDEO, "%s: is a picture; only a video can be followed", path);
    const vr_system *system = model->system;
    VR_TRY((system->stream->plan ? system->stream->plan : system->plan)(model->state, f->source, &options, &f->view, e));
    f->n_frames_total = info.n_frames;
    vr_source_shown(&info, &f->width, &f->height);
    f->rgb = malloc((size_t)f->width * (size_t)f->height * 3);
    if (!f->rgb) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for a frame of %d x %d", path, f->width, f->height);
    return vr_frames_open(&f->frames, f->source, f->view.frame_indices, f->view.n_frames, f->width, f->height,
                          VR_RESIZE_SWS_BILINEAR, &model->hooks.log, e);
}

int vr_feed_open(vr_feed **out, vr_model *model, const char *video, double fps, vr_err *e)
{
    *out = NULL;
    vr_feed *f = calloc(1, sizeof *f);
    if (!f) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", video);
    atomic_init(&f->stop, false);
    const double rate = fps > 0 ? fps : model->recipe.fps;
    const int rc = !model->recipe.streams ? vr_fail(e, VR_ERR_USAGE, "%s: %s follows no streams",
                                                    vr_weights_path(model->weights), model->system->name)
                   : vr_live_is(video)    ? vr_live_open(&f->live, video, rate, &model->hooks.log, e)
                                          : file_open(f, model, video, rate, e);
    if (rc == VR_OK) *out = f, f = NULL;
    vr_feed_free(f);
    return rc;
}

void vr_feed_info_get(const vr_feed *f, vr_feed_info *out)
{
    *out = (vr_feed_info){ .live = f->live != NULL, .n_frames_total = f->n_frames_total, .n_frames = f->view.n_frames };
    if (f->live) vr_live_counts(f->live, &out->n_bad, &out->n_jumps);
}

static int next_of_file(vr_feed *f, vr_stream_frame *frame, vr_err *e)
{
    int place;
    if (atomic_load(&f->stop)) return VR_OK;
    VR_TRY(vr_frames_next(f->frames, f->rgb, &place, e));
    if (place < 0) return VR_OK;
    *frame =
        (vr_stream_frame){ f->rgb, f->width, f->height, f->next++, f->view.frame_seconds[place], f->view.frame_indices[place] };
    return VR_OK;
}

static int next_of_pipe(vr_feed *f, vr_stream_frame *frame, vr_err *e)
{
    vr_live_frame live;
    VR_TRY(vr_live_next(f->live, &live, e));
    if (live.rgb) *frame = (vr_stream_frame){ live.rgb, live.width, live.height, f->next++, live.seconds, -1 };
    return VR_OK;
}

int vr_feed_next(vr_feed *f, vr_stream_frame *frame, vr_err *e)
{
    *frame = (vr_stream_frame){ 0 };
    return f->live ? next_of_pipe(f, frame, e) : next_of_file(f, frame, e);
}

void vr_feed_stop(vr_feed *f)
{
    atomic_store(&f->stop, true);
    if (f->live) vr_live_stop(f->live);
}

void vr_feed_free(vr_feed *f)
{
    if (!f) return;
    vr_live_free(f->live);
    vr_frames_free(f->frames);
    vr_view_free(&f->view);
    vr_source_free(f->source);
    free(f->rgb);
    free(f);
}
