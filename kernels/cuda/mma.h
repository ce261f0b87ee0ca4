/*
 * mma.h - products of small matrices by a warp (tensor cores), and how their numbers get to the lanes.
 *
 *   C [16, 8] f32 += A [16, 16] B [16, 8], numbers of 16 bits, spread over 32 lanes; row = lane / 4, pair = 2 (lane % 4):
 *     a[0] A(row, pair..)   a[1] A(row + 8, pair..)   a[2] A(row, pair + 8..)   a[3] A(row + 8, pair + 8..)   .. and its right neighbour
 *     b[0] B(pair.., row)   b[1] B(pair + 8.., row)                                                          .. and the one below
 *     c[0] C(row, pair)     c[1] C(row, pair + 1)     c[2] C(row + 8, pair)     c[3] C(row + 8, pair + 1)
 *   a word holds two neighbours, the first in its low half
 *
 *   memory -> copy_async (16 bytes a thread) -> shared -> load_matrices (four of 8 x 8) -> a, b
 *
 * From compute capability 8.0 on as they are named in PTX; on 7.5 A and B are f16 only, a product is two of half the depth, and
 * copies are plain ones. tests/simt/simt_mma.h stands for all of it on a CPU.
 * Products are exact, sums are not those of f32: terms are cut off, not rounded, a bit or two below the largest. Who wants the
 * digits of f32 starts C at zero and adds up the results.
 * Ref:   PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type", "ldmatrix", "cp.async"; Fasi, Higham, Mikaitis,
 *        Pranesh: Numerical behavior of NVIDIA tensor cores, PeerJ CS 7:e330 (2021).
 * Trap:  all 32 lanes take part in the products and in load_matrices; addresses of shared memory are multiples of 16 bytes.
 */
#ifndef VR_CUDA_MMA_H
#define VR_CUDA_MMA_H

#include "kernels/cuda/device.h"

#define VR_MMA_ROWS  16 /* of A and C */
#define VR_MMA_COLS  8  /* of B and C */
#define VR_MMA_DEPTH 16

#ifdef VR_SIMT
#include "tests/simt/simt_mma.h"
#else

/* c += a b */
template <typename X> static __device__ inline void vr_mma(float *c, const uint32_t *a, const uint32_t *b);

#define VR_MMA_DEEP(type)                                                                                                      \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"            \
                 "{%0,%1,%2,%3};"                                                                                              \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

template <> __device__ inline void vr_mma<vr_f16>(float *c, const uint32_t *a, const uint32_t *b)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    VR_MMA_DEEP("f16");
#else
    for (int half = 0; half < 2; half++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}

template <> __device__ inline void vr_mma<vr_bf16>(float *c, const uint32_t *a, const uint32_t *b)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    VR_MMA_DEEP("bf16");
#else
    (void)c, (void)a, (void)b;
    __trap(); /* vr_cuda.bf16 says that no kernel gets here */
#endif
}

/* Four matrices of 8 x 8 numbers of 16 bits. Lane i names row i % 8 of matrix i / 8; word m gets of matrix m the row lane / 4,
 * numbers 2 (lane % 4) and the next. */
static __device__ inline void vr_load_matrices(uint32_t *words, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* The same of the matrices turned: rows 2 (lane % 4) and the next, number lane / 4. */
static __device__ inline void vr_load_matrices_turned(uint32_t *words, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* 16 bytes of memory to shared memory, both at multiples of 16. They are there for this thread after vr_copy_wait, for the block
 * after the barrier behind it. */
static __device__ inline void vr_copy_async(void *shared, const void *from)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0],[%1],16;" ::"r"((uint32_t)__cvta_generic_to_shared(shared)), "l"(from)
                 : "memory");
#else
    *static_cast<uint4 *>(shared) = *static_cast<const uint4 *>(from);
#endif
}

/* What was copied since the last one is a group. */
static __device__ inline void vr_copy_group()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* All groups but the last GROUPS have arrived. */
template <int GROUPS> static __device__ inline void vr_copy_wait()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

#endif

/* Two numbers of a word, rounded. */
template <typename X> static __device__ inline uint32_t vr_pair(float low, float high);

template <> __device__ inline uint32_t vr_pair<vr_bf16>(float low, float high)
{
#if !defined(VR_SIMT) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return vr_to_bf16(low).bits | (uint32_t)vr_to_bf16(high).bits << 16;
#endif
}

#endif
