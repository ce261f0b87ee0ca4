/*
 * text.c - see text.h.
 */
#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int vr_text_append(vr_text *text, const char *data, size_t n_bytes, vr_err *e)
{
    if (n_bytes >= SIZE_MAX / 4 - text->n_bytes) return vr_fail(e, VR_ERR_LIMIT, "a text is too long");
    const size_t needed = text->n_bytes + n_bytes + 1;
    if (needed > text->capacity) {
        const size_t capacity = needed > 2 * text->capacity ? needed : 2 * text->capacity;
        char *grown = realloc(text->data, capacity);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a text of %zu bytes", needed);
        text->data = grown;
        text->capacity = capacity;
    }
    if (n_bytes) memcpy(text->data + text->n_bytes, data, n_bytes);
    text->n_bytes += n_bytes;
    text->data[text->n_bytes] = '\0';
    return VR_OK;
}

int vr_text_append_string(vr_text *text, const char *string, vr_err *e)
{
    return vr_text_append(text, string, strlen(string), e);
}

void vr_text_clear(vr_text *text)
{
    text->n_bytes = 0;
    if (text->data) text->data[0] = '\0';
}

void vr_text_free(vr_text *text)
{
    free(text->data);
    *text = (vr_text){ 0 };
}

const char *vr_text_string(const vr_text *text)
{
    return text->data ? text->data : "";
}
