/*
 * device_step_test.c - the steps of a CUDA device: as graphs and operation by operation they give the same bits.
 *
 *   step: norm -> row of keys and values -> attention to one key more each time -> gate -> product on top of x
 *
 * VIDRUN_CUDA_LIBRARY as in device_test.c; SKIP where there is none. What was done as a graph is known of the kernels on this
 * processor alone (tests/simt), whose library counts.
 */
#define _GNU_SOURCE
#include <check.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/unit/suite.h"

enum { WIDTH = 64, HEADS = 2, KEYS = 700, STEPS = 12 };

typedef struct scene {
    vr_backend *be;
    vr_arena memory;
    float *x, *normed, *q, *keys, *values, *attended; /* of the device; keys [KEYS, WIDTH] */
    bool from_host;                                   /* a step adds something that lies on the host */
} scene;

static float weights[4][WIDTH * WIDTH], norm[WIDTH], start[KEYS * WIDTH];

static void numbers(float *x, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(seed >> 40) / (float)(1 << 24) - 0.5f;
    }
}

/* false: no device */
static bool open_scene(scene *s, bool graphs)
{
    vr_err e = { 0 };
    *s = (scene){ 0 };
    ck_assert_int_eq(setenv("VIDRUN_CUDA_GRAPHS", graphs ? "1" : "0", 1), 0);
    if (vr_backend_open_cuda(&s->be, &(vr_cuda_options){ .precision = VR_PRECISION_F32 }, &e) != VR_OK) {
        printf("SKIP: %s\n", e.text);
        return false;
    }
    for (int i = 0; i < 4; i++) numbers(weights[i], WIDTH * WIDTH, (uint64_t)i + 1);
    numbers(norm, WIDTH, 5);
    numbers(start, KEYS * WIDTH, 6);
    s->be->hold(s->be, weights, sizeof weights);
    s->be->hold(s->be, norm, sizeof norm);
    ck_assert_msg(vr_backend_arena_open(s->be, &s->memory, sizeof(float) * WIDTH * (2 * KEYS + 16), &e) == VR_OK, "%s", e.text);
    s->x = vr_arena_floats(&s->memory, WIDTH);
    s->normed = vr_arena_floats(&s->memory, WIDTH);
    s->q = vr_arena_floats(&s->memory, WIDTH);
    s->attended = vr_arena_floats(&s->memory, WIDTH);
    s->keys = vr_arena_floats(&s->memory, KEYS * WIDTH);
    s->values = vr_arena_floats(&s->memory, KEYS * WIDTH);
    s->be->write(s->be, s->x, start, WIDTH * sizeof *start);
    s->be->write(s->be, s->keys, start, sizeof start);
    s->be->write(s->be, s->values, start, sizeof start);
    return true;
}

static void close_scene(scene *s)
{
    vr_arena_close(&s->memory);
    vr_backend_free(s->be);
}

static void product(const scene *s, float *y, const float *x, int which, const float *residual)
{
    const vr_matrix w = { weights[which], VR_DTYPE_F32, WIDTH, WIDTH };
    s->be->ops->linear(s->be, y, x, &w, NULL, VR_ACT_NONE, residual, 1);
}

static void operations(const scene *s, int n_keys)
{
    const vr_ops *op = s->be->ops;
    const int E = WIDTH / HEADS;
    float *k = s->keys + (size_t)(n_keys - 1) * WIDTH, *v = s->values + (size_t)(n_keys - 1) * WIDTH;
    op->rms_norm(s->be, s->normed, s->x, norm, 1, WIDTH, 1e-6f);
    product(s, s->q, s->normed, 0, NULL);
    product(s, k, s->normed, 1, NULL);
    product(s, v, s->normed, 2, NULL);
    vr_attention a = { .n_batch = 1, .n_queries = 1, .n_keys = n_keys, .n_heads = HEADS, .n_kv_heads = HEADS, .head_dim = E };
    a.scale = 0.2f, a.causal = true;
    a.q.data = s->q, a.q.row = WIDTH, a.q.head = E;
    a.out.data = s->attended, a.out.row = WIDTH, a.out.head = E;
    a.k.data = s->keys, a.k.row = WIDTH, a.k.head = E;
    a.v.data = s->values, a.v.row = WIDTH, a.v.head = E;
    op->attention(s->be, &a);
    op->gated(s->be, s->attended, s->attended, s->q, VR_ACT_SILU, WIDTH);
    if (s->from_host) op->add_rows(s->be, s->attended, s->attended, start, 1, WIDTH, 1, 1);
    product(s, s->x, s->attended, 3, s->x);
}

/* x after STEPS steps, with first + 1 .. keys */
static void run(scene *s, int first, float *x)
{
    vr_err e = { 0 };
    for (int i = 0; i < STEPS; i++) {
        do {
            vr_step_begin(s->be);
            operations(s, first + i + 1);
        } while (!vr_step_end(s->be));
        s->be->read(s->be, x, s->x, WIDTH * sizeof *x);
        ck_assert_msg(vr_backend_sync(s->be, &e) == VR_OK, "%s", e.text);
    }
}

/* A counter of the library on this processor; NULL: a real device. */
static const unsigned *counter(const char *name)
{
    void *library = dlopen(getenv("VIDRUN_CUDA_LIBRARY") ? getenv("VIDRUN_CUDA_LIBRARY") : "", RTLD_NOW | RTLD_NOLOAD);
    const unsigned *at = library ? dlsym(library, name) : NULL;
    if (library) dlclose(library);
    return at;
}

static void compare(int first, bool from_host)
{
    float graphs[WIDTH], plain[WIDTH];
    scene s;
    if (!open_scene(&s, true)) return;
    s.from_host = from_host;
    const unsigned *launches = counter("simt_graph_launches"), *makes = counter("simt_graph_makes");
    const unsigned launched = launches ? *launches : 0, made = makes ? *makes : 0;
    run(&s, first, graphs);
    const char *const note = s.be->note(s.be);
    if (from_host)
        ck_assert_msg(note && strstr(note, "something comes from the host"), "%s", note ? note : "no line");
    else
        ck_assert_ptr_null(note);
    ck_assert_ptr_null(s.be->note(s.be)); /* once */
    close_scene(&s);
    if (launches) {
        printf("%u steps of %d as graphs, %u graphs made\n", *launches - launched, STEPS, *makes - made);
        ck_assert_uint_ge(*launches - launched, from_host ? 0 : STEPS - 3); /* plain: to bring weights, to make room */
        ck_assert_uint_le(*launches - launched, from_host ? 0 : STEPS - 1);
        ck_assert_uint_eq(*makes - made, from_host ? 0 : first < 256 && first + STEPS > 256 ? 2 : 1);
    }
    ck_assert(open_scene(&s, false));
    s.from_host = from_host;
    const unsigned before = launches ? *launches : 0;
    run(&s, first, plain);
    if (launches) ck_assert_uint_eq(*launches, before);
    close_scene(&s);
    ck_assert(memcmp(graphs, plain, sizeof plain) == 0 && isfinite(plain[0]) && plain[0] != start[0]);
}

START_TEST(same_launches)
{
    compare(3, false);
}
END_TEST

/* The keys become so many that they are split: more launches, another graph, more working memory. */
START_TEST(other_launches)
{
    compare(250, false);
}
END_TEST

START_TEST(what_no_graph_can_hold)
{
    compare(3, true);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device steps");
    TCase *t = tcase_create("device steps");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, same_launches);
    tcase_add_test(t, other_launches);
    tcase_add_test(t, what_no_graph_can_hold);
    suite_add_tcase(s, t);
    return suite_run(s);
}
