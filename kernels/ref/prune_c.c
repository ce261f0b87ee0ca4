/*
 * prune_c.c - cosines, Gram matrices and row moves at level c.
 *
 *   rows of one place: a, b_r [n][D] -> s [n]        rows [n] of a block of columns -> g [n][n]        rows, ids -> rows
 *
 * Ref:   kernels/dsp.h. Sums in double, each with one rounding at its end.
 * Trap:  fmax(NaN, 1e-8) is 1e-8; a row with NaN still gives NaN, because its product with the other has one too.
 */
#include <math.h>
#include <string.h>

#include "kernels/dsp.h"
#include "base/half.h"

typedef float read_fn(const void *x, int64_t i);

static float read_f32(const void *x, int64_t i)
{
    return ((const float *)x)[i];
}

static float read_f16(const void *x, int64_t i)
{
    return vr_f16_to_f32(((const uint16_t *)x)[i]);
}

static float read_bf16(const void *x, int64_t i)
{
    return vr_bf16_to_f32(((const uint16_t *)x)[i]);
}

static double product(read_fn *read, const void *x, int64_t x_first, const void *y, int64_t y_first, int D)
{
    double sum = 0.0;
    for (int d = 0; d < D; d++) sum += (double)read(x, x_first + d) * (double)read(y, y_first + d);
    return sum;
}

static double norm(read_fn *read, const void *x, int64_t first, int D)
{
    return fmax(sqrt(product(read, x, first, x, first, D)), 1e-8);
}

static void cosine(read_fn *read, float *s, int64_t s_row, const void *a, const void *b, int64_t b_row, int n, int D,
                   bool chain)
{
    int64_t a_first = 0;
    for (int r = 0; r < n; r++) {
        const int64_t b_first = r * b_row;
        s[r * s_row] =
            (float)(product(read, a, a_first, b, b_first, D) / (norm(read, a, a_first, D) * norm(read, b, b_first, D)));
        if (chain) a = b, a_first = b_first;
    }
}

static void gram(read_fn *read, double *g, const void *const *rows, int n, int64_t first, int columns)
{
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j++) g[i * VR_DSP_GRAM + j] = product(read, rows[i], first, rows[j], first, columns);
    }
}

#define DEFINE(dtype)                                                                                                          \
    void vr_cosine_##dtype##_c(float *s, int64_t s_row, const void *a, const void *b, int64_t b_row, int n, int D, bool chain) \
    {                                                                                                                          \
        cosine(read_##dtype, s, s_row, a, b, b_row, n, D, chain);                                                              \
    }                                                                                                                          \
    void vr_gram_##dtype##_c(double *g, const void *const *rows, int n, int64_t first, int columns)                            \
    {                                                                                                                          \
        gram(read_##dtype, g, rows, n, first, columns);                                                                        \
    }

DEFINE(f32)
DEFINE(f16)
DEFINE(bf16)

void vr_gather_c(void *y, const void *x, const int32_t *ids, int n, size_t row_bytes)
{
    for (int i = 0; i < n; i++)
        memcpy((unsigned char *)y + (size_t)i * row_bytes, (const unsigned char *)x + (size_t)ids[i] * row_bytes, row_bytes);
}
