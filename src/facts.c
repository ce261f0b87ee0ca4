/*
 * facts.c - what a session tells of its clip beside the answer: the plan, what became of the frames, the frames themselves.
 *
 *   view (systems/system.h) -> vr_plan, vr_facts          source -> decoded once more, at the size asked for -> RGB
 */
#include "session.h"

#include <stdlib.h>

#include "media/frames.h"

void vr_session_plan(const vr_session *s, vr_plan *out)
{
    const size_t width = (size_t)vr_llama_config_get(s->model->llama)->width;
    const vr_layers *layers = &s->model->layers;
    const bool turned = s->info.rotation % 180 != 0;
    *out = (vr_plan){
        .n_frames_total = s->info.n_frames,
        .n_frames = s->view.n_frames,
        .frame_indices = s->view.frame_indices,
        .frame_seconds = s->view.frame_seconds,
        .frame_width = turned ? s->info.height : s->info.width,
        .frame_height = turned ? s->info.width : s->info.height,
        .n_clips = s->view.n_clips,
        .n_video_rows = s->view.n_video_rows,
        .n_audio_rows = s->view.n_audio_rows,
        .n_prompt_rows = s->n_planned_rows,
        .context = s->context,
        .weights_bytes = vr_weights_file_bytes(s->model->weights),
        .scratch_bytes = s->scratch_bytes,
        .cache_bytes = s->cache_bytes,
        .device = layers->decided ? s->model->backend->name : NULL,
        .n_layers = vr_llama_config_get(s->model->llama)->n_layers,
        .n_device_layers = layers->n,
        .n_fitting_layers = layers->n_fitting,
        .device_bytes = layers->n_bytes,
        .device_free_bytes = layers->n_free,
        .rows_bytes = (size_t)(s->view.n_audio_rows + s->view.n_video_rows) * width * sizeof(float),
    };
}

void vr_session_facts(const vr_session *s, vr_facts *out)
{
    vr_view_facts(&s->view, out);
}

int vr_session_frames(vr_session *s, const int *positions, int n, int width, int height, uint8_t *rgb, vr_err *e)
{
    const vr_hooks *hooks = &s->model->hooks;
    const vr_log silent = { 0 }; /* what is broken was told when the clip was watched */
    const size_t frame_bytes = (size_t)width * (size_t)height * 3;
    vr_frames *frames = NULL;
    if (!s->source) return vr_fail(e, VR_ERR_USAGE, "a session without a video has no frames");
    int64_t *indices = calloc((size_t)n, sizeof *indices);
    if (!indices) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a list of %d frames", n);
    for (int i = 0; i < n; i++) indices[i] = s->view.frame_indices[positions[i]];
    int rc = vr_frames_open(&frames, s->source, indices, n, width, height, VR_RESIZE_SWS_BILINEAR, &silent, e);
    for (int i = 0, index; rc == VR_OK && i < n; i++) {
        rc = vr_hooks_check(hooks, e);
        if (rc == VR_OK) rc = vr_frames_next(frames, rgb + (size_t)i * frame_bytes, &index, e);
        vr_hooks_progress(hooks, "picture", i + 1, n);
    }
    vr_frames_free(frames);
    free(indices);
    return rc;
}
