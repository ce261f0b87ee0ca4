/*
 * gguf.c - see gguf.h.
 *
 *   cursor: every take checks the bytes left; a count is compared with the bytes left before memory for it is asked for
 *
 * Ref:  GGUF specification, version 3 (ggml/docs/gguf.md); weights/FORMAT.md.
 * Trap: lengths and counts are 64 bit and hostile: they are compared with what is left, never added to an offset first.
 * Trap: names are looked up by binary search, not by hash: a file cannot choose names that collide.
 */
#include "base/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/strips.h"
#include "base/utf8.h"

_Static_assert(sizeof(size_t) >= 8, "a weight file is mapped whole");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the weight file is used in place and is little endian"
#endif

#define DEFAULT_ALIGNMENT 32
#define MIN_KEY_BYTES     14 /* name length, one byte of it, type, value of one byte */
#define MIN_TENSOR_BYTES  33 /* name length, one byte of it, n_dims, one dimension, type, offset */

typedef struct cursor {
    const unsigned char *bytes;
    size_t at, end;
    const char *path;
    vr_err *e;
} cursor;

static size_t left(const cursor *c)
{
    return c->end - c->at;
}

static int take(cursor *c, void *out, size_t n_bytes, const char *what)
{
    if (n_bytes > left(c))
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: the file ends at byte %zu, inside %s: truncated or damaged", c->path, c->end,
                       what);
    memcpy(out, c->bytes + c->at, n_bytes);
    c->at += n_bytes;
    return VR_OK;
}

static int take_string(cursor *c, vr_string *out, size_t max, const char *what)
{
    const size_t start = c->at;
    uint64_t length = 0;
    VR_TRY(take(c, &length, sizeof length, what));
    if (length > max)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: %s at byte %zu has %llu bytes; at most %zu are accepted", c->path, what,
                       start, (unsigned long long)length, max);
    if (length > left(c))
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: the file ends at byte %zu, inside %s: truncated or damaged", c->path, c->end,
                       what);
    out->data = (const char *)c->bytes + c->at;
    out->n_bytes = (size_t)length;
    c->at += out->n_bytes;
    return VR_OK;
}

/* kind: "key" or "tensor". Printable ASCII only, so that names can go into messages as they are. */
static int take_name(cursor *c, vr_string *out, const char *kind, const char *what)
{
    const size_t start = c->at;
    VR_TRY(take_string(c, out, VR_MAX_NAME, what));
    if (out->n_bytes == 0)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: the %s at byte %zu has an empty name", c->path, kind, start);
    for (size_t i = 0; i < out->n_bytes; i++) {
        if (out->data[i] >= 0x20 && out->data[i] < 0x7f) continue;
        char text[4 * VR_MAX_NAME + 8];
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: the %s name \"%s\" holds bytes other than printable ASCII", c->path, kind,
                       vr_utf8_escape(text, sizeof text, out->data, out->n_bytes));
    }
    return VR_OK;
}

size_t vr_gguf_type_bytes(uint32_t type)
{
    static const unsigned char bytes[VR_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < VR_GGUF_TYPES ? bytes[type] : 0;
}

#define READ(type, p, out)                                                                                                     \
    do {                                                                                                                       \
        type read_value;                                                                                                       \
        memcpy(&read_value, p, sizeof read_value);                                                                             \
        *(out) = (int64_t)read_value;                                                                                          \
    } while (0)

bool vr_gguf_integer(uint32_t type, const unsigned char *p, int64_t *out)
{
    uint64_t wide = 0;
    switch (type) {
    case VR_GGUF_U8:
    case VR_GGUF_BOOL:
        READ(uint8_t, p, out);
        return true;
    case VR_GGUF_I8:
        READ(int8_t, p, out);
        return true;
    case VR_GGUF_U16:
        READ(uint16_t, p, out);
        return true;
    case VR_GGUF_I16:
        READ(int16_t, p, out);
        return true;
    case VR_GGUF_U32:
        READ(uint32_t, p, out);
        return true;
    case VR_GGUF_I32:
        READ(int32_t, p, out);
        return true;
    case VR_GGUF_I64:
        READ(int64_t, p, out);
        return true;
    case VR_GGUF_U64:
        memcpy(&wide, p, sizeof wide);
        *out = wide > INT64_MAX ? INT64_MAX : (int64_t)wide;
        return true;
    default:
        return false;
    }
}

vr_string vr_gguf_string(const unsigned char *p)
{
    uint64_t length = 0;
    memcpy(&length, p, sizeof length);
    return (vr_string){ (const char *)p + sizeof length, (size_t)length };
}

static int no_memory(const cursor *c, const char *what)
{
    return vr_fail(c->e, VR_ERR_OTHER, "%s: not enough memory to index %s", c->path, what);
}

static int key_fault(const cursor *c, const vr_gguf_key *k, const char *fault)
{
    return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" %s", c->path, (int)k->name.n_bytes, k->name.data, fault);
}

/* count elements of a number or boolean type */
static int parse_numbers(cursor *c, const vr_gguf_key *k)
{
    const size_t size = vr_gguf_type_bytes(k->array_type);
    if ((uint64_t)k->count > left(c) / size) return key_fault(c, k, "reaches beyond the end of the file: truncated or damaged");
    if (k->array_type == VR_GGUF_BOOL) {
        for (int64_t i = 0; i < k->count; i++)
            if (k->value[i] > 1) return key_fault(c, k, "holds a boolean that is neither 0 nor 1");
    }
    c->at += (size_t)k->count * size;
    return VR_OK;
}

static int parse_strings(cursor *c, vr_gguf_key *k)
{
    if ((uint64_t)k->count > left(c) / sizeof(uint64_t))
        return key_fault(c, k, "reaches beyond the end of the file: truncated or damaged");
    if (k->type == VR_GGUF_ARRAY && k->count > 0) {
        k->strings = malloc((size_t)k->count * sizeof *k->strings);
        if (!k->strings) return no_memory(c, "the strings");
    }
    const size_t start = c->at;
    for (int64_t i = 0; i < k->count; i++) {
        if (k->strings) k->strings[i] = c->at - start;
        vr_string s;
        VR_TRY(take_string(c, &s, VR_MAX_STRING, "a string"));
    }
    return VR_OK;
}

static int parse_key(cursor *c, vr_gguf_key *k)
{
    VR_TRY(take_name(c, &k->name, "key", "the name of a key"));
    VR_TRY(take(c, &k->type, sizeof k->type, "a key"));
    k->array_type = k->type;
    k->count = 1;
    if (k->type == VR_GGUF_ARRAY) {
        uint64_t count = 0;
        VR_TRY(take(c, &k->array_type, sizeof k->array_type, "an array"));
        VR_TRY(take(c, &count, sizeof count, "an array"));
        if (k->array_type == VR_GGUF_ARRAY) return key_fault(c, k, "is an array of arrays, which is not accepted");
        if (count > VR_MAX_ARRAY)
            return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" has %llu elements; at most %d are accepted", c->path,
                           (int)k->name.n_bytes, k->name.data, (unsigned long long)count, VR_MAX_ARRAY);
        k->count = (int64_t)count;
    }
    if (k->array_type >= VR_GGUF_TYPES)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" has the unknown type %lu", c->path, (int)k->name.n_bytes,
                       k->name.data, (unsigned long)k->array_type);
    k->value = c->bytes + c->at;
    return k->array_type == VR_GGUF_STRING ? parse_strings(c, k) : parse_numbers(c, k);
}

static int tensor_fault(const cursor *c, const vr_gguf_tensor *t, const char *fault)
{
    return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" %s", c->path, (int)t->name.n_bytes, t->name.data, fault);
}

/* bytes of t; its dimensions are within limits, their product need not be */
static int measure(const cursor *c, vr_gguf_tensor *t)
{
    int block = 0, block_bytes = 0;
    if (vr_is_strips((vr_dtype)t->type)) {
        if (t->n_dims != 2) return tensor_fault(c, t, "is of a type that only matrices have");
        t->n_bytes = vr_strips_bytes((vr_dtype)t->type, t->shape[0], t->shape[1]); /* within size_t: VR_MAX_DIM squared is */
        return VR_OK;
    }
    if (!vr_dtype_block(t->type, &block, &block_bytes))
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" has the unknown type %lu", c->path, (int)t->name.n_bytes,
                       t->name.data, (unsigned long)t->type);
    const int64_t row = t->shape[t->n_dims - 1];
    if (row % block != 0) return tensor_fault(c, t, "has rows that are no whole number of blocks of its type");
    size_t bytes = (size_t)(row / block) * (size_t)block_bytes;
    for (int i = 0; i < t->n_dims - 1; i++) {
        if ((size_t)t->shape[i] > SIZE_MAX / bytes) return tensor_fault(c, t, "is larger than any file");
        bytes *= (size_t)t->shape[i];
    }
    t->n_bytes = bytes;
    return VR_OK;
}

static int parse_tensor(cursor *c, vr_gguf_tensor *t)
{
    static const char what[] = "the list of tensors";
    VR_TRY(take_name(c, &t->name, "tensor", "the name of a tensor"));
    uint32_t n_dims = 0;
    VR_TRY(take(c, &n_dims, sizeof n_dims, what));
    if (n_dims < 1 || n_dims > VR_MAX_DIMS)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" has %lu dimensions; 1 to %d are accepted", c->path,
                       (int)t->name.n_bytes, t->name.data, (unsigned long)n_dims, VR_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int i = t->n_dims - 1; i >= 0; i--) { /* the file lists the fastest dimension first */
        uint64_t dim = 0;
        VR_TRY(take(c, &dim, sizeof dim, what));
        if (dim < 1 || dim > VR_MAX_DIM)
            return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" has a dimension of %lld; 1 to %d are accepted", c->path,
                           (int)t->name.n_bytes, t->name.data, (long long)dim, VR_MAX_DIM);
        t->shape[i] = (int64_t)dim;
    }
    VR_TRY(take(c, &t->type, sizeof t->type, what));
    uint64_t offset = 0;
    VR_TRY(take(c, &offset, sizeof offset, what));
    t->offset = (size_t)offset;
    return measure(c, t);
}

/* Offsets in the infos count from the data section; afterwards from the start of the file. */
static int place_tensors(vr_gguf *g, const cursor *c)
{
    if (g->n_tensors == 0) return VR_OK;
    const size_t padding = (g->alignment - c->at % g->alignment) % g->alignment;
    for (int i = 0; i < g->n_tensors; i++) {
        vr_gguf_tensor *t = &g->tensors[i];
        if (t->offset % g->alignment != 0)
            return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" begins at %zu, which is no multiple of the alignment %zu",
                           c->path, (int)t->name.n_bytes, t->name.data, t->offset, g->alignment);
        const size_t room = left(c) > padding ? left(c) - padding : 0;
        if (t->offset > room || t->n_bytes > room - t->offset)
            return tensor_fault(c, t, "reaches beyond the end of the file: truncated or damaged");
        t->offset += c->at + padding;
    }
    return VR_OK;
}

typedef struct place {
    size_t offset;
    int at; /* tensor */
} place;

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int check_overlap(const vr_gguf *g, const cursor *c)
{
    if (g->n_tensors < 2) return VR_OK;
    place *order = malloc((size_t)g->n_tensors * sizeof *order);
    if (!order) return no_memory(c, "the tensors");
    for (int i = 0; i < g->n_tensors; i++) order[i] = (place){ g->tensors[i].offset, i };
    qsort(order, (size_t)g->n_tensors, sizeof *order, compare_places);
    int rc = VR_OK;
    for (int i = 1; i < g->n_tensors && rc == VR_OK; i++) {
        const vr_gguf_tensor *a = &g->tensors[order[i - 1].at], *b = &g->tensors[order[i].at];
        if (b->offset - a->offset >= a->n_bytes) continue;
        rc = vr_fail(c->e, VR_ERR_WEIGHTS, "%s: tensors \"%.*s\" and \"%.*s\" overlap", c->path, (int)a->name.n_bytes,
                     a->name.data, (int)b->name.n_bytes, b->name.data);
    }
    free(order);
    return rc;
}

static int compare_names(const void *a, const void *b)
{
    const vr_string *x = &((const vr_gguf_name *)a)->name, *y = &((const vr_gguf_name *)b)->name;
    const size_t shorter = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    const int order = memcmp(x->data, y->data, shorter);
    return order != 0 ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int sort_names(vr_gguf_name *names, int count, const cursor *c, const char *kind)
{
    qsort(names, (size_t)count, sizeof *names, compare_names);
    for (int i = 1; i < count; i++)
        if (compare_names(&names[i - 1], &names[i]) == 0)
            return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: %s \"%.*s\" occurs twice", c->path, kind, (int)names[i].name.n_bytes,
                           names[i].name.data);
    return VR_OK;
}

static int find_name(const vr_gguf_name *names, int count, vr_string name)
{
    const vr_gguf_name wanted = { .name = name };
    const vr_gguf_name *found = bsearch(&wanted, names, (size_t)count, sizeof *names, compare_names);
    return found ? found->at : -1;
}

const vr_gguf_key *vr_gguf_find_key(const vr_gguf *g, vr_string name)
{
    const int i = find_name(g->key_names, g->n_keys, name);
    return i >= 0 ? &g->keys[i] : NULL;
}

vr_gguf_tensor *vr_gguf_find_tensor(const vr_gguf *g, vr_string name)
{
    const int i = find_name(g->tensor_names, g->n_tensors, name);
    return i >= 0 ? &g->tensors[i] : NULL;
}

/* What people give by mistake, told by how it begins. */
static int refuse_foreign(const cursor *c)
{
    static const char convert[] = "it must be converted first with tools/convert/convert.py";
    const unsigned char *b = c->bytes;
    const size_t n = c->end;
    if (n == 0) return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: is empty", c->path);
    if ((n >= 4 && memcmp(b, "PK\003\004", 4) == 0) || (n >= 2 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5))
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: is not a weight file but a PyTorch checkpoint; %s", c->path, convert);
    if (n >= 10 && b[8] == '{' && b[7] == 0 && b[6] == 0)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: is not a weight file but a safetensors file; %s", c->path, convert);
    if (n >= 12 && memcmp(b, "version http", 12) == 0)
        return vr_fail(c->e, VR_ERR_WEIGHTS,
                       "%s: is not a weight file but a Git LFS pointer to one: fetch it with git lfs pull", c->path);
    return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: is not a weight file: does not begin with GGUF", c->path);
}

static int parse_header(vr_gguf *g, cursor *c)
{
    static const char what[] = "the header";
    if (c->end < 4 || memcmp(c->bytes, "GGUF", 4) != 0) return refuse_foreign(c);
    c->at = 4;
    uint32_t version = 0;
    uint64_t n_tensors = 0, n_keys = 0;
    VR_TRY(take(c, &version, sizeof version, what));
    if (version != 0 && (version & 0xffff) == 0)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: is big endian; only little-endian files are accepted", c->path);
    if (version != 3)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: has GGUF version %lu; only version 3 is accepted", c->path,
                       (unsigned long)version);
    VR_TRY(take(c, &n_tensors, sizeof n_tensors, what));
    VR_TRY(take(c, &n_keys, sizeof n_keys, what));
    if (n_tensors > VR_MAX_TENSORS)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: claims %llu tensors; at most %d are accepted", c->path,
                       (unsigned long long)n_tensors, VR_MAX_TENSORS);
    if (n_keys > VR_MAX_KEYS)
        return vr_fail(c->e, VR_ERR_WEIGHTS, "%s: claims %llu keys; at most %d are accepted", c->path,
                       (unsigned long long)n_keys, VR_MAX_KEYS);
    if (n_keys * MIN_KEY_BYTES + n_tensors * MIN_TENSOR_BYTES > left(c))
        return vr_fail(c->e, VR_ERR_WEIGHTS,
                       "%s: claims %llu keys and %llu tensors, which %zu bytes cannot hold: truncated or damaged", c->path,
                       (unsigned long long)n_keys, (unsigned long long)n_tensors, c->end);
    g->n_keys = (int)n_keys;
    g->n_tensors = (int)n_tensors;
    /* one more than asked for: calloc(0) may be NULL */
    g->keys = calloc(n_keys + 1, sizeof *g->keys);
    g->tensors = calloc(n_tensors + 1, sizeof *g->tensors);
    g->key_names = calloc(n_keys + 1, sizeof *g->key_names);
    g->tensor_names = calloc(n_tensors + 1, sizeof *g->tensor_names);
    if (!g->keys || !g->tensors || !g->key_names || !g->tensor_names) return no_memory(c, "keys and tensors");
    return VR_OK;
}

static int parse_alignment(vr_gguf *g, const cursor *c)
{
    g->alignment = DEFAULT_ALIGNMENT;
    static const char name[] = "general.alignment";
    const vr_gguf_key *k = vr_gguf_find_key(g, (vr_string){ name, sizeof name - 1 });
    if (!k) return VR_OK;
    int64_t value = 0;
    if (!vr_gguf_integer(k->type, k->value, &value) || value < 8 || value > 4096 || (value & (value - 1)) != 0)
        return key_fault(c, k, "must be a power of two from 8 to 4096");
    g->alignment = (size_t)value;
    return VR_OK;
}

int vr_gguf_parse(vr_gguf *g, vr_err *e)
{
    cursor c = { .bytes = g->bytes, .end = g->n_bytes, .path = g->path, .e = e };
    VR_TRY(parse_header(g, &c));
    for (int i = 0; i < g->n_keys; i++) {
        VR_TRY(parse_key(&c, &g->keys[i]));
        g->key_names[i] = (vr_gguf_name){ g->keys[i].name, i };
    }
    VR_TRY(sort_names(g->key_names, g->n_keys, &c, "key"));
    VR_TRY(parse_alignment(g, &c));
    for (int i = 0; i < g->n_tensors; i++) {
        VR_TRY(parse_tensor(&c, &g->tensors[i]));
        g->tensor_names[i] = (vr_gguf_name){ g->tensors[i].name, i };
    }
    VR_TRY(sort_names(g->tensor_names, g->n_tensors, &c, "tensor"));
    VR_TRY(place_tensors(g, &c));
    return check_overlap(g, &c);
}

void vr_gguf_free(vr_gguf *g)
{
    for (int i = 0; g->keys && i < g->n_keys; i++) free(g->keys[i].strings);
    free(g->keys);
    free(g->tensors);
    free(g->key_names);
    free(g->tensor_names);
    *g = (vr_gguf){ 0 };
}
