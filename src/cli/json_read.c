/*
 * json_read.c - see json_read.h.
 */
#include "cli/json_read.h"

#include <string.h>

#include "base/utf8.h"

enum { DEEPEST = 16 };

void vr_json_begin(vr_json_in *j, const char *data, size_t n_bytes)
{
    *j = (vr_json_in){ .at = data, .end = data + n_bytes };
}

static bool fail(vr_json_in *j)
{
    j->wrong = true;
    return false;
}

static void blanks(vr_json_in *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

static bool take(vr_json_in *j, char c)
{
    blanks(j);
    if (j->wrong || j->at == j->end || *j->at != c) return false;
    j->at++;
    return true;
}

bool vr_json_enter(vr_json_in *j, char bracket)
{
    j->first = true;
    return take(j, bracket) || fail(j);
}

bool vr_json_next(vr_json_in *j, char bracket)
{
    const bool first = j->first;
    j->first = false;
    if (j->wrong || take(j, bracket)) return false;
    return first || take(j, ',') || fail(j);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *const found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) % 16 : -1;
}

/* The four digits behind \u. */
static bool take_unit(vr_json_in *j, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = j->at < j->end ? hex_digit(*j->at++) : -1;
        if (digit < 0) return fail(j);
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

static bool take_escape(vr_json_in *j, vr_text *text)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char bytes[4];
    uint32_t point, low;
    const char c = j->at < j->end ? *j->at++ : '\0';
    const char *const found = c ? strchr(letters, c) : NULL;
    if (found) return vr_text_append(text, &values[found - letters], 1, NULL) == VR_OK || fail(j);
    if (c != 'u' || !take_unit(j, &point)) return fail(j);
    if (point >= 0xD800 && point < 0xDC00) {
        if (j->end - j->at < 2 || j->at[0] != '\\' || j->at[1] != 'u') return fail(j);
        j->at += 2;
        if (!take_unit(j, &low) || low < 0xDC00 || low > 0xDFFF) return fail(j);
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point == 0 || (point >= 0xDC00 && point < 0xE000)) {
        return fail(j);
    }
    return vr_text_append(text, bytes, vr_utf8_encode(point, bytes), NULL) == VR_OK || fail(j);
}

bool vr_json_take_text(vr_json_in *j, vr_text *text)
{
    vr_text_clear(text);
    if (!take(j, '"')) return fail(j);
    while (j->at < j->end && *j->at != '"') {
        uint32_t point;
        const size_t n = vr_utf8_decode(j->at, (size_t)(j->end - j->at), &point);
        if (n == 0 || point < 0x20) return fail(j);
        if (*j->at == '\\') {
            j->at++;
            if (!take_escape(j, text)) return false;
            continue;
        }
        if (vr_text_append(text, j->at, n, NULL) != VR_OK) return fail(j);
        j->at += n;
    }
    return take(j, '"') || fail(j);
}

bool vr_json_key(vr_json_in *j, vr_text *key)
{
    return vr_json_take_text(j, key) && (take(j, ':') || fail(j));
}

bool vr_json_take_int(vr_json_in *j, int64_t *value)
{
    int n_digits = 0;
    const bool minus = take(j, '-');
    *value = 0;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9' && n_digits < 18; n_digits++) *value = 10 * *value + (*j->at++ - '0');
    if (minus) *value = -*value;
    return (!j->wrong && n_digits > 0 && (j->at == j->end || !strchr("0123456789.eE", *j->at))) || fail(j);
}

/* A number, true, false or null: their letters, without a look at the order. */
static bool skip_word(vr_json_in *j)
{
    const char *const from = j->at;
    while (j->at < j->end && *j->at && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *j->at)) j->at++;
    return j->at > from || fail(j);
}

static bool skip(vr_json_in *j, int depth)
{
    vr_text text = { 0 };
    blanks(j);
    const char c = j->at < j->end ? *j->at : '\0';
    if (j->wrong || depth == DEEPEST) return fail(j);
    if (c == '"') {
        vr_json_take_text(j, &text);
    } else if (c == '{' || c == '[') {
        const char close = c == '{' ? '}' : ']';
        vr_json_enter(j, c);
        while (vr_json_next(j, close)) {
            if (c == '{' && !vr_json_key(j, &text)) break;
            if (!skip(j, depth + 1)) break;
        }
    } else {
        skip_word(j);
    }
    vr_text_free(&text);
    j->first = false;
    return !j->wrong;
}

bool vr_json_skip(vr_json_in *j)
{
    return skip(j, 0);
}

bool vr_json_end(vr_json_in *j)
{
    blanks(j);
    return (!j->wrong && j->at == j->end) || fail(j);
}
