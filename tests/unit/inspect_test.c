/*
 * inspect_test.c - vidrun-inspect as its users meet it: output, messages, exit status.
 *
 *   file made by hand -> $VIDRUN_BUILD/vidrun-inspect (default build) -> text and status compared
 *
 * The digests were computed by Python's hashlib, not by the library under test.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/gguf_writer.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static const char sha_a[] = "206402cab345415716d9a33469feba57a90dc200c064bc0190b4191af058b0eb"; /* bytes 1..12 */
static const char sha_b[] = "ba22b7dc95f6cc8765757be4bccf37cd92ece6d4987dc26a31e274c9be236921"; /* bytes 0x40..0x4f */

static char program[4096], path[TEMPORARY_PATH];

static void make_path(void)
{
    const int fd = mkstemp(temporary_name(path, sizeof path, "vidrun-inspect-XXXXXX"));
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

static void store(writer *f)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(f->bytes, 1, f->n, file), f->n);
    ck_assert_int_eq(fclose(file), 0);
    writer_free(f);
}

/* Run `vidrun-inspect ARGUMENTS` in a shell, both streams into out; the status is returned. */
static int run(char *out, size_t size, const char *arguments)
{
    char command[8192];
    snprintf(command, sizeof command, "'%s' %s 2>&1", program, arguments);
    fflush(NULL);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    const size_t n = fread(out, 1, size - 1, pipe);
    out[n] = '\0';
    const int status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* options before the file; the text must hold, or be where exact, the expected */
static void expect(const char *options, int status, const char *expected)
{
    char arguments[TEMPORARY_PATH + 256], out[16384];
    snprintf(arguments, sizeof arguments, "%s %s", options, path);
    const int rc = run(out, sizeof out, arguments);
    ck_assert_msg(rc == status, "%s: status %d, expected %d: %s", options, rc, status, out);
    ck_assert_msg(strstr(out, expected) != NULL, "%s: no \"%s\" in: %s", options, expected, out);
    for (const char *c = out; *c; c++) ck_assert_msg((unsigned char)*c >= 0x20 || *c == '\n', "control character in: %s", out);
}

/* Tensors a (bytes 1..12) and b (bytes 0x40..0x4f) with n_digests digests, given or correct. */
static void store_digests(uint64_t n_digests, const char *first)
{
    writer f = { 0 };
    put_head(&f, 3, 2, 1);
    put_array(&f, "vidrun.tensor_sha256", 8, n_digests);
    for (uint64_t i = 0; i < n_digests; i++) put_string(&f, i == 0 ? first : sha_b);
    put_tensor(&f, "a", 1, 0, 2, (uint64_t)3, (uint64_t)2);
    put_tensor(&f, "b", 0, 32, 1, (uint64_t)4);
    pad(&f, 32);
    for (uint8_t i = 1; i <= 12; i++) put_u8(&f, i);
    pad(&f, 32);
    for (uint8_t i = 0x40; i < 0x50; i++) put_u8(&f, i);
    store(&f);
}

START_TEST(usage)
{
    char out[4096];
    ck_assert_int_eq(run(out, sizeof out, ""), 2);
    ck_assert_str_eq(out, "vidrun-inspect: no file given\nTry vidrun-inspect --help\n");
    ck_assert_int_eq(run(out, sizeof out, "a b"), 2);
    ck_assert_ptr_nonnull(strstr(out, "more than one file given"));
    ck_assert_int_eq(run(out, sizeof out, "a --verfy"), 2);
    ck_assert_ptr_nonnull(strstr(out, "unknown option --verfy"));
    ck_assert_int_eq(run(out, sizeof out, "--help"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Usage: vidrun-inspect FILE"));
    ck_assert_int_eq(run(out, sizeof out, "--version"), 0);
    ck_assert(strncmp(out, "vidrun-inspect ", 15) == 0);
    ck_assert_int_eq(run(out, sizeof out, "-- --help"), 3);
    ck_assert_str_eq(out, "vidrun-inspect: --help: cannot be opened: No such file or directory\n");
    ck_assert_int_eq(run(out, sizeof out, "tests"), 3);
    ck_assert_str_eq(out, "vidrun-inspect: tests: is a folder, not a weight file\n");
}
END_TEST

START_TEST(lists)
{
    writer f = { 0 };
    write_sample(&f);
    store(&f);
    expect("", 0, "12 keys, 5 tensors, 1096 bytes in all\n");
    expect("--keys", 0, "wide                                         u64       18446744073709551615\n");
    expect("--keys", 0, "vit.norm_epsilon                             f32       1e-06\n");
    expect("--keys", 0, "tokens                                       [string]  3: \"<unk>\", \"\", \"a\\x00\\x1b\\xff\"\n");
    expect("--keys", 0, "strip                                        [bool]    2: true, false\n");
    expect("--tensors", 0, "w                                            F16    [2,3]                     12 bytes at 704\n");
    expect("--tensors", 0, "F32        2 tensors              40 bytes\n");
    expect("--keys --json", 0, "{\"name\":\"types\",\"type\":\"[i32]\",\"count\":2,\"first\":[1,-6]}");
    expect("--keys --json", 0, "\"first\":[\"<unk>\",\"\",\"a\xef\xbf\xbd\\u001b\xef\xbf\xbd\"]}");
    expect("--tensors --json", 0, "{\"name\":\"h\",\"type\":\"BF16\",\"shape\":[2,2,1],\"bytes\":8,\"offset\":896}");
}
END_TEST

START_TEST(long_arrays_are_shortened)
{
    writer f = { 0 };
    put_head(&f, 3, 0, 1), put_array(&f, "a", 4, 1000);
    for (uint32_t i = 0; i < 1000; i++) put_u32(&f, i);
    store(&f);
    expect("--keys", 0, " 1000: 0, 1, 2, 3, 4, 5, 6, 7, ...\n");
    expect("--keys --json", 0, "\"count\":1000,\"first\":[0,1,2,3,4,5,6,7]}");
}
END_TEST

START_TEST(digests)
{
    store_digests(2, sha_a);
    expect("--verify", 0, "SHA-256: 0 of 2 tensors differ\n");
    expect("--verify --tensors --json", 0, "\"offset\":320,\"sha256\":\"equal\"}");
    store_digests(2, sha_b);
    expect("--verify", 1,
           "a                                            F16    [2,3]                     12 bytes at 288, SHA-256 differs\n");
    expect("--verify", 1, ": 1 digests differ, 0 tensors hold NaN or Inf\n");
    expect("--verify --json", 1, "\"different\":1}");
    store_digests(2, "");
    expect("--verify", 1, "SHA-256: 1 of 2 tensors differ\n");
    store_digests(1, sha_a);
    expect("--verify", 3, ": key \"vidrun.tensor_sha256\" has 1 digests for 2 tensors\n");
    writer f = { 0 };
    put_head(&f, 3, 0, 0);
    store(&f);
    expect("--verify", 3, ": key \"vidrun.tensor_sha256\" is missing\n");
}
END_TEST

START_TEST(not_finite)
{
    static const uint32_t single[4] = { 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff }; /* Inf, -Inf, NaN, the largest */
    static const uint16_t half[4] = { 0x7c00, 0xfe01, 0x7c01, 0x7bff };                   /* Inf, NaN, NaN, the largest */
    static const uint16_t brain[4] = { 0xff80, 0x7f81, 0x7f7f, 0x8000 };                  /* -Inf, NaN, the largest, -0 */
    writer f = { 0 };
    put_head(&f, 3, 4, 0);
    put_tensor(&f, "single", 0, 0, 1, (uint64_t)4), put_tensor(&f, "half", 1, 32, 1, (uint64_t)4);
    put_tensor(&f, "brain", 30, 64, 1, (uint64_t)4), put_tensor(&f, "bytes", 24, 96, 1, (uint64_t)4);
    pad(&f, 32), put(&f, single, sizeof single), pad(&f, 32), put(&f, half, sizeof half);
    pad(&f, 32), put(&f, brain, sizeof brain), pad(&f, 32), put_u32(&f, UINT32_MAX);
    store(&f);
    expect("--nan", 1, ", 1 NaN, 2 Inf\nhalf ");
    expect("--nan", 1, ", 2 NaN, 1 Inf\nbrain ");
    expect("--nan", 1, ", 1 NaN, 1 Inf\nF32 ");
    expect("--nan", 1, "NaN or Inf: in 3 of 4 tensors\n");
    expect("--nan --json", 1, "\"not_finite\":3}");
    expect("--nan --json --tensors", 1, "\"offset\":256,\"nan\":1,\"inf\":1}");
    expect("", 0, "4 tensors");
}
END_TEST

START_TEST(output_that_cannot_be_written)
{
    char arguments[TEMPORARY_PATH + 256], out[1024];
    writer f = { 0 };
    write_sample(&f);
    store(&f);
    if (access("/dev/full", W_OK) != 0) {
        printf("SKIP: output_that_cannot_be_written: no /dev/full here\n");
        return;
    }
    snprintf(arguments, sizeof arguments, "%s 2>&1 >/dev/full", path);
    ck_assert_int_eq(run(out, sizeof out, arguments), 1);
}
END_TEST

int main(void)
{
    const char *build = getenv("VIDRUN_BUILD");
    snprintf(program, sizeof program, "%s/vidrun-inspect", build ? build : "build");
    if (access(program, X_OK) != 0) {
        printf("SKIP: inspect_test: %s is not built\n", program);
        return 0;
    }
    Suite *suite = suite_create("inspect");
    TCase *all = tcase_create("program");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, make_path, remove_path);
    tcase_add_test(all, usage);
    tcase_add_test(all, lists);
    tcase_add_test(all, long_arrays_are_shortened);
    tcase_add_test(all, digests);
    tcase_add_test(all, not_finite);
    tcase_add_test(all, output_that_cannot_be_written);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
