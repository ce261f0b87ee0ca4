/*
 * ragged.c - see ragged.h.
 */
#include "base/ragged.h"

#include <stdlib.h>

int vr_ragged_push(vr_ragged *r, const int32_t *row, int n, vr_err *e)
{
    for (int i = 0; i < n; i++) VR_TRY(vr_ids_push(&r->values, row[i], e));
    return vr_ids_push(&r->lengths, n, e);
}

void vr_ragged_dump(const vr_ragged *r, vr_dump *dump, const char *name)
{
    int widest = 0, at = 0;
    for (int i = 0; i < r->lengths.count; i++)
        if (r->lengths.data[i] > widest) widest = r->lengths.data[i];
    int32_t *row = malloc(((size_t)widest + 1) * sizeof *row);
    for (int i = 0; row && i < r->lengths.count; i++) {
        const int n = r->lengths.data[i];
        for (int k = 0; k < widest; k++) row[k] = k < n ? r->values.data[at + k] : -1;
        vr_dump_i32(dump, name, row, 2, (const int64_t[2]){ 1, widest });
        at += n;
    }
    free(row);
}

void vr_ragged_free(vr_ragged *r)
{
    vr_ids_free(&r->values);
    vr_ids_free(&r->lengths);
}
