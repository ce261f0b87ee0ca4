/*
 * follow.h - a stream as its user has it: frames come in, questions are answered meanwhile, captions go out.
 *
 *   vr_feed ─> reader ─> slot of one frame ─> frame handler ─> vr_stream_push ─> captions ─┐
 *   terminal, --ask, --ask-after ──────────────────────────> questions, at most 16 ────────┴─> question handler ─> stdout
 *
 * Of a file, every frame is looked at as fast as that can be, and a question or caption that has its place is answered from the
 * memory of exactly that place: the run is the same every time. With --realtime, and of a pipe, frames are never held back:
 * one frame waits; when the next one has come and is due, the waiting one is dropped and counted (a pipe that is ahead of the
 * clock has to wait instead). Then a caption that is due while another is still to be told takes its place, counted too, and
 * questions are answered from the memory of the moment at which their turn comes: at once where none is being answered.
 * Ctrl-C ends the intake and lets the answer end; the second one cuts the answer.
 */
#ifndef VR_FOLLOW_H
#define VR_FOLLOW_H

#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "vidrun.h"

typedef struct vr_follow vr_follow;

int vr_follow_open(vr_follow **out, const vr_options *options, vr_report *report, vr_output *output, vr_err *e);
void vr_follow_hooks(vr_follow *follow, vr_hooks *hooks); /* for the model: safe to be called by any thread */

/* Opens stream and video (with --estimate: only the stream). question: PROMPT, NULL: none; all borrowed. */
int vr_follow_begin(vr_follow *follow, vr_model *model, const vr_recipe *recipe, const vr_sampling *sampling,
                    const char *question, vr_err *e);
void vr_follow_plan(const vr_follow *follow, vr_plan *out);
int vr_follow_run(vr_follow *follow, vr_err *e);   /* the whole stream; VR_ERR_CANCEL after Ctrl-C */
int vr_follow_close(vr_follow *follow, vr_err *e); /* NULL is legal */

#endif
