/*
 * simt_test.cc - does the shim see what it is for? Kernels with mistakes are reported, kernels without give known numbers.
 */
#include "simt.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <cstdlib>

const char *simt_report_text();
void simt_report_clear();

struct nobody {
};
static bool vr_cuda_launches(nobody)
{
    return true;
}

static bool vr_cuda_ok(nobody, cudaError_t error, const char *)
{
    return error == cudaSuccess;
}

static void ck_reported(const char *part)
{
    ck_assert_msg(strstr(simt_report_text(), part) != nullptr, "\"%s\" is not in the report \"%s\"", part, simt_report_text());
    ck_assert_int_eq(cudaStreamSynchronize(nullptr), cudaErrorLaunchFailure);
    simt_report_clear();
}

static __global__ void turn_around(int *y, const int *x, int n)
{
    VR_SHARED(int, room, 128);
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    room[threadIdx.x] = i < n ? x[i] : -1;
    __syncthreads();
    if (i < n) y[i] = room[blockDim.x - 1 - threadIdx.x];
}

START_TEST(blocks_and_shared_memory)
{
    int x[256], y[256] = { 0 };
    for (int i = 0; i < 256; i++) x[i] = 3 * i;
    VR_LAUNCH(nobody(), turn_around, 2u, 128u, 0, y, x, 256);
    for (int i = 0; i < 256; i++) ck_assert_int_eq(y[i], 3 * (i / 128 * 128 + 127 - i % 128));
}
END_TEST

static __global__ void warps(int *y)
{
    const int lane = (int)threadIdx.x % 32;
    int sum = lane;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const unsigned odd = __ballot_sync(0xffffffffu, lane % 2);
    const int up = __shfl_up_sync(0xffffffffu, lane, 3), down = __shfl_down_sync(0xffffffffu, lane, 5);
    const double five = __shfl_sync(0xffffffffu, 0.5 * lane, 5);
    __syncwarp();
    y[threadIdx.x] = sum == 496 && odd == 0xaaaaaaaau && up == (lane < 3 ? lane : lane - 3) &&
                     down == (lane + 5 > 31 ? lane : lane + 5) && five == 2.5 && __any_sync(0xffffffffu, lane == 31) &&
                     !__all_sync(0xffffffffu, lane == 31);
}

START_TEST(warp_functions)
{
    int y[64] = { 0 };
    VR_LAUNCH(nobody(), warps, 1u, 64u, 0, y);
    for (int i = 0; i < 64; i++) ck_assert_int_eq(y[i], 1);
    ck_assert_int_eq(__dp4a(0x01ff7f80, 0x02ff7f7f, 10), 10 + 2 + 1 + 127 * 127 - 128 * 127);
    ck_assert(vr_half_bits(0x3c00) == 1.0f && vr_half_bits(0xc000) == -2.0f && vr_half_bits(1) == 0x1p-24f);
    ck_assert(std::isinf(vr_half_bits(0x7c00)) && std::isnan(vr_half_bits(0x7e00)) && vr_half_bits(0x3555) == 0x1.554p-2f);
}
END_TEST

static __global__ void dynamic(float *y, int n)
{
    VR_SHARED_DYNAMIC(float, room);
    y[threadIdx.x] = std::isnan((float)room[threadIdx.x]) ? 1.0f : 0.0f; /* nothing is known of it */
    __syncthreads();
    room[(int)threadIdx.x + n] = 0.0f;
}

static __global__ void half_a_barrier(int)
{
    if (threadIdx.x < 40) __syncthreads();
}

static __global__ void two_barriers(int)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

static __global__ void half_a_warp(int *y)
{
    if (threadIdx.x < 7) y[0] = __shfl_xor_sync(0xffffffffu, 1, 1);
}

static __global__ void masked(int *y)
{
    y[threadIdx.x] = __shfl_sync(0xffffu, 1, 0);
}

START_TEST(mistakes)
{
    float y[64] = { 0 };
    int z[64];
    VR_LAUNCH(nobody(), dynamic, 1u, 64u, 64 * sizeof(float), y, 0);
    ck_assert_str_eq(simt_report_text(), "");
    for (int i = 0; i < 64; i++) ck_assert(y[i] == 1.0f);
    VR_LAUNCH(nobody(), dynamic, 1u, 64u, 64 * sizeof(float), y, 1);
    ck_reported("room[64] is outside of 64 elements");
    VR_LAUNCH(nobody(), dynamic, 1u, 64u, 64 * sizeof(float), y, -1);
    ck_reported("room[-1] is outside");
    VR_LAUNCH(nobody(), half_a_barrier, 2u, 64u, 0, 0);
    ck_reported("half_a_barrier: divergent __syncthreads at tests/simt/simt_test.cc:");
    VR_LAUNCH(nobody(), two_barriers, 1u, 64u, 0, 0);
    ck_reported("32 of 64 threads are there, 0 have ended");
    VR_LAUNCH(nobody(), half_a_warp, 1u, 32u, 0, z);
    ck_reported("divergent warp function");
    VR_LAUNCH(nobody(), masked, 1u, 32u, 0, z);
    ck_reported("of part of a warp");
    VR_LAUNCH(nobody(), masked, 1u, 33u, 0, z);
    ck_reported("refused launch");
    VR_LAUNCH(nobody(), dynamic, 1u, 32u, 49 << 10, y, 0);
    ck_reported("refused launch");
    VR_LAUNCH(nobody(), half_a_barrier, 1u, 32u, 0, 0); /* all of them are there */
    ck_assert_str_eq(simt_report_text(), "");
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__)
static __global__ void beside(int *)
{
    VR_SHARED(int, room, 4);
    int *const all = room; /* a plain address: only the guards see it */
    if (threadIdx.x == 0) all[5] = 1;
}
#endif

START_TEST(guards)
{
#if !defined(__SANITIZE_ADDRESS__)
    VR_LAUNCH(nobody(), beside, 1u, 32u, 0, (int *)nullptr);
    ck_reported("written beside an array of 16 bytes");
#endif
}
END_TEST

int main()
{
    Suite *s = suite_create("simt");
    TCase *t = tcase_create("simt");
    tcase_add_test(t, blocks_and_shared_memory);
    tcase_add_test(t, warp_functions);
    tcase_add_test(t, mistakes);
    tcase_add_test(t, guards);
    suite_add_tcase(s, t);
    return suite_run(s);
}
