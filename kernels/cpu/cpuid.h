/*
 * cpuid.h - what this processor and its operating system offer.
 */
#ifndef VR_CPUID_H
#define VR_CPUID_H

enum {
    VR_CPU_AVX2 = 1,   /* AVX2, FMA, F16C: Haswell 2013, Zen 2017 */
    VR_CPU_AVX512 = 2, /* and F, BW, DQ, VL: Skylake-X 2017, Zen 4 2022 */
    VR_CPU_AVX512_BF16 = 4,
    VR_CPU_AVX512_VNNI = 8,
    VR_CPU_AMX = 16,       /* tile, bf16, int8; with VNNI and AVX512_BF16, and the system lets us: Sapphire Rapids 2023 */
    VR_CPU_FAST_BF16 = 32, /* VNNI too, and bf16 products no slower than those of f32: Zen 4 2022; not where AMX does them */
    VR_CPU_NEON = 64,      /* every AArch64 */
    VR_CPU_NEON_DOT = 128  /* and SDOT: Cortex-A55 and A76 2018, Neoverse N1 2019, Apple M1 2020 */
};

/* Flags above; asked once, then remembered. */
unsigned vr_cpu_flags(void);

#endif
