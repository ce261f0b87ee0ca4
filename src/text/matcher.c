/*
 * matcher.c - see matcher.h.
 */
#include "text/matcher.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const vr_matcher_entry *x = a, *y = b;
    const size_t n = x->string.n_bytes < y->string.n_bytes ? x->string.n_bytes : y->string.n_bytes;
    const int order = memcmp(x->string.data, y->string.data, n);
    if (order != 0) return order;
    if (x->string.n_bytes != y->string.n_bytes) return x->string.n_bytes < y->string.n_bytes ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

static int byte_at(const vr_matcher_entry *entry, size_t i)
{
    return (unsigned char)entry->string.data[i];
}

void vr_matcher_open(vr_matcher *m, vr_matcher_entry *entries, int count)
{
    *m = (vr_matcher){ .entries = entries, .count = count };
    if (count > 1) qsort(entries, (size_t)count, sizeof *entries, compare);
    for (int b = 0, i = 0; b < 257; b++) {
        while (i < count && byte_at(&entries[i], 0) < b) i++;
        m->begin[b] = i;
    }
}

void vr_matcher_free(vr_matcher *m)
{
    free(m->entries);
    *m = (vr_matcher){ 0 };
}

/* The first entry of [low, high) whose byte i is at least b; all of them are longer than i. */
static int lower_bound(const vr_matcher *m, int low, int high, size_t i, int b)
{
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (byte_at(&m->entries[middle], i) < b)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t vr_matcher_find(const vr_matcher *m, const char *text, size_t n_bytes, size_t *n_matched)
{
    int32_t found = -1;
    if (n_bytes == 0 || m->count == 0) return found;
    int low = m->begin[(unsigned char)text[0]], high = m->begin[(unsigned char)text[0] + 1];
    for (size_t n = 1; low < high; n++) { /* entries of [low, high) share their first n bytes with the text */
        if (m->entries[low].string.n_bytes == n) {
            found = m->entries[low].value;
            *n_matched = n;
            while (low < high && m->entries[low].string.n_bytes == n) low++;
        }
        if (n == n_bytes) break;
        const int b = (unsigned char)text[n];
        low = lower_bound(m, low, high, n, b);
        high = lower_bound(m, low, high, n, b + 1);
    }
    return found;
}
