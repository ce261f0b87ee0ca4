/*
 * mma_test.cc - do the lanes' numbers of kernels/cuda/mma.h lie where its header says? Random matrices against plain products.
 *
 * One text for the emulation (make check) and for a GPU (make check-cuda, by nvcc): there it tells whether the two agree.
 * Limit of a product: every one of 17 terms is cut off below the 24th digit of the largest, twice; a wrong lane is off by itself.
 */
#include "kernels/cuda/mma.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <cstdio>
#include <cstdlib>
#include <vector>

struct test_device {
    cudaStream_t stream;
};
static test_device the_device;

static bool vr_cuda_launches(test_device *)
{
    return true;
}

static bool vr_cuda_ok(test_device *, cudaError_t error, const char *)
{
    return error == cudaSuccess;
}

/* Memory of the device with numbers of the host. */
template <typename T> struct mirrored {
    std::vector<T> host;
    T *device = nullptr;
    explicit mirrored(size_t n) : host(n)
    {
        ck_assert_int_eq(cudaMalloc(&device, n * sizeof(T)), cudaSuccess);
    }
    ~mirrored()
    {
        cudaFree(device);
    }
    void to_device()
    {
        cudaMemcpyAsync(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice, the_device.stream);
    }
    void to_host()
    {
        cudaMemcpyAsync(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost, the_device.stream);
        ck_assert_int_eq(cudaStreamSynchronize(the_device.stream), cudaSuccess);
    }
};

static uint32_t random_state = 1;
static uint32_t random_bits()
{
    random_state ^= random_state << 13, random_state ^= random_state >> 17, random_state ^= random_state << 5;
    return random_state;
}

static float number_of(vr_f16 x)
{
    const float size = std::ldexp((float)((x.bits & 0x3ff) | 0x400), (x.bits >> 10 & 31) - 25);
    return x.bits & 0x8000 ? -size : size;
}

static float number_of(vr_bf16 x)
{
    const uint32_t bits = (uint32_t)x.bits << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Sizes from 1/16 to 2. */
static void fill(std::vector<vr_f16> &x)
{
    for (vr_f16 &number : x) number.bits = (uint16_t)((random_bits() & 0x83ff) | (11 + random_bits() % 5) << 10);
}

static void fill(std::vector<vr_bf16> &x)
{
    for (vr_bf16 &number : x) number.bits = (uint16_t)((random_bits() & 0x807f) | (123 + random_bits() % 5) << 7);
}

/* a [16, 16], b [16, 8], c [16, 8] in rows; fragments by the tables of the PTX ISA, number by number */
template <typename X> static __global__ void product(float *c, const X *a, const X *b)
{
    const int lane = (int)threadIdx.x, group = lane >> 2, in_group = lane & 3;
    uint32_t of_a[4], of_b[2];
    for (int i = 0; i < 8; i += 2) { /* a0..a7 */
        const int row = i == 0 || i == 4 ? group : group + 8, col = in_group * 2 + (i >= 4 ? 8 : 0);
        of_a[i / 2] = a[row * 16 + col].bits | (uint32_t)a[row * 16 + col + 1].bits << 16;
    }
    for (int i = 0; i < 4; i += 2) { /* b0..b3 */
        const int row = in_group * 2 + (i >= 2 ? 8 : 0);
        of_b[i / 2] = b[row * 8 + group].bits | (uint32_t)b[(row + 1) * 8 + group].bits << 16;
    }
    float of_c[4];
    for (int i = 0; i < 4; i++) of_c[i] = c[(i < 2 ? group : group + 8) * 8 + in_group * 2 + i % 2];
    vr_mma<X>(of_c, of_a, of_b);
    for (int i = 0; i < 4; i++) c[(i < 2 ? group : group + 8) * 8 + in_group * 2 + i % 2] = of_c[i];
}

template <typename X> static void products()
{
    for (int round = 0; round < 50; round++) {
        mirrored<X> a(256), b(128);
        mirrored<float> c(128);
        fill(a.host), fill(b.host);
        for (float &number : c.host) number = (float)(random_bits() >> 8) / (float)(1 << 20) - 8.0f;
        const std::vector<float> before = c.host;
        a.to_device(), b.to_device(), c.to_device();
        VR_LAUNCH(&the_device, product<X>, 1u, 32u, 0, c.device, a.device, b.device);
        c.to_host();
        for (int i = 0; i < 16; i++) {
            for (int k = 0; k < 8; k++) {
                double want = (double)before[(size_t)(i * 8 + k)], size = fabs(want);
                for (int d = 0; d < 16; d++) {
                    const double term =
                        (double)number_of(a.host[(size_t)(i * 16 + d)]) * (double)number_of(b.host[(size_t)(d * 8 + k)]);
                    want += term, size += fabs(term);
                }
                const double got = (double)c.host[(size_t)(i * 8 + k)];
                ck_assert_msg(fabs(got - want) <= 2 * 17 * 0x1p-23 * size, "round %d: C(%d, %d) is %.9g, not %.9g", round, i, k,
                              got, want);
            }
        }
    }
}

START_TEST(products_f16)
{
    products<vr_f16>();
}
END_TEST

START_TEST(products_bf16)
{
    products<vr_bf16>();
}
END_TEST

static const int ROW = 24; /* numbers: of 16 bytes, no power of 2 */

/* x [16, 16] -> shared -> every lane's words of both loads */
static __global__ void loads(uint32_t *words, const vr_bf16 *x)
{
    VR_SHARED(uint4, room, 16 * ROW / 8);
    vr_bf16 *const tile = reinterpret_cast<vr_bf16 *>(static_cast<uint4 *>(room));
    const int lane = (int)threadIdx.x;
    vr_copy_async(tile + lane / 2 * ROW + lane % 2 * 8, x + lane / 2 * 16 + lane % 2 * 8);
    vr_copy_group();
    vr_copy_wait<0>();
    __syncthreads();
    const vr_bf16 *row =
        tile + (lane / 8 % 2 * 8 + lane % 8) * ROW + lane / 16 * 8; /* upper left, lower left, upper right, lower right */
    vr_load_matrices(words + 8 * lane, row);
    vr_load_matrices_turned(words + 8 * lane + 4, row);
}

START_TEST(matrices)
{
    mirrored<vr_bf16> x(256);
    mirrored<uint32_t> words(32 * 8);
    for (size_t i = 0; i < 256; i++) x.host[i].bits = (uint16_t)i;
    x.to_device();
    VR_LAUNCH(&the_device, loads, 1u, 32u, 0, words.device, x.device);
    words.to_host();
    for (int lane = 0; lane < 32; lane++) {
        for (int m = 0; m < 4; m++) {
            const unsigned row = (unsigned)(m % 2 * 8 + lane / 4), col = (unsigned)(m / 2 * 8 + lane % 4 * 2);
            ck_assert_uint_eq(words.host[(size_t)(8 * lane + m)], (16 * row + col) | (16 * row + col + 1) << 16);
            const unsigned line = (unsigned)(m % 2 * 8 + lane % 4 * 2), at = (unsigned)(m / 2 * 8 + lane / 4);
            ck_assert_uint_eq(words.host[(size_t)(8 * lane + 4 + m)], (16 * line + at) | (16 * (line + 1) + at) << 16);
        }
    }
}
END_TEST

static __global__ void pairs(uint32_t *y, const float *x)
{
    y[threadIdx.x] = vr_pair<vr_bf16>(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
}

START_TEST(rounding)
{
    mirrored<float> x(64);
    mirrored<uint32_t> y(32);
    for (size_t i = 0; i < 64; i++) x.host[i] = (float)(random_bits() >> 4) * (i % 2 ? 1e-3f : -1e5f);
    const uint32_t ties[] = { 0x3f808000, 0x3f818000, 0x7f7fffff, 0x80000000 };
    memcpy(x.host.data(), ties, sizeof ties);
    x.to_device();
    VR_LAUNCH(&the_device, pairs, 1u, 32u, 0, y.device, x.device);
    y.to_host();
    for (size_t i = 0; i < 64; i++) {
        uint32_t bits;
        memcpy(&bits, &x.host[i], sizeof bits);
        const uint32_t want = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        ck_assert_uint_eq(y.host[i / 2] >> (i % 2 ? 16 : 0) & 0xffff, want);
    }
}
END_TEST

#ifdef VR_SIMT
const char *simt_report_text();
void simt_report_clear();

/* 2^26 + 1.5 - 2^26: what is below the largest is cut off first. */
START_TEST(sums_are_cut)
{
    const simt_number one = { 1, 0, true, false }, minus = { -1, 0, true, false }, large = { 1, 13, true, false },
                      odd = { 3, -1, true, false };
    const simt_number a[3] = { large, one, large }, b[3] = { large, odd, { -1, 13, true, false } };
    ck_assert(simt_sum(0, a, b, 3) == 0.0f);
    ck_assert(simt_sum(1.0f, &one, &minus, 1) == 0.0f && simt_sum(0x1p24f, &one, &one, 1) == 0x1p24f);
    ck_assert(simt_sum(0x1p23f, &odd, &one, 1) == 0x1p23f + 1.0f && simt_sum(-0x1p23f, &odd, &minus, 1) == -0x1p23f - 1.0f);
    ck_assert(std::isinf(simt_sum(INFINITY, &one, &one, 1)) && std::isnan(simt_sum(NAN, &one, &one, 1)));
    const simt_number no_number = simt_open(vr_bf16{ 0x7fc0 });
    ck_assert(std::isnan(simt_sum(1.0f, &no_number, &one, 1)) && std::isnan(simt_sum(1.0f, &one, &no_number, 1)));
    ck_assert(simt_sum(0, &one, &one, 1) == 1.0f && simt_open(vr_f16{ 1 }).significand == 1);
    ck_assert(std::ldexp(1.0, simt_open(vr_f16{ 1 }).exponent) == 0x1p-24 && !simt_open(vr_bf16{ 0xff80 }).finite);
}
END_TEST

static __global__ void early(uint32_t *y, const vr_bf16 *x, int wait)
{
    VR_SHARED(uint4, room, 32);
    vr_copy_async(&room[threadIdx.x], x + 8 * threadIdx.x);
    vr_copy_group();
    if (wait == 1) vr_copy_wait<1>();
    y[threadIdx.x] = room[threadIdx.x].x;
    if (wait < 2) vr_copy_wait<0>();
}

static __global__ void beside(const vr_bf16 *x)
{
    VR_SHARED(uint4, room, 33);
    vr_copy_async(reinterpret_cast<unsigned char *>(&room[threadIdx.x]) + 4, x);
    vr_copy_group();
    vr_copy_wait<0>();
}

static __global__ void half_a_product(float *c)
{
    const uint32_t none[4] = { 0, 0, 0, 0 };
    if (threadIdx.x < 16)
        vr_mma<vr_bf16>(c, none, none);
    else
        vr_mma<vr_bf16>(c, none, none);
}

START_TEST(mistakes)
{
    mirrored<vr_bf16> x(256);
    mirrored<uint32_t> y(32);
    x.to_device();
    for (int wait = 0; wait < 2; wait++) { /* what is read before it was waited for is not there */
        VR_LAUNCH(&the_device, early, 1u, 32u, 0, y.device, x.device, wait);
        y.to_host();
        ck_assert_uint_eq(y.host[0], 0xffffffffu);
    }
    VR_LAUNCH(&the_device, early, 1u, 32u, 0, y.device, x.device, 2);
    ck_assert_ptr_nonnull(strstr(simt_report_text(), "nobody waited for"));
    simt_report_clear();
    VR_LAUNCH(&the_device, beside, 1u, 32u, 0, x.device);
    ck_assert_ptr_nonnull(strstr(simt_report_text(), "multiples of 16"));
    simt_report_clear();
    float c[4] = { 0 };
    VR_LAUNCH(&the_device, half_a_product, 1u, 32u, 0, c);
    ck_assert_msg(strstr(simt_report_text(), "divergent warp function") != nullptr, "%s", simt_report_text());
    simt_report_clear();
}
END_TEST
#endif

int main()
{
    const char *seed = getenv("VIDRUN_SEED");
    random_state = (seed ? (uint32_t)strtoul(seed, nullptr, 10) : 20240229u) | 1u;
    printf("VIDRUN_SEED=%lu\n", (unsigned long)random_state);
    Suite *s = suite_create("mma");
    TCase *t = tcase_create("mma");
    tcase_add_test(t, products_f16);
    tcase_add_test(t, products_bf16);
    tcase_add_test(t, matrices);
    tcase_add_test(t, rounding);
#ifdef VR_SIMT
    tcase_add_test(t, sums_are_cut);
    tcase_add_test(t, mistakes);
#endif
    suite_add_tcase(s, t);
    return suite_run(s);
}
