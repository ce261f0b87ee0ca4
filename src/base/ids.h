/*
 * ids.h - a growing list of token ids.
 */
#ifndef VR_IDS_H
#define VR_IDS_H

#include <stdint.h>

#include "base/err.h"

/* Zero-initialise; free with vr_ids_free. data is NULL until something was pushed. */
typedef struct vr_ids {
    int32_t *data;
    int count, capacity;
} vr_ids;

int vr_ids_push(vr_ids *ids, int32_t id, vr_err *e); /* VR_ERR_LIMIT without memory */
void vr_ids_free(vr_ids *ids);

#endif
