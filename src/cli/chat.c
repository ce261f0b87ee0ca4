/*
 * chat.c - see chat.h.
 *
 * Trap: a Ctrl-C that was obeyed must be cleared, or the next question would stop at once.
 */
#include "cli/chat.h"

#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/line_edit.h"
#include "cli/record.h"
#include "cli/sheet.h"

static bool on_text(void *cookie, const char *text, size_t n_bytes)
{
    vr_chat *const chat = cookie;
    if (!chat->json) {
        vr_report_erase_bar(chat->report);
        if (!vr_output_write(chat->output, text, n_bytes)) return false;
    }
    return !vr_interrupted();
}

static int write_json(vr_chat *chat, const char *question, const vr_answer *answer, vr_err *e)
{
    vr_plan plan;
    vr_facts facts;
    vr_session_plan(chat->session, &plan);
    vr_session_facts(chat->session, &facts);
    const vr_record record = { .number = chat->n_turns,
                               .question = question,
                               .answer = answer,
                               .recipe = chat->recipe,
                               .plan = &plan,
                               .facts = &facts,
                               .sampling = &chat->sampling,
                               .timings = chat->report->timings,
                               .n_timings = chat->report->n_timings };
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *const memory = open_memstream(&text, &n_bytes);
    if (!memory) return vr_fail(e, VR_ERR_OTHER, "no memory for the JSON of an answer");
    vr_record_turn_json(memory, &record);
    const bool whole = !ferror(memory);
    if (fclose(memory) != 0 || !whole) {
        free(text);
        return vr_fail(e, VR_ERR_OTHER, "no memory for the JSON of an answer");
    }
    vr_report_erase_bar(chat->report);
    vr_output_write(chat->output, text, n_bytes);
    free(text);
    return VR_OK;
}

static void tell_facts(const vr_chat *chat)
{
    vr_facts facts;
    char text[192];
    vr_session_facts(chat->session, &facts);
    if (*vr_record_facts_line(&facts, text, sizeof text)) vr_report_line(chat->report, "%s", text);
}

int vr_chat_ask(vr_chat *chat, const char *question, vr_err *e)
{
    const vr_ask_options options = {
        .sampling = chat->sampling, .n_predict = chat->n_predict, .text = on_text, .cookie = chat
    };
    vr_answer answer = { 0 };
    chat->n_turns++;
    int rc = vr_session_ask(chat->session, question, &options, &answer, e);
    if (rc == VR_OK && chat->json)
        rc = write_json(chat, question, &answer, e);
    else if (!chat->json)
        vr_output_end_line(chat->output, rc == VR_OK);
    if (rc == VR_OK) tell_facts(chat);
    vr_report_timings(chat->report);
    vr_report_forget(chat->report);
    vr_report_erase_bar(chat->report);
    VR_TRY(vr_output_result(chat->output, "the answer", e));
    VR_TRY(rc);
    if (answer.stop == VR_STOP_LENGTH)
        vr_report_line(chat->report, "the answer was cut after %d tokens (--predict)", chat->n_predict);
    if (chat->picture && !vr_interrupted()) VR_TRY(vr_sheet_write(chat->picture, chat->session, question, answer.text, e));
    return vr_interrupted() ? vr_fail(e, VR_ERR_CANCEL, "interrupted") : VR_OK;
}

int vr_chat_lines(vr_chat *chat, vr_question *question, FILE *file, vr_err *e)
{
    while (!question->end) {
        VR_TRY(vr_chat_ask(chat, question->text, e));
        VR_TRY(vr_question_read(question, file, e));
    }
    return VR_OK;
}

/* Ask; what the conversation survives is told, the rest returned. */
static int ask_and_go_on(vr_chat *chat, const char *question, vr_err *e)
{
    const int rc = vr_chat_ask(chat, question, e);
    vr_interrupt_clear();
    if (rc == VR_ERR_LIMIT) vr_report_error(chat->report, e);
    return rc == VR_ERR_LIMIT || rc == VR_ERR_CANCEL ? VR_OK : rc;
}

/* The next line, with what the terminal offers to edit it. */
static int read_line(vr_chat *chat, vr_line_edit *edit, vr_question *question, FILE *file, vr_err *e)
{
    if (edit) return vr_line_edit_read(edit, question, e);
    vr_report_prompt(chat->report);
    return vr_interrupt_wait(fileno(file)) ? vr_question_read_line(question, file, e) : VR_ERR_CANCEL;
}

/* Lines until the end; *question is the last one read. */
static int talk(vr_chat *chat, vr_line_edit *edit, vr_question *question, FILE *file, vr_err *e)
{
    bool warned = false; /* Ctrl-C was the last thing at the prompt */
    for (bool go_on = true; go_on;) {
        const int rc = read_line(chat, edit, question, file, e);
        if (rc == VR_ERR_CANCEL) {
            vr_interrupt_clear();
            vr_report_line(chat->report, "%s", warned ? "" : "\tCtrl-C again or Ctrl-D leaves");
            if (warned) return VR_OK;
            warned = true;
            continue;
        }
        warned = false;
        if (rc == VR_ERR_USAGE || rc == VR_ERR_LIMIT) {
            vr_report_error(chat->report, e);
            if (!edit) vr_question_skip_line(file);
            continue;
        }
        VR_TRY(rc);
        if (question->end) {
            vr_report_line(chat->report, "%s", "");
            return VR_OK;
        }
        if (vr_question_blank(question)) continue;
        if (question->text[0] == '/')
            VR_TRY(vr_command_obey(chat, question->text, &go_on, e));
        else
            VR_TRY(ask_and_go_on(chat, question->text, e));
    }
    return VR_OK;
}

int vr_chat_terminal(vr_chat *chat, vr_question *question, FILE *file, vr_err *e)
{
    vr_line_edit *const edit = chat->report->quiet ? NULL : vr_line_edit_open(file, stderr);
    vr_report_line(chat->report, "ask%s; /help lists commands", chat->recipe->reads_text ? "" : " about the clip");
    const int rc = talk(chat, edit, question, file, e);
    vr_line_edit_close(edit);
    return rc;
}
