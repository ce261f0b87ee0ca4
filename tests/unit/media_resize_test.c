/*
 * media_resize_test.c - PIL's bicubic and PIL's RGB, against pixels recorded with Pillow 9.4 (make_pictures.py) and a second
 * writing of the recipe.
 */
#include <math.h>
#include <time.h>

#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

enum { IN_W = 31, IN_H = 19 };

START_TEST(recorded_sizes)
{
    static const int sizes[][2] = { { 31, 19 }, { 7, 5 }, { 64, 64 }, { 31, 6 }, { 90, 19 }, { 1, 1 }, { 224, 3 }, { 30, 20 } };
    size_t n_in = 0, n_out = 0, at = 0;
    uint8_t *in = read_file(FIXTURES "resize_in.rgb", &n_in), *expected = read_file(FIXTURES "resized.rgb", &n_out);
    ck_assert(in && expected && n_in == IN_W * IN_H * 3);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t bytes = (size_t)sizes[i][0] * (size_t)sizes[i][1] * 3;
        uint8_t *out = malloc(bytes);
        vr_err e = { 0 };
        ck_assert(out && at + bytes <= n_out);
        ck_assert_int_eq(vr_resize_pil_bicubic(out, sizes[i][0], sizes[i][1], in, IN_W, IN_H, &e), VR_OK);
        ck_assert_mem_eq(out, expected + at, bytes);
        at += bytes;
        free(out);
    }
    ck_assert_uint_eq(at, n_out);
    free(in);
    free(expected);
}
END_TEST

/* One axis of the recipe in spec 3.4, on single samples. */
static uint8_t weigh(const uint8_t *in, size_t stride, int n_in, int n_out, int o)
{
    const double s = (double)n_in / n_out, f = s > 1 ? s : 1, c = (o + 0.5) * s;
    int lo = (int)(c - 2 * f + 0.5), hi = (int)(c + 2 * f + 0.5);
    lo = lo < 0 ? 0 : lo;
    hi = hi > n_in ? n_in : hi;
    double w[512], sum = 0;
    for (int k = lo; k < hi; k++) {
        const double x = fabs((k - c + 0.5) * (1 / f));
        w[k - lo] = x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
        sum += w[k - lo];
    }
    long total = 1L << 21;
    for (int k = lo; k < hi; k++) {
        const double v = w[k - lo] * (1 / sum) * 4194304.0;
        total += (long)(v + (v < 0 ? -0.5 : 0.5)) * in[(size_t)k * stride];
    }
    total = total < 0 ? 0 : total >> 22;
    return (uint8_t)(total > 255 ? 255 : total);
}

START_TEST(random_sizes)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 60; round++) {
        const int iw = 1 + rand() % 60, ih = 1 + rand() % 60, ow = 1 + rand() % 80, oh = 1 + rand() % 80;
        static uint8_t in[60 * 60 * 3], between[60 * 80 * 3], expected[80 * 80 * 3], out[80 * 80 * 3];
        for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(rand() % 4 ? rand() : rand() % 2 * 255);
        for (int i = 0; i < ih * ow * 3; i++) {
            const int x = i / 3 % ow, y = i / 3 / ow;
            const uint8_t *row = in + y * iw * 3 + i % 3;
            between[i] = ow == iw ? row[x * 3] : weigh(row, 3, iw, ow, x);
        }
        for (int i = 0; i < oh * ow * 3; i++) {
            const uint8_t *column = between + i % (ow * 3);
            const int y = i / 3 / ow;
            expected[i] = oh == ih ? column[y * ow * 3] : weigh(column, (size_t)ow * 3, ih, oh, y);
        }
        vr_err e = { 0 };
        ck_assert_int_eq(vr_resize_pil_bicubic(out, ow, oh, in, iw, ih, &e), VR_OK);
        for (int i = 0; i < oh * ow * 3; i++) ck_assert_msg(out[i] == expected[i], "%dx%d to %dx%d at %d", iw, ih, ow, oh, i);
    }
}
END_TEST

/* Largest and mean difference of a picture at its own size from PIL's pixels. */
static void compare_picture(const char *name, int width, int height, const uint8_t *expected, int *worst, double *mean)
{
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    const size_t bytes = (size_t)width * (size_t)height * 3;
    uint8_t *rgb = malloc(bytes);
    ck_assert_ptr_nonnull(rgb);
    vr_source *source = open_clip(path, NULL);
    vr_source_info info;
    vr_source_info_get(source, &info);
    ck_assert_msg(info.is_image && info.n_frames == 1 && info.rotation == 0, "%s", name);
    const int64_t first = 0;
    read_frames(source, rgb, &first, 1, width, height, VR_RESIZE_PIL_BICUBIC, NULL);
    double sum = 0;
    *worst = 0;
    for (size_t i = 0; i < bytes; i++) {
        const int difference = abs(rgb[i] - expected[i]);
        sum += difference;
        if (difference > *worst) *worst = difference;
    }
    *mean = sum / (double)bytes;
    vr_source_free(source);
    free(rgb);
}

START_TEST(pictures) /* PNG, BMP, GIF and lossless WebP are exact; JPEG within the rounding of another inverse transform */
{
    static const char *const names[] = { "rgb.png",      "rgba.png",          "grey.png",      "grey_alpha.png", "palette.png",
                                         "palette4.png", "palette_clear.png", "rgb_clear.png", "bits.png",       "grey16.png",
                                         "rgb.bmp",      "palette.gif",       "lossless.webp" };
    static const char *const jpegs[] = { "444.jpg", "422.jpg", "420.jpg", "grey.jpg", "exif.jpg" };
    size_t n = 0, at = 0;
    int worst;
    double mean;
    uint8_t *expected = read_file(FIXTURES "pictures.rgb", &n);
    ck_assert_ptr_nonnull(expected);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++, at += 9 * 5 * 3) {
        compare_picture(names[i], 9, 5, expected + at, &worst, &mean);
        ck_assert_msg(worst == 0, "%s: off by %d", names[i], worst);
    }
    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++, at += 37 * 26 * 3) {
        compare_picture(jpegs[i], 37, 26, expected + at, &worst, &mean);
        ck_assert_msg(worst <= 4 && mean < 0.15, "%s: off by %d, %.3f in the mean", jpegs[i], worst, mean);
    }
    ck_assert_uint_eq(at, n);
    free(expected);
}
END_TEST

START_TEST(first_frame_of_a_video) /* --image on a video: its first frame, turned, then bicubic */
{
    vr_source *source = open_clip(FIXTURES "turn90.mp4", NULL);
    const int64_t first = 0;
    uint8_t full[32 * 64 * 3], small[9 * 7 * 3], expected[9 * 7 * 3];
    vr_err e = { 0 };
    read_frames(source, full, &first, 1, 32, 64, VR_RESIZE_SWS_BILINEAR, NULL);
    read_frames(source, small, &first, 1, 9, 7, VR_RESIZE_PIL_BICUBIC, NULL);
    ck_assert_int_eq(vr_resize_pil_bicubic(expected, 9, 7, full, 32, 64, &e), VR_OK);
    ck_assert_mem_eq(small, expected, sizeof small);
    vr_source_free(source);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("resize");
    tcase_add_test(tests, recorded_sizes);
    tcase_add_test(tests, random_sizes);
    tcase_add_test(tests, pictures);
    tcase_add_test(tests, first_frame_of_a_video);
    return suite_run_case("media_resize", tests);
}
