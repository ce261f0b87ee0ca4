/*
 * as_text.h - the clip of a conversation as text (--mode text).
 *
 *   --speech FILE: vr_speech_transcribe -> timed lines --+
 *                                                        +-> vr_session_tell -> --show-text: standard error
 */
#ifndef VR_AS_TEXT_H
#define VR_AS_TEXT_H

#include "cli/options.h"
#include "cli/report.h"

/* Instead of vr_session_watch. A clip without sound that can be heard is told without it, and so it is said. */
int vr_as_text(vr_session *session, const char *video, const vr_options *o, vr_report *report, vr_err *e);

#endif
