/*
 * chat_text.c - see chat_text.h.
 */
#include "describe/chat_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define INDENT "                "

enum { DENSE_STEP = 5, HISTORY_WORDS = 500 };

#define ROLE(what, given)                                                                                                      \
    "You are a chatbot that conducts conversations based on video " what ". You mainly answer based on the given " given       \
    ", and you can also modify the content according to the tag information, and you can also answer the relevant knowledge "  \
    "of the person or object contained in the video. "
#define DENSE "Dense caption is to give content every five seconds, you can disambiguate them in timing. "
#define HONEST "But you don't create a video plot out of nothing."

const char vr_chat_text_task[] =
    ROLE("descriptions", "description") "The second description is a description for one second, so that you can convert it "
                                        "into time. When describing, please mainly refer to the sceond description. " DENSE HONEST;
const char vr_chat_text_task_long[] =
    ROLE("contexts", "contexts") "The timing description is a description every one second, so that you can convert it into "
                                 "time. When describing, please mainly refer to the timing description. " DENSE HONEST;

static int say(vr_text *out, const char *text, vr_err *e)
{
    return vr_text_append_string(out, text, e);
}

static int say_all(vr_text *out, vr_err *e, const char *const *texts)
{
    for (; *texts; texts++) VR_TRY(say(out, *texts, e));
    return VR_OK;
}
#define SAY(out, e, ...) VR_TRY(say_all(out, e, (const char *const[]){ __VA_ARGS__, NULL }))

static bool seen_before(const vr_notes *notes, int i)
{
    for (int j = 0; j < i; j++)
        if (strcmp(notes->items[j].text, notes->items[i].text) == 0) return true;
    return false;
}

int vr_chat_text_tags(const vr_notes *tags, vr_text *out, vr_err *e)
{
    for (int i = 0; i < tags->count; i++)
        if (!seen_before(tags, i)) SAY(out, e, i ? " | " : "", tags->items[i].text);
    return VR_OK;
}

int vr_chat_text_seconds(const vr_notes *captions, vr_text *out, vr_err *e)
{
    for (int i = 0; i < captions->count; i++) {
        char second[32];
        snprintf(second, sizeof second, "%sSecond %d:", i ? " " : "", i + 1);
        SAY(out, e, second, captions->items[i].text, ".\n");
    }
    return VR_OK;
}

int vr_chat_text_dense(const vr_notes *dense, vr_text *out, vr_err *e)
{
    for (int i = 0; i < dense->count; i++) {
        char second[32];
        snprintf(second, sizeof second, "%sSecond %d : ", i ? " " : "", DENSE_STEP * i + 1);
        SAY(out, e, second, dense->items[i].text, ".\n");
    }
    return VR_OK;
}

int vr_chat_text_time(const vr_note *note, vr_text *out, vr_err *e)
{
    char times[64];
    snprintf(times, sizeof times, "%lld-%lldsecond: ", (long long)note->start, (long long)note->end);
    SAY(out, e, times, note->text, "\n");
    return VR_OK;
}

int vr_chat_text_times(const vr_notes *notes, vr_text *out, vr_err *e)
{
    for (int i = 0; i < notes->count; i++) VR_TRY(vr_chat_text_time(&notes->items[i], out, e));
    return VR_OK;
}

/* The question without blanks at its ends, as Python's strip does for ASCII. */
static int say_stripped(vr_text *out, const char *text, vr_err *e)
{
    static const char blank[] = " \t\n\v\f\r";
    text += strspn(text, blank);
    size_t n = strlen(text);
    while (n > 0 && strchr(blank, text[n - 1])) n--;
    return vr_text_append(out, text, n, e);
}

int vr_chat_text_prompt(const vr_description *d, const char *history, const char *question, vr_text *out, vr_err *e)
{
    SAY(out, e, "ChatVideo is a chatbot that chats with you based on video descriptions.\n\n\n\n\n",
        "        When you have a response to say to the Human,  you MUST use the format:\n        ```\n",
        "        AI: [your response here]\n        ```\n        \n\n", vr_chat_text_task, "\n\n" INDENT "Begin!\n\n" INDENT,
        "Video tags are: ");
    VR_TRY(vr_chat_text_tags(&d->tags, out, e));
    SAY(out, e, "\n\n" INDENT "The second description of the video is: ");
    VR_TRY(vr_chat_text_seconds(&d->captions, out, e));
    SAY(out, e, "\n\n" INDENT "The dense caption of the video is: ");
    VR_TRY(vr_chat_text_dense(&d->dense, out, e));
    SAY(out, e, "\n\n" INDENT "The general description of the video is: ", vr_text_string(&d->summary),
        "Previous conversation history ", history, "\n\n" INDENT "New input: ");
    VR_TRY(say_stripped(out, question, e));
    return say(out, "\n\n" INDENT "\n" INDENT, e);
}

int vr_chat_text_answer(const char *output, vr_text *out, vr_err *e)
{
    const char *last = NULL;
    for (const char *at = output; (at = strstr(at, "AI:")) != NULL; at += 3) last = at + 3;
    return last ? say_stripped(out, last, e) : VR_OK;
}

static int count_words(const char *text)
{
    int n = 0;
    for (; *text; n++) {
        text += strspn(text, " \t\n\v\f\r");
        if (!*text) break;
        text += strcspn(text, " \t\n\v\f\r");
    }
    return n;
}

int vr_chat_text_trim(vr_text *history, vr_err *e)
{
    const char *at = vr_text_string(history);
    int n = count_words(at);
    if (n < HISTORY_WORDS) return VR_OK;
    while (n >= HISTORY_WORDS && *at) {
        const size_t length = strcspn(at, "\n");
        n--; /* a line has a part more than blanks */
        for (size_t i = 0; i < length; i++) n -= at[i] == ' ';
        at += length + (at[length] == '\n');
    }
    vr_text kept = { 0 };
    const char *const texts[] = { "\n", at, NULL };
    const int rc = say_all(&kept, e, texts);
    vr_text_free(history);
    *history = kept;
    return rc;
}

int vr_chat_text_remember(vr_text *history, const char *question, const char *answer, vr_err *e)
{
    SAY(history, e, "\nHuman: ");
    VR_TRY(say_stripped(history, question, e));
    SAY(history, e, "\nAI: ", answer);
    return VR_OK;
}

int vr_chat_text_document(const vr_description *d, vr_text *out, vr_err *e)
{
    SAY(out, e, "Video tags are: ");
    VR_TRY(vr_chat_text_tags(&d->tags, out, e));
    SAY(out, e, "\n\n" INDENT "The second description of the video is: ");
    VR_TRY(vr_chat_text_seconds(&d->captions, out, e));
    SAY(out, e, "\n\n" INDENT "The general description of the video is: ", vr_text_string(&d->summary),
        "\n" INDENT "\n" INDENT "The subtitile of the video is: ");
    VR_TRY(vr_chat_text_times(&d->speech, out, e));
    return say(out, "Previous conversation history {chat_history}", e);
}

int vr_chat_text_question(const char *context, const char *question, vr_text *out, vr_err *e)
{
    SAY(out, e, vr_chat_text_task_long, "\n" INDENT "Begin!\n\n" INDENT "Video contexts in temporal order:", context,
        "\n\n" INDENT "Question:", question, "\n" INDENT);
    return VR_OK;
}
