/*
 * ladder_test.cc - every step of kernels/ladder/prune_gpu.cu gives the cosines of plain sums in double.
 */
#include "simt.h"

static bool vr_cuda_launches(int)
{
    return true;
}

static bool vr_cuda_ok(int, cudaError_t error, const char *)
{
    return error == cudaSuccess;
}

#include "kernels/ladder/prune_gpu.cu"
#include "tests/unit/suite.h"

#include <check.h>
#include <cstdlib>
#include <vector>

static const int FRAMES = 11, PLACES = 5, WIDTH = 72, WINDOW = 4;

static double number(const std::vector<vr_bf16> &x, int row, int d)
{
    return (double)vr_number(x.data(), (int64_t)row * WIDTH + d);
}

START_TEST(steps)
{
    std::vector<vr_bf16> x((size_t)FRAMES * PLACES * WIDTH);
    std::vector<float> s((size_t)FRAMES * PLACES), norm(s.size()), unit(x.size());
    uint32_t random = 12345;
    for (vr_bf16 &number : x) {
        random = random * 1664525u + 1013904223u;
        number = vr_to_bf16((float)(random >> 8) / (float)(1 << 23) - 1.0f);
    }
    const ladder_job j = { x.data(), s.data(), FRAMES, PLACES, WIDTH, WINDOW };
    const unsigned rows = (FRAMES * PLACES + LADDER_THREADS - 1) / LADDER_THREADS;
    const unsigned warps = (FRAMES * PLACES * VR_WARP + LADDER_THREADS - 1) / LADDER_THREADS;
    for (int step = 1; step <= 5; step++) {
        for (float &number : s) number = NAN;
        if (step == 1) {
            VR_LAUNCH(0, papers_norms, rows, LADDER_THREADS, 0, j, norm.data());
            VR_LAUNCH(0, papers_divide, rows, LADDER_THREADS, 0, j, norm.data(), unit.data());
            VR_LAUNCH(0, papers_products, rows, LADDER_THREADS, 0, j, unit.data());
        }
        if (step == 2) VR_LAUNCH(0, fused, rows, LADDER_THREADS, 0, j);
        if (step == 3) VR_LAUNCH(0, lanes, warps, LADDER_THREADS, 0, j);
        if (step == 4) VR_LAUNCH(0, window_of, warps, LADDER_THREADS, 0, j);
        if (step == 5) VR_LAUNCH(0, vectors, warps, LADDER_THREADS, 0, j);
        ck_assert_int_eq(cudaPeekAtLastError(), cudaSuccess);
        for (int row = 0; row < FRAMES * PLACES; row++) {
            const int anchor = row / PLACES / WINDOW * WINDOW * PLACES + row % PLACES;
            double ab = 0, aa = 0, bb = 0;
            for (int d = 0; d < WIDTH; d++) {
                const double a = number(x, anchor, d), b = number(x, row, d);
                ab += a * b, aa += a * a, bb += b * b;
            }
            ck_assert_msg(fabs((double)s[(size_t)row] - ab / sqrt(aa * bb)) < 1e-6, "step %d, row %d: %.9g, not %.9g", step,
                          row, (double)s[(size_t)row], ab / sqrt(aa * bb));
        }
    }
}
END_TEST

int main()
{
    Suite *s = suite_create("ladder");
    TCase *t = tcase_create("ladder");
    tcase_add_test(t, steps);
    suite_add_tcase(s, t);
    return suite_run(s);
}
