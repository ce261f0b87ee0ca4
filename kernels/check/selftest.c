/*
 * selftest.c - see kernels/selftest.h.
 *
 *   for each level of this program:  open backends of 1 and 2 threads -> each family -> one line
 */
#include "kernels/selftest.h"

#include <stdio.h>
#include <time.h>

#include "kernels/check/check.h"
#include "kernels/cpu/select.h"

#define ARENA_BYTES ((size_t)192 << 20) /* touched only as far as a case needs */

static const vr_check_family families[] = {
    { "products", vr_check_products },   { "norms", vr_check_norms },         { "activations", vr_check_activations },
    { "rows", vr_check_rows },           { "linear", vr_check_linear },       { "attention", vr_check_attention },
    { "moves", vr_check_moves },         { "grid", vr_check_grid },           { "prune", vr_check_prune },
    { "quantised", vr_check_quantised }, { "distances", vr_check_distances }, { "kept", vr_check_kept },
};

static void check_strips(vr_check *ck)
{
    vr_check_strips(ck, ck->one, VR_PRECISION_F32);
    vr_check_strips(ck, ck->two, VR_PRECISION_INT8);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_family(vr_check *ck, const vr_check_family *family, vr_selftest_line *print, void *cookie, vr_err *e)
{
    char line[256];
    const double start = seconds();
    ck->n_compared = 0;
    ck->worst = 0.0;
    family->run(ck);
    if (vr_check_failed(ck))
        return vr_fail(e, VR_ERR_OTHER, "self-test: level %s, %s: %s", ck->d->level, family->name, ck->failure);
    snprintf(line, sizeof line, "%-7s %-12s ok   %9lld numbers, largest error %.2f of its limit, %.2f s", ck->d->level,
             family->name, (long long)ck->n_compared, ck->worst, seconds() - start);
    print(cookie, line);
    return VR_OK;
}

static int run_level(const char *level, bool thorough, uint64_t seed, vr_selftest_line *print, void *cookie, vr_err *e)
{
    vr_dsp d, c;
    vr_check ck = { .d = &d, .c = &c, .random = seed * 2 + 1, .thorough = thorough };
    int rc;
    VR_TRY(vr_dsp_select(&d, level, e));
    VR_TRY(vr_dsp_select(&c, "c", e));
    VR_TRY(vr_arena_open(&ck.arena, ARENA_BYTES, e));
    if ((rc = vr_backend_open_cpu(&ck.one, &(vr_cpu_options){ .n_threads = 1, .gemm = VR_GEMM_OWN, .level = level }, e)) !=
        VR_OK)
        goto done;
    if ((rc = vr_backend_open_cpu(&ck.two, &(vr_cpu_options){ .n_threads = 2, .gemm = VR_GEMM_OWN, .level = level }, e)) !=
        VR_OK)
        goto done;
    if ((rc = vr_backend_open_cpu(&ck.blas, &(vr_cpu_options){ .n_threads = 2, .gemm = VR_GEMM_OPENBLAS, .level = level },
                                  e)) != VR_OK)
        goto done;
    for (size_t i = 0; i < sizeof families / sizeof families[0] && rc == VR_OK; i++)
        rc = run_family(&ck, &families[i], print, cookie, e);
done:
    vr_backend_free(ck.one);
    vr_backend_free(ck.two);
    vr_backend_free(ck.blas);
    vr_arena_close(&ck.arena);
    return rc;
}

int vr_selftest_device(vr_backend *f32, vr_backend *automatic, bool thorough, uint64_t seed, vr_selftest_line *print,
                       void *cookie, vr_err *e)
{
    static const vr_check_family of_devices[] = {
        { "rows", vr_check_device },           { "linear", vr_check_linear },       { "attention", vr_check_attention },
        { "moves", vr_check_moves },           { "grid", vr_check_grid },           { "prune", vr_check_prune },
        { "quantised", check_strips },         { "distances", vr_check_distances }, { "kept", vr_check_kept },
        { "bf16", vr_check_attention_narrow },
    };
    vr_dsp c;
    VR_TRY(vr_dsp_select(&c, "c", e));
    c.level = "device";
    vr_check ck = { .d = &c, .c = &c, .one = f32, .two = automatic, .blas = f32, .random = seed * 2 + 1, .thorough = thorough };
    ck.device = true;
    VR_TRY(vr_arena_open(&ck.arena, ARENA_BYTES, e));
    int rc = VR_OK;
    for (size_t i = 0; i < sizeof of_devices / sizeof of_devices[0] && rc == VR_OK; i++) {
        /* operations with numbers that depend on the precision are compared on one backend alone */
        ck.two = of_devices[i].run == check_strips || of_devices[i].run == vr_check_attention_narrow ? automatic : f32;
        rc = run_family(&ck, &of_devices[i], print, cookie, e);
        if (rc == VR_OK) rc = vr_backend_sync(f32, e);
        if (rc == VR_OK) rc = vr_backend_sync(automatic, e);
    }
    vr_arena_close(&ck.arena);
    return rc;
}

static int run(bool thorough, uint64_t seed, vr_selftest_line *print, void *cookie, vr_err *e)
{
    const char *level;
    bool here;
    for (int i = 0; (level = vr_dsp_level(i, &here)) != NULL; i++) {
        char line[64];
        snprintf(line, sizeof line, "%-7s SKIP: this machine lacks it", level);
        if (here)
            VR_TRY(run_level(level, thorough, seed, print, cookie, e));
        else
            print(cookie, line);
    }
    return VR_OK;
}

int vr_selftest(vr_selftest_line *print, void *cookie, vr_err *e)
{
    return run(false, 20240229, print, cookie, e);
}

int vr_selftest_thorough(uint64_t seed, vr_selftest_line *print, void *cookie, vr_err *e)
{
    return run(true, seed, print, cookie, e);
}
