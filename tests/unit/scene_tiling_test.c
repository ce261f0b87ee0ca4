/*
 * scene_tiling_test.c - scenes: recorded class rows, and random similarities against the definition, walked step by step.
 */
#include "compress/scene_tiling.h"

#include "tests/unit/memory_support.h"
#include "tests/unit/suite.h"

#define MAX_T 200

static const vr_scene_rule published = { .alpha = 0.5f, .most = 15 };

/* --- recorded ------------------------------------------------------------------------------------------------------------- */

static void check_recorded(const vr_run *run, const char *unit, int T, const vr_scene_rule *rule, int n_ends)
{
    enum { D = 256 };
    float *x = unit_load(unit, "rows", (size_t)T * D), similarity[MAX_T], depth[MAX_T];
    int32_t ends[MAX_T];
    vr_scene_similarity(run, x, T, D, similarity);
    expect_near(unit, "similarity", similarity, (size_t)T - 1, 2e-6);
    vr_scene_depth(similarity, T - 1, depth);
    expect_near(unit, "depth", depth, (size_t)T - 1, 1e-5);
    ck_assert_int_eq(vr_scene_ends(depth, T, rule, ends), n_ends);
    expect_equal(unit, "ends", ends, (size_t)n_ends);
    free(x);
}

/* Scenes after every frame of a stream; a line of -1 says that the recorded run did not ask. */
static void check_stream(const vr_run *run)
{
    enum { T = 40, D = 256, MOST = 6 };
    float *x = unit_load("scenes.stream", "rows", (size_t)T * D);
    int32_t *want = unit_load("scenes.stream", "ends", (size_t)T * MOST);
    vr_scene_stream s;
    vr_err e = { 0 };
    vr_scene_stream_open(&s, run, D);
    for (int t = 0; t < T; t++) {
        const int32_t *ends, *line = want + t * MOST;
        ck_assert_int_eq(vr_scene_stream_append(&s, run, x + t * D, &e), VR_OK);
        const int n = vr_scene_stream_ends(&s, &published, &ends);
        if (line[0] < 0) continue;
        for (int i = 0; i < MOST; i++) ck_assert_int_eq(i < n ? ends[i] : -1, line[i]);
    }
    vr_scene_stream_free(&s);
    free(x), free(want);
}

static void check_all_recorded(const vr_run *run)
{
    check_recorded(run, "scenes.a", 16, &(vr_scene_rule){ .n_cuts = 3 }, 4);
    check_recorded(run, "scenes.b", 9, &(vr_scene_rule){ .alpha = 0.5f, .most = 7 }, 3);
    check_stream(run);
}

START_TEST(recorded)
{
    EVERY_RUN(check_all_recorded(&run));
}
END_TEST

/* --- by definition -------------------------------------------------------------------------------------------------------- */

static double depth_by_walking(const float *s, int n, int i)
{
    float left = s[i], right = s[i];
    for (int j = i - 1; j >= 0 && s[j] >= left; j--) left = s[j];
    for (int j = i + 1; j < n && s[j] >= right; j++) right = s[j];
    return (double)((left + right) - 2.0f * s[i]);
}

/* Is place i among the count deepest, the lower one first? */
static bool is_deep(const float *depth, int n, int count, int i)
{
    int before = 0;
    for (int k = 0; k < n; k++) before += depth[k] > depth[i] || (depth[k] == depth[i] && k < i);
    return before < count;
}

static void check_ends(const float *depth, int T, const vr_scene_rule *rule)
{
    double mean = 0.0, square = 0.0;
    int n_above = 0, n = 0;
    int32_t ends[MAX_T];
    for (int i = 0; i < T - 1; i++) mean += (double)depth[i] / (T - 1);
    for (int i = 0; i < T - 1; i++) square += ((double)depth[i] - mean) * ((double)depth[i] - mean);
    const double least = mean + (double)rule->alpha * sqrt(square / (T - 2));
    for (int i = 0; i < T - 1; i++) n_above += (double)depth[i] > least;
    const int n_ends = vr_scene_ends(depth, T, rule, ends);
    for (int i = 0; i < T - 1; i++) {
        bool want = is_deep(depth, T - 1, rule->n_cuts > 0 ? rule->n_cuts : rule->most, i);
        if (rule->n_cuts == 0 && n_above <= rule->most) want = (double)depth[i] > least;
        if (rule->n_cuts == 0 && fabs((double)depth[i] - least) < 1e-6 * fabs(least)) return; /* either way */
        if (want) ck_assert_int_eq(ends[n++], i);
    }
    ck_assert_int_eq(ends[n++], T - 1);
    ck_assert_int_eq(n_ends, n);
}

START_TEST(by_definition)
{
    vr_random random = random_open();
    for (int k = 0; k < 400; k++) {
        const int T = 3 + (int)vr_random_below(&random, MAX_T - 3), coarse = 1 << vr_random_below(&random, 20);
        float s[MAX_T], depth[MAX_T];
        for (int i = 0; i < T - 1; i++) s[i] = rintf(random_number(&random) * (float)coarse) / (float)coarse; /* with ties */
        vr_scene_depth(s, T - 1, depth);
        for (int i = 0; i < T - 1; i++) ck_assert_double_eq((double)depth[i], depth_by_walking(s, T - 1, i));
        check_ends(depth, T, &(vr_scene_rule){ .n_cuts = 1 + (int)vr_random_below(&random, 8) });
        check_ends(depth, T, &published);
        check_ends(depth, T, &(vr_scene_rule){ .alpha = 1.0f, .most = 2 });
    }
}
END_TEST

START_TEST(edges)
{
    int32_t ends[8];
    const float equal[] = { 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f }, zero[7] = { 0 };
    ck_assert_int_eq(vr_scene_ends(NULL, 1, &published, ends), 1); /* one frame */
    ck_assert_int_eq(ends[0], 0);
    ck_assert_int_eq(vr_scene_ends(equal, 2, &published, ends), 1); /* one similarity has no deviation */
    ck_assert_int_eq(ends[0], 1);
    ck_assert_int_eq(vr_scene_ends(equal, 8, &published, ends), 1); /* nothing exceeds its own mean */
    ck_assert_int_eq(ends[0], 7);
    ck_assert_int_eq(vr_scene_ends(zero, 8, &(vr_scene_rule){ .n_cuts = 3 }, ends), 4); /* ties: the lower place */
    ck_assert(ends[0] == 0 && ends[1] == 1 && ends[2] == 2 && ends[3] == 7);
    ck_assert_int_eq(vr_scene_ends(zero, 3, &(vr_scene_rule){ .n_cuts = 3 }, ends), 3); /* fewer places than cuts */
    const float broken[] = { 0.5f, NAN, 0.25f, NAN };
    ck_assert_int_eq(vr_scene_ends(broken, 5, &(vr_scene_rule){ .n_cuts = 3 }, ends), 4); /* no number is the deepest */
    ck_assert(ends[0] == 0 && ends[1] == 1 && ends[2] == 3 && ends[3] == 4);
}
END_TEST

/* A row of zeros is like nothing, and nothing divides by 0. */
static void check_zero_rows(const vr_run *run)
{
    const float x[6] = { 0.0f, 0.0f, 3.0f, 4.0f, 6.0f, 8.0f };
    float s[2];
    vr_scene_similarity(run, x, 3, 2, s);
    ck_assert(s[0] == 0.0f);
    ck_assert(fabsf(s[1] - 1.0f) < 1e-6f);
    vr_scene_similarity(run, x, 1, 2, s); /* nothing to compare */
    vr_scene_similarity(run, x, 0, 2, s);
}

START_TEST(zero_rows)
{
    EVERY_RUN(check_zero_rows(&run));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("scene_tiling");
    tcase_add_test(tests, recorded);
    tcase_add_test(tests, by_definition);
    tcase_add_test(tests, edges);
    tcase_add_test(tests, zero_rows);
    return suite_run_case("scene_tiling", tests);
}
