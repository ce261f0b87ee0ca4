/*
 * events.c - see events.h.
 *
 * Trap: names of JSON members are read by programs: they may be added to, never changed.
 */
#include "cli/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/record.h"
#include "cli/timetable.h"

/* A JSON object made in memory, written in one piece. */
typedef struct line {
    vr_json json;
    char *text;
    size_t n_bytes;
} line;

static bool begin(line *l, const char *event)
{
    *l = (line){ 0 };
    FILE *const memory = open_memstream(&l->text, &l->n_bytes);
    if (!memory) return false;
    l->json = (vr_json){ memory, false };
    vr_json_open(&l->json, NULL, '{');
    vr_json_text(&l->json, "event", event);
    return true;
}

static void end(line *l, vr_output *out)
{
    vr_json_close(&l->json, '}');
    fputc('\n', l->json.file);
    const bool whole = !ferror(l->json.file);
    if (fclose(l->json.file) == 0 && whole)
        vr_output_write(out, l->text, l->n_bytes);
    else if (!out->error)
        out->error = ENOMEM;
    free(l->text);
}

void vr_events_start(vr_output *out, const vr_recipe *recipe, const char *video, double fps, const vr_feed_info *feed)
{
    line l;
    if (!begin(&l, "start")) return;
    vr_json_text(&l.json, "version", VIDRUN_VERSION);
    vr_json_text(&l.json, "system", recipe->system);
    vr_json_text(&l.json, "weights", recipe->name);
    vr_json_text(&l.json, "cpu", recipe->cpu_level);
    vr_json_text(&l.json, "precision", recipe->precision);
    vr_json_text(&l.json, "kv", recipe->kv);
    vr_json_text(&l.json, "video", video);
    vr_json_bool(&l.json, "live", feed->live);
    vr_json_number(&l.json, "fps", fps);
    if (!feed->live) vr_json_int(&l.json, "frames", feed->n_frames);
    end(&l, out);
}

static void write_counts(vr_json *j, double time, double wall, int64_t frames, int64_t dropped)
{
    vr_json_number(j, "time", time);
    vr_json_number(j, "wall", wall);
    vr_json_int(j, "frames", frames);
    vr_json_int(j, "dropped", dropped);
}

static void write_answer(vr_json *j, const vr_event *event)
{
    const vr_answer *const a = event->answer;
    vr_json_text(j, "stop", vr_record_stop(a->stop));
    vr_json_open(j, "ids", '{');
    vr_json_int(j, "prompt", a->n_prompt_rows);
    vr_json_int(j, "reused", a->n_reused_rows);
    vr_json_int(j, "dropped", a->n_dropped_rows);
    vr_json_int(j, "answer", a->n_ids);
    vr_json_close(j, '}');
    vr_json_natural(j, "seed", event->sampling->seed);
    vr_json_number(j, "prompt_seconds", a->prompt_seconds);
    vr_json_number(j, "answer_seconds", a->answer_seconds);
}

static void write_json(vr_output *out, const vr_event *event)
{
    line l;
    if (!begin(&l, event->caption ? "caption" : "answer")) return;
    write_counts(&l.json, event->time, event->wall, event->frames, event->dropped);
    vr_json_number(&l.json, "latency", event->latency);
    vr_json_text(&l.json, event->caption ? "query" : "question", event->question);
    vr_json_text(&l.json, event->caption ? "text" : "answer", event->answer->text);
    if (event->caption) {
        vr_json_bool(&l.json, "queried", event->caption->queried);
        vr_json_int(&l.json, "scenes", event->caption->n_scenes);
        if (event->caption->scene_end > event->caption->scene_start) {
            vr_json_number(&l.json, "scene_start", event->caption->scene_start);
            vr_json_number(&l.json, "scene_end", event->caption->scene_end);
        }
    }
    write_answer(&l.json, event);
    end(&l, out);
}

static void write_time(vr_output *out, double time)
{
    char text[48], clock[32];
    const int n = snprintf(text, sizeof text, "[%s] ", vr_time_format(time, ' ', clock, sizeof clock));
    vr_output_write(out, text, (size_t)n);
}

/* A caption is one line, whatever the model says. */
static void write_caption(vr_output *out, const vr_event *event)
{
    const char *text = event->answer->text;
    write_time(out, event->time);
    while (*text) {
        const size_t n = strcspn(text, "\r\n");
        vr_output_write(out, text, n);
        text += n;
        if (*text) vr_output_write(out, " ", 1);
        text += strspn(text, "\r\n");
    }
    vr_output_write(out, "\n", 1);
}

void vr_events_write(vr_output *out, bool json, const vr_event *event)
{
    if (json)
        write_json(out, event);
    else
        write_caption(out, event);
}

void vr_events_question(vr_output *out, const char *question, double time, bool typed)
{
    if (!typed) {
        vr_output_write(out, "> ", 2);
        vr_output_write(out, question, strlen(question));
        vr_output_write(out, "\n", 1);
    }
    write_time(out, time);
}

void vr_events_error(vr_output *out, const vr_event *event, const vr_err *e)
{
    line l;
    if (!begin(&l, "error")) return;
    write_counts(&l.json, event->time, event->wall, event->frames, event->dropped);
    vr_json_text(&l.json, "question", event->question);
    vr_json_text(&l.json, "message", e->text);
    end(&l, out);
}

void vr_events_end(vr_output *out, const vr_event_totals *t)
{
    line l;
    if (!begin(&l, "end")) return;
    write_counts(&l.json, t->time, t->wall, t->frames, t->dropped);
    vr_json_int(&l.json, "captions", t->captions);
    vr_json_int(&l.json, "captions_skipped", t->captions_skipped);
    vr_json_int(&l.json, "answers", t->answers);
    vr_json_int(&l.json, "unanswered", t->unanswered);
    vr_json_int(&l.json, "bad_packets", t->bad);
    vr_json_int(&l.json, "clock_jumps", t->jumps);
    vr_json_bool(&l.json, "interrupted", t->interrupted);
    end(&l, out);
}
