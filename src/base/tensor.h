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
    VR_DTYPE_BF16 = 30,
    VR_DTYPE_Q4_0 = 2, /* stock block types: brought to strips when they are bound (weights.c) */
    VR_DTYPE_Q4_1 = 3,
    VR_DTYPE_Q8_0 = 8,
    VR_DTYPE_Q6_K = 14,
    VR_DTYPE_Q8_R16 = 1008, /* strips.h; numbers of our own, far from those in use */
    VR_DTYPE_Q4_R16 = 1004,
    VR_DTYPE_Q4M_R16 = 1005
} vr_dtype;

/* A weight matrix [rows, cols], row-major, rows contiguous, or strips of 16 rows (base/strips.h); borrowed from the weight file.
 * y = x * W^T: rows are outputs. */
typedef struct vr_matrix {
    const void *data;
    vr_dtype dtype;
    int rows, cols;
} vr_matrix;

/* Bytes of a number; of the types that have numbers by themselves. */
static inline size_t vr_dtype_bytes(vr_dtype t)
{
    return t == VR_DTYPE_F32 ? 4 : 2;
}

const char *vr_dtype_name(vr_dtype t); /* "F32", ...; "?" for a number without a name */

/* Storage of any GGUF type number that the weight file may hold, also those that no model accepts: a row is stored in blocks
 * of *elements numbers and *bytes bytes. False for an unknown number, and for strips: vr_strips_bytes. */
bool vr_dtype_block(uint32_t type, int *elements, int *bytes);

/* Rows first .. first+n-1 of a matrix; strips: first is a multiple of 16, as is n unless they are the last. */
vr_matrix vr_matrix_rows(const vr_matrix *w, int first, int n);

#endif
