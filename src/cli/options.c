/*
 * options.c - see options.h.
 *
 *   word -> "--name[=value]": find_long -> take_value -> store
 *           "-abc":           find_letter, the rest of the word is the next flag or the value
 *           else:             operand: WEIGHTS, VIDEO, PROMPT
 *   all   -> check: operands there, options that exclude each other
 *
 * Trap:  "-temp" is a cluster (-t with the value "emp") to getopt; one dash before a long name is refused with a suggestion.
 * Trap:  strtod reads "inf", "nan", "0x1p3" and leading blanks, strtoull reads "-1"; values are looked at before conversion.
 */
#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define AT(member) offsetof(vr_options, member)

static const char asking[] = "Asking", watching[] = "Watching", following[] = "Following a stream", answering[] = "Answering",
                  computing[] = "Computing", showing[] = "Showing", instead[] = "Instead of answering";

/* clang-format off */
const vr_option vr_option_table[VR_N_OPTIONS] = {
    [VR_OPTION_SYSTEM] = { "system", 0, VR_OPTION_TEXT, "TEXT", 0, 0, NULL, AT(system_text), asking,
        "system text before the first question" },
    [VR_OPTION_TEMPLATE] = { "template", 0, VR_OPTION_TEXT, "NAME", 0, 0, NULL, AT(template_name), asking,
        "prompt template of the weight file" },
    [VR_OPTION_PROMPT_FILE] = { "prompt-file", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(prompt_file), asking,
        "read the prompt from a file" },
    [VR_OPTION_TEXT_MODEL] = { "text", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(text), asking,
        "WEIGHTS is a text model (a GGUF file of the architecture llama or qwen2): there is no VIDEO" },
    [VR_OPTION_CONTEXT] = { "context", 0, VR_OPTION_INT, "N", 2, VR_MAX_CONTEXT, NULL, AT(n_context), asking,
        "with --text: tokens of prompt and answer at most; 4096, or what the model was made for, when not given" },
    [VR_OPTION_FRAMES] = { "frames", 0, VR_OPTION_INT, "N", 1, VR_MAX_FRAMES, NULL, AT(n_frames), watching,
        "frames sampled from the video" },
    [VR_OPTION_FPS] = { "fps", 0, VR_OPTION_NUMBER, "X", 0.001, 1000, NULL, AT(fps), watching,
        "frames sampled a second of the video" },
    [VR_OPTION_NO_AUDIO] = { "no-audio", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(no_audio), watching,
        "do not listen to the sound" },
    [VR_OPTION_IMAGE] = { "image", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(image), watching,
        "VIDEO is a still picture (of a video: its first frame)" },
    [VR_OPTION_MEMORY] = { "memory", 0, VR_OPTION_CHOICE, "RULE", 0, 0, "original paper", AT(memory), watching,
        "how Flash-VStream remembers: original (as its code) or paper (as its paper)" },
    [VR_OPTION_MODE] = { "mode", 0, VR_OPTION_CHOICE, "NAME", 0, 0, "embed text", AT(mode), watching,
        "embed: answer from what is seen; text: from captions of pieces of VIDEO that the model makes first (VideoChat)" },
    [VR_OPTION_SPEECH] = { "speech", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(speech), watching,
        "with --mode text: weights of Whisper, so that what is said counts too" },
    [VR_OPTION_STREAM] = { "stream", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(stream), following,
        "look at VIDEO frame by frame and answer meanwhile; VIDEO may be a pipe that does not end" },
    [VR_OPTION_REALTIME] = { "realtime", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(realtime), following,
        "at the pace of the video; frames that are still waiting when the next one is due are dropped" },
    [VR_OPTION_ASK] = { "ask", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(ask_file), following,
        "questions by time: lines of TIME, a tab and a question; TIME is seconds or HH:MM:SS" },
    [VR_OPTION_ASK_AFTER] = { "ask-after", 0, VR_OPTION_TEXT, "N,...", 0, 0, NULL, AT(ask_after), following,
        "ask the lines of standard input after so many frames" },
    [VR_OPTION_CAPTIONS] = { "captions", 0, VR_OPTION_CHOICE, "WHEN", 0, 0, "original off scenes", AT(captions), following,
        "speak unasked: original (as the published system does), scenes (once a scene) or off" },
    [VR_OPTION_SRT] = { "srt", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(srt), following,
        "write the captions, or what is said, as SubRip subtitles" },
    [VR_OPTION_VTT] = { "vtt", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(vtt), following,
        "write the captions, or what is said, as WebVTT subtitles" },
    [VR_OPTION_PREDICT] = { "predict", 'n', VR_OPTION_INT, "N", 1, VR_MAX_CONTEXT, NULL, AT(n_predict), answering,
        "tokens of an answer at most" },
    [VR_OPTION_TEMP] = { "temp", 0, VR_OPTION_NUMBER, "X", 0, 100, NULL, AT(temperature), answering,
        "temperature; 0 always takes the likeliest token" },
    [VR_OPTION_TOP_K] = { "top-k", 0, VR_OPTION_INT, "N", 0, VR_MAX_VOCAB, NULL, AT(top_k), answering,
        "draw among the N likeliest tokens; 0: among all" },
    [VR_OPTION_TOP_P] = { "top-p", 0, VR_OPTION_NUMBER, "X", 0, 1, NULL, AT(top_p), answering,
        "draw among the likeliest tokens that together reach probability X" },
    [VR_OPTION_REPETITION_PENALTY] = { "repetition-penalty", 0, VR_OPTION_NUMBER, "X", 0.01, 100, NULL, AT(repetition_penalty),
        answering, "make tokens already answered less likely; 1: off" },
    [VR_OPTION_SEED] = { "seed", 's', VR_OPTION_NATURAL, "N", 0, 0, NULL, AT(seed), answering,
        "seed of the drawing; random and shown when not given" },
    [VR_OPTION_THREADS] = { "threads", 't', VR_OPTION_INT, "N", 1, VR_MAX_THREADS, NULL, AT(n_threads), computing,
        "threads; the processors at hand when not given" },
    [VR_OPTION_DEVICE] = { "device", 0, VR_OPTION_TEXT, "NAME", 0, 0, NULL, AT(device), computing,
        "auto (a GPU where there is one, the default), cpu, cuda or cuda:N; VIDRUN_DEVICE when not given" },
    [VR_OPTION_GPU_LAYERS] = { "gpu-layers", 0, VR_OPTION_TEXT, "N", 0, 0, NULL, AT(gpu_layers), computing,
        "layers of the decoder on the GPU, the others on the processor; auto: all that fit; VIDRUN_GPU_LAYERS when not given" },
    [VR_OPTION_GEMM] = { "gemm", 0, VR_OPTION_CHOICE, "NAME", 0, 0, "own openblas", AT(gemm), computing,
        "matrix product: own or openblas" },
    [VR_OPTION_PRECISION] = { "precision", 0, VR_OPTION_CHOICE, "NAME", 0, 0, "f32 bf16 int8 auto", AT(precision), computing,
        "products in f32, bf16 or int8 (of quantised weights); auto: what the weights are" },
    [VR_OPTION_KV] = { "kv", 0, VR_OPTION_CHOICE, "TYPE", 0, 0, "f32 f16 q8_0 auto", AT(kv), computing,
        "keys and values of the decoder in f32, f16 or bytes with scales; auto: f16, f32 with --precision f32" },
    [VR_OPTION_JSON] = { "json", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(json), showing,
        "one JSON object a turn on standard output" },
    [VR_OPTION_QUIET] = { "quiet", 'q', VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(quiet), showing,
        "nothing but errors on standard error" },
    [VR_OPTION_VERBOSE] = { "verbose", 'v', VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(verbose), showing,
        "more on standard error" },
    [VR_OPTION_PICTURE] = { "picture", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(picture), showing,
        "draw the frames and what became of them to a PNG file, after every answer anew" },
    [VR_OPTION_SHOW_TEXT] = { "show-text", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(show_text), showing,
        "with --mode text: print the text that questions are answered from, on standard error" },
    [VR_OPTION_DUMP_STAGES] = { "dump-stages", 0, VR_OPTION_TEXT, "DIR", 0, 0, NULL, AT(dump_dir), showing,
        "write what every stage computes to DIR as NumPy files" },
    [VR_OPTION_TRANSCRIBE] = { "transcribe", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(transcribe), instead,
        "print what is said in VIDEO, which may be sound alone; WEIGHTS are those of Whisper" },
    [VR_OPTION_LANGUAGE] = { "language", 0, VR_OPTION_TEXT, "CODE", 0, 0, NULL, AT(language), instead,
        "with --transcribe or --speech: the language spoken (en, de, ...); heard from the first 30 s when not given" },
    [VR_OPTION_ESTIMATE] = { "estimate", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(estimate), instead,
        "print what a run would need, and decode nothing" },
    [VR_OPTION_PERPLEXITY] = { "perplexity", 0, VR_OPTION_TEXT, "FILE", 0, 0, NULL, AT(perplexity), instead,
        "how well WEIGHTS foretells the text of FILE: pieces of 512 tokens, the second half of each counts; no VIDEO" },
    [VR_OPTION_SELF_TEST] = { "self-test", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(self_test), instead,
        "compare the operations of this processor with plain C" },
    [VR_OPTION_VERSION] = { "version", 'V', VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(version), instead,
        "print versions and processor features" },
    [VR_OPTION_HELP] = { "help", 'h', VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(help), instead,
        "print this help" },
    [VR_OPTION_PRINT_MAN] = { "print-man", 0, VR_OPTION_FLAG, NULL, 0, 0, NULL, AT(man), NULL,
        "print the manual page" },
    [VR_OPTION_PRINT_COMPLETION] = { "print-completion", 0, VR_OPTION_CHOICE, "SHELL", 0, 0, "bash zsh fish", AT(completion),
        NULL, "print the completion script of a shell" },
};
/* clang-format on */

int vr_option_choice(const char *list, const char *word)
{
    const size_t n = strlen(word);
    int place = 0;
    while (*list) {
        const size_t length = strcspn(list, " ");
        if (length == n && memcmp(list, word, n) == 0) return place;
        list += length;
        list += strspn(list, " ");
        place++;
    }
    return -1;
}

const char *vr_option_range(const vr_option *option, char *text, size_t n_bytes)
{
    switch (option->type) {
    case VR_OPTION_INT:
        snprintf(text, n_bytes, "a whole number from %.0f to %.0f", option->min, option->max);
        break;
    case VR_OPTION_NUMBER:
        snprintf(text, n_bytes, "a number from %g to %g", option->min, option->max);
        break;
    case VR_OPTION_NATURAL:
        snprintf(text, n_bytes, "a whole number from 0 to 18446744073709551615");
        break;
    case VR_OPTION_CHOICE:
        snprintf(text, n_bytes, "%s%s", strchr(option->choices, ' ') ? "one of: " : "", option->choices);
        break;
    case VR_OPTION_FLAG:
    case VR_OPTION_TEXT:
        snprintf(text, n_bytes, "text");
        break;
    }
    return text;
}

static bool read_number(const vr_option *option, const char *value, double *number)
{
    const char *const set = option->type == VR_OPTION_INT ? "+-0123456789" : "+-.eE0123456789";
    if (!*value || value[strspn(value, set)] != '\0') return false;
    char *end;
    *number = strtod(value, &end);
    return *end == '\0' && isfinite(*number) && *number >= option->min && *number <= option->max;
}

static bool read_natural(const char *value, uint64_t *number)
{
    if (!*value || value[strspn(value, "0123456789")] != '\0') return false;
    errno = 0;
    *number = strtoull(value, NULL, 10);
    return errno == 0;
}

/* value is NULL for flags. */
static int store(vr_options *out, vr_option_id id, const char *value, vr_err *e)
{
    const vr_option *const option = &vr_option_table[id];
    void *const at = (char *)out + option->offset;
    double number = 0;
    bool good = true;
    assert(value || option->type == VR_OPTION_FLAG);
    switch (option->type) {
    case VR_OPTION_FLAG:
        *(bool *)at = true;
        break;
    case VR_OPTION_TEXT:
        *(const char **)at = value;
        break;
    case VR_OPTION_INT: /* exact: |min|, |max| < 2^53 */
        if ((good = read_number(option, value, &number))) *(int *)at = (int)number;
        break;
    case VR_OPTION_NUMBER:
        if ((good = read_number(option, value, &number))) *(float *)at = (float)number;
        break;
    case VR_OPTION_NATURAL:
        good = read_natural(value, at);
        break;
    case VR_OPTION_CHOICE:
        *(int *)at = vr_option_choice(option->choices, value);
        good = *(int *)at >= 0;
        break;
    }
    char range[96];
    if (!good)
        return vr_fail(e, VR_ERR_USAGE, "option --%s: '%s' is not %s", option->name, value,
                       vr_option_range(option, range, sizeof range));
    out->given |= UINT64_C(1) << id;
    return VR_OK;
}

static int find_long(const char *name, size_t n)
{
    for (int id = 0; id < VR_N_OPTIONS; id++)
        if (strlen(vr_option_table[id].name) == n && memcmp(vr_option_table[id].name, name, n) == 0) return id;
    return -1;
}

static int find_letter(char letter)
{
    for (int id = 0; id < VR_N_OPTIONS; id++)
        if (vr_option_table[id].letter == letter) return id;
    return -1;
}

/* Edits (insert, delete, replace) from a[0..n) to b; a large number where either is too long to be a misspelt option. */
static int edits(const char *a, size_t n, const char *b)
{
    enum { LONGEST = 32 };
    const size_t m = strlen(b);
    if (n > LONGEST || m > LONGEST) return 2 * LONGEST;
    int row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            const int replace = diagonal + (a[i - 1] != b[j - 1]);
            const int other = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[m];
}

/* The option that was probably meant: the shortest that begins so, else one at most two edits (and less than half the word)
 * away; or -1. */
static int nearest(const char *name, size_t n)
{
    int begins = -1, close = -1, fewest = 3;
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (!option->group || n == 0) continue;
        const int distance = edits(name, n, option->name);
        if (strncmp(option->name, name, n) == 0 && (begins < 0 || strlen(option->name) < strlen(vr_option_table[begins].name)))
            begins = id;
        if (distance < fewest && 2 * (size_t)distance < n) close = id, fewest = distance;
    }
    return begins >= 0 ? begins : close;
}

static int fail_unknown(const char *word, const char *name, size_t n, vr_err *e)
{
    const int id = nearest(name, n);
    const int shown = (int)(name - word) + (int)n;
    if (id < 0) return vr_fail(e, VR_ERR_USAGE, "unknown option %.*s (vidrun --help lists all)", shown, word);
    return vr_fail(e, VR_ERR_USAGE, "unknown option %.*s; did you mean --%s?", shown, word, vr_option_table[id].name);
}

typedef struct words {
    int count, next;
    const char *const *all;
} words;

/* The value of an option: what is attached to it, else the next word. */
static int take(vr_options *out, vr_option_id id, const char *attached, words *w, vr_err *e)
{
    const vr_option *const option = &vr_option_table[id];
    if (!option->argument) return store(out, id, NULL, e);
    if (attached) return store(out, id, attached, e);
    if (w->next == w->count) return vr_fail(e, VR_ERR_USAGE, "option --%s needs a value: %s", option->name, option->argument);
    return store(out, id, w->all[w->next++], e);
}

static int parse_long(vr_options *out, const char *word, words *w, vr_err *e)
{
    const char *const name = word + 2;
    const size_t n = strcspn(name, "=");
    const int id = find_long(name, n);
    if (id < 0) return fail_unknown(word, name, n, e);
    const char *const attached = name[n] == '=' ? name + n + 1 : NULL;
    if (attached && !vr_option_table[id].argument)
        return vr_fail(e, VR_ERR_USAGE, "option --%s takes no value ('%s')", vr_option_table[id].name, attached);
    return take(out, (vr_option_id)id, attached, w, e);
}

static int parse_letters(vr_options *out, const char *word, words *w, vr_err *e)
{
    const char *const name = word + 1;
    const size_t n = strcspn(name, "=");
    if (n > 1 && find_long(name, n) >= 0) return fail_unknown(word, name, n, e);
    for (const char *letter = name; *letter; letter++) {
        const int id = find_letter(*letter);
        if (id < 0)
            return vr_fail(e, VR_ERR_USAGE, "unknown option -%c%s%s (vidrun --help lists all)", *letter, n > 1 ? " in " : "",
                           n > 1 ? word : "");
        const bool flag = !vr_option_table[id].argument;
        VR_TRY(take(out, (vr_option_id)id, letter[1] ? letter + 1 : NULL, w, e));
        if (!flag) break;
    }
    return VR_OK;
}

static int parse_operand(vr_options *out, const char *word, vr_err *e)
{
    if (!out->weights)
        out->weights = word;
    else if (!out->video)
        out->video = word;
    else if (!out->prompt)
        out->prompt = word;
    else
        return vr_fail(e, VR_ERR_USAGE, "unexpected operand '%s'; a prompt of several words is quoted: \"...\"", word);
    return VR_OK;
}

/* --text: what would be VIDEO is PROMPT. The option may stand behind the operands, so this comes last. */
static int shift_operands(vr_options *out, vr_err *e)
{
    if (out->prompt)
        return vr_fail(e, VR_ERR_USAGE, "unexpected operand '%s': with --text the operands are WEIGHTS [PROMPT]", out->prompt);
    out->prompt = out->video;
    out->video = NULL;
    return VR_OK;
}

static int fail_both(vr_option_id a, vr_option_id b, vr_err *e)
{
    return vr_fail(e, VR_ERR_USAGE, "options --%s and --%s exclude each other", vr_option_table[a].name,
                   vr_option_table[b].name);
}

/* Options of streams: nothing without --stream, and what --stream does not take. */
static int check_stream(const vr_options *o, vr_err *e)
{
    static const vr_option_id only[] = { VR_OPTION_REALTIME, VR_OPTION_ASK, VR_OPTION_ASK_AFTER, VR_OPTION_CAPTIONS };
    static const vr_option_id never[] = { VR_OPTION_FRAMES, VR_OPTION_IMAGE, VR_OPTION_PICTURE };
    for (size_t i = 0; !o->stream && i < sizeof only / sizeof *only; i++)
        if (vr_options_given(o, only[i]))
            return vr_fail(e, VR_ERR_USAGE, "option --%s needs --stream", vr_option_table[only[i]].name);
    for (vr_option_id id = VR_OPTION_SRT; !o->stream && !o->transcribe && id <= VR_OPTION_VTT; id++)
        if (vr_options_given(o, id))
            return vr_fail(e, VR_ERR_USAGE, "option --%s needs --stream or --transcribe", vr_option_table[id].name);
    if (o->srt && !*o->srt) return vr_fail(e, VR_ERR_USAGE, "option --srt: the file's name is empty");
    if (o->vtt && !*o->vtt) return vr_fail(e, VR_ERR_USAGE, "option --vtt: the file's name is empty");
    if (!o->stream) return VR_OK;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (vr_options_given(o, never[i])) return fail_both(VR_OPTION_STREAM, never[i], e);
    if (o->ask_file && o->ask_after) return fail_both(VR_OPTION_ASK, VR_OPTION_ASK_AFTER, e);
    if (o->ask_file && !*o->ask_file) return vr_fail(e, VR_ERR_USAGE, "option --ask: the file's name is empty");
    if (o->ask_after && strcmp(o->video, "-") == 0)
        return vr_fail(e, VR_ERR_USAGE, "VIDEO is standard input, so that questions cannot be read from it: use --ask");
    if (o->captions == 1 && (o->srt || o->vtt)) return fail_both(VR_OPTION_CAPTIONS, o->srt ? VR_OPTION_SRT : VR_OPTION_VTT, e);
    return VR_OK;
}

/* Without a video there is nothing to watch; --text and --perplexity. */
static int check_blind(const vr_options *o, vr_option_id blind, vr_err *e)
{
    static const vr_option_id never[] = { VR_OPTION_FRAMES, VR_OPTION_FPS,    VR_OPTION_NO_AUDIO, VR_OPTION_IMAGE,
                                          VR_OPTION_MEMORY, VR_OPTION_STREAM, VR_OPTION_PICTURE };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (vr_options_given(o, never[i])) return fail_both(blind, never[i], e);
    if (blind == VR_OPTION_TEXT_MODEL) return VR_OK;
    const char *const more = o->video ? o->video : o->prompt;
    if (more) return vr_fail(e, VR_ERR_USAGE, "unexpected operand '%s': option --perplexity takes WEIGHTS alone", more);
    return o->prompt_file ? fail_both(blind, VR_OPTION_PROMPT_FILE, e) : VR_OK;
}

/* --transcribe listens and asks nothing. */
static int check_transcribe(const vr_options *o, vr_err *e)
{
    static const vr_option_id never[] = { VR_OPTION_TEXT_MODEL, VR_OPTION_PERPLEXITY, VR_OPTION_PROMPT_FILE, VR_OPTION_FRAMES,
                                          VR_OPTION_FPS,        VR_OPTION_NO_AUDIO,   VR_OPTION_IMAGE,       VR_OPTION_MEMORY,
                                          VR_OPTION_STREAM,     VR_OPTION_PICTURE,    VR_OPTION_ESTIMATE };
    if (!o->transcribe)
        return o->language && !o->speech ? vr_fail(e, VR_ERR_USAGE, "option --language needs --transcribe or --speech") : VR_OK;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (vr_options_given(o, never[i])) return fail_both(VR_OPTION_TRANSCRIBE, never[i], e);
    if (o->prompt)
        return vr_fail(e, VR_ERR_USAGE, "unexpected operand '%s': with --transcribe the operands are WEIGHTS VIDEO", o->prompt);
    return VR_OK;
}

/* --mode text, and what means nothing without it. */
static int check_mode(const vr_options *o, vr_err *e)
{
    static const vr_option_id only[] = { VR_OPTION_SPEECH, VR_OPTION_SHOW_TEXT };
    static const vr_option_id never[] = { VR_OPTION_TEXT_MODEL, VR_OPTION_PERPLEXITY, VR_OPTION_TRANSCRIBE, VR_OPTION_IMAGE,
                                          VR_OPTION_STREAM,     VR_OPTION_FPS,        VR_OPTION_PICTURE,    VR_OPTION_DUMP_STAGES };
    for (size_t i = 0; o->mode == 0 && i < sizeof only / sizeof *only; i++)
        if (vr_options_given(o, only[i]))
            return vr_fail(e, VR_ERR_USAGE, "option --%s needs --mode text", vr_option_table[only[i]].name);
    for (size_t i = 0; o->mode != 0 && i < sizeof never / sizeof *never; i++)
        if (vr_options_given(o, never[i])) return fail_both(VR_OPTION_MODE, never[i], e);
    if (o->speech && !*o->speech) return vr_fail(e, VR_ERR_USAGE, "option --speech: the file's name is empty");
    if (o->speech && strcmp(o->video, "-") == 0)
        return vr_fail(e, VR_ERR_USAGE, "VIDEO is standard input, which --speech would have to read twice: give a file");
    return VR_OK;
}

static int check_words(const vr_options *o, vr_err *e)
{
    if (!o->weights)
        return vr_fail(e, VR_ERR_USAGE, "WEIGHTS and VIDEO are missing: vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]");
    if (!o->video && !o->text && !o->perplexity)
        return vr_fail(e, VR_ERR_USAGE, "VIDEO is missing: vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]");
    if (!*o->weights) return vr_fail(e, VR_ERR_USAGE, "WEIGHTS is empty");
    if (o->video && !*o->video) return vr_fail(e, VR_ERR_USAGE, "VIDEO is empty");
    if (o->prompt && o->prompt_file) return vr_fail(e, VR_ERR_USAGE, "PROMPT and option --prompt-file exclude each other");
    if (o->prompt && o->prompt[strspn(o->prompt, " \t\r\n")] == '\0') return vr_fail(e, VR_ERR_USAGE, "PROMPT is empty");
    if (o->prompt && strlen(o->prompt) > VR_MAX_PROMPT)
        return vr_fail(e, VR_ERR_USAGE, "PROMPT is longer than %d bytes", VR_MAX_PROMPT);
    return VR_OK;
}

static int check(const vr_options *o, vr_err *e)
{
    if (o->self_test || o->man || vr_options_given(o, VR_OPTION_PRINT_COMPLETION)) return VR_OK;
    VR_TRY(check_words(o, e));
    VR_TRY(check_transcribe(o, e));
    VR_TRY(check_mode(o, e));
    if (o->text) VR_TRY(check_blind(o, VR_OPTION_TEXT_MODEL, e));
    if (!o->text && vr_options_given(o, VR_OPTION_CONTEXT)) return vr_fail(e, VR_ERR_USAGE, "option --context needs --text");
    if (o->perplexity) VR_TRY(check_blind(o, VR_OPTION_PERPLEXITY, e));
    if (o->perplexity && !*o->perplexity) return vr_fail(e, VR_ERR_USAGE, "option --perplexity: the file's name is empty");
    if (o->dump_dir && !*o->dump_dir) return vr_fail(e, VR_ERR_USAGE, "option --dump-stages: the folder's name is empty");
    if (o->picture && !*o->picture) return vr_fail(e, VR_ERR_USAGE, "option --picture: the file's name is empty");
    if (o->video && strcmp(o->video, "-") == 0 && !o->stream && !o->transcribe && !o->prompt && !o->prompt_file &&
        !o->estimate)
        return vr_fail(e, VR_ERR_USAGE, "VIDEO is standard input, so that prompts cannot be read from it: give PROMPT");
    if (o->quiet && o->verbose) return fail_both(VR_OPTION_QUIET, VR_OPTION_VERBOSE, e);
    if (o->image && vr_options_given(o, VR_OPTION_FRAMES)) return fail_both(VR_OPTION_IMAGE, VR_OPTION_FRAMES, e);
    if (o->image && vr_options_given(o, VR_OPTION_FPS)) return fail_both(VR_OPTION_IMAGE, VR_OPTION_FPS, e);
    if (vr_options_given(o, VR_OPTION_FRAMES) && vr_options_given(o, VR_OPTION_FPS))
        return fail_both(VR_OPTION_FRAMES, VR_OPTION_FPS, e);
    return check_stream(o, e);
}

int vr_options_parse(vr_options *out, int argc, const char *const *argv, vr_err *e)
{
    *out = (vr_options){ 0 };
    words w = { argc, 1, argv };
    bool operands_only = false;
    while (w.next < w.count) {
        const char *const word = w.all[w.next++];
        if (operands_only || word[0] != '-' || word[1] == '\0')
            VR_TRY(parse_operand(out, word, e));
        else if (strcmp(word, "--") == 0)
            operands_only = true;
        else if (word[1] == '-')
            VR_TRY(parse_long(out, word, &w, e));
        else
            VR_TRY(parse_letters(out, word, &w, e));
        if (out->help || out->version) return VR_OK;
    }
    if (!vr_options_given(out, VR_OPTION_PRECISION))
        out->precision = vr_option_choice(vr_option_table[VR_OPTION_PRECISION].choices, "auto");
    if (!vr_options_given(out, VR_OPTION_KV)) out->kv = vr_option_choice(vr_option_table[VR_OPTION_KV].choices, "auto");
    if (out->text) VR_TRY(shift_operands(out, e));
    return check(out, e);
}
