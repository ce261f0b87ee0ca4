/*
 * weights.c - see weights.h.
 *
 *   open: path -> descriptor -> map, in large pages where the system has them -> vr_gguf_parse
 *   bind: name -> tensor -> type and shape compared -> pointer into the map
 *
 * Ref:  GGUF specification, version 3 (ggml/docs/gguf.md); weights/FORMAT.md.
 * Trap: no other advice: WILLNEED reads the whole file at open, SEQUENTIAL drops pages that the next token needs again, RANDOM
 *       turns readahead off. The kernel's default reads ahead and keeps.
 * Owner: the map, the copy of the path and the parsed head belong to vr_weights.
 */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#include "base/weights.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "base/stock.h"
#include "base/strips.h"
#include "base/utf8.h"

/* One byte more than any name in a file and a NUL: a name that had to be cut cannot be found by accident. */
#define NAME_BYTES (VR_MAX_NAME + 2)

/* Print the name of a key or tensor from the variable arguments after format. */
#define PRINT_NAME(name, format)                                                                                               \
    do {                                                                                                                       \
        va_list args;                                                                                                          \
        va_start(args, format);                                                                                                \
        vsnprintf(name, sizeof(name), format, args);                                                                           \
        va_end(args);                                                                                                          \
    } while (0)

typedef struct repacked_matrix {
    void *data; /* owned */
    size_t n_bytes;
} repacked_matrix;

struct vr_weights {
    vr_gguf gguf;
    char *path;
    void *map; /* NULL: bytes are borrowed */
    size_t map_bytes;
    const unsigned char *file; /* [file_bytes] in the map */
    size_t file_bytes;
    vr_gguf added; /* keys beside the file's: vr_weights_add_keys */
    vr_text added_bytes;
    repacked_matrix *repacked; /* [n_repacked] matrices of stock types in the kernels' form */
    int n_repacked;
};

/* Through large pages memory is read faster, and a file of 4 GB needs thousands of faults, not a million (bench/LOG.md). It has
 * them where they are asked for before it is read, and where addresses and offsets agree modulo such a page: hence room for one
 * more than the file takes. */
#define LARGE_PAGE ((size_t)2 << 20)

/* false, and errno: it cannot be mapped */
static bool map_bytes(vr_weights *w, int fd, size_t n_bytes)
{
    unsigned char *room = mmap(NULL, n_bytes + LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return false;
    w->map = room;
    w->map_bytes = n_bytes + LARGE_PAGE;
    unsigned char *const place = room + (LARGE_PAGE - (uintptr_t)room % LARGE_PAGE) % LARGE_PAGE;
    if (mmap(place, n_bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) return false;
    madvise(place, n_bytes, MADV_HUGEPAGE); /* refused where the system has none: nothing lost */
    w->file = place;
    w->file_bytes = n_bytes;
    return true;
}

static int map_file(vr_weights *w, const char *path, vr_err *e)
{
    /* O_NONBLOCK: a named pipe must be refused, not waited for */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return vr_fail(e, VR_ERR_WEIGHTS, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat st;
    int rc = VR_OK;
    if (fstat(fd, &st) != 0) {
        rc = vr_fail(e, VR_ERR_WEIGHTS, "%s: cannot be read: %s", path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        rc = vr_fail(e, VR_ERR_WEIGHTS, "%s: is a folder, not a weight file", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = vr_fail(e, VR_ERR_WEIGHTS, "%s: is not a regular file", path);
    } else if (st.st_size > 0 && !map_bytes(w, fd, (size_t)st.st_size)) { /* an empty file: the parser refuses it */
        rc = vr_fail(e, VR_ERR_WEIGHTS, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    close(fd);
    return rc;
}

/* path NULL: over data */
static int open_weights(vr_weights **out, const char *path, const void *data, size_t n_bytes, const char *name, vr_err *e)
{
    *out = NULL;
    int rc = VR_ERR_OTHER;
    vr_weights *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(name))) {
        vr_fail(e, rc, "%s: not enough memory", name);
        goto done;
    }
    if (path) {
        if ((rc = map_file(w, path, e)) != VR_OK) goto done;
        data = w->file;
        n_bytes = w->file_bytes;
    }
    w->gguf.bytes = data;
    w->gguf.n_bytes = n_bytes;
    w->gguf.path = w->path;
    if ((rc = vr_gguf_parse(&w->gguf, e)) != VR_OK) goto done;
    *out = w;
    w = NULL;
done:
    vr_weights_free(w);
    return rc;
}

int vr_weights_open(vr_weights **out, const char *path, vr_err *e)
{
    return open_weights(out, path, NULL, 0, path, e);
}

int vr_weights_open_memory(vr_weights **out, const void *data, size_t n_bytes, const char *name, vr_err *e)
{
    assert((uintptr_t)data % 64 == 0);
    return open_weights(out, NULL, data, n_bytes, name, e);
}

void vr_weights_free(vr_weights *w)
{
    if (!w) return;
    vr_gguf_free(&w->gguf);
    vr_gguf_free(&w->added);
    vr_text_free(&w->added_bytes);
    for (int i = 0; i < w->n_repacked; i++) free(w->repacked[i].data);
    free(w->repacked);
    if (w->map) munmap(w->map, w->map_bytes);
    free(w->path);
    free(w);
}

const char *vr_weights_path(const vr_weights *w)
{
    return w->path;
}

size_t vr_weights_file_bytes(const vr_weights *w)
{
    return w->gguf.n_bytes;
}

bool vr_weights_memory(const vr_weights *w, int i, const void **data, size_t *n_bytes)
{
    if (i < 0 || i > w->n_repacked) return false;
    *data = i == 0 ? (const void *)w->gguf.bytes : w->repacked[i - 1].data;
    *n_bytes = i == 0 ? w->gguf.n_bytes : w->repacked[i - 1].n_bytes;
    return true;
}

/* ---- keys ---- */

const char *vr_weights_type_name(uint32_t type)
{
    static const char *const names[VR_GGUF_TYPES] = { "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                      "bool", "string", "array", "u64", "i64", "f64" };
    return type < VR_GGUF_TYPES ? names[type] : "?";
}

static vr_string string_of(const char *s)
{
    return (vr_string){ s, strlen(s) };
}

static int missing(const vr_weights *w, const char *kind, const char *name, vr_err *e)
{
    char text[4 * NAME_BYTES + 8]; /* a name may be built from a value of the file */
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s \"%s\" is missing", w->path, kind,
                   vr_utf8_escape(text, sizeof text, name, strlen(name)));
}

static int wrong_type(const vr_weights *w, const vr_gguf_key *k, const char *expected, vr_err *e)
{
    const bool array = k->type == VR_GGUF_ARRAY;
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" has type %s%s, expected %s", w->path, (int)k->name.n_bytes,
                   k->name.data, array ? "array of " : "", vr_weights_type_name(k->array_type), expected);
}

int vr_weights_add_keys(vr_weights *w, vr_text *head, vr_err *e)
{
    assert(!w->added.bytes);
    w->added_bytes = *head;
    *head = (vr_text){ 0 };
    w->added = (vr_gguf){ .bytes = (const unsigned char *)w->added_bytes.data, .n_bytes = w->added_bytes.n_bytes };
    w->added.path = w->path;
    return vr_gguf_parse(&w->added, e);
}

/* NULL: there is none */
static const vr_gguf_key *key_named(const vr_weights *w, const char *name)
{
    const vr_gguf_key *added = w->added.keys ? vr_gguf_find_key(&w->added, string_of(name)) : NULL;
    return added ? added : vr_gguf_find_key(&w->gguf, string_of(name));
}

/* NULL, and e filled, where there is none */
static const vr_gguf_key *find_key(const vr_weights *w, const char *name, vr_err *e)
{
    const vr_gguf_key *k = key_named(w, name);
    if (!k) missing(w, "key", name, e);
    return k;
}

/* The array of that name, if it has an element i and a type among types (a bit for each number); else NULL, and e filled. */
static const vr_gguf_key *find_array(const vr_weights *w, const char *name, int i, unsigned types, const char *expected,
                                     vr_err *e)
{
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return NULL;
    if (k->type != VR_GGUF_ARRAY || !(types >> k->array_type & 1)) {
        wrong_type(w, k, expected, e);
        return NULL;
    }
    if (i < 0 || i >= k->count) {
        vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %lld elements, number %d is needed", w->path, name, (long long)k->count,
                i);
        return NULL;
    }
    return k;
}

#define BIT(type) (1u << (type))
#define FLOATS    (BIT(VR_GGUF_F32) | BIT(VR_GGUF_F64))
#define INTEGERS                                                                                                               \
    (BIT(VR_GGUF_U8) | BIT(VR_GGUF_I8) | BIT(VR_GGUF_U16) | BIT(VR_GGUF_I16) | BIT(VR_GGUF_U32) | BIT(VR_GGUF_I32) |           \
     BIT(VR_GGUF_U64) | BIT(VR_GGUF_I64))

bool vr_weights_has(const vr_weights *w, const char *key)
{
    return key_named(w, key) != NULL;
}

/* element i of k, which is of an integer or boolean type */
static int integer_at(const vr_weights *w, const vr_gguf_key *k, size_t i, int *out, int min, int max, vr_err *e)
{
    int64_t value = 0;
    const bool known = vr_gguf_integer(k->array_type, k->value + i * vr_gguf_type_bytes(k->array_type), &value);
    assert(known);
    (void)known;
    if (value < min || value > max)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" holds %lld, accepted are %d to %d", w->path, (int)k->name.n_bytes,
                       k->name.data, (long long)value, min, max);
    *out = (int)value;
    return VR_OK;
}

/* element i of k, which is of a float type */
static int float_at(const vr_weights *w, const vr_gguf_key *k, size_t i, float *out, vr_err *e)
{
    float value = 0;
    if (k->array_type == VR_GGUF_F32) {
        memcpy(&value, k->value + i * sizeof value, sizeof value);
    } else {
        double wide = 0;
        memcpy(&wide, k->value + i * sizeof wide, sizeof wide);
        value = (float)wide;
    }
    if (!isfinite(value))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%.*s\" holds a number that is not finite", w->path, (int)k->name.n_bytes,
                       k->name.data);
    *out = value;
    return VR_OK;
}

int vr_weights_int(const vr_weights *w, int *out, int min, int max, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (!(INTEGERS >> k->type & 1)) return wrong_type(w, k, "an integer", e);
    return integer_at(w, k, 0, out, min, max, e);
}

int vr_weights_float(const vr_weights *w, float *out, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (!(FLOATS >> k->type & 1)) return wrong_type(w, k, "f32", e);
    return float_at(w, k, 0, out, e);
}

int vr_weights_bool(const vr_weights *w, bool *out, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (k->type != VR_GGUF_BOOL) return wrong_type(w, k, "bool", e);
    *out = k->value[0] != 0;
    return VR_OK;
}

int vr_weights_string(const vr_weights *w, vr_string *out, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (k->type != VR_GGUF_STRING) return wrong_type(w, k, "string", e);
    *out = vr_gguf_string(k->value);
    return VR_OK;
}

int vr_weights_floats(const vr_weights *w, float *out, int count, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (k->type != VR_GGUF_ARRAY || !(FLOATS >> k->array_type & 1)) return wrong_type(w, k, "array of f32", e);
    if (k->count != count)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %lld elements, expected %d", w->path, name, (long long)k->count,
                       count);
    for (int i = 0; i < count; i++) VR_TRY(float_at(w, k, (size_t)i, &out[i], e));
    return VR_OK;
}

int vr_weights_array(const vr_weights *w, int *count, vr_err *e, const char *key_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, key_format);
    const vr_gguf_key *k = find_key(w, name, e);
    if (!k) return VR_ERR_WEIGHTS;
    if (k->type != VR_GGUF_ARRAY) return wrong_type(w, k, "an array", e);
    *count = (int)k->count; /* at most VR_MAX_ARRAY */
    return VR_OK;
}

int vr_weights_array_string(const vr_weights *w, const char *key, int i, vr_string *out, vr_err *e)
{
    const vr_gguf_key *k = find_array(w, key, i, BIT(VR_GGUF_STRING), "array of string", e);
    if (!k) return VR_ERR_WEIGHTS;
    *out = vr_gguf_string(k->value + k->strings[i]);
    return VR_OK;
}

int vr_weights_array_float(const vr_weights *w, const char *key, int i, float *out, vr_err *e)
{
    const vr_gguf_key *k = find_array(w, key, i, FLOATS, "array of f32", e);
    if (!k) return VR_ERR_WEIGHTS;
    return float_at(w, k, (size_t)i, out, e);
}

int vr_weights_array_int(const vr_weights *w, const char *key, int i, int *out, vr_err *e)
{
    const vr_gguf_key *k = find_array(w, key, i, INTEGERS | BIT(VR_GGUF_BOOL), "array of integers or booleans", e);
    if (!k) return VR_ERR_WEIGHTS;
    return integer_at(w, k, (size_t)i, out, INT32_MIN, INT32_MAX, e);
}

/* ---- tensors ---- */

static const char *print_shape(char *out, size_t size, int n_dims, const int64_t *shape)
{
    size_t used = 0;
    for (int i = 0; i < n_dims; i++)
        used += (size_t)snprintf(out + used, size - used, "%c%lld", i == 0 ? '[' : ',', (long long)shape[i]);
    snprintf(out + used, size - used, "]");
    return out;
}

/* NULL, and e filled, where there is no such tensor */
static const vr_gguf_tensor *bind(vr_weights *w, const char *name, int n_dims, const int64_t *shape, bool only_f32, vr_err *e)
{
    vr_gguf_tensor *t = vr_gguf_find_tensor(&w->gguf, string_of(name));
    if (!t) {
        missing(w, "tensor", name, e);
        return NULL;
    }
    bool same = t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++) same = t->shape[i] == shape[i];
    const bool accepted = t->type == VR_DTYPE_F32 || (!only_f32 && (t->type == VR_DTYPE_F16 || t->type == VR_DTYPE_BF16 ||
                                                                    vr_is_strips((vr_dtype)t->type) || vr_is_stock(t->type)));
    if (!same || !accepted) {
        char is[96], wanted[96]; /* 4 dimensions of at most 20 digits */
        vr_fail(e, VR_ERR_WEIGHTS, "%s: tensor \"%s\" is %s %s, expected %s %s", w->path, name,
                print_shape(is, sizeof is, t->n_dims, t->shape), vr_dtype_name((vr_dtype)t->type),
                print_shape(wanted, sizeof wanted, n_dims, shape), only_f32 ? "F32" : "F32, F16, BF16 or quantised");
        return NULL;
    }
    t->bound = true;
    return t;
}

/* A matrix of a stock type becomes one of ours, in memory that lives as long as w. */
static int repack(vr_weights *w, vr_matrix *m, const char *name, vr_err *e)
{
    const size_t bytes = (vr_stock_target_bytes(m->dtype, m->rows, m->cols) + 63) / 64 * 64;
    repacked_matrix *grown = realloc(w->repacked, ((size_t)w->n_repacked + 1) * sizeof *grown);
    if (grown) w->repacked = grown;
    void *data = NULL;
    if (!grown || posix_memalign(&data, bytes < LARGE_PAGE ? 64 : LARGE_PAGE, bytes) != 0)
        return vr_fail(e, VR_ERR_OTHER, "%s: no memory for tensor \"%s\"", w->path, name);
    if (bytes >= LARGE_PAGE) madvise(data, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    w->repacked[w->n_repacked++] = (repacked_matrix){ data, bytes };
    vr_stock_repack(data, m->dtype, m->data, m->rows, m->cols);
    m->data = data;
    m->dtype = vr_stock_target(m->dtype);
    return VR_OK;
}

int vr_weights_matrix(vr_weights *w, vr_matrix *out, int rows, int cols, vr_err *e, const char *name_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, name_format);
    const vr_gguf_tensor *t = bind(w, name, 2, (const int64_t[2]){ rows, cols }, false, e);
    if (!t) return VR_ERR_WEIGHTS;
    *out = (vr_matrix){ .data = w->gguf.bytes + t->offset, .dtype = (vr_dtype)t->type, .rows = rows, .cols = cols };
    return vr_is_stock(t->type) ? repack(w, out, name, e) : VR_OK;
}

/* Tensors begin at multiples of 8 bytes or more of a map or of aligned memory, so the cast is to an aligned float. */
static const float *floats_of(const vr_weights *w, const vr_gguf_tensor *t)
{
    return (const float *)(const void *)(w->gguf.bytes + t->offset);
}

int vr_weights_vector(vr_weights *w, const float **out, int count, vr_err *e, const char *name_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, name_format);
    const vr_gguf_tensor *t = bind(w, name, 1, (const int64_t[1]){ count }, true, e);
    if (!t) return VR_ERR_WEIGHTS;
    *out = floats_of(w, t);
    return VR_OK;
}

int vr_weights_table(vr_weights *w, const float **out, int rows, int cols, vr_err *e, const char *name_format, ...)
{
    char name[NAME_BYTES];
    PRINT_NAME(name, name_format);
    const vr_gguf_tensor *t = bind(w, name, 2, (const int64_t[2]){ rows, cols }, true, e);
    if (!t) return VR_ERR_WEIGHTS;
    *out = floats_of(w, t);
    return VR_OK;
}

size_t vr_weights_bound_bytes(const vr_weights *w, size_t (*taken)(size_t n_bytes))
{
    size_t n = 0;
    for (int i = 0; i < w->gguf.n_tensors; i++)
        if (w->gguf.tensors[i].bound && !vr_is_stock(w->gguf.tensors[i].type)) n += taken(w->gguf.tensors[i].n_bytes);
    for (int i = 0; i < w->n_repacked; i++) n += taken(w->repacked[i].n_bytes);
    return n;
}

int vr_weights_unused(const vr_weights *w, const vr_log *log)
{
    int unused = 0;
    for (int i = 0; i < w->gguf.n_tensors; i++) {
        const vr_gguf_tensor *t = &w->gguf.tensors[i];
        if (t->bound) continue;
        vr_log_print(log, VR_LOG_DEBUG, "%s: tensor \"%.*s\" is not used", w->path, (int)t->name.n_bytes, t->name.data);
        unused++;
    }
    return unused;
}

/* ---- enumeration ---- */

int vr_weights_n_tensors(const vr_weights *w)
{
    return w->gguf.n_tensors;
}

void vr_weights_tensor_at(const vr_weights *w, int i, vr_weights_tensor *out)
{
    assert(i >= 0 && i < w->gguf.n_tensors);
    const vr_gguf_tensor *t = &w->gguf.tensors[i];
    *out = (vr_weights_tensor){ .name = t->name,
                                .type = t->type,
                                .n_dims = t->n_dims,
                                .data = w->gguf.bytes + t->offset,
                                .offset = t->offset,
                                .n_bytes = t->n_bytes };
    memcpy(out->shape, t->shape, sizeof out->shape);
}

int vr_weights_n_keys(const vr_weights *w)
{
    return w->gguf.n_keys;
}

void vr_weights_key_at(const vr_weights *w, int i, vr_weights_key *out)
{
    assert(i >= 0 && i < w->gguf.n_keys);
    const vr_gguf_key *k = &w->gguf.keys[i];
    *out =
        (vr_weights_key){ .name = k->name, .type = k->type, .array_type = k->array_type, .count = k->count, .value = k->value };
}
