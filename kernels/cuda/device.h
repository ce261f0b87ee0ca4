/*
 * device.h - what every kernel file of the CUDA backend shares: the compiler's side of it.
 *
 *   nvcc             the CUDA runtime and cuBLAS
 *   any C++ compiler tests/simt/simt.h stands for both (-DVR_SIMT): the same text runs on a CPU, thread by thread
 *
 * Kernels are launched by VR_LAUNCH, where vr_cuda_launches(c), and take shared memory by VR_SHARED alone, so that both builds read
 * the same lines. A name with a comma in it (a template) goes in parentheses.
 * Trap:  a warp function must be reached by all 32 lanes: blocks are whole warps, and who has nothing to do still takes part.
 */
#ifndef VR_CUDA_DEVICE_H
#define VR_CUDA_DEVICE_H

#include <math.h>
#include <stdint.h>

#ifdef VR_SIMT
#include "tests/simt/simt.h"
#else
#include <cublas_v2.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define VR_LAUNCH(c, kernel, grid, block, shared_bytes, ...)                                                                   \
    do {                                                                                                                       \
        if (!vr_cuda_launches(c)) break;                                                                                       \
        kernel<<<(grid), (block), (shared_bytes), (c)->stream>>>(__VA_ARGS__);                                                 \
        vr_cuda_ok((c), cudaPeekAtLastError(), #kernel);                                                                       \
    } while (0)
#define VR_SHARED(type, name, n) __shared__ type name[n]
#define VR_SHARED_DYNAMIC(type, name)                                                                                          \
    extern __shared__ __align__(16) unsigned char vr_dynamic_shared[];                                                         \
    type *const name = reinterpret_cast<type *>(vr_dynamic_shared)
#define VR_ROLLED _Pragma("unroll 1") /* before a loop whose addresses are not worth registers */

static __device__ inline float vr_half_bits(uint16_t bits)
{
    return __half2float(__ushort_as_half(bits));
}
#endif

#define VR_WARP 32
#define VR_ALL  0xffffffffu /* lanes of a whole warp */

static __device__ inline float vr_number(const float *x, int64_t i)
{
    return x[i];
}

/* f16 and bf16 are told apart by type: both are 16 bits in memory. */
struct vr_f16 {
    uint16_t bits;
};
struct vr_bf16 {
    uint16_t bits;
};

static __device__ inline float vr_number(const vr_f16 *x, int64_t i)
{
    return vr_half_bits(x[i].bits);
}

static __device__ inline float vr_number(const vr_bf16 *x, int64_t i)
{
    return __uint_as_float((uint32_t)x[i].bits << 16);
}

/* To nearest, halves to even; NaN stays NaN. */
static __device__ inline vr_bf16 vr_to_bf16(float x)
{
    const uint32_t bits = __float_as_uint(x);
    if (x != x) return vr_bf16{ (uint16_t)(bits >> 16 | 0x40) };
    return vr_bf16{ (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) };
}

/* To nearest, halves to even, beyond 65504 infinite; bits as base/half.h has them. */
static __device__ inline uint16_t vr_to_f16(float x)
{
    const uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) /* subnormal: the addition rounds at 2^-24 */
        return (uint16_t)(sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((size - 0x38000000u + 0xfffu + (size >> 13 & 1)) >> 13));
}

template <typename T> static __device__ inline T vr_warp_sum(T x)
{
    for (int step = VR_WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(VR_ALL, x, step);
    return x;
}

static __device__ inline float vr_warp_max(float x)
{
    for (int step = VR_WARP / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(VR_ALL, x, step));
    return x;
}

/* Sum over the block in a fixed order, known to every thread. room: [32] shared, free again on return. */
template <typename T> static __device__ inline T vr_block_sum(T x, T *room)
{
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP, n_warps = (int)blockDim.x / VR_WARP;
    x = vr_warp_sum(x);
    if (n_warps == 1) return x;
    if (lane == 0) room[warp] = x;
    __syncthreads();
    T total = 0;
    for (int i = 0; i < n_warps; i++) total += room[i];
    __syncthreads();
    return total;
}

#endif
