/*
 * sample_test.c - the next token: greedy, each warper against a plain double implementation of transformers' order, draws.
 *
 *   random logits -> expected set and probabilities (sort everything, remove ascending) -> every seed stays inside the set;
 *   chi-square of many draws against the probabilities
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decode/sample.h"
#include "kernels/ops.h"
#include "tests/unit/suite.h"

#define MAX_V 512

static vr_arena arena;
static uint64_t random_state = 1;

static void setup(void)
{
    vr_err e = { 0 };
    ck_assert_int_eq(vr_arena_open(&arena, 8 << 20, &e), VR_OK);
}

static void teardown(void)
{
    vr_arena_close(&arena);
}

/* xorshift64*, so that the data is the same everywhere */
static double uniform(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 0x2545f4914f6cdd1du) >> 11) * 0x1p-53;
}

static float normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += uniform();
    return (float)(sum - 6);
}

static int32_t next(vr_sampler *s, const float *logits, int V)
{
    const size_t used = arena.used;
    const int32_t id = vr_sampler_next(s, logits, V, NULL, 0, &arena);
    ck_assert_uint_eq(arena.used, used);
    ck_assert(id >= 0 && id < V);
    return id;
}

static int32_t once(const vr_sampling *config, const float *logits, int V, const int32_t *seen, int n_seen)
{
    vr_sampler s;
    vr_sampler_open(&s, config);
    return vr_sampler_next(&s, logits, V, seen, n_seen, &arena);
}

/* ---- greedy ---- */

static const vr_sampling greedy = { .temperature = 0, .top_k = 50, .top_p = 0.9f, .repetition_penalty = 1, .seed = 1 };
static const vr_sampling plain = { .temperature = 1, .top_k = 0, .top_p = 1, .repetition_penalty = 1, .seed = 1 };

START_TEST(greedy_takes_the_lowest_of_equals)
{
    const float logits[] = { -1, 3, 2, 3, 3 };
    ck_assert_int_eq(once(&greedy, logits, 5, NULL, 0), 1);
    ck_assert_int_eq(once(&greedy, logits + 2, 3, NULL, 0), 1);
    ck_assert_int_eq(once(&greedy, logits, 1, NULL, 0), 0);
    const float zeros[] = { -0.0f, 0.0f, -0.0f };
    ck_assert_int_eq(once(&greedy, zeros, 3, NULL, 0), 0);
}
END_TEST

START_TEST(nan_and_infinity)
{
    const float mixed[] = { NAN, -INFINITY, -5, NAN, -6 }, none[] = { NAN, -INFINITY, NAN },
                top[] = { 1, FLT_MAX, INFINITY, 2 };
    const float two[] = { 0, INFINITY, -3, INFINITY };
    for (int k = 0; k <= 5; k++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            const vr_sampling c = { .temperature = seed % 2 ? 1.0f : 0.01f,
                                    .top_k = k,
                                    .top_p = seed % 3 ? 0.9f : 1.0f,
                                    .repetition_penalty = 1.5f,
                                    .seed = seed };
            const int32_t seen[] = { 0, 3, 1 };
            const int32_t id = once(&c, mixed, 5, seen, 3);
            ck_assert(id == 2 || id == 4);
            ck_assert_int_eq(once(&c, none, 3, NULL, 0), 0);
            const int32_t largest = once(&c, two, 4, NULL, 0);
            ck_assert(largest == 1 || largest == 3);
        }
    ck_assert_int_eq(once(&greedy, mixed, 5, NULL, 0), 2);
    ck_assert_int_eq(once(&greedy, none, 3, NULL, 0), 0);
    ck_assert_int_eq(once(&greedy, top, 4, NULL, 0), 1); /* infinity counts as the largest float */
    ck_assert_int_eq(once(&greedy, two, 4, NULL, 0), 1);
}
END_TEST

START_TEST(repetition_penalty)
{
    const float logits[] = { 4, 3.9f, -1, -1.1f };
    vr_sampling c = greedy;
    c.repetition_penalty = 1.2f;
    const int32_t seen[] = { 0, 0, 0 };
    ck_assert_int_eq(once(&c, logits, 4, seen, 3), 1);
    const float thrice[] = { 4, 3, -1, -2 }; /* 4 / 1.2 = 3.33 > 3: a second or third division would be below */
    ck_assert_int_eq(once(&c, thrice, 4, seen, 3), 0);
    const int32_t third[] = { 2 };
    ck_assert_int_eq(once(&c, logits + 2, 2, seen, 1), 1); /* -1 * 1.2 < -1.1 */
    ck_assert_int_eq(once(&c, logits, 4, third, 1), 0);
    c.repetition_penalty = 0.5f;
    ck_assert_int_eq(once(&c, logits, 4, (const int32_t[]){ 1 }, 1), 1);
}
END_TEST

/* ---- warpers against a plain implementation ---- */

static const float *sort_by;

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    if (sort_by[x] != sort_by[y]) return sort_by[x] < sort_by[y] ? -1 : 1;
    return y - x; /* of equals the higher id is removed first */
}

/* Probabilities [V] after all warpers, in the order and with the rules of transformers 4.28. */
static void expected(const vr_sampling *c, const float *logits, int V, const int32_t *seen, int n_seen, double *p)
{
    float x[MAX_V];
    int order[MAX_V];
    memcpy(x, logits, (size_t)V * sizeof *x);
    for (int i = 0; i < n_seen; i++)
        x[seen[i]] = logits[seen[i]] < 0 ? logits[seen[i]] * c->repetition_penalty : logits[seen[i]] / c->repetition_penalty;
    for (int i = 0; i < V; i++) x[i] /= c->temperature;
    for (int i = 0; i < V; i++) order[i] = i;
    sort_by = x;
    qsort(order, (size_t)V, sizeof *order, ascending);
    if (c->top_k > 0) {
        const float kth = x[order[V - (c->top_k < V ? c->top_k : V)]];
        for (int i = 0; i < V; i++)
            if (x[i] < kth) x[i] = -INFINITY;
    }
    const double top = (double)x[order[V - 1]];
    if (c->top_p < 1) {
        double total = 0, sum = 0;
        for (int i = 0; i < V; i++) total += exp((double)x[order[i]] - top);
        for (int i = 0; i < V - 1; i++) { /* at least one stays */
            sum += exp((double)x[order[i]] - top) / total;
            if (sum <= 1 - (double)c->top_p) p[order[i]] = -1;
        }
        for (int i = 0; i < V - 1; i++)
            if (p[order[i]] < 0) x[order[i]] = -INFINITY;
    }
    double total = 0;
    for (int i = 0; i < V; i++) total += exp((double)x[i] - top);
    for (int i = 0; i < V; i++) p[i] = exp((double)x[i] - top) / total;
}

/* Draws are where the seed's number falls in the running sum, so many seeds see every id that is kept. */
static void compare(const vr_sampling *c, const float *logits, int V, const int32_t *seen, int n_seen, int draws)
{
    double p[MAX_V] = { 0 };
    int found[MAX_V] = { 0 };
    expected(c, logits, V, seen, n_seen, p);
    vr_sampler s;
    vr_sampler_open(&s, c);
    for (int i = 0; i < draws; i++) found[vr_sampler_next(&s, logits, V, seen, n_seen, &arena)]++;
    double chi2 = 0, rest_expected = 0, rest_found = 0;
    int cells = 0;
    for (int i = 0; i < V; i++) {
        ck_assert_msg(p[i] > 0 || found[i] == 0, "V %d, k %d, p %g, T %g: id %d was removed and drawn", V, c->top_k,
                      (double)c->top_p, (double)c->temperature, i);
        if (p[i] * draws >= 5) {
            chi2 += (found[i] - p[i] * draws) * (found[i] - p[i] * draws) / (p[i] * draws);
            cells++;
            ck_assert_int_gt(found[i], p[i] * draws >= 40 ? 0 : -1);
        } else {
            rest_expected += p[i] * draws;
            rest_found += found[i];
        }
    }
    if (rest_expected >= 5) {
        chi2 += (rest_found - rest_expected) * (rest_found - rest_expected) / rest_expected;
        cells++;
    }
    const double degrees = cells - 1; /* mean of chi-square; its standard deviation is sqrt(2 degrees) */
    ck_assert_msg(chi2 <= degrees + 6 * sqrt(2 * degrees) + 1, "V %d, k %d, p %g, T %g: chi-square %.1f, %d degrees", V,
                  c->top_k, (double)c->top_p, (double)c->temperature, chi2, cells - 1);
}

START_TEST(warpers)
{
    static const int sizes[] = { 1, 2, 3, 7, 50, 51, 300 };
    static const int ks[] = { 0, 1, 2, 50, 400 };
    static const float ps[] = { 1.0f, 0.9f, 0.5f, 0.01f, 0.0f };
    static const float temperatures[] = { 1.0f, 0.2f, 2.0f };
    random_state = 12345;
    printf("warpers: seed %llu\n", (unsigned long long)random_state);
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++)
        for (int combination = 0; combination < 5 * 5 * 3; combination++) {
            const int V = sizes[n];
            float logits[MAX_V];
            for (int i = 0; i < V; i++) logits[i] = combination % 2 ? normal() * 2 : (float)(int)(normal() * 2); /* with ties */
            int32_t seen[8];
            const int n_seen = combination % 3 * 4;
            for (int i = 0; i < n_seen; i++) seen[i] = (int32_t)(uniform() * V);
            const vr_sampling c = { .temperature = temperatures[combination % 3],
                                    .top_k = ks[combination / 3 % 5],
                                    .top_p = ps[combination / 15],
                                    .repetition_penalty = n % 2 ? 1.0f : 1.3f,
                                    .seed = (uint64_t)combination };
            compare(&c, logits, V, seen, n_seen, 2000);
        }
}
END_TEST

START_TEST(ties_with_the_kth_stay)
{
    const float logits[] = { 1, 2, 1, 1, 0, 1 };
    vr_sampling c = plain;
    int found[6] = { 0 };
    c.top_k = 2;
    vr_sampler s;
    vr_sampler_open(&s, &c);
    for (int i = 0; i < 1000; i++) found[next(&s, logits, 6)]++;
    for (int i = 0; i < 6; i++) ck_assert_msg((found[i] > 0) == (i != 4), "id %d: %d", i, found[i]);
}
END_TEST

START_TEST(top_p_at_the_border)
{
    const float halves[] = { 0, 0 }; /* probabilities 1/2, 1/2: the worse one sums to 1/2 <= 1 - p */
    const float three[] = { 0, 0, 0, 0 };
    vr_sampling c = plain;
    for (uint64_t seed = 0; seed < 64; seed++) {
        c.seed = seed, c.top_p = 0.5f;
        ck_assert_int_eq(once(&c, halves, 2, NULL, 0), 0);
        c.top_p = 0.75f;
        ck_assert_int_ne(once(&c, three, 4, NULL, 0), 3);
    }
    c.top_p = 0.5001f;
    int found[2] = { 0 };
    for (c.seed = 0; c.seed < 64; c.seed++) found[once(&c, halves, 2, NULL, 0)]++;
    ck_assert_int_gt(found[1], 10);
}
END_TEST

START_TEST(distribution)
{
    float logits[20];
    for (int i = 0; i < 20; i++) logits[i] = (float)i * 0.25f;
    vr_sampling c = plain;
    c.seed = 42;
    compare(&c, logits, 20, NULL, 0, 200000);
    c.top_k = 12, c.top_p = 0.8f, c.temperature = 1.5f;
    compare(&c, logits, 20, NULL, 0, 200000);
}
END_TEST

/* ---- seeds ---- */

START_TEST(known_generator)
{
    vr_sampler s;
    vr_sampler_open(&s, &plain);
    vr_sampling zero = plain;
    zero.seed = 0;
    vr_sampler_open(&s, &zero); /* the published outputs of splitmix64 from 0 */
    ck_assert_uint_eq(s.state[0], 0xe220a8397b1dcdafu);
    ck_assert_uint_eq(s.state[1], 0x6e789e6aa1b965f4u);
    ck_assert_uint_eq(s.state[2], 0x06c45d188009454fu);
    ck_assert_uint_eq(s.state[3], 0xf88bb8a8724c81ecu);
    const float one[] = { 0 };
    memcpy(s.state, (const uint64_t[4]){ 1, 2, 3, 4 }, sizeof s.state);
    next(&s, one, 1); /* the state after one step of xoshiro256** from 1, 2, 3, 4, computed by hand */
    ck_assert_uint_eq(s.state[0], 7);
    ck_assert_uint_eq(s.state[1], 0);
    ck_assert_uint_eq(s.state[2], 262146);
    ck_assert_uint_eq(s.state[3], (uint64_t)6 << 45);
}
END_TEST

START_TEST(same_seed_same_answer)
{
    float logits[100];
    random_state = 7;
    for (int i = 0; i < 100; i++) logits[i] = normal();
    vr_sampling c = { .temperature = 1, .top_k = 50, .top_p = 0.9f, .repetition_penalty = 1, .seed = 99 };
    vr_sampler a, b, other;
    vr_sampler_open(&a, &c);
    vr_sampler_open(&b, &c);
    c.seed = 100;
    vr_sampler_open(&other, &c);
    int same = 0;
    for (int i = 0; i < 200; i++) {
        const int32_t id = next(&a, logits, 100);
        ck_assert_int_eq(id, next(&b, logits, 100));
        same += id == next(&other, logits, 100);
    }
    ck_assert_int_lt(same, 50);
}
END_TEST

START_TEST(large_vocabulary)
{
    enum { V = 128256 };
    float *logits = malloc(V * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    random_state = 3;
    for (int i = 0; i < V; i++) logits[i] = normal() * 3;
    static const vr_sampling configs[] = {
        { .temperature = 0, .repetition_penalty = 1 },
        { .temperature = 1, .top_k = 50, .top_p = 0.9f, .repetition_penalty = 1 },
        { .temperature = 1, .top_k = 0, .top_p = 0.9f, .repetition_penalty = 1 },
        { .temperature = 1, .top_k = 0, .top_p = 1, .repetition_penalty = 1 },
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        vr_sampler s;
        vr_sampler_open(&s, &configs[i]);
        const clock_t begin = clock();
        for (int n = 0; n < 20; n++) next(&s, logits, V);
        printf("V %d, temperature %g, top-k %d, top-p %g: %.2f ms a token\n", V, (double)configs[i].temperature,
               configs[i].top_k, (double)configs[i].top_p, 1e3 * (double)(clock() - begin) / CLOCKS_PER_SEC / 20);
    }
    free(logits);
}
END_TEST

/* ---- the few best ---- */

/* n best of a row in their order, as an operation of a device gives them. */
static void best(int32_t *ids, float *values, const float *x, int V, int n)
{
    bool taken[MAX_V] = { false };
    for (int i = 0; i < n; i++) {
        int at = -1;
        for (int j = 0; j < V; j++)
            if (!taken[j] && (at < 0 || x[j] > x[at] || (isnan(x[at]) && !isnan(x[j])))) at = j;
        taken[at] = true;
        ids[i] = at, values[i] = x[at];
    }
}

/* Equal logits, also such that only the temperature makes equal; the same seed must draw the same ids from few as from all. */
START_TEST(few_are_enough)
{
    float logits[MAX_V], values[VR_BEST_MOST];
    int32_t ids[VR_BEST_MOST];
    int n_few = 0, n_whole = 0;
    for (uint64_t round = 0; round < 3000; round++) {
        const int V = 1 + (int)(uniform() * (MAX_V - 1)), coarse = round % 3 == 0 ? 1 : round % 3 == 1 ? 8 : 1 << 20;
        for (int i = 0; i < V; i++) logits[i] = roundf(normal() * (float)coarse) / (float)coarse;
        if (round % 5 == 0) logits[(int)(uniform() * V)] = INFINITY;
        if (round % 7 == 0) logits[(int)(uniform() * V)] = NAN;
        if (round % 11 == 0) logits[0] = nextafterf(logits[V - 1], -10);
        const vr_sampling c = { .temperature = round % 4 == 0   ? 0
                                               : round % 4 == 1 ? 1
                                                                : 0.3f + (float)uniform(),
                                .top_k = (int)(uniform() * 70),
                                .top_p = round % 2 ? 1 : 0.8f,
                                .repetition_penalty = 1,
                                .seed = round };
        vr_sampler few, whole;
        vr_sampler_open(&few, &c);
        vr_sampler_open(&whole, &c);
        const int n = vr_sampler_needs(&few, V, 3);
        ck_assert_int_eq(n > 0, c.temperature == 0 || V <= VR_BEST_MOST || (c.top_k > 0 && c.top_k < VR_BEST_MOST));
        ck_assert_int_le(n, V);
        if (n == 0) continue;
        best(ids, values, logits, V, n);
        for (int i = 0; i < 3; i++) {
            const vr_sampler before = few;
            const int32_t id = vr_sampler_pick(&few, ids, values, n, V, &arena), want = next(&whole, logits, V);
            if (id < 0) {
                ck_assert_int_eq(memcmp(&few, &before, sizeof few), 0);
                next(&few, logits, V);
                n_whole++;
            } else {
                ck_assert_msg(id == want, "round %d, draw %d: %d, not %d", (int)round, i, (int)id, (int)want);
                n_few++;
            }
        }
    }
    ck_assert_msg(n_whole > 100 && n_few > n_whole, "%d of few, %d of all", n_few, n_whole);
    vr_sampler s;
    vr_sampler_open(&s, &(vr_sampling){ .temperature = 0, .top_p = 1, .repetition_penalty = 1.1f });
    ck_assert_int_eq(vr_sampler_needs(&s, 100, 1), 0); /* what was said may fall behind all others */
    ck_assert_int_eq(vr_sampler_needs(&s, 100, 0), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample");
    TCase *t = tcase_create("sample");
    tcase_set_timeout(t, 900);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, greedy_takes_the_lowest_of_equals);
    tcase_add_test(t, nan_and_infinity);
    tcase_add_test(t, repetition_penalty);
    tcase_add_test(t, warpers);
    tcase_add_test(t, ties_with_the_kth_stay);
    tcase_add_test(t, top_p_at_the_border);
    tcase_add_test(t, distribution);
    tcase_add_test(t, known_generator);
    tcase_add_test(t, same_seed_same_answer);
    tcase_add_test(t, large_vocabulary);
    tcase_add_test(t, few_are_enough);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
