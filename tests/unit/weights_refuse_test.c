/*
 * weights_refuse_test.c - the weight file reader: refusals of wrong files, by the whole message, and damaged files.
 *
 * What it gives of right files: weights_test.c.
 */
#include <stdio.h>
#include <time.h>

#include "base/gguf.h"
#include "base/limits.h"
#include "tests/unit/suite.h"
#include "tests/unit/weights_support.h"

/* The file must be refused with exactly this message. Frees f. */
static void refuse(writer *f, const char *message)
{
    vr_err e = { 0 };
    vr_weights *w = NULL;
    void *copy = exact_copy(f->bytes, f->n);
    const int rc = vr_weights_open_memory(&w, copy, f->n, NAME, &e);
    ck_assert_ptr_null(w);
    ck_assert_str_eq(e.text, message);
    ck_assert_int_eq(rc, VR_ERR_WEIGHTS);
    ck_assert_int_eq(vr_weights_open_memory(&w, copy, f->n, NAME, NULL), VR_ERR_WEIGHTS);
    free(copy);
    writer_free(f);
}

START_TEST(foreign_files)
{
    writer f = { 0 };
    refuse(&f, NAME ": is empty");
    put(&f, "# weights\n", 10);
    refuse(&f, NAME ": is not a weight file: does not begin with GGUF");
    put(&f, "GGU", 3);
    refuse(&f, NAME ": is not a weight file: does not begin with GGUF");
    put(&f, "PK\003\004zip", 7);
    refuse(&f,
           NAME ": is not a weight file but a PyTorch checkpoint; it must be converted first with tools/convert/convert.py");
    put(&f, "\x80\x02\x8a\x0a", 4);
    refuse(&f,
           NAME ": is not a weight file but a PyTorch checkpoint; it must be converted first with tools/convert/convert.py");
    put_u64(&f, 100), put(&f, "{\"a\":1}", 7);
    refuse(&f, NAME ": is not a weight file but a safetensors file; it must be converted first with tools/convert/convert.py");
    put(&f, "version https://git-lfs.github.com/spec/v1\n", 43);
    refuse(&f, NAME ": is not a weight file but a Git LFS pointer to one: fetch it with git lfs pull");
}
END_TEST

START_TEST(headers)
{
    writer f = { 0 };
    put(&f, "GGUF\003", 5);
    refuse(&f, NAME ": the file ends at byte 5, inside the header: truncated or damaged");
    put_head(&f, 1, 0, 0);
    refuse(&f, NAME ": has GGUF version 1; only version 3 is accepted");
    put_head(&f, 2, 0, 0);
    refuse(&f, NAME ": has GGUF version 2; only version 3 is accepted");
    put_head(&f, 0x03000000, 0, 0);
    refuse(&f, NAME ": is big endian; only little-endian files are accepted");
    put_head(&f, 3, 0, 0), f.n--;
    refuse(&f, NAME ": the file ends at byte 23, inside the header: truncated or damaged");
    put_head(&f, 3, 65537, 0);
    refuse(&f, NAME ": claims 65537 tensors; at most 65536 are accepted");
    put_head(&f, 3, 0, UINT64_MAX);
    refuse(&f, NAME ": claims 18446744073709551615 keys; at most 65536 are accepted");
    put_head(&f, 3, 65536, 65536);
    refuse(&f, NAME ": claims 65536 keys and 65536 tensors, which 24 bytes cannot hold: truncated or damaged");
}
END_TEST

/* A file of one key; what follows its name is up to the test. */
static void one_key(writer *f, const char *name)
{
    put_head(f, 3, 0, 1);
    put_string(f, name);
}

START_TEST(names)
{
    char text[VR_MAX_NAME + 2];
    memset(text, 'n', sizeof text);
    text[VR_MAX_NAME + 1] = '\0';
    writer f = { 0 };
    one_key(&f, text), put_u32(&f, 0), put_u8(&f, 0);
    refuse(&f, NAME ": the name of a key at byte 24 has 129 bytes; at most 128 are accepted");
    one_key(&f, ""), put_u32(&f, 0), put_zeros(&f, 9);
    refuse(&f, NAME ": the key at byte 24 has an empty name");
    one_key(&f, "a\x1b[2Jb\xff"), put_u32(&f, 0), put_u8(&f, 0);
    refuse(&f, NAME ": the key name \"a\\x1b[2Jb\\xff\" holds bytes other than printable ASCII");
    put_head(&f, 3, 0, 1), put_u64(&f, 100), put_zeros(&f, 20);
    refuse(&f, NAME ": the file ends at byte 52, inside the name of a key: truncated or damaged");
    put_head(&f, 3, 0, 2), put_key(&f, "twice", 0), put_u8(&f, 0), put_key(&f, "twice", 0), put_u8(&f, 1);
    refuse(&f, NAME ": key \"twice\" occurs twice");
    put_head(&f, 3, 1, 0), put_tensor(&f, "", 0, 0, 1, (uint64_t)1), put_zeros(&f, 64);
    refuse(&f, NAME ": the tensor at byte 24 has an empty name");
    put_head(&f, 3, 1, 0), put_tensor(&f, "\x7f", 0, 0, 1, (uint64_t)1), put_zeros(&f, 64);
    refuse(&f, NAME ": the tensor name \"\\x7f\" holds bytes other than printable ASCII");
}
END_TEST

START_TEST(values)
{
    writer f = { 0 };
    one_key(&f, "k"), put_u32(&f, 13), put_zeros(&f, 8);
    refuse(&f, NAME ": key \"k\" has the unknown type 13");
    one_key(&f, "key"), put_u32(&f, 10), put_zeros(&f, 7);
    refuse(&f, NAME ": key \"key\" reaches beyond the end of the file: truncated or damaged");
    one_key(&f, "k"), put_u32(&f, 7), put_u8(&f, 2);
    refuse(&f, NAME ": key \"k\" holds a boolean that is neither 0 nor 1");
    one_key(&f, "k"), put_u32(&f, 8), put_u64(&f, UINT64_MAX);
    refuse(&f, NAME ": a string at byte 37 has 18446744073709551615 bytes; at most 1048576 are accepted");
    one_key(&f, "k"), put_u32(&f, 8), put_u64(&f, 3), put(&f, "ab", 2);
    refuse(&f, NAME ": the file ends at byte 47, inside a string: truncated or damaged");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 9), put_u64(&f, 1), put_zeros(&f, 16);
    refuse(&f, NAME ": key \"k\" is an array of arrays, which is not accepted");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 77), put_u64(&f, 1), put_zeros(&f, 16);
    refuse(&f, NAME ": key \"k\" has the unknown type 77");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 4), put_u64(&f, UINT64_MAX / 4 + 1), put_zeros(&f, 16);
    refuse(&f, NAME ": key \"k\" has 4611686018427387904 elements; at most 16777216 are accepted");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 4), put_u64(&f, 5), put_zeros(&f, 19);
    refuse(&f, NAME ": key \"k\" reaches beyond the end of the file: truncated or damaged");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 8), put_u64(&f, 1 << 24), put_zeros(&f, 100);
    refuse(&f, NAME ": key \"k\" reaches beyond the end of the file: truncated or damaged");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 8), put_u64(&f, 2), put_string(&f, "a"), put_u64(&f, 9), put_zeros(&f, 8);
    refuse(&f, NAME ": the file ends at byte 74, inside a string: truncated or damaged");
    one_key(&f, "k"), put_u32(&f, 9), put_u32(&f, 7), put_u64(&f, 2), put_u8(&f, 1), put_u8(&f, 9);
    refuse(&f, NAME ": key \"k\" holds a boolean that is neither 0 nor 1");
}
END_TEST

START_TEST(alignments)
{
    static const uint32_t wrong[] = { 0, 1, 4, 7, 24, 8192, UINT32_MAX };
    writer f = { 0 };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_head(&f, 3, 0, 1), put_key(&f, "general.alignment", 4), put_u32(&f, wrong[i]);
        refuse(&f, NAME ": key \"general.alignment\" must be a power of two from 8 to 4096");
    }
    put_head(&f, 3, 0, 1), put_key(&f, "general.alignment", 8), put_string(&f, "64");
    refuse(&f, NAME ": key \"general.alignment\" must be a power of two from 8 to 4096");
    put_head(&f, 3, 0, 1), put_array(&f, "general.alignment", 4, 0);
    refuse(&f, NAME ": key \"general.alignment\" must be a power of two from 8 to 4096");
    for (uint32_t right = 8; right <= 4096; right *= 2) {
        void *copy;
        put_head(&f, 3, 1, 1), put_key(&f, "general.alignment", 4), put_u32(&f, right);
        put_tensor(&f, "t", 24, 0, 1, (uint64_t)3), pad(&f, right), put_zeros(&f, 3);
        vr_weights *w = accept_file(&f, &copy);
        vr_weights_tensor t;
        vr_weights_tensor_at(w, 0, &t);
        ck_assert_uint_eq(t.offset % right, 0);
        vr_weights_free(w);
        free(copy);
    }
}
END_TEST

/* A file of one tensor at offset 0, with n_data bytes of data at alignment 32. */
#define ONE_TENSOR(n_data, ...) put_head(&f, 3, 1, 0), put_tensor(&f, __VA_ARGS__), pad(&f, 32), put_zeros(&f, n_data)

START_TEST(tensor_infos)
{
    writer f = { 0 };
    ONE_TENSOR(64, "t", 0, 0, 0);
    refuse(&f, NAME ": tensor \"t\" has 0 dimensions; 1 to 4 are accepted");
    ONE_TENSOR(64, "t", 0, 0, 5, DIM(1), DIM(1), DIM(1), DIM(1), DIM(1));
    refuse(&f, NAME ": tensor \"t\" has 5 dimensions; 1 to 4 are accepted");
    ONE_TENSOR(64, "t", 0, 0, 2, DIM(4), DIM(0));
    refuse(&f, NAME ": tensor \"t\" has a dimension of 0; 1 to 16777216 are accepted");
    ONE_TENSOR(64, "t", 0, 0, 2, DIM(-4), DIM(1));
    refuse(&f, NAME ": tensor \"t\" has a dimension of -4; 1 to 16777216 are accepted");
    ONE_TENSOR(64, "t", 0, 0, 1, DIM(16777217));
    refuse(&f, NAME ": tensor \"t\" has a dimension of 16777217; 1 to 16777216 are accepted");
    ONE_TENSOR(64, "t", 0, 0, 4, DIM(1 << 24), DIM(1 << 24), DIM(1 << 24), DIM(1 << 24));
    refuse(&f, NAME ": tensor \"t\" is larger than any file");
    ONE_TENSOR(64, "t", 12, 0, 1, DIM(256));
    refuse(&f, NAME ": tensor \"t\" has the unknown type 12");
    ONE_TENSOR(64, "t", 8, 0, 1, DIM(33));
    refuse(&f, NAME ": tensor \"t\" has rows that are no whole number of blocks of its type");
    ONE_TENSOR(64, "t", 0, 8, 1, DIM(4));
    refuse(&f, NAME ": tensor \"t\" begins at 8, which is no multiple of the alignment 32");
    ONE_TENSOR(63, "t", 0, 0, 2, DIM(4), DIM(4));
    refuse(&f, NAME ": tensor \"t\" reaches beyond the end of the file: truncated or damaged");
    ONE_TENSOR(64, "t", 0, 64, 1, DIM(1));
    refuse(&f, NAME ": tensor \"t\" reaches beyond the end of the file: truncated or damaged");
    ONE_TENSOR(64, "t", 0, UINT64_MAX - 31, 1, DIM(16));
    refuse(&f, NAME ": tensor \"t\" reaches beyond the end of the file: truncated or damaged");
    put_head(&f, 3, 1, 0), put_tensor(&f, "t", 24, 0, 1, DIM(1)); /* no room even for the padding */
    refuse(&f, NAME ": tensor \"t\" reaches beyond the end of the file: truncated or damaged");
    put_head(&f, 3, 1, 0), put_tensor(&f, "t", 24, 0, 4, DIM(1), DIM(1), DIM(1), DIM(1)), f.n -= 9;
    refuse(&f, NAME ": the file ends at byte 72, inside the list of tensors: truncated or damaged");
}
END_TEST

START_TEST(tensor_pairs)
{
    writer f = { 0 };
    put_head(&f, 3, 2, 0), put_tensor(&f, "a", 24, 0, 1, DIM(33)), put_tensor(&f, "b", 0, 32, 1, DIM(8)); /* by one byte */
    pad(&f, 32), put_zeros(&f, 64);
    refuse(&f, NAME ": tensors \"a\" and \"b\" overlap");
    put_head(&f, 3, 3, 0), put_tensor(&f, "a", 0, 64, 1, DIM(8)), put_tensor(&f, "b", 0, 0, 1, DIM(8));
    put_tensor(&f, "c", 24, 64, 1, DIM(1)), pad(&f, 32), put_zeros(&f, 96);
    vr_weights *none = NULL;
    vr_err e = { 0 };
    void *copy = exact_copy(f.bytes, f.n);
    ck_assert_int_eq(vr_weights_open_memory(&none, copy, f.n, NAME, &e), VR_ERR_WEIGHTS);
    ck_assert_ptr_nonnull(strstr(e.text, "overlap")); /* a and c begin at the same byte: either order */
    free(copy);
    writer_free(&f);
    put_head(&f, 3, 2, 0), put_tensor(&f, "a", 0, 0, 1, DIM(8)), put_tensor(&f, "a", 0, 32, 1, DIM(8));
    pad(&f, 32), put_zeros(&f, 64);
    refuse(&f, NAME ": tensor \"a\" occurs twice");
    put_head(&f, 3, 2, 0), put_tensor(&f, "a", 0, 32, 1, DIM(8)), put_tensor(&f, "b", 0, 0, 1, DIM(8)); /* any order is right */
    pad(&f, 32), put_zeros(&f, 64);
    vr_weights *w = accept_file(&f, &copy);
    vr_weights_free(w);
    free(copy);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    writer f = { 0 };
    write_sample(&f);
    for (size_t n = 0; n < f.n; n++) {
        vr_weights *w = NULL;
        vr_err e = { 0 };
        void *copy = exact_copy(f.bytes, n);
        ck_assert_msg(vr_weights_open_memory(&w, copy, n, NAME, &e) == VR_ERR_WEIGHTS, "%zu bytes were accepted", n);
        ck_assert(strncmp(e.text, NAME ": ", 13) == 0 && !strchr(e.text, '\n'));
        free(copy);
    }
    writer_free(&f);
}
END_TEST

/* ---- damage ---- */

static uint64_t next(uint64_t *state) /* xorshift64: Marsaglia 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void mutate(unsigned char *bytes, size_t *n, uint64_t *state)
{
    static const uint64_t interesting[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, UINT32_MAX, INT64_MAX, UINT64_MAX };
    const uint64_t times = 1 + next(state) % 4;
    for (uint64_t i = 0; i < times; i++) {
        const size_t at = next(state) % *n;
        const uint64_t value = interesting[next(state) % 10];
        const size_t width = (size_t)1 << next(state) % 4;
        if (next(state) % 3 == 0) {
            bytes[at] ^= (unsigned char)(1u << next(state) % 8);
        } else if (at + width <= *n) {
            memcpy(bytes + at, &value, width);
        }
    }
    if (next(state) % 8 == 0) *n = next(state) % *n + 1;
}

/* Look at everything the reader gives; the sum keeps the compiler from leaving reads out. */
static unsigned touch(const vr_weights *w)
{
    unsigned sum = 0;
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(w, i, &t);
        const unsigned char *data = t.data;
        for (size_t b = 0; b < t.n_bytes; b++) sum += data[b];
    }
    for (int i = 0; i < vr_weights_n_keys(w); i++) {
        vr_weights_key k;
        vr_weights_key_at(w, i, &k);
        char name[VR_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)k.name.n_bytes, k.name.data);
        vr_string s;
        for (int n = 0; n < k.count && k.type == VR_GGUF_ARRAY; n++)
            if (vr_weights_array_string(w, name, n, &s, NULL) == VR_OK && s.n_bytes > 0)
                sum += (unsigned char)s.data[s.n_bytes - 1];
    }
    return sum;
}

START_TEST(damaged_files)
{
    const char *given = getenv("VIDRUN_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("weights_test: seed %llu (VIDRUN_SEED)\n", (unsigned long long)seed);
    uint64_t state = seed * 2 + 1;
    writer f = { 0 };
    write_sample(&f);
    int accepted = 0;
    unsigned sum = 0;
    for (int i = 0; i < 20000; i++) {
        size_t n = f.n;
        unsigned char *bytes = malloc(n);
        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, f.bytes, n);
        mutate(bytes, &n, &state);
        void *copy = exact_copy(bytes, n);
        vr_weights *w = NULL;
        vr_err e = { 0 };
        const int rc = vr_weights_open_memory(&w, copy, n, NAME, &e);
        ck_assert((rc == VR_OK) == (w != NULL));
        ck_assert_msg(rc == VR_OK || rc == VR_ERR_WEIGHTS, "round %d: %d", i, rc);
        for (const char *c = e.text; *c; c++) ck_assert((unsigned char)*c >= 0x20);
        if (w) accepted++, sum += touch(w);
        vr_weights_free(w);
        free(copy);
        free(bytes);
    }
    printf("weights_test: %d of 20000 damaged files still right (sum %u)\n", accepted, sum);
    ck_assert_int_gt(accepted, 0);
    ck_assert_int_lt(accepted, 20000);
    writer_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("weights_refuse");
    TCase *refusals = tcase_create("refusals");
    tcase_set_timeout(refusals, 120);
    tcase_add_test(refusals, foreign_files);
    tcase_add_test(refusals, headers);
    tcase_add_test(refusals, names);
    tcase_add_test(refusals, values);
    tcase_add_test(refusals, alignments);
    tcase_add_test(refusals, tensor_infos);
    tcase_add_test(refusals, tensor_pairs);
    tcase_add_test(refusals, every_truncation_is_refused);
    tcase_add_test(refusals, damaged_files);
    suite_add_tcase(suite, refusals);
    return suite_run(suite);
}
