/*
 * memory_test.c - order of weights, retrieval, means of grids, abstract and temporal memory: units recorded from the published
 * code, and streams against the algorithm as published.
 */
#include "compress/abstract_memory.h"
#include "compress/ordered_kmeans.h"
#include "compress/retrieve.h"
#include "compress/scene_tiling.h"
#include "compress/temporal_memory.h"
#include "compress/weight_order.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/suite.h"

/* --- order of weights --------------------------------------------------------------------------------------------------- */

START_TEST(order_recorded)
{
    enum { LISTS = 31, ROOM = 60 };
    float *w = unit_load("argsort", "weights", LISTS * ROOM);
    int32_t *length = unit_load("argsort", "length", LISTS), *want = unit_load("argsort", "order", LISTS * ROOM), order[ROOM];
    for (int k = 0; k < LISTS; k++) {
        vr_order_descending(w + k * ROOM, length[k], order);
        for (int i = 0; i < length[k]; i++) ck_assert_int_eq(order[i], want[k * ROOM + i]);
    }
    free(w), free(length), free(want);
}
END_TEST

START_TEST(order_random)
{
    vr_random random = random_open();
    for (int k = 0; k < 300; k++) {
        float w[80];
        int32_t down[80], up[80];
        bool seen[80] = { false };
        const int n = (int)vr_random_below(&random, 80);
        for (int i = 0; i < n; i++) w[i] = (float)vr_random_below(&random, 6);
        vr_order_descending(w, n, down);
        vr_order_ascending(w, n, up);
        for (int i = 0; i < n; i++) {
            ck_assert(down[i] >= 0 && down[i] < n && !seen[down[i]]);
            seen[down[i]] = true;
            if (i == 0) continue;
            ck_assert(w[down[i - 1]] > w[down[i]] || (w[down[i - 1]] == w[down[i]] && (n <= 32 || down[i - 1] < down[i])));
            ck_assert(w[up[i - 1]] < w[up[i]] || (w[up[i - 1]] == w[up[i]] && up[i - 1] < up[i]));
        }
    }
}
END_TEST

/* --- retrieval ------------------------------------------------------------------------------------------------------------ */

static void check_expanded(const vr_run *run)
{
    float *keys = unit_load("dam.float32", "keys", 4 * 64), *bank = unit_load("dam.float32", "bank", 20 * 64);
    int32_t picks[4];
    vr_retrieve_expanded(run, keys, 4, bank, 20, 64, false, picks);
    expect_equal("dam.float32", "index", picks, 4);
    free(keys), free(bank);
    keys = unit_load("dam.bfloat16", "keys", 4 * 512), bank = unit_load("dam.bfloat16", "bank", 13 * 512);
    vr_retrieve_expanded(run, keys, 4, bank, 13, 512, true, picks);
    expect_equal("dam.bfloat16", "index", picks, 4);
    free(keys), free(bank);
}

START_TEST(expanded_recorded)
{
    EVERY_RUN(check_expanded(&run));
}
END_TEST

START_TEST(nearest)
{
    const double distance[16] = { 0, 0, 4, 9, 0, 0, 4, 9, 4, 4, 0, 1, 9, 9, 1, 0 };
    const int32_t keys[3] = { 1, 3, 2 };
    int32_t picks[3];
    float roots[12];
    vr_retrieve_nearest(distance, 4, keys, 3, picks, roots);
    ck_assert(picks[0] == 0 && picks[1] == 3 && picks[2] == 2); /* row 0 is equal to row 1 */
    ck_assert(roots[0] == 0.0f && roots[1] == 3.0f && roots[2] == 2.0f && roots[3 * 2 + 1] == 1.0f);
}
END_TEST

/* --- means of grids ------------------------------------------------------------------------------------------------------- */

static void check_pool(const vr_run *run, const char *unit, int in_side, int side)
{
    enum { N = 2, D = 6 };
    float *x = unit_load(unit, "x", (size_t)(N * in_side * in_side * D)), y[N * 64 * D];
    run->be->ops->pool_grid(run->be, y, side, x, (int64_t)in_side * in_side * D, in_side, false, N, D);
    expect_near(unit, "out", y, (size_t)(N * side * side * D), 1e-6);
    free(x);
}

static void check_pools(const vr_run *run)
{
    check_pool(run, "pool.16to8", 16, 8);
    check_pool(run, "pool.8to4", 8, 4);
    check_pool(run, "pool.8to1", 8, 1);
    check_pool(run, "pool.7to3", 7, 3);
}

START_TEST(pool_recorded)
{
    EVERY_RUN(check_pools(&run));
}
END_TEST

/* --- abstract memory ------------------------------------------------------------------------------------------------------ */

typedef struct abstract_unit {
    const char *name;
    int L, P, D, E, N;
    float ratio;
} abstract_unit;

/* All steps at once, or as a stream of clips of `clip` steps behind a first one that fills the memory. */
static void check_abstract(const vr_run *run, const abstract_unit *u, int clip)
{
    const size_t step = (size_t)(u->P * u->D), mark = vr_arena_mark(run->host);
    float *x = unit_load(u->name, "x", (size_t)u->L * step), *memory = vr_arena_floats(run->host, (size_t)u->N * step);
    float *q = unit_load(u->name, "q_weight", (size_t)(u->E * u->D)),
          *k = unit_load(u->name, "k_weight", (size_t)(u->E * u->D));
    float *q_bias = unit_load(u->name, "q_bias", (size_t)u->E), *k_bias = unit_load(u->name, "k_bias", (size_t)u->E);
    const vr_abstract_memory a = {
        { q, VR_DTYPE_F32, u->E, u->D }, { k, VR_DTYPE_F32, u->E, u->D }, q_bias, k_bias, u->ratio, u->N, u->P, u->D
    };
    int n_steps = 0, used = 0;
    while (used < u->L) {
        const int left = u->L - used, t = clip == 0 ? left : used == 0 ? u->N : clip < left ? clip : left;
        vr_abstract_memory_append(&a, run, memory, &n_steps, x + (size_t)used * step, t, NULL);
        used += t;
    }
    ck_assert_int_eq(n_steps, u->N);
    expect_near(u->name, "out", memory, (size_t)u->N * step, 1e-6);
    vr_arena_release(run->host, mark);
    free(x), free(q), free(k), free(q_bias), free(k_bias);
}

static void check_abstracts(const vr_run *run)
{
    static const abstract_unit units[] = { { "abstract.chunks", 23, 1, 48, 32, 9, 0.2f },
                                           { "abstract.tokens", 11, 4, 20, 8, 4, 0.35f },
                                           { "abstract.one", 6, 1, 16, 32, 5, 0.2f } };
    for (int i = 0; i < 3; i++) {
        check_abstract(run, &units[i], 0);
        check_abstract(run, &units[i], units[i].N); /* the same chunks, one a call */
    }
}

START_TEST(abstract_recorded)
{
    EVERY_RUN(check_abstracts(&run));
}
END_TEST

/* One new token moves every slot alike. */
static void check_average(const vr_run *run)
{
    enum { N = 3, D = 33, E = 8 };
    float w[E * D], bias[E], memory[N * D], want[N * D], x[D];
    vr_random random = { 5 };
    int n_steps = N;
    random_fill(&random, w, E * D), random_fill(&random, bias, E), random_fill(&random, memory, N * D);
    random_fill(&random, x, D);
    for (int i = 0; i < N * D; i++) want[i] = 0.8f * memory[i] + 0.2f * x[i % D];
    const vr_abstract_memory a = { { w, VR_DTYPE_F32, E, D }, { w, VR_DTYPE_F32, E, D }, bias, bias, 0.2f, N, 1, D };
    vr_abstract_memory_append(&a, run, memory, &n_steps, x, 1, NULL);
    for (int i = 0; i < N * D; i++) ck_assert(fabsf(memory[i] - want[i]) < 1e-6f);
}

START_TEST(abstract_average)
{
    EVERY_RUN(check_average(&run));
}
END_TEST

/* --- temporal memory ------------------------------------------------------------------------------------------------------ */

enum { K = 7, D = 90, MAX_CLIP = 3, FIRST = 2, FRAMES = 60 };

/* A stream with a memory of its own, every update from the features: distances of all rows, nothing kept but the rows. */
typedef struct plain_stream {
    float rows[(K + MAX_CLIP) * D];
    int n;
    int32_t order[K], picks[K];
} plain_stream;

static void plain_update(plain_stream *p, const vr_run *run, const float *x, int t, vr_random *random)
{
    const size_t mark = vr_arena_mark(run->host);
    const int T = p->n + t;
    double distance[(K + MAX_CLIP) * (K + MAX_CLIP)];
    float next[K * D], roots[(K + MAX_CLIP) * VR_MEMORY_KEYS];
    vr_kmeans km;
    memcpy(p->rows + p->n * D, x, (size_t)(t * D) * sizeof *x);
    const bool first = p->n == 0;
    p->n = T;
    if (first) return;
    vr_kmeans_alloc(&km, run->host, T, K, false);
    vr_kmeans_distances(run, p->rows, T, D, distance);
    vr_kmeans_run(&km, distance, T, K, NULL, NULL, 0, random);
    vr_order_descending(km.weights, km.K, p->order);
    vr_retrieve_nearest(distance, T, p->order, km.K < VR_MEMORY_KEYS ? km.K : VR_MEMORY_KEYS, p->picks, roots);
    vr_kmeans_centroids(run, &km, NULL, p->rows, D, next);
    memcpy(p->rows, next, (size_t)(km.K * D) * sizeof *next);
    p->n = km.K;
    vr_arena_release(run->host, mark);
}

/* Frames in clips of one to three; some frames again and again, so that rows are equal and slots empty. */
static void check_stream(const vr_run *run, uint64_t seed)
{
    static float x[FRAMES * D];
    vr_random draws = { seed }, ours = { seed + 1 }, theirs = { seed + 1 };
    vr_temporal_memory m;
    plain_stream p = { .n = 0 };
    random_fill(&draws, x, FRAMES * D);
    for (int i = 1; i < FRAMES; i++) {
        if (vr_random_below(&draws, 3) == 0) memcpy(x + i * D, x + (i - 1) * D, D * sizeof *x);
    }
    vr_temporal_memory_alloc(&m, run, K, MAX_CLIP, D);
    for (int at = 0, t = FIRST; at < FRAMES; at += t, t = 1 + (int)vr_random_below(&draws, MAX_CLIP)) {
        if (t > FRAMES - at) t = FRAMES - at;
        vr_temporal_memory_update(&m, run, x + at * D, t, &ours);
        plain_update(&p, run, x + at * D, t, &theirs);
        ck_assert_int_eq(m.n, p.n);
        ck_assert_mem_eq(vr_temporal_memory_rows(&m, run->be), p.rows, (size_t)(m.n * D) * sizeof *p.rows);
        ck_assert_int_eq(m.n_keys, at == 0 ? 0 : m.km.K < VR_MEMORY_KEYS ? m.km.K : VR_MEMORY_KEYS);
        for (int i = 0; i < m.n_keys; i++) ck_assert(m.order[i] == p.order[i] && m.picks[i] == p.picks[i]);
        for (int i = 0; i < m.n; i++) ck_assert(m.distance[i * m.capacity + i] == 0.0);
    }
    ck_assert_uint_eq(ours.state, theirs.state);
    vr_temporal_memory_clear(&m);
    ck_assert_int_eq(m.n, 0);
}

START_TEST(temporal_stream)
{
    const uint64_t seed = random_open().state;
    EVERY_RUN(check_stream(&run, seed));
}
END_TEST

/* A first clip longer than the memory is kept whole; the next update brings it down to K. */
static void check_long_first(const vr_run *run)
{
    enum { LONG = K + 5 };
    static float x[(LONG + 1) * D];
    vr_random random = { 9 };
    vr_temporal_memory m;
    random_fill(&random, x, (LONG + 1) * D);
    vr_temporal_memory_alloc(&m, run, K, LONG, D);
    vr_temporal_memory_update(&m, run, x, LONG, &random);
    ck_assert_int_eq(m.n, LONG);
    ck_assert_mem_eq(vr_temporal_memory_rows(&m, run->be), x, LONG * D * sizeof *x);
    vr_temporal_memory_update(&m, run, x + LONG * D, 1, &random);
    ck_assert_int_eq(m.n, K);
}

START_TEST(temporal_long_first)
{
    EVERY_RUN(check_long_first(&run));
}
END_TEST

/* --- planning ----------------------------------------------------------------------------------------------------------- */

/* Everything that takes scratch, once; with a planning backend nothing may be touched. */
static void use_all(const vr_run *run, const float *x, const float *w)
{
    enum { T = 30, SLOTS = 6 };
    vr_random random = { 3 };
    vr_ordered_kmeans o;
    vr_temporal_memory m;
    vr_scene_stream s;
    vr_err e = { 0 };
    int32_t picks[2];
    int n_steps = 0;
    float *y = vr_arena_floats(run->scratch, T * D), *rows = vr_arena_floats(run->scratch, T * D);
    run->be->write(run->be, rows, x, T * D * sizeof *x);
    vr_ordered_kmeans_alloc(&o, run->host, T, SLOTS, true);
    vr_ordered_kmeans_rows(run, &o, rows, T, D, SLOTS, NULL, &random, y);
    vr_retrieve_expanded(run, y, 2, rows, T, D, false, picks);
    vr_temporal_memory_alloc(&m, run, K, MAX_CLIP, D);
    for (int t = 0; t < 12; t++) vr_temporal_memory_update(&m, run, rows + t * D, 1, &random);
    const vr_abstract_memory a = { { w, VR_DTYPE_F32, 8, D }, { w, VR_DTYPE_F32, 8, D }, w, w, 0.2f, 4, 1, D };
    vr_abstract_memory_append(&a, run, y, &n_steps, rows, 11, NULL);
    vr_scene_stream_open(&s, run, D);
    for (int t = 0; t < 5; t++) ck_assert_int_eq(vr_scene_stream_append(&s, run, rows + t * D, &e), VR_OK);
    ck_assert_int_eq(s.T, run->be->plan ? 0 : 5);
    vr_scene_stream_free(&s);
}

static void check_plan(const char *level)
{
    static float x[30 * D], w[8 * D];
    vr_random random = { 11 };
    vr_arena arena, planned;
    vr_run plan = { .scratch = &planned, .host = &planned }, run = run_open(level, 1, &arena);
    vr_err e = { 0 };
    random_fill(&random, x, 30 * D), random_fill(&random, w, 8 * D);
    ck_assert_int_eq(vr_backend_open_plan(&plan.be, &e), VR_OK);
    vr_arena_plan(&planned);
    use_all(&plan, x, w);
    vr_arena_close(&arena);
    ck_assert_int_eq(vr_arena_open(&arena, planned.peak, &e), VR_OK); /* what does not fit asserts */
    use_all(&run, x, w);
    ck_assert_uint_eq(arena.peak, planned.peak);
    vr_arena_close(&arena);
    vr_backend_free(run.be);
    vr_backend_free(plan.be);
}

START_TEST(planned)
{
    check_plan("c");
    check_plan("best");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("memory");
    tcase_add_test(tests, planned);
    tcase_add_test(tests, order_recorded);
    tcase_add_test(tests, order_random);
    tcase_add_test(tests, expanded_recorded);
    tcase_add_test(tests, nearest);
    tcase_add_test(tests, pool_recorded);
    tcase_add_test(tests, abstract_recorded);
    tcase_add_test(tests, abstract_average);
    tcase_add_test(tests, temporal_stream);
    tcase_add_test(tests, temporal_long_first);
    return suite_run_case("memory", tests);
}
