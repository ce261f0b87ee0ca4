/*
 * suite.h - how a test program runs its suite.
 */
#ifndef VR_SUITE_H
#define VR_SUITE_H

#include <check.h>

/* The exit status of main. CK_VERBOSITY says how much is printed. */
static inline int suite_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* The same for a suite of one case, five minutes a test. */
static inline int suite_run_case(const char *name, TCase *tests)
{
    Suite *suite = suite_create(name);
    tcase_set_timeout(tests, 300);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}

#endif
