/*
 * prompts.c - see prompts.h.
 *
 * Trap: a read that a signal broke leaves the stream in error; the flag is cleared, or every later read would fail.
 */
#include "cli/prompts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

bool vr_prompt_blank(const vr_prompt *prompt)
{
    return prompt->text[strspn(prompt->text, " \t\r\n")] == '\0';
}

void vr_prompt_skip_line(FILE *file)
{
    int byte;
    do byte = fgetc(file);
    while (byte != EOF && byte != '\n');
}

static int append(vr_prompt *prompt, char byte, vr_err *e)
{
    if (prompt->n_bytes == prompt->capacity) {
        const size_t capacity = prompt->capacity ? 2 * prompt->capacity : 256;
        char *const text = realloc(prompt->text, capacity);
        if (!text) return vr_fail(e, VR_ERR_LIMIT, "no memory for a prompt of %zu bytes", capacity);
        prompt->text = text;
        prompt->capacity = capacity;
    }
    prompt->text[prompt->n_bytes++] = byte;
    return VR_OK;
}

/* Bytes up to `stop` (EOF: all); place: what messages call the stream; code: of an error of reading. */
static int read_until(vr_prompt *prompt, FILE *file, int stop, const char *place, int code, vr_err *e)
{
    int byte;
    prompt->n_bytes = 0;
    errno = 0;
    while ((byte = fgetc(file)) != EOF && byte != stop) {
        if (byte == 0) return vr_fail(e, VR_ERR_USAGE, "%s: a NUL byte in the prompt", place);
        if (prompt->n_bytes == VR_MAX_PROMPT)
            return vr_fail(e, VR_ERR_LIMIT, "%s: the prompt is longer than %d bytes", place, VR_MAX_PROMPT);
        VR_TRY(append(prompt, (char)byte, e));
    }
    if (ferror(file)) {
        const int cause = errno;
        clearerr(file);
        if (cause == EINTR) return vr_fail(e, VR_ERR_CANCEL, "interrupted");
        return vr_fail(e, code, "%s: %s", place, strerror(cause));
    }
    prompt->end = byte == EOF && prompt->n_bytes == 0;
    return VR_OK;
}

static int finish(vr_prompt *prompt, const char *line_end, vr_err *e)
{
    while (prompt->n_bytes > 0 && strchr(line_end, prompt->text[prompt->n_bytes - 1])) prompt->n_bytes--;
    return append(prompt, '\0', e);
}

int vr_prompt_read_line(vr_prompt *prompt, FILE *file, vr_err *e)
{
    char place[64];
    snprintf(place, sizeof place, "standard input, line %lld", (long long)++prompt->line);
    VR_TRY(read_until(prompt, file, '\n', place, VR_ERR_OTHER, e));
    return finish(prompt, "\r", e);
}

int vr_prompt_read_question(vr_prompt *prompt, FILE *file, vr_err *e)
{
    do VR_TRY(vr_prompt_read_line(prompt, file, e));
    while (!prompt->end && vr_prompt_blank(prompt));
    return VR_OK;
}

int vr_prompt_read_file(vr_prompt *prompt, const char *path, vr_err *e)
{
    char place[512];
    snprintf(place, sizeof place, "option --prompt-file: '%.400s'", path);
    FILE *const file = fopen(path, "rb");
    if (!file) return vr_fail(e, VR_ERR_USAGE, "%s: %s", place, strerror(errno));
    const int rc = read_until(prompt, file, EOF, place, VR_ERR_USAGE, e);
    fclose(file);
    VR_TRY(rc);
    VR_TRY(finish(prompt, "\r\n", e));
    return vr_prompt_blank(prompt) ? vr_fail(e, VR_ERR_USAGE, "%s: the prompt is empty", place) : VR_OK;
}

void vr_prompt_free(vr_prompt *prompt)
{
    free(prompt->text);
    *prompt = (vr_prompt){ 0 };
}
