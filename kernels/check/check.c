/*
 * check.c - see check.h.
 *
 * Random numbers: xorshift64* (Vigna, arXiv:1402.6246); sums of twelve uniform numbers stand for normal ones.
 */
#include "kernels/check/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"

#define GUARD      16          /* floats on either side */
#define GUARD_BITS 0x7fc5a5a5u /* a quiet NaN that no kernel makes */

uint32_t vr_check_random(vr_check *ck)
{
    uint64_t x = ck->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    ck->random = x;
    return (uint32_t)(x * 0x2545f4914f6cdd1dull >> 32);
}

double vr_check_normal(vr_check *ck)
{
    double sum = 0.0;
    for (int i = 0; i < 12; i++) sum += vr_check_random(ck) * 0x1p-32;
    return sum - 6.0;
}

const char *vr_fill_name(vr_fill fill)
{
    static const char *const names[VR_FILLS] = { "normal", "tiny", "huge", "alternating", "zero" };
    return names[fill];
}

int vr_check_size(const vr_check *ck, int i, int limit)
{
    static const int few[] = { 1, 2, 7, 16, 17, 33, 88, 100, 769, 0 };
    static const int many[] = { 1,  2,  3,  4,  5,  6,   7,   8,   9,   10,  11,   12,   13,    14, 15, 16,
                                17, 18, 19, 20, 21, 22,  23,  24,  25,  26,  27,   28,   29,    30, 31, 32,
                                33, 63, 64, 65, 88, 100, 127, 512, 513, 768, 1408, 4096, 11008, 0 };
    const int size = ck->thorough ? many[i] : few[i];
    return size <= limit ? size : 0;
}

static float guard(void)
{
    return vr_bits_to_f32(GUARD_BITS);
}

float *vr_check_floats(vr_check *ck, int64_t n)
{
    const size_t count = (size_t)n + 2 * GUARD, shift = vr_check_random(ck) % 16;
    float *x = vr_arena_floats(&ck->arena, count + 16) + shift;
    for (size_t i = 0; i < count; i++) x[i] = guard();
    return x + GUARD;
}

double *vr_check_doubles(vr_check *ck, int64_t n)
{
    return vr_arena_alloc(&ck->arena, (size_t)n, sizeof(double));
}

void vr_check_fill(vr_check *ck, float *x, int64_t n, vr_fill fill)
{
    for (int64_t i = 0; i < n; i++) {
        const double r = vr_check_normal(ck);
        switch (fill) {
        case VR_FILL_TINY:
            x[i] = (float)(r * 1e-18);
            break;
        case VR_FILL_HUGE:
            x[i] = (float)(r * 1e16);
            break;
        case VR_FILL_ALTERNATING:
            x[i] = (float)((i & 1 ? -1000.0 : 1000.0) + r);
            break;
        case VR_FILL_ZERO:
            x[i] = 0.0f;
            break;
        case VR_FILL_NORMAL:
        case VR_FILLS:
            x[i] = (float)r;
            break;
        }
    }
}

/* f16 of random sign and fraction, exponent 2^-4 .. 2^0: about normal, and exact. */
static uint16_t random_f16(vr_check *ck)
{
    const uint32_t r = vr_check_random(ck);
    return (uint16_t)((r & 0x83ff) | (11 + (r >> 16) % 5) << 10);
}

void *vr_check_weights(vr_check *ck, vr_dtype dtype, int64_t n, float *wide)
{
    const size_t element = vr_dtype_bytes(dtype);
    unsigned char *data = (unsigned char *)vr_check_floats(ck, (n * (int64_t)element + 3) / 4);
    for (int64_t i = 0; i < n; i++) {
        float x = (float)vr_check_normal(ck);
        uint16_t half = dtype == VR_DTYPE_F16 ? random_f16(ck) : 0;
        if (dtype == VR_DTYPE_F16) {
            x = vr_f16_to_f32(half);
        } else if (dtype == VR_DTYPE_BF16) {
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            half = (uint16_t)(bits >> 16);
            x = vr_bf16_to_f32(half);
        }
        if (dtype == VR_DTYPE_F32)
            memcpy(data + (size_t)i * element, &x, sizeof x);
        else
            memcpy(data + (size_t)i * element, &half, sizeof half);
        wide[i] = x;
    }
    return data;
}

void vr_check_fail(vr_check *ck, const char *format, ...)
{
    if (vr_check_failed(ck)) return;
    va_list args;
    va_start(args, format);
    vsnprintf(ck->failure, sizeof ck->failure, format, args);
    va_end(args);
}

void vr_check_near(vr_check *ck, const char *what, const float *y, const double *want, const double *limit, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)y[i] - want[i]);
        if (isnan(want[i]) ? isnan(y[i]) : (double)y[i] == want[i]) continue;
        const double ratio = error / (limit[i] > 0.0 ? limit[i] : 0x1p-1000);
        if (ratio > ck->worst) ck->worst = ratio;
        if (!(error <= limit[i])) {
            vr_check_fail(ck, "%s: number %lld is %.9g, not %.9g (error %.3g, limit %.3g)", what, (long long)i, (double)y[i],
                          want[i], error, limit[i]);
            return;
        }
    }
    ck->n_compared += n;
}

void vr_check_equal(vr_check *ck, const char *what, const float *y, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&y[i], &want[i], sizeof *y) != 0) {
            vr_check_fail(ck, "%s: number %lld is %.9g, not %.9g (bits differ)", what, (long long)i, (double)y[i],
                          (double)want[i]);
            return;
        }
    }
    ck->n_compared += n;
}

void vr_check_guards(vr_check *ck, const char *what, const float *x, int64_t n)
{
    const float g = guard();
    for (int i = 1; i <= GUARD; i++) {
        if (memcmp(&x[-i], &g, sizeof g) != 0) vr_check_fail(ck, "%s: wrote %d floats before its output", what, i);
        if (memcmp(&x[n + i - 1], &g, sizeof g) != 0) vr_check_fail(ck, "%s: wrote %d floats past its output", what, i);
    }
}
