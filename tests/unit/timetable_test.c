/*
 * timetable_test.c - places of questions in a stream: times and lists, their order, when they are due; subtitles of captions.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/subtitles.h"
#include "cli/timetable.h"
#include "tests/unit/suite.h"

static const char path[] = "timetable_test.tmp";

static void write_file(const char *text)
{
    FILE *const file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert(fputs(text, file) >= 0 && fclose(file) == 0);
}

static char *read_file(void)
{
    static char text[4096];
    FILE *const file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    unlink(path);
    return text;
}

START_TEST(times_are_read)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = { { "0", 0 },        { "7", 7 },           { "7.25", 7.25 },        { "90", 90 },
                 { "1:30", 90 },    { "01:02:03", 3723 }, { "1:02:03.5", 3723.5 }, { "100:00:00", 360000 },
                 { "36000", 36000 } };
    static const char *const bad[] = { "",    "-1",  "+1",  "1:60", "1:75:00", "1:2:3:4", "1.5:00", "1:",    ":1",
                                       "nan", "inf", "1e3", "0x10", " 1",      "1 ",      "1s",     "1.2.3", "9999999999" };
    double seconds;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(vr_time_parse(good[i].text, &seconds), "%s", good[i].text);
        ck_assert_msg(fabs(seconds - good[i].seconds) < 1e-9, "%s: %f", good[i].text, seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) ck_assert_msg(!vr_time_parse(bad[i], &seconds), "%s", bad[i]);
}
END_TEST

START_TEST(times_are_written)
{
    char text[32];
    ck_assert_str_eq(vr_time_format(0, 0, text, sizeof text), "00:00:00");
    ck_assert_str_eq(vr_time_format(3723.4, 0, text, sizeof text), "01:02:03");
    ck_assert_str_eq(vr_time_format(3723.4, ',', text, sizeof text), "01:02:03,400");
    ck_assert_str_eq(vr_time_format(3723.4, ' ', text, sizeof text), "01:02:03.400");
    ck_assert_str_eq(vr_time_format(3723, ' ', text, sizeof text), "01:02:03");
    ck_assert_str_eq(vr_time_format(59.9996, '.', text, sizeof text), "00:01:00.000");
    ck_assert_str_eq(vr_time_format(360000, '.', text, sizeof text), "100:00:00.000");
    ck_assert_str_eq(vr_time_format(-1, 0, text, sizeof text), "00:00:00");
    ck_assert_str_eq(vr_time_format((double)NAN, 0, text, sizeof text), "00:00:00");
}
END_TEST

START_TEST(questions_are_sorted_by_time_and_keep_their_order)
{
    static const char *const order[] = { "zero", "one", "two", "three", "four" };
    vr_timetable t = { 0 };
    vr_err e;
    write_file("5\tthree\n1:00\tfour\r\n\n0\tzero\n2\tone\n2.0\ttwo\n");
    ck_assert_int_eq(vr_timetable_read_file(&t, path, &e), VR_OK);
    unlink(path);
    ck_assert_int_eq(t.count, 5);
    for (int i = 0; i < 5; i++) ck_assert_str_eq(t.items[i].text, order[i]);
    vr_timetable_free(&t);
}
END_TEST

START_TEST(a_question_by_time_comes_before_the_first_later_frame)
{
    vr_timetable t = { 0 };
    vr_err e;
    write_file("0\ta\n4\tb\n");
    ck_assert_int_eq(vr_timetable_read_file(&t, path, &e), VR_OK);
    unlink(path);
    ck_assert_ptr_null(vr_timetable_due(&t, 0, 3)); /* nothing was seen */
    ck_assert_ptr_null(vr_timetable_due(&t, 1, 0)); /* of the same time: is looked at first */
    ck_assert_str_eq(vr_timetable_due(&t, 1, 1)->text, "a");
    t.next++;
    ck_assert_ptr_null(vr_timetable_due(&t, 4, 4));
    ck_assert_ptr_nonnull(vr_timetable_due(&t, 5, 4.001));
    ck_assert_ptr_nonnull(vr_timetable_due(&t, 2, (double)INFINITY));
    t.next++;
    ck_assert_ptr_null(vr_timetable_due(&t, 9, (double)INFINITY));
    vr_timetable_free(&t);
}
END_TEST

START_TEST(a_question_by_number_comes_after_so_many_frames)
{
    char lines[] = "a\n\nb\nc\n";
    vr_timetable t = { 0 };
    vr_err e;
    FILE *const file = fmemopen(lines, strlen(lines), "r");
    ck_assert_int_eq(vr_timetable_read_lines(&t, "20,3,20", file, &e), VR_OK);
    fclose(file);
    ck_assert_str_eq(t.items[0].text, "b");
    ck_assert_ptr_null(vr_timetable_due(&t, 2, -(double)INFINITY));
    ck_assert_str_eq(vr_timetable_due(&t, 3, -(double)INFINITY)->text, "b");
    t.next++;
    ck_assert_ptr_null(vr_timetable_due(&t, 19, 100));
    ck_assert_str_eq(vr_timetable_due(&t, 20, -(double)INFINITY)->text, "a");
    ck_assert_str_eq(vr_timetable_due(&t, 5, (double)INFINITY)->text, "a"); /* the stream has ended */
    vr_timetable_free(&t);
}
END_TEST

START_TEST(captions_become_subrip)
{
    vr_subtitles s;
    vr_err e;
    ck_assert_int_eq(vr_subtitles_open(&s, path, false, &e), VR_OK);
    vr_subtitles_caption(&s, 0, " a man\n\nruns\x1b --> off ");
    vr_subtitles_caption(&s, 6.5, "");
    vr_subtitles_caption(&s, 8, "he & <she>");
    ck_assert_int_eq(vr_subtitles_close(&s, 3601, &e), VR_OK);
    ck_assert_str_eq(read_file(), "1\n00:00:00,000 --> 00:00:06,500\na man runs -- > off\n\n"
                                  "2\n00:00:08,000 --> 01:00:01,000\nhe & <she>\n\n");
}
END_TEST

START_TEST(captions_become_webvtt)
{
    vr_subtitles s;
    vr_err e;
    ck_assert_int_eq(vr_subtitles_open(&s, path, true, &e), VR_OK);
    vr_subtitles_scene(&s, 0, 4, "a --> b");
    vr_subtitles_scene(&s, 4, 4, "he & <she>");
    ck_assert_int_eq(vr_subtitles_close(&s, 9, &e), VR_OK);
    ck_assert_str_eq(read_file(), "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\na --&gt; b\n\n"
                                  "00:00:04.000 --> 00:00:04.001\nhe &amp; &lt;she>\n\n");
}
END_TEST

START_TEST(subtitles_tell_what_went_wrong)
{
    vr_subtitles s;
    vr_err e;
    ck_assert_int_eq(vr_subtitles_open(&s, "/nowhere/c.srt", false, &e), VR_ERR_OTHER);
    ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/c.srt"));
    if (access("/dev/full", W_OK) != 0) return;
    ck_assert_int_eq(vr_subtitles_open(&s, "/dev/full", false, &e), VR_OK);
    vr_subtitles_caption(&s, 0, "text");
    ck_assert_int_eq(vr_subtitles_close(&s, 1, &e), VR_ERR_OTHER);
    ck_assert_ptr_nonnull(strstr(e.text, "/dev/full"));
    ck_assert_int_eq(vr_subtitles_open(&s, NULL, false, &e), VR_OK);
    vr_subtitles_caption(&s, 0, "text");
    ck_assert_int_eq(vr_subtitles_close(&s, 1, &e), VR_OK);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("timetable");
    TCase *const all = tcase_create("all");
    tcase_add_test(all, times_are_read);
    tcase_add_test(all, times_are_written);
    tcase_add_test(all, questions_are_sorted_by_time_and_keep_their_order);
    tcase_add_test(all, a_question_by_time_comes_before_the_first_later_frame);
    tcase_add_test(all, a_question_by_number_comes_after_so_many_frames);
    tcase_add_test(all, captions_become_subrip);
    tcase_add_test(all, captions_become_webvtt);
    tcase_add_test(all, subtitles_tell_what_went_wrong);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
