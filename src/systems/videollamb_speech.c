/*
 * videollamb_speech.c - VideoLLaMB: when it says something in a stream.
 *
 *   class row -> similarity to the one before -> scenes so far -> original: at every second frame while there are two cuts
 *                                                              -> scenes: once for every scene
 *
 * Of class rows only similarities stay (compress/scene_tiling.c), and where scenes are told the time of each frame.
 * Ref:   llava/serve/inference.py (LiveInfer), cli_streaming.py.
 * Trap:  the original looks for an event once for every frame that is pending; the frame of the first answer stays pending.
 *        It compares seconds with numbers of frames, so slower than a frame a second it soon falls silent.
 */
#include "systems/videollamb.h"

#include <stdlib.h>

void vr_videollamb_speech_open(const vr_videollamb *s, vr_run *run, const vr_stream_options *options, vr_videollamb_speech *m)
{
    *m = (vr_videollamb_speech){ .captions = s->speaks ? options->captions : VR_CAPTIONS_OFF,
                                 .fps = options->fps,
                                 .rule = s->speech,
                                 .told = -1,
                                 .dump = vr_run_stages(run) };
    m->asked = options->query != NULL && m->captions == VR_CAPTIONS_ORIGINAL;
    if (m->captions == VR_CAPTIONS_SCENES) m->rule.most = INT32_MAX; /* a stream may have any number of them */
    vr_scene_stream_open(&m->scenes, run, s->D);
}

void vr_videollamb_speech_free(vr_videollamb_speech *m)
{
    if (m->dump) {
        vr_ragged_dump(&m->boundaries, m->dump, "stream.boundaries");
        vr_ragged_dump(&m->all_marks, m->dump, "stream.marks");
    }
    vr_scene_stream_free(&m->scenes);
    vr_ids_free(&m->marks);
    vr_ragged_free(&m->boundaries);
    vr_ragged_free(&m->all_marks);
    free(m->seconds);
}

static bool is_mark(const vr_videollamb_speech *m, int32_t frame)
{
    for (int i = 0; i < m->marks.count; i++)
        if (m->marks.data[i] == frame) return true;
    return false;
}

/* The stages of a caption; marks are what the original remembers of boundaries. */
static int caption_dump(vr_videollamb_speech *m, const int32_t *ends, int n, int n_picked, bool queried, vr_err *e)
{
    if (!m->dump) return VR_OK;
    const int32_t index = (int32_t)m->n_frames;
    const int32_t event[4] = { index, index + 1, n_picked, queried };
    if (m->marks.count == 0) VR_TRY(vr_ids_push(&m->marks, 0, e));
    for (int i = 0; !queried && i < n; i++)
        if (!is_mark(m, ends[i])) VR_TRY(vr_ids_push(&m->marks, ends[i], e));
    vr_dump_i32(m->dump, "stream.events", event, 2, (const int64_t[2]){ 1, 4 });
    return vr_ragged_push(&m->all_marks, m->marks.data, m->marks.count, e);
}

/* As the original would, with its loop over pending frames; m->n_frames is the newest. */
static int original_event(vr_videollamb_speech *m, double seconds, int n_picked, vr_stream_event *event, vr_err *e)
{
    const int32_t *ends = NULL;
    int n = 0;
    bool looked = false;
    while (!event->caption && m->pending <= m->n_frames) {
        const double pending = (double)m->pending / m->fps;
        if (m->asked && pending > 0) {
            m->asked = false;
            event->caption = event->queried = true;
            VR_TRY(caption_dump(m, NULL, 0, n_picked, true, e));
            break;
        }
        m->pending++;
        if (!looked) n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
        looked = true;
        if (n > 2 && pending - (double)m->n_frames < 3 && m->n_frames - m->last_mark > 1) {
            event->caption = true;
            event->seconds = seconds;
            m->last_mark = m->n_frames;
            VR_TRY(caption_dump(m, ends, n, n_picked, false, e));
        }
    }
    if (!looked) n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
    event->n_scenes = n > 0 ? n - 1 : 0;
    const int32_t none = -1;
    if (m->dump) return looked ? vr_ragged_push(&m->boundaries, ends, n, e) : vr_ragged_push(&m->boundaries, &none, 1, e);
    return VR_OK;
}

/* A scene has ended where two frames after its end the valley is still there; each is told once, in order. */
static int scene_event(vr_videollamb_speech *m, double seconds, vr_stream_event *event, vr_err *e)
{
    const int32_t *ends;
    if (m->n_frames == m->room) {
        const int64_t room = m->room ? 2 * m->room : 1024;
        double *grown = realloc(m->seconds, (size_t)room * sizeof *grown);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the times of %lld frames", (long long)room);
        m->seconds = grown;
        m->room = room;
    }
    m->seconds[m->n_frames] = seconds;
    const int n = vr_scene_stream_ends(&m->scenes, &m->rule, &ends);
    for (int i = 0; i + 1 < n && !event->caption; i++) {
        if (ends[i] <= m->told || ends[i] + 2 > m->n_frames) continue;
        event->caption = true;
        event->seconds = seconds;
        event->scene_start = m->seconds[m->told + 1];
        event->scene_end = m->seconds[ends[i] + 1]; /* where the next one begins: a scene may be a single frame */
        m->told = ends[i];
        m->n_told++;
    }
    event->n_scenes = m->n_told;
    return VR_OK;
}

int vr_videollamb_speech_add(vr_videollamb_speech *m, vr_run *run, const float *class_row, const vr_stream_frame *frame,
                             int n_picked, vr_stream_event *event, vr_err *e)
{
    VR_TRY(vr_scene_stream_append(&m->scenes, run, class_row, e));
    if (!frame) return VR_OK;
    vr_run_dump(run, class_row, 2, (const int64_t[2]){ 1, m->scenes.D }, "stream.cls");
    const int rc = m->captions == VR_CAPTIONS_SCENES ? scene_event(m, frame->seconds, event, e)
                                                     : original_event(m, frame->seconds, n_picked, event, e);
    m->n_frames++;
    return rc;
}
