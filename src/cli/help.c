/*
 * help.c - see help.h.
 *
 * Ref:  man(7) for the roff macros; bash(1) "Programmable Completion", zshcompsys(1) _arguments, fish complete(1).
 * Trap: in roff a dash is a hyphen (\- is the minus of an option) and a line that begins with . or ' is a command.
 */
#include "cli/help.h"

#include <string.h>

#include <cblas.h>
#include <libavutil/avutil.h>

#include "cli/options.h"
#include "vidrun.h"

static const char synopsis[] = "vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]";
static const char summary[] = "answer questions about a video";

/* One paragraph each; shared by --help and the manual page. */
static const char *const description[] = {
    "WEIGHTS is a weight file, or the word demo: the small model that comes along. VIDEO is a video or picture file; - is "
    "standard "
    "input. Without PROMPT the questions are lines of standard input; on a terminal that is a conversation about the clip. The "
    "answer "
    "goes to standard output, everything else to standard error.",
    "What is not given is proposed by the weight file: frames, prompt template, sampling, length of the answer.",
    "With --stream frames come in one by one, of a file or a pipe that may never end, and questions are answered meanwhile: from "
    "the terminal, by time (--ask) or by frame (--ask-after). Systems that speak unasked write captions. PROMPT is what they "
    "answer; otherwise it is asked at the end. Ctrl-C ends the stream and completes the answer.",
    "With --text the operands are WEIGHTS [PROMPT]: a conversation with a text model, without a clip."
};

static const struct {
    int status;
    const char *meaning;
} statuses[] = { { 0, "the answer is complete" },
                 { 1, "anything else; the answer cannot be written" },
                 { 2, "options or arguments" },
                 { 3, "weight file unreadable or invalid" },
                 { 4, "video unreadable or without frames" },
                 { 5, "a limit, the context or memory would be exceeded" },
                 { 130, "Ctrl-C" } };

static const char *const examples[] = { "vidrun demo clip.mp4 'What is in the video?'",
                                        "vidrun --temp 0 --json model.vidrun clip.mp4 < questions.txt",
                                        "vidrun --estimate model.vidrun clip.mp4", "vidrun model.vidrun clip.mp4",
                                        "vidrun --stream --realtime --srt clip.srt model.vidrun clip.mp4",
                                        "ffmpeg -nostdin -i rtsp://camera/1 -f matroska - | vidrun --stream model.vidrun -" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Words of text in lines of at most `width` columns; all but the first begin with `indent` blanks. */
static void write_wrapped(FILE *file, const char *text, int indent, int width)
{
    int column = indent;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (column > indent && column + 1 + n > width)
            fprintf(file, "\n%*s", indent, ""), column = indent;
        else if (column > indent)
            fputc(' ', file), column++;
        fprintf(file, "%.*s", n, text);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', file);
}

static void write_option(FILE *file, const vr_option *option)
{
    enum { INDENT = 30, WIDTH = 79 };
    char letter[8] = "", left[64], help[256], range[96] = "";
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    const int n = snprintf(left, sizeof left, "  %4s--%s%s%s", letter, option->name, option->argument ? " " : "",
                           option->argument ? option->argument : "");
    if (option->type == VR_OPTION_INT || option->type == VR_OPTION_NUMBER)
        snprintf(range, sizeof range, " (%.10g to %.10g)", option->min, option->max);
    snprintf(help, sizeof help, "%s%s", option->help, range);
    fprintf(file, "%-*s", INDENT, left);
    if (n >= INDENT) fprintf(file, "\n%*s", INDENT, "");
    write_wrapped(file, help, INDENT, WIDTH);
}

void vr_help_write(FILE *file)
{
    fprintf(file, "Usage: %s\n%s: %s\n\n", synopsis, "vidrun", summary);
    for (size_t i = 0; i < COUNT(description); i++) {
        write_wrapped(file, description[i], 0, 79);
        fputc('\n', file);
    }
    const char *group = NULL;
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (!option->group) continue;
        if (group != option->group) fprintf(file, "%s%s:\n", group ? "\n" : "", option->group);
        group = option->group;
        write_option(file, option);
    }
    fputs("\nExit status:\n", file);
    for (size_t i = 0; i < COUNT(statuses); i++) fprintf(file, "  %3d  %s\n", statuses[i].status, statuses[i].meaning);
}

/* Text with the characters escaped that roff acts on. */
static void write_roff(FILE *file, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", file);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", file);
        else if (*text == '\\')
            fputs("\\e", file);
        else if (*text == '\'')
            fputs("\\(aq", file);
        else
            fputc(*text, file);
    }
    fputc('\n', file);
}

static void write_man_option(FILE *file, const vr_option *option)
{
    char text[256], range[96] = "";
    fputs(".TP\n.B ", file);
    if (option->letter) fprintf(file, "\\-%c\\fR, \\fB", option->letter);
    fputs("\\-\\-", file);
    for (const char *c = option->name; *c; c++) fputs(*c == '-' ? "\\-" : (const char[]){ *c, '\0' }, file);
    fprintf(file, "%s%s\n", option->argument ? " \\fI" : "", option->argument ? option->argument : "");
    if (option->type == VR_OPTION_INT || option->type == VR_OPTION_NUMBER)
        snprintf(text, sizeof text, "%s (%s).", option->help, vr_option_range(option, range, sizeof range));
    else
        snprintf(text, sizeof text, "%s.", option->help);
    write_roff(file, text);
}

void vr_help_write_man(FILE *file)
{
    fprintf(file, ".TH VIDRUN 1 \"\" \"vidrun %s\" \"User Commands\"\n.SH NAME\nvidrun \\- %s\n", VIDRUN_VERSION, summary);
    fputs(".SH SYNOPSIS\n.B vidrun\n[\\fIOPTION\\fR]... \\fIWEIGHTS VIDEO\\fR [\\fIPROMPT\\fR]\n.SH DESCRIPTION\n", file);
    for (size_t i = 0; i < COUNT(description); i++) {
        fputs(i ? ".PP\n" : "", file);
        write_roff(file, description[i]);
    }
    fputs(".SH OPTIONS\n", file);
    const char *group = NULL;
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (!option->group) continue;
        if (group != option->group) fprintf(file, ".SS %s\n", option->group);
        group = option->group;
        write_man_option(file, option);
    }
    fputs(".SH EXIT STATUS\n", file);
    for (size_t i = 0; i < COUNT(statuses); i++) {
        fprintf(file, ".TP\n.B %d\n", statuses[i].status);
        write_roff(file, statuses[i].meaning);
    }
    fputs(".SH ENVIRONMENT\n.TP\n.B VIDRUN_CPU\ninstruction set to use: c, avx2, avx512, neon or best.\n.SH EXAMPLES\n.nf\n",
          file);
    for (size_t i = 0; i < COUNT(examples); i++) write_roff(file, examples[i]);
    fputs(".fi\n", file);
}

static void write_bash(FILE *file)
{
    fputs("_vidrun()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n    case $before in\n",
          file);
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (option->group && option->type == VR_OPTION_CHOICE)
            fprintf(file, "    --%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", option->name, option->choices);
    }
    fputs("    esac\n    case $word in\n    -*) COMPREPLY=($(compgen -W '", file);
    for (int id = 0; id < VR_N_OPTIONS; id++)
        if (vr_option_table[id].group) fprintf(file, "--%s ", vr_option_table[id].name);
    fputs("' -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n}\n"
          "complete -o filenames -F _vidrun vidrun\n",
          file);
}

static void write_zsh(FILE *file)
{
    fputs("#compdef vidrun\n_arguments -s \\\n", file);
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (!option->group) continue;
        if (option->letter)
            fprintf(file, "    '(-%c --%s)'{-%c,--%s}'", option->letter, option->name, option->letter, option->name);
        else
            fprintf(file, "    '--%s", option->name);
        fprintf(file, "[%s]", option->help);
        if (option->argument) fprintf(file, ":%s:", option->argument);
        if (option->type == VR_OPTION_CHOICE)
            fprintf(file, "(%s)", option->choices);
        else if (option->argument && strcmp(option->argument, "FILE") == 0)
            fputs("_files", file);
        else if (option->argument && strcmp(option->argument, "DIR") == 0)
            fputs("_files -/", file);
        fputs("' \\\n", file);
    }
    fputs("    '1:WEIGHTS:_files' '2:VIDEO:_files' '3:PROMPT:'\n", file);
}

static void write_fish(FILE *file)
{
    for (int id = 0; id < VR_N_OPTIONS; id++) {
        const vr_option *const option = &vr_option_table[id];
        if (!option->group) continue;
        fprintf(file, "complete -c vidrun -l %s", option->name);
        if (option->letter) fprintf(file, " -s %c", option->letter);
        if (option->type == VR_OPTION_CHOICE) fprintf(file, " -x -a '%s'", option->choices);
        if (option->type == VR_OPTION_TEXT) fputs(" -r", file);
        if (option->type == VR_OPTION_INT || option->type == VR_OPTION_NUMBER || option->type == VR_OPTION_NATURAL)
            fputs(" -x", file);
        fprintf(file, " -d '%s'\n", option->help);
    }
}

void vr_help_write_completion(FILE *file, int shell)
{
    static void (*const write[])(FILE *) = { write_bash, write_zsh, write_fish };
    write[shell](file);
}

void vr_help_write_version(FILE *file)
{
    fprintf(file, "vidrun %s\n", VIDRUN_VERSION);
#if defined(__clang__)
    fprintf(file, "compiler: %s\n", __VERSION__);
#else
    fprintf(file, "compiler: gcc %s\n", __VERSION__);
#endif
    fprintf(file, "FFmpeg: %s\nOpenBLAS: %s\nprocessor: %s\n", av_version_info(), openblas_get_config(), vr_cpu_features());
}
