/*
 * frames.h - which frames are looked at, and how they become pixels of a tower.
 *
 *   n_total -> vr_frames_uniform -> indices -> vr_frames_next: RGB [S,S,3] one by one -> vr_pixels_normalise [3,S,S]
 */
#ifndef VR_FRAMES_H
#define VR_FRAMES_H

#include <stdint.h>

#include "base/err.h"
#include "media/source.h"

/* out[i] = floor(i * n_total / n), i < n = min(n_wanted, n_total); returns n. Video-LLaMA video_processor.py:25-56. */
int vr_frames_uniform(int64_t *out, int64_t n_total, int n_wanted);

/* Every step-th frame, so that about `fps` a second are looked at: round(rate/fps), halves to even; 0 where that cannot be
 * (LongVU docs/inference.md: range(0, len, round(fps))). */
int64_t vr_frames_step(int rate_num, int rate_den, double fps);

typedef struct vr_frames vr_frames;

typedef enum vr_resize {
    VR_RESIZE_SWS_BILINEAR, /* decord: swscale bilinear, aspect ratio squashed */
    VR_RESIZE_PIL_BICUBIC   /* PIL 9: a = -0.5, antialiased, 22-bit fixed point, uint8 between the passes */
} vr_resize;

/* Read the frames `indices` (ascending, n of them, copied) of the source: index i is the i-th packet in order of
 * presentation time. A frame that cannot be decoded is replaced by the last good one before it (or the first good one
 * after), with a warning. Edit lists: see media/scan.h. */
int vr_frames_open(vr_frames **out, vr_source *source, const int64_t *indices, int n, int width, int height, vr_resize resize,
                   const vr_log *log, vr_err *e);
/* Next frame as RGB24 [height,width,3]; *index: which one of 0..n-1. After the last one *index = -1. */
int vr_frames_next(vr_frames *frames, uint8_t *rgb, int *index, vr_err *e);
void vr_frames_free(vr_frames *frames); /* NULL is legal */

/* out[c,y,x] = (rgb[y,x,c]/255 - mean[c]) / std[c], in f32: divide, subtract, divide. */
void vr_pixels_normalise(float *out, const uint8_t *rgb, int width, int height, const float mean[3], const float std[3]);

/* PIL's bicubic resize of RGB24 [in_height,in_width,3] to [height,width,3]. */
int vr_resize_pil_bicubic(uint8_t *out, int width, int height, const uint8_t *in, int in_width, int in_height, vr_err *e);

/* out [side,side,3]: rgb [height,width,3] in the middle of a square of colour pad, side = the longer one; the odd line is
 * below or right (LongVU mm_datautils.py:252-297, expand2square). */
void vr_pad_square(uint8_t *out, const uint8_t *rgb, int width, int height, const uint8_t pad[3]);

#endif
