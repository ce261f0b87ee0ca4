/*
 * tokenizer_support.h - tokenizers for tests: from a fixture, from a tokenizer.model, from a list of pieces.
 *
 *   pieces (text, score, type) -> writer -> bytes in memory -> vr_weights -> vr_tokenizer
 *
 * Owner: a subject owns all of it and is freed by subject_free.
 */
#ifndef VR_TOKENIZER_SUPPORT_H
#define VR_TOKENIZER_SUPPORT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gguf_writer.h"
#include "text/tokenizer.h"

typedef struct test_piece {
    const char *text;
    float score;
    int type; /* 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte */
} test_piece;

typedef struct test_vocab { /* zero: the key is left out */
    const test_piece *pieces;
    int count;
    bool all_bytes; /* 256 byte pieces behind pieces */
    bool dummy_prefix;
    const char *kind; /* NULL: "llama" */
    const int *bos, *eos, *unknown;
    const int *special;         /* [n_special] */
    const int *strip;           /* [n_strip] */
    const int *lstrip, *rstrip; /* [n_special] */
    const int *legacy, *strip_prefix;
    int n_special, n_strip;
    bool skip_special;
    int n_scores, n_types; /* 0: as many as pieces; -1: no such key */
} test_vocab;

typedef struct subject {
    void *bytes; /* of the weight file, when it was made in memory */
    vr_weights *weights;
    vr_tokenizer *tokenizer;
} subject;

static inline void *aligned_copy(const writer *f)
{
    void *copy = NULL; /* of exactly these bytes: AddressSanitizer sees the first one beyond */
    ck_assert_int_eq(posix_memalign(&copy, 64, f->n), 0);
    memcpy(copy, f->bytes, f->n);
    return copy;
}

static inline void put_flag(writer *f, const char *name, const int *flag)
{
    if (flag) put_key(f, name, 7), put_u8(f, (uint8_t)*flag);
}

static inline void put_flags(writer *f, const char *name, const int *flags, int n)
{
    if (flags) put_array(f, name, 7, (uint64_t)n);
    for (int i = 0; flags && i < n; i++) put_u8(f, (uint8_t)flags[i]);
}

static inline void put_id(writer *f, const char *name, const int *id)
{
    if (id) put_key(f, name, 4), put_u32(f, (uint32_t)*id);
}

static inline void write_vocab(writer *f, const test_vocab *v)
{
    const int total = v->count + (v->all_bytes ? 256 : 0);
    const int n_scores = v->n_scores ? v->n_scores : total, n_types = v->n_types ? v->n_types : total;
    const bool special = v->n_special > 0;
    const int n_keys = 3 + (n_scores > 0) + (n_types > 0) + !!v->bos + !!v->eos + !!v->unknown + special + (v->n_strip > 0) +
                       !!v->lstrip + !!v->rstrip + !!v->legacy + !!v->strip_prefix + v->skip_special;
    put_head(f, 3, 0, (uint64_t)n_keys);
    put_key(f, "tokenizer.ggml.model", 8), put_string(f, v->kind ? v->kind : "llama");
    put_key(f, "tokenizer.ggml.add_space_prefix", 7), put_u8(f, v->dummy_prefix);
    put_array(f, "tokenizer.ggml.tokens", 8, (uint64_t)total);
    for (int i = 0; i < v->count; i++) put_string(f, v->pieces[i].text);
    for (int b = 0; b < total - v->count; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b & 255u);
        put_string(f, name);
    }
    if (n_scores > 0) put_array(f, "tokenizer.ggml.scores", 6, (uint64_t)n_scores);
    for (int i = 0; i < n_scores; i++) put_f32(f, i < v->count ? v->pieces[i].score : 0);
    if (n_types > 0) put_array(f, "tokenizer.ggml.token_type", 5, (uint64_t)n_types);
    for (int i = 0; i < n_types; i++) put_u32(f, i < v->count ? (uint32_t)v->pieces[i].type : 6);
    put_id(f, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(f, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(f, "tokenizer.ggml.unknown_token_id", v->unknown);
    if (special) put_array(f, "tokenizer.special_ids", 5, (uint64_t)v->n_special);
    for (int i = 0; i < v->n_special; i++) put_u32(f, (uint32_t)v->special[i]);
    if (v->n_strip > 0) put_flags(f, "tokenizer.special_strip", v->strip, v->n_strip);
    put_flags(f, "tokenizer.special_lstrip", v->lstrip, v->n_special);
    put_flags(f, "tokenizer.special_rstrip", v->rstrip, v->n_special);
    put_flag(f, "tokenizer.legacy", v->legacy);
    put_flag(f, "tokenizer.strip_prefix", v->strip_prefix);
    if (v->skip_special) put_flag(f, "tokenizer.skip_special", &(const int){ 1 });
}

/* f is freed. The error of vr_tokenizer_open is returned. */
static inline int subject_open_bytes(subject *s, writer *f, vr_err *e)
{
    *s = (subject){ .bytes = aligned_copy(f) };
    const int rc = vr_weights_open_memory(&s->weights, s->bytes, f->n, "tokenizer.bin", e);
    ck_assert_msg(rc == VR_OK, "%s", e->text);
    writer_free(f);
    return vr_tokenizer_open(&s->tokenizer, s->weights, e);
}

static inline subject subject_of(const test_vocab *v)
{
    vr_err e = { 0 };
    subject s;
    writer f = { 0 };
    write_vocab(&f, v);
    ck_assert_msg(subject_open_bytes(&s, &f, &e) == VR_OK, "%s", e.text);
    return s;
}

static inline subject subject_of_file(const char *path)
{
    vr_err e = { 0 };
    subject s = { 0 };
    ck_assert_msg(vr_weights_open(&s.weights, path, &e) == VR_OK, "%s", e.text);
    ck_assert_msg(vr_tokenizer_open(&s.tokenizer, s.weights, &e) == VR_OK, "%s", e.text);
    return s;
}

static inline void subject_free(subject *s)
{
    vr_tokenizer_free(s->tokenizer);
    vr_weights_free(s->weights);
    free(s->bytes);
    *s = (subject){ 0 };
}

static inline vr_ids encode(const subject *s, const char *text, size_t n_bytes)
{
    vr_err e = { 0 };
    vr_ids ids = { 0 };
    ck_assert_msg(vr_tokenizer_encode(s->tokenizer, text, n_bytes, &ids, &e) == VR_OK, "%s", e.text);
    return ids;
}

/* The ids as text: "1 2 3"; freed by the caller. */
static inline char *encoded(const subject *s, const char *text, size_t n_bytes)
{
    vr_ids ids = encode(s, text, n_bytes);
    const size_t size = 12 * (size_t)ids.count + 1;
    char *out = malloc(size);
    ck_assert_ptr_nonnull(out);
    out[0] = '\0';
    size_t n = 0;
    for (int i = 0; i < ids.count; i++) n += (size_t)snprintf(out + n, size - n, i ? " %d" : "%d", (int)ids.data[i]);
    vr_ids_free(&ids);
    return out;
}

#define EXPECT_BYTES(s, text, n_bytes, expected)                                                                               \
    do {                                                                                                                       \
        char *expect_ids = encoded(s, text, n_bytes);                                                                          \
        ck_assert_msg(strcmp(expect_ids, expected) == 0, "\"%s\": got %s, expected %s", text, expect_ids, expected);           \
        free(expect_ids);                                                                                                      \
    } while (0)
#define EXPECT(s, text, expected) EXPECT_BYTES(s, text, strlen(text), expected)

#endif
