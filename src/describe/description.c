/*
 * description.c - see description.h.
 */
#include "describe/description.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int vr_notes_add(vr_notes *notes, double start, double end, const char *text, size_t n_bytes, vr_err *e)
{
    if (notes->count == notes->capacity) {
        const int capacity = notes->capacity ? 2 * notes->capacity : 16;
        vr_note *const grown = realloc(notes->items, (size_t)capacity * sizeof *grown);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a description");
        notes->items = grown;
        notes->capacity = capacity;
    }
    char *const copy = malloc(n_bytes + 1);
    if (!copy) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a description");
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    notes->items[notes->count++] = (vr_note){ start, end, copy };
    return VR_OK;
}

void vr_notes_free(vr_notes *notes)
{
    for (int i = 0; i < notes->count; i++) free(notes->items[i].text);
    free(notes->items);
    *notes = (vr_notes){ 0 };
}

static size_t core(const char **text)
{
    *text += strspn(*text, " ");
    size_t n = strlen(*text);
    while (n > 0 && (*text)[n - 1] == ' ') n--;
    return n;
}

static bool same(const char *a, const char *b)
{
    const size_t n = core(&a), m = core(&b);
    return n == m && memcmp(a, b, n) == 0;
}

void vr_notes_merge(vr_notes *notes)
{
    int kept = 0;
    for (int i = 0; i < notes->count; i++) {
        vr_note *const before = kept > 0 ? &notes->items[kept - 1] : NULL;
        if (before && same(before->text, notes->items[i].text)) {
            if (notes->items[i].end > before->end) before->end = notes->items[i].end;
            free(notes->items[i].text);
        } else {
            notes->items[kept++] = notes->items[i];
        }
    }
    notes->count = kept;
}

void vr_description_free(vr_description *d)
{
    vr_notes_free(&d->tags);
    vr_notes_free(&d->captions);
    vr_notes_free(&d->dense);
    vr_notes_free(&d->speech);
    vr_text_free(&d->summary);
}
