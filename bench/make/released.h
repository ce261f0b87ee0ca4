/*
 * released.h - sizes of the released models: integer keys, and tensors with their shapes.
 */
#ifndef RELEASED_H
#define RELEASED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/weights.h"

typedef struct released_key_value {
    const char *name;
    int value;
} released_key_value;

typedef struct released_tensor {
    char name[64];
    int rows, cols;           /* cols 0: a vector of rows numbers */
    bool norm;                /* weights of a norm: about 1 */
    bool table;               /* F32 in every file: positions, queries */
    bool decoder, vocabulary; /* matrices of the decoder's layers; token table and head */
    uint64_t number;
} released_tensor;

typedef struct released {
    const char *system;             /* vidrun.system */
    const released_key_value *keys; /* ends with NULL */
    int vocab;
    released_tensor *tensors; /* owned, in file order */
    int n_tensors, capacity;
    bool failed; /* no memory */
} released;

/* VR_ERR_USAGE for an unknown name. released_free is legal on a zeroed one. */
int released_find(released *out, const char *name, vr_err *e);
void released_free(released *model);

bool released_key(const released_key_value *keys, vr_string name, int *value);

#endif
