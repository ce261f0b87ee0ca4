/*
 * as_text.c - see as_text.h.
 */
#include "cli/as_text.h"

#include <stdlib.h>
#include <string.h>

#include "cli/computing.h"
#include "cli/places.h"
#include "speech/speech.h"

/* Owned copies of segments. */
typedef struct heard {
    vr_said *items;
    int count, capacity;
    bool full; /* no memory */
} heard;

static void heard_free(heard *h)
{
    for (int i = 0; i < h->count; i++) free((void *)(uintptr_t)h->items[i].text);
    free(h->items);
}

static bool on_segment(void *cookie, const vr_speech_segment *segment)
{
    heard *const h = cookie;
    if (h->count == h->capacity) {
        const int capacity = h->capacity ? 2 * h->capacity : 64;
        vr_said *const grown = realloc(h->items, (size_t)capacity * sizeof *grown);
        h->full = !grown;
        if (h->full) return false;
        h->items = grown;
        h->capacity = capacity;
    }
    char *const text = strdup(segment->text);
    h->full = !text;
    if (h->full) return false;
    h->items[h->count++] = (vr_said){ segment->start, segment->end, text };
    return true;
}

static int hear(heard *h, const char *video, const vr_options *o, vr_report *report, vr_err *e)
{
    char path[VR_PLACES_PATH];
    vr_speech *speech = NULL;
    vr_speech_result result = { 0 };
    const vr_speech_options options = { .language = o->language, .seed = o->seed, .segment = on_segment, .cookie = h };
    vr_model_options model = vr_computing(o);
    vr_report_hooks(report, &model.hooks);
    VR_TRY(vr_places_weights(o->speech, path, sizeof path, e));
    int rc = vr_speech_open(&speech, path, &model, e);
    if (rc == VR_OK) rc = vr_speech_transcribe(speech, video, &options, &result, e);
    vr_speech_free(speech);
    if (h->full) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for what is said");
    return rc;
}

int vr_as_text(vr_session *session, const char *video, const vr_options *o, vr_report *report, vr_err *e)
{
    heard h = { 0 };
    int rc = o->speech ? hear(&h, video, o, report, e) : VR_OK;
    if (rc == VR_ERR_VIDEO) { /* of the sound alone: the session has opened the file */
        vr_report_line(report, "nothing is heard: %s", e->text);
        rc = VR_OK;
    }
    const vr_tell_options options = { .said = h.items, .n_said = h.count, .n_predict = o->n_predict };
    if (rc == VR_OK) rc = vr_session_tell(session, &options, e);
    heard_free(&h);
    VR_TRY(rc);
    if (o->show_text) vr_report_text(report, "", vr_session_told(session));
    return VR_OK;
}
