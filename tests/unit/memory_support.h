/*
 * memory_support.h - what the tests of memories share: recorded units, a run at every level, random rows.
 *
 * Units of tests/fixtures/memory are recorded from the published code: UNIT.x and the like in, UNIT.out and the like out.
 */
#ifndef VR_MEMORY_SUPPORT_H
#define VR_MEMORY_SUPPORT_H

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "kernels/backend.h"
#include "kernels/cpu/select.h"
#include "tests/unit/npy_support.h"

#define UNITS "tests/fixtures/memory"

/* Calls with a vr_run `run` at every level of this machine, one and two threads. */
#define EVERY_RUN(call)                                                                                                        \
    do {                                                                                                                       \
        bool level_here;                                                                                                       \
        for (int level_at = 0; vr_dsp_level(level_at, &level_here); level_at++) {                                              \
            for (int level_threads = 1; level_here && level_threads <= 2; level_threads++) {                                   \
                vr_arena run_arena;                                                                                            \
                vr_run run = run_open(vr_dsp_level(level_at, &level_here), level_threads, &run_arena);                         \
                call;                                                                                                          \
                vr_backend_free(run.be);                                                                                       \
                vr_arena_close(&run_arena);                                                                                    \
            }                                                                                                                  \
        }                                                                                                                      \
    } while (0)

static inline vr_run run_open(const char *level, int n_threads, vr_arena *arena)
{
    vr_run run = { .scratch = arena, .host = arena };
    vr_err e = { 0 };
    ck_assert_msg(vr_backend_open_cpu(&run.be, &(vr_cpu_options){ .n_threads = n_threads, .level = level }, &e) == VR_OK, "%s",
                  e.text);
    ck_assert_msg(vr_arena_open(arena, (size_t)64 << 20, &e) == VR_OK, "%s", e.text);
    return run;
}

/* UNIT.NAME of n numbers, to be freed; n 0: any number. */
static inline void *unit_load(const char *unit, const char *name, size_t n)
{
    char file[128];
    size_t found = 0;
    snprintf(file, sizeof file, "%s.%s", unit, name);
    void *x = npy_load(UNITS, file, &found);
    ck_assert_msg(x != NULL, "%s/%s.npy is missing", UNITS, file);
    ck_assert_msg(n == 0 || n == found, "%s has %zu numbers, not %zu", file, found, n);
    return x;
}

/* Relative error of x as a whole, in the measure of recorded runs. */
static inline void expect_near(const char *unit, const char *name, const float *x, size_t n, double limit)
{
    float *want = unit_load(unit, name, n);
    double error = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)want[i]) * ((double)x[i] - (double)want[i]);
        size += (double)want[i] * (double)want[i];
    }
    ck_assert_msg(sqrt(error) <= limit * sqrt(size), "%s.%s is off by %g", unit, name, sqrt(error / size));
    free(want);
}

static inline void expect_equal(const char *unit, const char *name, const int32_t *x, size_t n)
{
    int32_t *want = unit_load(unit, name, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(x[i] == want[i], "%s.%s: number %zu is %d, not %d", unit, name, i, (int)x[i], (int)want[i]);
    free(want);
}

/* Seed of this run: VIDRUN_SEED, or the time; printed. */
static inline vr_random random_open(void)
{
    const char *text = getenv("VIDRUN_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("VIDRUN_SEED=%llu\n", (unsigned long long)seed);
    return (vr_random){ seed };
}

/* In [-1, 1). */
static inline float random_number(vr_random *r)
{
    return (float)vr_random_below(r, 1 << 24) * 0x1p-23f - 1.0f;
}

static inline void random_fill(vr_random *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = random_number(r);
}

#endif
