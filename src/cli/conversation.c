/*
 * conversation.c - see conversation.h.
 *
 * Trap: a turn of another conversation is text like what is typed: it is bounded, and a NUL in it is refused by json_read.c.
 */
#include "cli/conversation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/json.h"
#include "cli/json_read.h"

enum { FORMAT = 1, MOST_TURNS = 10000, MOST_BYTES = 64 << 20 };

static const char kind[] = "conversation";

static void write_turns(FILE *file, const vr_session *session, const vr_recipe *recipe, const char *clip)
{
    vr_json j = { file, false };
    vr_json_open(&j, NULL, '{');
    vr_json_text(&j, "vidrun", kind);
    vr_json_int(&j, "format", FORMAT);
    vr_json_text(&j, "version", VIDRUN_VERSION);
    vr_json_text(&j, "system", recipe->system);
    vr_json_text(&j, "weights", recipe->name);
    vr_json_text(&j, "clip", clip);
    vr_json_open(&j, "turns", '[');
    for (int i = 0; i < vr_session_turn_count(session); i++) {
        const char *question, *answer;
        vr_session_turn(session, i, &question, &answer);
        vr_json_open(&j, NULL, '{');
        vr_json_text(&j, "question", question);
        vr_json_text(&j, "answer", answer);
        vr_json_close(&j, '}');
    }
    vr_json_close(&j, ']');
    vr_json_close(&j, '}');
    fputc('\n', file);
}

int vr_conversation_save(const char *path, const vr_session *session, const vr_recipe *recipe, const char *clip, vr_err *e)
{
    char part[4096];
    const size_t n = strlen(path);
    if (n < 6 || strcmp(path + n - 5, ".json") != 0)
        return vr_fail(e, VR_ERR_USAGE, "%.400s: a conversation is saved to a file whose name ends in .json", path);
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return vr_fail(e, VR_ERR_USAGE, "%.400s...: the name is too long", path);
    FILE *const file = fopen(part, "wb");
    if (!file) return vr_fail(e, VR_ERR_USAGE, "%.400s: %s", part, strerror(errno));
    errno = 0;
    write_turns(file, session, recipe, clip);
    const bool whole = fflush(file) == 0 && !ferror(file);
    int cause = whole ? 0 : errno;
    if (fclose(file) != 0 && !cause) cause = errno;
    if (!cause && rename(part, path) == 0) return VR_OK;
    if (!cause) cause = errno;
    remove(part);
    return vr_fail(e, VR_ERR_USAGE, "%.400s: %s", path, strerror(cause));
}

/* The whole file, or VR_ERR_USAGE. */
static int read_whole(const char *path, vr_text *out, vr_err *e)
{
    char buffer[16384];
    size_t n;
    FILE *const file = fopen(path, "rb");
    if (!file) return vr_fail(e, VR_ERR_USAGE, "%.400s: %s", path, strerror(errno));
    int rc = VR_OK;
    errno = 0;
    while (rc == VR_OK && (n = fread(buffer, 1, sizeof buffer, file)) > 0) {
        if (out->n_bytes + n > MOST_BYTES) rc = vr_fail(e, VR_ERR_USAGE, "%.400s: too large for a conversation", path);
        if (rc == VR_OK) rc = vr_text_append(out, buffer, n, e);
    }
    if (rc == VR_OK && ferror(file)) rc = vr_fail(e, VR_ERR_USAGE, "%.400s: %s", path, strerror(errno));
    fclose(file);
    return rc;
}

typedef struct turns {
    vr_text *texts; /* question, answer, question, ... */
    int count;      /* of turns */
} turns;

static void turns_free(turns *t)
{
    for (int i = 0; i < 2 * t->count; i++) vr_text_free(&t->texts[i]);
    free(t->texts);
}

static bool take_turn(vr_json_in *j, vr_text *key, turns *t)
{
    vr_text *const grown = t->count < MOST_TURNS ? realloc(t->texts, 2 * ((size_t)t->count + 1) * sizeof *grown) : NULL;
    if (!grown) return false;
    t->texts = grown;
    vr_text *const turn = &t->texts[2 * t->count++];
    turn[0] = turn[1] = (vr_text){ 0 };
    bool asked = false, answered = false;
    vr_json_enter(j, '{');
    while (vr_json_next(j, '}')) {
        if (!vr_json_key(j, key)) return false;
        if (strcmp(vr_text_string(key), "question") == 0)
            asked = vr_json_take_text(j, &turn[0]);
        else if (strcmp(vr_text_string(key), "answer") == 0)
            answered = vr_json_take_text(j, &turn[1]);
        else
            vr_json_skip(j);
    }
    return !j->wrong && asked && answered && turn[0].n_bytes <= VR_MAX_PROMPT && turn[1].n_bytes <= VR_MAX_PROMPT;
}

/* false: the file is not ours */
static bool take_file(vr_json_in *j, vr_text *clip, turns *t)
{
    vr_text key = { 0 }, word = { 0 };
    int64_t format = 0;
    bool ours = false, good = true, turned = false;
    vr_json_enter(j, '{');
    while (good && vr_json_next(j, '}')) {
        if (!vr_json_key(j, &key)) break;
        const char *const name = vr_text_string(&key);
        if (strcmp(name, "vidrun") == 0) {
            ours = vr_json_take_text(j, &word) && strcmp(vr_text_string(&word), kind) == 0;
        } else if (strcmp(name, "format") == 0) {
            vr_json_take_int(j, &format);
        } else if (strcmp(name, "clip") == 0) {
            vr_json_take_text(j, clip);
        } else if (strcmp(name, "turns") == 0) {
            good = !turned; /* once */
            turned = true;
            vr_json_enter(j, '[');
            while (good && vr_json_next(j, ']')) good = take_turn(j, &key, t);
        } else {
            vr_json_skip(j);
        }
    }
    vr_text_free(&key);
    vr_text_free(&word);
    return good && ours && turned && format == FORMAT && vr_json_end(j);
}

int vr_conversation_load(const char *path, vr_session *session, vr_text *clip, vr_err *e)
{
    vr_text whole = { 0 };
    vr_json_in j;
    turns t = { 0 };
    int rc = read_whole(path, &whole, e);
    vr_json_begin(&j, vr_text_string(&whole), whole.n_bytes);
    if (rc == VR_OK && !take_file(&j, clip, &t))
        rc = vr_fail(e, VR_ERR_USAGE, "%.400s: not a conversation that vidrun has saved", path);
    if (rc == VR_OK) vr_session_reset(session);
    for (int i = 0; rc == VR_OK && i < t.count; i++)
        rc = vr_session_turn_add(session, vr_text_string(&t.texts[2 * i]), vr_text_string(&t.texts[2 * i + 1]), e);
    turns_free(&t);
    vr_text_free(&whole);
    return rc;
}
