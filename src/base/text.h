/*
 * text.h - a growing byte string that is always NUL-terminated.
 */
#ifndef VR_TEXT_H
#define VR_TEXT_H

#include <stddef.h>

#include "base/err.h"

/* Zero-initialise; free with vr_text_free. data is NULL until something was appended. */
typedef struct vr_text {
    char *data;
    size_t n_bytes, capacity;
} vr_text;

int vr_text_append(vr_text *text, const char *data, size_t n_bytes, vr_err *e); /* VR_ERR_LIMIT without memory */
int vr_text_append_string(vr_text *text, const char *string, vr_err *e);
void vr_text_clear(vr_text *text); /* keeps the memory */
void vr_text_free(vr_text *text);
const char *vr_text_string(const vr_text *text); /* "" when empty; borrowed */

#endif
