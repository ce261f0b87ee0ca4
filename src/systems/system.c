/*
 * system.c - the list of systems, see system.h.
 */
#include "systems/system.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "media/frames.h"

static const vr_system *const systems[] = { &vr_system_video_llama, &vr_system_videollamb,    &vr_system_videochat,
                                            &vr_system_longvu,      &vr_system_flash_vstream, &vr_system_flash_vstream_qwen,
                                            &vr_system_text };

const vr_system *vr_system_find(vr_string name)
{
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++)
        if (strlen(systems[i]->name) == name.n_bytes && memcmp(systems[i]->name, name.data, name.n_bytes) == 0)
            return systems[i];
    return NULL;
}

int vr_system_open(const vr_system *system, void **state, vr_weights *w, vr_err *e)
{
    void *opened = calloc(1, system->state_bytes);
    *state = NULL;
    if (!opened) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the model");
    const int rc = system->open(opened, w, e);
    if (rc == VR_OK)
        *state = opened;
    else
        vr_system_close(system, opened);
    return rc;
}

void vr_system_close(const vr_system *system, void *state)
{
    if (state) system->close(state);
    free(state);
}

const char *vr_system_names(void)
{
    return "video-llama videollamb videochat longvu flash-vstream flash-vstream-qwen text";
}

int vr_view_take(vr_view *view, int n_frames, vr_err *e)
{
    const size_t n = (size_t)n_frames;
    view->n_frames = n_frames;
    view->frame_indices = calloc(n, sizeof *view->frame_indices);
    view->frame_seconds = calloc(n, sizeof *view->frame_seconds);
    view->frame_facts = calloc(n, sizeof *view->frame_facts);
    if (view->frame_indices && view->frame_seconds && view->frame_facts) return VR_OK;
    return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a list of %d frames", n_frames);
}

void vr_view_seconds(vr_view *view, const vr_source_info *info)
{
    const double rate = vr_source_rate(info);
    for (int i = 0; i < view->n_frames; i++) view->frame_seconds[i] = rate > 0 ? (double)view->frame_indices[i] / rate : 0;
}

int vr_view_take_number(vr_view *view, const vr_watch_options *options, int n_frames, int n_most, vr_err *e)
{
    if (options->fps > 0) return vr_fail(e, VR_ERR_USAGE, "--fps: this model looks at a number of frames (--frames)");
    const int n = view->image ? 1 : options->n_frames ? options->n_frames : n_frames;
    if (n > n_most) return vr_fail(e, VR_ERR_USAGE, "--frames %d: this model looks at no more than %d frames", n, n_most);
    return vr_view_take(view, n, e);
}

int vr_view_take_rate(vr_view *view, const vr_source *source, const vr_watch_options *options, double fps, vr_err *e)
{
    vr_source_info info;
    vr_source_info_get(source, &info);
    int64_t step = vr_frames_step(info.rate_num, info.rate_den, options->fps > 0 ? options->fps : fps), n = 1;
    const bool even = options->n_frames > 0 || view->image;
    if (options->n_frames && !view->image) {
        n = options->n_frames;
    } else if (!view->image) {
        view->every_frame = step == 0; /* fewer than half a frame a second, or no rate */
        if (step == 0) step = 1;
        n = (info.n_frames + step - 1) / step;
    }
    if (n > VR_MAX_FRAMES)
        return vr_fail(e, VR_ERR_LIMIT, "%s: %lld frames would be looked at, at most %d are taken (--frames)",
                       vr_source_path(source), (long long)n, VR_MAX_FRAMES);
    VR_TRY(vr_view_take(view, (int)n, e));
    if (even)
        view->n_frames = vr_frames_uniform(view->frame_indices, info.n_frames, (int)n);
    else
        for (int64_t i = 0; i < n; i++) view->frame_indices[i] = i * step;
    vr_view_seconds(view, &info);
    return VR_OK;
}

void vr_view_free(vr_view *view)
{
    free(view->frame_indices);
    free(view->frame_seconds);
    free(view->frame_facts);
    free(view->positions);
    free(view->positions_plain);
    free(view->scene_facts);
    free(view->mel);
    free(view->retrieved);
    *view = (vr_view){ 0 };
}

void vr_view_facts(const vr_view *view, vr_facts *out)
{
    *out = view->facts;
    out->n_frames = view->n_frames;
    out->frames = view->frame_facts;
    for (int i = 0; i < view->n_frames; i++) {
        out->n_kept += view->frame_facts[i].kept;
        out->n_high += view->frame_facts[i].high;
    }
    out->scenes = view->scene_facts;
    out->sound.mel = view->mel;
    out->memory.retrieved = view->retrieved;
}

void vr_view_step(vr_view *view, const char *name, int64_t before, int64_t after, const char *unit)
{
    assert(view->facts.n_steps < VR_FACT_STEPS);
    view->facts.steps[view->facts.n_steps++] = (vr_step){ name, before, after, unit };
}

void vr_view_tell_shared(vr_view *view, int64_t n_before)
{
    for (int i = 0; i < view->n_frames; i++) view->frame_facts[i].kept = true;
    view->facts.n_tokens_before = n_before;
    view->facts.n_tokens = view->n_video_rows + view->n_audio_rows;
}

int vr_widths_check(const vr_weights *w, const char *what, int has, int wants, vr_err *e)
{
    if (has == wants) return VR_OK;
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s gives rows of %d, the next part takes %d", vr_weights_path(w), what, has, wants);
}

void vr_hooks_progress(const vr_hooks *hooks, const char *stage, int64_t done, int64_t total)
{
    if (hooks->progress) hooks->progress(hooks->cookie, stage, done, total);
}

void vr_hooks_timing(const vr_hooks *hooks, const char *stage, double seconds, int64_t count, const char *unit)
{
    if (hooks->timing) hooks->timing(hooks->cookie, &(vr_timing){ stage, seconds, count, unit });
}

int vr_hooks_check(const vr_hooks *hooks, vr_err *e)
{
    if (hooks->cancelled && hooks->cancelled(hooks->cookie)) return vr_fail(e, VR_ERR_CANCEL, "stopped");
    return VR_OK;
}
