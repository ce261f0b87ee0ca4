/*
 * device_test.c - every operation of a CUDA device against level c.
 *
 * VIDRUN_CUDA_LIBRARY names the library: in `make check` the kernels on this processor (tests/simt), in `make check-cuda` the
 * GPU's. SKIP where there is none. VIDRUN_SEED and VIDRUN_THOROUGH=1 as in kernels_test.c.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/backend.h"
#include "kernels/selftest.h"
#include "tests/unit/suite.h"

static vr_backend *open_device(vr_precision precision)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    if (vr_backend_open_cuda(&be, &(vr_cuda_options){ .precision = precision }, &e) != VR_OK) printf("SKIP: %s\n", e.text);
    return be;
}

static void print_line(void *cookie, const char *text)
{
    (void)cookie;
    printf("%s\n", text);
    fflush(stdout);
}

START_TEST(operations)
{
    const char *text = getenv("VIDRUN_SEED"), *thorough = getenv("VIDRUN_THOROUGH");
    const uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    vr_backend *f32 = open_device(VR_PRECISION_F32), *automatic = f32 ? open_device(VR_PRECISION_AUTO) : NULL;
    vr_err e = { 0 };
    if (!automatic) return;
    printf("VIDRUN_SEED=%llu, %s\n", (unsigned long long)seed, f32->name);
    ck_assert_msg(vr_selftest_device(f32, automatic, thorough != NULL, seed, print_line, NULL, &e) == VR_OK, "%s", e.text);
    vr_backend_free(f32);
    vr_backend_free(automatic);
}
END_TEST

/* Memory of the device: written, read, added to; in an arena that outlives its backend. */
START_TEST(arena)
{
    vr_backend *be = open_device(VR_PRECISION_F32);
    vr_err e = { 0 };
    if (!be) return;
    vr_arena a;
    ck_assert_msg(vr_backend_arena_open(be, &a, 4096, &e) == VR_OK, "%s", e.text);
    const float in[3] = { 1, 2, 3 };
    float out[3] = { 0 }, *x = vr_arena_floats(&a, 3), *y = vr_arena_floats(&a, 3);
    be->write(be, x, in, sizeof in);
    be->ops->add_rows(be, y, x, x, 1, 3, 1, 1);
    be->ops->add_rows(be, y, y, in, 1, 3, 1, 1); /* and of the host */
    be->read(be, out, y, sizeof out);
    ck_assert(out[0] == 3.0f && out[1] == 6.0f && out[2] == 9.0f);
    ck_assert_int_eq(vr_backend_sync(be, &e), VR_OK);
    size_t n_free = 0, n_total = 0, n_to_come = 1;
    be->room(be, &n_free, &n_total, &n_to_come);
    ck_assert(n_free > 0 && n_free <= n_total && n_to_come == 0);
    vr_arena refused;
    ck_assert_int_eq(vr_backend_arena_open(be, &refused, n_total + 4096, &e), VR_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.text, "MB"));
    vr_backend_free(be);
    vr_arena_close(&a);
}
END_TEST

/* Held memory is uploaded once, also where only some of its rows are asked for, and shared. */
START_TEST(weights)
{
    static float w[64 * 8], x[8], y[64], z[16];
    vr_backend *be = open_device(VR_PRECISION_F32), *second = NULL;
    vr_err e = { 0 };
    if (!be) return;
    for (int i = 0; i < 64 * 8; i++) w[i] = (float)(i % 7) - 3.0f;
    for (int i = 0; i < 8; i++) x[i] = (float)i;
    const vr_matrix all = { w, VR_DTYPE_F32, 64, 8 }, some = vr_matrix_rows(&all, 32, 16);
    be->hold(be, w, sizeof w);
    be->ops->linear(be, y, x, &all, NULL, VR_ACT_NONE, NULL, 1);
    memset(w, 0, sizeof w); /* it must not be looked at again */
    be->ops->linear(be, z, x, &some, NULL, VR_ACT_NONE, NULL, 1);
    ck_assert(memcmp(z, y + 32, sizeof z) == 0 && z[0] != 0.0f);
    const vr_cuda_options options = { .precision = VR_PRECISION_F32, .share = be };
    ck_assert_msg(vr_backend_open_cuda(&second, &options, &e) == VR_OK, "%s", e.text);
    memset(z, 0, sizeof z);
    second->ops->linear(second, z, x, &some, NULL, VR_ACT_NONE, NULL, 1);
    ck_assert(memcmp(z, y + 32, sizeof z) == 0);
    vr_backend_free(be);
    vr_backend_free(second);
}
END_TEST

START_TEST(refusals)
{
    vr_backend *be = open_device(VR_PRECISION_F32);
    vr_err e = { 0 };
    if (!be) return;
    vr_backend_free(be);
    be = NULL;
    ck_assert_int_eq(vr_backend_open_cuda(&be, &(vr_cuda_options){ .device = 99 }, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "99"));
    const char *library = getenv("VIDRUN_CUDA_LIBRARY");
    char *kept = library ? strdup(library) : NULL;
    ck_assert_int_eq(setenv("VIDRUN_CUDA_LIBRARY", "/nowhere/libvidrun_cuda.so", 1), 0);
    ck_assert_int_eq(vr_backend_open_cuda(&be, &(vr_cuda_options){ .device = 0 }, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/libvidrun_cuda.so"));
    ck_assert_int_eq(setenv("VIDRUN_CUDA_LIBRARY", "libm.so.6", 1), 0);
    ck_assert_int_eq(vr_backend_open_cuda(&be, &(vr_cuda_options){ .device = 0 }, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "libm.so.6"));
    if (kept) ck_assert_int_eq(setenv("VIDRUN_CUDA_LIBRARY", kept, 1), 0);
    free(kept);
    ck_assert_ptr_null(be);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device");
    TCase *t = tcase_create("device");
    tcase_set_timeout(t, 3600);
    tcase_add_test(t, arena);
    tcase_add_test(t, weights);
    tcase_add_test(t, refusals);
    tcase_add_test(t, operations);
    suite_add_tcase(s, t);
    return suite_run(s);
}
