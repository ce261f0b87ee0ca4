/*
 * system.c - the list of systems, see system.h.
 */
#include "systems/system.h"

#include <stdlib.h>
#include <string.h>

static const vr_system *const systems[] = { &vr_system_video_llama, &vr_system_longvu };

const vr_system *vr_system_find(vr_string name)
{
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++)
        if (strlen(systems[i]->name) == name.n_bytes && memcmp(systems[i]->name, name.data, name.n_bytes) == 0) return systems[i];
    return NULL;
}

const char *vr_system_names(void)
{
    return "video-llama longvu";
}

void vr_view_free(vr_view *view)
{
    free(view->frame_indices);
    free(view->frame_seconds);
    *view = (vr_view){ 0 };
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
