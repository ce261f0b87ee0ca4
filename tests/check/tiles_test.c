/*
 * tiles_test.c - the objects of the level amx on a machine that has AVX-512 but no tiles: what the compiler made of them.
 *
 *   kernel of AMX -> illegal instruction -> SIGILL -> decoded, done in plain C (kernels/x86/tiles.h), the next instruction
 *     -> the checks of kernels/check, as for every level
 *
 * kernels/ref checks the same text with the tiles in plain C, but not the operands, the order of loads and stores around tile
 * instructions and the closing of tiles in the real object. Where a machine has AMX this level is checked as others are.
 * The seed is the time unless VIDRUN_SEED gives one; it is printed.
 * Ref:   Intel SDM volume 2, chapter 2 (VEX, SIB) and the pages of LDTILECFG, TILELOADD, TILEZERO, TDPBSSD, TDPBF16PS.
 * Trap:  unconfigured tiles, or another instruction, are an illegal instruction as ever and end the test.
 */
#define _GNU_SOURCE /* registers of a signal's frame */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <ucontext.h>

#include "kernels/check/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpuid.h"
#include "kernels/cpu/select.h"

#define VR_PLAIN_TILES
#include "kernels/x86/tiles.h"

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
        return atomic_fetch_add(&n_configured, 1), config.palette == 1;
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

static uint64_t seed(void)
{
    const char *text = getenv("VIDRUN_SEED");
    const uint64_t s = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("VIDRUN_SEED=%llu\n", (unsigned long long)s);
    return s;
}

START_TEST(objects_of_amx)
{
    vr_err e = { 0 };
    vr_dsp c, d;
    const struct sigaction action = { .sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO };
    ck_assert_int_eq(vr_dsp_select(&c, "c", &e), VR_OK);
    ck_assert_msg(vr_dsp_select(&d, "avx512bf16", &e) == VR_OK, "%s", e.text);
    vr_dsp amx = d;
    amx.gemm_tile_bf16 = vr_gemm_tile_bf16_amx, amx.pair_rows = 32, amx.pair_step = 16;
    amx.strip_q8 = vr_strip_q8_amx, amx.strip_q4 = vr_strip_q4_amx, amx.strip_q4m = vr_strip_q4m_amx, amx.strip_rows = 32;
    vr_check ck = { .d = &amx, .c = &c, .random = seed() * 2 + 1 };
    ck_assert_int_eq(vr_arena_open(&ck.arena, (size_t)192 << 20, &e), VR_OK);
    ck_assert_int_eq(sigaction(SIGILL, &action, NULL), 0);
    vr_check_quantised(&ck);
    vr_backend *be = NULL;
    const vr_cpu_options options = { .n_threads = 2, .precision = VR_PRECISION_INT8, .level = d.level };
    ck_assert_msg(vr_backend_open_cpu(&be, &options, &e) == VR_OK, "%s", e.text);
    vr_cpu_of(be)->dsp = amx;
    if (!vr_check_failed(&ck)) vr_check_strips(&ck, be, VR_PRECISION_INT8);
    vr_backend_free(be);
    ck_assert_msg(!vr_check_failed(&ck), "%s", ck.failure);
    ck_assert_int_gt(n_byte_products, 0);
    ck_assert_int_gt(n_pair_products, 0);
    ck_assert_int_eq(n_configured, n_released);
    printf("%lld numbers; %d times tiles, %d products of bytes, %d of bf16\n", (long long)ck.n_compared, n_configured,
           n_byte_products, n_pair_products);
    vr_arena_close(&ck.arena);
}
END_TEST

static bool can_run(void)
{
    const unsigned flags = vr_cpu_flags();
    if (flags & VR_CPU_AMX) puts("SKIP: this machine has AMX, the self-test checks it");
    if (!(flags & VR_CPU_FAST_BF16)) puts("SKIP: no AVX-512 with bf16 here");
    return !(flags & VR_CPU_AMX) && flags & VR_CPU_FAST_BF16;
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
    tcase_add_test(t, objects_of_amx);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
#endif
}
