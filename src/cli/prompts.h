/*
 * prompts.h - prompts from outside: lines of standard input, or a whole file.
 *
 *   stream -> bytes up to a newline (or the end) -> no NUL, at most VR_MAX_PROMPT bytes -> prompt
 *
 * A line ends in LF or CRLF; the last one needs no newline. The text is owned by the struct; zero-initialise, free at the end.
 */
#ifndef VR_PROMPTS_H
#define VR_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

typedef struct vr_prompt {
    char *text; /* NUL-terminated after a successful read */
    size_t n_bytes, capacity;
    int64_t line; /* its number, from 1 */
    bool end;     /* nothing was left to read; text is not set */
} vr_prompt;

bool vr_prompt_blank(const vr_prompt *prompt);
void vr_prompt_skip_line(FILE *file); /* what is left of a line that was refused */

/* Next line. VR_ERR_CANCEL when a signal broke in; VR_ERR_USAGE for a NUL byte, VR_ERR_LIMIT for a line too long
 * (the rest of the line is then unread), VR_ERR_OTHER when it cannot be read. */
int vr_prompt_read_line(vr_prompt *prompt, FILE *file, vr_err *e);
/* The next line that is not blank. */
int vr_prompt_read_question(vr_prompt *prompt, FILE *file, vr_err *e);
/* The whole file, less the newlines at its end. */
int vr_prompt_read_file(vr_prompt *prompt, const char *path, vr_err *e);
void vr_prompt_free(vr_prompt *prompt);

#endif
