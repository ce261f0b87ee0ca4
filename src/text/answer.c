/*
 * answer.c - see answer.h.
 */
#include "text/answer.h"

#include <string.h>

#include "text/blank.h"

static bool is_mark(char c)
{
    return c == '.' || c == '?' || c == '!' || c == ',';
}

static void strip(const char **data, size_t *n_bytes)
{
    for (size_t n; (n = vr_blank_bytes(*data, *n_bytes, false)) > 0;) {
        *data += n;
        *n_bytes -= n;
    }
    for (size_t n; (n = vr_blank_bytes(*data, *n_bytes, true)) > 0;) *n_bytes -= n;
}

/* offset of the first (or last) marker in data; n_bytes: none, as for an empty marker */
static size_t find(const char *data, size_t n_bytes, const char *marker, bool from_end)
{
    const size_t n = strlen(marker);
    if (n > n_bytes || n == 0) return n_bytes;
    for (size_t i = 0; i <= n_bytes - n; i++) {
        const size_t at = from_end ? n_bytes - n - i : i;
        if (memcmp(data + at, marker, n) == 0) return at;
    }
    return n_bytes;
}

/* bytes at the end of data that are a beginning of the marker */
static size_t partial_bytes(const char *data, size_t n_bytes, const char *marker)
{
    const size_t length = strlen(marker);
    size_t n = length == 0 ? 0 : length - 1 < n_bytes ? length - 1 : n_bytes;
    while (n > 0 && memcmp(data + n_bytes - n, marker, n) != 0) n--;
    return n;
}

/* What becomes of the blank that data [n_bytes] begins with: *n_read bytes of it are replaced by the returned text. */
static const char *cleaned_blank(const char *data, size_t n_bytes, size_t *n_read)
{
    char next[3] = { 0 }; /* what is behind it */
    if (n_bytes > 1) memcpy(next, data + 1, n_bytes - 1 < 3 ? n_bytes - 1 : 3);
    *n_read = 1;
    if (is_mark(next[0])) return "";
    if (memcmp(next, "n't", 3) == 0 || memcmp(next, "'ve", 3) == 0 || memcmp(next, "'re", 3) == 0) return "";
    if (next[0] == '\'' && (next[1] == 'm' || next[1] == 's')) return "";
    if (next[0] != '\'' || next[1] != ' ' || is_mark(next[2])) return " ";
    *n_read = 3;
    return "'";
}

/* Clean what was added to raw. A blank near the end waits until three bytes behind it are known, or nothing more will come. */
static void clean(vr_answer_text *answer, bool last)
{
    char *raw = answer->raw.data;
    const size_t n = answer->raw.n_bytes;
    size_t at = answer->n_clean, out = at, n_read;
    while (at < n) {
        if (raw[at] != ' ') {
            raw[out++] = raw[at++];
            continue;
        }
        if (!last && n - at <= 3) break;
        const char *text = cleaned_blank(raw + at, n - at, &n_read);
        if (text[0]) raw[out++] = text[0];
        at += n_read;
    }
    answer->n_clean = out;
    while (at < n) raw[out++] = raw[at++];
    answer->raw.n_bytes = out;
    if (raw) raw[out] = '\0';
}

void vr_answer_begin(vr_answer_text *answer, const char *cut, const char *after, bool clean)
{
    answer->cut = cut;
    answer->after = after;
    answer->n_shown = 0;
    answer->begun = false;
    answer->clean = clean;
    answer->n_clean = 0;
    vr_text_clear(&answer->raw);
}

int vr_answer_push(vr_answer_text *answer, const char *data, size_t n_bytes, bool last, const char **shown, size_t *n_shown,
                   vr_err *e)
{
    VR_TRY(vr_text_append(&answer->raw, data, n_bytes, e));
    if (answer->clean)
        clean(answer, last);
    else
        answer->n_clean = answer->raw.n_bytes;
    const char *raw = vr_text_string(&answer->raw);
    size_t end = find(raw, answer->n_clean, answer->cut, false);
    if (end == answer->n_clean && !last) end -= partial_bytes(raw, end, answer->cut);
    if (!answer->begun)
        for (size_t n; (n = vr_blank_bytes(raw + answer->n_shown, end - answer->n_shown, false)) > 0;) answer->n_shown += n;
    for (size_t n; end > answer->n_shown && (n = vr_blank_bytes(raw, end, true)) > 0;) end -= n;
    *shown = raw + answer->n_shown;
    *n_shown = end > answer->n_shown ? end - answer->n_shown : 0;
    answer->n_shown += *n_shown;
    if (*n_shown > 0) answer->begun = true;
    return VR_OK;
}

int vr_answer_final(const vr_answer_text *answer, vr_text *out, vr_err *e)
{
    const char *data = vr_text_string(&answer->raw);
    size_t n_bytes = find(data, answer->raw.n_bytes, answer->cut, false);
    const size_t marker = find(data, n_bytes, answer->after, true);
    if (marker < n_bytes) {
        const size_t skip = marker + strlen(answer->after);
        data += skip;
        n_bytes -= skip;
    }
    strip(&data, &n_bytes);
    return vr_text_append(out, data, n_bytes, e);
}

void vr_answer_free(vr_answer_text *answer)
{
    vr_text_free(&answer->raw);
}
