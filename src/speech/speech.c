/*
 * speech.c - see speech.h.
 *
 *   file -> listen.h -> window at `seek` [F, bins] -> encoder -> utter.h -> ids -> rules.h: segments, how far to go on -> seek
 *                                                       ^ prompt: what was said before, start, language, task
 *
 * Ref:   openai/whisper transcribe.py (transcribe), with its defaults: temperatures 0 to 1, condition_on_previous_text.
 * Trap:  a window in which much chance was needed (above 0.5) is not part of the prompts of later ones. Times are part of
 *        prompts.
 * Trap:  a segment without length or words is dropped, and is no part of later prompts. Times behind the end of the sound,
 *        which the original passes on, are cut to it.
 * Owner: the model owns weights, tokenizer and backend; a transcription owns everything else for its own time.
 */
#include "speech/speech.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "device.h"
#include "media/input.h"
#include "speech/listen.h"
#include "speech/utter.h"
#include "text/blank.h"

#define FRAME_SECONDS 0.01
#define TIME_FRAMES   2 /* of a time token */

struct vr_speech {
    vr_hooks hooks;
    vr_backend *backend;
    vr_weights *weights;
    vr_tokenizer *tokenizer;
    vr_whisper *whisper;
    vr_speech_tokens tokens;
    vr_text languages; /* "en\0de\0..." */
};

/* ---- the model ---- */

static int languages_read(vr_speech *s, vr_err *e)
{
    for (int i = 0; i < s->tokens.n_languages; i++) {
        vr_string name;
        VR_TRY(vr_weights_array_string(s->weights, "speech.languages", i, &name, e));
        VR_TRY(vr_text_append(&s->languages, name.data, name.n_bytes, e));
        VR_TRY(vr_text_append(&s->languages, "", 1, e));
    }
    return VR_OK;
}

static const char *language_name(const vr_speech *s, int language)
{
    const char *name = vr_text_string(&s->languages);
    if (!s->tokens.multilingual) return "en";
    while (language-- > 0) name += strlen(name) + 1;
    return name;
}

static int model_bind(vr_speech *s, vr_err *e)
{
    vr_string name;
    int format;
    VR_TRY(vr_weights_int(s->weights, &format, 1, 1, e, "vidrun.format"));
    VR_TRY(vr_weights_string(s->weights, &name, e, "vidrun.system"));
    if (name.n_bytes != strlen("whisper") || memcmp(name.data, "whisper", name.n_bytes) != 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: vidrun.system is not whisper: these weights do not hear speech",
                       vr_weights_path(s->weights));
    VR_TRY(vr_whisper_open(&s->whisper, s->weights, e));
    VR_TRY(vr_tokenizer_open(&s->tokenizer, s->weights, e));
    const int vocab = vr_whisper_config_get(s->whisper)->vocab, pieces = vr_tokenizer_vocab(s->tokenizer);
    if (pieces != vocab)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: %d tokens, but the table has %d rows", vr_weights_path(s->weights), pieces,
                       vocab);
    VR_TRY(vr_speech_tokens_read(&s->tokens, s->weights, vocab, e));
    return languages_read(s, e);
}

int vr_speech_open(vr_speech **out, const char *path, const vr_model_options *options, vr_err *e)
{
    *out = NULL;
    vr_speech *s = calloc(1, sizeof *s);
    if (!s) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the model");
    s->hooks = options->hooks;
    int device, rc = vr_device_open(&s->backend, &device, options->device, &options->cpu, &s->hooks.log, e);
    if (rc == VR_OK) rc = vr_weights_open(&s->weights, path, e);
    if (rc == VR_OK) rc = model_bind(s, e);
    if (rc != VR_OK) {
        vr_speech_free(s);
        return rc;
    }
    vr_device_hold(s->backend, s->weights);
    const int n_unused = vr_weights_unused(s->weights, &s->hooks.log);
    if (n_unused) vr_log_print(&s->hooks.log, VR_LOG_WARN, "%s: %d tensors are not used", path, n_unused);
    *out = s;
    return VR_OK;
}

void vr_speech_free(vr_speech *s)
{
    if (!s) return;
    vr_speech_tokens_free(&s->tokens);
    vr_text_free(&s->languages);
    vr_tokenizer_free(s->tokenizer);
    vr_whisper_free(s->whisper);
    vr_weights_free(s->weights);
    vr_backend_free(s->backend);
    free(s);
}

/* ---- a transcription ---- */

typedef struct transcription {
    vr_speech *speech;
    const vr_speech_options *options;
    vr_speech_result *result;
    vr_input input;
    vr_listen *listen;
    vr_dump *dump;
    vr_arena scratch, host;
    vr_run run;
    vr_whisper_state state;
    vr_utter utter;
    uint64_t seed;
    float *mel, *there, *features; /* [F, bins] host and backend, [P, D] */
    int language;                  /* its place; -1: to be heard */
    vr_ids said, prompt;           /* of all windows so far; of this one */
    int prompt_since;              /* of said: what later prompts may hold */
    vr_utterance heard;
    vr_speech_piece *pieces; /* [context + 1] */
    vr_text text;            /* of a segment */
    bool stopped;
} transcription;

static int language_choose(transcription *t, vr_err *e)
{
    const vr_speech *s = t->speech;
    const char *asked = t->options->language;
    t->language = s->tokens.multilingual ? -1 : 0;
    if (!asked) return VR_OK;
    if (!s->tokens.multilingual && strcmp(asked, "en") != 0)
        return vr_fail(e, VR_ERR_USAGE, "the language '%s' is not known to these weights, which hear English only", asked);
    for (int i = 0; s->tokens.multilingual && i < s->tokens.n_languages; i++)
        if (strcmp(language_name(s, i), asked) == 0) t->language = i;
    if (t->language >= 0) return VR_OK;
    return vr_fail(e, VR_ERR_USAGE, "the language '%s' is not known to these weights; languages have codes like %s", asked,
                   language_name(s, 0));
}

/* What a window takes of scratch; the run itself with a planning backend. */
static void window_take(transcription *t, vr_run *run)
{
    const vr_whisper_config *c = vr_whisper_config_get(t->speech->whisper);
    const size_t n_mel = (size_t)c->window * (size_t)c->bins;
    t->mel = vr_arena_floats(run->host, n_mel);
    t->there = vr_arena_floats(run->scratch, n_mel);
    t->features = vr_arena_floats(run->scratch, (size_t)c->positions * (size_t)c->width);
    vr_whisper_state_take(t->speech->whisper, &t->state, run->scratch);
}

static int memory_open(transcription *t, vr_err *e)
{
    const vr_whisper *whisper = t->speech->whisper;
    const vr_whisper_config *c = vr_whisper_config_get(whisper);
    vr_backend *nothing;
    vr_arena counted;
    VR_TRY(vr_backend_open_plan_of(&nothing, t->speech->backend, e));
    vr_arena_plan(&counted);
    vr_run run = { .be = nothing, .scratch = &counted, .host = &counted };
    const vr_kvcache_config cache = { c->n_layers, c->context, 1, c->width, VR_KEPT_F32 };
    vr_whisper_state state = { 0 };
    vr_kvcache_plan(&state.cache, &counted, &cache);
    window_take(t, &run);
    vr_whisper_encode(whisper, &run, t->there, t->features);
    state.sound = t->state.sound;
    vr_whisper_look(whisper, &run, &state, t->features);
    vr_utter_plan(whisper, &run, &state);
    const size_t n_bytes = vr_device_work(nothing, counted.peak) + vr_device_bytes(vr_kvcache_bytes(&cache));
    vr_backend_free(nothing);
    VR_TRY(vr_device_room_check(t->speech->backend, t->speech->weights, n_bytes, e));
    VR_TRY(vr_run_open(&t->run, t->speech->backend, &t->scratch, &t->host, counted.peak, e));
    VR_TRY(vr_kvcache_open(&t->state.cache, t->speech->backend, &cache, e));
    t->run.dump = t->dump;
    window_take(t, &t->run);
    t->pieces = malloc(((size_t)c->context + 1) * sizeof *t->pieces);
    return t->pieces ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory for the transcription");
}

static int prepare(transcription *t, const char *path, vr_err *e)
{
    vr_speech *s = t->speech;
    const vr_whisper_config *c = vr_whisper_config_get(s->whisper);
    VR_TRY(language_choose(t, e));
    VR_TRY(vr_input_open(&t->input, path, e));
    const vr_listen_config listen = {
        .bins = c->bins, .window = c->window, .log = &s->hooks.log, .cancelled = s->hooks.cancelled, .cookie = s->hooks.cookie
    };
    VR_TRY(vr_listen_open(&t->listen, &t->input, &listen, e));
    if (t->options->dump_dir) VR_TRY(vr_dump_open(&t->dump, t->options->dump_dir, e));
    VR_TRY(memory_open(t, e));
    t->seed = t->options->seed;
    t->utter = (vr_utter){ .whisper = s->whisper,
                           .tokens = &s->tokens,
                           .tokenizer = s->tokenizer,
                           .run = &t->run,
                           .state = &t->state,
                           .seed = &t->seed,
                           .cancelled = s->hooks.cancelled,
                           .cookie = s->hooks.cookie };
    t->result->seconds = vr_listen_seconds(t->listen);
    return VR_OK;
}

/* Stage speech.mel, turned to the original's [bins, F]. */
static int mel_dump(transcription *t, vr_err *e)
{
    const vr_whisper_config *c = vr_whisper_config_get(t->speech->whisper);
    const size_t bins = (size_t)c->bins, n = (size_t)c->window;
    if (!t->run.dump) return VR_OK;
    float *turned = malloc(bins * n * sizeof *turned);
    if (!turned) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the stage speech.mel");
    for (size_t b = 0; b < bins; b++)
        for (size_t f = 0; f < n; f++) turned[b * n + f] = t->mel[f * bins + b];
    vr_dump_f32(t->run.dump, "speech.mel", turned, 2, (const int64_t[2]){ c->bins, c->window });
    free(turned);
    return VR_OK;
}

/* Looks at frames [first, first + n). */
static int window_look(transcription *t, int64_t first, int n, vr_run *run, vr_err *e)
{
    const vr_whisper_config *c = vr_whisper_config_get(t->speech->whisper);
    VR_TRY(vr_listen_window(t->listen, first, n, t->mel, e));
    if (run->dump) VR_TRY(mel_dump(t, e));
    run->be->write(run->be, t->there, t->mel, (size_t)c->window * (size_t)c->bins * sizeof *t->mel);
    vr_whisper_encode(t->speech->whisper, run, t->there, t->features);
    vr_whisper_look(t->speech->whisper, run, &t->state, t->features);
    return vr_backend_sync(run->be, e);
}

static int language_hear(transcription *t, vr_err *e)
{
    if (t->language >= 0 || vr_listen_frames(t->listen) == 0) return VR_OK;
    vr_run quiet = t->run;
    quiet.dump = NULL;
    VR_TRY(window_look(t, 0, vr_whisper_config_get(t->speech->whisper)->window, &quiet, e));
    return vr_utter_language(&t->utter, &t->language, e);
}

/* t->prompt; *start: place of the start in it */
static int prompt_make(transcription *t, int *start, vr_err *e)
{
    const vr_speech_tokens *tokens = &t->speech->tokens;
    const int most = vr_whisper_config_get(t->speech->whisper)->context / 2 - 1;
    int first = t->said.count - most;
    if (first < t->prompt_since) first = t->prompt_since;
    t->prompt.count = 0;
    if (first < t->said.count) VR_TRY(vr_ids_push(&t->prompt, tokens->previous, e));
    for (int i = first; i < t->said.count; i++) VR_TRY(vr_ids_push(&t->prompt, t->said.data[i], e));
    *start = t->prompt.count;
    VR_TRY(vr_ids_push(&t->prompt, tokens->start, e));
    if (!tokens->multilingual) return VR_OK;
    VR_TRY(vr_ids_push(&t->prompt, tokens->language + t->language, e));
    return vr_ids_push(&t->prompt, tokens->transcribe, e);
}

static bool is_blank(const vr_text *text)
{
    size_t at = 0;
    for (size_t n; (n = vr_blank_bytes(vr_text_string(text) + at, text->n_bytes - at, false)) > 0;) at += n;
    return at == text->n_bytes;
}

static double at_most(double x, double most)
{
    return x < most ? x : most;
}

/* One segment of a window that begins at `offset` seconds and lasts `seconds`. */
static int segment_tell(transcription *t, const vr_speech_piece *piece, double offset, double seconds, vr_err *e)
{
    const int32_t *ids = t->heard.ids.data + piece->first;
    const int n = piece->last - piece->first;
    const double step = TIME_FRAMES * FRAME_SECONDS, end = offset + (piece->end < 0 ? seconds : step * piece->end);
    const vr_speech_segment segment = { .start = at_most(offset + step * piece->start, t->result->seconds),
                                        .end = at_most(end, t->result->seconds),
                                        .ids = ids,
                                        .n_ids = n,
                                        .temperature = t->heard.temperature,
                                        .log_probability = t->heard.log_probability,
                                        .compression = t->heard.compression,
                                        .no_speech = t->heard.no_speech };
    vr_text_clear(&t->text);
    VR_TRY(vr_utter_text(&t->utter, ids, n, &t->text, e));
    if (!(segment.end > segment.start) || is_blank(&t->text)) return VR_OK;
    for (int i = 0; i < n; i++) VR_TRY(vr_ids_push(&t->said, ids[i], e));
    vr_speech_segment told = segment;
    told.text = vr_text_string(&t->text);
    t->result->n_segments++;
    if (t->options->segment && !t->options->segment(t->options->cookie, &told)) t->stopped = true;
    return VR_OK;
}

/* The window at frame `seek` with n frames of sound; *go_on: frames to the next. */
static int window_hear(transcription *t, int64_t seek, int n, int64_t *go_on, vr_err *e)
{
    int start, times;
    VR_TRY(window_look(t, seek, n, &t->run, e));
    VR_TRY(prompt_make(t, &start, e));
    VR_TRY(vr_utter_window(&t->utter, t->prompt.data, t->prompt.count, start, &t->heard, e));
    *go_on = n;
    if (vr_utterance_is_dropped(&t->heard)) return VR_OK;
    const int count = vr_rules_cut(&t->speech->tokens, t->heard.ids.data, t->heard.ids.count, t->pieces, &times);
    if (times > 0) *go_on = TIME_FRAMES * (int64_t)times;
    for (int i = 0; i < count && !t->stopped; i++)
        VR_TRY(segment_tell(t, &t->pieces[i], (double)seek * FRAME_SECONDS, n * FRAME_SECONDS, e));
    if (t->heard.temperature > 0.5) t->prompt_since = t->said.count;
    return VR_OK;
}

static int hear(transcription *t, vr_err *e)
{
    const vr_hooks *hooks = &t->speech->hooks;
    const int64_t total = vr_listen_frames(t->listen);
    const int window = vr_whisper_config_get(t->speech->whisper)->window;
    const double began = vr_clock();
    int64_t go_on;
    VR_TRY(language_hear(t, e));
    t->result->language = language_name(t->speech, t->language < 0 ? 0 : t->language);
    for (int64_t seek = 0; seek < total && !t->stopped; seek += go_on) {
        const int n = total - seek < window ? (int)(total - seek) : window;
        if (hooks->progress) hooks->progress(hooks->cookie, "speech", seek / 100, (total + 99) / 100);
        if (hooks->cancelled && hooks->cancelled(hooks->cookie)) return vr_fail(e, VR_ERR_CANCEL, "stopped");
        VR_TRY(window_hear(t, seek, n, &go_on, e));
        t->run.dump = NULL; /* the stages are those of the first window */
    }
    const vr_timing timing = { "speech", vr_clock() - began, (int64_t)(t->result->seconds + 0.5), "seconds" };
    if (hooks->timing) hooks->timing(hooks->cookie, &timing);
    return VR_OK;
}

static int finish(transcription *t, vr_err *e)
{
    vr_listen_free(t->listen);
    vr_input_close(&t->input);
    vr_kvcache_close(&t->state.cache);
    vr_arena_close(&t->host);
    vr_arena_close(&t->scratch);
    vr_ids_free(&t->said);
    vr_ids_free(&t->prompt);
    vr_ids_free(&t->heard.ids);
    vr_text_free(&t->text);
    free(t->pieces);
    return vr_dump_close(t->dump, e);
}

int vr_speech_transcribe(vr_speech *speech, const char *path, const vr_speech_options *options, vr_speech_result *out,
                         vr_err *e)
{
    *out = (vr_speech_result){ 0 };
    transcription t = { .speech = speech, .options = options, .result = out, .input = { .fd = -1 } };
    int rc = prepare(&t, path, e);
    if (rc == VR_OK) rc = hear(&t, e);
    const int close_rc = finish(&t, rc == VR_OK ? e : NULL);
    return rc == VR_OK ? close_rc : rc;
}
