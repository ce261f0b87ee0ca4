/*
 * questions.c - see questions.h.
 *
 * Trap: a read that a signal broke leaves the stream in error; the flag is cleared, or every later read would fail.
 */
#include "cli/questions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

bool vr_question_blank(const vr_question *question)
{
    return question->text[strspn(question->text, " \t\r\n")] == '\0';
}

void vr_question_skip_line(FILE *file)
{
    int byte;
    do byte = fgetc(file);
    while (byte != EOF && byte != '\n');
}

static int append(vr_question *question, char byte, vr_err *e)
{
    if (question->n_bytes == question->capacity) {
        const size_t capacity = question->capacity ? 2 * question->capacity : 256;
        char *const text = realloc(question->text, capacity);
        if (!text) return vr_fail(e, VR_ERR_LIMIT, "no memory for a prompt of %zu bytes", capacity);
        question->text = text;
        question->capacity = capacity;
    }
    question->text[question->n_bytes++] = byte;
    return VR_OK;
}

/* Bytes up to `stop` (EOF: all); place: what messages call the stream; code: of an error of reading. */
static int read_until(vr_question *question, FILE *file, int stop, const char *place, int code, vr_err *e)
{
    int byte;
    question->n_bytes = 0;
    errno = 0;
    while ((byte = fgetc(file)) != EOF && byte != stop) {
        if (byte == 0) return vr_fail(e, VR_ERR_USAGE, "%s: a NUL byte in the prompt", place);
        if (question->n_bytes == VR_MAX_PROMPT)
            return vr_fail(e, VR_ERR_LIMIT, "%s: the prompt is longer than %d bytes", place, VR_MAX_PROMPT);
        VR_TRY(append(question, (char)byte, e));
    }
    if (ferror(file)) {
        const int cause = errno;
        clearerr(file);
        if (cause == EINTR) return vr_fail(e, VR_ERR_CANCEL, "interrupted");
        return vr_fail(e, code, "%s: %s", place, strerror(cause));
    }
    question->end = byte == EOF && question->n_bytes == 0;
    return VR_OK;
}

static int finish(vr_question *question, const char *line_end, vr_err *e)
{
    while (question->n_bytes > 0 && strchr(line_end, question->text[question->n_bytes - 1])) question->n_bytes--;
    return append(question, '\0', e);
}

int vr_question_read_line(vr_question *question, FILE *file, vr_err *e)
{
    char place[64];
    snprintf(place, sizeof place, "standard input, line %lld", (long long)++question->line);
    VR_TRY(read_until(question, file, '\n', place, VR_ERR_OTHER, e));
    return finish(question, "\r", e);
}

int vr_question_read(vr_question *question, FILE *file, vr_err *e)
{
    do VR_TRY(vr_question_read_line(question, file, e));
    while (!question->end && vr_question_blank(question));
    return VR_OK;
}

int vr_question_take(vr_question *question, const wchar_t *line, size_t n, vr_err *e)
{
    char bytes[4];
    question->n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t n_bytes = vr_utf8_encode((uint32_t)line[i], bytes);
        if (question->n_bytes + n_bytes > VR_MAX_PROMPT)
            return vr_fail(e, VR_ERR_LIMIT, "the prompt is longer than %d bytes", VR_MAX_PROMPT);
        for (size_t b = 0; b < n_bytes; b++) VR_TRY(append(question, bytes[b], e));
    }
    return finish(question, "\r", e);
}

int vr_question_read_file(vr_question *question, const char *option, const char *path, vr_err *e)
{
    char place[512];
    snprintf(place, sizeof place, "option --%s: '%.400s'", option, path);
    FILE *const file = fopen(path, "rb");
    if (!file) return vr_fail(e, VR_ERR_USAGE, "%s: %s", place, strerror(errno));
    const int rc = read_until(question, file, EOF, place, VR_ERR_USAGE, e);
    fclose(file);
    VR_TRY(rc);
    VR_TRY(finish(question, "\r\n", e));
    return vr_question_blank(question) ? vr_fail(e, VR_ERR_USAGE, "%s: the prompt is empty", place) : VR_OK;
}

void vr_question_free(vr_question *question)
{
    free(question->text);
    *question = (vr_question){ 0 };
}
