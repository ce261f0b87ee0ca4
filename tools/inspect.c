/*
 * inspect.c - vidrun-inspect: what is in a weight file, and is it whole?
 *
 *   file -> vr_weights_open -> keys -> lines or JSON
 *                           -> tensors -> [SHA-256 compared] -> [NaN and Inf counted] -> lines or JSON -> totals per type
 *
 * Tensor data is read only for --verify and --nan. Answers go to stdout, progress and errors to stderr.
 * Exit status: 0 all is well, 1 a digest differs, a number is not finite or the output cannot be written, 2 usage, 3 the file
 * cannot be read.
 * Ref:  weights/FORMAT.md (vidrun.tensor_sha256); FIPS 180-4 through av_sha of libavutil.
 * Trap: names are printable ASCII (weights.c sees to it); values are not and are escaped before a terminal sees them.
 */
#include <inttypes.h>
#include <libavutil/mem.h>
#include <libavutil/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "base/strips.h"
#include "base/utf8.h"
#include "base/weights.h"
#include "cli/json.h"
#include "vidrun.h"

#define SHOWN_ELEMENTS 8                 /* of an array */
#define CHUNK_BYTES    ((size_t)1 << 24) /* between two lines of progress */
#define DIGEST_BYTES   32
#define DIGEST_KEY     "vidrun.tensor_sha256"

typedef struct options {
    const char *path;
    bool keys, tensors, verify, nan, json;
    bool help, version;
} options;

/* What the checks found in one tensor. */
typedef struct finding {
    bool differs; /* digest */
    bool counted; /* nan and inf are numbers of elements */
    int64_t nan, inf;
} finding;

typedef struct inspector {
    const options *o;
    const vr_weights *w;
    struct AVSHA *sha;
    vr_json json;
    size_t total_bytes, done_bytes; /* of tensors, for progress */
    int n_different, n_not_finite;  /* tensors */
} inspector;

static const char help_text[] =
    "Usage: vidrun-inspect FILE [--keys] [--tensors] [--verify] [--nan] [--json]\n"
    "Show what a vidrun weight file holds and check it.\n"
    "\n"
    "  --keys     list the keys; of a long array the first elements\n"
    "  --tensors  list the tensors: shape, type, bytes, offset in the file\n"
    "  --verify   compare the SHA-256 of every tensor with key " DIGEST_KEY "\n"
    "  --nan      count NaN and infinite numbers in F32, F16 and BF16 tensors, and among the scales of strips\n"
    "  --json     one JSON object instead of lines\n"
    "  --help     show this text\n"
    "  --version  show the version\n"
    "\n"
    "Without --keys and --tensors only totals and what the checks found are shown.\n"
    "Exit status: 0 well, 1 a digest differs or a number is not finite, 2 usage, 3 file unreadable.\n";

static int parse_options(options *o, int argc, char **argv, vr_err *e)
{
    const struct {
        const char *name;
        bool *value;
    } flags[] = {
        { "--keys", &o->keys }, { "--tensors", &o->tensors }, { "--verify", &o->verify },   { "--nan", &o->nan },
        { "--json", &o->json }, { "--help", &o->help },       { "--version", &o->version },
    };
    bool operands = false;
    for (int i = 1; i < argc; i++) {
        bool *value = NULL;
        if (!operands && strcmp(argv[i], "--") == 0) {
            operands = true;
            continue;
        }
        for (size_t f = 0; !operands && f < sizeof flags / sizeof flags[0]; f++)
            if (strcmp(argv[i], flags[f].name) == 0) value = flags[f].value;
        if (value) {
            *value = true;
        } else if (!operands && argv[i][0] == '-') {
            char text[256];
            return vr_fail(e, VR_ERR_USAGE, "unknown option %s", vr_utf8_escape(text, sizeof text, argv[i], strlen(argv[i])));
        } else if (o->path) {
            return vr_fail(e, VR_ERR_USAGE, "more than one file given");
        } else {
            o->path = argv[i];
        }
    }
    if (!o->path && !o->help && !o->version) return vr_fail(e, VR_ERR_USAGE, "no file given");
    return VR_OK;
}

/* ---- keys ---- */

static vr_string string_element(const vr_weights *w, const vr_weights_key *k, int i)
{
    char name[VR_MAX_NAME + 1];
    snprintf(name, sizeof name, "%.*s", (int)k->name.n_bytes, k->name.data);
    vr_string s = { "", 0 };
    if (k->type == VR_GGUF_ARRAY)
        vr_weights_array_string(w, name, i, &s, NULL);
    else
        vr_weights_string(w, &s, NULL, "%s", name);
    return s;
}

static double float_element(const vr_weights_key *k, const unsigned char *p)
{
    double wide = 0;
    float narrow = 0;
    if (k->array_type == VR_GGUF_F64) {
        memcpy(&wide, p, sizeof wide);
        return wide;
    }
    memcpy(&narrow, p, sizeof narrow);
    return (double)narrow;
}

static void print_element(const vr_weights *w, const vr_weights_key *k, int i)
{
    const unsigned char *p = k->value + (size_t)i * vr_gguf_type_bytes(k->array_type);
    int64_t value = 0;
    if (k->array_type == VR_GGUF_STRING) {
        char text[160];
        const vr_string s = string_element(w, k, i);
        printf("\"%s\"", vr_utf8_escape(text, sizeof text, s.data, s.n_bytes));
    } else if (k->array_type == VR_GGUF_U64) {
        uint64_t natural;
        memcpy(&natural, p, sizeof natural);
        printf("%" PRIu64, natural);
    } else if (k->array_type == VR_GGUF_BOOL) {
        fputs(*p ? "true" : "false", stdout);
    } else if (vr_gguf_integer(k->array_type, p, &value)) {
        printf("%" PRId64, value);
    } else {
        printf(k->array_type == VR_GGUF_F64 ? "%.15g" : "%.7g", float_element(k, p));
    }
}

static void json_element(vr_json *j, const char *name, const vr_weights *w, const vr_weights_key *k, int i)
{
    const unsigned char *p = k->value + (size_t)i * vr_gguf_type_bytes(k->array_type);
    int64_t value = 0;
    if (k->array_type == VR_GGUF_STRING) {
        const vr_string s = string_element(w, k, i);
        char *text = malloc(s.n_bytes + 1);
        if (text) {
            if (s.n_bytes > 0) memcpy(text, s.data, s.n_bytes);
            for (size_t b = 0; b < s.n_bytes; b++)
                if (!text[b]) memset(text + b, 0xff, 1); /* no UTF-8: shown as U+FFFD, not as the end */
            text[s.n_bytes] = '\0';
        }
        vr_json_text(j, name, text);
        free(text);
    } else if (k->array_type == VR_GGUF_U64) {
        uint64_t natural;
        memcpy(&natural, p, sizeof natural);
        vr_json_natural(j, name, natural);
    } else if (vr_gguf_integer(k->array_type, p, &value)) {
        vr_json_int(j, name, value);
    } else {
        vr_json_number(j, name, float_element(k, p));
    }
}

static void json_key(inspector *x, const vr_weights_key *k, const char *name, const char *type)
{
    vr_json *j = &x->json;
    vr_json_open(j, NULL, '{');
    vr_json_text(j, "name", name);
    vr_json_text(j, "type", type);
    if (k->type == VR_GGUF_ARRAY) {
        vr_json_int(j, "count", k->count);
        vr_json_open(j, "first", '[');
        for (int i = 0; i < k->count && i < SHOWN_ELEMENTS; i++) json_element(j, NULL, x->w, k, i);
        vr_json_close(j, ']');
    } else {
        json_element(j, "value", x->w, k, 0);
    }
    vr_json_close(j, '}');
}

static void show_keys(inspector *x)
{
    if (x->o->json) vr_json_open(&x->json, "keys", '[');
    for (int i = 0; i < vr_weights_n_keys(x->w); i++) {
        vr_weights_key k;
        vr_weights_key_at(x->w, i, &k);
        char name[VR_MAX_NAME + 1], type[64];
        snprintf(name, sizeof name, "%.*s", (int)k.name.n_bytes, k.name.data);
        const bool array = k.type == VR_GGUF_ARRAY;
        snprintf(type, sizeof type, array ? "[%s]" : "%s", vr_weights_type_name(k.array_type));
        if (x->o->json) {
            json_key(x, &k, name, type);
            continue;
        }
        printf("%-44s %-9s", name, type);
        if (array) printf(" %" PRId64 ":", k.count);
        for (int n = 0; n < k.count && n < SHOWN_ELEMENTS; n++) {
            fputs(n ? ", " : " ", stdout);
            print_element(x->w, &k, n);
        }
        puts(k.count > SHOWN_ELEMENTS ? ", ..." : "");
    }
    if (x->o->json) vr_json_close(&x->json, ']');
}

/* ---- checks ---- */

static void show_progress(const inspector *x)
{
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\rchecked %zu of %zu MB", x->done_bytes >> 20, x->total_bytes >> 20);
    if (x->done_bytes == x->total_bytes) fputs("\r\033[K", stderr);
}

static bool digest_differs(const inspector *x, const vr_weights_tensor *t, int i)
{
    uint8_t digest[DIGEST_BYTES];
    av_sha_init(x->sha, 8 * DIGEST_BYTES);
    for (size_t at = 0; at < t->n_bytes; at += CHUNK_BYTES) {
        const size_t n = t->n_bytes - at < CHUNK_BYTES ? t->n_bytes - at : CHUNK_BYTES;
        av_sha_update(x->sha, (const uint8_t *)t->data + at, n);
    }
    av_sha_final(x->sha, digest);
    char text[2 * DIGEST_BYTES + 1];
    for (size_t b = 0; b < DIGEST_BYTES; b++) snprintf(text + 2 * b, 3, "%02x", digest[b]);
    vr_string expected = { "", 0 };
    vr_weights_array_string(x->w, DIGEST_KEY, i, &expected, NULL);
    return expected.n_bytes != sizeof text - 1 || memcmp(expected.data, text, sizeof text - 1) != 0;
}

/* An exponent of ones is infinite, with a fraction it is NaN. */
static void count_32(finding *f, const uint32_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = x[i] & 0x7fffffffu;
        f->inf += magnitude == 0x7f800000u;
        f->nan += magnitude > 0x7f800000u;
    }
}

static void count_16(finding *f, const uint16_t *x, size_t n, unsigned infinity)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned magnitude = x[i] & 0x7fffu;
        f->inf += magnitude == infinity;
        f->nan += magnitude > infinity;
    }
}

/* Only the scales (and least values) of strips can be infinite or NaN. */
static void count_scales(finding *f, const vr_weights_tensor *t)
{
    const size_t block = vr_strip_block_bytes((vr_dtype)t->type);
    for (size_t at = 0; at < t->n_bytes; at += block) {
        uint16_t scales[4 * VR_STRIP_ROWS];
        const size_t n = t->type == VR_DTYPE_Q4M_R16 ? 4 * VR_STRIP_ROWS : 2 * VR_STRIP_ROWS;
        memcpy(scales, (const unsigned char *)t->data + at, n * sizeof scales[0]);
        count_16(f, scales, n, 0x7c00);
    }
}

static finding check_tensor(inspector *x, const vr_weights_tensor *t, int i)
{
    finding f = { 0 };
    if (x->o->verify) f.differs = digest_differs(x, t, i);
    if (x->o->nan) {
        const bool strips = vr_is_strips((vr_dtype)t->type);
        f.counted = strips || t->type == VR_DTYPE_F32 || t->type == VR_DTYPE_F16 || t->type == VR_DTYPE_BF16;
        if (strips) count_scales(&f, t);
        if (t->type == VR_DTYPE_F32) count_32(&f, t->data, t->n_bytes / 4);
        if (t->type == VR_DTYPE_F16) count_16(&f, t->data, t->n_bytes / 2, 0x7c00);
        if (t->type == VR_DTYPE_BF16) count_16(&f, t->data, t->n_bytes / 2, 0x7f80);
    }
    x->n_different += f.differs;
    x->n_not_finite += f.nan > 0 || f.inf > 0;
    x->done_bytes += t->n_bytes;
    if (x->o->verify || x->o->nan) show_progress(x);
    return f;
}

/* ---- tensors ---- */

static void json_tensor(inspector *x, const vr_weights_tensor *t, const char *name, const finding *f)
{
    vr_json *j = &x->json;
    vr_json_open(j, NULL, '{');
    vr_json_text(j, "name", name);
    vr_json_text(j, "type", vr_dtype_name((vr_dtype)t->type));
    vr_json_open(j, "shape", '[');
    for (int d = 0; d < t->n_dims; d++) vr_json_int(j, NULL, t->shape[d]);
    vr_json_close(j, ']');
    vr_json_natural(j, "bytes", t->n_bytes);
    vr_json_natural(j, "offset", t->offset);
    if (x->o->verify) vr_json_text(j, "sha256", f->differs ? "differs" : "equal");
    if (f->counted) {
        vr_json_int(j, "nan", f->nan);
        vr_json_int(j, "inf", f->inf);
    }
    vr_json_close(j, '}');
}

static void print_tensor(const inspector *x, const vr_weights_tensor *t, const char *name, const finding *f)
{
    const bool bad = f->differs || f->nan > 0 || f->inf > 0;
    if (!x->o->tensors && !bad) return;
    char shape[96];
    size_t n = 0;
    for (int d = 0; d < t->n_dims; d++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, "%c%" PRId64, d ? ',' : '[', t->shape[d]);
    snprintf(shape + n, sizeof shape - n, "]");
    printf("%-44s %-6s %-15s %12zu bytes at %zu", name, vr_dtype_name((vr_dtype)t->type), shape, t->n_bytes, t->offset);
    if (f->differs) fputs(", SHA-256 differs", stdout);
    if (f->nan > 0 || f->inf > 0) printf(", %" PRId64 " NaN, %" PRId64 " Inf", f->nan, f->inf);
    putchar('\n');
}

static void show_tensors(inspector *x)
{
    const bool list = x->o->json && x->o->tensors;
    if (list) vr_json_open(&x->json, "tensors", '[');
    for (int i = 0; i < vr_weights_n_tensors(x->w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(x->w, i, &t);
        char name[VR_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)t.name.n_bytes, t.name.data);
        const finding f = check_tensor(x, &t, i);
        if (list) json_tensor(x, &t, name, &f);
        if (!x->o->json) print_tensor(x, &t, name, &f);
    }
    if (list) vr_json_close(&x->json, ']');
}

static void show_total(inspector *x, uint32_t type)
{
    int count = 0;
    size_t bytes = 0;
    for (int i = 0; i < vr_weights_n_tensors(x->w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(x->w, i, &t);
        count += t.type == type;
        bytes += t.type == type ? t.n_bytes : 0;
    }
    if (count == 0) return;
    const char *name = vr_dtype_name((vr_dtype)type);
    if (!x->o->json) {
        printf("%-6s %5d tensors %15zu bytes\n", name, count, bytes);
        return;
    }
    vr_json_open(&x->json, NULL, '{');
    vr_json_text(&x->json, "type", name);
    vr_json_int(&x->json, "tensors", count);
    vr_json_natural(&x->json, "bytes", bytes);
    vr_json_close(&x->json, '}');
}

static void show_totals(inspector *x)
{
    if (x->o->json) vr_json_open(&x->json, "totals", '[');
    for (uint32_t type = 0; type <= VR_DTYPE_Q8_R16; type++) show_total(x, type); /* the largest number */
    if (x->o->json) {
        vr_json_close(&x->json, ']');
        vr_json_natural(&x->json, "file_bytes", vr_weights_file_bytes(x->w));
        if (x->o->verify) vr_json_int(&x->json, "different", x->n_different);
        if (x->o->nan) vr_json_int(&x->json, "not_finite", x->n_not_finite);
        return;
    }
    printf("%d keys, %d tensors, %zu bytes in all\n", vr_weights_n_keys(x->w), vr_weights_n_tensors(x->w),
           vr_weights_file_bytes(x->w));
    if (x->o->verify) printf("SHA-256: %d of %d tensors differ\n", x->n_different, vr_weights_n_tensors(x->w));
    if (x->o->nan) printf("NaN or Inf: in %d of %d tensors\n", x->n_not_finite, vr_weights_n_tensors(x->w));
}

static int check_digest_key(const vr_weights *w, vr_err *e)
{
    int count = 0;
    VR_TRY(vr_weights_array(w, &count, e, DIGEST_KEY));
    if (count != vr_weights_n_tensors(w))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"" DIGEST_KEY "\" has %d digests for %d tensors", vr_weights_path(w), count,
                       vr_weights_n_tensors(w));
    vr_string s;
    return count > 0 ? vr_weights_array_string(w, DIGEST_KEY, 0, &s, e) : VR_OK;
}

static int inspect(inspector *x, vr_err *e)
{
    if (x->o->verify) {
        VR_TRY(check_digest_key(x->w, e));
        x->sha = av_sha_alloc();
        if (!x->sha) return vr_fail(e, VR_ERR_OTHER, "not enough memory");
    }
    for (int i = 0; i < vr_weights_n_tensors(x->w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(x->w, i, &t);
        x->total_bytes += t.n_bytes;
    }
    if (x->o->json) vr_json_open(&x->json, NULL, '{');
    if (x->o->json) vr_json_text(&x->json, "file", vr_weights_path(x->w));
    if (x->o->keys) show_keys(x);
    show_tensors(x);
    show_totals(x);
    if (x->o->json) {
        vr_json_close(&x->json, '}');
        putchar('\n');
    }
    if (x->n_different > 0 || x->n_not_finite > 0)
        return vr_fail(e, VR_ERR_OTHER, "%s: %d digests differ, %d tensors hold NaN or Inf", vr_weights_path(x->w),
                       x->n_different, x->n_not_finite);
    return VR_OK;
}

int main(int argc, char **argv)
{
    vr_err e = { 0 };
    options o = { 0 };
    vr_weights *w = NULL;
    inspector x = { .o = &o, .json = { .file = stdout } };
    int rc = parse_options(&o, argc, argv, &e);
    if (rc != VR_OK) goto done;
    if (o.help || o.version) {
        fputs(o.help ? help_text : "vidrun-inspect " VIDRUN_VERSION "\n", stdout);
        goto done;
    }
    if ((rc = vr_weights_open(&w, o.path, &e)) != VR_OK) goto done;
    x.w = w;
    rc = inspect(&x, &e);
done:
    if (fflush(stdout) != 0 || ferror(stdout)) rc = vr_fail(&e, VR_ERR_OTHER, "the output cannot be written");
    if (rc != VR_OK) fprintf(stderr, "vidrun-inspect: %s\n", e.text);
    if (rc == VR_ERR_USAGE) fputs("Try vidrun-inspect --help\n", stderr);
    av_free(x.sha);
    vr_weights_free(w);
    return -rc;
}
