/*
 * cpuid.c - see cpuid.h.
 *
 *   x86:      CPUID leaf 1, 7.0, 7.1 (instructions) AND XCR0 (registers that the operating system saves) -> flags
 *   AArch64:  what the kernel says of it (AT_HWCAP) -> flags
 *
 * Ref:   Intel SDM volume 1, chapter 13 (XCR0 bits), volume 2A, CPUID; Linux Documentation/arch/arm64/elf_hwcaps.rst.
 * Trap:  an instruction set counts only if the system saves its registers: XCR0 bits 1-2 (AVX), 5-7 (AVX-512), 17-18 (AMX).
 */
#define _DEFAULT_SOURCE /* syscall */
#include "kernels/cpu/cpuid.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/backend.h"

#define KNOWN 0x80000000u /* the flags were asked; kept beside them so that one atomic is enough */

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool has(uint32_t word, int bit)
{
    return (word >> bit & 1) != 0;
}

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool made_by_amd(void)
{
    uint32_t a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541 && d == 0x69746e65 && c == 0x444d4163; /* AuthenticAMD */
}

/* Linux 5.16 and later saves the 8 KB of tiles only for processes that have asked; for all their threads from then on. */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

static unsigned ask(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const bool fma = has(c, 12), osxsave = has(c, 27), f16c = has(c, 29);
    if (!osxsave || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const uint64_t xcr0 = read_xcr0();
    unsigned flags = 0;
    if ((xcr0 & 0x06) != 0x06 || !fma || !f16c || !has(b, 5)) return 0;
    flags |= VR_CPU_AVX2;
    if ((xcr0 & 0xe6) != 0xe6 || !has(b, 16) || !has(b, 17) || !has(b, 30) || !has(b, 31)) return flags;
    flags |= VR_CPU_AVX512;
    if (has(c, 11)) flags |= VR_CPU_AVX512_VNNI;
    const bool tiles = (xcr0 & 0x60000) == 0x60000 && has(d, 22) && has(d, 24) && has(d, 25);
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, 5)) flags |= VR_CPU_AVX512_BF16;
    if (tiles && flags & VR_CPU_AVX512_BF16 && flags & VR_CPU_AVX512_VNNI && may_use_tiles()) flags |= VR_CPU_AMX;
    if (flags & VR_CPU_AVX512_BF16 && flags & VR_CPU_AVX512_VNNI && made_by_amd()) flags |= VR_CPU_FAST_BF16;
    return flags;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

#define HWCAP_DOT_PRODUCTS (1ul << 20) /* HWCAP_ASIMDDP */

static unsigned ask(void)
{
    return VR_CPU_NEON | (getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCTS ? VR_CPU_NEON_DOT : 0u);
}
#elif defined(__aarch64__)
static unsigned ask(void)
{
    return VR_CPU_NEON;
}
#else
static unsigned ask(void)
{
    return 0;
}
#endif

unsigned vr_cpu_flags(void)
{
    static _Atomic unsigned known; /* two threads that ask at once get the same answer */
    unsigned flags = atomic_load(&known);
    if (!(flags & KNOWN)) {
        flags = ask() | KNOWN;
        atomic_store(&known, flags);
    }
    return flags & ~KNOWN;
}

const char *vr_cpu_features(void)
{
    static const struct {
        unsigned flag;
        const char *text;
    } lines[] = { /* the richest first */
                  { VR_CPU_AMX, "c avx2 avx512 avx512vnni amx" },
                  { VR_CPU_FAST_BF16, "c avx2 avx512 avx512vnni avx512bf16" },
                  { VR_CPU_AVX512_VNNI, "c avx2 avx512 avx512vnni" },
                  { VR_CPU_AVX512, "c avx2 avx512" },
                  { VR_CPU_AVX2, "c avx2" },
                  { VR_CPU_NEON_DOT, "c neon neondot" },
                  { VR_CPU_NEON, "c neon" }
    };
    const unsigned flags = vr_cpu_flags();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (flags & lines[i].flag) return lines[i].text;
    }
    return "c";
}
