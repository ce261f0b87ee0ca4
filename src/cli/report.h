/*
 * report.h - standard error while the engine works: log lines, a progress bar, one line a stage.
 *
 *   vr_hooks.log / progress / timing -> vr_report -> stderr        timings are kept for the JSON record of a turn
 *
 *   vision       8 frames      1.93 s       4.1 frames/s
 *
 * The bar is drawn on a terminal only and erased before anything else is written. Timings that come while an answer's line is
 * open wait until it has ended. --quiet leaves errors. Everything borrowed.
 */
#ifndef VR_REPORT_H
#define VR_REPORT_H

#include "cli/options.h"
#include "cli/output.h"
#include "vidrun.h"

enum { VR_REPORT_TIMINGS = 32 }; /* stages of one turn; later ones are not kept */

typedef struct vr_report {
    FILE *file;
    const vr_output *answer; /* whether its line is open */
    bool terminal, quiet, verbose;
    bool bar_shown;
    const char *bar_stage; /* whose progress is measured since bar_start */
    double bar_start, bar_drawn;
    vr_timing timings[VR_REPORT_TIMINGS];
    int n_timings, n_printed;
} vr_report;

void vr_report_open(vr_report *report, FILE *file, const vr_options *options, const vr_output *answer);
void vr_report_hooks(vr_report *report, vr_hooks *hooks); /* log, progress, timing; and Ctrl-C as cancelled */

void vr_report_line(vr_report *report, const char *format, ...) VR_PRINTF(2, 3); /* not when quiet */
/* The same with a text of any length and number of lines. */
void vr_report_text(vr_report *report, const char *before, const char *text);
void vr_report_error(vr_report *report, const vr_err *e);                        /* always, one line */
void vr_report_prompt(vr_report *report);                                        /* "> ", not when quiet */
void vr_report_erase_bar(vr_report *report);
void vr_report_timings(vr_report *report); /* print those that waited */
void vr_report_forget(vr_report *report);  /* the timings kept: their turn is over */

#endif
