/*
 * json_test.c - JSON strings and numbers, text made safe for terminals and written whole, prompts read from streams.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/questions.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static char *text;
static size_t n_bytes;
static FILE *memory;

static void open_memory(void)
{
    memory = open_memstream(&text, &n_bytes);
    ck_assert_ptr_nonnull(memory);
}

static void expect(const char *wanted)
{
    ck_assert_int_eq(fclose(memory), 0);
    ck_assert_str_eq(text, wanted);
    free(text);
}

static void string_becomes(const char *value, const char *wanted)
{
    open_memory();
    vr_json j = { memory, false };
    vr_json_text(&j, NULL, value);
    expect(wanted);
}

START_TEST(strings)
{
    string_becomes("", "\"\"");
    string_becomes("a\"b\\c/", "\"a\\\"b\\\\c/\"");
    string_becomes("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"");
    string_becomes("\x01\x1b\x7f", "\"\\u0001\\u001b\\u007f\"");
    string_becomes("\xC2\x80\xC2\x9F\xC2\xA0", "\"\\u0080\\u009f\xC2\xA0\"");
    string_becomes("\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    string_becomes("a\xFFz\xC3", "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
    string_becomes("\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""); /* a surrogate */
    string_becomes(NULL, "null");
}
END_TEST

START_TEST(values_and_commas)
{
    open_memory();
    vr_json j = { memory, false };
    vr_json_open(&j, NULL, '{');
    vr_json_int(&j, "a", INT64_MIN);
    vr_json_natural(&j, "b", UINT64_MAX);
    vr_json_open(&j, "c", '[');
    vr_json_number(&j, NULL, 0.5);
    vr_json_number(&j, NULL, (double)0.9f);
    vr_json_number(&j, NULL, (double)INFINITY);
    vr_json_number(&j, NULL, (double)NAN);
    vr_json_close(&j, ']');
    vr_json_open(&j, "d", '{');
    vr_json_close(&j, '}');
    vr_json_text(&j, "e\"", "");
    vr_json_close(&j, '}');
    expect("{\"a\":-9223372036854775808,\"b\":18446744073709551615,\"c\":[0.5,0.9,null,null],\"d\":{},\"e\\\"\":\"\"}");
}
END_TEST

START_TEST(control_characters_are_made_visible)
{
    open_memory();
    static const char raw[] = "a\x1b[31m\r\n\t\0\x7f\xC2\x9B\xC3\xA9\xFF";
    vr_output_visible(memory, raw, sizeof raw - 1, "\n\t");
    expect("a^[[31m^M\n\t^@^?<U+009B>\xC3\xA9\xEF\xBF\xBD");
    open_memory();
    vr_output_visible(memory, "a\nb", 3, "");
    expect("a^Jb");
}
END_TEST

START_TEST(output_ends_its_line_once)
{
    int ends[2];
    char bytes[16] = "";
    ck_assert_int_eq(pipe(ends), 0);
    vr_output out;
    vr_output_open(&out, ends[1]);
    ck_assert(!out.terminal);
    ck_assert(vr_output_end_line(&out, false));
    ck_assert(vr_output_write(&out, "a\x1b", 2));
    ck_assert(out.line_open);
    ck_assert(vr_output_end_line(&out, false));
    ck_assert(vr_output_end_line(&out, false));
    ck_assert(vr_output_end_line(&out, true));
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], bytes, sizeof bytes), 4);
    ck_assert_mem_eq(bytes, "a\x1b\n\n", 4);
    close(ends[0]);
}
END_TEST

START_TEST(output_on_a_terminal_is_made_visible)
{
    int ends[2];
    char bytes[16] = "";
    ck_assert_int_eq(pipe(ends), 0);
    vr_output out = { .file = ends[1], .terminal = true };
    ck_assert(vr_output_write(&out, "a\x1b\n", 3));
    ck_assert(!out.line_open);
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], bytes, sizeof bytes), 4);
    ck_assert_mem_eq(bytes, "a^[\n", 4);
    close(ends[0]);
}
END_TEST

START_TEST(output_keeps_its_first_error)
{
    const int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        printf("SKIP: output_keeps_its_first_error: no /dev/full\n");
        return;
    }
    vr_output out;
    vr_err e;
    vr_output_open(&out, full);
    ck_assert_int_eq(vr_output_result(&out, "the answer", &e), VR_OK);
    ck_assert(!vr_output_write(&out, "a", 1));
    ck_assert(!vr_output_write(&out, "b", 1));
    ck_assert_int_eq(vr_output_result(&out, "the answer", &e), VR_ERR_OTHER);
    ck_assert_str_eq(e.text, "cannot write the answer: No space left on device");
    out.error = EPIPE;
    ck_assert_int_eq(vr_output_result(&out, "the answer", &e), VR_ERR_OTHER);
    ck_assert_str_eq(e.text, "");
    close(full);
}
END_TEST

static volatile sig_atomic_t n_alarms;

static void on_alarm(int number)
{
    (void)number;
    n_alarms++;
}

static void expect_run(int file, char letter, size_t n)
{
    char bytes[4096];
    while (n > 0) {
        const ssize_t got = read(file, bytes, n < sizeof bytes ? n : sizeof bytes);
        if (got < 0 && errno == EINTR) continue;
        ck_assert_int_gt(got, 0);
        ssize_t n_same = 0; /* one check a piece: Check writes a line of its own for every one */
        for (ssize_t i = 0; i < got; i++) n_same += bytes[i] == letter;
        ck_assert_int_eq(n_same, got);
        n -= (size_t)got;
    }
}

/* A pipe that is full while signals arrive every millisecond, its reader late: blocking, then as a program left it non-blocking. */
START_TEST(signals_cut_no_write)
{
    enum { N = 1 << 20 };
    char *const bytes = malloc(N);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'a', N);
    for (int blocking = 1; blocking >= 0; blocking--) {
        int ends[2];
        ck_assert_int_eq(pipe(ends), 0);
        const pid_t reader = fork();
        ck_assert_int_ge(reader, 0);
        if (reader == 0) {
            close(ends[1]);
            nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
            expect_run(ends[0], 'a', N);
            char more;
            _exit(read(ends[0], &more, 1) == 0 ? 0 : 1);
        }
        close(ends[0]);
        if (!blocking) fcntl(ends[1], F_SETFL, O_NONBLOCK);
        const struct sigaction action = { .sa_handler = on_alarm };
        const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
        sigaction(SIGALRM, &action, NULL);
        n_alarms = 0;
        setitimer(ITIMER_REAL, &often, NULL);
        const int error = vr_write_whole(ends[1], bytes, N);
        setitimer(ITIMER_REAL, &never, NULL);
        ck_assert_int_eq(error, 0);
        ck_assert_int_gt(n_alarms, 10);
        close(ends[1]);
        int status = -1;
        while (waitpid(reader, &status, 0) < 0 && errno == EINTR) {
        }
        ck_assert_int_eq(status, 0);
    }
    free(bytes);
}
END_TEST

static FILE *stream_of(const char *bytes, size_t n)
{
    FILE *const file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
    rewind(file);
    return file;
}

START_TEST(lines_of_questions)
{
    static const char bytes[] = "\n  \t\none\r\n\ntwo\r\rx\nlast";
    FILE *const file = stream_of(bytes, sizeof bytes - 1);
    vr_question p = { 0 };
    vr_err e;
    static const char *const wanted[] = { "one", "two\r\rx", "last" };
    static const int lines[] = { 3, 5, 6 };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(vr_question_read(&p, file, &e), VR_OK);
        ck_assert(!p.end);
        ck_assert_str_eq(p.text, wanted[i]);
        ck_assert_int_eq((int)p.line, lines[i]);
    }
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_OK);
    ck_assert(p.end);
    vr_question_free(&p);
    fclose(file);
}
END_TEST

START_TEST(nothing_to_read)
{
    FILE *const file = stream_of("\n\n", 2);
    vr_question p = { 0 };
    vr_err e;
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_OK);
    ck_assert(p.end);
    vr_question_free(&p);
    fclose(file);
}
END_TEST

START_TEST(lines_that_are_refused)
{
    FILE *file = stream_of("good\nba\0d\n", 10);
    vr_question p = { 0 };
    vr_err e;
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_OK);
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_ERR_USAGE);
    ck_assert_str_eq(e.text, "standard input, line 2: a NUL byte in the prompt");
    fclose(file);
    vr_question_free(&p);

    char *const bytes = malloc(VR_MAX_PROMPT + 1);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'a', VR_MAX_PROMPT + 1);
    file = stream_of(bytes, VR_MAX_PROMPT);
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_OK);
    ck_assert_uint_eq(strlen(p.text), VR_MAX_PROMPT);
    fclose(file);
    file = stream_of(bytes, VR_MAX_PROMPT + 1);
    ck_assert_int_eq(vr_question_read(&p, file, &e), VR_ERR_LIMIT);
    ck_assert_str_eq(e.text, "standard input, line 2: the prompt is longer than 1048576 bytes");
    fclose(file);
    free(bytes);
    vr_question_free(&p);
}
END_TEST

START_TEST(a_prompt_file)
{
    char path[TEMPORARY_PATH];
    const int fd = mkstemp(temporary_name(path, sizeof path, "vidrun-prompt-XXXXXX"));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, "one\n\ntwo\r\n\n", 11), 11);
    close(fd);
    vr_question p = { 0 };
    vr_err e;
    ck_assert_int_eq(vr_question_read_file(&p, "prompt-file", path, &e), VR_OK);
    ck_assert_str_eq(p.text, "one\n\ntwo");
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert_int_eq(vr_question_read_file(&p, "prompt-file", path, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "--prompt-file"));
    ck_assert_ptr_nonnull(strstr(e.text, "the prompt is empty"));
    unlink(path);
    ck_assert_int_eq(vr_question_read_file(&p, "prompt-file", path, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "No such file"));
    ck_assert_int_eq(vr_question_read_file(&p, "prompt-file", "tests", &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "Is a directory"));
    vr_question_free(&p);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("json");
    TCase *const all = tcase_create("text");
    tcase_add_test(all, strings);
    tcase_add_test(all, values_and_commas);
    tcase_add_test(all, control_characters_are_made_visible);
    tcase_add_test(all, output_ends_its_line_once);
    tcase_add_test(all, output_on_a_terminal_is_made_visible);
    tcase_add_test(all, output_keeps_its_first_error);
    tcase_add_test(all, signals_cut_no_write);
    tcase_add_test(all, lines_of_questions);
    tcase_add_test(all, nothing_to_read);
    tcase_add_test(all, lines_that_are_refused);
    tcase_add_test(all, a_prompt_file);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
