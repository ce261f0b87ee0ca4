/*
 * gguf.h - the parsed head of a weight file; internal to weights.c and tools/inspect.c.
 *
 *   bytes -> header -> keys [n_keys] -> infos [n_tensors] -> checks -> two name indexes
 *
 * Owner: bytes and path are borrowed; names and values point into bytes; arrays are owned.
 */
#ifndef VR_GGUF_H
#define VR_GGUF_H

#include "base/weights.h"

enum { /* value types, numbers of the file format */
       VR_GGUF_U8 = 0,
       VR_GGUF_I8 = 1,
       VR_GGUF_U16 = 2,
       VR_GGUF_I16 = 3,
       VR_GGUF_U32 = 4,
       VR_GGUF_I32 = 5,
       VR_GGUF_F32 = 6,
       VR_GGUF_BOOL = 7,
       VR_GGUF_STRING = 8,
       VR_GGUF_ARRAY = 9,
       VR_GGUF_U64 = 10,
       VR_GGUF_I64 = 11,
       VR_GGUF_F64 = 12,
       VR_GGUF_TYPES = 13
};

typedef struct vr_gguf_key {
    vr_string name;
    uint32_t type;              /* VR_GGUF_* */
    uint32_t array_type;        /* of the elements where type is VR_GGUF_ARRAY, else equal to type */
    int64_t count;              /* elements; 1 where type is no array */
    const unsigned char *value; /* the first element */
    size_t *strings;            /* [count] offsets of the elements from value; owned; NULL unless an array of strings */
} vr_gguf_key;

typedef struct vr_gguf_tensor {
    vr_string name;
    uint32_t type;
    int n_dims;
    int64_t shape[4]; /* C order */
    size_t offset;    /* from the start of the file once parsed */
    size_t n_bytes;
    bool bound; /* a model asked for it */
} vr_gguf_tensor;

typedef struct vr_gguf_name {
    vr_string name;
    int at;
} vr_gguf_name;

typedef struct vr_gguf {
    const unsigned char *bytes;
    size_t n_bytes;
    const char *path;
    size_t alignment;
    int n_keys, n_tensors;
    vr_gguf_key *keys;
    vr_gguf_tensor *tensors;
    vr_gguf_name *key_names, *tensor_names; /* sorted */
} vr_gguf;

/* g holds bytes, n_bytes and path, the rest zero; on failure it still has to be freed. */
int vr_gguf_parse(vr_gguf *g, vr_err *e);
void vr_gguf_free(vr_gguf *g);

/* NULL: there is none. */
const vr_gguf_key *vr_gguf_find_key(const vr_gguf *g, vr_string name);
vr_gguf_tensor *vr_gguf_find_tensor(const vr_gguf *g, vr_string name);

size_t vr_gguf_type_bytes(uint32_t type); /* of a number or boolean; 0 for strings, arrays and unknown numbers */

/* Integer or boolean of any width; u64 beyond int64_t saturates. False: type is none. */
bool vr_gguf_integer(uint32_t type, const unsigned char *p, int64_t *out);
vr_string vr_gguf_string(const unsigned char *p); /* p: the length before the bytes, already checked */

#endif
