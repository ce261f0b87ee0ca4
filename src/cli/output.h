/*
 * output.h - text for standard output: written at once, safe on a terminal, its first error kept.
 *
 *   pieces of the answer -> (terminal: control characters as ^X) -> write -> error? kept, the rest is dropped
 *
 * A reader that went away (EPIPE; SIGPIPE is ignored) is an error without text: the program ends quietly. The file is borrowed; a
 * signal cuts no write.
 */
#ifndef VR_OUTPUT_H
#define VR_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

typedef struct vr_output {
    int file; /* descriptor */
    bool terminal;
    bool line_open; /* the last byte written was no newline */
    int error;      /* errno of the first failure */
} vr_output;

void vr_output_open(vr_output *out, int file);
/* False once anything failed. */
bool vr_output_write(vr_output *out, const char *text, size_t n_bytes);
bool vr_output_end_line(vr_output *out, bool even_if_empty); /* a newline where the line is open */
/* VR_ERR_OTHER if anything failed; noun: what could not be written, "the answer". */
int vr_output_result(const vr_output *out, const char *noun, vr_err *e);

/* Write text so that no terminal acts on it: control characters but those in keep become ^X, U+0080..U+009F <U+009B>. */
void vr_output_visible(FILE *file, const char *text, size_t n_bytes, const char *keep);

#endif
