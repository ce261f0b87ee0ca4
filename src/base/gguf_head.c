/*
 * gguf_head.c - see gguf_head.h.
 *
 * Ref: GGUF specification, version 3 (ggml/docs/gguf.md). All machines that vidrun runs on are little endian, as the file is.
 */
#include "base/gguf_head.h"

#include <stdio.h>
#include <string.h>

#include "base/gguf.h"
#include "base/limits.h"

static int put(vr_gguf_head *head, const void *data, size_t n_bytes, vr_err *e)
{
    return vr_text_append(&head->bytes, data, n_bytes, e);
}

static int put_u32(vr_gguf_head *head, uint32_t value, vr_err *e)
{
    return put(head, &value, sizeof value, e);
}

static int put_u64(vr_gguf_head *head, uint64_t value, vr_err *e)
{
    return put(head, &value, sizeof value, e);
}

static int put_string(vr_gguf_head *head, vr_string s, vr_err *e)
{
    VR_TRY(put_u64(head, s.n_bytes, e));
    return put(head, s.data, s.n_bytes, e);
}

static vr_string string_of(const char *text)
{
    return (vr_string){ text, strlen(text) };
}

int vr_gguf_head_begin(vr_gguf_head *head, vr_err *e)
{
    VR_TRY(put(head, "GGUF", 4, e));
    VR_TRY(put_u32(head, 3, e));
    VR_TRY(put_u64(head, 0, e)); /* tensors, keys: vr_gguf_head_end */
    return put_u64(head, 0, e);
}

int vr_gguf_head_end(vr_gguf_head *head, vr_err *e)
{
    const uint64_t counts[2] = { (uint64_t)head->n_tensors, (uint64_t)head->n_keys };
    if (head->bytes.n_bytes < 8 + sizeof counts) return vr_fail(e, VR_ERR_OTHER, "a head that was not begun");
    memcpy(head->bytes.data + 8, counts, sizeof counts);
    return VR_OK;
}

int vr_gguf_put_raw(vr_gguf_head *head, vr_string name, uint32_t type, const void *value, size_t n_bytes, vr_err *e)
{
    head->n_keys++;
    VR_TRY(put_string(head, name, e));
    VR_TRY(put_u32(head, type, e));
    return put(head, value, n_bytes, e);
}

int vr_gguf_put_int(vr_gguf_head *head, const char *name, int value, vr_err *e)
{
    const int32_t number = value;
    return vr_gguf_put_raw(head, string_of(name), VR_GGUF_I32, &number, sizeof number, e);
}

int vr_gguf_put_float(vr_gguf_head *head, const char *name, float value, vr_err *e)
{
    return vr_gguf_put_raw(head, string_of(name), VR_GGUF_F32, &value, sizeof value, e);
}

int vr_gguf_put_bool(vr_gguf_head *head, const char *name, bool value, vr_err *e)
{
    const unsigned char byte = value;
    return vr_gguf_put_raw(head, string_of(name), VR_GGUF_BOOL, &byte, 1, e);
}

int vr_gguf_put_string(vr_gguf_head *head, const char *name, vr_string value, vr_err *e)
{
    VR_TRY(vr_gguf_put_raw(head, string_of(name), VR_GGUF_STRING, "", 0, e));
    return put_string(head, value, e);
}

int vr_gguf_put_text(vr_gguf_head *head, const char *name, const char *value, vr_err *e)
{
    return vr_gguf_put_string(head, name, string_of(value), e);
}

static int array_begin(vr_gguf_head *head, const char *name, uint32_t type, int n, vr_err *e)
{
    VR_TRY(vr_gguf_put_raw(head, string_of(name), VR_GGUF_ARRAY, &type, sizeof type, e));
    return put_u64(head, (uint64_t)n, e);
}

int vr_gguf_put_ints(vr_gguf_head *head, const char *name, const int *values, int n, vr_err *e)
{
    VR_TRY(array_begin(head, name, VR_GGUF_I32, n, e));
    return put(head, values, (size_t)n * sizeof *values, e); /* int has 32 bits on all of them */
}

int vr_gguf_put_texts(vr_gguf_head *head, const char *name, const char *const *values, int n, vr_err *e)
{
    VR_TRY(array_begin(head, name, VR_GGUF_STRING, n, e));
    for (int i = 0; i < n; i++) VR_TRY(put_string(head, string_of(values[i]), e));
    return VR_OK;
}

int vr_gguf_put_tensor(vr_gguf_head *head, vr_string name, uint32_t type, int n_dims, const int64_t *shape, uint64_t offset,
                       vr_err *e)
{
    head->n_tensors++;
    VR_TRY(put_string(head, name, e));
    VR_TRY(put_u32(head, (uint32_t)n_dims, e));
    for (int i = n_dims - 1; i >= 0; i--) VR_TRY(put_u64(head, (uint64_t)shape[i], e)); /* fastest first */
    VR_TRY(put_u32(head, type, e));
    return put_u64(head, offset, e);
}

/* The value lies in the file behind its type and, of an array, the head of the array. */
int vr_gguf_put_key(vr_gguf_head *head, const vr_weights *w, const vr_weights_key *key, vr_err *e)
{
    char name[VR_MAX_NAME + 1];
    const bool array = key->type == VR_GGUF_ARRAY;
    const size_t before = array ? sizeof(uint32_t) + sizeof(uint64_t) : 0;
    size_t n = vr_gguf_type_bytes(key->array_type) * (size_t)key->count;
    snprintf(name, sizeof name, "%.*s", (int)key->name.n_bytes, key->name.data);
    for (int i = 0; key->array_type == VR_GGUF_STRING && i < key->count; i++) {
        vr_string s;
        VR_TRY(array ? vr_weights_array_string(w, name, i, &s, e) : vr_weights_string(w, &s, e, "%s", name));
        n += sizeof(uint64_t) + s.n_bytes;
    }
    return vr_gguf_put_raw(head, key->name, key->type, key->value - before, before + n, e);
}
