/*
 * weights_test.c - the weight file reader: what it gives, how it scales, what it reads of a file.
 *
 * What it refuses at opening: weights_refuse_test.c.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"
#include "tests/unit/weights_support.h"

START_TEST(scalars)
{
    void *copy;
    vr_weights *w = open_sample(&copy);
    vr_err e = { 0 };
    int i = 0;
    ck_assert_int_eq(vr_weights_int(w, &i, 1, 512, &e, "%s.block_count", "vit"), VR_OK);
    ck_assert_int_eq(i, 39);
    ck_assert_int_eq(vr_weights_int(w, &i, -128, 127, &e, "small"), VR_OK);
    ck_assert_int_eq(i, -2);
    float f = 0;
    ck_assert_int_eq(vr_weights_float(w, &f, &e, "vit.norm_epsilon"), VR_OK);
    ck_assert(f == 1e-6f);
    ck_assert_int_eq(vr_weights_float(w, &f, &e, "double"), VR_OK);
    ck_assert(f == 0.5f);
    bool b = false;
    ck_assert_int_eq(vr_weights_bool(w, &b, &e, "audio.present"), VR_OK);
    ck_assert(b);
    vr_string s;
    ck_assert_int_eq(vr_weights_string(w, &s, &e, "general.architecture"), VR_OK);
    ck_assert_uint_eq(s.n_bytes, 6);
    ck_assert_mem_eq(s.data, "vidrun", 6);
    ck_assert(vr_weights_has(w, "small") && !vr_weights_has(w, "smal") && !vr_weights_has(w, "smalll"));
    ck_assert_str_eq(vr_weights_path(w), NAME);
    vr_weights_free(w);
    vr_weights_free(NULL);
    free(copy);
}
END_TEST

START_TEST(arrays)
{
    void *copy;
    vr_weights *w = open_sample(&copy);
    vr_err e = { 0 };
    float mean[3] = { 0 };
    ck_assert_int_eq(vr_weights_floats(w, mean, 3, &e, "pixel.mean"), VR_OK);
    ck_assert(mean[0] == 0.25f && mean[1] == 0.5f && mean[2] == 0.75f);
    int n = 0;
    ck_assert_int_eq(vr_weights_array(w, &n, &e, "tokens"), VR_OK);
    ck_assert_int_eq(n, 3);
    static const vr_string expected[3] = { { "<unk>", 5 }, { "", 0 }, { "a\0\x1b\xff", 4 } };
    for (int i = 0; i < 3; i++) {
        vr_string s;
        ck_assert_int_eq(vr_weights_array_string(w, "tokens", i, &s, &e), VR_OK);
        ck_assert_uint_eq(s.n_bytes, expected[i].n_bytes);
        ck_assert(s.n_bytes == 0 || memcmp(s.data, expected[i].data, s.n_bytes) == 0);
    }
    int v = 0;
    ck_assert_int_eq(vr_weights_array_int(w, "types", 1, &v, &e), VR_OK);
    ck_assert_int_eq(v, -6);
    ck_assert_int_eq(vr_weights_array_int(w, "strip", 0, &v, &e), VR_OK);
    ck_assert_int_eq(v, 1);
    float x = 0;
    ck_assert_int_eq(vr_weights_array_float(w, "pixel.mean", 2, &x, &e), VR_OK);
    ck_assert(x == 0.75f);
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(wrong_keys)
{
    void *copy;
    vr_weights *w = open_sample(&copy);
    vr_err e;
    int i;
    float f, mean[4];
    bool b;
    vr_string s;
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "vit.head_count"), NAME ": key \"vit.head_count\" is missing");
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "template.%s.next", "a\n\"b"),
            NAME ": key \"template.a\\x0a\\x22b.next\" is missing");
    REFUSED(vr_weights_int(w, &i, 1, 38, &e, "vit.block_count"),
            NAME ": key \"vit.block_count\" holds 39, accepted are 1 to 38");
    REFUSED(vr_weights_int(w, &i, 40, 99, &e, "vit.block_count"),
            NAME ": key \"vit.block_count\" holds 39, accepted are 40 to 99");
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "wide"), NAME ": key \"wide\" holds 9223372036854775807, accepted are 0 to 9");
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "double"), NAME ": key \"double\" has type f64, expected an integer");
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "audio.present"),
            NAME ": key \"audio.present\" has type bool, expected an integer");
    REFUSED(vr_weights_int(w, &i, 0, 9, &e, "types"), NAME ": key \"types\" has type array of i32, expected an integer");
    REFUSED(vr_weights_float(w, &f, &e, "small"), NAME ": key \"small\" has type i8, expected f32");
    REFUSED(vr_weights_bool(w, &b, &e, "small"), NAME ": key \"small\" has type i8, expected bool");
    REFUSED(vr_weights_string(w, &s, &e, "tokens"), NAME ": key \"tokens\" has type array of string, expected string");
    REFUSED(vr_weights_floats(w, mean, 4, &e, "pixel.mean"), NAME ": key \"pixel.mean\" has 3 elements, expected 4");
    REFUSED(vr_weights_floats(w, mean, 2, &e, "pixel.mean"), NAME ": key \"pixel.mean\" has 3 elements, expected 2");
    REFUSED(vr_weights_floats(w, mean, 3, &e, "tokens"),
            NAME ": key \"tokens\" has type array of string, expected array of f32");
    REFUSED(vr_weights_array(w, &i, &e, "small"), NAME ": key \"small\" has type i8, expected an array");
    REFUSED(vr_weights_array_string(w, "tokens", 3, &s, &e), NAME ": key \"tokens\" has 3 elements, number 3 is needed");
    REFUSED(vr_weights_array_string(w, "tokens", -1, &s, &e), NAME ": key \"tokens\" has 3 elements, number -1 is needed");
    REFUSED(vr_weights_array_string(w, "types", 0, &s, &e),
            NAME ": key \"types\" has type array of i32, expected array of string");
    REFUSED(vr_weights_array_float(w, "types", 0, &f, &e), NAME ": key \"types\" has type array of i32, expected array of f32");
    REFUSED(vr_weights_array_int(w, "tokens", 0, &i, &e),
            NAME ": key \"tokens\" has type array of string, expected array of integers or booleans");
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(numbers_must_be_finite)
{
    writer f = { 0 };
    put_head(&f, 3, 0, 3);
    put_key(&f, "nan", 6), put_f32(&f, NAN);
    put_key(&f, "huge", 12), put_f64(&f, 1e300);
    put_array(&f, "a", 6, 2), put_f32(&f, 0), put_f32(&f, -INFINITY);
    void *copy;
    vr_weights *w = accept_file(&f, &copy);
    vr_err e;
    float x, two[2];
    REFUSED(vr_weights_float(w, &x, &e, "nan"), NAME ": key \"nan\" holds a number that is not finite");
    REFUSED(vr_weights_float(w, &x, &e, "huge"), NAME ": key \"huge\" holds a number that is not finite");
    REFUSED(vr_weights_floats(w, two, 2, &e, "a"), NAME ": key \"a\" holds a number that is not finite");
    REFUSED(vr_weights_array_float(w, "a", 1, &x, &e), NAME ": key \"a\" holds a number that is not finite");
    ck_assert_int_eq(vr_weights_array_float(w, "a", 0, &x, &e), VR_OK);
    vr_weights_free(w);
    free(copy);
}
END_TEST

static void count_line(void *cookie, vr_log_level level, const char *text)
{
    ck_assert_int_eq(level, VR_LOG_DEBUG);
    ck_assert_ptr_nonnull(strstr(text, "is not used"));
    ++*(int *)cookie;
}

START_TEST(tensors)
{
    void *copy;
    vr_weights *w = open_sample(&copy);
    vr_err e = { 0 };
    int lines = 0;
    const vr_log log = { count_line, &lines };
    ck_assert_int_eq(vr_weights_unused(w, &log), 5);
    vr_matrix m;
    ck_assert_int_eq(vr_weights_matrix(w, &m, 2, 3, &e, "%s", "w"), VR_OK);
    ck_assert(m.dtype == VR_DTYPE_F16 && m.rows == 2 && m.cols == 3);
    const unsigned char *start = m.data;
    ck_assert_uint_eq(start[1], 1);
    const float *b, *t;
    ck_assert_int_eq(vr_weights_vector(w, &b, 4, &e, "b"), VR_OK);
    ck_assert_int_eq(vr_weights_table(w, &t, 3, 2, &e, "t"), VR_OK);
    ck_assert((const unsigned char *)b == start + 64 && (const unsigned char *)t == start + 128);
    ck_assert_uint_eq((uintptr_t)start % 64, 0);
    ck_assert_int_eq(vr_weights_unused(w, &log), 2);
    ck_assert_int_eq(vr_weights_unused(w, NULL), 2);
    ck_assert_int_eq(lines, 7);

    REFUSED(vr_weights_matrix(w, &m, 3, 2, &e, "w"),
            NAME ": tensor \"w\" is [2,3] F16, expected [3,2] F32, F16, BF16 or quantised");
    REFUSED(vr_weights_table(w, &t, 2, 3, &e, "w"), NAME ": tensor \"w\" is [2,3] F16, expected [2,3] F32");
    REFUSED(vr_weights_vector(w, &b, 5, &e, "b"), NAME ": tensor \"b\" is [4] F32, expected [5] F32");
    REFUSED(vr_weights_vector(w, &b, 6, &e, "t"), NAME ": tensor \"t\" is [3,2] F32, expected [6] F32");
    REFUSED(vr_weights_matrix(w, &m, 2, 2, &e, "h"),
            NAME ": tensor \"h\" is [2,2,1] BF16, expected [2,2] F32, F16, BF16 or quantised");
    ck_assert_int_eq(vr_weights_matrix(w, &m, 2, 64, &e, "q"), VR_OK); /* of a stock type */
    ck_assert(m.dtype == VR_DTYPE_Q8_R16 && (const unsigned char *)m.data != start + 192);
    REFUSED(vr_weights_vector(w, &b, 4, &e, "blk.%d.x", 7), NAME ": tensor \"blk.7.x\" is missing");
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(long_names_are_not_cut_into_others)
{
    char name[VR_MAX_NAME + 2];
    memset(name, 'n', sizeof name);
    name[VR_MAX_NAME] = '\0';
    writer f = { 0 };
    put_head(&f, 3, 0, 1);
    put_key(&f, name, 0), put_u8(&f, 7);
    void *copy;
    vr_weights *w = accept_file(&f, &copy);
    int i = 0;
    vr_err e;
    ck_assert_int_eq(vr_weights_int(w, &i, 0, 9, &e, "%s", name), VR_OK);
    ck_assert_int_eq(vr_weights_int(w, &i, 0, 9, &e, "%sx", name), VR_ERR_WEIGHTS);
    ck_assert_int_eq(vr_weights_int(w, &i, 0, 9, &e, "%s%s", name, name), VR_ERR_WEIGHTS);
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(enumeration)
{
    void *copy;
    vr_weights *w = open_sample(&copy);
    ck_assert_int_eq(vr_weights_n_tensors(w), 5);
    ck_assert_int_eq(vr_weights_n_keys(w), 12);
    vr_weights_tensor t;
    vr_weights_tensor_at(w, 3, &t);
    ck_assert(t.name.n_bytes == 1 && t.name.data[0] == 'h' && t.type == 30 && t.n_dims == 3 && t.n_bytes == 8);
    ck_assert(t.shape[0] == 2 && t.shape[1] == 2 && t.shape[2] == 1);
    ck_assert((const char *)t.data - (const char *)copy == (ptrdiff_t)t.offset);
    vr_weights_key k;
    vr_weights_key_at(w, 10, &k);
    ck_assert(k.type == VR_GGUF_ARRAY && k.array_type == VR_GGUF_I32 && k.count == 2 && k.value[0] == 1);
    ck_assert_str_eq(vr_weights_type_name(k.array_type), "i32");
    ck_assert_str_eq(vr_weights_type_name(13), "?");
    ck_assert_str_eq(vr_dtype_name(VR_DTYPE_BF16), "BF16");
    ck_assert_str_eq(vr_dtype_name((vr_dtype)12), "?");
    vr_weights_free(w);
    free(copy);
}
END_TEST

/* ---- size ---- */

START_TEST(many_names_are_not_quadratic)
{
    const int count = VR_MAX_KEYS;
    writer f = { 0 };
    char name[32];
    put_head(&f, 3, (uint64_t)count, (uint64_t)count);
    for (int i = 0; i < count; i++) snprintf(name, sizeof name, "k%d", i), put_key(&f, name, 0), put_u8(&f, (uint8_t)i);
    for (int i = 0; i < count; i++)
        snprintf(name, sizeof name, "t%d", i), put_tensor(&f, name, 24, 32 * (uint64_t)(count - 1 - i), 1, DIM(32));
    pad(&f, 32), put_zeros(&f, 32 * (size_t)count);
    const clock_t start = clock();
    void *copy;
    vr_weights *w = accept_file(&f, &copy);
    for (int i = 0; i < count; i++) {
        int value = -1;
        ck_assert_int_eq(vr_weights_int(w, &value, 0, 255, NULL, "k%d", i), VR_OK);
        ck_assert_int_eq(value, i & 255);
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("weights_test: %d keys and %d tensors in %.3f s\n", count, count, seconds);
    ck_assert_msg(seconds < 5, "%.3f s for %d names: quadratic", seconds, count); /* quadratic: minutes */
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(large_string_array)
{
    const int count = 1 << 17; /* the vocabulary of Llama 3 */
    writer f = { 0 };
    char text[32];
    put_head(&f, 3, 0, 1), put_array(&f, "tokens", 8, (uint64_t)count);
    for (int i = 0; i < count; i++) snprintf(text, sizeof text, "token %d", i), put_string(&f, text);
    void *copy;
    vr_weights *w = accept_file(&f, &copy);
    const clock_t start = clock();
    for (int i = count - 1; i >= 0; i--) {
        vr_string s;
        ck_assert_int_eq(vr_weights_array_string(w, "tokens", i, &s, NULL), VR_OK);
        const int n = snprintf(text, sizeof text, "token %d", i);
        ck_assert(s.n_bytes == (size_t)n && memcmp(s.data, text, (size_t)n) == 0);
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    ck_assert_msg(seconds < 5, "%.3f s for %d strings: quadratic", seconds, count);
    vr_weights_free(w);
    free(copy);
}
END_TEST

/* ---- files ---- */

static char folder[TEMPORARY_PATH];

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-weights-XXXXXX")));
}

static void remove_folder(void)
{
    ck_assert_int_eq(rmdir(folder), 0);
}

START_TEST(paths)
{
    char path[TEMPORARY_PATH + 64], message[2 * TEMPORARY_PATH];
    vr_weights *w = NULL;
    vr_err e;
    snprintf(path, sizeof path, "%s/none", folder);
    snprintf(message, sizeof message, "%s: cannot be opened: No such file or directory", path);
    REFUSED(vr_weights_open(&w, path, &e), message);
    snprintf(message, sizeof message, "%s: is a folder, not a weight file", folder);
    REFUSED(vr_weights_open(&w, folder, &e), message);
    REFUSED(vr_weights_open(&w, "/dev/null", &e), "/dev/null: is not a regular file");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    snprintf(message, sizeof message, "%s: is not a regular file", path);
    REFUSED(vr_weights_open(&w, path, &e), message);
    unlink(path);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    snprintf(message, sizeof message, "%s: is empty", path);
    REFUSED(vr_weights_open(&w, path, &e), message);
    ck_assert_ptr_null(w);
    writer f = { 0 };
    write_sample(&f);
    ck_assert_int_eq(write(fd, f.bytes, f.n), (int)f.n);
    close(fd);
    ck_assert_int_eq(vr_weights_open(&w, path, &e), VR_OK);
    ck_assert_uint_eq(vr_weights_file_bytes(w), f.n);
    ck_assert_str_eq(vr_weights_path(w), path);
    const float *b;
    ck_assert_int_eq(vr_weights_vector(w, &b, 4, &e, "b"), VR_OK);
    ck_assert_uint_eq((uintptr_t)b % 64, 0);
    vr_weights_tensor t; /* large pages: addresses and offsets agree */
    vr_weights_tensor_at(w, 0, &t);
    ck_assert_uint_eq(((uintptr_t)t.data - t.offset) % ((uintptr_t)2 << 20), 0);
    vr_weights_free(w);
    writer_free(&f);
    unlink(path);
}
END_TEST

START_TEST(open_reads_only_the_head)
{
    const off_t bytes = (off_t)1 << 34; /* 16 GB of hole */
    char path[TEMPORARY_PATH + 64];
    snprintf(path, sizeof path, "%s/large", folder);
    writer f = { 0 };
    put_head(&f, 3, 1, 0), put_tensor(&f, "t", 0, 0, 3, DIM(1 << 20), DIM(1 << 12), DIM(1) /* 16 GB */), pad(&f, 32);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, f.bytes, f.n), (int)f.n);
    const bool holes = ftruncate(fd, bytes + (off_t)f.n) == 0;
    close(fd);
    if (holes) {
        struct rusage before, after;
        vr_weights *w = NULL;
        vr_err e = { 0 };
        getrusage(RUSAGE_SELF, &before);
        ck_assert_msg(vr_weights_open(&w, path, &e) == VR_OK, "%s", e.text);
        getrusage(RUSAGE_SELF, &after);
        const long faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
        ck_assert_msg(faults < 1000, "%ld page faults", faults);
        vr_weights_free(w);
    } else {
        printf("SKIP: open_reads_only_the_head: no file of 16 GB can be made here\n");
    }
    writer_free(&f);
    unlink(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("weights");
    TCase *memory = tcase_create("memory");
    tcase_set_timeout(memory, 120);
    tcase_add_test(memory, scalars);
    tcase_add_test(memory, arrays);
    tcase_add_test(memory, wrong_keys);
    tcase_add_test(memory, numbers_must_be_finite);
    tcase_add_test(memory, tensors);
    tcase_add_test(memory, long_names_are_not_cut_into_others);
    tcase_add_test(memory, enumeration);
    tcase_add_test(memory, many_names_are_not_quadratic);
    tcase_add_test(memory, large_string_array);
    suite_add_tcase(suite, memory);
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 120);
    tcase_add_checked_fixture(files, make_folder, remove_folder);
    tcase_add_test(files, paths);
    tcase_add_test(files, open_reads_only_the_head);
    suite_add_tcase(suite, files);
    return suite_run(suite);
}
