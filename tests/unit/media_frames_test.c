/*
 * media_frames_test.c - the right frames, wherever decoding begins and whatever is missing.
 *
 * In the count.* clips the grey of a frame says its number: luma 16 + 2 N, that is 2 N * 255/219 in RGB.
 */
#include <math.h>
#include <time.h>

#include "base/limits.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

static int grey_of(int64_t number)
{
    return (int)floor(2.0 * (double)number * 255.0 / 219.0 + 0.5);
}

/* Read `indices` of a clip as single pixels; they must show the frames `numbers` to within `off` levels (frames are 2 or 3
 * apart). */
static void expect_frames(const char *name, const int64_t *indices, const int64_t *numbers, int n, int off, heard_log *heard)
{
    char path[256];
    uint8_t rgb[128 * 3];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    *heard = (heard_log){ 0 };
    const vr_log log = { keep_line, heard };
    vr_source *source = open_clip(path, NULL);
    ck_assert_int_le(n, 128);
    read_frames(source, rgb, indices, n, 1, 1, VR_RESIZE_SWS_BILINEAR, &log);
    for (int i = 0; i < n; i++) {
        ck_assert_msg(abs(rgb[3 * i] - grey_of(numbers[i])) <= off, "%s: index %d shows grey %d, not frame %d (%d)", name,
                      (int)indices[i], rgb[3 * i], (int)numbers[i], grey_of(numbers[i]));
    }
    vr_source_free(source);
}

static const struct {
    const char *name;
    int off;
} clips[] = { { "count.mp4", 0 },  { "count.mkv", 0 },   { "count.ts", 0 },     { "count.h264", 0 }, { "count.avi", 1 },
              { "count.webm", 1 }, { "nosound.mp4", 0 }, { "open_gop.mkv", 0 }, { "refresh.mkv", 0 } };

START_TEST(every_frame)
{
    int64_t all[100];
    for (int i = 0; i < 100; i++) all[i] = i;
    for (size_t k = 0; k < sizeof clips / sizeof *clips; k++) {
        heard_log heard;
        expect_frames(clips[k].name, all, all, 100, clips[k].off, &heard);
        ck_assert_int_eq(heard.n_warnings, 0);
    }
}
END_TEST

START_TEST(any_frames) /* with and without seeking, the same */
{
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 25; round++) {
        int64_t indices[10];
        int n = 0;
        for (int64_t at = rand() % 60; at < 100 && n < 10; at += rand() % 50) indices[n++] = at; /* some of them twice */
        for (size_t k = 0; k < sizeof clips / sizeof *clips; k++) {
            heard_log heard;
            expect_frames(clips[k].name, indices, indices, n, clips[k].off, &heard);
            ck_assert_int_eq(heard.n_warnings, 0);
        }
    }
}
END_TEST

START_TEST(seeks_that_fail) /* intra refresh: marked key packets without a key frame; the reader notices and starts over */
{
    const int64_t late = 95;
    heard_log heard;
    expect_frames("refresh.mkv", &late, &late, 1, 0, &heard);
    ck_assert_int_eq(heard.n_debug, 1);
    expect_frames("count.mkv", &late, &late, 1, 0, &heard);
    ck_assert_int_eq(heard.n_debug, 0);
}
END_TEST

START_TEST(variable_rate)
{
    const int64_t indices[] = { 0, 5, 9, 10, 11, 15, 22 }, numbers[] = { 0, 5, 9, 14, 21, 49, 98 };
    heard_log heard;
    expect_frames("vfr.mp4", indices, numbers, 7, 0, &heard);
    ck_assert_int_eq(heard.n_warnings, 0);
}
END_TEST

START_TEST(
    hidden_frames) /* an edit list hides 0..14; recorded with decord 0.6.0, which counts what comes out from a key frame on */
{
    const int64_t indices[] = { 0, 12, 25, 37, 50, 62, 75, 87 }, numbers[] = { 15, 27, 40, 37, 50, 62, 75, 87 };
    const int64_t ends[] = { 0, 80, 99 };
    int64_t all[100], shifted[100];
    heard_log heard;
    expect_frames("hidden.mp4", indices, numbers, 8, 0, &heard);
    ck_assert_int_eq(heard.n_warnings, 0);
    expect_frames("hidden.mp4", ends, (const int64_t[]){ 15, 80, 99 }, 3, 0, &heard);
    for (int i = 0; i < 100; i++) all[i] = i, shifted[i] = i + 15 < 100 ? i + 15 : 99;
    expect_frames("hidden.mp4", all, shifted, 100, 0, &heard);
    ck_assert_int_eq(heard.n_warnings, 1);
    ck_assert_str_eq(heard.last,
                     FIXTURES "hidden.mp4: 15 of 100 frames are missing or cannot be decoded, their neighbours were taken");
}
END_TEST

static void expect_greys(const char *name, const int64_t *indices, const int *greys, int n, heard_log *heard)
{
    char path[256];
    uint8_t rgb[32 * 3];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    *heard = (heard_log){ 0 };
    const vr_log log = { keep_line, heard };
    vr_source *source = open_clip(path, NULL);
    read_frames(source, rgb, indices, n, 1, 1, VR_RESIZE_SWS_BILINEAR, &log);
    for (int i = 0; i < n; i++) ck_assert_msg(rgb[3 * i] == greys[i], "%s: index %d: %d", name, (int)indices[i], rgb[3 * i]);
    vr_source_free(source);
}

START_TEST(damaged_frames) /* frame N is of grey 20 N; 0, 4 and 5 cannot be decoded */
{
    heard_log heard;
    expect_greys("bad_frame.avi", (const int64_t[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 },
                 (const int[]){ 20, 20, 40, 60, 60, 60, 120, 140, 160, 180 }, 10, &heard);
    ck_assert_int_eq(heard.n_warnings, 1);
    ck_assert_str_eq(heard.last,
                     FIXTURES "bad_frame.avi: 3 of 10 frames are missing or cannot be decoded, their neighbours were taken");
    expect_greys("bad_frame.avi", (const int64_t[]){ 5, 5, 8 }, (const int[]){ 60, 60, 160 }, 3, &heard);
    ck_assert_int_eq(heard.n_warnings, 1);
    expect_greys("bad_frame.avi", (const int64_t[]){ 1, 8 }, (const int[]){ 20, 160 }, 2, &heard);
    ck_assert_int_eq(heard.n_warnings, 0);
}
END_TEST

START_TEST(broken_tail)
{
    static const char *const names[] = { "cut.mp4", "cut.mkv" };
    for (int k = 0; k < 2; k++) {
        char path[256];
        snprintf(path, sizeof path, FIXTURES "%s", names[k]);
        vr_source *source = open_clip(path, NULL);
        vr_source_info info;
        vr_source_info_get(source, &info);
        vr_source_free(source);
        ck_assert_msg(info.n_frames > 5 && info.n_frames < 40, "%d", (int)info.n_frames);
        const int64_t indices[] = { 0, info.n_frames / 2, info.n_frames - 3 };
        heard_log heard;
        expect_frames(names[k], indices, indices, 3, 0, &heard);
    }
}
END_TEST

/* Which quarter a pixel of rgb [h, w] at (x, y) shows: 'r', 'g', 'b', 'w', or '?'. */
static char colour_at(const uint8_t *rgb, int w, int x, int y)
{
    const uint8_t *p = rgb + (y * w + x) * 3;
    const int bits = (p[0] > 128) << 2 | (p[1] > 128) << 1 | (p[2] > 128);
    return bits == 4 ? 'r' : bits == 2 ? 'g' : bits == 1 ? 'b' : bits == 7 ? 'w' : '?';
}

START_TEST(turned) /* red green / blue white before the turn, clockwise */
{
    static const struct {
        const char *name, *corners; /* top left, top right, bottom left, bottom right */
    } cases[] = { { "turn0.mp4", "rgbw" },
                  { "turn90.mp4", "brwg" },
                  { "turn180.mp4", "wbgr" },
                  { "turn270.mp4", "gwrb" },
                  { "turn90_422.mp4", "brwg" } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char path[256];
        snprintf(path, sizeof path, FIXTURES "%s", cases[k].name);
        vr_source *source = open_clip(path, NULL);
        for (int resize = VR_RESIZE_SWS_BILINEAR; resize <= VR_RESIZE_PIL_BICUBIC; resize++) {
            uint8_t rgb[20 * 12 * 3];
            const int64_t first = 0;
            read_frames(source, rgb, &first, 1, 20, 12, (vr_resize)resize, NULL);
            const char seen[] = { colour_at(rgb, 20, 3, 2), colour_at(rgb, 20, 16, 2), colour_at(rgb, 20, 3, 9),
                                  colour_at(rgb, 20, 16, 9), 0 };
            ck_assert_msg(strcmp(seen, cases[k].corners) == 0, "%s: %s", cases[k].name, seen);
        }
        vr_source_free(source);
    }
}
END_TEST

START_TEST(size_and_format_change) /* 3 frames of 32 x 16 yuv420p, then 3 of 48 x 32 yuv444p */
{
    heard_log heard;
    expect_greys("change.h264", (const int64_t[]){ 0, 2, 3, 5 }, (const int[]){ 128, 128, 128, 128 }, 4, &heard);
    ck_assert_int_eq(heard.n_warnings, 0);
}
END_TEST

START_TEST(joined_files) /* times start anew in the middle: all frames are found nevertheless */
{
    heard_log heard;
    expect_greys("rate_change.ts", (const int64_t[]){ 0, 2, 3, 5 }, (const int[]){ 128, 128, 200, 200 }, 4, &heard);
    ck_assert_int_eq(heard.n_warnings, 0);
}
END_TEST

static void refuse(vr_source *source, const int64_t *indices, int n, int width, int code, const char *message)
{
    vr_err e = { 0 };
    vr_frames *frames = NULL;
    ck_assert_int_eq(vr_frames_open(&frames, source, indices, n, width, 8, VR_RESIZE_SWS_BILINEAR, NULL, &e), code);
    ck_assert_ptr_null(frames);
    ck_assert_str_eq(e.text, message);
}

START_TEST(refusals)
{
    vr_source *source = open_clip(FIXTURES "one.mp4", NULL);
    refuse(source, (const int64_t[]){ 0, 1 }, 2, 8, VR_ERR_VIDEO, FIXTURES "one.mp4: has no frame 1, only 1");
    refuse(source, (const int64_t[]){ -1 }, 1, 8, VR_ERR_VIDEO, FIXTURES "one.mp4: has no frame -1, only 1");
    char message[256];
    snprintf(message, sizeof message, FIXTURES "one.mp4: 0 frames asked for, 1 to %d are possible", VR_MAX_FRAMES);
    refuse(source, (const int64_t[]){ 0 }, 0, 8, VR_ERR_LIMIT, message);
    snprintf(message, sizeof message, FIXTURES "one.mp4: frames of %d x 8 pixels asked for, up to %d a side are possible",
             VR_MAX_IMAGE_SIZE + 1, VR_MAX_IMAGE_SIZE);
    refuse(source, (const int64_t[]){ 0 }, 1, VR_MAX_IMAGE_SIZE + 1, VR_ERR_LIMIT, message);
    vr_source_free(source);
    vr_frames_free(NULL);
    vr_source_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("frames");
    tcase_add_test(tests, every_frame);
    tcase_add_test(tests, any_frames);
    tcase_add_test(tests, seeks_that_fail);
    tcase_add_test(tests, variable_rate);
    tcase_add_test(tests, hidden_frames);
    tcase_add_test(tests, damaged_frames);
    tcase_add_test(tests, broken_tail);
    tcase_add_test(tests, turned);
    tcase_add_test(tests, size_and_format_change);
    tcase_add_test(tests, joined_files);
    tcase_add_test(tests, refusals);
    return suite_run_case("media_frames", tests);
}
