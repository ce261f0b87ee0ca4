/*
 * chat.h - turns of a conversation about one clip.
 *
 *   PROMPT            -> one turn
 *   lines of stdin    -> a turn a line
 *   terminal          -> "> " line (line_edit.h) or /command (commands.h), until Ctrl-D
 *                        each: vr_session_ask -> text as it comes | one JSON object
 */
#ifndef VR_CHAT_H
#define VR_CHAT_H

#include "cli/output.h"
#include "cli/questions.h"
#include "cli/report.h"
#include "vidrun.h"

typedef struct vr_chat vr_chat;

struct vr_chat {
    vr_session *session; /* watched; all borrowed */
    const vr_recipe *recipe;
    vr_report *report;
    vr_output *output;
    vr_sampling sampling;
    int n_predict;
    const char *picture; /* drawn after every answer; NULL: none */
    bool json;
    int n_turns; /* asked so far */
    const char *clip;
    /* Replaces session and clip; NULL: there is no clip. What was is kept where it fails. */
    int (*change_clip)(void *cookie, vr_chat *chat, const char *path, vr_err *e);
    void *cookie;
};

/* VR_ERR_CANCEL when Ctrl-C stopped the answer, VR_ERR_OTHER when it cannot be written. */
int vr_chat_ask(vr_chat *chat, const char *question, vr_err *e);
/* question holds the first one; reads the others. The first error ends it. */
int vr_chat_lines(vr_chat *chat, vr_question *question, FILE *file, vr_err *e);
/* Errors of a question (too long) or a command are told and the conversation goes on; others end it. */
int vr_chat_terminal(vr_chat *chat, vr_question *question, FILE *file, vr_err *e);

#endif
