/*
 * unroll.h - "this loop has a constant, small count: write it out", in the words of each compiler.
 *
 * Accumulator arrays live in registers only when every index is a constant, so the kernels that have them depend on it.
 */
#ifndef VR_UNROLL_H
#define VR_UNROLL_H

#if defined(__clang__)
#define VR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VR_UNROLL _Pragma("GCC unroll 32")
#endif

#define VR_INLINE static inline __attribute__((always_inline))

#endif
