/*
 * dump_test.c - stages written as NumPy files: bytes, parts, prefixes, and that nothing of a failed dump stays.
 *
 *   vr_dump_* -> temporary folder -> file read back byte by byte (and by NumPy itself where Python has it)
 */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dump.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static char folder[TEMPORARY_PATH];

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-dump-XXXXXX")));
}

/* Number of files; they are removed, and the folder too. */
static int empty_folder(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[TEMPORARY_PATH + 300];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0) rmdir(path);
        n++;
    }
    closedir(dir);
    return n;
}

static void remove_folder(void)
{
    empty_folder();
    rmdir(folder);
}

/* The file NAME has this dictionary and, after it, these bytes. */
static void expect_file(const char *name, const char *dictionary, const void *data, size_t n_bytes)
{
    char path[TEMPORARY_PATH + 64];
    unsigned char bytes[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is missing", path);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    ck_assert_uint_gt(n, 10);
    ck_assert_mem_eq(bytes, "\x93NUMPY\x01\x00", 8);
    const size_t header = (size_t)(10 + bytes[8] + 256 * bytes[9]);
    ck_assert_uint_eq(header % 64, 0);
    ck_assert_uint_eq(n, header + n_bytes);
    ck_assert_mem_eq(bytes + 10, dictionary, strlen(dictionary));
    for (size_t i = 10 + strlen(dictionary); i < header - 1; i++) ck_assert_int_eq(bytes[i], ' ');
    ck_assert_int_eq(bytes[header - 1], '\n');
    ck_assert(n_bytes == 0 || memcmp(bytes + header, data, n_bytes) == 0);
}

static vr_dump *open_dump(void)
{
    vr_dump *dump = NULL;
    vr_err e = { 0 };
    ck_assert_msg(vr_dump_open(&dump, folder, &e) == VR_OK, "%s", e.text);
    return dump;
}

static void close_dump(vr_dump *dump)
{
    vr_err e = { 0 };
    ck_assert_msg(vr_dump_close(dump, &e) == VR_OK, "%s", e.text);
}

static const float floats[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -10, 1e-30f };
static const int32_t ids[3] = { 1, -2, INT32_MAX };
static const uint8_t bytes_written[6] = { 0, 1, 127, 128, 254, 255 };

START_TEST(whole_stages)
{
    vr_dump *dump = open_dump();
    vr_dump_f32(dump, "vit", floats, 2, (const int64_t[]){ 3, 4 });
    vr_dump_f32(dump, "four", floats, 4, (const int64_t[]){ 1, 2, 3, 2 });
    vr_dump_i32(dump, "ids", ids, 1, (const int64_t[]){ 3 });
    vr_dump_f32(dump, "none", NULL, 2, (const int64_t[]){ 0, 4 });
    vr_dump_u8(dump, "bytes", bytes_written, 2, (const int64_t[]){ 1, 3 });
    vr_dump_u8(dump, "bytes", bytes_written + 3, 2, (const int64_t[]){ 1, 3 });
    close_dump(dump);
    expect_file("bytes.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", bytes_written,
                sizeof bytes_written);
    expect_file("vit.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", floats, sizeof floats);
    expect_file("four.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 2), }", floats, sizeof floats);
    expect_file("ids.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", ids, sizeof ids);
    expect_file("none.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", NULL, 0);
    ck_assert_int_eq(empty_folder(), 5);
}
END_TEST

START_TEST(parts_and_prefixes)
{
    vr_dump *dump = open_dump();
    vr_dump_f32(dump, "x", floats, 2, (const int64_t[]){ 1, 4 });
    vr_dump_prefix(dump, "turn2.");
    vr_dump_f32(dump, "x", floats + 8, 2, (const int64_t[]){ 1, 4 });
    vr_dump_prefix(dump, "");
    vr_dump_f32(dump, "x", floats + 4, 2, (const int64_t[]){ 2, 4 });
    close_dump(dump);
    expect_file("x.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", floats, sizeof floats);
    expect_file("turn2.x.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }", floats + 8, 16);
}
END_TEST

START_TEST(more_stages_than_open_files)
{
    const struct rlimit few = { 32, 32 };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0); /* this test is a process of its own */
    vr_dump *dump = open_dump();
    char name[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 200; i++)
            snprintf(name, sizeof name, "stage%d", i), vr_dump_i32(dump, name, ids, 1, (const int64_t[]){ 3 });
    close_dump(dump);
    const int32_t twice[6] = { 1, -2, INT32_MAX, 1, -2, INT32_MAX };
    expect_file("stage199.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }", twice, sizeof twice);
    ck_assert_int_eq(empty_folder(), 200);
}
END_TEST

START_TEST(numpy_reads_it)
{
    vr_dump *dump = open_dump();
    vr_dump_f32(dump, "a", floats, 3, (const int64_t[]){ 2, 3, 2 });
    vr_dump_i32(dump, "b", ids, 1, (const int64_t[]){ 3 });
    close_dump(dump);
    const char *python = getenv("PYTHON");
    char command[4 * TEMPORARY_PATH];
    if (!python || !*python) python = "python3";
    snprintf(command, sizeof command, "%s -c 'import numpy' 2>/dev/null", python);
    if (system(command) != 0) {
        printf("SKIP: numpy_reads_it: %s has no NumPy\n", python);
        return;
    }
    snprintf(command, sizeof command,
             "%s -c 'import numpy as n; a = n.load(\"%s/a.npy\"); b = n.load(\"%s/b.npy\"); "
             "assert a.shape == (2, 3, 2) and a.dtype == n.float32 and a[1, 2, 0] == -10; "
             "assert b.dtype == n.int32 and b.tolist() == [1, -2, 2**31 - 1]'",
             python, folder, folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(null_is_legal)
{
    vr_err e = { 0 };
    vr_dump_f32(NULL, "x", floats, 1, (const int64_t[]){ 1 });
    vr_dump_i32(NULL, "x", ids, 1, (const int64_t[]){ 1 });
    vr_dump_prefix(NULL, "x");
    ck_assert_int_eq(vr_dump_close(NULL, &e), VR_OK);
}
END_TEST

START_TEST(folders)
{
    char path[TEMPORARY_PATH + 64], message[2 * TEMPORARY_PATH];
    vr_dump *dump = NULL;
    vr_err e = { 0 };
    snprintf(path, sizeof path, "%s/new", folder);
    ck_assert_int_eq(vr_dump_open(&dump, path, &e), VR_OK); /* is made */
    close_dump(dump);
    ck_assert_int_eq(vr_dump_open(&dump, path, &e), VR_OK); /* is there already */
    close_dump(dump);
    snprintf(path, sizeof path, "%s/none/new", folder);
    snprintf(message, sizeof message, "%s: the folder cannot be made: No such file or directory", path);
    ck_assert_int_eq(vr_dump_open(&dump, path, &e), VR_ERR_OTHER);
    ck_assert_str_eq(e.text, message);
    ck_assert_ptr_null(dump);
    ck_assert_int_eq(vr_dump_open(&dump, "/dev/null", &e), VR_ERR_OTHER);
    ck_assert_str_eq(e.text, "/dev/null: is not a folder, dumps cannot be written there");
}
END_TEST

START_TEST(first_error_is_kept_and_nothing_stays)
{
    vr_dump *dump = open_dump();
    char path[TEMPORARY_PATH + 64], worse[TEMPORARY_PATH + 64], expected[2 * TEMPORARY_PATH];
    vr_dump_f32(dump, "good", floats, 1, (const int64_t[]){ 12 });
    snprintf(path, sizeof path, "%s/bad.npy.part", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* in the way of a stage */
    vr_dump_f32(dump, "bad", floats, 1, (const int64_t[]){ 12 });
    snprintf(worse, sizeof worse, "%s/worse.npy.part", folder);
    ck_assert_int_eq(mkdir(worse, 0700), 0);
    vr_dump_f32(dump, "worse", floats, 1, (const int64_t[]){ 12 });
    vr_dump_f32(dump, "later", floats, 1, (const int64_t[]){ 12 });
    vr_err e = { 0 };
    ck_assert_int_eq(vr_dump_close(dump, &e), VR_ERR_OTHER);
    snprintf(expected, sizeof expected, "%s: cannot be opened for writing: Is a directory", path);
    ck_assert_str_eq(e.text, expected);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(worse), 0);
    ck_assert_int_eq(empty_folder(), 0);
}
END_TEST

/* A limit on the size of files stands for the full disk. Few bytes wait in stdio's buffer until fclose, many fail in fwrite. */
static void fill_disk(rlim_t bytes, int64_t count)
{
    static const float many[4096];
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = { bytes, before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    vr_dump *dump = open_dump();
    vr_dump_f32(dump, "small", many, 1, (const int64_t[]){ 8 });
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    vr_dump_f32(dump, "large", many, 1, (const int64_t[]){ count });
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    vr_err e = { 0 };
    char expected[2 * TEMPORARY_PATH];
    ck_assert_int_eq(vr_dump_close(dump, &e), VR_ERR_OTHER);
    snprintf(expected, sizeof expected, "%s/large.npy.part: cannot be written: File too large", folder);
    ck_assert_str_eq(e.text, expected);
    ck_assert_int_eq(empty_folder(), 0);
}

START_TEST(full_disk)
{
    fill_disk(8192, 4096);
    fill_disk(300, 16);
}
END_TEST

START_TEST(earlier_files_survive_a_failure)
{
    vr_dump *dump = open_dump();
    vr_dump_i32(dump, "x", ids, 1, (const int64_t[]){ 3 });
    close_dump(dump);
    dump = open_dump();
    vr_dump_i32(dump, "x", ids, 1, (const int64_t[]){ 2 });
    char path[TEMPORARY_PATH + 64];
    snprintf(path, sizeof path, "%s/y.npy.part", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    vr_dump_i32(dump, "y", ids, 1, (const int64_t[]){ 2 });
    ck_assert_int_eq(vr_dump_close(dump, NULL), VR_ERR_OTHER);
    expect_file("x.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", ids, sizeof ids);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dump");
    TCase *all = tcase_create("files");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, make_folder, remove_folder);
    tcase_add_test(all, whole_stages);
    tcase_add_test(all, parts_and_prefixes);
    tcase_add_test(all, more_stages_than_open_files);
    tcase_add_test(all, numpy_reads_it);
    tcase_add_test(all, null_is_legal);
    tcase_add_test(all, folders);
    tcase_add_test(all, first_error_is_kept_and_nothing_stays);
    tcase_add_test(all, full_disk);
    tcase_add_test(all, earlier_files_survive_a_failure);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
