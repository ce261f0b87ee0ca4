/*
 * videochat_test.c - which frames VideoChat looks at, and what becomes of their pixels, as recorded with the original code.
 *
 *   table.txt: "frames num den n index .. <tab> sentence" -> indices          100x80.rgb -> crop, or squeezed -> hash (FNV-1a)
 */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "media/clip_pixels.h"
#include "media/frames.h"
#include "systems/videochat.h"
#include "tests/unit/suite.h"

enum { MOST = 64, WIDTH = 100, HEIGHT = 80, SIDE = 224 };

START_TEST(middles_as_recorded)
{
    FILE *const file = fopen("tests/fixtures/videochat/table.txt", "r");
    char line[4096];
    int n_lines = 0;
    ck_assert_ptr_nonnull(file);
    for (; fgets(line, sizeof line, file); n_lines++) {
        int64_t got[MOST];
        int at = 0, total, n, used, index;
        ck_assert_int_eq(sscanf(line, "%d %*d %*d %d%n", &total, &n, &at), 2);
        ck_assert_int_le(n, MOST);
        vr_videochat_middles(got, total, n);
        for (int i = 0; i < n; i++) {
            ck_assert_int_eq(sscanf(line + at, "%d%n", &index, &used), 1);
            at += used;
            ck_assert_msg(got[i] == index, "%d of %d: %lld instead of %d", n, total, (long long)got[i], index);
        }
    }
    fclose(file);
    ck_assert_int_eq(n_lines, 132);
}
END_TEST

START_TEST(middles_lie_in_the_clip)
{
    int64_t got[256];
    int n_wrong = 0; /* an assertion each would take minutes */
    for (int total = 1; total < 2000; total += total < 40 ? 1 : 97) {
        for (int n = 1; n <= 256; n++) {
            vr_videochat_middles(got, total, n);
            for (int i = 0; i < n; i++) n_wrong += got[i] < (i ? got[i - 1] : 0) || got[i] >= total;
        }
    }
    ck_assert_int_eq(n_wrong, 0);
}
END_TEST

static uint64_t hash_of(const uint8_t *bytes, size_t n)
{
    uint64_t hash = UINT64_C(1469598103934665603);
    for (size_t i = 0; i < n; i++) hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    return hash;
}

START_TEST(pixels_as_recorded)
{
    static uint8_t rgb[3 * WIDTH * HEIGHT], out[3 * SIDE * SIDE];
    vr_err e = { 0 };
    FILE *const file = fopen("tests/fixtures/videochat/100x80.rgb", "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(rgb, 1, sizeof rgb, file), sizeof rgb);
    fclose(file);
    ck_assert_msg(vr_clip_pixels_crop_even(out, SIDE, rgb, WIDTH, HEIGHT, &e) == VR_OK, "%s", e.text);
    ck_assert_uint_eq(hash_of(out, sizeof out), UINT64_C(0x70a0c51f4e4b7def));
    ck_assert_msg(vr_resize_pil_bicubic(out, SIDE, SIDE, rgb, WIDTH, HEIGHT, &e) == VR_OK, "%s", e.text);
    ck_assert_uint_eq(hash_of(out, sizeof out), UINT64_C(0xc136d86f4d93566f));
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("videochat");
    TCase *const all = tcase_create("all");
    tcase_add_test(all, middles_as_recorded);
    tcase_add_test(all, middles_lie_in_the_clip);
    tcase_add_test(all, pixels_as_recorded);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
