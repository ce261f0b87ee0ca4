/*
 * told.c - see told.h.
 *
 * Trap: a model may answer a summary with nothing; its group then keeps its first line.
 */
#include "describe/told.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "describe/chat_text.h"

enum {
    LEAST_ROOM = 128, /* tokens for lines */
    PARTS = 4,        /* a line has at most this part of the room: three of them fit with their heads */
    TIMES = 16        /* tokens of the times before a line, at most, in a vocabulary that spells digits */
};

static const char task[] = "You are a chatbot that conducts conversations based on video descriptions. You mainly answer based on "
                           "the given description. But you don't create a video plot out of nothing.";
static const char captions_head[] = "\nThe second description of the video is:\n";
static const char speech_head[] = "\nThe subtitile of the video is:\n";

/* A note, borrowed, and whose list it is of. */
typedef struct line {
    const vr_note *note;
    bool spoken;
} line;

static int list_write(const line *lines, int n, bool spoken, vr_text *out, vr_err *e)
{
    bool begun = false;
    for (int i = 0; i < n; i++) {
        if (lines[i].spoken != spoken) continue;
        if (!begun) VR_TRY(vr_text_append_string(out, spoken ? speech_head : captions_head, e));
        begun = true;
        VR_TRY(vr_chat_text_time(lines[i].note, out, e));
    }
    return VR_OK;
}

/* What is told of lines. The question follows on a line of its own: the last line end is left out. */
static int write(const line *lines, int n, vr_text *out, vr_err *e)
{
    VR_TRY(vr_text_append_string(out, task, e));
    VR_TRY(list_write(lines, n, false, out, e));
    VR_TRY(list_write(lines, n, true, out, e));
    if (n > 0) out->data[--out->n_bytes] = '\0';
    return VR_OK;
}

static int measure(const line *lines, int n, const vr_told_room *room, int *n_tokens, vr_err *e)
{
    vr_text text = { 0 };
    int rc = write(lines, n, &text, e);
    if (rc == VR_OK) rc = room->count(room->cookie, vr_text_string(&text), text.n_bytes, n_tokens, e);
    vr_text_free(&text);
    return rc;
}

/* Captions and speech in order of their beginning, captions first where both begin; lines has room for all. */
static int lines_order(const vr_description *d, line *lines)
{
    int n = 0, caption = 0, word = 0;
    while (caption < d->captions.count || word < d->speech.count) {
        const bool spoken = caption == d->captions.count ||
                            (word < d->speech.count && d->speech.items[word].start < d->captions.items[caption].start);
        lines[n++] = (line){ spoken ? &d->speech.items[word++] : &d->captions.items[caption++], spoken };
    }
    return n;
}

/* Cuts a note to the longest beginning, found by halves, of at most so many tokens. */
static int note_cut(vr_note *note, int most, const vr_told_room *room, vr_err *e)
{
    size_t good = 0, bad = strlen(note->text) + 1;
    int n;
    VR_TRY(room->count(room->cookie, note->text, bad - 1, &n, e));
    if (n <= most) return VR_OK;
    while (bad - good > 1) {
        const size_t half = good + (bad - good) / 2;
        VR_TRY(room->count(room->cookie, note->text, half, &n, e));
        if (n <= most)
            good = half;
        else
            bad = half;
    }
    while (good > 0 && ((unsigned char)note->text[good] & 0xC0) == 0x80) good--; /* not within a character */
    note->text[good] = '\0';
    return VR_OK;
}

static int notes_cut(vr_notes *notes, int most, const vr_told_room *room, vr_err *e)
{
    for (int i = 0; i < notes->count; i++) VR_TRY(note_cut(&notes->items[i], most, room, e));
    return VR_OK;
}

/* Lines that fit together, as one note of out; *n_taken of them. */
static int group_summarise(const line *lines, int n, int most, const vr_told_room *room, vr_notes *out, int *n_taken, vr_err *e)
{
    int taken = 1;
    for (int n_tokens = 0; taken < n; taken++) {
        VR_TRY(measure(lines, taken + 1, room, &n_tokens, e));
        if (n_tokens > room->n_tokens) break;
    }
    const double start = lines[0].note->start;
    double end = lines[0].note->end;
    for (int i = 1; i < taken; i++)
        if (lines[i].note->end > end) end = lines[i].note->end;
    vr_text text = { 0 }, said = { 0 };
    int rc = VR_OK;
    if (taken > 1) rc = write(lines, taken, &text, e);
    if (rc == VR_OK && taken > 1) rc = room->summarise(room->cookie, vr_text_string(&text), start, end, most, &said, e);
    const char *const kept = said.n_bytes ? vr_text_string(&said) : lines[0].note->text;
    if (rc == VR_OK) rc = vr_notes_add(out, start, end, kept, strlen(kept), e);
    vr_text_free(&text);
    vr_text_free(&said);
    *n_taken = taken;
    return rc;
}

/* The description with fewer lines, all of them captions. */
static int round_make(vr_description *d, const line *lines, int n, int most, const vr_told_room *room, vr_err *e)
{
    vr_notes fewer = { 0 };
    int rc = VR_OK;
    for (int first = 0, taken = 0; rc == VR_OK && first < n; first += taken)
        rc = group_summarise(lines + first, n - first, most, room, &fewer, &taken, e);
    if (rc == VR_OK) rc = notes_cut(&fewer, most, room, e);
    if (rc == VR_OK && fewer.count >= n) rc = vr_fail(e, VR_ERR_LIMIT, "the description cannot be made shorter");
    if (rc != VR_OK) {
        vr_notes_free(&fewer);
        return rc;
    }
    vr_notes_free(&d->captions);
    vr_notes_free(&d->speech);
    d->captions = fewer;
    vr_notes_merge(&d->captions);
    return VR_OK;
}

static int told_fit(vr_description *d, int most, const vr_told_room *room, line *lines, vr_text *out, int *n_rounds, vr_err *e)
{
    for (;; ++*n_rounds) {
        int n_tokens;
        const int n = lines_order(d, lines);
        VR_TRY(measure(lines, n, room, &n_tokens, e));
        if (n_tokens <= room->n_tokens) return write(lines, n, out, e);
        VR_TRY(round_make(d, lines, n, most, room, e));
    }
}

int vr_told_make(vr_description *d, const vr_told_room *room, vr_text *out, int *n_rounds, vr_err *e)
{
    int head;
    vr_text bare = { 0 };
    *n_rounds = 0;
    int rc = vr_text_append_string(&bare, task, e);
    if (rc == VR_OK) rc = vr_text_append_string(&bare, captions_head, e);
    if (rc == VR_OK) rc = vr_text_append_string(&bare, speech_head, e);
    if (rc == VR_OK) rc = room->count(room->cookie, vr_text_string(&bare), bare.n_bytes, &head, e);
    vr_text_free(&bare);
    VR_TRY(rc);
    if (room->n_tokens - head < LEAST_ROOM)
        return vr_fail(e, VR_ERR_LIMIT, "the context leaves %d tokens for a description, %d are needed", room->n_tokens,
                       head + LEAST_ROOM);
    const int most = (room->n_tokens - head) / PARTS - TIMES;
    vr_notes_merge(&d->captions);
    vr_notes_merge(&d->speech);
    VR_TRY(notes_cut(&d->captions, most, room, e));
    VR_TRY(notes_cut(&d->speech, most, room, e));
    const size_t n_lines = (size_t)d->captions.count + (size_t)d->speech.count;
    line *const lines = calloc(n_lines ? n_lines : 1, sizeof *lines);
    if (!lines) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a description");
    rc = told_fit(d, most, room, lines, out, n_rounds, e);
    free(lines);
    return rc;
}
