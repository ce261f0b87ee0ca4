/*
 * gguf_head.h - writes the head of a weight file: keys and infos of tensors, as weights/FORMAT.md says.
 *
 *   vr_gguf_head_begin -> vr_gguf_put_* ... -> vr_gguf_put_tensor ... -> vr_gguf_head_end
 *
 * Used for keys that a stock file lacks (systems/stock_text.c) and by vidrun-quantize. Nothing is checked: base/gguf.c reads.
 * Owner: the bytes grow in the caller's text. Errors: VR_ERR_LIMIT without memory.
 */
#ifndef VR_GGUF_HEAD_H
#define VR_GGUF_HEAD_H

#include <stdbool.h>

#include "base/text.h"
#include "base/weights.h"

typedef struct vr_gguf_head {
    vr_text bytes;
    int n_keys, n_tensors;
} vr_gguf_head;

int vr_gguf_head_begin(vr_gguf_head *head, vr_err *e); /* head is zeroed */
int vr_gguf_head_end(vr_gguf_head *head, vr_err *e);   /* fills in the counts */

int vr_gguf_put_int(vr_gguf_head *head, const char *name, int value, vr_err *e); /* i32 */
int vr_gguf_put_float(vr_gguf_head *head, const char *name, float value, vr_err *e);
int vr_gguf_put_bool(vr_gguf_head *head, const char *name, bool value, vr_err *e);
int vr_gguf_put_string(vr_gguf_head *head, const char *name, vr_string value, vr_err *e);
int vr_gguf_put_text(vr_gguf_head *head, const char *name, const char *value, vr_err *e);
int vr_gguf_put_ints(vr_gguf_head *head, const char *name, const int *values, int n, vr_err *e);
int vr_gguf_put_texts(vr_gguf_head *head, const char *name, const char *const *values, int n, vr_err *e);
/* A key as it is in a file; value: the bytes behind the type. */
int vr_gguf_put_raw(vr_gguf_head *head, vr_string name, uint32_t type, const void *value, size_t n_bytes, vr_err *e);
/* The same of a key of w. */
int vr_gguf_put_key(vr_gguf_head *head, const vr_weights *w, const vr_weights_key *key, vr_err *e);
/* shape in C order; offset: from the start of the data section */
int vr_gguf_put_tensor(vr_gguf_head *head, vr_string name, uint32_t type, int n_dims, const int64_t *shape, uint64_t offset,
                       vr_err *e);

#endif
