/*
 * blank.h - white space as Python's str.strip sees it.
 *
 * Ref:  Python str.isspace: bidirectional class WS, B or S, or category Zs (Unicode 15).
 * Trap: U+001C..U+001F, U+0085 and U+00A0 are blanks, U+200B (zero width space) and U+FEFF are none.
 */
#ifndef VR_BLANK_H
#define VR_BLANK_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the blank that data begins with (at_end: ends with); 0: none. */
size_t vr_blank_bytes(const char *data, size_t n_bytes, bool at_end);

#endif
