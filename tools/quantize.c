/*
 * quantize.c - vidrun-quantize: the same weight file with matrices of another type.
 *
 *   IN -> vr_weights_open -> target type of every tensor -> head -> tensor by tensor, 16 rows at a time -> SHA-256 -> OUT
 *
 * The bytes are those that tools/convert/convert.py --type writes from the same numbers. OUT appears under its name when it is
 * whole and on the disk; on any failure, an interrupt included, nothing is left. Keys stay as they are, but for the digests and
 * the alignment of stock files, which becomes 64.
 * Exit status: 0 done, 1 the output cannot be written, 2 usage, 3 IN cannot be read or converted, 130 interrupted.
 * Ref:  weights/FORMAT.md (which tensors have which type).
 * Trap: the digests have a fixed length: zeros are written first and overwritten at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <libavutil/mem.h>
#include <libavutil/sha.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/gguf_head.h"
#include "base/half.h"
#include "base/limits.h"
#include "base/strips.h"
#include "base/weights.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/report.h"

enum { ALIGNMENT = 64, DIGEST_BYTES = 32, ROWS = VR_STRIP_ROWS };

#define DIGEST_KEY    "vidrun.tensor_sha256"
#define ALIGNMENT_KEY "general.alignment"
#define CHUNK_BYTES   ((size_t)1 << 24)

typedef struct options {
    const char *in, *out, *type, *towers;
    bool help, version;
} options;

typedef struct quantizer {
    const options *o;
    vr_dtype decoder, table, other; /* types of the decoder's matrices, of token table and head, of other matrices */
    vr_weights *w;
    vr_hooks hooks;
    struct AVSHA *sha;
    FILE *file;
    char *temporary;
    size_t total_bytes, done_bytes; /* of tensors, as they are written */
    size_t digests_at;              /* in the file; 0: there are none */
    float *rows;                    /* [ROWS, cols] of the tensor that is being written */
    void *packed;                   /* the same in its new type */
} quantizer;

static const char help_text[] =
    "Usage: vidrun-quantize IN OUT --type TYPE [--towers TYPE]\n"
    "Write a weight file with matrices of another type.\n"
    "\n"
    "  --type TYPE    f32, f16, bf16; q8_0 or q4_0: the matrices of the decoder\n"
    "  --towers TYPE  f32, f16 (default), bf16 or q8_0: all other matrices, where --type is q8_0 or q4_0\n"
    "  --help         show this text\n"
    "  --version      show the version\n"
    "\n"
    "Norms, biases, positions and queries stay F32. Matrices that are quantised already stay as they are.\n"
    "Exit status: 0 done, 1 output cannot be written, 2 usage, 3 input unreadable or not convertible.\n";

static int parse_options(options *o, int argc, char **argv, vr_err *e)
{
    for (int i = 1; i < argc; i++) {
        const char *const word = argv[i];
        const char **value = strcmp(word, "--type") == 0 ? &o->type : strcmp(word, "--towers") == 0 ? &o->towers : NULL;
        if (value) {
            if (i + 1 == argc) return vr_fail(e, VR_ERR_USAGE, "option %s needs a value", word);
            *value = argv[++i];
        } else if (strcmp(word, "--help") == 0) {
            o->help = true;
        } else if (strcmp(word, "--version") == 0) {
            o->version = true;
        } else if (word[0] == '-' && word[1]) {
            return vr_fail(e, VR_ERR_USAGE, "unknown option %s", word);
        } else if (o->out) {
            return vr_fail(e, VR_ERR_USAGE, "more than two files given");
        } else {
            *(o->in ? &o->out : &o->in) = word;
        }
    }
    if (o->help || o->version) return VR_OK;
    if (!o->in || !o->out || !*o->out) return vr_fail(e, VR_ERR_USAGE, "IN and OUT are needed");
    return o->type ? VR_OK : vr_fail(e, VR_ERR_USAGE, "--type is needed");
}

static int choose_types(quantizer *q, vr_err *e)
{
    static const char types[] = "f32 f16 bf16 q8_0 q4_0", tower_types[] = "f32 f16 bf16 q8_0";
    static const vr_dtype numbers[] = { VR_DTYPE_F32, VR_DTYPE_F16, VR_DTYPE_BF16, VR_DTYPE_Q8_R16, VR_DTYPE_Q4_R16 };
    const int type = vr_option_choice(types, q->o->type),
              towers = q->o->towers ? vr_option_choice(tower_types, q->o->towers) : 1;
    if (type < 0) return vr_fail(e, VR_ERR_USAGE, "--type: '%s' is not one of: %s", q->o->type, types);
    if (towers < 0) return vr_fail(e, VR_ERR_USAGE, "--towers: '%s' is not one of: %s", q->o->towers, tower_types);
    const bool strips = vr_is_strips(numbers[type]);
    if (q->o->towers && !strips)
        return vr_fail(e, VR_ERR_USAGE, "--towers: the towers have the type of --type unless that is q8_0 or q4_0");
    q->decoder = numbers[type];
    q->table = strips ? VR_DTYPE_Q8_R16 : q->decoder;
    q->other = strips ? numbers[towers] : q->decoder;
    return VR_OK;
}

/* ---- which type ---- */

static bool is_spelled(vr_string s, const char *expected)
{
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

static bool ends_with(vr_string s, const char *end)
{
    const size_t n = strlen(end);
    return s.n_bytes >= n && memcmp(s.data + s.n_bytes - n, end, n) == 0;
}

/* What follows blk.N behind the prefix; without a byte: the name is another. */
static vr_string of_block(vr_string name, const char *prefix)
{
    const size_t first = strlen(prefix);
    size_t at = first;
    if (name.n_bytes < first || memcmp(name.data, prefix, first) != 0) return (vr_string){ 0 };
    while (at < name.n_bytes && name.data[at] >= '0' && name.data[at] <= '9') at++;
    return at == first ? (vr_string){ 0 } : (vr_string){ .data = name.data + at, .n_bytes = name.n_bytes - at };
}

/* blk.N.attn_*.weight, blk.N.ffn_*.weight; names of two axes */
static bool is_decoder(vr_string name)
{
    const vr_string rest = of_block(name, "blk.");
    return (rest.n_bytes > 6 && memcmp(rest.data, ".attn_", 6) == 0) ||
           (rest.n_bytes > 5 && memcmp(rest.data, ".ffn_", 5) == 0);
}

/* Two matrices, one below the other, that are used apart and would share a strip. */
static bool shares_a_strip(const vr_weights_tensor *t)
{
    return is_spelled(of_block(t->name, "dino.blk."), ".fc1.weight") && t->shape[0] % (2 * VR_STRIP_ROWS) != 0;
}

/* What the tensor becomes. Taps of depthwise convolutions (.conv.weight) and all with one axis are no matrices. */
static uint32_t target_of(const quantizer *q, const vr_weights_tensor *t)
{
    const bool plain = t->type == VR_DTYPE_F32 || t->type == VR_DTYPE_F16 || t->type == VR_DTYPE_BF16;
    if (!plain || t->n_dims != 2 || !ends_with(t->name, ".weight") || ends_with(t->name, ".conv.weight")) return t->type;
    if (is_spelled(t->name, "token_embd.weight") || is_spelled(t->name, "output.weight")) return q->table;
    if (is_decoder(t->name)) return q->decoder;
    return vr_is_strips(q->other) && shares_a_strip(t) ? VR_DTYPE_F16 : q->other;
}

static size_t bytes_of(const vr_weights_tensor *t, uint32_t type)
{
    if (type == t->type) return t->n_bytes;
    if (vr_is_strips((vr_dtype)type)) return vr_strips_bytes((vr_dtype)type, t->shape[0], t->shape[1]);
    return (size_t)t->shape[0] * (size_t)t->shape[1] * vr_dtype_bytes((vr_dtype)type);
}

static size_t padded(size_t n_bytes)
{
    return (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- head ---- */

static int put_digests(quantizer *q, vr_gguf_head *head, vr_err *e)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    const int n = vr_weights_n_tensors(q->w);
    const char **all = malloc(((size_t)n + 1) * sizeof *all);
    if (!all) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d digests", n);
    for (int i = 0; i < n; i++) all[i] = zeros;
    q->digests_at = head->bytes.n_bytes + sizeof(uint64_t) + strlen(DIGEST_KEY) + 2 * sizeof(uint32_t) + sizeof(uint64_t);
    const int rc = vr_gguf_put_texts(head, DIGEST_KEY, all, n, e);
    free(all);
    return rc;
}

static int put_alignment(vr_gguf_head *head, vr_err *e)
{
    const uint32_t alignment = ALIGNMENT;
    return vr_gguf_put_raw(head, (vr_string){ ALIGNMENT_KEY, strlen(ALIGNMENT_KEY) }, VR_GGUF_U32, &alignment, sizeof alignment,
                           e);
}

static int put_keys(quantizer *q, vr_gguf_head *head, vr_err *e)
{
    for (int i = 0; i < vr_weights_n_keys(q->w); i++) {
        vr_weights_key k;
        vr_weights_key_at(q->w, i, &k);
        if (is_spelled(k.name, DIGEST_KEY)) {
            VR_TRY(put_digests(q, head, e));
        } else if (is_spelled(k.name, ALIGNMENT_KEY)) {
            VR_TRY(put_alignment(head, e));
        } else {
            VR_TRY(vr_gguf_put_key(head, q->w, &k, e));
        }
    }
    return vr_weights_has(q->w, ALIGNMENT_KEY) ? VR_OK : put_alignment(head, e);
}

static int write_bytes(quantizer *q, const void *data, size_t n_bytes, vr_err *e)
{
    if (fwrite(data, 1, n_bytes, q->file) == n_bytes) return VR_OK;
    return vr_fail(e, VR_ERR_OTHER, "%s: %s", q->o->out, strerror(errno));
}

static int write_padding(quantizer *q, size_t n_bytes, vr_err *e)
{
    static const char zeros[ALIGNMENT];
    return write_bytes(q, zeros, padded(n_bytes) - n_bytes, e);
}

static int write_head(quantizer *q, vr_err *e)
{
    vr_gguf_head head = { 0 };
    int rc = vr_gguf_head_begin(&head, e);
    if (rc == VR_OK) rc = put_keys(q, &head, e);
    for (int i = 0; rc == VR_OK && i < vr_weights_n_tensors(q->w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(q->w, i, &t);
        const uint32_t type = target_of(q, &t);
        rc = vr_gguf_put_tensor(&head, t.name, type, t.n_dims, t.shape, q->total_bytes, e);
        q->total_bytes += padded(bytes_of(&t, type));
    }
    if (rc == VR_OK) rc = vr_gguf_head_end(&head, e);
    if (rc == VR_OK) rc = write_bytes(q, head.bytes.data, head.bytes.n_bytes, e);
    if (rc == VR_OK) rc = write_padding(q, head.bytes.n_bytes, e);
    vr_text_free(&head.bytes);
    return rc;
}

/* ---- tensors ---- */

static float number_at(const vr_weights_tensor *t, size_t i)
{
    uint16_t half;
    float wide;
    if (t->type == VR_DTYPE_F32) {
        memcpy(&wide, (const unsigned char *)t->data + i * sizeof wide, sizeof wide);
        return wide;
    }
    memcpy(&half, (const unsigned char *)t->data + i * sizeof half, sizeof half);
    return t->type == VR_DTYPE_F16 ? vr_f16_to_f32(half) : vr_bf16_to_f32(half);
}

/* n numbers of q->rows as type -> q->packed */
static int narrow(const quantizer *q, const vr_weights_tensor *t, uint32_t type, size_t n, vr_err *e)
{
    uint16_t *const half = q->packed;
    if (type == VR_DTYPE_F32) memcpy(q->packed, q->rows, n * sizeof *q->rows);
    if (type == VR_DTYPE_BF16)
        for (size_t i = 0; i < n; i++) half[i] = vr_f32_to_bf16(q->rows[i]);
    for (size_t i = 0; type == VR_DTYPE_F16 && i < n; i++) {
        half[i] = vr_f32_to_f16(q->rows[i]);
        if (isfinite(q->rows[i]) && (half[i] & 0x7fff) == 0x7c00)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: tensor \"%.*s\" has numbers too large for F16; use bf16 or f32", q->o->in,
                           (int)t->name.n_bytes, t->name.data);
    }
    return VR_OK;
}

/* Rows first.. (ROWS of them, or what is left) -> q->packed; *n_bytes of it. */
static int pack_rows(const quantizer *q, const vr_weights_tensor *t, uint32_t type, int64_t first, size_t *n_bytes, vr_err *e)
{
    const int cols = (int)t->shape[1], n = (int)(t->shape[0] - first < ROWS ? t->shape[0] - first : ROWS);
    const size_t count = (size_t)n * (size_t)cols, from = (size_t)first * (size_t)cols;
    const bool strips = vr_is_strips((vr_dtype)type);
    for (size_t i = 0; i < count; i++) {
        q->rows[i] = number_at(t, from + i);
        if (strips && !isfinite(q->rows[i]))
            return vr_fail(e, VR_ERR_WEIGHTS,
                           "%s: tensor \"%.*s\" holds NaN or infinity, which a quantised type cannot; use f16, bf16 or f32",
                           q->o->in, (int)t->name.n_bytes, t->name.data);
    }
    if (strips) {
        *n_bytes = vr_strips_bytes((vr_dtype)type, n, cols);
        vr_strip_quantise(q->packed, (vr_dtype)type, q->rows, cols, n, cols);
        return VR_OK;
    }
    *n_bytes = count * vr_dtype_bytes((vr_dtype)type);
    return narrow(q, t, type, count, e);
}

/* Writes a piece of the tensor and counts it. */
static int piece_done(quantizer *q, const void *data, size_t n_bytes, vr_err *e)
{
    VR_TRY(write_bytes(q, data, n_bytes, e));
    av_sha_update(q->sha, data, n_bytes);
    q->done_bytes += n_bytes;
    if (q->hooks.progress) q->hooks.progress(q->hooks.cookie, "write", (int64_t)q->done_bytes, (int64_t)q->total_bytes);
    return vr_interrupted() ? vr_fail(e, VR_ERR_CANCEL, "interrupted") : VR_OK;
}

static int write_rows(quantizer *q, const vr_weights_tensor *t, uint32_t type, vr_err *e)
{
    const size_t cols = (size_t)t->shape[1], bytes = cols * ROWS * sizeof(float);
    int rc = VR_OK;
    q->rows = malloc(bytes);
    q->packed = malloc(bytes + sizeof(vr_q8_block)); /* no type takes more than f32, but for the last block of a row */
    if (!q->rows || !q->packed) rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory for rows of %zu numbers", cols);
    for (int64_t first = 0; rc == VR_OK && first < t->shape[0]; first += ROWS) {
        size_t n_bytes = 0;
        rc = pack_rows(q, t, type, first, &n_bytes, e);
        if (rc == VR_OK) rc = piece_done(q, q->packed, n_bytes, e);
    }
    free(q->rows);
    free(q->packed);
    return rc;
}

static int write_tensor(quantizer *q, int i, char digest[2 * DIGEST_BYTES + 1], vr_err *e)
{
    vr_weights_tensor t;
    uint8_t sum[DIGEST_BYTES];
    vr_weights_tensor_at(q->w, i, &t);
    const uint32_t type = target_of(q, &t);
    const size_t n_bytes = bytes_of(&t, type);
    av_sha_init(q->sha, 8 * DIGEST_BYTES);
    if (type != t.type) VR_TRY(write_rows(q, &t, type, e));
    for (size_t at = 0; type == t.type && at < n_bytes; at += CHUNK_BYTES)
        VR_TRY(piece_done(q, (const char *)t.data + at, n_bytes - at < CHUNK_BYTES ? n_bytes - at : CHUNK_BYTES, e));
    av_sha_final(q->sha, sum);
    for (size_t b = 0; b < DIGEST_BYTES; b++) snprintf(digest + 2 * b, 3, "%02x", sum[b]);
    q->done_bytes += padded(n_bytes) - n_bytes;
    return write_padding(q, n_bytes, e);
}

static int write_tensors(quantizer *q, vr_err *e)
{
    const int n = vr_weights_n_tensors(q->w);
    const uint64_t length = (uint64_t)2 * DIGEST_BYTES;
    const size_t entry = sizeof length + 2 * DIGEST_BYTES;
    char *digests = malloc((size_t)n * entry + 1), digest[2 * DIGEST_BYTES + 1];
    int rc = digests ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d digests", n);
    for (int i = 0; rc == VR_OK && i < n; i++) {
        rc = write_tensor(q, i, digest, e);
        memcpy(digests + (size_t)i * entry, &length, sizeof length);
        memcpy(digests + (size_t)i * entry + sizeof length, digest, 2 * DIGEST_BYTES);
    }
    if (rc == VR_OK && q->digests_at && fseeko(q->file, (off_t)q->digests_at, SEEK_SET) != 0)
        rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", q->o->out, strerror(errno));
    if (rc == VR_OK && q->digests_at) rc = write_bytes(q, digests, (size_t)n * entry, e);
    free(digests);
    return rc;
}

/* ---- files ---- */

static int check_output(const quantizer *q, vr_err *e)
{
    struct stat in, out;
    if (stat(q->o->out, &out) != 0) return VR_OK;
    if (!S_ISREG(out.st_mode)) return vr_fail(e, VR_ERR_USAGE, "%s: not a file that could be written", q->o->out);
    if (stat(q->o->in, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
        return vr_fail(e, VR_ERR_USAGE, "%s: is the input, it is not overwritten", q->o->out);
    return VR_OK;
}

/* OUT.PID.part beside OUT */
static int open_temporary(quantizer *q, vr_err *e)
{
    static const char end[] = ".000000.part";
    const size_t n = strlen(q->o->out) + sizeof end;
    q->temporary = malloc(n);
    if (!q->temporary) return vr_fail(e, VR_ERR_LIMIT, "not enough memory");
    snprintf(q->temporary, n, "%s.%06ld.part", q->o->out, (long)getpid() % 1000000);
    const int fd = open(q->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) q->file = fdopen(fd, "wb");
    if (q->file) return VR_OK;
    const int rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", q->temporary, strerror(errno));
    if (fd >= 0) close(fd), unlink(q->temporary);
    return rc;
}

static int close_temporary(quantizer *q, int rc, vr_err *e)
{
    if (!q->file) return rc;
    if (rc == VR_OK && (fflush(q->file) != 0 || fsync(fileno(q->file)) != 0))
        rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", q->o->out, strerror(errno));
    /* what small pieces have left in memory are small pages: whoever maps the file reads it anew, in large ones (weights.c) */
    if (rc == VR_OK) posix_fadvise(fileno(q->file), 0, 0, POSIX_FADV_DONTNEED);
    if (fclose(q->file) != 0 && rc == VR_OK) rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", q->o->out, strerror(errno));
    if (rc == VR_OK && rename(q->temporary, q->o->out) != 0)
        rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", q->o->out, strerror(errno));
    if (rc != VR_OK) unlink(q->temporary);
    return rc;
}

static int quantize(quantizer *q, vr_err *e)
{
    VR_TRY(choose_types(q, e));
    VR_TRY(check_output(q, e));
    VR_TRY(vr_weights_open(&q->w, q->o->in, e));
    q->sha = av_sha_alloc();
    if (!q->sha) return vr_fail(e, VR_ERR_LIMIT, "not enough memory");
    int rc = open_temporary(q, e);
    if (rc == VR_OK) rc = write_head(q, e);
    if (rc == VR_OK) rc = write_tensors(q, e);
    return close_temporary(q, rc, e);
}

int main(int argc, char **argv)
{
    vr_err e = { 0 };
    options o = { 0 };
    vr_output output;
    vr_report report;
    quantizer q = { .o = &o };
    vr_interrupt_install();
    vr_output_open(&output, STDOUT_FILENO);
    vr_report_open(&report, stderr, &(vr_options){ 0 }, &output);
    vr_report_hooks(&report, &q.hooks);
    int rc = parse_options(&o, argc, argv, &e);
    if (rc == VR_OK && (o.help || o.version))
        fputs(o.help ? help_text : "vidrun-quantize " VIDRUN_VERSION "\n", stdout);
    else if (rc == VR_OK)
        rc = quantize(&q, &e);
    vr_report_erase_bar(&report);
    if (rc != VR_OK && rc != VR_ERR_CANCEL) fprintf(stderr, "vidrun-quantize: %s\n", e.text);
    if (rc == VR_ERR_USAGE) fputs("Try vidrun-quantize --help\n", stderr);
    av_free(q.sha);
    vr_weights_free(q.w);
    free(q.temporary);
    return rc == VR_ERR_CANCEL ? VR_EXIT_INTERRUPTED : -rc;
}
