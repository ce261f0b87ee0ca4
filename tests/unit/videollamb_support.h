/*
 * videollamb_support.h - a tiny VideoLLaMB of random numbers, for tests of its parts, of clips and of streams.
 *
 *   pictures of 4 x 4 pixels, one block a tower, rows of 8; the decoder is only bound
 */
#ifndef VR_VIDEOLLAMB_SUPPORT_H
#define VR_VIDEOLLAMB_SUPPORT_H

#include "systems/system.h"
#include "tests/unit/media_support.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/model_support.h"

enum { D = 8, H = 2, E = D / H, F = 12, G = 2, S = 4, M = 3, DL = 8, V = 11 };

/* Random numbers of this run by a seed that is printed. */
static inline void seed_draw(void)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
}

static inline void temporal_add(model *m, const char *tower, int block)
{
    model_add(m, G, D, "%s.blk.%d.temporal.position", tower, block);
    model_add_both(m, 0, D, "%s.blk.%d.temporal.norm", tower, block);
    model_add_both(m, 3 * D, D, "%s.blk.%d.temporal.qkv", tower, block);
    model_add_both(m, D, D, "%s.blk.%d.temporal.out", tower, block);
}

static inline void attention_add(model *m, const char *prefix)
{
    static const char *const parts[] = { "q", "k", "v", "out" };
    for (int i = 0; i < 4; i++) model_add_both(m, D, D, "%s.%s", prefix, parts[i]);
    model_add_both(m, 0, D, "%s.norm", prefix);
}

static inline void bridge_add(model *m, int n_layers)
{
    char name[32];
    model_int(m, "bridge.block_count", (uint32_t)n_layers);
    model_int(m, "bridge.memory_count", M);
    model_int(m, "bridge.head_count", H);
    model_int(m, "bridge.feed_forward_length", F);
    model_float(m, "bridge.norm_epsilon", 1e-12f);
    model_add(m, M, D, "bridge.memory");
    for (int i = 0; i < n_layers; i++) {
        snprintf(name, sizeof name, "bridge.blk.%d.self", i);
        attention_add(m, name);
        model_add_both(m, F, D, "bridge.blk.%d.fc1", i);
        model_add_both(m, D, F, "bridge.blk.%d.fc2", i);
        model_add_both(m, 0, D, "bridge.blk.%d.ffn_norm", i);
    }
    attention_add(m, "retrieval.cross");
}

static inline void tower_add(model *m, const char *tower, bool temporal)
{
    model_add_tower(m, tower, &(model_tower){ D, F, H, S, 1, "gelu" });
    if (temporal) temporal_add(m, tower, 0);
}

/* A: attention over time, 3 scenes, the last one is shown. Else B: scenes by threshold, memories are shown. */
static inline void system_add(model *m, bool a, int multiple)
{
    tower_add(m, "vit", a);
    if (a) tower_add(m, "image_vit", false);
    model_int(m, "vit.temporal_frames", a ? G : 0);
    bridge_add(m, 1);
    model_add_decoder(m, &(model_decoder){ .n_layers = 1,
                                           .width = DL,
                                           .hidden = F,
                                           .n_heads = H,
                                           .n_kv_heads = H,
                                           .head_width = DL / H,
                                           .vocabulary = V,
                                           .context = 64,
                                           .tied = true });
    model_add_both(m, DL, D, "project.video");
    model_three(m, "pixel.mean", 0.5f, 0.5f, 0.5f);
    model_three(m, "pixel.std", 0.25f, 0.25f, 0.25f);
    model_string(m, "video.resize", a ? "normalise-bilinear" : "clip");
    model_string(m, "image.resize", a ? "tensor-bicubic" : "clip");
    model_string(m, "video.sampling", "linspace");
    model_int(m, "video.frames_multiple", (uint32_t)multiple);
    model_int(m, "video.frames_max", 64);
    if (a) model_int(m, "video.frames", 8);
    model_float(m, "video.fps", 1);
    model_int(m, "bridge.pool_side", 2);
    model_string(m, "bridge.cache", a ? "memory" : "patches");
    model_string(m, "bridge.output", a ? "last_scene" : "memory");
    model_int(m, "scene.frames_max", 3);
    if (a) {
        model_int(m, "scene.count", 3);
        model_float(m, "stream.scene_alpha", 0.5f);
        model_int(m, "stream.boundaries_max", 15);
    } else {
        model_float(m, "scene.alpha", 0.5f);
        model_int(m, "scene.boundaries_max", 4);
        model_add(m, 5, D, "bridge.scene_position");
    }
}

typedef struct whole {
    model m;
    void *state;
    vr_run run;
    vr_arena arena;
} whole;

static inline void whole_open(whole *w, bool a)
{
    vr_err e = { 0 };
    *w = (whole){ 0 };
    system_add(&w->m, a, a ? 8 : 1);
    model_open(&w->m);
    const int rc = vr_system_open(&vr_system_videollamb, &w->state, w->m.weights, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_weights_unused(w->m.weights, NULL), 0);
    w->run = run_open("c", 1, &w->arena);
}

static inline void whole_close(whole *w)
{
    vr_system_close(&vr_system_videollamb, w->state);
    vr_backend_free(w->run.be);
    vr_arena_close(&w->arena);
    model_free(&w->m);
}
/* Scenes follow each other without a gap; what is shown is kept. */
static inline void expect_scenes(const vr_view *view, int n_scenes)
{
    int next = 0;
    ck_assert_int_eq(view->facts.n_scenes, n_scenes);
    for (int i = 0; i < n_scenes; i++) {
        ck_assert_int_eq(view->scene_facts[i].first, next);
        ck_assert_int_ge(view->scene_facts[i].last, next);
        next = view->scene_facts[i].last + 1;
    }
    ck_assert_int_eq(next, view->n_frames);
}

#endif
