/*
 * make_weights.c - vidrun-make-weights: weight files of the released sizes with random numbers, for measuring.
 *
 *   small file of the same system -> keys, sizes replaced, vocabulary padded -> head
 *   tensors of the released sizes (released.c) -> random numbers that keep activations in range -> data
 *
 * The same seed gives the same bytes. An answer of such a model means nothing; its time and memory are those of the release.
 * Ref:  weights/FORMAT.md; a matrix of K columns has numbers of about 1/sqrt(K), norms are 1, biases 0.
 * Trap: digests (vidrun.tensor_sha256) are left out: they would take longer than the numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "base/gguf.h"
#include "base/gguf_head.h"
#include "base/half.h"
#include "base/limits.h"
#include "base/strips.h"
#include "bench/make/released.h"

#define CHUNK ((size_t)4 << 20) /* a multiple of every block */

typedef struct maker {
    const char *like, *out, *release;
    vr_dtype decoder, towers;
    uint64_t seed;
    vr_weights *small;
    released model;
    FILE *file;
} maker;

static const char usage[] = "Usage: vidrun-make-weights --like SMALL [--type TYPE] [--towers TYPE] [--seed N] RELEASE OUT\n"
                            "Write random weights of released sizes.\n"
                            "\n"
                            "  --like SMALL   a weight file of the same system and decoder: keys and vocabulary\n"
                            "  --type TYPE    decoder: q4_0 (default), q8_0, f16 or bf16\n"
                            "  --towers TYPE  all other matrices: bf16 (default) or f16\n"
                            "  --seed N       1\n"
                            "\n"
                            "Releases: ";

static bool is_spelled(vr_string s, const char *expected)
{
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

static int type_of(vr_dtype *out, const char *word, vr_err *e)
{
    static const struct {
        const char *name;
        vr_dtype type;
    } types[] = {
        { "q4_0", VR_DTYPE_Q4_R16 }, { "q8_0", VR_DTYPE_Q8_R16 }, { "f16", VR_DTYPE_F16 }, { "bf16", VR_DTYPE_BF16 }
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(word, types[i].name) == 0) return *out = types[i].type, VR_OK;
    return vr_fail(e, VR_ERR_USAGE, "%s is no type of matrices", word);
}

static int options_read(maker *m, int argc, char **argv, vr_err *e)
{
    *m = (maker){ .decoder = VR_DTYPE_Q4_R16, .towers = VR_DTYPE_BF16, .seed = 1 };
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-') {
            if (m->out) return vr_fail(e, VR_ERR_USAGE, "%s: too many words", argv[i]);
            *(m->release ? &m->out : &m->release) = argv[i];
            continue;
        }
        if (!value) return vr_fail(e, VR_ERR_USAGE, "%s: unknown, or its value is missing", argv[i]);
        if (strcmp(argv[i], "--like") == 0)
            m->like = value;
        else if (strcmp(argv[i], "--type") == 0)
            VR_TRY(type_of(&m->decoder, value, e));
        else if (strcmp(argv[i], "--towers") == 0)
            VR_TRY(type_of(&m->towers, value, e));
        else if (strcmp(argv[i], "--seed") == 0)
            m->seed = strtoull(value, NULL, 10);
        else
            return vr_fail(e, VR_ERR_USAGE, "%s: no such option", argv[i]);
        i++;
    }
    if (vr_is_strips(m->towers)) return vr_fail(e, VR_ERR_USAGE, "--towers: f16 or bf16");
    return m->like && m->out ? VR_OK : vr_fail(e, VR_ERR_USAGE, "--like, RELEASE and OUT are needed");
}

/* ---- head ---- */

static int vocabulary_size(const maker *m)
{
    return released_size(&m->model, "llama", "vocab_size");
}

static int put_tokens(const maker *m, vr_gguf_head *head, vr_err *e)
{
    const int V = vocabulary_size(m);
    int n, rc = vr_weights_array(m->small, &n, e, "tokenizer.ggml.tokens");
    char **all = calloc((size_t)V, sizeof *all);
    if (rc == VR_OK && n > V) rc = vr_fail(e, VR_ERR_USAGE, "%s: %d tokens are more than %d", m->like, n, V);
    if (rc == VR_OK && !all) rc = vr_fail(e, VR_ERR_LIMIT, "no memory for %d tokens", V);
    for (int i = 0; rc == VR_OK && i < V; i++) {
        char name[24];
        vr_string s = { name, (size_t)snprintf(name, sizeof name, "<unused_%d>", i) };
        if (i < n) rc = vr_weights_array_string(m->small, "tokenizer.ggml.tokens", i, &s, e);
        if (rc == VR_OK && !(all[i] = strndup(s.data, s.n_bytes))) rc = vr_fail(e, VR_ERR_LIMIT, "no memory for %d tokens", V);
    }
    if (rc == VR_OK) rc = vr_gguf_put_texts(head, "tokenizer.ggml.tokens", (const char *const *)all, V, e);
    for (int i = 0; all && i < V; i++) free(all[i]);
    free(all);
    return rc;
}

/* scores (f32, 0) or token types (i32, 5: unused) up to the vocabulary: four bytes a number, whatever they mean */
static int put_padded(const maker *m, vr_gguf_head *head, const vr_weights_key *k, vr_err *e)
{
    const uint64_t V = (uint64_t)vocabulary_size(m), n = (uint64_t)k->count;
    const size_t bytes = sizeof(uint32_t) + sizeof V + V * 4;
    const uint32_t last = k->array_type == VR_GGUF_I32 ? 5 : 0;
    unsigned char *value = malloc(bytes);
    if (!value) return vr_fail(e, VR_ERR_LIMIT, "no memory for %llu numbers", (unsigned long long)V);
    memcpy(value, &k->array_type, sizeof(uint32_t));
    memcpy(value + sizeof(uint32_t), &V, sizeof V);
    memcpy(value + sizeof(uint32_t) + sizeof V, k->value, n * 4);
    for (uint64_t i = n; i < V; i++) memcpy(value + sizeof(uint32_t) + sizeof V + i * 4, &last, sizeof last);
    const int rc = vr_gguf_put_raw(head, k->name, k->type, value, bytes, e);
    free(value);
    return rc;
}

static int put_keys(const maker *m, vr_gguf_head *head, vr_err *e)
{
    for (int i = 0; i < vr_weights_n_keys(m->small); i++) {
        vr_weights_key k;
        vr_weights_key_at(m->small, i, &k);
        const released_key *size = released_key_find(&m->model, k.name);
        if (is_spelled(k.name, "vidrun.tensor_sha256")) continue;
        if (is_spelled(k.name, "tokenizer.ggml.tokens"))
            VR_TRY(put_tokens(m, head, e));
        else if (is_spelled(k.name, "tokenizer.ggml.scores") || is_spelled(k.name, "tokenizer.ggml.token_type"))
            VR_TRY(put_padded(m, head, &k, e));
        else if (is_spelled(k.name, "general.name"))
            VR_TRY(vr_gguf_put_text(head, "general.name", m->release, e));
        else if (size)
            VR_TRY(vr_gguf_put_raw(head, k.name, VR_GGUF_U32, &size->value, sizeof size->value, e));
        else
            VR_TRY(vr_gguf_put_key(head, m->small, &k, e));
    }
    return VR_OK;
}

static vr_dtype dtype_of(const maker *m, const released_tensor *t)
{
    if (t->cols == 0 || t->table) return VR_DTYPE_F32;
    if (t->vocabulary && vr_is_strips(m->decoder)) return VR_DTYPE_Q8_R16; /* as vidrun-quantize has them */
    return t->decoder || t->vocabulary ? m->decoder : m->towers;
}

static size_t bytes_of(const maker *m, const released_tensor *t)
{
    const vr_dtype type = dtype_of(m, t);
    if (vr_is_strips(type)) return vr_strips_bytes(type, t->rows, t->cols);
    return (size_t)t->rows * (size_t)(t->cols ? t->cols : 1) * vr_dtype_bytes(type);
}

static size_t padded(size_t n_bytes)
{
    return (n_bytes + 63) / 64 * 64;
}

/* ---- numbers ---- */

/* n bytes, a multiple of 8 or less than the last word */
static void random_bytes(unsigned char *x, size_t n, uint64_t *seed)
{
    uint64_t s = *seed;
    for (size_t i = 0; i < n; i += sizeof s) {
        s ^= s << 13, s ^= s >> 7, s ^= s << 17;
        memcpy(x + i, &s, n - i < sizeof s ? n - i : sizeof s);
    }
    *seed = s;
}

/* Random bytes -> numbers of about `size`. */
static void shape_numbers(unsigned char *x, size_t n, vr_dtype type, float size)
{
    uint16_t *half = (uint16_t *)(void *)x;
    if (!vr_is_strips(type)) { /* the mantissa and the sign stay: size .. 2 size */
        const bool f16 = type == VR_DTYPE_F16;
        const uint16_t kept = f16 ? 0x83ff : 0x807f,
                       exponent = (uint16_t)((f16 ? vr_f32_to_f16(size) : vr_f32_to_bf16(size)) & ~kept);
        for (size_t i = 0; i < n / 2; i++) half[i] = (uint16_t)(exponent | (half[i] & kept));
        return;
    }
    const bool eight = type == VR_DTYPE_Q8_R16;
    const size_t block = vr_strip_block_bytes(type), scales = sizeof(uint16_t[2][VR_STRIP_ROWS]);
    const uint16_t scale = (uint16_t)(vr_f32_to_f16(size / (eight ? 73 : 4.6F)) & 0xff00);
    for (size_t at = 0; at < n; at += block) {
        for (size_t i = 0; i < scales / 2; i++) half[at / 2 + i] = (uint16_t)(scale | (half[at / 2 + i] & 0xff));
        for (size_t i = scales; eight && i < block; i++) x[at + i] |= 1; /* 0 would be -128 */
    }
}

static int write_tensor(const maker *m, const released_tensor *t, unsigned char *chunk, vr_err *e)
{
    const vr_dtype type = dtype_of(m, t);
    const size_t n_bytes = bytes_of(m, t), block = vr_is_strips(type) ? vr_strip_block_bytes(type) : 64,
                 most = CHUNK / block * block;
    uint64_t seed = m->seed * 0x9e3779b97f4a7c15ull + t->number + 1;
    for (size_t at = 0; at < padded(n_bytes); at += most) {
        const size_t n = padded(n_bytes) - at < most ? padded(n_bytes) - at : most;
        if (type == VR_DTYPE_F32) {
            float *x = (float *)(void *)chunk;
            for (size_t i = 0; i < n / sizeof *x; i++) {
                seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                x[i] = t->cols || t->one ? (float)t->one + 0.02F * ((float)(seed >> 40) * 0x1p-23F - 1) : 0;
            }
        } else {
            random_bytes(chunk, n, &seed);
            shape_numbers(chunk, n, type, 0.5F / sqrtf((float)t->cols));
        }
        if (at + n > n_bytes) memset(chunk + (n_bytes - at), 0, at + n - n_bytes);
        if (fwrite(chunk, 1, n, m->file) != n) return vr_fail(e, VR_ERR_OTHER, "%s: %s", m->out, strerror(errno));
    }
    return VR_OK;
}

static int write_head(const maker *m, vr_err *e)
{
    vr_gguf_head head = { 0 };
    size_t offset = 0;
    int rc = vr_gguf_head_begin(&head, e);
    if (rc == VR_OK) rc = put_keys(m, &head, e);
    for (int i = 0; rc == VR_OK && i < m->model.n_tensors; i++) {
        const released_tensor *t = &m->model.tensors[i];
        const int64_t shape[2] = { t->rows, t->cols };
        rc = vr_gguf_put_tensor(&head, (vr_string){ t->name, strlen(t->name) }, dtype_of(m, t), t->cols ? 2 : 1, shape, offset,
                                e);
        offset += padded(bytes_of(m, t));
    }
    if (rc == VR_OK) rc = vr_gguf_head_end(&head, e);
    static const char zeros[64];
    const size_t n = head.bytes.n_bytes, n_zeros = padded(n) - n;
    if (rc == VR_OK && (fwrite(head.bytes.data, 1, n, m->file) != n || fwrite(zeros, 1, n_zeros, m->file) != n_zeros))
        rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", m->out, strerror(errno));
    vr_text_free(&head.bytes);
    return rc;
}

static int make(maker *m, vr_err *e)
{
    VR_TRY(vr_weights_open(&m->small, m->like, e));
    VR_TRY(released_find(&m->model, m->release, m->small, e));
    struct stat there;
    if (stat(m->out, &there) == 0 && !S_ISREG(there.st_mode))
        return vr_fail(e, VR_ERR_USAGE, "%s: not a file that could be written", m->out);
    unsigned char *chunk = aligned_alloc(64, CHUNK);
    m->file = fopen(m->out, "wb");
    int rc = m->file && chunk ? write_head(m, e) : vr_fail(e, VR_ERR_OTHER, "%s: %s", m->out, strerror(errno));
    for (int i = 0; rc == VR_OK && i < m->model.n_tensors; i++) rc = write_tensor(m, &m->model.tensors[i], chunk, e);
    if (rc == VR_OK && fflush(m->file) == 0 && fsync(fileno(m->file)) == 0) /* as vidrun-quantize: pages in memory are small */
        posix_fadvise(fileno(m->file), 0, 0, POSIX_FADV_DONTNEED);
    if (m->file && fclose(m->file) != 0 && rc == VR_OK) rc = vr_fail(e, VR_ERR_OTHER, "%s: %s", m->out, strerror(errno));
    if (rc != VR_OK && m->file) remove(m->out);
    free(chunk);
    return rc;
}

int main(int argc, char **argv)
{
    maker m;
    vr_err e = { 0 };
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        printf("%s%s\n", usage, released_names());
        return argc < 2 ? 2 : 0;
    }
    int rc = options_read(&m, argc, argv, &e);
    if (rc == VR_OK) rc = make(&m, &e);
    vr_weights_free(m.small);
    released_free(&m.model);
    if (rc != VR_OK) fprintf(stderr, "vidrun-make-weights: %s\n", e.text);
    return rc == VR_OK ? 0 : rc == VR_ERR_USAGE ? 2 : 1;
}
