/*
 * ragged.h - rows of whole numbers of different lengths, and the stage they make.
 */
#ifndef VR_RAGGED_H
#define VR_RAGGED_H

#include "base/dump.h"
#include "base/ids.h"

typedef struct vr_ragged {
    vr_ids values, lengths; /* of all rows, one behind the other; of each */
} vr_ragged;

int vr_ragged_push(vr_ragged *r, const int32_t *row, int n, vr_err *e);
/* One table [rows, the longest], padded with -1. Without memory nothing is written. */
void vr_ragged_dump(const vr_ragged *r, vr_dump *dump, const char *name);
void vr_ragged_free(vr_ragged *r);

#endif
