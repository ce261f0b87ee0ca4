/*
 * weights.h - the flat weight file: GGUF v3, mapped read-only, nothing in it trusted.
 *
 *   header | key-value pairs | tensor infos | padding | tensor data
 *
 * Open checks every count, length and offset against the file with overflow-checked arithmetic, alignment, repeated names and
 * overlapping tensors, and reads no tensor data. A model then binds each tensor by name, type and exact shape before use; what
 * nobody bound is reported by vr_weights_unused. Bytes, keys and names: weights/FORMAT.md.
 * All errors are VR_ERR_WEIGHTS and name the file (VR_ERR_OTHER: no memory for the index).
 * Names are printable ASCII and may go into messages as they are; values hold any byte (base/utf8.h).
 * Owner: pointers handed out are borrowed and live until vr_weights_free.
 * Trap: another program that shortens the file under the map ends this one with SIGBUS, as with every mapped file. Replacing
 *       the file by rename is safe.
 */
#ifndef VR_WEIGHTS_H
#define VR_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/tensor.h"
#include "base/text.h"

typedef struct vr_weights vr_weights;

typedef struct vr_string {
    const char *data; /* not NUL-terminated; may hold any byte */
    size_t n_bytes;
} vr_string;

int vr_weights_open(vr_weights **out, const char *path, vr_err *e);
/* The same over bytes in memory (tests, fuzzing); data is borrowed, 64-byte aligned. name stands for the path in messages. */
int vr_weights_open_memory(vr_weights **out, const void *data, size_t n_bytes, const char *name, vr_err *e);
void vr_weights_free(vr_weights *w);
const char *vr_weights_path(const vr_weights *w);
size_t vr_weights_file_bytes(const vr_weights *w);
/* Memory that tensors lie in and that never changes, piece i: the file, then what was repacked so far. False after the last. */
bool vr_weights_memory(const vr_weights *w, int i, const void **data, size_t *n_bytes);

/* Keys beside those of the file, which they stand before where both have one: the head of a weight file without tensors
 * (base/gguf_head.h). Once; takes the bytes, also on failure. */
int vr_weights_add_keys(vr_weights *w, vr_text *head, vr_err *e);

/* Keys. Each returns VR_OK, or an error that names key and cause when it is missing, of another type or out of [min, max].
 * Integers of any GGUF width are accepted. has: whether a key exists, for optional ones. */
bool vr_weights_has(const vr_weights *w, const char *key);
int vr_weights_int(const vr_weights *w, int *out, int min, int max, vr_err *e, const char *key_format, ...) VR_PRINTF(6, 7);
int vr_weights_float(const vr_weights *w, float *out, vr_err *e, const char *key_format, ...) VR_PRINTF(4, 5); /* finite */
int vr_weights_bool(const vr_weights *w, bool *out, vr_err *e, const char *key_format, ...) VR_PRINTF(4, 5);
int vr_weights_string(const vr_weights *w, vr_string *out, vr_err *e, const char *key_format, ...) VR_PRINTF(4, 5);
int vr_weights_floats(const vr_weights *w, float *out, int count, vr_err *e, const char *key_format, ...)
    VR_PRINTF(5, 6); /* array of exactly count */

/* Arrays of any length: *count elements; element i by the getters below (strings are indexed once at open). An i
 * outside [0, count) is an error: arrays of one table may differ in length. Floats must be finite. */
int vr_weights_array(const vr_weights *w, int *count, vr_err *e, const char *key_format, ...) VR_PRINTF(4, 5);
int vr_weights_array_string(const vr_weights *w, const char *key, int i, vr_string *out, vr_err *e);
int vr_weights_array_float(const vr_weights *w, const char *key, int i, float *out, vr_err *e);
int vr_weights_array_int(const vr_weights *w, const char *key, int i, int *out, vr_err *e); /* integers and booleans */

/* Tensors, bound by name and exact shape. matrix takes every type of a model; f32 vectors, tables and norms must be F32.
 * shape is in C order (slowest first), n_dims 1..4. Stock block types are repacked (base/stock.h). */
int vr_weights_matrix(vr_weights *w, vr_matrix *out, int rows, int cols, vr_err *e, const char *name_format, ...)
    VR_PRINTF(6, 7);
int vr_weights_vector(vr_weights *w, const float **out, int count, vr_err *e, const char *name_format, ...)
    VR_PRINTF(5, 6); /* [count] */
int vr_weights_table(vr_weights *w, const float **out, int rows, int cols, vr_err *e, const char *name_format, ...)
    VR_PRINTF(6, 7); /* [rows, cols] F32 */

/* Sum of what the tensors that were bound take where one of n_bytes takes taken(n_bytes), as they are used: repacked. */
size_t vr_weights_bound_bytes(const vr_weights *w, size_t (*taken)(size_t n_bytes));
/* One debug line for every tensor that was never bound; returns their number. */
int vr_weights_unused(const vr_weights *w, const vr_log *log);

/* Enumeration, for the inspector. */
typedef struct vr_weights_tensor {
    vr_string name;
    uint32_t type; /* GGUF number; may be one that no model accepts */
    int n_dims;
    int64_t shape[4]; /* C order */
    const void *data;
    size_t offset; /* from the start of the file */
    size_t n_bytes;
} vr_weights_tensor;

typedef struct vr_weights_key {
    vr_string name;
    uint32_t type;              /* GGUF value type: vr_weights_type_name */
    uint32_t array_type;        /* element type where type is 9 */
    int64_t count;              /* elements where type is 9, else 1 */
    const unsigned char *value; /* first of count numbers or booleans, little endian, unaligned; strings: see the getters */
} vr_weights_key;

int vr_weights_n_tensors(const vr_weights *w);
void vr_weights_tensor_at(const vr_weights *w, int i, vr_weights_tensor *out);
int vr_weights_n_keys(const vr_weights *w);
void vr_weights_key_at(const vr_weights *w, int i, vr_weights_key *out);

/* GGUF value types: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array, 10 u64, 11 i64, 12 f64 */
const char *vr_weights_type_name(uint32_t type);

#endif
