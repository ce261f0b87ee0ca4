/*
 * commands.h - the lines of a conversation that begin with a slash.
 *
 *   "/save talk.json" -> the row of the table -> what it does, told on standard error
 */
#ifndef VR_COMMANDS_H
#define VR_COMMANDS_H

#include "cli/chat.h"

/* *go_on = false: leave. What the conversation survives is told, the rest returned. */
int vr_command_obey(vr_chat *chat, const char *line, bool *go_on, vr_err *e);

#endif
