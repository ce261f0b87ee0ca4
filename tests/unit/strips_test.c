/*
 * strips_test.c - half numbers back and forth, strips of quantised rows, stock blocks brought into them.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/stock.h"
#include "base/strips.h"
#include "tests/unit/suite.h"

static uint32_t state = 1;

static float random_float(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * 0x1p-30F;
}

START_TEST(every_f16_number_comes_back)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = vr_f16_to_f32((uint16_t)h);
        if (isnan(f))
            ck_assert(isnan(vr_f16_to_f32(vr_f32_to_f16(f))));
        else
            ck_assert_uint_eq(vr_f32_to_f16(f), h);
    }
}
END_TEST

/* Between two neighbours the nearer one is taken, in the middle the even one. */
START_TEST(f16_rounds_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float low = vr_f16_to_f32((uint16_t)h), high = vr_f16_to_f32((uint16_t)(h + 1)), middle = low + (high - low) / 2;
        ck_assert_uint_eq(vr_f32_to_f16(middle), h + (h & 1));
        ck_assert_uint_eq(vr_f32_to_f16(nextafterf(middle, low)), h);
        ck_assert_uint_eq(vr_f32_to_f16(nextafterf(middle, high)), h + 1);
        ck_assert_uint_eq(vr_f32_to_f16(-middle), 0x8000 | (h + (h & 1)));
    }
    ck_assert_uint_eq(vr_f32_to_f16(65519.996F), 0x7bff);
    ck_assert_uint_eq(vr_f32_to_f16(65520.0F), 0x7c00);
    ck_assert_uint_eq(vr_f32_to_f16(1e-30F), 0);
}
END_TEST

START_TEST(bf16_rounds_to_nearest_even)
{
    ck_assert_uint_eq(vr_f32_to_bf16(1.0F), 0x3f80);
    ck_assert_uint_eq(vr_f32_to_bf16(vr_bits_to_f32(0x3f808000)), 0x3f80);
    ck_assert_uint_eq(vr_f32_to_bf16(vr_bits_to_f32(0x3f818000)), 0x3f82);
    ck_assert_uint_eq(vr_f32_to_bf16(vr_bits_to_f32(0x3f808001)), 0x3f81);
    ck_assert(isnan(vr_bf16_to_f32(vr_f32_to_bf16(vr_bits_to_f32(0x7f800001)))));
    ck_assert_uint_eq(vr_f32_to_bf16(INFINITY), 0x7f80);
}
END_TEST

/* Every number comes back within half a step of its group; what does not exist is zero. */
static void round_trip(vr_dtype t, int n, int cols)
{
    float *x = malloc((size_t)n * (size_t)cols * sizeof *x), y[VR_STRIP_COLUMNS * 4];
    void *strip = malloc(vr_strips_bytes(t, 1, cols));
    ck_assert(x && strip && cols <= VR_STRIP_COLUMNS * 3);
    for (int i = 0; i < n * cols; i++) x[i] = random_float();
    vr_strip_quantise(strip, t, x, cols, n, cols);
    const int wide = vr_strip_blocks(cols) * VR_STRIP_COLUMNS;
    for (int r = 0; r < VR_STRIP_ROWS; r++) {
        vr_strip_widen(y, strip, t, r, 0, wide);
        for (int c = 0; c < wide; c++) {
            if (t == VR_DTYPE_Q4M_R16 && r < n && c >= cols && c / VR_STRIP_GROUP * VR_STRIP_GROUP < cols) continue; /* least */
            if (r >= n || c >= cols) {
                ck_assert(y[c] == 0);
                continue;
            }
            float top = 0, most = -INFINITY, least = INFINITY;
            const int group = c / VR_STRIP_GROUP * VR_STRIP_GROUP;
            for (int i = group; i < group + VR_STRIP_GROUP && i < cols; i++) {
                top = fmaxf(top, fabsf(x[r * cols + i]));
                most = fmaxf(most, x[r * cols + i]), least = fminf(least, x[r * cols + i]);
            }
            if (t == VR_DTYPE_Q4M_R16) { /* half a step, and what scale and least value lose as halves */
                ck_assert(fabsf(y[c] - x[r * cols + c]) <= (most - least) / 15 * 0.51F + (most - least + top) * 0x1p-10F);
                continue;
            }
            const float step = t == VR_DTYPE_Q8_R16 ? top / 127 : top / 8; /* Q4 cuts what is above 7 steps: one whole step */
            ck_assert(fabsf(y[c] - x[r * cols + c]) <= step * (t == VR_DTYPE_Q8_R16 ? 0.57F : 1.01F));
        }
        vr_strip_widen(y, strip, t, r, 5, 3); /* from the middle */
        for (int i = 0; i < 3 && cols >= 8 && r < n; i++) {
            float one;
            vr_strip_widen(&one, strip, t, r, 5 + i, 1);
            ck_assert(one == y[i]);
        }
    }
    free(strip);
    free(x);
}

START_TEST(numbers_come_back)
{
    static const int sizes[][2] = { { 16, 64 }, { 1, 1 }, { 7, 33 }, { 16, 96 }, { 3, 190 } };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        round_trip(VR_DTYPE_Q8_R16, sizes[i][0], sizes[i][1]);
        round_trip(VR_DTYPE_Q4_R16, sizes[i][0], sizes[i][1]);
        round_trip(VR_DTYPE_Q4M_R16, sizes[i][0], sizes[i][1]);
    }
}
END_TEST

START_TEST(zeros_and_huge_numbers)
{
    float x[32] = { 0 }, y[32];
    vr_q8_block block;
    vr_strip_quantise(&block, VR_DTYPE_Q8_R16, x, 32, 1, 32);
    vr_strip_widen(y, &block, VR_DTYPE_Q8_R16, 0, 0, 32);
    for (int i = 0; i < 32; i++) ck_assert(y[i] == 0);
    x[3] = 3e38F; /* beyond the largest scale: cut, not infinite */
    vr_strip_quantise(&block, VR_DTYPE_Q8_R16, x, 32, 1, 32);
    vr_strip_widen(y, &block, VR_DTYPE_Q8_R16, 0, 0, 32);
    ck_assert(isfinite(y[3]) && y[3] > 8e6F);
}
END_TEST

/* value of number i of a row of stock blocks, from their definition */
static float stock_value(vr_dtype t, const unsigned char *row, int i)
{
    const int bytes = t == VR_DTYPE_Q8_0 ? 34 : t == VR_DTYPE_Q4_0 ? 18 : 20, at = i % 32;
    const unsigned char *b = row + i / 32 * bytes;
    uint16_t d, m = 0;
    memcpy(&d, b, 2);
    if (t == VR_DTYPE_Q4_1) memcpy(&m, b + 2, 2);
    if (t == VR_DTYPE_Q8_0) return vr_f16_to_f32(d) * (float)(int8_t)b[2 + at];
    const unsigned char both = b[(t == VR_DTYPE_Q4_1 ? 4 : 2) + at % 16];
    const int number = at < 16 ? both & 15 : both >> 4;
    return t == VR_DTYPE_Q4_0 ? vr_f16_to_f32(d) * (float)(number - 8) : vr_f16_to_f32(d) * (float)number + vr_f16_to_f32(m);
}

static void repacked(vr_dtype t, int rows, int cols)
{
    int elements, bytes;
    ck_assert(vr_dtype_block((uint32_t)t, &elements, &bytes));
    const size_t row_bytes = (size_t)(cols / 32 * bytes);
    unsigned char *stock = malloc((size_t)rows * row_bytes), *out = malloc(vr_stock_target_bytes(t, rows, cols));
    ck_assert(stock && out);
    for (size_t i = 0; i < (size_t)rows * row_bytes; i++) stock[i] = (unsigned char)(random_float() * 100);
    for (size_t b = 0; b < (size_t)(rows * cols / 32); b++) {
        const uint16_t scale = vr_f32_to_f16(random_float()), least = vr_f32_to_f16(random_float());
        memcpy(stock + b * (size_t)bytes, &scale, 2);
        if (t == VR_DTYPE_Q4_1) memcpy(stock + b * (size_t)bytes + 2, &least, 2);
        for (int i = 2; t == VR_DTYPE_Q8_0 && i < 34; i++) {
            unsigned char *number = &stock[b * (size_t)bytes + (size_t)i];
            if (*number == 128) *number = 129; /* -128 is in no file that was made as it should be */
        }
    }
    vr_stock_repack(out, t, stock, rows, cols);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < cols; c++) {
            const float want = stock_value(t, stock + (size_t)r * row_bytes, c);
            const void *strip = out + vr_strips_bytes(vr_stock_target(t), r / 16 * 16, cols);
            float is;
            vr_strip_widen(&is, strip, vr_stock_target(t), r % 16, c, 1);
            ck_assert(is == want);
        }
    }
    free(out);
    free(stock);
}

/* 256 numbers of a block, in the order in which the format's own code walks them */
static void q6_k_values(float y[256], const unsigned char *b)
{
    uint16_t d;
    memcpy(&d, b + 208, 2);
    for (int half = 0; half < 2; half++) {
        const unsigned char *low = b + 64 * half, *high = b + 128 + 32 * half;
        const signed char *scale = (const signed char *)b + 192 + 8 * half;
        for (int l = 0; l < 32; l++) {
            const int is = l / 16;
            const int number[4] = { (low[l] & 15) | (high[l] & 3) << 4, (low[l + 32] & 15) | (high[l] >> 2 & 3) << 4,
                                    low[l] >> 4 | (high[l] >> 4 & 3) << 4, low[l + 32] >> 4 | high[l] >> 6 << 4 };
            for (int k = 0; k < 4; k++)
                y[128 * half + 32 * k + l] = vr_f16_to_f32(d) * (float)scale[is + 2 * k] * (float)(number[k] - 32);
        }
    }
}

START_TEST(stock_blocks_of_six_bits)
{
    enum { ROWS = 3, COLS = 512, BYTES = 210 };
    unsigned char stock[ROWS * COLS / 256 * BYTES];
    static uint16_t out[ROWS * COLS];
    const uint16_t scale = vr_f32_to_f16(0.01F);
    for (size_t i = 0; i < sizeof stock; i++) stock[i] = (unsigned char)(i * 151 + i / 7);
    for (size_t b = 0; b < sizeof stock / BYTES; b++) memcpy(stock + b * BYTES + 208, &scale, 2);
    ck_assert(vr_is_stock(VR_DTYPE_Q6_K) && vr_stock_target(VR_DTYPE_Q6_K) == VR_DTYPE_F16);
    ck_assert_uint_eq(vr_stock_target_bytes(VR_DTYPE_Q6_K, ROWS, COLS), sizeof out);
    vr_stock_repack(out, VR_DTYPE_Q6_K, stock, ROWS, COLS);
    for (size_t b = 0; b < sizeof stock / BYTES; b++) {
        float want[256];
        q6_k_values(want, stock + b * BYTES);
        for (size_t i = 0; i < 256; i++) ck_assert_int_eq(out[256 * b + i], vr_f32_to_f16(want[i]));
    }
}
END_TEST

START_TEST(stock_blocks_keep_their_numbers)
{
    static const vr_dtype types[] = { VR_DTYPE_Q8_0, VR_DTYPE_Q4_0, VR_DTYPE_Q4_1 };
    for (size_t i = 0; i < 3; i++) {
        ck_assert(vr_is_stock((uint32_t)types[i]) && vr_is_strips(vr_stock_target(types[i])));
        repacked(types[i], 1, 32);
        repacked(types[i], 16, 64);
        repacked(types[i], 19, 96);
        repacked(types[i], 40, 160);
    }
    ck_assert(!vr_is_stock(VR_DTYPE_F32) && !vr_is_stock(VR_DTYPE_Q8_R16));
}
END_TEST

START_TEST(rows_of_a_matrix)
{
    static unsigned char data[8192];
    const vr_matrix strips = { data, VR_DTYPE_Q8_R16, 40, 65 }, plain = { data, VR_DTYPE_F16, 40, 65 };
    vr_matrix part = vr_matrix_rows(&strips, 32, 8);
    ck_assert_ptr_eq(part.data, data + (size_t)2 * 2 * sizeof(vr_q8_block));
    ck_assert_int_eq(part.rows, 8);
    part = vr_matrix_rows(&plain, 3, 5);
    ck_assert_ptr_eq(part.data, data + (size_t)3 * 65 * 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("strips");
    TCase *t = tcase_create("strips");
    tcase_add_test(t, every_f16_number_comes_back);
    tcase_add_test(t, f16_rounds_to_nearest_even);
    tcase_add_test(t, bf16_rounds_to_nearest_even);
    tcase_add_test(t, numbers_come_back);
    tcase_add_test(t, zeros_and_huge_numbers);
    tcase_add_test(t, stock_blocks_keep_their_numbers);
    tcase_add_test(t, stock_blocks_of_six_bits);
    tcase_add_test(t, rows_of_a_matrix);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
