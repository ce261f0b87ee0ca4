/*
 * utf8.c - see utf8.h.
 */
#include "base/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t vr_utf8_decode(const char *s, size_t n_bytes, uint32_t *point)
{
    static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 }; /* below it a sequence of that length is overlong */
    if (n_bytes == 0) return 0;
    const unsigned char first = (unsigned char)s[0];
    size_t length = 1;
    uint32_t value = first;
    if (first >= 0x80) {
        if (first < 0xc2 || first > 0xf4) return 0;
        length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        value = first & (0xffu >> (length + 1));
    }
    if (length > n_bytes) return 0;
    for (size_t i = 1; i < length; i++) {
        const unsigned char next = (unsigned char)s[i];
        if ((next & 0xc0) != 0x80) return 0;
        value = value << 6 | (next & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
    *point = value;
    return length;
}

size_t vr_utf8_encode(uint32_t point, char out[4])
{
    static const unsigned char lead[] = { 0, 0x00, 0xc0, 0xe0, 0xf0 };
    const size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1; point >>= 6) out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)(lead[length] | point);
    return length;
}

static bool printable(uint32_t point)
{
    return point >= 0x20 && point != '"' && point != '\\' && !(point >= 0x7f && point <= 0x9f);
}

const char *vr_utf8_escape(char *out, size_t size, const char *s, size_t n_bytes)
{
    assert(size >= 8);
    size_t used = 0, at = 0;
    size_t cut = 0; /* where "..." and the NUL still fit */
    while (at < n_bytes) {
        uint32_t point = 0;
        const size_t length = vr_utf8_decode(s + at, n_bytes - at, &point);
        const size_t take = length > 0 ? length : 1;
        char part[4 * 4 + 1];
        size_t n = take;
        if (length > 0 && printable(point)) {
            memcpy(part, s + at, take);
        } else {
            n = 4 * take;
            for (size_t i = 0; i < take; i++) snprintf(part + 4 * i, 5, "\\x%02x", (unsigned)(unsigned char)s[at + i]);
        }
        if (used + n > size - 1) break;
        memcpy(out + used, part, n);
        used += n;
        at += take;
        if (used <= size - 4) cut = used;
    }
    if (at < n_bytes) {
        memcpy(out + cut, "...", 3);
        used = cut + 3;
    }
    out[used] = '\0';
    return out;
}
