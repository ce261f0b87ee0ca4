/*
 * token_prune.c - see token_prune.h.
 *
 *   chunks of kept tokens, total > room:  every chunk loses its last ceil((total - room) / n_chunks) tokens -> first `room`
 *   of all
 *
 * Ref:  LongVU cambrian_arch.py:1454-1510.
 * Trap: the removal may take more than needed and may reach into the first frame of a chunk; then the whole is cut once more.
 */
#include "compress/token_prune.h"

#include <string.h>

int vr_token_list_cut(vr_token_list *list, int room)
{
    int total = 0;
    for (int c = 0; c < list->n_chunks; c++) total += list->lengths[c];
    list->removed = 0;
    if (total > room && list->n_chunks > 0) {
        const int excess = total - room;
        list->removed = excess / list->n_chunks + (excess % list->n_chunks != 0);
    }
    int at = 0, n = 0;
    for (int c = 0; c < list->n_chunks; c++) {
        const int left = list->lengths[c] > list->removed ? list->lengths[c] - list->removed : 0;
        memmove(list->ids + n, list->ids + at, (size_t)left * sizeof *list->ids);
        at += list->lengths[c];
        n += left;
    }
    const int limit = room >= 0 ? room : n + room > 0 ? n + room : 0;
    return n < limit ? n : limit;
}
