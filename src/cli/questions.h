/*
 * questions.h - prompts from outside: lines of standard input, or a whole file.
 *
 *   stream -> bytes up to a newline (or the end) -> no NUL, at most VR_MAX_PROMPT bytes -> prompt
 *
 * A line ends in LF or CRLF; the last one needs no newline. The text is owned by the struct; zero-initialise, free at the end.
 */
#ifndef VR_QUESTIONS_H
#define VR_QUESTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <wchar.h>

#include "base/err.h"

typedef struct vr_question {
    char *text; /* NUL-terminated after a successful read */
    size_t n_bytes, capacity;
    int64_t line; /* its number, from 1 */
    bool end;     /* nothing was left to read; text is not set */
} vr_question;

bool vr_question_blank(const vr_question *question);
void vr_question_skip_line(FILE *file); /* what is left of a line that was refused */

/* Next line. VR_ERR_CANCEL when a signal broke in; VR_ERR_USAGE for a NUL byte, VR_ERR_LIMIT for a line too long
 * (the rest of the line is then unread), VR_ERR_OTHER when it cannot be read. */
int vr_question_read_line(vr_question *question, FILE *file, vr_err *e);
/* The next line that is not blank. */
int vr_question_read(vr_question *question, FILE *file, vr_err *e);
/* A line of n characters that was read elsewhere. */
int vr_question_take(vr_question *question, const wchar_t *line, size_t n, vr_err *e);
/* The whole file, less the newlines at its end. */
int vr_question_read_file(vr_question *question, const char *option, const char *path, vr_err *e);
void vr_question_free(vr_question *question);

#endif
