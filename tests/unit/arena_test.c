/*
 * arena_test.c - scratch memory: plan and run agree, blocks are aligned and apart, marks release, overruns are seen.
 */
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/unit/suite.h"

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifdef TEST_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* What a model would do: a block that stays, and passes that take and release. */
static size_t example_run(vr_arena *a)
{
    float *stays = vr_arena_floats(a, 1000);
    for (int pass = 0; pass < 3; pass++) {
        const size_t mark = vr_arena_mark(a);
        vr_arena_alloc(a, 100 * (size_t)(pass + 1), 3);
        vr_arena_alloc(a, 0, 8);
        vr_arena_release(a, mark);
    }
    if (a->base) stays[999] = 1;
    return a->peak;
}

START_TEST(plan_equals_run)
{
    vr_arena plan, run;
    vr_arena_plan(&plan);
    const size_t planned = example_run(&plan);
    ck_assert_int_eq(vr_arena_open(&run, planned, NULL), VR_OK);
    ck_assert_uint_eq(example_run(&run), planned);
    ck_assert_uint_eq(run.used, plan.used);
    vr_arena_close(&run);
    vr_arena_close(&plan);
}
END_TEST

START_TEST(plan_takes_no_memory)
{
    vr_arena a;
    vr_arena_plan(&a);
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(vr_arena_alloc(&a, (size_t)1 << 40, 1)); /* 1000 TB */
    ck_assert_uint_ge(a.peak, (size_t)1000 << 40);
    vr_arena_close(&a);
}
END_TEST

START_TEST(blocks_are_aligned_and_apart)
{
    vr_arena a;
    ck_assert_int_eq(vr_arena_open(&a, 1 << 20, NULL), VR_OK);
    unsigned char *end = NULL;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = vr_arena_alloc(&a, n, 1);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        ck_assert(!end || p >= end + 64); /* also the gap for the sanitizer */
        for (size_t i = 0; i < n; i++) ck_assert_uint_eq(p[i], 0);
        memset(p, 0xff, n);
        end = p + n;
    }
    vr_arena_close(&a);
}
END_TEST

START_TEST(marks_are_a_stack)
{
    vr_arena a;
    ck_assert_int_eq(vr_arena_open(&a, 1 << 16, NULL), VR_OK);
    char *kept = vr_arena_alloc(&a, 10, 1);
    memcpy(kept, "unchanged", 10);
    const size_t outer = vr_arena_mark(&a);
    float *x = vr_arena_floats(&a, 50);
    const size_t inner = vr_arena_mark(&a);
    float *y = vr_arena_floats(&a, 50);
    y[0] = 1;
    vr_arena_release(&a, inner);
    ck_assert_ptr_eq(vr_arena_floats(&a, 50), y);
    vr_arena_release(&a, outer);
    ck_assert_ptr_eq(vr_arena_floats(&a, 50), x);
    vr_arena_release(&a, outer);
    ck_assert_str_eq(kept, "unchanged");
    ck_assert_uint_eq(a.used, outer);
    ck_assert_uint_eq(a.peak, inner + (inner - outer)); /* of both blocks, long released */
    vr_arena_close(&a);
}
END_TEST

START_TEST(odd_sizes_and_closing)
{
    vr_err e = { 0 };
    vr_arena a = { 0 };
    vr_arena_close(&a); /* zeroed */
    ck_assert_int_eq(vr_arena_open(&a, 0, &e), VR_OK);
    vr_arena_close(&a);
    vr_arena_close(&a); /* closed */
    ck_assert_int_eq(vr_arena_open(&a, SIZE_MAX / 2, &e), VR_ERR_LIMIT);
    ck_assert_str_eq(e.text, "not enough memory: 8796093022207 MB of scratch were refused");
    vr_arena_close(&a); /* never opened */
}
END_TEST

START_TEST(does_not_fit)
{
    vr_arena a;
    ck_assert_int_eq(vr_arena_open(&a, 4096, NULL), VR_OK);
    vr_arena_alloc(&a, 4096, 1); /* no room for its gap: asserts */
}
END_TEST

START_TEST(product_overflows)
{
    vr_arena a;
    vr_arena_plan(&a);
    vr_arena_alloc(&a, SIZE_MAX / 8, 16); /* would wrap to a small block: asserts */
}
END_TEST

START_TEST(overruns_are_poisoned)
{
#ifdef TEST_ASAN
    vr_arena a;
    ck_assert_int_eq(vr_arena_open(&a, 1 << 16, NULL), VR_OK);
    const size_t mark = vr_arena_mark(&a);
    const char *p = vr_arena_alloc(&a, 13, 1), *q = vr_arena_alloc(&a, 64, 1);
    ck_assert(!__asan_address_is_poisoned(p) && !__asan_address_is_poisoned(p + 12));
    ck_assert(__asan_address_is_poisoned(p + 13) && __asan_address_is_poisoned(p + 64));
    ck_assert(__asan_address_is_poisoned(q - 1) && __asan_address_is_poisoned(q + 64));
    vr_arena_release(&a, mark);
    ck_assert(__asan_address_is_poisoned(p) && __asan_address_is_poisoned(q));
    vr_arena_close(&a);
#else
    printf("SKIP: overruns_are_poisoned: not built with AddressSanitizer (make asan)\n");
#endif
}
END_TEST

/* Memory of another kind, and the host's beside it: a place is taken in both, a mark of one is a mark of the other. */
START_TEST(twins)
{
    vr_arena device = { .base = malloc(4096), .size = 4096, .release = free }, host;
    ck_assert_ptr_nonnull(device.base);
    ck_assert_int_eq(vr_arena_open_twin(&host, &device, NULL), VR_OK);
    const size_t mark = vr_arena_mark(&host);
    unsigned char *a = vr_arena_alloc(&device, 100, 1), *b = vr_arena_alloc(&host, 100, 1), *c = vr_arena_alloc(&device, 1, 1);
    ck_assert(a == device.base && b > host.base && b - host.base >= 100 && c - device.base >= (b - host.base) + 100);
    memset(b, 1, 100);
    ck_assert_uint_eq(vr_arena_mark(&host), vr_arena_mark(&device));
    vr_arena_release(&device, mark);
    ck_assert_uint_eq(vr_arena_mark(&host), mark);
    b = vr_arena_alloc(&host, 1, 1);
    ck_assert_ptr_eq(b, host.base);
    *b = 1; /* released through the other one, and still the host's to write */
    vr_arena_release(&host, mark);
    ck_assert_uint_eq(vr_arena_mark(&device), mark);
    ck_assert_uint_eq(host.peak, 0);
    vr_arena_close(&host);
    vr_arena_close(&device);
    ck_assert_ptr_null(device.base);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena");
    TCase *all = tcase_create("arena");
    tcase_add_test(all, plan_equals_run);
    tcase_add_test(all, plan_takes_no_memory);
    tcase_add_test(all, blocks_are_aligned_and_apart);
    tcase_add_test(all, marks_are_a_stack);
    tcase_add_test(all, odd_sizes_and_closing);
    tcase_add_test(all, overruns_are_poisoned);
    tcase_add_test(all, twins);
    tcase_add_test_raise_signal(all, does_not_fit, SIGABRT);
    tcase_add_test_raise_signal(all, product_overflows, SIGABRT);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
