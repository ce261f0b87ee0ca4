/*
 * blank.c - see blank.h.
 */
#include "text/blank.h"

#include "base/utf8.h"

static bool is_blank(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

size_t vr_blank_bytes(const char *data, size_t n_bytes, bool at_end)
{
    size_t at = 0;
    if (at_end) { /* the last character: at most three continuation bytes behind its first */
        at = n_bytes > 0 ? n_bytes - 1 : 0;
        for (int i = 0; i < 3 && at > 0 && ((unsigned char)data[at] & 0xc0) == 0x80; i++) at--;
    }
    uint32_t point;
    const size_t length = vr_utf8_decode(data + at, n_bytes - at, &point);
    return length > 0 && (!at_end || at + length == n_bytes) && is_blank(point) ? length : 0;
}
