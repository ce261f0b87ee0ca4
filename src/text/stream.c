/*
 * stream.c - bytes of pieces to whole UTF-8 characters (vr_text_stream of tokenizer.h).
 *
 *   byte -> continues the pending character? -> complete: out
 *                                            -> wrong: U+FFFD for what was pending, the byte is looked at again
 *
 * Ref:  Unicode 15, table 3-7 and section 3.9 "U+FFFD Substitution of Maximal Subparts", as CPython's decoder does.
 * Trap: the second byte after E0, ED, F0 and F4 has a narrower range: ED A0 is two errors, not the beginning of one.
 */
#include "text/tokenizer.h"

#include <assert.h>
#include <string.h>

/* Bytes of the character that a first byte announces; 0: it cannot be first. */
static size_t announced(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static bool continues(const unsigned char *pending, size_t n_pending, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xbf;
    if (n_pending == 1) {
        switch (pending[0]) {
        case 0xe0:
            low = 0xa0;
            break; /* below: overlong */
        case 0xed:
            high = 0x9f;
            break; /* above: surrogates */
        case 0xf0:
            low = 0x90;
            break;
        case 0xf4:
            high = 0x8f;
            break; /* above: beyond U+10FFFF */
        default:
            break;
        }
    }
    return byte >= low && byte <= high;
}

static size_t replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3);
    return 3;
}

size_t vr_text_stream_push(vr_text_stream *stream, const char *data, size_t n_bytes, bool flush, char *out)
{
    assert(stream->n_pending >= 0 && stream->n_pending < 4);
    unsigned char *pending = stream->pending;
    size_t n_pending = (size_t)stream->n_pending;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        const unsigned char byte = (unsigned char)data[i];
        if (n_pending > 0 && !continues(pending, n_pending, byte)) {
            n += replacement(out + n);
            n_pending = 0;
        }
        if (n_pending == 0 && announced(byte) == 0) {
            n += replacement(out + n);
            continue;
        }
        pending[n_pending++] = byte;
        if (n_pending == announced(pending[0])) {
            memcpy(out + n, pending, n_pending);
            n += n_pending;
            n_pending = 0;
        }
    }
    if (flush && n_pending > 0) {
        n += replacement(out + n);
        n_pending = 0;
    }
    stream->n_pending = (int)n_pending;
    return n;
}
