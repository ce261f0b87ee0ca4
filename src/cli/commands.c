/*
 * commands.c - see commands.h.
 *
 * Trap: another clip begins another conversation, as in the original demos; turns about one clip say nothing about the next.
 */
#include "cli/commands.h"

#include <string.h>

#include "cli/conversation.h"
#include "cli/interrupt.h"

typedef struct command {
    const char *name, *argument; /* argument NULL: takes none */
    const char *help;
    int (*obey)(vr_chat *chat, const char *argument, bool *go_on, vr_err *e);
} command;

static int help(vr_chat *chat, const char *argument, bool *go_on, vr_err *e);

static int reset(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)argument, (void)go_on, (void)e;
    vr_session_reset(chat->session);
    vr_report_line(chat->report, "the conversation begins anew; the clip is kept");
    return VR_OK;
}

static int quit(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)chat, (void)argument, (void)e;
    *go_on = false;
    return VR_OK;
}

static int video(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)go_on;
    if (!chat->change_clip) return vr_fail(e, VR_ERR_USAGE, "/video: this conversation is about no clip");
    VR_TRY(chat->change_clip(chat->cookie, chat, argument, e));
    vr_report_line(chat->report, "the conversation is about %s now", chat->clip);
    return VR_OK;
}

static int history(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)argument, (void)go_on, (void)e;
    const int n = vr_session_turn_count(chat->session);
    if (n == 0) vr_report_line(chat->report, "nothing was asked so far");
    for (int i = 0; i < n; i++) {
        const char *question, *answer;
        vr_session_turn(chat->session, i, &question, &answer);
        vr_report_text(chat->report, "> ", question);
        vr_report_text(chat->report, "", answer);
    }
    return VR_OK;
}

static int save(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)go_on;
    const int n = vr_session_turn_count(chat->session);
    VR_TRY(vr_conversation_save(argument, chat->session, chat->recipe, chat->clip, e));
    vr_report_line(chat->report, "%d turn%s saved to %s", n, n == 1 ? "" : "s", argument);
    return VR_OK;
}

static int load(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)go_on;
    vr_text clip = { 0 };
    const int rc = vr_conversation_load(argument, chat->session, &clip, e);
    const int n = vr_session_turn_count(chat->session);
    const char *const name = vr_text_string(&clip);
    if (rc == VR_OK) vr_report_line(chat->report, "%d turn%s loaded from %s", n, n == 1 ? "" : "s", argument);
    if (rc == VR_OK && chat->clip && strcmp(name, chat->clip) != 0)
        vr_report_line(chat->report, "they were about %s; the clip is %s", *name ? name : "no clip", chat->clip);
    vr_text_free(&clip);
    return rc;
}

static const command commands[] = {
    { "/video", "FILE", "another clip, and a new conversation about it", video },
    { "/history", NULL, "what was asked and answered", history },
    { "/save", "FILE.json", "writes the conversation to a file", save },
    { "/load", "FILE.json", "goes on with a conversation that was saved", load },
    { "/reset", NULL, "forgets the conversation; the clip is kept", reset },
    { "/quit", NULL, "leaves, as Ctrl-D does; Ctrl-C stops an answer", quit },
    { "/help", NULL, "this list", help },
};

static int help(vr_chat *chat, const char *argument, bool *go_on, vr_err *e)
{
    (void)argument, (void)go_on, (void)e;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        vr_report_line(chat->report, "%-9s%-11s%s", commands[i].name, commands[i].argument ? commands[i].argument : "",
                       commands[i].help);
    return VR_OK;
}

static const command *find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == n && memcmp(commands[i].name, name, n) == 0) return &commands[i];
    return NULL;
}

static int obey(vr_chat *chat, const char *line, bool *go_on, vr_err *e)
{
    const size_t n = strcspn(line, " \t");
    const command *const c = find(line, n);
    char argument[4096];
    const char *const given = line + n + strspn(line + n, " \t");
    size_t length = strlen(given);
    while (length > 0 && strchr(" \t", given[length - 1])) length--;
    if (!c) return vr_fail(e, VR_ERR_USAGE, "unknown command %.*s; /help lists all", n < 64 ? (int)n : 64, line);
    if (length > 0 && !c->argument) return vr_fail(e, VR_ERR_USAGE, "%s takes nothing behind it", c->name);
    if (length == 0 && c->argument) return vr_fail(e, VR_ERR_USAGE, "%s needs the name of a file: %s", c->name, c->argument);
    if (length >= sizeof argument) return vr_fail(e, VR_ERR_USAGE, "%s: the name is too long", c->name);
    memcpy(argument, given, length);
    argument[length] = '\0';
    return c->obey(chat, argument, go_on, e);
}

int vr_command_obey(vr_chat *chat, const char *line, bool *go_on, vr_err *e)
{
    const int rc = obey(chat, line, go_on, e);
    vr_interrupt_clear();
    vr_report_forget(chat->report);
    vr_report_erase_bar(chat->report);
    if (rc == VR_ERR_USAGE || rc == VR_ERR_VIDEO || rc == VR_ERR_LIMIT) {
        vr_report_error(chat->report, e);
        return VR_OK;
    }
    return rc == VR_ERR_CANCEL ? VR_OK : rc;
}
