/*
 * sheet_test.c - the sheet of --picture: its numbers, its letters, its file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "cli/canvas.h"
#include "cli/sheet.h"
#include "media/frames.h"
#include "media/png.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static const int sizes[][2] = { { 1280, 720 }, { 720, 1280 }, { 640, 480 }, { 64, 64 }, { 16384, 1 }, { 1, 16384 } };

START_TEST(layouts_hold_their_bounds)
{
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int n = 1; n <= VR_SHEET_FRAMES; n += n < 40 ? 1 : 45) {
            const vr_sheet_layout l = vr_sheet_layout_for(n, sizes[s][0], sizes[s][1]);
            int x, y;
            ck_assert_int_eq(l.n_frames, n);
            ck_assert_int_ge(l.columns * l.lines, n);
            ck_assert_int_lt(l.columns * (l.lines - 1), n);
            ck_assert_int_ge(l.frame_width, 1);
            ck_assert_int_ge(l.frame_height, 1);
            ck_assert_int_le(l.width, VR_SHEET_WIDTH);
            ck_assert_int_le(l.height, VR_SHEET_HEIGHT);
            vr_sheet_cell(&l, n - 1, &x, &y);
            ck_assert_int_le(x + l.frame_width + l.border + l.gap, l.width);
            ck_assert_int_le(y + l.frame_height + l.border + l.label_height + l.gap, l.height);
        }
    }
}
END_TEST

START_TEST(known_layouts)
{
    static const struct {
        int n, width, height, columns, frame_width, frame_height;
    } known[] = { { 1, 1280, 720, 1, 640, 360 },
                  { 8, 1280, 720, 4, 320, 180 },
                  { 8, 720, 1280, 8, 180, 320 },
                  { 35, 1280, 720, 6, 249, 140 },
                  { 400, 1280, 720, 20, 71, 39 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const vr_sheet_layout l = vr_sheet_layout_for(known[i].n, known[i].width, known[i].height);
        ck_assert_int_eq(l.columns, known[i].columns);
        ck_assert_int_eq(l.frame_width, known[i].frame_width);
        ck_assert_int_eq(l.frame_height, known[i].frame_height);
    }
}
END_TEST

START_TEST(more_frames_are_chosen_evenly)
{
    const int n_frames = 1000003;
    const vr_sheet_layout l = vr_sheet_layout_for(n_frames, 4, 3);
    ck_assert_int_eq(l.n_frames, VR_SHEET_FRAMES);
    ck_assert_int_eq(vr_sheet_position(&l, n_frames, 0), 0);
    for (int i = 1; i < l.n_frames; i++) {
        const int step = vr_sheet_position(&l, n_frames, i) - vr_sheet_position(&l, n_frames, i - 1);
        ck_assert_int_ge(step, n_frames / VR_SHEET_FRAMES);
        ck_assert_int_le(step, n_frames / VR_SHEET_FRAMES + 1);
    }
}
END_TEST

START_TEST(lines_break_at_blanks)
{
    static const struct {
        const char *text;
        int n_letters;
        size_t n_bytes, skip;
    } known[] = { { "one two", 7, 7, 7 }, { "one two", 6, 3, 4 }, { "one two", 3, 3, 4 },          { "onetwo", 3, 3, 3 },
                  { "", 3, 0, 0 },        { "a\nb", 9, 1, 2 },    { "\xC3\xA4\xC3\xB6", 2, 4, 4 }, { "\xFF\xFF", 1, 1, 1 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t skip;
        ck_assert_uint_eq(vr_canvas_line(known[i].text, known[i].n_letters, &skip), known[i].n_bytes);
        ck_assert_uint_eq(skip, known[i].skip);
    }
}
END_TEST

START_TEST(every_letter_differs)
{
    for (int a = 1; a < VR_FONT_GLYPHS; a++)
        for (int b = 0; b < a; b++) ck_assert_mem_ne(vr_font_table[a], vr_font_table[b], VR_FONT_LINES);
}
END_TEST

START_TEST(drawing_is_clipped)
{
    static const uint8_t red[4 * 4 * 3] = { 255 };
    vr_canvas canvas;
    vr_err e;
    ck_assert_int_eq(vr_canvas_open(&canvas, 8, 8, &e), VR_OK);
    vr_canvas_fill(&canvas, -5, -5, 100, 7, (vr_colour){ 1, 2, 3 });
    vr_canvas_border(&canvas, 2, 2, 100, 100, 50, (vr_colour){ 1, 2, 3 });
    vr_canvas_picture(&canvas, 6, 6, 4, 4, red);
    vr_canvas_picture(&canvas, -2, -2, 4, 4, red);
    vr_canvas_picture(&canvas, 99, 99, 4, 4, red);
    ck_assert_uint_eq(canvas.rgb[(6 * 8 + 6) * 3], 255);
    vr_canvas_text(&canvas, -3, 4, 3, 1000, "\xE2\x82\xAC~", 4, (vr_colour){ 1, 2, 3 });
    vr_canvas_close(&canvas);
}
END_TEST

static int source_open_quietly(vr_source **source, const char *path, vr_err *e)
{
    static const vr_log silent;
    return vr_source_open(source, path, &silent, e);
}

START_TEST(a_png_comes_back_as_it_was)
{
    enum { W = 37, H = 23 };
    char dir[TEMPORARY_PATH], path[TEMPORARY_PATH + 64], part[TEMPORARY_PATH + 80];
    uint8_t rgb[W * H * 3], back[sizeof rgb];
    const int64_t first = 0;
    const vr_log silent = { 0 };
    vr_source *source = NULL;
    vr_frames *frames = NULL;
    struct stat there;
    vr_err e;
    int index;
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * 37);
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(dir, sizeof dir, "sheet_test.XXXXXX")));
    snprintf(path, sizeof path, "%s/a.png", dir);
    snprintf(part, sizeof part, "%s.part", path);
    ck_assert_int_eq(vr_png_write(path, rgb, W, H, &e), VR_OK);
    ck_assert_int_ne(stat(part, &there), 0);
    ck_assert_int_eq(source_open_quietly(&source, path, &e), VR_OK);
    ck_assert_int_eq(vr_frames_open(&frames, source, &first, 1, W, H, VR_RESIZE_SWS_BILINEAR, &silent, &e), VR_OK);
    ck_assert_int_eq(vr_frames_next(frames, back, &index, &e), VR_OK);
    ck_assert_mem_eq(back, rgb, sizeof rgb);
    vr_frames_free(frames);
    vr_source_free(source);
    unlink(path);
    rmdir(dir);
    ck_assert_int_eq(vr_png_write(path, rgb, W, H, &e), VR_ERR_OTHER); /* the folder is gone */
    ck_assert_ptr_nonnull(strstr(e.text, path));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sheet");
    TCase *cases = tcase_create("sheet");
    tcase_add_test(cases, layouts_hold_their_bounds);
    tcase_add_test(cases, known_layouts);
    tcase_add_test(cases, more_frames_are_chosen_evenly);
    tcase_add_test(cases, lines_break_at_blanks);
    tcase_add_test(cases, every_letter_differs);
    tcase_add_test(cases, drawing_is_clipped);
    tcase_add_test(cases, a_png_comes_back_as_it_was);
    suite_add_tcase(suite, cases);
    return suite_run(suite);
}
