/*
 * report_test.c - what is written to standard error, and when: bar, log lines, timings; plan line and numbers of a record.
 *
 *   hooks called as the engine calls them -> vr_report on a file that counts as a terminal -> bytes compared
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cli/record.h"
#include "cli/report.h"
#include "tests/unit/suite.h"

static FILE *screen;
static vr_output answer;
static vr_report report;
static vr_hooks hooks;

static void start(const vr_options *options, bool terminal)
{
    screen = tmpfile();
    ck_assert_ptr_nonnull(screen);
    setvbuf(screen, NULL, _IONBF, 0); /* the answer passes the stream by */
    answer = (vr_output){ .file = fileno(screen), .terminal = terminal };
    vr_report_open(&report, screen, options, &answer);
    report.terminal = terminal;
    vr_report_hooks(&report, &hooks);
}

static void expect(const char *wanted)
{
    char text[8192];
    rewind(screen);
    const size_t n_bytes = fread(text, 1, sizeof text - 1, screen);
    ck_assert_int_eq(ferror(screen), 0);
    text[n_bytes] = '\0';
    fclose(screen);
    ck_assert_str_eq(text, wanted);
}

static void log_at(vr_log_level level, const char *line)
{
    vr_log_print(&hooks.log, level, "%s", line);
}

static void progress(const char *stage, int64_t done, int64_t total)
{
    report.bar_drawn = 0; /* long enough ago */
    hooks.progress(hooks.cookie, stage, done, total);
}

static void timing(const char *stage, double seconds, int64_t count, const char *unit)
{
    const vr_timing t = { stage, seconds, count, unit };
    hooks.timing(hooks.cookie, &t);
}

#define BAR_HALF "\rvision  [============            ]  4 of 8  0 s left\033[K"
#define ERASE    "\r\033[K"

START_TEST(levels_of_the_log)
{
    start(&(vr_options){ 0 }, false);
    log_at(VR_LOG_WARN, "w\x1b[2J\nx");
    log_at(VR_LOG_INFO, "i");
    log_at(VR_LOG_DEBUG, "d");
    expect("vidrun: warning: w^[[2J^Jx\nvidrun: i\n");
    start(&(vr_options){ .verbose = true }, false);
    log_at(VR_LOG_DEBUG, "d");
    expect("vidrun: d\n");
}
END_TEST

START_TEST(quiet_leaves_errors)
{
    const vr_err e = { VR_ERR_OTHER, "gone\r" };
    start(&(vr_options){ .quiet = true }, true);
    log_at(VR_LOG_WARN, "w");
    progress("vision", 4, 8);
    timing("vision", 1, 8, "frames");
    vr_report_line(&report, "plan");
    vr_report_prompt(&report);
    vr_report_error(&report, &e);
    expect("vidrun: gone^M\n");
    ck_assert_int_eq(report.n_timings, 1);
}
END_TEST

START_TEST(the_bar_goes_before_anything_comes)
{
    start(&(vr_options){ 0 }, true);
    progress("vision", 4, 8);
    log_at(VR_LOG_WARN, "w");
    progress("vision", 4, 8);
    timing("vision", 2, 8, "frames");
    vr_report_erase_bar(&report);
    expect(BAR_HALF ERASE "vidrun: warning: w\n" BAR_HALF ERASE "vision        8 frames       2.00 s       4.0 frames/s\n");
}
END_TEST

START_TEST(no_bar)
{
    start(&(vr_options){ 0 }, false);
    progress("vision", 4, 8);
    expect("");
    start(&(vr_options){ 0 }, true);
    progress("vision", 1, 0);
    progress("vision", 9, 8);
    progress("vision", -1, 8);
    answer.line_open = true; /* behind half an answer */
    progress("vision", 4, 8);
    answer.line_open = false;
    progress("vision", 4, 8);
    hooks.progress(hooks.cookie, "vision", 5, 8); /* too soon */
    expect(BAR_HALF);
}
END_TEST

START_TEST(timings_wait_for_the_end_of_the_line)
{
    start(&(vr_options){ 0 }, true);
    vr_output_write(&answer, "Red", 3);
    timing("answer", 0.5, 3, "tokens");
    vr_output_end_line(&answer, true);
    vr_report_timings(&report);
    vr_report_timings(&report);
    timing("scan", 0.25, 0, NULL);
    expect("Red\nanswer        3 tokens       0.50 s       6.0 tokens/s\nscan                         0.25 s\n");
    ck_assert_int_eq(report.n_timings, 2);
    vr_report_forget(&report);
    ck_assert_int_eq(report.n_timings, 0);
}
END_TEST

START_TEST(a_warning_behind_half_an_answer)
{
    start(&(vr_options){ 0 }, true);
    vr_output_write(&answer, "Red", 3);
    log_at(VR_LOG_WARN, "w");
    expect("Red\nvidrun: warning: w\n");
}
END_TEST

START_TEST(more_timings_than_are_kept)
{
    start(&(vr_options){ .quiet = true }, false);
    for (int i = 0; i < VR_REPORT_TIMINGS + 5; i++) timing("scan", 0, 1, "frames");
    ck_assert_int_eq(report.n_timings, VR_REPORT_TIMINGS);
    expect("");
}
END_TEST

static const char *plan_line(vr_plan plan)
{
    static char line[256];
    plan.context = 2048;
    return vr_record_plan_line(&plan, line, sizeof line);
}

START_TEST(plan_lines)
{
    ck_assert_str_eq(
        plan_line((vr_plan){ .n_frames_total = 1432, .n_frames = 8, .n_clips = 8, .n_video_rows = 32, .n_audio_rows = 8 }),
        "decoding 8 of 1,432 frames, audio 8 clips, 40 video tokens, context 2048");
    ck_assert_str_eq(plan_line((vr_plan){ .n_frames_total = 1, .n_frames = 1, .n_video_rows = 32 }),
                     "decoding 1 of 1 frame, no audio, 32 video tokens, context 2048");
    ck_assert_str_eq(plan_line((vr_plan){ .n_frames_total = 1234567890123, .n_frames = 100 }),
                     "decoding 100 of 1,234,567,890,123 frames, no audio, 0 video tokens, context 2048");
    ck_assert_str_eq(plan_line((vr_plan){ .n_frames_total = 999, .n_frames = 9 }),
                     "decoding 9 of 999 frames, no audio, 0 video tokens, context 2048");
}
END_TEST

START_TEST(facts_lines)
{
    char line[192];
    vr_facts facts = { .regime = "mix", .n_frames = 35, .n_kept = 17, .n_high = 3, .n_tokens = 1180, .n_tokens_before = 2244 };
    ck_assert_str_eq(vr_record_facts_line(&facts, line, sizeof line),
                     "kept 17 of 35 frames, 1,180 of 2,244 tokens (mix: 3 frames at high resolution)");
    facts.regime = "prune";
    ck_assert_str_eq(vr_record_facts_line(&facts, line, sizeof line), "kept 17 of 35 frames, 1,180 of 2,244 tokens (prune)");
    facts.regime = NULL;
    ck_assert_str_eq(vr_record_facts_line(&facts, line, sizeof line), "");
}
END_TEST

START_TEST(a_turn_as_json)
{
    const int64_t indices[] = { 0, 5 };
    const double seconds[] = { 0, 0.25 };
    const vr_plan plan = {
        .n_frames_total = 10, .n_frames = 2, .frame_indices = indices, .frame_seconds = seconds, .context = 9
    };
    const vr_recipe recipe = { .system = "s", .name = "n", .cpu_level = "c", .precision = "auto", .kv = "f16" };
    const vr_answer said = { .text = "Yes.", .n_ids = 2, .n_prompt_rows = 7, .n_reused_rows = 1, .stop = VR_STOP_LENGTH };
    const vr_sampling sampling = { .temperature = 0.9f, .top_k = 50, .top_p = 1, .repetition_penalty = 1, .seed = UINT64_MAX };
    const vr_timing timings[] = { { "scan", 0.5, 0, NULL }, { "answer", 0.25, 2, "tokens" } };
    const vr_frame_fact frames[] = { { .kept = true, .high = true, .n_tokens = 5 }, { .kept = false } };
    const vr_facts facts = { .regime = "mix",
                             .n_steps = 1,
                             .steps = { { "select", 2, 1, "frames" } },
                             .n_frames = 2,
                             .frames = frames,
                             .n_tokens_before = 6,
                             .n_tokens = 5 };
    const vr_record record = { 3, "Is it?", &said, &recipe, &plan, &facts, &sampling, timings, 2 };
    start(&(vr_options){ 0 }, false);
    vr_record_turn_json(screen, &record);
    expect("{\"turn\":3,\"question\":\"Is it?\",\"answer\":\"Yes.\",\"stop\":\"length\","
           "\"ids\":{\"prompt\":7,\"reused\":1,\"dropped\":0,\"dropped_turns\":0,\"answer\":2},"
           "\"sampling\":{\"temperature\":0.9,\"top_k\":50,\"top_p\":1,\"repetition_penalty\":1,\"seed\":18446744073709551615},"
           "\"plan\":{\"frames_total\":10,\"frames\":2,\"frame_indices\":[0,5],\"frame_seconds\":[0,0.25],\"audio_clips\":0,"
           "\"video_rows\":0,\"audio_rows\":0,\"context\":9,\"weights_bytes\":0,\"scratch_bytes\":0,\"cache_bytes\":0,"
           "\"rows_bytes\":0},\"facts\":{\"regime\":\"mix\","
           "\"steps\":[{\"step\":\"select\",\"before\":2,\"after\":1,\"unit\":\"frames\"}],\"tokens_before\":6,\"tokens\":5,"
           "\"frames_kept\":[0],\"frames_high\":[0],\"frame_tokens\":[5,0]},\"timings\":[{\"stage\":\"scan\",\"seconds\":0.5,"
           "\"count\":0,\"unit\":null},"
           "{\"stage\":\"answer\",\"seconds\":0.25,\"count\":2,\"unit\":\"tokens\"}],\"version\":\"" VIDRUN_VERSION
           "\",\"system\":\"s\",\"weights\":\"n\",\"cpu\":\"c\",\"precision\":\"auto\",\"kv\":\"f16\"}\n");
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("report");
    TCase *const all = tcase_create("report");
    tcase_add_test(all, levels_of_the_log);
    tcase_add_test(all, quiet_leaves_errors);
    tcase_add_test(all, the_bar_goes_before_anything_comes);
    tcase_add_test(all, no_bar);
    tcase_add_test(all, timings_wait_for_the_end_of_the_line);
    tcase_add_test(all, a_warning_behind_half_an_answer);
    tcase_add_test(all, more_timings_than_are_kept);
    tcase_add_test(all, plan_lines);
    tcase_add_test(all, facts_lines);
    tcase_add_test(all, a_turn_as_json);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
