/*
 * simt.h - CUDA on a CPU, for tests: the part of the runtime, of cuBLAS and of the device functions that kernels/cuda uses.
 *
 *   grid -> blocks, one after the other -> threads of a block as contexts with stacks of their own -> the kernel, unchanged
 *
 * A thread runs until it waits or ends. __syncthreads ends when every thread of the block is at the same one; a warp function
 * when all 32 lanes are at the same one. Whatever can never end is a divergence and is reported with file and line, as are
 * places outside an array of shared memory. A report is the error of the launch (cudaErrorLaunchFailure), whose text is the report.
 * Shared memory starts as NaN in every block, guarded on both sides; device memory comes from malloc, so AddressSanitizer sees
 * every place outside of it. With VIDRUN_SIMT_GUARD=1 memory of cudaMalloc can be touched by kernels and copies alone.
 * Trap:  blocks and warps run in one order: races between threads that a GPU would show stay hidden.
 */
#ifndef VR_SIMT_H
#define VR_SIMT_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>

#include "simt_runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define VR_ROLLED

struct simt_place {
    const char *file;
    int line;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* One at a time: launches, and what else touches the state of the device. */
extern std::recursive_mutex simt_lock;

void simt_barrier(simt_place place);
/* All lanes hand in n <= 64 bytes; returns the 32 of them, 64 bytes apart, until the warp's next call. */
const unsigned char *simt_exchange(const void *mine, size_t n, simt_place place);
void simt_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* 16 bytes on their way to shared memory; a group of them; what is left of them but for the last n_groups arrives now. */
void simt_copy(void *to, const void *from);
void simt_copy_group();
void simt_copy_wait(int n_groups);
/* Shared memory of the block that runs: key names the declaration; NULL: the dynamic one, whose bytes come back in *n_bytes. */
void *simt_shared(const void *key, size_t *n_bytes);
void simt_run(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);

#define SIMT_HERE       (simt_place{ __FILE__, __LINE__ })
#define __syncthreads() simt_barrier(SIMT_HERE)

template <typename T> class simt_array
{
  public:
    simt_array(const char *name, const void *key, size_t n_bytes) : text(name)
    {
        first = static_cast<T *>(simt_shared(key, &n_bytes));
        count = n_bytes / sizeof(T);
    }
    template <typename I> T &operator[](I i) const
    {
        static T outside[1];
        if (i >= 0 && (size_t)i < count) return first[i];
        simt_report("shared memory: %s[%lld] is outside of %zu elements", text, (long long)i, count);
        return outside[0];
    }
    operator T *() const
    {
        return first;
    }

  private:
    const char *text;
    T *first;
    size_t count;
};

#define VR_SHARED(type, name, n)                                                                                               \
    static const char name##_key = 0;                                                                                          \
    const simt_array<type> name(#name, &name##_key, (n) * sizeof(type))
#define VR_SHARED_DYNAMIC(type, name) const simt_array<type> name(#name, nullptr, 0)

template <typename... P, typename... A>
static void simt_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, A... args)
{
    simt_run(name, grid, block, shared_bytes, [=] { kernel(static_cast<P>(args)...); });
}

#define VR_LAUNCH(c, kernel, grid, block, shared_bytes, ...)                                                                   \
    do {                                                                                                                       \
        if (!vr_cuda_launches(c)) break;                                                                                       \
        simt_launch(#kernel, kernel, grid, block, shared_bytes, __VA_ARGS__);                                                  \
        vr_cuda_ok((c), cudaPeekAtLastError(), #kernel);                                                                       \
    } while (0)

template <typename T> static inline T simt_from(T x, unsigned lane, simt_place place)
{
    T other;
    memcpy(&other, simt_exchange(&x, sizeof x, place) + 64 * (lane % 32), sizeof other);
    return other;
}

static inline unsigned simt_lane()
{
    return threadIdx.x % 32;
}

static inline unsigned simt_ballot(unsigned mask, int predicate, simt_place place)
{
    if (mask != 0xffffffffu) simt_report("%s:%d: a vote of part of a warp", place.file, place.line);
    const unsigned char one = predicate != 0, *all = simt_exchange(&one, 1, place);
    unsigned votes = 0;
    for (int i = 0; i < 32; i++) votes |= (unsigned)all[64 * i] << i;
    return votes;
}

#define __shfl_sync(mask, x, lane)     simt_from((x), (unsigned)(lane), simt_whole((mask), SIMT_HERE))
#define __shfl_xor_sync(mask, x, step) simt_from((x), simt_lane() ^ (unsigned)(step), simt_whole((mask), SIMT_HERE))
#define __shfl_down_sync(mask, x, step)                                                                                        \
    simt_from((x), simt_lane() + (unsigned)(step) < 32 ? simt_lane() + (unsigned)(step) : simt_lane(),                         \
              simt_whole((mask), SIMT_HERE))
#define __shfl_up_sync(mask, x, step)                                                                                          \
    simt_from((x), simt_lane() >= (unsigned)(step) ? simt_lane() - (unsigned)(step) : simt_lane(),                             \
              simt_whole((mask), SIMT_HERE))
#define __ballot_sync(mask, p) simt_ballot((mask), (p), SIMT_HERE)
#define __any_sync(mask, p)    (simt_ballot((mask), (p), SIMT_HERE) != 0)
#define __all_sync(mask, p)    (simt_ballot((mask), (p), SIMT_HERE) == 0xffffffffu)
#define __syncwarp()           ((void)simt_ballot(0xffffffffu, 0, SIMT_HERE))

static inline simt_place simt_whole(unsigned mask, simt_place place)
{
    if (mask != 0xffffffffu) simt_report("%s:%d: a shuffle of part of a warp", place.file, place.line);
    return place;
}

/* Threads change places only where they wait, so a plain addition is one that nobody interrupts. */
template <typename T> static inline T atomicAdd(T *x, T y)
{
    const T before = *x;
    *x = before + y;
    return before;
}

template <typename T> static inline T atomicMax(T *x, T y)
{
    const T before = *x;
    if (y > before) *x = y;
    return before;
}

static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 4; i++) c += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
    return c;
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float vr_half_bits(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0) {
        const float small = std::ldexp((float)fraction, -24);
        return sign ? -small : small;
    }
    return __uint_as_float(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13);
}

#endif
