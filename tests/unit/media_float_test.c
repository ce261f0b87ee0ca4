/*
 * media_float_test.c - what VideoLLaMB's towers are given: places spread as numpy does, pictures resized as torch does.
 *
 * The resizes are compared with a second writing in double, and with pixels recorded from the original ($VIDRUN_SHARED/golden;
 * skipped, visibly, where that folder is missing).
 */
#include <math.h>
#include <time.h>

#include "media/float_resize.h"
#include "media/linspace.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

static const vr_float_pixels clip = { 224,
                                      { 0.48145466F, 0.4578275F, 0.40821073F },
                                      { 0.26862954F, 0.26130258F, 0.27577711F } };

START_TEST(places_of_short_clips)
{
    int64_t got[8];
    vr_linspace(got, 3, 8);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(got[i], ((const int[]){ 0, 0, 0, 0, 1, 1, 1, 2 })[i]);
    vr_linspace(got, 1, 8);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(got[i], 0);
    vr_linspace(got, 1000, 1);
    ck_assert_int_eq(got[0], 0);
}
END_TEST

START_TEST(places_as_recorded) /* numpy.linspace(0, D - 1, n, dtype=int) for all pairs, every place hashed (FNV-1a) */
{
    static const int totals[] = { 1, 2, 3, 5, 7, 8, 9, 17, 100, 154, 243, 601, 929, 1801, 5400 };
    static const int counts[] = { 8, 16, 24, 32, 40, 48, 56, 64, 128, 512 };
    uint64_t hash = UINT64_C(1469598103934665603);
    int64_t got[512];
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            vr_linspace(got, totals[t], counts[c]);
            for (int i = 0; i < counts[c]; i++) hash = (hash ^ (uint64_t)got[i]) * UINT64_C(1099511628211);
        }
    }
    ck_assert_uint_eq(hash, UINT64_C(0x9c68301cebb1c1ae));
    vr_linspace(got, 154, 64);
    ck_assert_int_eq(got[21], 50); /* integer division gives 51 */
}
END_TEST

static double kernel(double x)
{
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* Share of input line i in output line o. */
static double share(bool antialias, int in, int out, int o, int i)
{
    const double scale = (double)in / out, wide = scale > 1 ? scale : 1, centre = (o + 0.5) * scale;
    if (antialias) {
        const int low = (int)fmax(centre - 2 * wide + 0.5, 0), high = (int)fmin(centre + 2 * wide + 0.5, in);
        double sum = 0;
        for (int k = low; k < high; k++) sum += kernel((k - centre + 0.5) / wide);
        return i < low || i >= high ? 0 : kernel((i - centre + 0.5) / wide) / sum;
    }
    const double place = fmax(centre - 0.5, 0), part = place - floor(place);
    const int low = (int)place, next = low + 1 < in ? low + 1 : in - 1;
    return (i == low ? 1 - part : 0) + (i == next ? part : 0);
}

/* One place of the middle, of normalised input lines x columns. */
static double expected(const vr_float_pixels *p, const uint8_t *rgb, int w, int h, bool antialias, int c, int y, int x)
{
    const int side = p->side, shorter = w < h ? w : h;
    const int nw = w < h ? side : antialias ? side * w / shorter : (int)floor((double)w / h * side);
    const int nh = w >= h ? side : antialias ? side * h / shorter : (int)floor((double)h / w * side);
    const int left = (nw - side) / 2 + ((nw - side) % 4 == 3), top = (nh - side) / 2 + ((nh - side) % 4 == 3);
    double sum = 0;
    for (int i = 0; i < h; i++) {
        const double line = share(antialias, h, nh, y + top, i);
        if (line == 0) continue;
        for (int j = 0; j < w; j++) sum += line * share(antialias, w, nw, x + left, j) * rgb[(i * w + j) * 3 + c] / 255;
    }
    return (sum - (double)p->mean[c]) / (double)p->std[c];
}

START_TEST(second_writing)
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 60; round++) {
        static uint8_t rgb[70 * 70 * 3];
        static float out[3 * 40 * 40];
        const int w = 1 + rand() % 70, h = 1 + rand() % 70;
        vr_float_pixels p = clip;
        vr_err e = { 0 };
        p.side = 1 + rand() % 40;
        for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(rand() % 4 ? rand() : rand() % 2 * 255);
        for (int antialias = 0; antialias < 2; antialias++) {
            const int rc =
                antialias ? vr_float_resize_bicubic(out, &p, rgb, w, h, &e) : vr_float_resize_bilinear(out, &p, rgb, w, h, &e);
            ck_assert_msg(rc == VR_OK, "%s", e.text);
            for (int k = 0; k < 20; k++) {
                const int c = rand() % 3, y = rand() % p.side, x = rand() % p.side;
                const double wanted = expected(&p, rgb, w, h, antialias, c, y, x);
                const double got = (double)out[(c * p.side + y) * p.side + x];
                ck_assert_msg(fabs(got - wanted) < 3e-4, "%dx%d to %d, antialias %d, %d %d %d: %g, expected %g", w, h, p.side,
                              antialias, c, y, x, got, wanted);
            }
        }
    }
}
END_TEST

START_TEST(too_narrow)
{
    static uint8_t rgb[300 * 3];
    static float out[3 * 224 * 224];
    vr_err e = { 0 };
    ck_assert_int_eq(vr_float_resize_bilinear(out, &clip, rgb, 1, 300, &e), VR_ERR_LIMIT);
    ck_assert_int_eq(vr_float_resize_bicubic(out, &clip, rgb, 300, 1, &e), VR_ERR_LIMIT);
}
END_TEST

/* The numbers of an .npy file of the golden case; the caller frees *file. */
static const void *recorded(const char *name, const char *what, uint8_t **file)
{
    char path[512];
    size_t n;
    snprintf(path, sizeof path, "%s/golden/videollamb-preprocess/stages/%s.input.%s.npy", shared_folder(), name, what);
    *file = read_file(path, &n);
    if (!*file) printf("SKIP: %s is not there (VIDRUN_SHARED)\n", path);
    return *file ? *file + 10 + (*file)[8] + 256 * (*file)[9] : NULL;
}

static void compare(const char *what, const float *got, const float *wanted)
{
    double distance = 0, length = 0;
    for (int i = 0; i < 3 * 224 * 224; i++) {
        distance += ((double)got[i] - (double)wanted[i]) * ((double)got[i] - (double)wanted[i]);
        length += (double)wanted[i] * (double)wanted[i];
    }
    printf("%s: off by %.1e\n", what, sqrt(distance / length));
    ck_assert_msg(sqrt(distance / length) < 4e-6, "%s: %g", what, sqrt(distance / length)); /* twice what was measured */
}

START_TEST(as_the_original)
{
    static const struct {
        const char *name;
        int width, height;
    } frames[] = { { "skateboarding_dog", 576, 1024 }, { "dance", 640, 480 } };
    static float out[3 * 224 * 224];
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        uint8_t *files[3];
        vr_err e = { 0 };
        const uint8_t *rgb = recorded(frames[i].name, "rgb", &files[0]);
        const float *video = recorded(frames[i].name, "pixels", &files[1]);
        const float *image = recorded(frames[i].name, "pixels.image", &files[2]);
        if (!rgb || !video || !image) return;
        ck_assert_int_eq(vr_float_resize_bilinear(out, &clip, rgb, frames[i].width, frames[i].height, &e), VR_OK);
        compare("video", out, video);
        ck_assert_int_eq(vr_float_resize_bicubic(out, &clip, rgb, frames[i].width, frames[i].height, &e), VR_OK);
        compare("image", out, image);
        for (int k = 0; k < 3; k++) free(files[k]);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("float");
    tcase_add_test(tests, places_of_short_clips);
    tcase_add_test(tests, places_as_recorded);
    tcase_add_test(tests, second_writing);
    tcase_add_test(tests, too_narrow);
    tcase_add_test(tests, as_the_original);
    return suite_run_case("media_float", tests);
}
