/*
 * media_qwen_test.c - Flash-VStream (Qwen): sides of frames, lists of frames, patches.
 */
#include <math.h>
#include <time.h>

#include "encode/qwen_patches.h"
#include "media/frame_list.h"
#include "media/smart_resize.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

START_TEST(two_resizes) /* spec B3, and recorded with the original */
{
    static const int sides[][6] = {
        { 720, 1280, 336, 588, 336, 560 }, { 1080, 1920, 336, 588, 336, 560 }, { 360, 640, 336, 588, 336, 560 },
        { 480, 854, 308, 588, 336, 560 },  { 480, 640, 364, 504, 336, 504 },   { 270, 480, 280, 476, 280, 448 },
        { 240, 320, 280, 392, 280, 392 },  { 224, 224, 336, 336, 336, 336 },   { 448, 448, 448, 448, 448, 448 },
        { 480, 720, 364, 532, 336, 560 },  { 320, 568, 308, 560, 336, 560 },   { 1024, 576, 588, 336, 560, 336 },
    };
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        int h, w;
        ck_assert(vr_smart_resize(sides[i][0], sides[i][1], 28, 100352, 200704, &h, &w));
        ck_assert_int_eq(h, sides[i][2]);
        ck_assert_int_eq(w, sides[i][3]);
        ck_assert(vr_smart_resize(h, w, 56, 3136, 12845056, &h, &w));
        ck_assert_int_eq(h, sides[i][4]);
        ck_assert_int_eq(w, sides[i][5]);
    }
}
END_TEST

START_TEST(bounds_of_resize)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 20000; round++) {
        const int height = 1 + rand() % 4000, width = 1 + rand() % 4000;
        const bool narrow = height > 200 * width || width > 200 * height;
        int h = 0, w = 0;
        ck_assert_int_eq(vr_smart_resize(height, width, 28, 100352, 200704, &h, &w), !narrow);
        if (narrow) continue;
        ck_assert_msg(h > 0 && w > 0 && h % 28 == 0 && w % 28 == 0, "%d x %d: %d x %d", height, width, h, w);
        /* cutting down or up moves a short side by up to its half */
        ck_assert_msg(h * w >= 100352 / 2 && h * w <= 2 * 200704, "%d x %d: %d x %d", height, width, h, w);
    }
}
END_TEST

static void expect_list(int64_t n_total, double seconds, int n, const int64_t *expected)
{
    int64_t got[64];
    const int extracted = vr_frame_list_extracted(seconds, 1);
    ck_assert_int_eq(vr_frame_list_count(extracted, 240), n);
    vr_frame_list_make(got, n_total, extracted, 240);
    for (int i = 0; i < n; i++) ck_assert_int_eq(got[i], expected[i]);
}

START_TEST(recorded_lists) /* with the original's script; the odd ones with the entry that is repeated */
{
    expect_list(299, 299 / (30000.0 / 1001), 10, (const int64_t[]){ 0, 33, 66, 99, 132, 166, 199, 232, 265, 298 });
    expect_list(598, 598 / (30000.0 / 1001), 20, (const int64_t[]){ 0,   31,  63,  94,  126, 157, 189, 220, 251, 283,
                                                                    314, 346, 377, 408, 440, 471, 503, 534, 566, 597 });
    expect_list(170, 170 / 24.0, 8, (const int64_t[]){ 0, 28, 56, 84, 113, 141, 169, 169 });
    expect_list(235, 235 / 24.0, 10, (const int64_t[]){ 0, 26, 52, 78, 104, 130, 156, 182, 208, 234 });
    expect_list(601, 601 / 30.0, 20, (const int64_t[]){ 0,   32,  63,  95,  126, 158, 189, 221, 253, 284,
                                                        316, 347, 379, 411, 442, 474, 505, 537, 568, 600 });
    expect_list(421, 421 / (30000.0 / 1001), 14,
                (const int64_t[]){ 0, 32, 65, 97, 129, 162, 194, 226, 258, 291, 323, 355, 388, 420 });
    expect_list(243, 243 / 25.0, 10, (const int64_t[]){ 0, 27, 54, 81, 108, 134, 161, 188, 215, 242 });
    expect_list(300, 300 / 30.0, 10, (const int64_t[]){ 0, 33, 66, 100, 133, 166, 199, 233, 266, 299 });
    expect_list(1, 0.04, 4, (const int64_t[]){ 0, 0, 0, 0 });
    expect_list(2, 0.08, 4, (const int64_t[]){ 0, 0, 1, 1 });
}
END_TEST

START_TEST(long_lists)
{
    static int64_t got[240];
    ck_assert_int_eq(vr_frame_list_extracted(1e9, 1), 14400);
    ck_assert_int_eq(vr_frame_list_extracted(2.5, 2), 5);
    ck_assert_int_eq(vr_frame_list_extracted(4.5, 1), 4); /* half to even */
    ck_assert_int_eq(vr_frame_list_count(240, 240), 240);
    ck_assert_int_eq(vr_frame_list_count(241, 240), 240);
    ck_assert_int_eq(vr_frame_list_count(241, 7), 6);
    vr_frame_list_make(got, 480 * 25, 480, 240); /* 480 seconds: entries i * 479/239 of frames j * 11999/479 */
    for (int i = 0; i < 240; i++) {
        const double entry = rint(i * 479.0 / 239), frame = rint(entry * 11999 / 479);
        ck_assert_int_eq(got[i], (int64_t)frame);
    }
    ck_assert_int_eq(got[0], 0);
    ck_assert_int_eq(got[239], 11999);
}
END_TEST

/* Patches by their definition: number (colour, picture, line, column) of patch (line, column) of the grid. */
START_TEST(patches_by_definition)
{
    enum { P = 2, H = 16, W = 24 }; /* merge 2, pool 2: 8 divides both sides */
    static uint8_t pictures[2][H][W][3];
    static float out[(H / P) * (W / P) * 3 * 2 * P * P];
    const float mean[3] = { 0.4F, 0.5F, 0.6F }, std[3] = { 0.2F, 0.3F, 0.25F };
    srand(5);
    for (size_t i = 0; i < sizeof pictures; i++) ((uint8_t *)pictures)[i] = (uint8_t)(rand() % 256);
    for (int pool = 1; pool <= 2; pool++) {
        const vr_qwen_grid g = { .height = H, .width = W, .patch = P, .merge = 2, .depth = 2, .pool = pool };
        const int lines = H / P / pool, columns = W / P / pool;
        ck_assert_int_eq(vr_qwen_grid_patches(&g), lines * columns);
        vr_qwen_patches(out, &pictures[0][0][0][0], &g, mean, std);
        const float *at = out;
        for (int ly = 0; ly < lines; ly += 2)
            for (int lx = 0; lx < columns; lx += 2)
                for (int k = 0; k < 4; k++) {
                    const int line = ly + k / 2, column = lx + k % 2;
                    int told_line, told_column;
                    vr_qwen_grid_place(&g, (int)((at - out) / (3 * 2 * P * P)), &told_line, &told_column);
                    ck_assert(told_line == line && told_column == column);
                    for (int c = 0; c < 3; c++)
                        for (int f = 0; f < 2; f++)
                            for (int y = 0; y < P; y++)
                                for (int x = 0; x < P; x++) {
                                    double sum = 0;
                                    for (int i = 0; i < pool * pool; i++)
                                        sum += pictures[f][(line * P + y) * pool + i / pool][(column * P + x) * pool + i % pool]
                                                       [c];
                                    const double u = sum / (pool * pool) / 255;
                                    ck_assert_double_eq_tol((double)*at++, (u - (double)mean[c]) / (double)std[c], 1e-6);
                                }
                }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("media_qwen");
    TCase *t = tcase_create("all");
    tcase_add_test(t, two_resizes);
    tcase_add_test(t, bounds_of_resize);
    tcase_add_test(t, recorded_lists);
    tcase_add_test(t, long_lists);
    tcase_add_test(t, patches_by_definition);
    suite_add_tcase(s, t);
    return suite_run(s);
}
