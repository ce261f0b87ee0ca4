/*
 * kmeans_long_test.c - k-means of many rows against the form that knows the distances of all pairs, and recorded units.
 */
#include "compress/kmeans_long.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/suite.h"

enum { T = 2500, D = 24, K = 9 };

static void check_unit(const vr_run *run, const char *name, int rows, int width, int slots, uint64_t seed, int rounds)
{
    vr_kmeans km;
    vr_random random = { seed };
    const size_t mark = vr_arena_mark(run->host);
    float *x = unit_load(name, "x", (size_t)(rows * width)), *y = vr_arena_floats(run->host, (size_t)(slots * width));
    vr_kmeans_alloc(&km, run->host, rows, slots, false);
    vr_kmeans_long_run(&km, run, x, rows, width, slots, &random);
    vr_kmeans_centroids(run, &km, NULL, x, width, y);
    ck_assert_int_eq(km.n_rounds, rounds);
    expect_near(name, "out", y, (size_t)(slots * width), 1e-6);
    expect_near(name, "weights", km.weights, (size_t)slots, 0.0);
    expect_equal(name, "draws", km.draws, (size_t)rows);
    expect_equal(name, "labels", km.labels, (size_t)(rounds * rows));
    vr_arena_release(run->host, mark);
    free(x);
}

static void check_units(const vr_run *run)
{
    check_unit(run, "kmeans.plain", 60, 96, 12, 11, 4);
    check_unit(run, "kmeans.stream", 26, 64, 25, 21, 2);
    check_unit(run, "kmeans.clusters", 30, 30, 8, 6, 2);
}

START_TEST(recorded_units)
{
    EVERY_RUN(check_units(&run));
}
END_TEST

/* Ten rounds and three chunks of rows; a label may differ where two centroids are equally far but for rounding. */
static void check_pairs(vr_run run, const float *x, const double *distance, uint64_t seed)
{
    static float a[K * D], b[K * D];
    vr_kmeans pairs, far;
    vr_random r = { seed }, s = { seed };
    vr_kmeans_alloc(&pairs, run.host, T, K, false);
    vr_kmeans_alloc(&far, run.host, T, K, false);
    vr_kmeans_run(&pairs, distance, T, K, NULL, NULL, 0, &r);
    vr_kmeans_long_run(&far, &run, x, T, D, K, &s);
    ck_assert_int_eq(pairs.n_rounds, far.n_rounds);
    ck_assert_uint_eq(r.state, s.state);
    int n_other = 0;
    for (int i = 0; i < pairs.n_rounds * T; i++) n_other += pairs.labels[i] != far.labels[i];
    ck_assert_msg(n_other <= 2 * pairs.n_rounds, "%d labels differ", n_other);
    vr_kmeans_centroids(&run, &pairs, NULL, x, D, a);
    vr_kmeans_centroids(&run, &far, NULL, x, D, b);
    for (int i = 0; i < K * D; i++) ck_assert_msg(fabsf(a[i] - b[i]) < 2e-2f, "%g, not %g", (double)b[i], (double)a[i]);
}

START_TEST(many_rows)
{
    vr_random r = random_open();
    float *x = malloc((size_t)T * D * sizeof *x);
    double *distance = malloc((size_t)T * T * sizeof *distance);
    ck_assert(x && distance);
    random_fill(&r, x, (size_t)T * D);
    for (size_t i = 0; i < T; i++)
        for (size_t k = 0; k < T; k++) {
            double sum = 0;
            for (size_t d = 0; d < D; d++) {
                const double step = (double)x[i * D + d] - (double)x[k * D + d];
                sum += step * step;
            }
            distance[i * T + k] = sum;
        }
    const uint64_t seed = vr_random_next(&r);
    EVERY_RUN(check_pairs(run, x, distance, seed));
    free(x);
    free(distance);
}
END_TEST

START_TEST(emptied_slots) /* two places only: most slots lose their rows and take others */
{
    vr_arena arena;
    vr_run run = run_open("c", 1, &arena);
    vr_random random = { 3 };
    vr_kmeans km;
    float x[40];
    for (int i = 0; i < 40; i++) x[i] = i % 2 ? 5 : 1;
    vr_kmeans_alloc(&km, run.host, 40, 6, false);
    vr_kmeans_long_run(&km, &run, x, 40, 1, 6, &random);
    float sum = 0;
    for (int j = 0; j < 6; j++) sum += km.weights[j];
    ck_assert(sum == 40);
    ck_assert_int_gt(km.n_refills, 0);
    vr_backend_free(run.be);
    vr_arena_close(&arena);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, recorded_units);
    tcase_add_test(tests, many_rows);
    tcase_add_test(tests, emptied_slots);
    return suite_run_case("kmeans_long", tests);
}
