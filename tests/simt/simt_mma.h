/*
 * simt_mma.h - kernels/cuda/mma.h on a CPU: each lane hands in its fragments and takes what the others' mean for its own numbers.
 *
 * Sums are those of the least exact hardware that is known: products of eight and the sum so far, each cut off one bit below the
 * last of the largest, the total cut to 24 bits (Fasi et al., see mma.h; later hardware keeps more). So an error limit that holds
 * here has a chance to hold there.
 * Copies are made when they are waited for, not before: whoever reads too early finds what was there.
 */
#ifndef VR_SIMT_MMA_H
#define VR_SIMT_MMA_H

/* value = significand 2^exponent */
struct simt_number {
    int64_t significand;
    int exponent;
    bool finite, nan; /* nan: where it is not finite */
};

static inline simt_number simt_open(uint32_t bits, int fraction_bits, int exponent_bits)
{
    const int biased = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
    const int64_t fraction = bits & ((1u << fraction_bits) - 1), negative = bits >> (fraction_bits + exponent_bits) & 1;
    const int64_t size = biased ? fraction | 1 << fraction_bits : fraction;
    return { negative ? -size : size, (biased ? biased : 1) - bias - fraction_bits, biased != (1 << exponent_bits) - 1,
             fraction != 0 };
}

/* As f32, which f16 and bf16 fit. */
static inline float simt_value(const simt_number &x)
{
    if (!x.finite) return x.nan ? NAN : x.significand < 0 ? -INFINITY : INFINITY;
    return (float)std::ldexp((double)x.significand, x.exponent);
}

static inline simt_number simt_open(vr_f16 x)
{
    return simt_open(x.bits, 10, 5);
}

static inline simt_number simt_open(vr_bf16 x)
{
    return simt_open(x.bits, 7, 8);
}

/* Place of the highest bit of a number that is not 0. */
static inline int simt_top(const simt_number &x)
{
    return 63 - __builtin_clzll((unsigned long long)(x.significand < 0 ? -x.significand : x.significand)) + x.exponent;
}

static inline int64_t simt_cut(int64_t x, int bits)
{
    const int64_t size = bits > 62 ? 0 : (x < 0 ? -x : x) >> bits;
    return x < 0 ? -size : size;
}

/* c + sum of n <= 8 products */
static inline float simt_sum(float c, const simt_number *a, const simt_number *b, int n)
{
    simt_number terms[9] = { simt_open(__float_as_uint(c), 23, 8) };
    bool finite = terms[0].finite;
    for (int i = 0; i < n; i++) {
        terms[i + 1] = { a[i].significand * b[i].significand, a[i].exponent + b[i].exponent, true, false };
        finite = finite && a[i].finite && b[i].finite;
    }
    if (!finite) { /* what comes out is infinite or no number: f32 knows which */
        for (int i = 0; i < n; i++) c += simt_value(a[i]) * simt_value(b[i]);
        return c;
    }
    int top = INT32_MIN;
    for (int i = 0; i <= n; i++)
        if (terms[i].significand != 0 && simt_top(terms[i]) > top) top = simt_top(terms[i]);
    if (top == INT32_MIN) return 0.0f;
    simt_number sum = { 0, top - 24, true, false };
    for (int i = 0; i <= n; i++) {
        const int shift = terms[i].exponent - sum.exponent;
        if (terms[i].significand == 0) continue;
        sum.significand += shift >= 0 ? terms[i].significand * ((int64_t)1 << shift) : simt_cut(terms[i].significand, -shift);
    }
    if (sum.significand == 0) return 0.0f;
    const int extra = simt_top(sum) - sum.exponent - 23;
    if (extra > 0) sum.significand = simt_cut(sum.significand, extra), sum.exponent += extra;
    return simt_value(sum);
}

struct simt_fragments {
    uint32_t a[4], b[2];
};

template <typename X> static inline simt_number simt_half(uint32_t word, int which)
{
    return simt_open(X{ (uint16_t)(word >> 16 * which) });
}

/* Fragments of lane i, of the 32 that were handed in. */
static inline simt_fragments simt_of_lane(const unsigned char *all, int i)
{
    simt_fragments f;
    memcpy(&f, all + 64 * i, sizeof f);
    return f;
}

template <typename X>
static inline void vr_mma(float *c, const uint32_t *a, const uint32_t *b, const char *file = __builtin_FILE(),
                          int line = __builtin_LINE())
{
    const simt_fragments mine = { { a[0], a[1], a[2], a[3] }, { b[0], b[1] } };
    const unsigned char *all = simt_exchange(&mine, sizeof mine, { file, line });
    const int row = (int)simt_lane() / 4, pair = (int)simt_lane() % 4 * 2;
    simt_number rows[2][16], cols[2][16];
    for (int k = 0; k < 16; k++) { /* lane of A(row, k): 4 row + k % 8 / 2; of B(k, col): 4 col + k % 8 / 2 */
        const simt_fragments of_row = simt_of_lane(all, 4 * row + k % 8 / 2);
        for (int i = 0; i < 2; i++) {
            const simt_fragments of_col = simt_of_lane(all, 4 * (pair + i) + k % 8 / 2);
            rows[i][k] = simt_half<X>(of_row.a[i + k / 8 * 2], k % 2);
            cols[i][k] = simt_half<X>(of_col.b[k / 8], k % 2);
        }
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k += 8) c[i] = simt_sum(c[i], rows[i / 2] + k, cols[i % 2] + k, 8);
}

/* Rows of 16 bytes that the lanes name -> [4][8] rows of 8 numbers */
static inline void simt_matrices(uint16_t (*m)[8], const void *row, simt_place place)
{
    if ((uintptr_t)row % 16 != 0)
        simt_report("%s:%d: a matrix row that is not at a multiple of 16 bytes", place.file, place.line);
    const unsigned char *all = simt_exchange(&row, sizeof row, place);
    for (int i = 0; i < 32; i++) {
        const void *from;
        memcpy(&from, all + 64 * i, sizeof from);
        memcpy(m[i], from, 16);
    }
}

static inline void vr_load_matrices(uint32_t *words, const void *row, const char *file = __builtin_FILE(),
                                    int line = __builtin_LINE())
{
    uint16_t m[32][8];
    simt_matrices(m, row, { file, line });
    const int in_matrix = (int)simt_lane() / 4, pair = (int)simt_lane() % 4 * 2;
    for (int i = 0; i < 4; i++) words[i] = m[8 * i + in_matrix][pair] | (uint32_t)m[8 * i + in_matrix][pair + 1] << 16;
}

static inline void vr_load_matrices_turned(uint32_t *words, const void *row, const char *file = __builtin_FILE(),
                                           int line = __builtin_LINE())
{
    uint16_t m[32][8];
    simt_matrices(m, row, { file, line });
    const int in_matrix = (int)simt_lane() / 4, pair = (int)simt_lane() % 4 * 2;
    for (int i = 0; i < 4; i++) words[i] = m[8 * i + pair][in_matrix] | (uint32_t)m[8 * i + pair + 1][in_matrix] << 16;
}

static inline void vr_copy_async(void *shared, const void *from)
{
    simt_copy(shared, from);
}

static inline void vr_copy_group()
{
    simt_copy_group();
}

template <int GROUPS> static inline void vr_copy_wait()
{
    simt_copy_wait(GROUPS);
}

#endif
