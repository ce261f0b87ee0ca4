/*
 * utf8.h - text from outside: well-formed UTF-8 or not, and how to print it safely.
 *
 *   bytes of a file (names, values) -> vr_utf8_escape -> one printable line for messages and listings
 *
 * Ref:  Unicode 15, table 3-7 (well-formed byte sequences): no overlong forms, no surrogates, nothing above U+10FFFF.
 * Trap: U+0080..U+009F are control characters too; a terminal may act on them.
 */
#ifndef VR_UTF8_H
#define VR_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes (1..4) of the well-formed sequence that s begins with, 0 where it begins with none; *point is its code point. */
size_t vr_utf8_decode(const char *s, size_t n_bytes, uint32_t *point);

/* Bytes (1..4) of a code point, written to out; it is one that UTF-8 has. */
size_t vr_utf8_encode(uint32_t point, char out[4]);

/* Write s to out [size], size >= 8, with a NUL at the end, and return out. Printable text stays; control characters, quotes,
 * backslashes and bytes of no sequence become \xNN. What does not fit is cut at a whole character and ends in "...". */
const char *vr_utf8_escape(char *out, size_t size, const char *s, size_t n_bytes);

#endif
