/*
 * parts.c - the tensors of a part, see released.h.
 *
 * Ref:  weights/FORMAT.md (names, shapes).
 * Trap: what a tensor is shows in its name: norms and scales are about 1, matrices that are no weights are tables.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/make/released.h"

static bool ends(const char *text, const char *end)
{
    const size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

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
    t->one = cols == 0 && ((strstr(t->name, "norm") && ends(t->name, ".weight")) || strstr(t->name, ".scale"));
    t->table = cols != 0 && (!ends(t->name, ".weight") || ends(t->name, ".conv.weight"));
    return t;
}

/* NAME.weight and .bias, NAME of the format; cols 0: of a norm */
static void add_both(released *m, int rows, int cols, const char *format, ...) VR_PRINTF(4, 5);
static void add_both(released *m, int rows, int cols, const char *format, ...)
{
    char name[48];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    add(m, rows, cols, "%s.weight", name);
    add(m, rows, 0, "%s.bias", name);
}

static int width(const released *m, const char *prefix)
{
    return released_size(m, prefix, "embedding_length");
}

static int decoder_width(const released *m)
{
    return width(m, "llama");
}

/* ---- towers ---- */

/* What a block of a tower may have beside the common. */
typedef struct block_extras {
    bool keys;         /* extra_k, extra_v */
    bool scales, gate; /* scale1, scale2; fc1 twice as wide */
    int frames;        /* attention over so many */
} block_extras;

static void add_blocks(released *m, const char *prefix, block_extras extras)
{
    const int D = width(m, prefix), F = released_size(m, prefix, "feed_forward_length");
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        add_both(m, D, 0, "%s.blk.%d.norm1", prefix, i);
        add_both(m, 3 * D, D, "%s.blk.%d.qkv", prefix, i);
        if (extras.keys) add(m, D, 0, "%s.blk.%d.extra_k", prefix, i);
        if (extras.keys) add(m, D, 0, "%s.blk.%d.extra_v", prefix, i);
        add_both(m, D, D, "%s.blk.%d.out", prefix, i);
        if (extras.scales) add(m, D, 0, "%s.blk.%d.scale1", prefix, i);
        add_both(m, D, 0, "%s.blk.%d.norm2", prefix, i);
        add_both(m, extras.gate ? 2 * F : F, D, "%s.blk.%d.fc1", prefix, i);
        add_both(m, D, F, "%s.blk.%d.fc2", prefix, i);
        if (extras.scales) add(m, D, 0, "%s.blk.%d.scale2", prefix, i);
        if (!extras.frames) continue;
        add(m, extras.frames, D, "%s.blk.%d.temporal.position", prefix, i);
        add_both(m, D, 0, "%s.blk.%d.temporal.norm", prefix, i);
        add_both(m, 3 * D, D, "%s.blk.%d.temporal.qkv", prefix, i);
        add_both(m, D, D, "%s.blk.%d.temporal.out", prefix, i);
    }
}

/* positions of the patches, and of a class row */
static void add_grid(released *m, const char *prefix, bool has_class)
{
    const int D = width(m, prefix), side = released_size(m, prefix, "image_size") / released_size(m, prefix, "patch_size");
    if (has_class) add(m, D, 0, "%s.class", prefix);
    add(m, side * side + has_class, D, "%s.position", prefix);
}

static int patch_numbers(const released *m, const char *prefix)
{
    const int p = released_size(m, prefix, "patch_size");
    return 3 * p * p;
}

void released_add_eva(released *m, const char *prefix)
{
    add_both(m, width(m, prefix), patch_numbers(m, prefix), "%s.patch", prefix);
    add_grid(m, prefix, true);
    add_blocks(m, prefix, (block_extras){ 0 });
    add_both(m, width(m, prefix), 0, "%s.output_norm", prefix);
}

void released_add_clip(released *m, const char *prefix)
{
    if (width(m, prefix) == 0) return;
    add(m, width(m, prefix), patch_numbers(m, prefix), "%s.patch.weight", prefix);
    add_grid(m, prefix, true);
    add_both(m, width(m, prefix), 0, "%s.input_norm", prefix);
    add_blocks(m, prefix, (block_extras){ .frames = released_size(m, prefix, "temporal_frames") });
}

void released_add_siglip(released *m, const char *prefix)
{
    add_both(m, width(m, prefix), patch_numbers(m, prefix), "%s.patch", prefix);
    add_grid(m, prefix, false);
    add_blocks(m, prefix, (block_extras){ 0 });
}

void released_add_dino(released *m, const char *prefix)
{
    add_both(m, width(m, prefix), patch_numbers(m, prefix), "%s.patch", prefix);
    add_grid(m, prefix, true);
    add_blocks(m, prefix, (block_extras){ .scales = true, .gate = true });
    add_both(m, width(m, prefix), 0, "%s.output_norm", prefix);
}

void released_add_qwen_vit(released *m, const char *prefix)
{
    const int depth = released_size(m, prefix, "temporal_patch_size");
    add(m, width(m, prefix), depth * patch_numbers(m, prefix), "%s.patch.weight", prefix);
    add_blocks(m, prefix, (block_extras){ 0 });
}

void released_add_imagebind(released *m, const char *prefix)
{
    const int D = width(m, prefix), p = released_size(m, prefix, "patch_size"),
              stride = released_size(m, prefix, "patch_stride");
    const int lines = (released_size(m, "audio", "mel_bins") - p) / stride + 1;
    const int columns = (released_size(m, "audio", "mel_frames") - p) / stride + 1;
    add(m, D, p * p, "%s.patch.weight", prefix);
    add_both(m, D, 0, "%s.stem_norm", prefix);
    add(m, D, 0, "%s.class", prefix);
    add(m, lines * columns + 1, D, "%s.position", prefix);
    add_blocks(m, prefix, (block_extras){ .keys = true });
    add_both(m, D, 0, "%s.output_norm", prefix);
    add(m, released_size(m, prefix, "output_length"), D, "%s.head.weight", prefix);
}

/* ---- between towers and decoder ---- */

/* an attention of width D, named by the format, that looks at rows of `looked` */
static void add_looking(released *m, int D, int looked, const char *format, ...) VR_PRINTF(4, 5);
static void add_looking(released *m, int D, int looked, const char *format, ...)
{
    char name[48];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    add_both(m, D, D, "%s.q", name);
    add_both(m, D, looked, "%s.k", name);
    add_both(m, D, looked, "%s.v", name);
    add_both(m, D, D, "%s.out", name);
    add_both(m, D, 0, "%s.norm", name);
}

void released_add_qformer(released *m, const char *prefix)
{
    const int D = width(m, prefix), F = released_size(m, prefix, "feed_forward_length");
    const int looked = released_size(m, prefix, "encoder_length");
    add(m, released_size(m, prefix, "query_count"), D, "%s.query", prefix);
    add_both(m, D, 0, "%s.input_norm", prefix);
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        add_looking(m, D, D, "%s.blk.%d.self", prefix, i);
        if (i % released_size(m, prefix, "cross_interval") == 0) add_looking(m, D, looked, "%s.blk.%d.cross", prefix, i);
        add_both(m, F, D, "%s.blk.%d.fc1", prefix, i);
        add_both(m, D, F, "%s.blk.%d.fc2", prefix, i);
        add_both(m, D, 0, "%s.blk.%d.ffn_norm", prefix, i);
    }
}

void released_add_positions(released *m, const char *prefix)
{
    const bool sound = strcmp(prefix, "audio_qformer") == 0;
    add(m, sound ? released_size(m, "audio", "clips") : released_size(m, "video", "frames_max"),
        released_size(m, prefix, "encoder_length"), "%s.position", prefix);
}

void released_add_aggregator(released *m, const char *prefix)
{
    const int D = width(m, "vit"), F = released_size(m, prefix, "feed_forward_length");
    static const char *const linear[] = { "q", "k", "v", "out" };
    add(m, D, 0, "%s.class", prefix);
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        for (int n = 1; n <= 3; n++) add_both(m, D, 0, "%s.blk.%d.norm%d", prefix, i, n);
        add(m, 27, D, "%s.blk.%d.conv.weight", prefix, i);
        add(m, D, 0, "%s.blk.%d.conv.bias", prefix, i);
        for (int n = 0; n < 4; n++) add_both(m, D, D, "%s.blk.%d.%s", prefix, i, linear[n]);
        add_both(m, F, D, "%s.blk.%d.fc1", prefix, i);
        add_both(m, D, F, "%s.blk.%d.fc2", prefix, i);
    }
}

void released_add_bridge(released *m, const char *prefix)
{
    const int D = width(m, "vit"), F = released_size(m, prefix, "feed_forward_length");
    const int boundaries = released_size(m, "scene", "boundaries_max");
    add(m, released_size(m, prefix, "memory_count"), D, "%s.memory", prefix);
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        add_looking(m, D, D, "%s.blk.%d.self", prefix, i);
        add_both(m, F, D, "%s.blk.%d.fc1", prefix, i);
        add_both(m, D, F, "%s.blk.%d.fc2", prefix, i);
        add_both(m, D, 0, "%s.blk.%d.ffn_norm", prefix, i);
    }
    if (boundaries > 0) add(m, boundaries + 1, D, "%s.scene_position", prefix);
    add_looking(m, D, D, "retrieval.cross");
}

static void add_sampler_tower(released *m, const char *prefix, int i, const char *tower, int r)
{
    const int W = width(m, prefix);
    if (r > 1) add(m, r * r, W, "%s.blk.%d.%s.position", prefix, i, tower);
    for (const char *part = "kv"; *part; part++) {
        add_both(m, W, 0, "%s.blk.%d.%s.%c_norm", prefix, i, tower, *part);
        add(m, W, W, "%s.blk.%d.%s.%c.weight", prefix, i, tower, *part);
    }
}

void released_add_sampler(released *m, const char *prefix)
{
    static const char *const towers[] = { "siglip", "dino" };
    const int W = width(m, prefix), r = released_size(m, "longvu", "tower_side") / released_size(m, "longvu", "query_side");
    for (int t = 0; t < 2; t++) {
        add_both(m, W, width(m, towers[t]), "project.aux_%s.fc1", towers[t]);
        add_both(m, W, W, "project.aux_%s.fc2", towers[t]);
        add_both(m, W, 0, "project.aux_%s.norm", towers[t]);
    }
    add(m, W, 0, "%s.query", prefix);
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        add(m, W, W, "%s.blk.%d.context.weight", prefix, i);
        add(m, W, 2 * W, "%s.blk.%d.in.weight", prefix, i);
        add_both(m, W, 0, "%s.blk.%d.q_norm", prefix, i);
        add(m, W, W, "%s.blk.%d.q.weight", prefix, i);
        for (int t = 0; t < 2; t++) add_sampler_tower(m, prefix, i, towers[t], r);
        add(m, W, W, "%s.blk.%d.out.weight", prefix, i);
        add_both(m, W, 0, "%s.blk.%d.norm", prefix, i);
        add(m, W, W, "%s.blk.%d.fc1.weight", prefix, i);
        add(m, W, W, "%s.blk.%d.fc2.weight", prefix, i);
    }
    add(m, decoder_width(m), 0, "image_newline");
}

void released_add_abstract(released *m, const char *prefix)
{
    const int rows = released_size(m, "memory", "abstract_width");
    add_both(m, rows, width(m, "vit"), "%s.q", prefix);
    add_both(m, rows, width(m, "vit"), "%s.k", prefix);
}

void released_add_merger(released *m, const char *prefix)
{
    const int D = width(m, "vit"), side = released_size(m, "vit", "merge_size"), merged = side * side * D;
    add_both(m, D, 0, "%s.norm", prefix);
    add_both(m, merged, merged, "%s.fc1", prefix);
    add_both(m, decoder_width(m), merged, "%s.fc2", prefix);
}

void released_add_linear(released *m, const char *prefix)
{
    add_both(m, decoder_width(m), width(m, prefix), "project.video");
}

void released_add_sound(released *m, const char *prefix)
{
    add_both(m, decoder_width(m), width(m, prefix), "project.audio");
}

void released_add_mlp(released *m, const char *prefix)
{
    add_both(m, decoder_width(m), width(m, prefix), "project.video.fc1");
    add_both(m, decoder_width(m), decoder_width(m), "project.video.fc2");
}

/* ---- decoder ---- */

void released_add_llama(released *m, const char *prefix)
{
    const int D = width(m, prefix), F = released_size(m, prefix, "feed_forward_length");
    const int E = released_size(m, prefix, "rope.dimension_count"), V = released_size(m, prefix, "vocab_size");
    const int q = E * released_size(m, prefix, "attention.head_count");
    const int kv = E * released_size(m, prefix, "attention.head_count_kv");
    const bool biased = released_like_has(m, "blk.0.attn_q.bias"), tied = !released_like_has(m, "output.weight");
    const struct {
        const char *name;
        int rows, cols;
    } matrices[] = { { "attn_q", q, D },   { "attn_k", kv, D }, { "attn_v", kv, D }, { "attn_output", D, q },
                     { "ffn_gate", F, D }, { "ffn_up", F, D },  { "ffn_down", D, F } };
    add(m, V, D, "token_embd.weight")->vocabulary = true;
    for (int i = 0; i < released_size(m, prefix, "block_count"); i++) {
        add(m, D, 0, "blk.%d.attn_norm.weight", i);
        add(m, D, 0, "blk.%d.ffn_norm.weight", i);
        for (size_t k = 0; k < sizeof matrices / sizeof matrices[0]; k++) {
            add(m, matrices[k].rows, matrices[k].cols, "blk.%d.%s.weight", i, matrices[k].name)->decoder = true;
            if (biased && k < 3) add(m, matrices[k].rows, 0, "blk.%d.%s.bias", i, matrices[k].name);
        }
    }
    add(m, D, 0, "output_norm.weight");
    if (!tied) add(m, V, D, "output.weight")->vocabulary = true;
}
