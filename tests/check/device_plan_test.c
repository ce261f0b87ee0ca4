/*
 * device_plan_test.c - what a plan counts for the operations of a CUDA device is what they then take.
 *
 *   plan of the device (vr_backend_open_plan_of) -> operations -> own_bytes
 *   the device                                   -> the same   -> memory that is free before - after
 *
 * The plan is given memory that cannot be touched. Where attention splits its keys the plan counts for the worst number of queries up to the given one: then all of them must fit.
 * VIDRUN_CUDA_LIBRARY as in device_test.c; SKIP where there is none. The exact number is known of the kernels on this processor
 * alone (tests/simt): a GPU also loads code.
 */
#define _DEFAULT_SOURCE
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/strips.h"
#include "kernels/backend.h"
#include "tests/unit/suite.h"

enum { ROWS = 40, WIDTH = 192, HEADS = 2, KEYS = 530, FRAMES = 24, PICKED = 16 };

typedef struct scene {
    vr_backend *be;
    vr_arena memory;
    float *x, *y, *keys, *values;
    void *w;
} scene;

static void scene_take(scene *s)
{
    s->x = vr_arena_floats(&s->memory, (size_t)FRAMES * ROWS * WIDTH);
    s->y = vr_arena_floats(&s->memory, (size_t)FRAMES * ROWS * WIDTH);
    s->keys = vr_arena_floats(&s->memory, (size_t)KEYS * WIDTH);
    s->values = vr_arena_floats(&s->memory, (size_t)KEYS * WIDTH);
    s->w = vr_arena_alloc(&s->memory, (size_t)WIDTH * WIDTH, sizeof(float));
}

/* false: no device */
static bool device_open(scene *s, vr_precision precision)
{
    vr_err e = { 0 };
    *s = (scene){ 0 };
    if (vr_backend_open_cuda(&s->be, &(vr_cuda_options){ .precision = precision }, &e) != VR_OK) {
        printf("SKIP: %s\n", e.text);
        return false;
    }
    scene counted = { 0 };
    vr_arena_plan(&counted.memory);
    scene_take(&counted);
    ck_assert_msg(vr_backend_arena_open(s->be, &s->memory, counted.memory.peak, &e) == VR_OK, "%s", e.text);
    scene_take(s);
    void *zeros = calloc(1, counted.memory.peak);
    ck_assert_ptr_nonnull(zeros);
    s->be->write(s->be, s->x, zeros, (size_t)FRAMES * ROWS * WIDTH * sizeof(float));
    s->be->write(s->be, s->keys, zeros, (size_t)KEYS * WIDTH * sizeof(float));
    s->be->write(s->be, s->values, zeros, (size_t)KEYS * WIDTH * sizeof(float));
    s->be->write(s->be, s->w, zeros, (size_t)WIDTH * WIDTH * sizeof(float));
    free(zeros);
    return true;
}

static void plan_open(scene *s, vr_backend *of)
{
    vr_err e = { 0 };
    *s = (scene){ 0 };
    ck_assert_msg(vr_backend_open_plan_of(&s->be, of, &e) == VR_OK, "%s", e.text);
    vr_arena_plan(&s->memory);
    void *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(nothing, MAP_FAILED);
    s->x = s->y = s->keys = s->values = nothing;
    s->w = nothing;
}

static void scene_close(scene *s)
{
    if (s->be->plan) munmap(s->w, 4096);
    vr_arena_close(&s->memory);
    vr_backend_free(s->be);
}

static void product(const scene *s, vr_dtype type, vr_activation act, bool in_place, int T)
{
    const vr_matrix w = { s->w, type, WIDTH, WIDTH };
    s->be->ops->linear(s->be, s->y, s->x, &w, NULL, act, in_place ? s->y : NULL, T);
}

static void attention(const scene *s, int T, int n_keys)
{
    const int E = WIDTH / HEADS;
    vr_attention a = { .n_batch = 1, .n_queries = T, .n_keys = n_keys, .n_heads = HEADS, .n_kv_heads = HEADS, .head_dim = E };
    a.scale = 0.1f, a.causal = true;
    a.q = (vr_heads){ s->x, 0, WIDTH, E }, a.out = (vr_heads){ s->y, 0, WIDTH, E };
    a.k = (vr_kept_heads){ s->keys, 0, WIDTH, E }, a.v = (vr_kept_heads){ s->values, 0, WIDTH, E };
    s->be->ops->attention(s->be, &a);
}

static void products(const scene *s, int T)
{
    static const vr_dtype types[] = { VR_DTYPE_F32, VR_DTYPE_BF16, VR_DTYPE_F16, VR_DTYPE_Q8_R16, VR_DTYPE_Q4_R16 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        product(s, types[i], VR_ACT_NONE, false, T);
        product(s, types[i], VR_ACT_NONE, true, T);
    }
}

static void rest_of_all(const scene *s)
{
    const vr_ops *op = s->be->ops;
    int32_t *ids = (int32_t *)(void *)s->y;
    double *pairs = (double *)(void *)s->y;
    product(s, VR_DTYPE_BF16, VR_ACT_GELU, true, ROWS);
    op->gram(s->be, pairs, s->x, VR_DTYPE_BF16, FRAMES, WIDTH * ROWS);
    op->gram(s->be, pairs, s->x, VR_DTYPE_F32, FRAMES, WIDTH * ROWS);
    op->distances(s->be, pairs, s->x, FRAMES, s->x, 3, WIDTH * ROWS);
    op->frame_similarity(s->be, s->y, s->x, FRAMES, WIDTH * ROWS, 8);
    op->best(s->be, ids, s->y + WIDTH, s->x, FRAMES * WIDTH, PICKED);
    op->top_k(s->be, ids, s->x, 1, WIDTH, PICKED, false);
    op->gather_rows(s->be, s->y + PICKED, s->x, ids, PICKED, WIDTH);
    op->embed_rows(s->be, s->y + PICKED, &(vr_matrix){ s->w, VR_DTYPE_F32, WIDTH, WIDTH }, ids, PICKED);
    op->mix_rows(s->be, s->y, s->x, 3, s->x, FRAMES, WIDTH);
    op->resize_grid(s->be, s->y, 4, s->x, 0, 2, 1, WIDTH);
    op->pool_grid(s->be, s->y, 2, s->x, 0, 4, true, 1, WIDTH);
    op->layer_norm(s->be, s->y, s->x, s->x, s->x, ROWS, WIDTH, 1e-5f);
    op->rope(s->be, s->y, WIDTH, s->x, s->x, VR_ROPE_HALVES, ROWS, HEADS, WIDTH / HEADS);
    op->keep_rows(s->be, VR_KEPT_F16, s->y, WIDTH, WIDTH / HEADS, s->x, ROWS, HEADS, WIDTH / HEADS);
    int32_t *kept = ids + FRAMES * ROWS, *n_kept = kept + FRAMES * ROWS;
    const vr_prune p = { .x = s->x,
                         .dtype = VR_DTYPE_F32,
                         .n_frames = FRAMES,
                         .N = ROWS,
                         .D = WIDTH,
                         .window = 8,
                         .threshold = 0.5f,
                         .similarity = s->y,
                         .mask = (uint8_t *)kept,
                         .indices = ids,
                         .n_kept = n_kept };
    op->prune(s->be, &p);
}

static size_t free_bytes(vr_backend *be)
{
    size_t n_free, n_total, n_there;
    vr_err e = { 0 };
    be->room(be, &n_free, &n_total, &n_there);
    ck_assert_msg(vr_backend_sync(be, &e) == VR_OK, "%s", e.text);
    return n_free;
}

/* Keys are as many as are not split, so that what is counted is what is taken. */
START_TEST(exact)
{
    static const vr_precision precisions[] = { VR_PRECISION_F32, VR_PRECISION_BF16, VR_PRECISION_INT8, VR_PRECISION_AUTO };
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        scene device, plan;
        if (!device_open(&device, precisions[i])) return;
        plan_open(&plan, device.be);
        const size_t other = plan.be->own_bytes, before = free_bytes(device.be);
        const scene *const both[] = { &plan, &device };
        for (int k = 0; k < 2; k++) {
            products(both[k], ROWS);
            attention(both[k], ROWS, 250);
            rest_of_all(both[k]);
        }
        products(&device, 1);
        products(&device, 7); /* the plan was for more rows */
        const size_t counted = plan.be->own_bytes, taken = before - free_bytes(device.be);
        printf("%s, precision %d: %zu counted, %zu taken\n", device.be->name, (int)precisions[i], counted, taken);
        ck_assert_uint_gt(counted, other);
        ck_assert_uint_le(taken, counted);
        scene_close(&plan);
        plan_open(&plan, device.be);
        const size_t left = plan.be->own_bytes; /* what no plan can count */
        rest_of_all(&plan);
        products(&plan, ROWS);
        ck_assert_uint_eq(plan.be->own_bytes, left); /* all of it is there */
        if (strstr(device.be->name, "SIMT")) ck_assert_uint_eq(counted, taken + left);
        scene_close(&plan);
        scene_close(&device);
    }
}
END_TEST

/* Any number of queries up to the one that was planned for. */
START_TEST(fewer_queries)
{
    static const int queries[] = { 1, 3, 17, 64, 65, 128, 193, 260 }; /* blocks are fewer than are split, and more */
    const int n_queries = sizeof queries / sizeof *queries;
    for (int narrow = 0; narrow < 2; narrow++) {
        scene device, plan;
        if (!device_open(&device, narrow ? VR_PRECISION_BF16 : VR_PRECISION_F32)) return;
        plan_open(&plan, device.be);
        const size_t before = free_bytes(device.be);
        product(&plan, VR_DTYPE_BF16, VR_ACT_NONE, false, ROWS);
        attention(&plan, queries[n_queries - 1], KEYS);
        const size_t counted = plan.be->own_bytes;
        product(&device, VR_DTYPE_BF16, VR_ACT_NONE, false, ROWS);
        for (int i = 0; i < n_queries; i++) {
            attention(&device, queries[i], KEYS);
            const size_t taken = before - free_bytes(device.be);
            ck_assert_msg(taken <= counted, "%d queries take %zu bytes, %zu were counted", queries[i], taken, counted);
        }
        scene_close(&plan);
        scene_close(&device);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device plan");
    TCase *t = tcase_create("device plan");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, exact);
    tcase_add_test(t, fewer_queries);
    suite_add_tcase(s, t);
    return suite_run(s);
}
