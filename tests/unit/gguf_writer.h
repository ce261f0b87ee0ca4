/*
 * gguf_writer.h - weight files made by hand, byte by byte, so that tests can also make wrong ones.
 *
 *   head -> keys -> tensors -> pad -> data          nothing is checked here: the reader has to
 *
 * Owner: bytes grow with malloc and are freed by writer_free.
 */
#ifndef VR_GGUF_WRITER_H
#define VR_GGUF_WRITER_H

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    unsigned char *bytes;
    size_t n, capacity;
} writer;

static inline void put(writer *w, const void *data, size_t n)
{
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n);
        w->bytes = realloc(w->bytes, w->capacity);
        if (!w->bytes) abort();
    }
    if (n > 0) memcpy(w->bytes + w->n, data, n);
    w->n += n;
}

static inline void put_u8(writer *w, uint8_t value)
{
    put(w, &value, sizeof value);
}

static inline void put_u32(writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static inline void put_u64(writer *w, uint64_t value)
{
    put(w, &value, sizeof value);
}

static inline void put_f32(writer *w, float value)
{
    put(w, &value, sizeof value);
}

static inline void put_f64(writer *w, double value)
{
    put(w, &value, sizeof value);
}

static inline void put_bytes(writer *w, const char *s, size_t n)
{
    put_u64(w, n);
    put(w, s, n);
}

static inline void put_string(writer *w, const char *s)
{
    put_bytes(w, s, strlen(s));
}

static inline void put_head(writer *w, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    put(w, "GGUF", 4);
    put_u32(w, version);
    put_u64(w, n_tensors);
    put_u64(w, n_keys);
}

/* The value follows. */
static inline void put_key(writer *w, const char *name, uint32_t type)
{
    put_string(w, name);
    put_u32(w, type);
}

/* The elements follow. */
static inline void put_array(writer *w, const char *name, uint32_t type, uint64_t count)
{
    put_key(w, name, 9);
    put_u32(w, type);
    put_u64(w, count);
}

/* dims: n_dims numbers of type uint64_t, fastest first */
static inline void put_tensor(writer *w, const char *name, uint32_t type, uint64_t offset, int n_dims, ...)
{
    put_string(w, name);
    put_u32(w, (uint32_t)n_dims);
    va_list args;
    va_start(args, n_dims);
    for (int i = 0; i < n_dims; i++) put_u64(w, va_arg(args, uint64_t));
    va_end(args);
    put_u32(w, type);
    put_u64(w, offset);
}

static inline void put_zeros(writer *w, size_t n)
{
    for (size_t i = 0; i < n; i++) put_u8(w, 0);
}

static inline void pad(writer *w, size_t alignment)
{
    while (w->n % alignment != 0) put_u8(w, 0);
}

static inline void writer_free(writer *w)
{
    free(w->bytes);
    *w = (writer){ 0 };
}

/* A small right file with every kind of key and with tensors of several types. */
static inline void write_sample(writer *w)
{
    put_head(w, 3, 5, 12);
    put_key(w, "general.alignment", 4), put_u32(w, 64);
    put_key(w, "general.architecture", 8), put_string(w, "vidrun");
    put_key(w, "vit.block_count", 4), put_u32(w, 39);
    put_key(w, "wide", 10), put_u64(w, UINT64_MAX);
    put_key(w, "small", 1), put_u8(w, 0xfe);
    put_key(w, "vit.norm_epsilon", 6), put_f32(w, 1e-6f);
    put_key(w, "double", 12), put_f64(w, 0.5);
    put_key(w, "audio.present", 7), put_u8(w, 1);
    put_array(w, "pixel.mean", 6, 3), put_f32(w, 0.25f), put_f32(w, 0.5f), put_f32(w, 0.75f);
    put_array(w, "tokens", 8, 3), put_string(w, "<unk>"), put_string(w, ""), put_bytes(w, "a\0\x1b\xff", 4);
    put_array(w, "types", 5, 2), put_u32(w, 1), put_u32(w, (uint32_t)-6);
    put_array(w, "strip", 7, 2), put_u8(w, 1), put_u8(w, 0);
    put_tensor(w, "w", 1, 0, 2, (uint64_t)3, (uint64_t)2);                 /* 12 bytes */
    put_tensor(w, "b", 0, 64, 1, (uint64_t)4);                             /* 16 bytes */
    put_tensor(w, "t", 0, 128, 2, (uint64_t)2, (uint64_t)3);               /* 24 bytes */
    put_tensor(w, "h", 30, 192, 3, (uint64_t)1, (uint64_t)2, (uint64_t)2); /* 8 bytes */
    put_tensor(w, "q", 8, 256, 2, (uint64_t)64, (uint64_t)2);              /* 136 bytes */
    pad(w, 64);
    for (unsigned i = 0; i < 256 + 136; i++) put_u8(w, (uint8_t)(i % 8 == 7 ? 0 : i));
}

#endif
