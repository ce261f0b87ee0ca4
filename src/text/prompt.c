/*
 * prompt.c - a conversation about a clip as the text and rows that the decoder reads, see prompt.h.
 *
 *   first (or next) user message {system} {text} -> open ... answer -> next -> open
 *
 * Ref:  Video-LLaMA conversation_video.py:28-90 (rendering), 200-330 (messages of an upload), 329-343 (splicing).
 * Trap: Video-LLaMA appends the first question to the media text with one blank more, which gives the double blanks of the
 *       original; LongVU's separator is empty, and llama3's chat template trims every message ({% ... | trim %});
 *       an empty earlier answer is rendered as if it were still to come.
 */
#include "text/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/blank.h"

#define CLEAN "tokenizer.clean_spaces"

#define MAX_STOPS    16
#define MAX_STOP_IDS 16

typedef struct stop_sequence {
    int32_t ids[MAX_STOP_IDS];
    int count;
} stop_sequence;

struct vr_prompt {
    char *system_video, *system_image;  /* prompt.system.* */
    char *video, *image, *audio_video;  /* prompt.*: audio_video is NULL in a file without a sound branch */
    char *first, *next, *open, *answer; /* template.NAME.* */
    char *system;                       /* likewise; NULL: the file's of the media */
    char *bare;                         /* likewise: first, where the system text is empty; NULL: first */
    char *cut, *after;                  /* empty: no such mark */
    char *separator;                    /* prompt.separator: between media text and question */
    bool trim;                          /* blanks around what is said are dropped */
    bool cleans;                        /* tokenizer.clean_spaces */
    const vr_tokenizer *tokenizer;      /* borrowed */
    stop_sequence stops[MAX_STOPS];
    int n_stops;
};

void vr_spans_free(vr_spans *spans)
{
    for (int i = 0; i < spans->count; i++) vr_text_free(&spans->items[i].text);
    free(spans->items);
    *spans = (vr_spans){ 0 };
}

static int span_add(vr_spans *spans, vr_span_kind kind, vr_err *e)
{
    if (spans->count == spans->capacity) {
        const int capacity = spans->capacity ? 2 * spans->capacity : 8;
        vr_span *grown = realloc(spans->items, (size_t)capacity * sizeof *grown);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the prompt");
        spans->items = grown;
        spans->capacity = capacity;
    }
    spans->items[spans->count++] = (vr_span){ .kind = kind };
    return VR_OK;
}

/* The last text without the blanks at its end, down to `kept` bytes. */
static void trim_end(vr_spans *spans, size_t kept)
{
    vr_text *text = &spans->items[spans->count - 1].text;
    for (size_t n; text->n_bytes > kept && (n = vr_blank_bytes(text->data + kept, text->n_bytes - kept, true)) > 0;)
        text->n_bytes -= n;
    if (text->data) text->data[text->n_bytes] = '\0';
}

static int append(vr_spans *spans, const char *data, size_t n_bytes, vr_err *e)
{
    return vr_text_append(&spans->items[spans->count - 1].text, data, n_bytes, e);
}

/* rows between two texts: the text behind them is a span of its own even when it stays empty */
static int append_rows(vr_spans *spans, vr_span_kind kind, vr_err *e)
{
    VR_TRY(span_add(spans, kind, e));
    return span_add(spans, VR_SPAN_TEXT, e);
}

/* "0.0, 1.2, 2.5": Python's str(round(s, 1)) and "%.1f" give the same text (spec 3.1); numpy's round first turns the product
 * by ten to a whole number, halves to even, which differs for some */
static int append_times(vr_spans *spans, const vr_prompt_scene *scene, bool numpy, vr_err *e)
{
    for (int i = 0; i < scene->n_frames; i++) {
        char number[64];
        const int n = snprintf(number, sizeof number, "%s%.1f", i ? ", " : "",
                               numpy ? rint(scene->seconds[i] * 10) / 10 : scene->seconds[i]);
        VR_TRY(append(spans, number, (size_t)n, e));
    }
    return VR_OK;
}

static int append_count(vr_spans *spans, const vr_prompt_scene *scene, vr_err *e)
{
    char number[16];
    const int n = snprintf(number, sizeof number, "%d", scene->n_frames);
    return append(spans, number, (size_t)n, e);
}

/* text with {video}, {audio}, {frames}, {times}, {numpy_times} replaced */
static int append_media(const vr_prompt_scene *scene, vr_spans *spans, const char *text, vr_err *e)
{
    while (*text) {
        const char *brace = strchr(text, '{');
        const size_t plain = brace ? (size_t)(brace - text) : strlen(text);
        VR_TRY(append(spans, text, plain, e));
        text += plain;
        if (strncmp(text, "{video}", 7) == 0) {
            VR_TRY(append_rows(spans, VR_SPAN_VIDEO, e));
            text += 7;
        } else if (strncmp(text, "{audio}", 7) == 0) {
            VR_TRY(append_rows(spans, VR_SPAN_AUDIO, e));
            text += 7;
        } else if (strncmp(text, "{frames}", 8) == 0) {
            VR_TRY(append_count(spans, scene, e));
            text += 8;
        } else if (strncmp(text, "{times}", 7) == 0) {
            VR_TRY(append_times(spans, scene, false, e));
            text += 7;
        } else if (strncmp(text, "{numpy_times}", 13) == 0) {
            VR_TRY(append_times(spans, scene, true, e));
            text += 13;
        } else if (*text) {
            VR_TRY(append(spans, text++, 1, e));
        }
    }
    return VR_OK;
}

/* What a message says: the media text, or NULL, and what follows it. Rows are not blank: only text behind them is trimmed. */
static int append_said(const vr_prompt *prompt, const vr_prompt_scene *scene, vr_spans *spans, const char *media,
                       const char *said, vr_err *e)
{
    const int first_span = spans->count - 1;
    const size_t first = spans->items[first_span].text.n_bytes;
    if (media) {
        VR_TRY(scene->told ? append(spans, scene->told, strlen(scene->told), e) : append_media(scene, spans, media, e));
        VR_TRY(append(spans, prompt->separator, strlen(prompt->separator), e));
    }
    for (size_t n; prompt->trim && !media && (n = vr_blank_bytes(said, strlen(said), false)) > 0;) said += n;
    VR_TRY(append(spans, said, strlen(said), e));
    if (prompt->trim) trim_end(spans, spans->count - 1 == first_span ? first : 0);
    return VR_OK;
}

/* a template with {system} and {text} replaced; media: what stands before the text in the first message, or NULL */
static int append_template(const vr_prompt *prompt, const vr_prompt_scene *scene, vr_spans *spans, const char *template,
                           const char *system, const char *media, const char *said, vr_err *e)
{
    while (*template) {
        const char *brace = strchr(template, '{');
        const size_t plain = brace ? (size_t)(brace - template) : strlen(template);
        VR_TRY(append(spans, template, plain, e));
        template += plain;
        if (strncmp(template, "{system}", 8) == 0) {
            VR_TRY(append_said(prompt, scene, spans, NULL, system, e));
            template += 8;
        } else if (strncmp(template, "{text}", 6) == 0) {
            VR_TRY(append_said(prompt, scene, spans, media, said, e));
            template += 6;
        } else if (*template) {
            VR_TRY(append(spans, template ++, 1, e));
        }
    }
    return VR_OK;
}

int vr_prompt_render(const vr_prompt *prompt, const vr_prompt_scene *scene, const vr_turn *turns, int n_turns, vr_spans *out,
                     vr_err *e)
{
    const char *media_system = scene->image ? prompt->system_image : prompt->system_video;
    const char *own_system = prompt->system ? prompt->system : media_system;
    const char *system = scene->system_text ? scene->system_text : own_system;
    const char *media = scene->image ? prompt->image : scene->heard ? prompt->audio_video : prompt->video;
    VR_TRY(span_add(out, VR_SPAN_TEXT, e));
    for (int i = 0; i < n_turns; i++) {
        const char *first = prompt->bare && !*system ? prompt->bare : prompt->first;
        const char *user = i == 0 ? first : prompt->next;
        VR_TRY(append_template(prompt, scene, out, user, system, i == 0 ? media : NULL, turns[i].question, e));
        const bool answered = turns[i].answer && turns[i].answer[0];
        VR_TRY(append_template(prompt, scene, out, answered ? prompt->answer : prompt->open, system, NULL,
                               answered ? turns[i].answer : "", e));
    }
    return VR_OK;
}

bool vr_prompt_stops(const vr_prompt *prompt, const int32_t *ids, int n_ids)
{
    if (n_ids > 0 && vr_tokenizer_ends(prompt->tokenizer, ids[n_ids - 1])) return true;
    for (int i = 0; i < prompt->n_stops; i++) {
        const stop_sequence *stop = &prompt->stops[i];
        if (n_ids >= stop->count && memcmp(ids + n_ids - stop->count, stop->ids, (size_t)stop->count * sizeof ids[0]) == 0)
            return true;
    }
    return false;
}

const char *vr_prompt_cut(const vr_prompt *prompt)
{
    return prompt->cut;
}

const char *vr_prompt_after(const vr_prompt *prompt)
{
    return prompt->after;
}

bool vr_prompt_cleans(const vr_prompt *prompt)
{
    return prompt->cleans;
}

/* a NUL-terminated copy of a string key; a NUL inside it would hide the rest and is refused */
static int string_copy(char **out, const vr_weights *w, vr_err *e, const char *group, const char *name)
{
    char key[VR_MAX_NAME + 1];
    vr_string s;
    snprintf(key, sizeof key, "%s.%s", group, name);
    VR_TRY(vr_weights_string(w, &s, e, "%s", key));
    if (memchr(s.data, '\0', s.n_bytes)) return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s holds a zero byte", vr_weights_path(w), key);
    *out = malloc(s.n_bytes + 1);
    if (!*out) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %s", key);
    memcpy(*out, s.data, s.n_bytes);
    (*out)[s.n_bytes] = '\0';
    return VR_OK;
}

static int optional_copy(char **out, const vr_weights *w, vr_err *e, const char *group, const char *name)
{
    char key[VR_MAX_NAME + 16]; /* group is a name of its own; a longer key than the file may hold is not there */
    snprintf(key, sizeof key, "%s.%s", group, name);
    return vr_weights_has(w, key) ? string_copy(out, w, e, group, name) : VR_OK;
}

/* Pieces of one sequence are separated by one blank. A sequence with a piece that the vocabulary lacks is dropped: it cannot
 * be answered. */
static int stop_read(vr_prompt *prompt, vr_string pieces, const vr_tokenizer *tokenizer)
{
    stop_sequence stop = { .count = 0 };
    const char *at = pieces.data, *end = pieces.data + pieces.n_bytes;
    while (at < end) {
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        const size_t n = (size_t)((blank ? blank : end) - at);
        const int id = vr_tokenizer_find(tokenizer, at, n);
        if (id < 0) return VR_OK;
        if (stop.count == MAX_STOP_IDS) return VR_ERR_WEIGHTS;
        stop.ids[stop.count++] = id;
        at = blank ? blank + 1 : end;
    }
    if (stop.count == 0) return VR_OK;
    if (prompt->n_stops == MAX_STOPS) return VR_ERR_WEIGHTS;
    prompt->stops[prompt->n_stops++] = stop;
    return VR_OK;
}

static int stops_read(vr_prompt *prompt, const vr_weights *w, const char *name, const vr_tokenizer *tokenizer, vr_err *e)
{
    char key[VR_MAX_NAME + 1];
    int count;
    snprintf(key, sizeof key, "template.%s.stop", name);
    VR_TRY(vr_weights_array(w, &count, e, "%s", key));
    for (int i = 0; i < count; i++) {
        vr_string pieces;
        VR_TRY(vr_weights_array_string(w, key, i, &pieces, e));
        if (stop_read(prompt, pieces, tokenizer) != VR_OK)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s has more than %d sequences or pieces", vr_weights_path(w), key,
                           MAX_STOPS);
    }
    return VR_OK;
}

static int template_read(vr_prompt *p, const vr_weights *w, const char *name, const vr_tokenizer *tokenizer, vr_err *e)
{
    char group[VR_MAX_NAME + 1];
    snprintf(group, sizeof group, "template.%s", name);
    VR_TRY(string_copy(&p->first, w, e, group, "first"));
    VR_TRY(string_copy(&p->next, w, e, group, "next"));
    VR_TRY(string_copy(&p->open, w, e, group, "open"));
    VR_TRY(string_copy(&p->answer, w, e, group, "answer"));
    VR_TRY(string_copy(&p->cut, w, e, group, "cut"));
    VR_TRY(string_copy(&p->after, w, e, group, "after"));
    VR_TRY(optional_copy(&p->system, w, e, group, "system"));
    VR_TRY(optional_copy(&p->bare, w, e, group, "bare"));
    snprintf(group, sizeof group, "template.%s.trim", name);
    if (vr_weights_has(w, group)) VR_TRY(vr_weights_bool(w, &p->trim, e, "%s", group));
    return stops_read(p, w, name, tokenizer, e);
}

static int media_read(vr_prompt *p, const vr_weights *w, vr_err *e)
{
    VR_TRY(string_copy(&p->system_video, w, e, "prompt", "system.video"));
    VR_TRY(string_copy(&p->system_image, w, e, "prompt", "system.image"));
    VR_TRY(string_copy(&p->video, w, e, "prompt", "video"));
    VR_TRY(string_copy(&p->image, w, e, "prompt", "image"));
    if (vr_weights_has(w, "prompt.audio_video")) VR_TRY(string_copy(&p->audio_video, w, e, "prompt", "audio_video"));
    if (vr_weights_has(w, "prompt.separator")) return string_copy(&p->separator, w, e, "prompt", "separator");
    p->separator = strdup(" ");
    if (!p->separator) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the prompt");
    return VR_OK;
}

int vr_prompt_names(const vr_weights *w, vr_text *names, vr_text *default_name, vr_err *e)
{
    int count;
    vr_string s;
    VR_TRY(vr_weights_string(w, &s, e, "prompt.template"));
    VR_TRY(vr_text_append(default_name, s.data, s.n_bytes, e));
    VR_TRY(vr_weights_array(w, &count, e, "prompt.templates"));
    for (int i = 0; i < count && i < MAX_STOPS; i++) {
        VR_TRY(vr_weights_array_string(w, "prompt.templates", i, &s, e));
        if (i) VR_TRY(vr_text_append(names, " ", 1, e));
        VR_TRY(vr_text_append(names, s.data, s.n_bytes, e));
    }
    return VR_OK;
}

/* whether `name` is one of the words of `names` */
static bool is_listed(const char *names, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = names; n > 0 && (at = strstr(at, name)) != NULL; at += n)
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

/* A template that is not there: the user's, the default one, or the program of a stock file whose form is not known. */
static int refuse_name(const vr_weights *w, const char *template_name, const char *names, vr_err *e)
{
    static const char program[] = "tokenizer.chat_template";
    char begin[160];
    vr_string s;
    if (template_name)
        return vr_fail(e, VR_ERR_USAGE, "--template: %s has no template \"%s\"; it has: %s", vr_weights_path(w), template_name,
                       names);
    if (!vr_weights_has(w, program) || vr_weights_string(w, &s, NULL, "%s", program) != VR_OK)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: prompt.template is not one of prompt.templates", vr_weights_path(w));
    vr_utf8_escape(begin, sizeof begin, s.data, s.n_bytes < 60 ? s.n_bytes : 60);
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s is of no known form (\"%s...\"); choose one with --template: %s",
                   vr_weights_path(w), program, begin, names);
}

int vr_prompt_open(vr_prompt **out, const vr_weights *w, const char *template_name, const vr_tokenizer *tokenizer, vr_err *e)
{
    vr_text names = { 0 }, default_name = { 0 };
    vr_prompt *prompt = calloc(1, sizeof *prompt);
    int rc = prompt ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory for the prompt");
    *out = NULL;
    if (rc == VR_OK) rc = vr_prompt_names(w, &names, &default_name, e);
    if (rc != VR_OK) goto done;
    const char *name = template_name ? template_name : vr_text_string(&default_name);
    if (!is_listed(vr_text_string(&names), name)) {
        rc = refuse_name(w, template_name, vr_text_string(&names), e);
        goto done;
    }
    prompt->tokenizer = tokenizer;
    if (vr_weights_has(w, CLEAN) && (rc = vr_weights_bool(w, &prompt->cleans, e, CLEAN)) != VR_OK) goto done;
    if ((rc = media_read(prompt, w, e)) != VR_OK) goto done;
    if ((rc = template_read(prompt, w, name, tokenizer, e)) != VR_OK) goto done;
    *out = prompt;
    prompt = NULL;
done:
    vr_text_free(&names);
    vr_text_free(&default_name);
    vr_prompt_free(prompt);
    return rc;
}

void vr_prompt_free(vr_prompt *prompt)
{
    if (!prompt) return;
    char *const strings[] = { prompt->system_video, prompt->system_image, prompt->video,  prompt->image,  prompt->audio_video,
                              prompt->first,        prompt->next,         prompt->open,   prompt->answer, prompt->cut,
                              prompt->after,        prompt->separator,    prompt->system, prompt->bare };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) free(strings[i]);
    free(prompt);
}
