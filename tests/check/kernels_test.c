/*
 * kernels_test.c - every kernel at every level of this machine: the thorough self-test, and what has a known answer.
 *
 *   kernels/check (the same code as `vidrun --self-test`)  +  closed cases of level c  +  options, plan, thread pool
 *
 * The seed is the time unless VIDRUN_SEED gives one; it is printed.
 */
#include <check.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "kernels/backend.h"
#include "kernels/selftest.h"
#include "tests/unit/suite.h"

static void print_line(void *cookie, const char *text)
{
    (void)cookie;
    printf("%s\n", text);
}

START_TEST(selftest_thorough)
{
    const char *text = getenv("VIDRUN_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("VIDRUN_SEED=%llu\n", (unsigned long long)seed);
    vr_err e = { 0 };
    ck_assert_msg(vr_selftest_thorough(seed, print_line, NULL, &e) == VR_OK, "%s", e.text);
}
END_TEST

START_TEST(selftest_short)
{
    vr_err e = { 0 };
    const clock_t start = clock();
    ck_assert_msg(vr_selftest(print_line, NULL, &e) == VR_OK, "%s", e.text);
    printf("self-test: %.2f s of processor time\n", (double)(clock() - start) / CLOCKS_PER_SEC);
}
END_TEST

static vr_backend *open_level(const char *level, int n_threads)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    ck_assert_msg(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = n_threads, .level = level }, &e) == VR_OK, "%s",
                  e.text);
    return be;
}

START_TEST(known_values)
{
    vr_backend *be = open_level("c", 1);
    const float gate[] = { 1.0f, -1.0f, 3.0f }, one[] = { 1.0f, 1.0f, 1.0f };
    const double gelu[] = { 0.841344746, -0.158655254, 2.995950305 }, silu[] = { 0.731058579, -0.268941421, 2.857722380 };
    const double tanh_form[] = { 0.841191990, -0.158808009, 2.996362607 }, quick[] = { 0.845795766, -0.154204234, 2.981928690 };
    const double *want[] = { gelu, tanh_form, quick, silu };
    float y[3];
    for (int act = VR_ACT_GELU; act <= VR_ACT_SILU; act++) {
        be->ops->gated(be, y, gate, one, (vr_activation)act, 3);
        for (int i = 0; i < 3; i++) ck_assert_double_eq_tol((double)y[i], want[act - VR_ACT_GELU][i], 3e-7);
    }
    const float x[] = { 1.0f, 2.0f, 3.0f }, zero[] = { 0.0f, 0.0f, 0.0f };
    be->ops->layer_norm(be, y, x, one, zero, 1, 3, 0.0f);
    ck_assert_double_eq_tol((double)y[2], 1.224744871, 2e-7);
    be->ops->rms_norm(be, y, x, one, 1, 3, 0.0f);
    ck_assert_double_eq_tol((double)y[2], 1.388730150, 2e-7);
    be->ops->l2_norm(be, y, x, 1, 3, 1e-12f, 2.0f);
    ck_assert_double_eq_tol((double)y[2], 1.603567451, 2e-7);
    vr_backend_free(be);
}
END_TEST

START_TEST(options)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    ck_assert_int_eq(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 1, .gemm = VR_GEMM_OWN, .level = "sse9" }, &e),
                     VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "sse9"));
    ck_assert_int_eq(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 0, .gemm = VR_GEMM_OWN, .level = NULL }, &e),
                     VR_ERR_USAGE);
    ck_assert_int_eq(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 100000, .gemm = VR_GEMM_OWN, .level = NULL }, &e),
                     VR_ERR_USAGE);
    ck_assert_int_eq(setenv("VIDRUN_CPU", "c", 1), 0);
    be = open_level(NULL, 1);
    ck_assert_str_eq(vr_cpu_level(be), "c");
    vr_backend_free(be);
    ck_assert_int_eq(setenv("VIDRUN_CPU", "nothing", 1), 0);
    ck_assert_int_eq(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 1, .gemm = VR_GEMM_OWN, .level = NULL }, &e),
                     VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "VIDRUN_CPU"));
    ck_assert_int_eq(unsetenv("VIDRUN_CPU"), 0);
    be = open_level("best", 2);
    ck_assert_ptr_nonnull(strstr(vr_cpu_features(), vr_cpu_level(be)));
    vr_backend_free(be);
    vr_backend_free(NULL);
}
END_TEST

START_TEST(plan_touches_nothing)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    ck_assert_int_eq(vr_backend_open_plan(&be, &e), VR_OK);
    ck_assert(be->plan);
    ck_assert_str_eq(vr_cpu_level(be), "plan");
    const vr_matrix w = { NULL, VR_DTYPE_F16, 8, 8 };
    be->ops->linear(be, NULL, NULL, &w, NULL, VR_ACT_GELU, NULL, 5);
    be->ops->layer_norm(be, NULL, NULL, NULL, NULL, 5, 8, 1e-6f);
    be->ops->rms_norm(be, NULL, NULL, NULL, 5, 8, 1e-6f);
    be->ops->l2_norm(be, NULL, NULL, 5, 8, 1e-6f, 1.0f);
    be->ops->gated(be, NULL, NULL, NULL, VR_ACT_SILU, 40);
    be->ops->attention(be, &(vr_attention){ .n_batch = 1, .n_queries = 5, .n_keys = 5 });
    be->ops->rope(be, NULL, 8, NULL, NULL, VR_ROPE_HALVES, 5, 1, 8);
    be->ops->add_rows(be, NULL, NULL, NULL, 5, 8, 1, 1);
    be->ops->copy_rows(be, NULL, 8, NULL, 0, 5, 8);
    be->ops->embed_rows(be, NULL, &w, NULL, 5);
    be->ops->patches(be, NULL, NULL, 1, 3, 8, 8, 4, 4);
    float x[2] = { 1.0f, 2.0f };
    be->write(be, NULL, x, sizeof x);
    be->read(be, x, NULL, sizeof x);
    ck_assert(x[0] == 0.0f && x[1] == 0.0f);
    ck_assert_int_eq(vr_backend_sync(be, &e), VR_OK);
    vr_backend_free(be);
}
END_TEST

typedef struct pool_job {
    _Atomic int hits[257];
    _Atomic int bad_thread;
    int n_threads;
} pool_job;

static void hit(void *arg, int tile, int thread)
{
    pool_job *j = arg;
    atomic_fetch_add(&j->hits[tile], 1);
    if (thread < 0 || thread >= j->n_threads) atomic_store(&j->bad_thread, 1);
}

/* Many short jobs in a row, so that threads come late and wake in the middle. */
START_TEST(pool_runs_each_tile_once)
{
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        vr_pool *pool = NULL;
        vr_err e = { 0 };
        ck_assert_int_eq(vr_pool_open(&pool, n_threads, &e), VR_OK);
        ck_assert_int_eq(vr_pool_threads(pool), n_threads);
        static pool_job job;
        int n_wrong = 0; /* one assertion a pool: Check keeps a message for each */
        for (int round = 0; round < 600; round++) {
            memset(&job, 0, sizeof job);
            job.n_threads = n_threads;
            const int n = round % 258;
            vr_pool_run(pool, n, hit, &job);
            for (int i = 0; i < 257; i++) n_wrong += atomic_load(&job.hits[i]) != (i < n);
            n_wrong += atomic_load(&job.bad_thread);
        }
        ck_assert_int_eq(n_wrong, 0);
        vr_pool_free(pool);
    }
    vr_pool_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kernels");
    TCase *t = tcase_create("pool");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, pool_runs_each_tile_once);
    suite_add_tcase(s, t);
    t = tcase_create("backend");
    tcase_add_test(t, options);
    tcase_add_test(t, plan_touches_nothing);
    tcase_add_test(t, known_values);
    suite_add_tcase(s, t);
    t = tcase_create("selftest");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, selftest_short);
    tcase_add_test(t, selftest_thorough);
    suite_add_tcase(s, t);
    return suite_run(s);
}
