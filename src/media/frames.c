/*
 * frames.c - see frames.h.
 *
 *   wanted index -> [seek to the key frame before it] -> decode on until it comes by -> scale.c | picture.c -> RGB24
 *
 *   before ... current: the last two decoded frames. wanted == current: show it. wanted < current: the wanted frame never came,
 *   show `before`. End of the file: show once more what was shown last, as decord does. So nothing depends on where decoding
 *   began.
 *
 * Ref:   decord src/video/video_reader.cc (index -> pts, missing frames); Video-LLaMA video_processor.py:25-56.
 * Trap:  a seek is trusted only when the first frame it shows is the key frame asked for (open GOPs, wrong key flags, intra
 *        refresh); otherwise the file is opened anew and decoded from its start, and no seek is tried again.
 */
#include "media/frames.h"

#include <stdbool.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "media/decoder.h"
#include "media/picture.h"
#include "media/scale.h"
#include "media/source_inside.h"

enum { SEEK_GAIN = 24 }; /* frames that a seek has to save: it costs a flush of the decoder and a search in the file */

struct vr_frames {
    const vr_source *source; /* borrowed */
    const vr_log *log;       /* borrowed */
    vr_decoder *decoder;
    vr_scaler *scaler;
    AVFrame *before, *current; /* swapped at each step; their numbers are below, -1: none */
    AVFrame *shown;            /* the last one handed out */
    int64_t before_index, current_index;
    bool finished; /* the decoder has no more frames */
    bool may_seek;
    int64_t *indices; /* [n] owned; ascending but for hidden frames, see scan.h */
    int n, next;
    int n_missing;
    int width, height;
    vr_resize resize;
};

int vr_frames_uniform(int64_t *out, int64_t n_total, int n_wanted)
{
    const int n = n_total < n_wanted ? (int)n_total : n_wanted;
    for (int i = 0; i < n; i++) {
        /* floor(i * n_total / n) without a product that overflows */
        out[i] = n_total / n * i + n_total % n * i / n;
    }
    return n < 0 ? 0 : n;
}

int64_t vr_frames_step(int rate_num, int rate_den, double fps)
{
    if (rate_num <= 0 || rate_den <= 0 || !(fps > 0)) return 0;
    const double step = rint((double)rate_num / (double)rate_den / fps);
    return step >= 1 && step < 1e9 ? (int64_t)step : 0;
}

void vr_pixels_normalise(float *out, const uint8_t *rgb, int width, int height, const float mean[3], const float std[3])
{
    const size_t area = (size_t)width * (size_t)height;
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < area; i++) out[c * area + i] = ((float)rgb[i * 3 + c] / 255.0F - mean[c]) / std[c];
    }
}

static int check_request(const vr_frames *f, vr_err *e)
{
    const char *name = f->source->input.name;
    if (f->n < 1 || f->n > VR_MAX_FRAMES) {
        return vr_fail(e, VR_ERR_LIMIT, "%s: %d frames asked for, 1 to %d are possible", name, f->n, VR_MAX_FRAMES);
    }
    if (f->width < 1 || f->height < 1 || f->width > VR_MAX_IMAGE_SIZE || f->height > VR_MAX_IMAGE_SIZE) {
        return vr_fail(e, VR_ERR_LIMIT, "%s: frames of %d x %d pixels asked for, up to %d a side are possible", name, f->width,
                       f->height, VR_MAX_IMAGE_SIZE);
    }
    return VR_OK;
}

static int check_indices(const vr_frames *f, vr_err *e)
{
    for (int i = 0; i < f->n; i++) {
        if (f->indices[i] >= 0 && f->indices[i] < f->source->scan.n) continue;
        return vr_fail(e, VR_ERR_VIDEO, "%s: has no frame %lld, only %lld", f->source->input.name, (long long)f->indices[i],
                       (long long)f->source->scan.n);
    }
    return VR_OK;
}

int vr_frames_open(vr_frames **out, vr_source *source, const int64_t *indices, int n, int width, int height, vr_resize resize,
                   const vr_log *log, vr_err *e)
{
    *out = NULL;
    const char *name = source->input.name;
    vr_frames *f = calloc(1, sizeof *f);
    if (!f) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
    f->source = source, f->log = log, f->n = n, f->width = width, f->height = height, f->resize = resize;
    f->before_index = f->current_index = -1;
    f->may_seek = source->scan.timed;
    int rc = check_request(f, e);
    if (rc != VR_OK) goto done;
    f->indices = malloc((size_t)n * sizeof *indices);
    f->before = av_frame_alloc();
    f->current = av_frame_alloc();
    f->shown = av_frame_alloc();
    if (!f->indices || !f->before || !f->current || !f->shown) {
        rc = vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
        goto done;
    }
    memcpy(f->indices, indices, (size_t)n * sizeof *indices);
    if ((rc = check_indices(f, e)) != VR_OK) goto done;
    vr_scan_shown(&source->scan, f->indices, n);
    if ((rc = vr_scaler_open(&f->scaler, name, source->info.rotation, e)) != VR_OK) goto done;
    if ((rc = vr_decoder_open(&f->decoder, &source->input, AVMEDIA_TYPE_VIDEO, e)) != VR_OK) goto done;
    *out = f, f = NULL;
done:
    vr_frames_free(f);
    return rc;
}

void vr_frames_free(vr_frames *f)
{
    if (!f) return;
    vr_decoder_free(f->decoder);
    vr_scaler_free(f->scaler);
    av_frame_free(&f->before);
    av_frame_free(&f->current);
    av_frame_free(&f->shown);
    free(f->indices);
    free(f);
}

/* Which packet a decoded frame came from; not above current_index when it does not belong to any that is still to come. */
static int64_t index_of(const vr_frames *f, const AVFrame *frame)
{
    const vr_scan *scan = &f->source->scan;
    if (!scan->timed) return f->current_index + 1;
    const int64_t pts = frame->pts != AV_NOPTS_VALUE ? frame->pts : frame->best_effort_timestamp;
    if (pts == AV_NOPTS_VALUE) return f->current_index + 1;
    const int64_t following = f->current_index + 1;
    if (following < scan->n && scan->pts[following] == pts) return following; /* also the second of two equal times */
    return vr_scan_find(scan, pts);
}

/* Decode one more frame into current. */
static int advance(vr_frames *f, vr_err *e)
{
    AVFrame *frame = f->before;
    int64_t index = -1;
    do {
        const int code = vr_decoder_next(f->decoder, frame);
        if (code == AVERROR(ENOMEM)) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for a frame", f->source->input.name);
        if (code < 0) {
            f->finished = true;
            f->before_index = -1; /* its frame was given up above */
            return VR_OK;
        }
        index = index_of(f, frame);
    } while (index <= f->current_index);
    f->before = f->current, f->before_index = f->current_index;
    f->current = frame, f->current_index = index;
    return VR_OK;
}

/* Back to the start of the file. */
static int restart(vr_frames *f, vr_err *e)
{
    vr_decoder_free(f->decoder);
    f->decoder = NULL;
    av_frame_unref(f->before);
    av_frame_unref(f->current);
    f->before_index = f->current_index = -1;
    f->finished = false;
    return vr_decoder_open(&f->decoder, &f->source->input, AVMEDIA_TYPE_VIDEO, e);
}

static bool is_key_frame(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (frame->flags & AV_FRAME_FLAG_KEY) != 0;
#else
    return frame->key_frame != 0;
#endif
}

/* Jump to the key frame before the wanted one where that saves decoding. */
static int maybe_seek(vr_frames *f, int64_t wanted, vr_err *e)
{
    const vr_scan *scan = &f->source->scan;
    if (!f->may_seek || wanted >= scan->n) return VR_OK;
    const vr_scan_key *key = vr_scan_key_before(scan, scan->pts[wanted]);
    if (!key) return VR_OK;
    const int64_t key_index = vr_scan_find(scan, key->pts);
    if (key_index - f->current_index <= SEEK_GAIN || key_index > wanted) return VR_OK;
    if (vr_decoder_seek(f->decoder, key->pts, key->dts)) {
        f->current_index =
            key_index - 1; /* frames that come out before the key frame are passed over: they may lack references */
        VR_TRY(advance(f, e));
        f->before_index = -1;
        av_frame_unref(f->before);
        if (!f->finished && f->current_index == key_index && is_key_frame(f->current)) return VR_OK;
    }
    f->may_seek = false;
    vr_log_print(f->log, VR_LOG_DEBUG, "%s: seeking is not exact, decoding from the start", f->source->input.name);
    return restart(f, e);
}

static int show(vr_frames *f, const AVFrame *frame, uint8_t *rgb, vr_err *e)
{
    if (f->resize == VR_RESIZE_SWS_BILINEAR) return vr_scaler_run(f->scaler, rgb, f->width, f->height, frame, e);
    return vr_picture_resize(rgb, f->width, f->height, frame, f->source->info.is_image, f->scaler, e);
}

static void warn_missing(const vr_frames *f)
{
    if (f->n_missing == 0) return;
    vr_log_print(f->log, VR_LOG_WARN, "%s: %d of %d frames are missing or cannot be decoded, their neighbours were taken",
                 f->source->input.name, f->n_missing, f->n);
}

/* The frame to show for the wanted one, now that current has reached it or the file has ended. */
static const AVFrame *choose(const vr_frames *f, int64_t wanted)
{
    if (f->current_index > wanted && f->before_index >= 0) return f->before;
    if (f->current_index < wanted && f->shown->buf[0]) return f->shown;
    return f->current;
}

int vr_frames_next(vr_frames *f, uint8_t *rgb, int *index, vr_err *e)
{
    *index = -1;
    if (f->next == f->n) return VR_OK;
    const int64_t wanted = f->indices[f->next];
    if (f->next > 0 && wanted < f->indices[f->next - 1]) VR_TRY(restart(f, e)); /* only with hidden frames */
    if (f->current_index < wanted && !f->finished) VR_TRY(maybe_seek(f, wanted, e));
    const bool beyond = wanted >= f->source->scan.n && f->shown->buf[0]; /* what is repeated is known already */
    while (f->current_index < wanted && !f->finished && !beyond) VR_TRY(advance(f, e));
    if (f->current_index < 0) return vr_fail(e, VR_ERR_VIDEO, "%s: no frame can be decoded", f->source->input.name);
    if (f->current_index != wanted) f->n_missing++;
    const AVFrame *frame = choose(f, wanted);
    VR_TRY(show(f, frame, rgb, e));
    if (frame != f->shown) {
        av_frame_unref(f->shown);
        if (av_frame_ref(f->shown, frame) < 0) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", f->source->input.name);
    }
    *index = f->next++;
    if (f->next == f->n) warn_missing(f);
    return VR_OK;
}
