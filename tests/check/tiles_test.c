/*
 * tiles_test.c - the level amx as it was compiled, on a machine that has AVX-512 but no tiles.
 *
 *   self-test of the level -> illegal instruction -> SIGILL -> decoded, done in plain C (kernels/x86/tiles.h), the next one
 *
 * kernels/ref checks the same text with the tiles in plain C, but not the operands, the order of loads and stores around tile
 * instructions and the closing of tiles in the real objects. What a processor with tiles does about time, rounding of bf16 and
 * permission shows only there.
 * Ref:   Intel SDM volume 2, chapter 2 (VEX, SIB) and the pages of LDTILECFG, TILELOADD, TILEZERO, TDPBSSD, TDPBF16PS.
 * Trap:  unconfigured tiles, or another instruction, are an illegal instruction as ever and end the test.
 */
#define _GNU_SOURCE /* registers of a signal's frame */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "kernels/backend.h"
#include "kernels/cpu/cpuid.h"
#include "kernels/selftest.h"

#define VR_PLAIN_TILES
#include "kernels/x86/tiles.h"
#include "tests/unit/suite.h"

static _Thread_local plain_tiles tiles; /* config: NULL while they are closed */
static _Thread_local tile_config config;
static atomic_int n_configured, n_released, n_byte_products, n_pair_products;

/* An instruction of three-byte VEX, map 0F38, and its operands. */
typedef struct instruction {
    int opcode, prefix; /* 0: none, 1: 66, 2: F3, 3: F2 */
    int reg, rm, vvvv;
    bool memory;
    unsigned char *address;
    int64_t stride;
    int bytes;
} instruction;

static int64_t number_of(const ucontext_t *u, int reg)
{
    static const int places[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
    return (int64_t)u->uc_mcontext.gregs[places[reg]];
}

static bool decode(instruction *i, const ucontext_t *u)
{
    unsigned char *const start = (unsigned char *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP], *p = start;
    if (p[0] != 0xc4 || (p[1] & 31) != 2 || (p[2] & 0x84) != 0) return false; /* 0F38, W0, 128 */
    const int x = (p[1] & 0x40) ? 0 : 8, b = (p[1] & 0x20) ? 0 : 8, mod = p[4] >> 6;
    *i = (instruction){ .opcode = p[3], .prefix = p[2] & 3, .reg = p[4] >> 3 & 7, .rm = p[4] & 7, .memory = mod != 3 };
    i->vvvv = 15 - (p[2] >> 3 & 15);
    p += 5;
    if (i->memory) {
        int base = i->rm + b, index = 4, scale = 0;
        if (i->rm == 4) {
            base = (*p & 7) + b, index = (*p >> 3 & 7) + x, scale = *p >> 6;
            p++;
        }
        const bool nothing = mod == 0 && base % 8 == 5; /* by the next instruction's address, or a number alone */
        int64_t at = nothing ? 0 : number_of(u, base);
        if (mod == 1) at += (int8_t)*p++;
        if (mod == 2 || nothing) {
            int32_t offset;
            memcpy(&offset, p, sizeof offset);
            at += offset, p += 4;
        }
        if (nothing && i->rm == 5) at += (int64_t)(uintptr_t)p;
        i->stride = index == 4 ? 0 : number_of(u, index) * (1 << scale);
        i->address = (unsigned char *)(uintptr_t)at;
    }
    i->bytes = (int)(p - start);
    return true;
}

enum { CONFIGURE = 0x49, MOVE = 0x4b, PAIRS = 0x5c, BYTES = 0x5e };

static bool perform(const instruction *i)
{
    const int key = i->opcode << 4 | i->prefix;
    if (key == CONFIGURE << 4 && i->memory) {
        memcpy(&config, i->address + i->stride, sizeof config);
        tiles = (plain_tiles){ .config = &config };
        atomic_fetch_add(&n_configured, 1);
        return config.palette == 1;
    }
    if (!tiles.config) return false;
    if (key == CONFIGURE << 4)
        tiles.config = NULL, atomic_fetch_add(&n_released, 1);
    else if (key == (CONFIGURE << 4 | 3) && !i->memory)
        memset(tiles.data[i->reg], 0, sizeof tiles.data[0]);
    else if (key == (MOVE << 4 | 3) && i->memory)
        plain_load(&tiles, i->reg, i->address, i->stride);
    else if (key == (MOVE << 4 | 2) && i->memory)
        plain_store(&tiles, i->reg, i->address, i->stride);
    else if (key == (PAIRS << 4 | 2) && !i->memory)
        plain_dot(&tiles, i->reg, i->rm, i->vvvv, plain_pairs), atomic_fetch_add(&n_pair_products, 1);
    else if (key == (BYTES << 4 | 3) && !i->memory)
        plain_dot(&tiles, i->reg, i->rm, i->vvvv, plain_bytes), atomic_fetch_add(&n_byte_products, 1);
    else
        return false;
    return true;
}

static void on_illegal(int sign, siginfo_t *info, void *frame)
{
    (void)info;
    ucontext_t *const u = frame;
    instruction i;
    if (decode(&i, u) && perform(&i))
        u->uc_mcontext.gregs[REG_RIP] += i.bytes;
    else
        signal(sign, SIG_DFL); /* the instruction is met again */
}

/* In place of kernels/cpu/cpuid.c: all that the level asks for is here. */
unsigned vr_cpu_flags(void)
{
    return VR_CPU_AVX2 | VR_CPU_AVX512 | VR_CPU_AVX512_BF16 | VR_CPU_AVX512_VNNI | VR_CPU_AMX;
}

const char *vr_cpu_features(void)
{
    return "tiles in plain C";
}

static void print_line(void *cookie, const char *text)
{
    bool *seen = cookie;
    if (strncmp(text, "amx ", 4) != 0) return;
    *seen = true;
    puts(text);
}

START_TEST(level_amx)
{
    vr_err e = { 0 };
    bool seen = false;
    const struct sigaction action = { .sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO };
    ck_assert_int_eq(sigaction(SIGILL, &action, NULL), 0);
    ck_assert_msg(vr_selftest(print_line, &seen, &e) == VR_OK, "%s", e.text);
    ck_assert(seen);
    ck_assert_int_gt(n_byte_products, 0);
    ck_assert_int_gt(n_pair_products, 0);
    ck_assert_int_eq(n_configured, n_released);
    printf("%d times tiles, %d products of bytes, %d of bf16\n", n_configured, n_byte_products, n_pair_products);
}
END_TEST

static bool can_run(void)
{
    const bool here = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    unsigned a, b, c, d;
    const bool has_tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) != 0;
    if (!here) puts("SKIP: no AVX-512 with bf16 here");
    if (has_tiles) puts("SKIP: tiles are here, the self-test checks them");
    return here && !has_tiles;
}
#else
static bool can_run(void)
{
    puts("SKIP: not x86-64 with Linux");
    return false;
}
#endif

int main(void)
{
    if (!can_run()) return 0;
#if defined(__x86_64__) && defined(__linux__)
    Suite *s = suite_create("tiles");
    TCase *t = tcase_create("tiles");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, level_amx);
    suite_add_tcase(s, t);
    return suite_run(s);
#endif
}
