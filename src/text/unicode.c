/*
 * unicode.c - see unicode.h.
 *
 * Trap:  Hangul syllables are not in the tables: they are computed from their number.
 *        A mark is blocked from its starter by one of the same or a higher combining class between the two.
 */
#include "text/unicode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Below this point every text is in normal form C and nothing combines with what is in front of it. */
#define FIRST_UNSTABLE 0x300

enum {
    S_BASE = 0xac00, /* syllables: leading consonant, vowel, trailing consonant */
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11a7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT
};

static int range_value(const vr_unicode_range *table, int count, uint32_t point)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (point > table[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && point >= table[low].first ? table[low].value : 0;
}

vr_unicode_class vr_unicode_class_of(uint32_t point)
{
    if (point < 0x80) {
        if ((point | 0x20) - 'a' < 26) return VR_UNICODE_LETTER;
        if (point - '0' < 10) return VR_UNICODE_NUMBER;
        return point == ' ' || (point >= '\t' && point <= '\r') ? VR_UNICODE_SPACE : VR_UNICODE_OTHER;
    }
    return (vr_unicode_class)range_value(vr_unicode_classes, vr_unicode_classes_count, point);
}

/* ---- normal form C ---- */

/* A code point with what orders it among the marks behind a starter: combining class, then place in the text. */
typedef struct mark {
    uint32_t point;
    int32_t place;
    int combining;
} mark;

typedef struct marks {
    mark *items; /* [2 * bytes of the text]: no character decomposes into more than 1.5 code points a byte */
    int32_t count;
} marks;

static int compare_marks(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    if (x->combining != y->combining) return x->combining - y->combining;
    return (x->place > y->place) - (x->place < y->place);
}

static const vr_unicode_pair *find_pair(const vr_unicode_pair *table, int count, uint32_t key, uint32_t first, bool by_first)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const vr_unicode_pair *p = &table[middle];
        if (p->key < key || (p->key == key && by_first && p->first < first))
            low = middle + 1;
        else
            high = middle;
    }
    const bool found = low < count && table[low].key == key && (!by_first || table[low].first == first);
    return found ? &table[low] : NULL;
}

static void add(marks *m, uint32_t point)
{
    const int combining = point < FIRST_UNSTABLE ? 0 : range_value(vr_unicode_combining, vr_unicode_combining_count, point);
    m->items[m->count] = (mark){ .point = point, .place = m->count, .combining = combining };
    m->count++;
}

/* Published decompositions nest four deep at most. */
static void decompose(marks *m, uint32_t point)
{
    if (point - S_BASE < S_COUNT) {
        const uint32_t i = point - S_BASE, t = i % T_COUNT;
        add(m, L_BASE + i / (V_COUNT * T_COUNT));
        add(m, V_BASE + i % (V_COUNT * T_COUNT) / T_COUNT);
        if (t > 0) add(m, T_BASE + t);
        return;
    }
    const vr_unicode_pair *p = find_pair(vr_unicode_decompositions, vr_unicode_decompositions_count, point, 0, false);
    if (!p) {
        add(m, point);
        return;
    }
    decompose(m, p->first);
    if (p->second) add(m, p->second);
}

static void order(marks *m)
{
    for (int32_t i = 0; i < m->count;) {
        if (m->items[i].combining == 0) {
            i++;
            continue;
        }
        const int32_t first = i;
        while (i < m->count && m->items[i].combining != 0) i++;
        if (i - first > 1) qsort(m->items + first, (size_t)(i - first), sizeof *m->items, compare_marks);
    }
}

/* What two code points make together; 0: nothing. */
static uint32_t composed(uint32_t first, uint32_t second)
{
    if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT)
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
    if (first - S_BASE < S_COUNT && (first - S_BASE) % T_COUNT == 0 && second - T_BASE - 1 < T_COUNT - 1)
        return first + (second - T_BASE);
    const vr_unicode_pair *p = find_pair(vr_unicode_compositions, vr_unicode_compositions_count, first, second, true);
    return p ? p->second : 0;
}

static void compose(marks *m)
{
    int32_t starter = -1, n = 0;
    int before = 0; /* combining class of what was kept last */
    for (int32_t i = 0; i < m->count; i++) {
        const mark c = m->items[i];
        const bool free = starter >= 0 && (n - 1 == starter || before < c.combining);
        const uint32_t together = free ? composed(m->items[starter].point, c.point) : 0;
        if (together) {
            m->items[starter].point = together;
            continue;
        }
        if (c.combining == 0) starter = n;
        before = c.combining;
        m->items[n++] = c;
    }
    m->count = n;
}

static char *put(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* 0xcc is the first byte of U+0300. */
static bool is_stable(const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        if ((unsigned char)text[i] >= 0xcc) return false;
    return true;
}

int vr_unicode_nfc(const char *text, size_t n_bytes, char **out, size_t *n_out, vr_err *e)
{
    *out = NULL;
    *n_out = n_bytes;
    if (is_stable(text, n_bytes)) return VR_OK;
    marks m = { .items = n_bytes <= INT32_MAX / 2 ? malloc(2 * n_bytes * sizeof *m.items) : NULL };
    if (!m.items) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the normal form of %zu bytes", n_bytes);
    for (size_t i = 0; i < n_bytes;) {
        uint32_t point = 0;
        i += vr_utf8_decode(text + i, n_bytes - i, &point);
        decompose(&m, point);
    }
    order(&m);
    compose(&m);
    *out = malloc(4 * (size_t)m.count + 1);
    if (*out) {
        char *end = *out;
        for (int32_t i = 0; i < m.count; i++) end = put(end, m.items[i].point);
        *n_out = (size_t)(end - *out);
    }
    free(m.items);
    return *out ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory for the normal form of %zu bytes", n_bytes);
}
