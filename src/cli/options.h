/*
 * options.h - the command line: one table says what every option is called, takes and means.
 *
 *   argv -> vr_options_parse -> vr_options          table -> help.c: --help, man page, completions
 *
 * GNU manners: --name=VALUE, --name VALUE, -nVALUE, -n VALUE, flags in one cluster, options after operands, `--` ends them, the
 * last of several wins. Abbreviated long names are refused with a suggestion: a later release may add a name that makes them
 * ambiguous. Strings are borrowed from argv.
 */
#ifndef VR_OPTIONS_H
#define VR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* clang-format off */
typedef enum vr_option_id {
    /* what is asked */
    VR_OPTION_SYSTEM, VR_OPTION_TEMPLATE, VR_OPTION_PROMPT_FILE, VR_OPTION_TEXT_MODEL, VR_OPTION_CONTEXT,
    /* what is watched */
    VR_OPTION_FRAMES, VR_OPTION_FPS, VR_OPTION_NO_AUDIO, VR_OPTION_IMAGE, VR_OPTION_MEMORY,
    VR_OPTION_MODE, VR_OPTION_SPEECH,
    /* how a stream is followed */
    VR_OPTION_STREAM, VR_OPTION_REALTIME, VR_OPTION_ASK, VR_OPTION_ASK_AFTER, VR_OPTION_CAPTIONS, VR_OPTION_SRT, VR_OPTION_VTT,
    /* how the answer is drawn */
    VR_OPTION_PREDICT, VR_OPTION_TEMP, VR_OPTION_TOP_K, VR_OPTION_TOP_P, VR_OPTION_REPETITION_PENALTY, VR_OPTION_SEED,
    /* how it is computed */
    VR_OPTION_THREADS, VR_OPTION_DEVICE, VR_OPTION_GPU_LAYERS, VR_OPTION_GEMM, VR_OPTION_PRECISION, VR_OPTION_KV,
    /* what is shown */
    VR_OPTION_JSON, VR_OPTION_QUIET, VR_OPTION_VERBOSE, VR_OPTION_PICTURE, VR_OPTION_SHOW_TEXT, VR_OPTION_DUMP_STAGES,
    /* other things to do */
    VR_OPTION_TRANSCRIBE, VR_OPTION_LANGUAGE, VR_OPTION_ESTIMATE, VR_OPTION_PERPLEXITY, VR_OPTION_SELF_TEST, VR_OPTION_VERSION,
    VR_OPTION_HELP, VR_OPTION_PRINT_MAN, VR_OPTION_PRINT_COMPLETION,
    VR_N_OPTIONS
} vr_option_id;
/* clang-format on */

typedef enum vr_option_type {
    VR_OPTION_FLAG,    /* bool */
    VR_OPTION_INT,     /* int in [min, max] */
    VR_OPTION_NUMBER,  /* float in [min, max], finite */
    VR_OPTION_NATURAL, /* uint64_t, any */
    VR_OPTION_TEXT,    /* const char * */
    VR_OPTION_CHOICE   /* int: index into choices */
} vr_option_type;

typedef struct vr_option {
    const char *name; /* long, without the dashes */
    char letter;      /* 0: none */
    vr_option_type type;
    const char *argument; /* how the value is called in texts; NULL for flags */
    double min, max;
    const char *choices; /* separated by blanks; for VR_OPTION_CHOICE */
    size_t offset;       /* of the value in vr_options */
    const char *group;   /* heading; NULL: not shown */
    const char *help;    /* one sentence without its full stop */
} vr_option;

/* Values of the command line. A value that was not given is 0; whether it was: vr_options_given. */
typedef struct vr_options {
    const char *weights, *video, *prompt; /* operands; NULL: not given */
    const char *system_text, *template_name, *prompt_file, *dump_dir, *picture, *device, *gpu_layers;
    const char *speech, *ask_file, *ask_after, *srt, *vtt, *perplexity, *language;
    int n_frames, n_predict, n_context, top_k, n_threads;
    int gemm, precision, kv, completion, captions, memory, mode; /* choices; those of vidrun.h count as its enums do; precision and
                                                              kv: auto where they were not given */
    float temperature, top_p, repetition_penalty, fps;
    uint64_t seed;
    bool text, transcribe, show_text, no_audio, image, stream, realtime, json, quiet, verbose, estimate, self_test, version, help, man;
    uint64_t given; /* bit 1 << vr_option_id */
} vr_options;

extern const vr_option vr_option_table[VR_N_OPTIONS]; /* indexed by vr_option_id */

static inline bool vr_options_given(const vr_options *o, vr_option_id id)
{
    return (o->given >> id & 1) != 0;
}

/* argv[0] is skipped. --help and --version end the parsing: what follows is not looked at. Everything that can be refused
 * without opening a file is: VR_ERR_USAGE. */
int vr_options_parse(vr_options *out, int argc, const char *const *argv, vr_err *e);

/* "a whole number from 1 to 4096": what a value must be. Returns text. */
const char *vr_option_range(const vr_option *option, char *text, size_t n_bytes);

/* Whether the blank-separated list holds the word; its place from 0, or -1. */
int vr_option_choice(const char *list, const char *word);

#endif
