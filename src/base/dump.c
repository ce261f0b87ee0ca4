/*
 * dump.c - see dump.h.
 *
 *   file: magic, version 1.0, header length | dictionary padded with blanks to HEADER_BYTES in all | elements, little endian
 *
 * Trap: the header has a fixed length, because the shape in it grows with every part.
 * Owner: vr_dump owns its strings; the arrays given are read before the call returns.
 */
#include "base/dump.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "dumps are written as they lie in memory and are little endian"
#endif

#define HEADER_BYTES 256 /* a multiple of 64; four dimensions of 19 digits fit */
#define MAX_DIMS     4
#define PATH_BYTES   4096

typedef struct stage {
    char *name;        /* with the prefix of its first part */
    const char *descr; /* '<f4', '<i4' or '|u1': the digit is the size */
    int n_dims;
    int64_t shape[MAX_DIMS];
} stage;

struct vr_dump {
    char *dir, *prefix;
    stage *stages;
    int n_stages, capacity;
    vr_err first;
};

static int out_of_memory(vr_err *e)
{
    return vr_fail(e, VR_ERR_OTHER, "not enough memory to write dumps");
}

int vr_dump_open(vr_dump **out, const char *dir, vr_err *e)
{
    *out = NULL;
    int rc = VR_OK;
    struct stat st;
    vr_dump *dump = calloc(1, sizeof *dump);
    if (!dump || !(dump->dir = strdup(dir)) || !(dump->prefix = strdup(""))) {
        rc = out_of_memory(e);
        goto done;
    }
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        rc = vr_fail(e, VR_ERR_OTHER, "%s: the folder cannot be made: %s", dir, strerror(errno));
        goto done;
    }
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        rc = vr_fail(e, VR_ERR_OTHER, "%s: is not a folder, dumps cannot be written there", dir);
        goto done;
    }
    if (access(dir, W_OK | X_OK) != 0) {
        rc = vr_fail(e, VR_ERR_OTHER, "%s: dumps cannot be written there: %s", dir, strerror(errno));
        goto done;
    }
    *out = dump;
    dump = NULL;
done:
    vr_dump_close(dump, NULL);
    return rc;
}

static int stage_path(const vr_dump *dump, const char *name, const char *ending, char path[PATH_BYTES], vr_err *e)
{
    const int n = snprintf(path, PATH_BYTES, "%s/%s%s", dump->dir, name, ending);
    if (n < 0 || n >= PATH_BYTES) return vr_fail(e, VR_ERR_OTHER, "%s: the path of dump %s is too long", dump->dir, name);
    return VR_OK;
}

static void format_header(char header[HEADER_BYTES], const stage *s)
{
    static const char magic[] = "\x93NUMPY\x01"; /* the NUL at its end is the minor version */
    memset(header, ' ', HEADER_BYTES);
    memcpy(header, magic, sizeof magic);
    const unsigned length = HEADER_BYTES - 10;
    header[8] = (char)(length & 0xff);
    header[9] = (char)(length >> 8);
    char text[HEADER_BYTES];
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", s->descr);
    for (int i = 0; i < s->n_dims; i++) /* a tuple of one needs its comma */
        n += (size_t)snprintf(text + n, sizeof text - n, "%lld%s", (long long)s->shape[i],
                              i + 1 < s->n_dims ? ", "
                              : i == 0          ? ","
                                                : "");
    n += (size_t)snprintf(text + n, sizeof text - n, "), }");
    assert(n < length);
    memcpy(header + 10, text, n);
    header[HEADER_BYTES - 1] = '\n';
}

/* Write the header with the shape so far and, at the end of the file, n_bytes of data. */
static int write_part(const vr_dump *dump, const stage *s, bool create, const void *data, size_t n_bytes, vr_err *e)
{
    char path[PATH_BYTES], header[HEADER_BYTES];
    VR_TRY(stage_path(dump, s->name, ".npy.part", path, e));
    FILE *f = fopen(path, create ? "wb" : "r+b");
    if (!f) return vr_fail(e, VR_ERR_OTHER, "%s: cannot be opened for writing: %s", path, strerror(errno));
    format_header(header, s);
    bool good = fwrite(header, sizeof header, 1, f) == 1;
    good = good && fseek(f, 0, SEEK_END) == 0;
    good = good && (n_bytes == 0 || fwrite(data, n_bytes, 1, f) == 1);
    int why = errno;
    if (fclose(f) != 0 && good) { /* what was buffered reaches the disk, or does not, here */
        good = false;
        why = errno;
    }
    return good ? VR_OK : vr_fail(e, VR_ERR_OTHER, "%s: cannot be written: %s", path, strerror(why));
}

static stage *find_stage(const vr_dump *dump, const char *name)
{
    const size_t prefix = strlen(dump->prefix);
    for (int i = 0; i < dump->n_stages; i++)
        if (strncmp(dump->stages[i].name, dump->prefix, prefix) == 0 && strcmp(dump->stages[i].name + prefix, name) == 0)
            return &dump->stages[i];
    return NULL;
}

/* NULL, and the error kept, without memory */
static stage *add_stage(vr_dump *dump, const char *name, const char *descr, int n_dims, const int64_t *shape)
{
    const size_t size = strlen(dump->prefix) + strlen(name) + 1;
    char *full = malloc(size);
    if (full && dump->n_stages == dump->capacity) {
        const int capacity = dump->capacity ? 2 * dump->capacity : 64;
        stage *stages = realloc(dump->stages, (size_t)capacity * sizeof *stages);
        if (stages) {
            dump->stages = stages;
            dump->capacity = capacity;
        }
    }
    if (!full || dump->n_stages == dump->capacity) {
        free(full);
        out_of_memory(&dump->first);
        return NULL;
    }
    snprintf(full, size, "%s%s", dump->prefix, name);
    stage *s = &dump->stages[dump->n_stages++];
    *s = (stage){ .name = full, .descr = descr, .n_dims = n_dims };
    memcpy(s->shape, shape, (size_t)n_dims * sizeof *shape);
    s->shape[0] = 0;
    return s;
}

static void append(vr_dump *dump, const char *name, const char *descr, const void *x, int n_dims, const int64_t *shape)
{
    if (!dump || dump->first.code != VR_OK) return;
    assert(n_dims >= 1 && n_dims <= MAX_DIMS && !strchr(name, '/'));
    size_t count = 1; /* of an array in memory: cannot overflow */
    for (int i = 0; i < n_dims; i++) count *= (size_t)shape[i];

    stage *s = find_stage(dump, name);
    const bool create = !s;
    if (create) s = add_stage(dump, name, descr, n_dims, shape);
    if (!s) return;
    assert(s->descr == descr && s->n_dims == n_dims);
    for (int i = 1; i < n_dims; i++) assert(s->shape[i] == shape[i]);
    s->shape[0] += shape[0];
    write_part(dump, s, create, x, (size_t)(descr[2] - '0') * count, &dump->first);
}

static const char descr_f32[] = "<f4", descr_i32[] = "<i4", descr_u8[] = "|u1";

void vr_dump_f32(vr_dump *dump, const char *name, const float *x, int n_dims, const int64_t *shape)
{
    append(dump, name, descr_f32, x, n_dims, shape);
}

void vr_dump_i32(vr_dump *dump, const char *name, const int32_t *x, int n_dims, const int64_t *shape)
{
    append(dump, name, descr_i32, x, n_dims, shape);
}

void vr_dump_u8(vr_dump *dump, const char *name, const uint8_t *x, int n_dims, const int64_t *shape)
{
    append(dump, name, descr_u8, x, n_dims, shape);
}

void vr_dump_prefix(vr_dump *dump, const char *prefix)
{
    if (!dump) return;
    assert(!strchr(prefix, '/'));
    char *copy = strdup(prefix);
    if (!copy) {
        if (dump->first.code == VR_OK) out_of_memory(&dump->first);
        return;
    }
    free(dump->prefix);
    dump->prefix = copy;
}

static void finish_stage(vr_dump *dump, const stage *s)
{
    char part[PATH_BYTES], path[PATH_BYTES];
    if (stage_path(dump, s->name, ".npy.part", part, &dump->first) != VR_OK) return;
    if (stage_path(dump, s->name, ".npy", path, &dump->first) != VR_OK) return;
    if (rename(part, path) != 0)
        vr_fail(&dump->first, VR_ERR_OTHER, "%s: cannot be renamed to %s: %s", part, path, strerror(errno));
}

static void remove_stage(const vr_dump *dump, const stage *s)
{
    char part[PATH_BYTES];
    if (stage_path(dump, s->name, ".npy.part", part, NULL) == VR_OK) unlink(part);
}

int vr_dump_close(vr_dump *dump, vr_err *e)
{
    if (!dump) return VR_OK;
    for (int i = 0; i < dump->n_stages && dump->first.code == VR_OK; i++) finish_stage(dump, &dump->stages[i]);
    const int rc = dump->first.code;
    if (rc != VR_OK && e) *e = dump->first;
    for (int i = 0; i < dump->n_stages; i++) {
        if (rc != VR_OK) remove_stage(dump, &dump->stages[i]);
        free(dump->stages[i].name);
    }
    free(dump->stages);
    free(dump->prefix);
    free(dump->dir);
    free(dump);
    return rc;
}
