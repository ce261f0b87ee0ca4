/*
 * random_test.c - the generator: published numbers, bounds, permutations.
 */
#include "base/random.h"

#include "tests/unit/memory_support.h"
#include "tests/unit/suite.h"

START_TEST(known_numbers)
{
    vr_random r = { 1 };
    ck_assert_uint_eq(vr_random_next(&r), UINT64_C(0x910a2dec89025cc1));
    ck_assert_uint_eq(vr_random_next(&r), UINT64_C(0xbeeb8da1658eec67));
    ck_assert_uint_eq(vr_random_next(&r), UINT64_C(0xf893a2eefb32555e));
    r.state = 1;
    ck_assert_uint_eq(vr_random_below(&r, 1000), 566); /* 0x910a2dec * 1000 >> 32 */
    ck_assert_uint_eq(vr_random_below(&r, 1), 0);
    ck_assert_uint_eq(vr_random_below(&r, UINT32_MAX), 0xf893a2edu);
}
END_TEST

START_TEST(permutations)
{
    vr_random r = random_open();
    for (int n = 0; n < 70; n++) {
        int32_t p[70];
        bool seen[70] = { false };
        vr_random expected = r;
        for (int i = 0; i + 1 < n; i++) vr_random_next(&expected);
        vr_random_permutation(&r, n, p);
        ck_assert_uint_eq(r.state, expected.state); /* n - 1 draws */
        for (int i = 0; i < n; i++) {
            ck_assert(p[i] >= 0 && p[i] < n && !seen[p[i]]);
            seen[p[i]] = true;
        }
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("random");
    tcase_add_test(tests, known_numbers);
    tcase_add_test(tests, permutations);
    return suite_run_case("random", tests);
}
