/*
 * media_clip_test.c - CLIP's crop and normalised pixels, against Pillow (tests/fixtures/media/make_clip.py) and values of NumPy.
 */
#include "media/clip_pixels.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

enum { LONG = 31, SHORT = 19 };

START_TEST(recorded_crops)
{
    static const int sizes[] = { 7, 19, 40, 16 };
    static const int pictures[][2] = { { LONG, SHORT }, { SHORT, LONG } };
    size_t n_in = 0, n_out = 0, at = 0;
    uint8_t *in = read_file(FIXTURES "resize_in.rgb", &n_in), *expected = read_file(FIXTURES "clip_crops.rgb", &n_out);
    ck_assert(in && expected && n_in == LONG * SHORT * 3);
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const size_t bytes = (size_t)sizes[i] * (size_t)sizes[i] * 3;
            uint8_t *out = malloc(bytes);
            vr_err e = { 0 };
            ck_assert(out && at + bytes <= n_out);
            ck_assert_int_eq(vr_clip_pixels_crop(out, sizes[i], in, pictures[p][0], pictures[p][1], &e), VR_OK);
            ck_assert_msg(memcmp(out, expected + at, bytes) == 0, "%d x %d to %d", pictures[p][0], pictures[p][1], sizes[i]);
            at += bytes;
            free(out);
        }
    }
    ck_assert_uint_eq(at, n_out);
    free(in);
    free(expected);
}
END_TEST

START_TEST(too_narrow)
{
    static uint8_t rgb[3 * 100], out[3 * 224 * 224];
    vr_err e = { 0 };
    ck_assert_int_eq(vr_clip_pixels_crop(out, 224, rgb, 100, 1, &e), VR_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.text, "100 x 1"));
}
END_TEST

START_TEST(normalised) /* u8 * (1/255) in double, the rest in float */
{
    static const float mean[3] = { 0.48145466F, 0.4578275F, 0.40821073F }, std[3] = { 0.26862954F, 0.26130258F, 0.27577711F };
    uint8_t rgb[256 * 3];
    float out[3 * 256];
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i / 3);
    vr_pixels_normalise(out, rgb, 256, 1, mean, std);
    for (size_t c = 0; c < 3; c++) {
        for (size_t u = 0; u < 256; u++) {
            const float unit = (float)((double)u * (1.0 / 255.0));
            const float expected = (unit - mean[c]) / std[c];
            ck_assert_msg(out[c * 256 + u] == expected, "%zu", u);
        }
    }
    ck_assert_msg(out[0] == -0x1.cad1b8p+0F && out[255] == 0x1.ee2a82p+0F, "%a %a", (double)out[0], (double)out[255]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("clip");
    tcase_add_test(tests, recorded_crops);
    tcase_add_test(tests, too_narrow);
    tcase_add_test(tests, normalised);
    return suite_run_case("media_clip", tests);
}
