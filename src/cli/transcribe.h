/*
 * transcribe.h - --transcribe: what is said in VIDEO, as text on standard output, as subtitles, as JSON.
 *
 *   speech.h -> segments -> a line each | one JSON object          and --srt, --vtt: a cue each, written as they are heard
 */
#ifndef VR_TRANSCRIBE_H
#define VR_TRANSCRIBE_H

#include "cli/report.h"

int vr_transcribe_run(const vr_options *options, vr_report *report, vr_output *output, vr_err *e);

#endif
