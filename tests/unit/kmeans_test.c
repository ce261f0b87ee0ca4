/*
 * kmeans_test.c - k-means of frames: units recorded from the published code, and random rows against the algorithm as
 * published, with the features in hand and in double.
 *
 *   every level, one and two threads; rows that are equal, nearly equal, far apart; ties
 */
#include "compress/kmeans.h"
#include "compress/ordered_kmeans.h"
#include "tests/unit/memory_support.h"
#include "tests/unit/suite.h"

#define MAX_ROWS  64
#define MAX_SLOTS 32
#define MAX_D     512

typedef struct unit {
    const char *name;
    int T, D, K, seed, rounds, n_refills;
} unit;

/* --- recorded units ------------------------------------------------------------------------------------------------------- */

static void check_unit(const vr_run *run, const unit *u)
{
    vr_kmeans km;
    vr_random random = { (uint64_t)u->seed };
    const size_t mark = vr_arena_mark(run->host), K = (size_t)(u->T < u->K ? u->T : u->K);
    float *x = unit_load(u->name, "x", (size_t)(u->T * u->D));
    double *distance = vr_arena_alloc(run->host, (size_t)(u->T * u->T), sizeof *distance);
    float *y = vr_arena_floats(run->host, K * (size_t)u->D);
    vr_kmeans_alloc(&km, run->host, u->T, u->K, true);
    vr_kmeans_distances(run, x, u->T, u->D, distance);
    vr_kmeans_run(&km, distance, u->T, u->K, NULL, NULL, 0, &random);
    vr_kmeans_centroids(run, &km, NULL, x, u->D, y);
    ck_assert_int_eq(km.n_rounds, u->rounds);
    ck_assert_int_eq(km.n_refills, u->n_refills);
    expect_near(u->name, "out", y, K * (size_t)u->D, 1e-6);
    expect_near(u->name, "weights", km.weights, K, 0.0);
    if (u->rounds) expect_equal(u->name, "draws", km.draws, (size_t)u->T);
    if (u->rounds) expect_equal(u->name, "labels", km.labels, (size_t)(u->rounds * u->T));
    if (u->n_refills) expect_equal(u->name, "refill", km.refills, (size_t)u->n_refills);
    if (!u->rounds) ck_assert_uint_eq(random.state, (uint64_t)u->seed);
    vr_arena_release(run->host, mark);
    free(x);
}

static void check_units(const vr_run *run)
{
    static const unit units[] = { { "kmeans.plain", 60, 96, 12, 11, 4, 0 },  { "kmeans.short", 5, 16, 8, 1, 0, 0 },
                                  { "kmeans.stream", 26, 64, 25, 21, 2, 0 }, { "kmeans.identical", 30, 24, 7, 3, 10, 30 },
                                  { "kmeans.static", 20, 24, 6, 4, 1, 5 },   { "kmeans.clusters", 30, 30, 8, 6, 2, 0 } };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) check_unit(run, &units[i]);
}

START_TEST(recorded_units)
{
    EVERY_RUN(check_units(&run));
}
END_TEST

static void check_ordered(const vr_run *run, const unit *u, bool drawn, int n_distinct)
{
    vr_ordered_kmeans o;
    vr_random random = { (uint64_t)u->seed };
    const size_t mark = vr_arena_mark(run->host), K = (size_t)u->K;
    float *x = unit_load(u->name, "x", (size_t)(u->T * u->D)), *y = vr_arena_floats(run->host, K * (size_t)u->D);
    vr_ordered_kmeans_alloc(&o, run->host, u->T, u->K, false);
    vr_ordered_kmeans_rows(run, &o, x, u->T, u->D, u->K, NULL, &random, y);
    ck_assert_int_eq(o.K, u->K);
    ck_assert_int_eq(o.n_distinct, n_distinct);
    ck_assert_int_eq(o.km.n_rounds, u->rounds);
    expect_near(u->name, "out", y, K * (size_t)u->D, 1e-6);
    expect_near(u->name, "weights", o.weights, K, 0.0);
    expect_near(u->name, "times", o.times, K, 1e-7);
    expect_equal(u->name, "positions", o.positions, K);
    expect_equal(u->name, "labels", o.km.labels, (size_t)(u->rounds * u->T));
    if (drawn)
        expect_equal(u->name, "draws", o.km.draws, (size_t)n_distinct);
    else
        ck_assert_uint_eq(random.state, (uint64_t)u->seed);
    vr_arena_release(run->host, mark);
    free(x);
}

static void check_ordered_units(const vr_run *run)
{
    check_ordered(run, &(unit){ "ordered.plain", 40, 80, 9, 8, 2, 0 }, true, 40);
    check_ordered(run, &(unit){ "ordered.few", 18, 40, 8, 2, 1, 0 }, false, 5);
    check_ordered(run, &(unit){ "ordered.repeat", 24, 30, 10, 9, 2, 0 }, true, 18);
}

START_TEST(recorded_ordered_units)
{
    EVERY_RUN(check_ordered_units(&run));
}
END_TEST

/* --- the algorithm as published ------------------------------------------------------------------------------------------- */

typedef struct oracle {
    const float *x, *weights;
    int T, D, K;
    double c[MAX_SLOTS * MAX_D], next[MAX_SLOTS * MAX_D], n[MAX_SLOTS];
    double root[MAX_ROWS * MAX_SLOTS];
    int labels[MAX_ROWS];
} oracle;

static double root_between(const float *x, const double *c, int D)
{
    double sum = 0.0;
    for (int d = 0; d < D; d++) sum += ((double)x[d] - c[d]) * ((double)x[d] - c[d]);
    return sqrt(sum);
}

/* Roots to the present centroids and their labels; false: two slots are too near to each other's distance to tell. */
static bool oracle_labels(oracle *o)
{
    bool clear = true;
    for (int i = 0; i < o->T; i++) {
        double *root = o->root + i * o->K;
        for (int j = 0; j < o->K; j++) root[j] = root_between(o->x + i * o->D, o->c + j * o->D, o->D);
        int best = 0;
        for (int j = 1; j < o->K; j++) best = root[j] < root[best] ? j : best;
        for (int j = 0; j < o->K; j++) clear = clear && (j == best || root[j] > root[best] * (1.0 + 1e-5) + 1e-9);
        o->labels[i] = best;
    }
    return clear;
}

/* The next centroids; returns how far they are from these. Emptied slots do not happen to rows that differ. */
static double oracle_means(oracle *o)
{
    double total = 0.0;
    memset(o->next, 0, sizeof o->next);
    memset(o->n, 0, sizeof o->n);
    for (int i = 0; i < o->T; i++) {
        const double w = o->weights ? (double)o->weights[i] : 1.0;
        o->n[o->labels[i]] += w;
        for (int d = 0; d < o->D; d++) o->next[o->labels[i] * o->D + d] += w * (double)o->x[i * o->D + d];
    }
    for (int j = 0; j < o->K; j++) {
        double square = 0.0;
        for (int d = j * o->D; d < (j + 1) * o->D; d++) {
            o->next[d] /= o->n[j];
            square += (o->next[d] - o->c[d]) * (o->next[d] - o->c[d]);
        }
        total += sqrt(square);
    }
    return total;
}

/* Returns the number of rounds that could be compared. */
static int compare_with_oracle(const vr_run *run, const float *x, const float *weights, int T, int D, int K, uint64_t seed)
{
    static oracle o;
    vr_kmeans km;
    vr_random random = { seed };
    const size_t mark = vr_arena_mark(run->host);
    double *distance = vr_arena_alloc(run->host, (size_t)(T * T), sizeof *distance);
    float *y = vr_arena_floats(run->host, (size_t)(K * D));
    vr_kmeans_alloc(&km, run->host, T, K, true);
    vr_kmeans_distances(run, x, T, D, distance);
    vr_kmeans_run(&km, distance, T, K, weights, NULL, 0, &random);
    vr_kmeans_centroids(run, &km, NULL, x, D, y);
    o = (oracle){ .x = x, .weights = weights, .T = T, .D = D, .K = K };
    for (int j = 0; j < K; j++)
        for (int d = 0; d < D; d++) o.c[j * D + d] = (double)x[km.draws[j] * D + d];
    int r = 0;
    for (bool done = false; !done && r < VR_KMEANS_ROUNDS; r++) {
        if (!oracle_labels(&o)) break;
        ck_assert_int_lt(r, km.n_rounds);
        for (int i = 0; i < T * K; i++) {
            const double got = (double)km.roots[r * T * K + i];
            ck_assert_msg(fabs(got - o.root[i]) <= 1e-5 * o.root[i] + 1e-9, "%s: round %d, distance %d is %.9g, not %.9g",
                          vr_cpu_level(run->be), r, i, got, o.root[i]);
        }
        for (int i = 0; i < T; i++) ck_assert_int_eq(km.labels[r * T + i], o.labels[i]);
        done = oracle_means(&o) < 1e-4;
        if (done || r + 1 == VR_KMEANS_ROUNDS) {
            for (int i = 0; i < K * D && done; i++) ck_assert_double_eq_tol((double)y[i], o.c[i], 1e-5 * (fabs(o.c[i]) + 1.0));
            for (int j = 0; j < K; j++) ck_assert_double_eq_tol((double)km.weights[j], o.n[j], 1e-6 * o.n[j]);
        }
        memcpy(o.c, o.next, sizeof o.c);
    }
    vr_arena_release(run->host, mark);
    return r;
}

/* Rows around a few middles; offset: far from 0, so that products of rows would say little about their distances. */
static void fill_rows(vr_random *random, float *x, int T, int D, float offset, float spread)
{
    for (int i = 0; i < T; i++) {
        for (int d = 0; d < D; d++) {
            const float middle = (float)(((i % 5) * 31 + d * 7) % 17) / 17.0f;
            x[i * D + d] = offset + middle + spread * random_number(random);
        }
    }
}

static void check_random(const vr_run *run, uint64_t seed)
{
    static float x[MAX_ROWS * MAX_D], weights[MAX_ROWS];
    vr_random random = { seed };
    int rounds = 0;
    for (int k = 0; k < 12; k++) {
        const int T = 20 + (int)vr_random_below(&random, 40), D = 30 + (int)vr_random_below(&random, 400);
        const int K = 2 + (int)vr_random_below(&random, 14);
        fill_rows(&random, x, T, D, k % 3 ? 0.0f : 30.0f, k % 2 ? 1.0f : 0.01f);
        for (int i = 0; i < T; i++) weights[i] = 1.0f + (float)vr_random_below(&random, 5);
        rounds += compare_with_oracle(run, x, k % 4 == 3 ? weights : NULL, T, D, K, seed + (uint64_t)k);
    }
    ck_assert_int_gt(rounds, 12);
}

START_TEST(as_published)
{
    const uint64_t seed = random_open().state;
    EVERY_RUN(check_random(&run, seed));
}
END_TEST

/* Rows in copies, of values that no sum of copies is exact for: copies share a label, and a slot of copies is the row. */
static void check_copies(const vr_run *run, uint64_t seed)
{
    enum { T = 40, D = 70, KINDS = 4, K = 7 };
    static float x[T * D], y[K * D];
    static double distance[T * T];
    vr_random random = { seed };
    vr_kmeans km;
    const size_t mark = vr_arena_mark(run->host);
    random_fill(&random, x, KINDS * D);
    for (int i = KINDS; i < T; i++) memcpy(x + i * D, x + i % KINDS * D, D * sizeof *x);
    vr_kmeans_alloc(&km, run->host, T, K, false);
    vr_kmeans_distances(run, x, T, D, distance);
    vr_kmeans_run(&km, distance, T, K, NULL, NULL, 0, &random);
    vr_kmeans_centroids(run, &km, NULL, x, D, y);
    for (int r = 0; r < km.n_rounds; r++)
        for (int i = KINDS; i < T; i++) ck_assert_int_eq(km.labels[r * T + i], km.labels[r * T + i % KINDS]);
    for (int j = 0; j < K; j++) {
        if (km.source[j] >= 0) ck_assert_mem_eq(y + j * D, x + km.source[j] * D, D * sizeof *x);
    }
    ck_assert_int_ge(km.n_refills, km.n_rounds * (K - KINDS)); /* at most one slot a kind has members */
    vr_arena_release(run->host, mark);
}

START_TEST(copies)
{
    const uint64_t seed = random_open().state;
    EVERY_RUN(check_copies(&run, seed));
}
END_TEST

/* Rows whose distance is a millionth of their size: what is left of it in products is noise. */
static void check_alike(const vr_run *run)
{
    enum { D = 16384 };
    static float x[2 * D];
    double d[4];
    for (int k = 0; k < D; k++) x[k] = x[D + k] = (float)(k % 13) - 6.5f;
    x[D + 77] += 0.001f;
    const double step = (double)x[D + 77] - (double)x[77];
    vr_kmeans_distances(run, x, 2, D, d);
    ck_assert_double_eq_tol(d[1], step * step, 1e-6 * step * step);
    ck_assert(d[0] == 0.0 && d[3] == 0.0 && d[1] == d[2]);
}

START_TEST(alike)
{
    EVERY_RUN(check_alike(&run));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("kmeans");
    tcase_add_test(tests, recorded_units);
    tcase_add_test(tests, recorded_ordered_units);
    tcase_add_test(tests, as_published);
    tcase_add_test(tests, copies);
    tcase_add_test(tests, alike);
    return suite_run_case("kmeans", tests);
}
