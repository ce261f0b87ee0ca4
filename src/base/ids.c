/*
 * ids.c - see ids.h.
 */
#include "base/ids.h"

#include <stdlib.h>

int vr_ids_push(vr_ids *ids, int32_t id, vr_err *e)
{
    if (ids->count == ids->capacity) {
        if (ids->capacity > INT32_MAX / 2) return vr_fail(e, VR_ERR_LIMIT, "a text has too many tokens");
        const int capacity = ids->capacity ? 2 * ids->capacity : 64;
        int32_t *grown = realloc(ids->data, (size_t)capacity * sizeof *grown);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d tokens", capacity);
        ids->data = grown;
        ids->capacity = capacity;
    }
    ids->data[ids->count++] = id;
    return VR_OK;
}

void vr_ids_free(vr_ids *ids)
{
    free(ids->data);
    *ids = (vr_ids){ 0 };
}
