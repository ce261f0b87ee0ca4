/*
 * released.c - see released.h.
 *
 *   keys of a release -> parts (tower, Q-Former, decoder) -> tensors in the order of weights/FORMAT.md
 *
 * Ref: src/systems/video_llama.md (sizes), weights/FORMAT.md (names, shapes).
 */
#include "bench/make/released.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define VIDEO_LLAMA_TOWERS                                                                                                     \
    { "vit.image_size", 224 }, { "vit.patch_size", 14 }, { "vit.block_count", 39 }, { "vit.embedding_length", 1408 },          \
    { "vit.head_count", 16 }, { "vit.feed_forward_length", 6144 },                                                             \
    { "qformer.block_count", 12 }, { "qformer.embedding_length", 768 }, { "qformer.head_count", 12 },                          \
    { "qformer.feed_forward_length", 3072 }, { "qformer.query_count", 32 }, { "qformer.encoder_length", 1408 },                \
    { "qformer.cross_interval", 2 },                                                                                           \
    { "video_qformer.block_count", 2 }, { "video_qformer.embedding_length", 768 }, { "video_qformer.head_count", 12 },         \
    { "video_qformer.feed_forward_length", 3072 }, { "video_qformer.query_count", 32 },                                        \
    { "video_qformer.encoder_length", 768 }, { "video_qformer.cross_interval", 1 },                                            \
    { "imagebind.block_count", 12 }, { "imagebind.embedding_length", 768 }, { "imagebind.head_count", 12 },                    \
    { "imagebind.feed_forward_length", 3072 }, { "imagebind.output_length", 1024 }, { "imagebind.patch_size", 16 },            \
    { "imagebind.patch_stride", 10 },                                                                                          \
    { "audio_qformer.block_count", 2 }, { "audio_qformer.embedding_length", 768 }, { "audio_qformer.head_count", 12 },         \
    { "audio_qformer.feed_forward_length", 3072 }, { "audio_qformer.query_count", 8 },                                         \
    { "audio_qformer.encoder_length", 1024 }, { "audio_qformer.cross_interval", 1 },                                           \
    { "audio.clips", 8 }, { "video.frames_max", 32 }, { "llama.context_length", 2048 }, { "llama.rope.dimension_count", 128 }, \
    { "llama.vocab_size", 32000 }

static const released_key_value video_llama_7b[] = {
    VIDEO_LLAMA_TOWERS, { "llama.block_count", 32 }, { "llama.embedding_length", 4096 },
    { "llama.feed_forward_length", 11008 }, { "llama.attention.head_count", 32 }, { "llama.attention.head_count_kv", 32 },
    { NULL, 0 }
};
static const released_key_value video_llama_13b[] = {
    VIDEO_LLAMA_TOWERS, { "llama.block_count", 40 }, { "llama.embedding_length", 5120 },
    { "llama.feed_forward_length", 13824 }, { "llama.attention.head_count", 40 }, { "llama.attention.head_count_kv", 40 },
    { NULL, 0 }
};
/* clang-format on */

enum { SOUND_PATCHES = 12 * 19 }; /* mel bins 128 and columns 204 in patches of 16 every 10 */

bool released_key(const released_key_value *keys, vr_string name, int *value)
{
    for (; keys->name; keys++) {
        if (strlen(keys->name) != name.n_bytes || memcmp(keys->name, name.data, name.n_bytes) != 0) continue;
        *value = keys->value;
        return true;
    }
    return false;
}

static int size(const released *m, const char *prefix, const char *what)
{
    char name[64];
    int value = 0;
    snprintf(name, sizeof name, "%s.%s", prefix, what);
    released_key(m->keys, (vr_string){ name, strlen(name) }, &value);
    return value;
}

/* A tensor; what it is shows in the end of its name. */
static released_tensor *add(released *m, int rows, int cols, const char *format, ...) VR_PRINTF(4, 5);
static released_tensor *add(released *m, int rows, int cols, const char *format, ...)
{
    static released_tensor nothing;
    if (m->n_tensors == m->capacity) {
        const int more = m->capacity ? 2 * m->capacity : 1024;
        released_tensor *grown = realloc(m->tensors, (size_t)more * sizeof *grown);
        if (!grown) return m->failed = true, &nothing;
        m->tensors = grown, m->capacity = more;
    }
    released_tensor *t = &m->tensors[m->n_tensors];
    *t = (released_tensor){ .rows = rows, .cols = cols, .number = (uint64_t)m->n_tensors++ };
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->norm = cols == 0 && strstr(t->name, "norm") && strstr(t->name, ".weight");
    t->table = cols != 0 && !strstr(t->name, ".weight");
    return t;
}

static void add_linear(released *m, int rows, int cols, const char *name)
{
    add(m, rows, cols, "%s.weight", name);
    add(m, rows, 0, "%s.bias", name);
}

static void add_norm(released *m, int width, const char *name)
{
    add_linear(m, width, 0, name);
}

/* one block part of a name: PREFIX.blk.I.PART */
static const char *part(char *name, size_t n, const char *prefix, int i, const char *what)
{
    snprintf(name, n, "%s.blk.%d.%s", prefix, i, what);
    return name;
}

static void add_blocks(released *m, const char *prefix, bool extra_key)
{
    const int D = size(m, prefix, "embedding_length"), F = size(m, prefix, "feed_forward_length");
    char name[64];
    for (int i = 0; i < size(m, prefix, "block_count"); i++) {
        add_norm(m, D, part(name, sizeof name, prefix, i, "norm1"));
        add_linear(m, 3 * D, D, part(name, sizeof name, prefix, i, "qkv"));
        if (extra_key) {
            add(m, D, 0, "%s.blk.%d.extra_k", prefix, i);
            add(m, D, 0, "%s.blk.%d.extra_v", prefix, i);
        }
        add_linear(m, D, D, part(name, sizeof name, prefix, i, "out"));
        add_norm(m, D, part(name, sizeof name, prefix, i, "norm2"));
        add_linear(m, F, D, part(name, sizeof name, prefix, i, "fc1"));
        add_linear(m, D, F, part(name, sizeof name, prefix, i, "fc2"));
    }
}

static void add_vit(released *m)
{
    const int D = size(m, "vit", "embedding_length"), p = size(m, "vit", "patch_size"), side = size(m, "vit", "image_size") / p;
    add_linear(m, D, 3 * p * p, "vit.patch");
    add(m, D, 0, "vit.class");
    add(m, side * side + 1, D, "vit.position");
    add_blocks(m, "vit", false);
    add_norm(m, D, "vit.output_norm");
}

static void add_imagebind(released *m)
{
    const int D = size(m, "imagebind", "embedding_length"), p = size(m, "imagebind", "patch_size");
    add(m, D, p * p, "imagebind.patch.weight");
    add_norm(m, D, "imagebind.stem_norm");
    add(m, D, 0, "imagebind.class");
    add(m, SOUND_PATCHES + 1, D, "imagebind.position");
    add_blocks(m, "imagebind", true);
    add_norm(m, D, "imagebind.output_norm");
    add(m, size(m, "imagebind", "output_length"), D, "imagebind.head.weight");
}

/* an attention of a Q-Former's block that looks at rows of `width` */
static void add_looking(released *m, const char *prefix, int i, const char *which, int D, int width)
{
    static const char *const parts[] = { "q", "k", "v", "out" };
    char name[64], what[16];
    for (int p = 0; p < 4; p++) {
        snprintf(what, sizeof what, "%s.%s", which, parts[p]);
        add_linear(m, D, p == 1 || p == 2 ? width : D, part(name, sizeof name, prefix, i, what));
    }
    snprintf(what, sizeof what, "%s.norm", which);
    add_norm(m, D, part(name, sizeof name, prefix, i, what));
}

static void add_qformer(released *m, const char *prefix)
{
    const int D = size(m, prefix, "embedding_length"), F = size(m, prefix, "feed_forward_length");
    char name[64];
    add(m, size(m, prefix, "query_count"), D, "%s.query", prefix);
    snprintf(name, sizeof name, "%s.input_norm", prefix);
    add_norm(m, D, name);
    for (int i = 0; i < size(m, prefix, "block_count"); i++) {
        add_looking(m, prefix, i, "self", D, D);
        if (i % size(m, prefix, "cross_interval") == 0)
            add_looking(m, prefix, i, "cross", D, size(m, prefix, "encoder_length"));
        add_linear(m, F, D, part(name, sizeof name, prefix, i, "fc1"));
        add_linear(m, D, F, part(name, sizeof name, prefix, i, "fc2"));
        add_norm(m, D, part(name, sizeof name, prefix, i, "ffn_norm"));
    }
}

static void add_llama(released *m)
{
    const int D = size(m, "llama", "embedding_length"), F = size(m, "llama", "feed_forward_length");
    const int E = size(m, "llama", "rope.dimension_count"), q = E * size(m, "llama", "attention.head_count");
    const int kv = E * size(m, "llama", "attention.head_count_kv");
    add(m, m->vocab, D, "token_embd.weight")->vocabulary = true;
    for (int i = 0; i < size(m, "llama", "block_count"); i++) {
        add(m, D, 0, "blk.%d.attn_norm.weight", i);
        add(m, q, D, "blk.%d.attn_q.weight", i)->decoder = true;
        add(m, kv, D, "blk.%d.attn_k.weight", i)->decoder = true;
        add(m, kv, D, "blk.%d.attn_v.weight", i)->decoder = true;
        add(m, D, q, "blk.%d.attn_output.weight", i)->decoder = true;
        add(m, D, 0, "blk.%d.ffn_norm.weight", i);
        add(m, F, D, "blk.%d.ffn_gate.weight", i)->decoder = true;
        add(m, F, D, "blk.%d.ffn_up.weight", i)->decoder = true;
        add(m, D, F, "blk.%d.ffn_down.weight", i)->decoder = true;
    }
    add(m, D, 0, "output_norm.weight");
    add(m, m->vocab, D, "output.weight")->vocabulary = true;
}

static void add_video_llama(released *m)
{
    const int D = size(m, "llama", "embedding_length"), video = size(m, "video_qformer", "embedding_length");
    const int audio = size(m, "audio_qformer", "embedding_length");
    add_vit(m);
    add_qformer(m, "qformer");
    add_qformer(m, "video_qformer");
    add(m, size(m, "video", "frames_max"), video, "video_qformer.position");
    add_imagebind(m);
    add_qformer(m, "audio_qformer");
    add(m, size(m, "audio", "clips"), size(m, "audio_qformer", "encoder_length"), "audio_qformer.position");
    add_linear(m, D, video, "project.video");
    add_linear(m, D, audio, "project.audio");
    add_llama(m);
}

int released_find(released *out, const char *name, vr_err *e)
{
    static const struct {
        const char *name, *system;
        const released_key_value *keys;
        void (*tensors)(released *m);
    } known[] = { { "video-llama-7b", "video-llama", video_llama_7b, add_video_llama },
                  { "video-llama-13b", "video-llama", video_llama_13b, add_video_llama } };
    *out = (released){ 0 };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        out->system = known[i].system, out->keys = known[i].keys;
        out->vocab = size(out, "llama", "vocab_size");
        known[i].tensors(out);
        return out->failed ? vr_fail(e, VR_ERR_LIMIT, "no memory for the list of tensors") : VR_OK;
    }
    return vr_fail(e, VR_ERR_USAGE, "%s is no release that is known here", name);
}

void released_free(released *model)
{
    free(model->tensors);
    *model = (released){ 0 };
}
