/*
 * transcribe.c - see transcribe.h.
 *
 *   {"language":"en","seconds":11,"text":"..","segments":[{"start":0,"end":11,"text":"..","temperature":0,..}]}
 *
 * Trap:  texts begin with a blank, by which the words of two segments are joined; lines and cues are without it.
 */
#include "cli/transcribe.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/computing.h"
#include "cli/json.h"
#include "cli/places.h"
#include "cli/subtitles.h"
#include "speech/speech.h"

typedef struct transcript {
    const vr_options *options;
    vr_output *output;
    vr_subtitles srt, vtt;
    vr_text text;   /* of all segments; with --json */
    FILE *segments; /* JSON of them; NULL: not wanted */
    vr_json json;   /* over segments */
    char *bytes;    /* of segments, once closed */
    size_t n_bytes;
    vr_err error; /* of a segment */
} transcript;

static const char *without_blank(const char *text)
{
    return text + strspn(text, " ");
}

static void segment_json(vr_json *j, const vr_speech_segment *s)
{
    vr_json_open(j, NULL, '{');
    vr_json_number(j, "start", s->start);
    vr_json_number(j, "end", s->end);
    vr_json_text(j, "text", without_blank(s->text));
    vr_json_open(j, "ids", '[');
    for (int i = 0; i < s->n_ids; i++) vr_json_int(j, NULL, s->ids[i]);
    vr_json_close(j, ']');
    vr_json_number(j, "temperature", s->temperature);
    vr_json_number(j, "log_probability", s->log_probability);
    vr_json_number(j, "compression", s->compression);
    vr_json_number(j, "no_speech", s->no_speech);
    vr_json_close(j, '}');
}

static bool on_segment(void *cookie, const vr_speech_segment *s)
{
    transcript *t = cookie;
    const char *const text = without_blank(s->text);
    vr_subtitles_scene(&t->srt, s->start, s->end, text);
    vr_subtitles_scene(&t->vtt, s->start, s->end, text);
    if (t->segments) {
        segment_json(&t->json, s);
        return vr_text_append_string(&t->text, s->text, &t->error) == VR_OK;
    }
    vr_output_write(t->output, text, strlen(text));
    vr_output_end_line(t->output, false);
    return t->output->error == 0;
}

/* The one JSON object, from the segments' and what is known at the end. */
static int json_print(transcript *t, const vr_speech_result *result, vr_err *e)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *const file = open_memstream(&bytes, &n_bytes);
    if (!file) return vr_fail(e, VR_ERR_OTHER, "no memory for the transcript");
    vr_json j = { .file = file };
    vr_json_open(&j, NULL, '{');
    vr_json_text(&j, "language", result->language);
    vr_json_number(&j, "seconds", result->seconds);
    vr_json_text(&j, "text", without_blank(vr_text_string(&t->text)));
    vr_json_open(&j, "segments", '[');
    fwrite(t->bytes, 1, t->n_bytes, file);
    vr_json_close(&j, ']');
    vr_json_close(&j, '}');
    fputc('\n', file);
    const bool whole = !ferror(file);
    if (fclose(file) == 0 && whole) vr_output_write(t->output, bytes, n_bytes);
    free(bytes);
    return whole ? VR_OK : vr_fail(e, VR_ERR_OTHER, "no memory for the transcript");
}

static int segments_open(transcript *t, vr_err *e)
{
    if (!t->options->json) return VR_OK;
    t->segments = open_memstream(&t->bytes, &t->n_bytes);
    t->json = (vr_json){ .file = t->segments };
    return t->segments ? VR_OK : vr_fail(e, VR_ERR_OTHER, "no memory for the transcript");
}

/* The error of the first that failed counts; files are closed in any case. */
static int finish(transcript *t, const vr_speech_result *result, int rc, vr_err *e)
{
    vr_err ignored;
    bool whole = true;
    if (t->segments) whole = !ferror(t->segments);
    if (t->segments && fclose(t->segments) != 0) whole = false;
    if (rc == VR_OK && t->error.code != VR_OK) rc = vr_fail(e, t->error.code, "%s", t->error.text);
    if (rc == VR_OK && !whole) rc = vr_fail(e, VR_ERR_OTHER, "no memory for the transcript");
    if (rc == VR_OK && t->segments) rc = json_print(t, result, e);
    const int srt = vr_subtitles_close(&t->srt, result->seconds, rc == VR_OK ? e : &ignored);
    if (rc == VR_OK) rc = srt;
    const int vtt = vr_subtitles_close(&t->vtt, result->seconds, rc == VR_OK ? e : &ignored);
    if (rc == VR_OK) rc = vtt;
    if (rc == VR_OK) rc = vr_output_result(t->output, "the transcript", e);
    vr_text_free(&t->text);
    free(t->bytes);
    return rc;
}

static int speech_open(vr_speech **out, const vr_options *o, vr_report *report, vr_err *e)
{
    char path[VR_PLACES_PATH];
    vr_model_options options = vr_computing(o);
    vr_report_hooks(report, &options.hooks);
    VR_TRY(vr_places_weights(o->weights, path, sizeof path, e));
    return vr_speech_open(out, path, &options, e);
}

int vr_transcribe_run(const vr_options *o, vr_report *report, vr_output *output, vr_err *e)
{
    vr_speech *speech = NULL;
    vr_speech_result result = { 0 };
    transcript t = { .options = o, .output = output };
    const vr_speech_options options = {
        .language = o->language, .seed = o->seed, .dump_dir = o->dump_dir, .segment = on_segment, .cookie = &t
    };
    int rc = speech_open(&speech, o, report, e);
    if (rc == VR_OK) rc = segments_open(&t, e);
    if (rc == VR_OK) rc = vr_subtitles_open(&t.srt, o->srt, false, e);
    if (rc == VR_OK) rc = vr_subtitles_open(&t.vtt, o->vtt, true, e);
    if (rc == VR_OK) rc = vr_speech_transcribe(speech, o->video, &options, &result, e);
    if (rc == VR_OK && result.n_segments == 0) vr_report_line(report, "no speech was heard in %.2f s of sound", result.seconds);
    rc = finish(&t, &result, rc, e);
    vr_speech_free(speech);
    return rc;
}
