/*
 * matcher.h - which of a set of strings does a text begin with? The longest one wins.
 *
 *   strings sorted by bytes -> range of those with the text's first byte -> narrowed byte by byte
 *
 * Used for special strings and for user-defined pieces; internal to src/text.
 * Owner: the entries are owned, their bytes are borrowed.
 */
#ifndef VR_MATCHER_H
#define VR_MATCHER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/weights.h"

typedef struct vr_matcher_entry {
    vr_string string; /* not empty */
    int32_t value;    /* >= 0; of equal strings the lowest value is found */
} vr_matcher_entry;

typedef struct vr_matcher {
    vr_matcher_entry *entries; /* sorted */
    int count;
    int begin[257]; /* entries begin[b] .. begin[b + 1] start with byte b */
} vr_matcher;

/* Takes the entries [count] (from malloc; NULL where count is 0), in any order. */
void vr_matcher_open(vr_matcher *m, vr_matcher_entry *entries, int count);
void vr_matcher_free(vr_matcher *m);

/* Value of the longest entry that text begins with, or -1; *n_matched: its bytes. */
int32_t vr_matcher_find(const vr_matcher *m, const char *text, size_t n_bytes, size_t *n_matched);

#endif
