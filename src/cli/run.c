/*
 * run.c - see run.h.
 *
 *   argv -> options -> text to print (help, version, ...), self-test
 *                   -> first question -> model -> session: plan -> watch -> conversation -> close
 *                                              -> stream (follow.h)
 *                                      -> perplexity
 *
 * What can be refused cheaply is refused before the clip is decoded: the first question is read before the weights are opened.
 * Ends:  exit status = negated vr_err code; 130 after Ctrl-C. Errors go to standard error in one line, also with --json.
 * Trap:  where a standard stream is closed, the next file opened would take its number and the answer be written into it.
 */
#include "cli/run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/as_text.h"
#include "cli/chat.h"
#include "cli/computing.h"
#include "cli/follow.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/outputs.h"
#include "cli/places.h"
#include "cli/record.h"
#include "cli/transcribe.h"
#include "kernels/selftest.h"

typedef struct run {
    vr_options options;
    vr_output output;
    vr_report report;
    vr_question read;     /* owns the text of a question that was not an operand */
    const char *question; /* the first; NULL: a conversation on the terminal, or none is needed */
    vr_model *model;
    vr_recipe recipe;
    vr_session *session;
    char *clip; /* of the session, where it is not VIDEO */
    vr_follow *follow; /* --stream: instead of the session */
    vr_perplexity perplexity;
} run;

static void fill_standard_files(void)
{
    int file = open("/dev/null", O_RDONLY);
    while (file >= 0 && file <= STDERR_FILENO) file = open("/dev/null", O_RDONLY);
    if (file >= 0) close(file);
}

/* What write_text makes goes to standard output in one piece. */
static int print(run *r, void (*write_text)(const run *r, FILE *file), const char *noun, vr_err *e)
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *const memory = open_memstream(&text, &n_bytes);
    if (!memory) return vr_fail(e, VR_ERR_OTHER, "no memory for %s", noun);
    write_text(r, memory);
    const bool whole = !ferror(memory);
    if (fclose(memory) == 0 && whole) vr_output_write(&r->output, text, n_bytes);
    free(text);
    return whole ? vr_output_result(&r->output, noun, e) : vr_fail(e, VR_ERR_OTHER, "no memory for %s", noun);
}

static void write_information(const run *r, FILE *file)
{
    if (r->options.help)
        vr_help_write(file);
    else if (r->options.version)
        vr_help_write_version(file);
    else if (r->options.man)
        vr_help_write_man(file);
    else
        vr_help_write_completion(file, r->options.completion);
}

static void write_estimate(const run *r, FILE *file)
{
    vr_plan plan;
    if (r->follow)
        vr_follow_plan(r->follow, &plan);
    else
        vr_session_plan(r->session, &plan);
    if (r->options.json)
        vr_record_plan_json(file, &r->recipe, &plan);
    else
        vr_record_plan_table(file, &plan);
}

static int read_first_question(run *r, vr_err *e)
{
    const vr_options *const o = &r->options;
    r->question = o->prompt;
    if (o->perplexity) return vr_question_read_file(&r->read, "perplexity", o->perplexity, e);
    if (o->prompt_file) {
        VR_TRY(vr_question_read_file(&r->read, "prompt-file", o->prompt_file, e));
        r->question = r->read.text;
    } else if (!o->prompt && !o->estimate && !o->stream && !isatty(STDIN_FILENO)) {
        VR_TRY(vr_question_read(&r->read, stdin, e));
        if (r->read.end) return vr_fail(e, VR_ERR_USAGE, "no question: PROMPT is not given and standard input holds none");
        r->question = r->read.text;
    }
    return VR_OK;
}

static int open_model(run *r, vr_err *e)
{
    const vr_options *const o = &r->options;
    char path[VR_PLACES_PATH];
    VR_TRY(vr_places_weights(o->weights, path, sizeof path, e));
    vr_model_options options = vr_computing(o);
    if (r->follow)
        vr_follow_hooks(r->follow, &options.hooks);
    else
        vr_report_hooks(&r->report, &options.hooks);
    VR_TRY(vr_model_open(&r->model, path, &options, e));
    vr_model_recipe(r->model, &r->recipe);
    if (o->verbose)
        vr_report_line(&r->report, "%s: %s, products at level %s, precision %s, keys and values %s, threads %d",
                       r->recipe.system, r->recipe.name, r->recipe.cpu_level, r->recipe.precision, r->recipe.kv,
                       options.cpu.n_threads);
    if (o->n_frames > r->recipe.n_frames_max)
        return vr_fail(e, VR_ERR_USAGE, "option --frames: %d is more than the %d that %s takes", o->n_frames,
                       r->recipe.n_frames_max, o->weights);
    if (o->template_name && (!*o->template_name || vr_option_choice(r->recipe.templates, o->template_name) < 0))
        return vr_fail(e, VR_ERR_USAGE, "option --template: '%s' is unknown; %s has: %s", o->template_name, o->weights,
                       r->recipe.templates);
    if (o->mode && !r->recipe.pieces)
        return vr_fail(e, VR_ERR_USAGE, "option --mode: %s is of the system %s, which cannot tell a video as text", o->weights,
                       r->recipe.system);
    return VR_OK;
}

/* A session about a clip; question: the first, where it is known. */
static int open_session(run *r, const char *video, const char *question, vr_session **out, vr_err *e)
{
    const vr_options *const o = &r->options;
    const vr_watch_options options = { .n_frames = o->n_frames,
                                       .fps = (double)o->fps,
                                       .seed = o->seed,
                                       .memory = (vr_memory_rule)o->memory,
                                       .no_audio = o->no_audio,
                                       .image = o->image,
                                       .system_text = o->system_text,
                                       .template_name = o->template_name,
                                       .n_predict = o->n_predict,
                                       .dump_turns = !o->prompt && !o->prompt_file,
                                       .dump_dir = o->estimate ? NULL : o->dump_dir };
    return vr_session_open(out, r->model, video, &options, question, e);
}

static uint64_t random_seed(void)
{
    uint32_t seed = 0; /* 32 bits: short enough to be typed again */
    FILE *const file = fopen("/dev/urandom", "rb");
    const bool drawn = file && fread(&seed, sizeof seed, 1, file) == 1;
    if (file) fclose(file);
    return drawn ? seed : (uint64_t)time(NULL);
}

static vr_sampling choose_sampling(const run *r)
{
    const vr_options *const o = &r->options;
    vr_sampling s = r->recipe.sampling;
    if (vr_options_given(o, VR_OPTION_TEMP)) s.temperature = o->temperature;
    if (vr_options_given(o, VR_OPTION_TOP_K)) s.top_k = o->top_k;
    if (vr_options_given(o, VR_OPTION_TOP_P)) s.top_p = o->top_p;
    if (vr_options_given(o, VR_OPTION_REPETITION_PENALTY)) s.repetition_penalty = o->repetition_penalty;
    if (vr_options_given(o, VR_OPTION_SEED))
        s.seed = o->seed;
    else if (s.temperature > 0)
        s.seed = random_seed();
    return s;
}

static void tell_plan(run *r, const vr_sampling *sampling)
{
    vr_plan plan;
    char text[256];
    vr_session_plan(r->session, &plan);
    vr_record_plan_line(&plan, text, sizeof text);
    if (sampling->temperature > 0)
        vr_report_line(&r->report, "%s, seed %llu", text, (unsigned long long)sampling->seed);
    else
        vr_report_line(&r->report, "%s", text);
}

/* Watch the clip, or have it told. */
static int look(run *r, vr_session *session, const char *video, vr_err *e)
{
    return r->options.mode ? vr_as_text(session, video, &r->options, &r->report, e) : vr_session_watch(session, e);
}

/* /video: the next clip is watched before the one at hand is given up. */
static int change_clip(void *cookie, vr_chat *chat, const char *path, vr_err *e)
{
    run *const r = cookie;
    vr_session *next = NULL;
    if (r->options.dump_dir) return vr_fail(e, VR_ERR_USAGE, "/video: --dump-stages takes one clip");
    if (strcmp(path, "-") == 0) return vr_fail(e, VR_ERR_USAGE, "/video: standard input is where questions come from");
    char *const name = strdup(path);
    int rc = name ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory for a name");
    if (rc == VR_OK) rc = open_session(r, path, NULL, &next, e);
    if (rc == VR_OK) rc = look(r, next, path, e);
    if (rc != VR_OK) {
        vr_session_close(next, NULL);
        free(name);
        return rc;
    }
    vr_session_close(r->session, NULL);
    free(r->clip);
    r->session = chat->session = next;
    chat->clip = r->clip = name;
    tell_plan(r, &chat->sampling);
    return VR_OK;
}

static int converse(run *r, vr_err *e)
{
    const vr_options *const o = &r->options;
    vr_chat chat = { .session = r->session,
                     .recipe = &r->recipe,
                     .report = &r->report,
                     .output = &r->output,
                     .sampling = choose_sampling(r),
                     .n_predict = o->n_predict ? o->n_predict : r->recipe.n_predict,
                     .picture = o->picture,
                     .json = o->json,
                     .clip = o->video,
                     .change_clip = o->video ? change_clip : NULL,
                     .cookie = r };
    tell_plan(r, &chat.sampling);
    VR_TRY(look(r, r->session, o->video, e));
    if (!r->question) return vr_chat_terminal(&chat, &r->read, stdin, e);
    if (o->prompt || o->prompt_file) return vr_chat_ask(&chat, r->question, e);
    return vr_chat_lines(&chat, &r->read, stdin, e);
}

static int follow(run *r, vr_err *e)
{
    const vr_sampling sampling = choose_sampling(r);
    VR_TRY(vr_follow_begin(r->follow, r->model, &r->recipe, &sampling, r->question, e));
    return r->options.estimate ? print(r, write_estimate, "the estimate", e) : vr_follow_run(r->follow, e);
}

static void write_perplexity(const run *r, FILE *file)
{
    vr_record_perplexity(file, &r->recipe, &r->perplexity, r->options.json);
}

static int measure_perplexity(run *r, vr_err *e)
{
    enum { ROWS = 512 };
    VR_TRY(vr_model_perplexity(r->model, r->read.text, strlen(r->read.text), ROWS, &r->perplexity, e));
    return print(r, write_perplexity, "the perplexity", e);
}

static void on_selftest_line(void *cookie, const char *text)
{
    vr_output *const out = cookie;
    vr_output_write(out, text, strlen(text));
    vr_output_end_line(out, true);
}

static int run_selftest(run *r, vr_err *e)
{
    const int rc = vr_selftest(on_selftest_line, &r->output, e);
    return rc == VR_OK ? vr_output_result(&r->output, "the self-test", e) : rc;
}

static int run_all(run *r, vr_err *e)
{
    const vr_options *const o = &r->options;
    if (o->self_test) return run_selftest(r, e);
    if (o->help || o->version || o->man || vr_options_given(o, VR_OPTION_PRINT_COMPLETION))
        return print(r, write_information, "the text", e);
    if (!o->estimate) VR_TRY(vr_outputs_check(o, e));
    if (o->transcribe) return vr_transcribe_run(o, &r->report, &r->output, e);
    VR_TRY(read_first_question(r, e));
    if (o->stream) VR_TRY(vr_follow_open(&r->follow, o, &r->report, &r->output, e));
    VR_TRY(open_model(r, e));
    if (o->stream) return follow(r, e);
    if (o->perplexity) return measure_perplexity(r, e);
    VR_TRY(open_session(r, o->video, r->question, &r->session, e));
    return o->estimate ? print(r, write_estimate, "the estimate", e) : converse(r, e);
}

int vr_cli_run(int argc, const char *const *argv)
{
    run r = { 0 };
    vr_err e = { 0 }, close_error = { 0 };
    fill_standard_files();
    vr_interrupt_install();
    vr_output_open(&r.output, STDOUT_FILENO);
    vr_report_open(&r.report, stderr, &r.options, &r.output);
    int rc = vr_options_parse(&r.options, argc, argv, &e);
    if (rc == VR_OK) {
        vr_report_open(&r.report, stderr, &r.options, &r.output);
        rc = run_all(&r, &e);
    }
    vr_report_erase_bar(&r.report);
    if (rc != VR_OK && rc != VR_ERR_CANCEL && *e.text) vr_report_error(&r.report, &e);
    const int close_rc = r.follow ? vr_follow_close(r.follow, &close_error) : vr_session_close(r.session, &close_error);
    if (close_rc != VR_OK) vr_report_error(&r.report, &close_error);
    vr_model_free(r.model);
    vr_question_free(&r.read);
    free(r.clip);
    if (rc == VR_OK) rc = close_rc;
    return rc == VR_ERR_CANCEL ? VR_EXIT_INTERRUPTED : -rc;
}
