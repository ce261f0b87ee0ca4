/*
 * tensor.h - element types and views of weights.
 */
#ifndef VR_TENSOR_H
#define VR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers are those of the file format (GGUF). */
typedef enum vr_dtype {
    VR_DTYPE_F32 = 0,
    VR_DTYPE_F16 = 1,
    VR_DTYPE_BF16 = 30
} vr_dtype;

/* A weight matrix [rows, cols], row-major, rows contiguous; borrowed from the weight file. y = x * W^T: rows are outputs. */
typedef struct vr_matrix {
    const void *data;
    vr_dtype dtype;
    int rows, cols;
} vr_matrix;

static inline size_t vr_dtype_bytes(vr_dtype t)
{
    return t == VR_DTYPE_F32 ? 4 : 2;
}

const char *vr_dtype_name(vr_dtype t); /* "F32", ...; "?" for a number without a name */

/* Storage of any GGUF type number that the weight file may hold, also those that no model accepts: a row is stored in blocks
 * of *elements numbers and *bytes bytes. False for an unknown number. */
bool vr_dtype_block(uint32_t type, int *elements, int *bytes);

#endif
