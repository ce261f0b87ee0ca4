/*
 * released.c - see released.h.
 *
 *   like's own keys -> parts -> tensors, which must be like's; keys of the release -> the same parts -> tensors
 *
 * So a table of parts that does not fit the files of today is found when it is used.
 * Ref: src/systems (the notes of each system), weights/FORMAT.md; an integer that a table leaves out is like's.
 */
#include "bench/make/released.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PARTS 12

/* clang-format off */
#define BLOCKS(prefix, n, D, F) { prefix ".block_count", n }, { prefix ".embedding_length", D }, { prefix ".feed_forward_length", F }
#define HEADS(prefix, n) { prefix ".head_count", n }
#define LLAMA(n, D, F, H, Hk, E) BLOCKS("llama", n, D, F), { "llama.attention.head_count", H },                                \
    { "llama.attention.head_count_kv", Hk }, { "llama.rope.dimension_count", E }
#define ROWS(vocabulary, most, context) { "llama.vocab_size", vocabulary }, { "llama.context_length", most }, { "prompt.context", context }
#define EVA_G BLOCKS("vit", 39, 1408, 6144), HEADS("vit", 16), { "vit.image_size", 224 }, { "vit.patch_size", 14 }
#define BLIP_2(queries) BLOCKS("qformer", 12, 768, 3072), HEADS("qformer", 12), { "qformer.encoder_length", 1408 },           \
    { "qformer.query_count", queries }, { "qformer.cross_interval", 2 }
#define VIDEO_LLAMA EVA_G, BLIP_2(32),                                                                                         \
    BLOCKS("video_qformer", 2, 768, 3072), HEADS("video_qformer", 12), { "video_qformer.encoder_length", 768 },                \
    { "video_qformer.query_count", 32 }, { "video_qformer.cross_interval", 1 },                                                \
    BLOCKS("imagebind", 12, 768, 3072), HEADS("imagebind", 12), { "imagebind.output_length", 1024 },                           \
    { "imagebind.patch_size", 16 }, { "imagebind.patch_stride", 10 },                                                          \
    BLOCKS("audio_qformer", 2, 768, 3072), HEADS("audio_qformer", 12), { "audio_qformer.encoder_length", 1024 },               \
    { "audio_qformer.query_count", 8 }, { "audio_qformer.cross_interval", 1 },                                                 \
    { "audio.clips", 8 }, { "audio.mel_bins", 128 }, { "audio.mel_frames", 204 }, { "video.frames_max", 32 },                  \
    ROWS(32000, 2048, 2000)
#define VIDEOCHAT EVA_G, BLIP_2(96), { "aggregator.block_count", 8 }, { "aggregator.feed_forward_length", 6144 },              \
    { "video.frames_max", 256 }, ROWS(32001, 2048, 2048)
#define LONGVU BLOCKS("siglip", 27, 1152, 4304), HEADS("siglip", 16), { "siglip.image_size", 384 }, { "siglip.patch_size", 14 }, \
    BLOCKS("dino", 40, 1536, 4096), HEADS("dino", 24), { "dino.image_size", 378 }, { "dino.patch_size", 14 },                  \
    { "sampler.block_count", 3 }, { "sampler.embedding_length", 1024 }, HEADS("sampler", 16), { "longvu.tower_side", 24 },     \
    { "longvu.query_side", 12 }, { "longvu.low_side", 8 }, { "longvu.max_length", 8192 }, { "longvu.reserve", 16 }
#define CLIP_L(prefix, size) BLOCKS(prefix, 23, 1024, 4096), HEADS(prefix, 16), { prefix ".image_size", size },                \
    { prefix ".patch_size", 14 }
#define BRIDGE HEADS("bridge", 8), { "bridge.block_count", 1 }, { "bridge.feed_forward_length", 4096 },                        \
    { "bridge.memory_count", 32 }
#define VICUNA_7B LLAMA(32, 4096, 11008, 32, 32, 128)
#define VICUNA_13B LLAMA(40, 5120, 13824, 40, 40, 128)
#define QWEN2_7B LLAMA(28, 3584, 18944, 28, 4, 128)

static const released_key video_llama_7b[] = { VIDEO_LLAMA, VICUNA_7B, { NULL, 0 } };
static const released_key video_llama_13b[] = { VIDEO_LLAMA, VICUNA_13B, { NULL, 0 } };
static const released_key videochat_7b[] = { VIDEOCHAT, VICUNA_7B, { NULL, 0 } };
static const released_key videochat_13b[] = { VIDEOCHAT, VICUNA_13B, { NULL, 0 } };
static const released_key longvu_qwen2_7b[] = { LONGVU, QWEN2_7B, ROWS(151646, 32768, 9216), { NULL, 0 } };
static const released_key longvu_llama3_2_3b[] = {
    LONGVU, LLAMA(28, 3072, 8192, 24, 8, 128), ROWS(128256, 131072, 9216), { "llama.rope.scaling.original_context_length", 8192 }, { NULL, 0 }
};
static const released_key longvu_llama3_2_1b[] = {
    LONGVU, LLAMA(16, 2048, 8192, 32, 8, 64), ROWS(128256, 131072, 9216), { "llama.rope.scaling.original_context_length", 8192 }, { NULL, 0 }
};
static const released_key videollamb_7b[] = {
    CLIP_L("vit", 224), { "vit.temporal_frames", 8 }, CLIP_L("image_vit", 224), BRIDGE, { "bridge.pool_side", 12 }, { "scene.count", 4 },
    { "scene.frames_max", 8 }, { "video.frames_max", 512 }, VICUNA_7B, ROWS(32000, 4096, 3072), { NULL, 0 }
};
static const released_key videollamb_7b_mem[] = {
    CLIP_L("vit", 336), { "vit.temporal_frames", 0 }, BRIDGE, { "bridge.pool_side", 14 }, { "scene.boundaries_max", 7 },
    { "scene.frames_max", 8 }, { "video.frames_max", 512 }, VICUNA_7B, ROWS(32000, 4096, 2560), { NULL, 0 }
};
static const released_key flash_vstream_7b[] = {
    CLIP_L("vit", 224), { "memory.pool_side", 8 }, { "memory.temporal_side", 4 }, { "memory.abstract_side", 1 },
    { "memory.spatial_length", 1 }, { "memory.temporal_length", 25 }, { "memory.abstract_length", 25 }, { "memory.retrieved_length", 3 },
    { "memory.abstract_width", 32 }, { "prompt.rows_max", 2048 }, VICUNA_7B, ROWS(32000, 4096, 3072), { NULL, 0 }
};
static const released_key flash_vstream_qwen_7b[] = {
    BLOCKS("vit", 32, 1280, 5120), HEADS("vit", 16), { "vit.patch_size", 14 }, { "vit.temporal_patch_size", 2 }, { "vit.merge_size", 2 },
    { "memory.temporal_length", 60 }, { "memory.spatial_length", 30 }, { "video.frames_max", 240 }, { "video.pixels_min", 100352 },
    { "video.pixels_max", 200704 }, QWEN2_7B, ROWS(152064, 32768, 16384), { NULL, 0 }
};

typedef struct release {
    const char *name, *system;
    const released_key *keys;
    released_part parts[MOST_PARTS]; /* the last one is nothing */
} release;

#define VIDEO_LLAMA_PARTS                                                                                                      \
    { { released_add_eva, "vit" }, { released_add_qformer, "qformer" }, { released_add_qformer, "video_qformer" },             \
      { released_add_positions, "video_qformer" }, { released_add_imagebind, "imagebind" },                                    \
      { released_add_qformer, "audio_qformer" }, { released_add_positions, "audio_qformer" },                                  \
      { released_add_linear, "video_qformer" }, { released_add_sound, "audio_qformer" }, { released_add_llama, "llama" } }
#define VIDEOCHAT_PARTS                                                                                                        \
    { { released_add_eva, "vit" }, { released_add_aggregator, "aggregator" }, { released_add_qformer, "qformer" },             \
      { released_add_linear, "qformer" }, { released_add_llama, "llama" } }
#define LONGVU_PARTS                                                                                                           \
    { { released_add_siglip, "siglip" }, { released_add_dino, "dino" }, { released_add_sampler, "sampler" },                   \
      { released_add_mlp, "sampler" }, { released_add_llama, "llama" } }
#define VIDEOLLAMB_PARTS                                                                                                       \
    { { released_add_clip, "vit" }, { released_add_clip, "image_vit" }, { released_add_bridge, "bridge" },                     \
      { released_add_linear, "vit" }, { released_add_llama, "llama" } }

static const release releases[] = {
    { "video-llama-7b", "video-llama", video_llama_7b, VIDEO_LLAMA_PARTS },
    { "video-llama-13b", "video-llama", video_llama_13b, VIDEO_LLAMA_PARTS },
    { "videochat-7b", "videochat", videochat_7b, VIDEOCHAT_PARTS },
    { "videochat-13b", "videochat", videochat_13b, VIDEOCHAT_PARTS },
    { "longvu-qwen2-7b", "longvu", longvu_qwen2_7b, LONGVU_PARTS },
    { "longvu-llama3.2-3b", "longvu", longvu_llama3_2_3b, LONGVU_PARTS },
    { "longvu-llama3.2-1b", "longvu", longvu_llama3_2_1b, LONGVU_PARTS },
    { "videollamb-7b", "videollamb", videollamb_7b, VIDEOLLAMB_PARTS },
    { "videollamb-7b-mem", "videollamb", videollamb_7b_mem, VIDEOLLAMB_PARTS },
    { "flash-vstream-7b", "flash-vstream", flash_vstream_7b,
      { { released_add_clip, "vit" }, { released_add_abstract, "abstract" }, { released_add_mlp, "vit" }, { released_add_llama, "llama" } } },
    { "flash-vstream-qwen-7b", "flash-vstream-qwen", flash_vstream_qwen_7b,
      { { released_add_qwen_vit, "vit" }, { released_add_merger, "merger" }, { released_add_llama, "llama" } } },
};
/* clang-format on */

enum { N_RELEASES = sizeof releases / sizeof releases[0] };

static bool is_spelled(vr_string s, const char *expected)
{
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

const released_key *released_key_find(const released *m, vr_string name)
{
    for (const released_key *k = m->keys; k && k->name; k++)
        if (is_spelled(name, k->name)) return k;
    return NULL;
}

int released_size(const released *m, const char *prefix, const char *what)
{
    char name[64];
    const int n = snprintf(name, sizeof name, "%s.%s", prefix, what);
    const released_key *k = released_key_find(m, (vr_string){ name, (size_t)n });
    int value = 0;
    if (k) return k->value;
    return vr_weights_has(m->like, name) && vr_weights_int(m->like, &value, 0, 1 << 24, NULL, "%s", name) == VR_OK ? value : 0;
}

static bool tensor_find(const vr_weights *w, const char *name, vr_weights_tensor *out)
{
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor_at(w, i, out);
        if (is_spelled(out->name, name)) return true;
    }
    return false;
}

bool released_like_has(const released *m, const char *tensor)
{
    vr_weights_tensor t;
    return tensor_find(m->like, tensor, &t);
}

static int parts_add(released *m, const release *r, vr_err *e)
{
    for (const released_part *p = r->parts; p->add; p++) p->add(m, p->prefix);
    return m->failed ? vr_fail(e, VR_ERR_LIMIT, "no memory for the list of tensors") : VR_OK;
}

/* Tensors made of like's own keys are like's tensors. */
static int like_check(const release *r, const vr_weights *like, vr_err *e)
{
    released m = { .like = like };
    int rc = parts_add(&m, r, e);
    for (int i = 0; rc == VR_OK && i < m.n_tensors; i++) {
        const released_tensor *t = &m.tensors[i];
        vr_weights_tensor has;
        if (!tensor_find(like, t->name, &has))
            rc = vr_fail(e, VR_ERR_USAGE, "%s has no %s: another model than %s?", vr_weights_path(like), t->name, r->name);
        else if (has.n_dims != (t->cols ? 2 : 1) || has.shape[0] != t->rows || (t->cols && has.shape[1] != t->cols))
            rc = vr_fail(e, VR_ERR_USAGE, "%s: by its keys, %s would be [%d, %d]", vr_weights_path(like), t->name, t->rows,
                         t->cols);
    }
    if (rc == VR_OK && m.n_tensors != vr_weights_n_tensors(like))
        rc = vr_fail(e, VR_ERR_USAGE, "%s has %d tensors, a file of %s %d", vr_weights_path(like), vr_weights_n_tensors(like),
                     r->name, m.n_tensors);
    released_free(&m);
    return rc;
}

int released_find(released *out, const char *name, const vr_weights *like, vr_err *e)
{
    *out = (released){ 0 };
    for (size_t i = 0; i < N_RELEASES; i++) {
        const release *r = &releases[i];
        vr_string system;
        if (strcmp(r->name, name) != 0) continue;
        VR_TRY(vr_weights_string(like, &system, e, "vidrun.system"));
        if (!is_spelled(system, r->system))
            return vr_fail(e, VR_ERR_USAGE, "%s is no file of %s", vr_weights_path(like), r->system);
        for (const released_key *k = r->keys; k->name; k++)
            if (!vr_weights_has(like, k->name))
                return vr_fail(e, VR_ERR_USAGE, "%s has no key %s: another model than %s?", vr_weights_path(like), k->name,
                               name);
        VR_TRY(like_check(r, like, e));
        *out = (released){ .like = like, .keys = r->keys };
        return parts_add(out, r, e);
    }
    return vr_fail(e, VR_ERR_USAGE, "%s is no release that is known here; known are %s", name, released_names());
}

const char *released_names(void)
{
    static char names[32 * N_RELEASES];
    size_t n = 0;
    for (size_t i = 0; i < N_RELEASES; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", releases[i].name);
    return names;
}

void released_free(released *model)
{
    free(model->tensors);
    *model = (released){ 0 };
}
