/*
 * selftest.c - the kernels' self-test as a program of its own, for machines that only a simulator is here for.
 *
 *   every level of the machine -> kernels/selftest.h -> lines;  1 where a kernel is wrong;  with any argument: the levels alone
 *
 * VIDRUN_THOROUGH=1, VIDRUN_SEED as in tests/check/kernels_test.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cblas.h"
#include "kernels/backend.h"
#include "kernels/selftest.h"

void cblas_sgemm(int order, int turn_a, int turn_b, int M, int N, int K, float alpha, const float *a, int a_row, const float *b,
                 int b_row, float beta, float *c, int c_row)
{
    if (order != CblasRowMajor || turn_a != CblasNoTrans || turn_b != CblasTrans || beta < 0.0f || beta > 0.0f) abort();
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double sum = 0.0;
            for (int k = 0; k < K; k++) sum += (double)a[(int64_t)i * a_row + k] * (double)b[(int64_t)j * b_row + k];
            c[(int64_t)i * c_row + j] = (float)((double)alpha * sum);
        }
    }
}

void openblas_set_num_threads(int n_threads)
{
    (void)n_threads;
}

static void print_line(void *cookie, const char *text)
{
    (void)cookie;
    printf("%s\n", text);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        printf("%s\n", vr_cpu_features());
        return 0;
    }
    const char *seed = getenv("VIDRUN_SEED"), *thorough = getenv("VIDRUN_THOROUGH");
    const uint64_t start = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    vr_err e = { 0 };
    if (thorough) printf("VIDRUN_SEED=%llu\n", (unsigned long long)start);
    const int rc = thorough ? vr_selftest_thorough(start, print_line, NULL, &e) : vr_selftest(print_line, NULL, &e);
    if (rc != VR_OK) printf("FAIL %s\n", e.text);
    return rc != VR_OK;
}
