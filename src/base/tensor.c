/*
 * tensor.c - see tensor.h.
 *
 * Ref: GGUF specification (ggml/docs/gguf.md, enum ggml_type); sizes of the block types: ggml-common.h
 *      (block_q4_0: f16 scale and 32 nibbles; block_q4_1: also a f16 minimum; block_q8_0: f16 scale and 32 bytes;
 *      block_q6_K: 256 numbers of 6 bits, 16 scales of 8 bits, f16 scale of these).
 */
#include "base/tensor.h"

#include <assert.h>

#include "base/strips.h"

static const struct type {
    uint32_t number;
    const char *name;
    int block; /* elements */
    int bytes; /* of a block */
} types[] = {
    { 0, "F32", 1, 4 },
    { 1, "F16", 1, 2 },
    { 30, "BF16", 1, 2 }, /* what models accept */
    { 2, "Q4_0", 32, 18 },
    { 3, "Q4_1", 32, 20 },
    { 8, "Q8_0", 32, 34 },
    { 14, "Q6_K", 256, 210 },
    { 24, "I8", 1, 1 },
    { 25, "I16", 1, 2 },
    { 26, "I32", 1, 4 },
    { 27, "I64", 1, 8 },
    { 28, "F64", 1, 8 },
    { VR_DTYPE_Q8_R16, "Q8_R16", 0, 0 }, /* strips */
    { VR_DTYPE_Q4_R16, "Q4_R16", 0, 0 },
    { VR_DTYPE_Q4M_R16, "Q4M_R16", 0, 0 },
};

static const struct type *find(uint32_t number)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].number == number) return &types[i];
    return NULL;
}

const char *vr_dtype_name(vr_dtype t)
{
    const struct type *type = find((uint32_t)t);
    return type ? type->name : "?";
}

bool vr_dtype_block(uint32_t type, int *elements, int *bytes)
{
    const struct type *found = find(type);
    if (!found || found->block == 0) return false;
    *elements = found->block;
    *bytes = found->bytes;
    return true;
}

vr_matrix vr_matrix_rows(const vr_matrix *w, int first, int n)
{
    vr_matrix part = *w;
    size_t offset;
    assert(first >= 0 && n >= 0 && first + n <= w->rows);
    if (vr_is_strips(w->dtype)) {
        assert(first % VR_STRIP_ROWS == 0 && (n % VR_STRIP_ROWS == 0 || first + n == w->rows));
        offset = vr_strips_bytes(w->dtype, first, w->cols);
    } else {
        offset = (size_t)first * (size_t)w->cols * vr_dtype_bytes(w->dtype);
    }
    part.data = (const unsigned char *)w->data + offset;
    part.rows = n;
    return part;
}
