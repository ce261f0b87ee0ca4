/*
 * unicode.h - what a byte-level BPE tokenizer has to know of code points: letters, numbers, white space, normal form C.
 *
 *   code point -> vr_unicode_class                 text -> decomposed -> marks in order -> composed -> vr_unicode_nfc
 *
 * Ref:   Unicode Standard, section 3.11 (normalization), 3.12 (Hangul); categories L* and N*, property White_Space: what \p{L},
 *        \p{N} and \s mean to the tokenizers library (Oniguruma) and to Python's regex.
 * Trap:  U+001C..U+001F are no white space here, but blanks to Python's str.strip (blank.h).
 *        The tokenizers library's normal form knows no marks newer than about Unicode 9; Python's, and this one, do.
 */
#ifndef VR_UNICODE_H
#define VR_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum vr_unicode_class {
    VR_UNICODE_OTHER = 0,
    VR_UNICODE_LETTER = 1,
    VR_UNICODE_NUMBER = 2,
    VR_UNICODE_SPACE = 4
} vr_unicode_class;

vr_unicode_class vr_unicode_class_of(uint32_t point);

/* The normal form C of valid UTF-8: *out, from malloc, [*n_out]. NULL: the text is in that form already. Linear but for the
 * sorting of marks, O(n log n). VR_ERR_LIMIT without memory. */
int vr_unicode_nfc(const char *text, size_t n_bytes, char **out, size_t *n_out, vr_err *e);

/* The tables (unicode_tables.c), sorted by their first member; compositions by first and second. */
typedef struct vr_unicode_range {
    uint32_t first, last;
    int value; /* a class, or a combining class */
} vr_unicode_range;

typedef struct vr_unicode_pair {
    uint32_t key, first, second; /* decomposition: point, its parts (second may be 0); composition: the parts, what they make */
} vr_unicode_pair;

extern const vr_unicode_range vr_unicode_classes[], vr_unicode_combining[];
extern const vr_unicode_pair vr_unicode_decompositions[], vr_unicode_compositions[];
extern const int vr_unicode_classes_count, vr_unicode_combining_count;
extern const int vr_unicode_decompositions_count, vr_unicode_compositions_count;

#endif
