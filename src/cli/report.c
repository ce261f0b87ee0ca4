/*
 * report.c - see report.h.
 *
 * Trap: stdout and stderr usually are the same terminal: a bar drawn behind half an answer would be glued to it.
 * Trap: texts hold names from files; they are written with control characters made visible.
 */
#include "cli/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/interrupt.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void vr_report_open(vr_report *report, FILE *file, const vr_options *options, const vr_output *answer)
{
    const char *const kind = getenv("TERM");
    *report = (vr_report){ .file = file, .answer = answer, .quiet = options->quiet, .verbose = options->verbose };
    report->terminal = isatty(fileno(file)) == 1 && kind && strcmp(kind, "dumb") != 0;
}

void vr_report_erase_bar(vr_report *report)
{
    if (!report->bar_shown) return;
    fputs("\r\033[K", report->file);
    fflush(report->file);
    report->bar_shown = false;
}

static void write_text(vr_report *report, const char *before, const char *text, const char *keep)
{
    vr_report_erase_bar(report);
    if (report->terminal && report->answer->terminal && report->answer->line_open) fputc('\n', report->file);
    fputs(before, report->file);
    vr_output_visible(report->file, text, strlen(text), keep);
    fputc('\n', report->file);
    fflush(report->file);
}

static void write_line(vr_report *report, const char *before, const char *text)
{
    write_text(report, before, text, "\t");
}

void vr_report_line(vr_report *report, const char *format, ...)
{
    if (report->quiet) return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_line(report, "", text);
}

void vr_report_text(vr_report *report, const char *before, const char *text)
{
    if (!report->quiet) write_text(report, before, text, "\t\n");
}

void vr_report_error(vr_report *report, const vr_err *e)
{
    write_line(report, "vidrun: ", e->text);
}

void vr_report_prompt(vr_report *report)
{
    if (report->quiet) return;
    fputs("> ", report->file);
    fflush(report->file);
}

static void on_log(void *cookie, vr_log_level level, const char *text)
{
    vr_report *const report = cookie;
    if (report->quiet || (level == VR_LOG_DEBUG && !report->verbose)) return;
    write_line(report, level == VR_LOG_WARN ? "vidrun: warning: " : "vidrun: ", text);
}

static void format_left(char *text, size_t n_bytes, double seconds)
{
    const long whole = seconds < 1e6 ? (long)(seconds + 0.5) : 1000000;
    if (whole < 100)
        snprintf(text, n_bytes, "%ld s left", whole);
    else if (whole < 6000)
        snprintf(text, n_bytes, "%ld min left", (whole + 30) / 60);
    else
        snprintf(text, n_bytes, "%.1f h left", (double)whole / 3600);
}

/* "vision  [=====     ]  4 of 8  3 s left", at most `width` columns. */
static void draw_bar(vr_report *report, int64_t done, int64_t total, double elapsed, int width)
{
    enum { CELLS = 24 };
    static const char full[CELLS + 1] = "========================";
    char left[32] = "", text[160];
    const double part = (double)done / (double)total;
    const int filled = (int)(part * CELLS);
    if (done > 0) format_left(left, sizeof left, elapsed / part - elapsed);
    snprintf(text, sizeof text, "%-7.16s [%.*s%*s]  %lld of %lld  %s", report->bar_stage, filled, full, CELLS - filled, "",
             (long long)done, (long long)total, left);
    fprintf(report->file, "\r%.*s\033[K", width, text);
    fflush(report->file);
    report->bar_shown = true;
}

static void on_progress(void *cookie, const char *stage, int64_t done, int64_t total)
{
    vr_report *const report = cookie;
    if (report->quiet || !report->terminal || report->answer->line_open) return;
    const double time = now();
    if (!report->bar_stage || strcmp(report->bar_stage, stage) != 0) {
        report->bar_stage = stage;
        report->bar_start = time;
        report->bar_drawn = 0;
    }
    if (total <= 0 || done < 0 || done > total || time - report->bar_drawn < 0.1) return;
    struct winsize size;
    const int columns = ioctl(fileno(report->file), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
    draw_bar(report, done, total, time - report->bar_start, columns - 1);
    report->bar_drawn = time;
}

void vr_report_timings(vr_report *report)
{
    for (; report->n_printed < report->n_timings; report->n_printed++) {
        const vr_timing *const t = &report->timings[report->n_printed];
        if (t->count <= 0)
            vr_report_line(report, "%-7s %15s %9.2f s", t->stage, "", t->seconds);
        else
            vr_report_line(report, "%-7s %7lld %-7s %9.2f s %9.1f %s/s", t->stage, (long long)t->count, t->unit, t->seconds,
                           (double)t->count / (t->seconds > 1e-9 ? t->seconds : 1e-9), t->unit);
    }
}

static void on_timing(void *cookie, const vr_timing *timing)
{
    vr_report *const report = cookie;
    report->bar_stage = NULL;
    vr_report_erase_bar(report);
    if (report->n_timings < VR_REPORT_TIMINGS) report->timings[report->n_timings++] = *timing;
    if (!report->answer->line_open) vr_report_timings(report);
}

void vr_report_forget(vr_report *report)
{
    report->n_timings = report->n_printed = 0;
}

static bool on_cancelled(void *cookie)
{
    (void)cookie;
    return vr_interrupted();
}

void vr_report_hooks(vr_report *report, vr_hooks *hooks)
{
    *hooks = (vr_hooks){
        .log = { on_log, report }, .progress = on_progress, .timing = on_timing, .cancelled = on_cancelled, .cookie = report
    };
}
