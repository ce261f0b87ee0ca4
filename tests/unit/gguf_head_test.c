/*
 * gguf_head_test.c - heads of weight files that we write, and keys that stand before those of a file.
 *
 *   vr_gguf_put_* -> bytes -> vr_weights_open_memory, vr_weights_add_keys -> the same values
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf_head.h"
#include "tests/unit/model_support.h"
#include "tests/unit/suite.h"

static void check_ok(int rc, const vr_err *e)
{
    ck_assert_msg(rc == VR_OK, "%s", e->text);
}

/* all kinds of keys */
static void fill(vr_gguf_head *head)
{
    static const int numbers[] = { 3, -1, 7 };
    static const char *const texts[] = { "a", "", "bc" };
    vr_err e = { 0 };
    check_ok(vr_gguf_head_begin(head, &e), &e);
    check_ok(vr_gguf_put_int(head, "an.int", -5, &e), &e);
    check_ok(vr_gguf_put_float(head, "a.float", 0.25F, &e), &e);
    check_ok(vr_gguf_put_bool(head, "a.bool", true, &e), &e);
    check_ok(vr_gguf_put_text(head, "a.text", "new", &e), &e);
    check_ok(vr_gguf_put_ints(head, "some.ints", numbers, 3, &e), &e);
    check_ok(vr_gguf_put_texts(head, "some.texts", texts, 3, &e), &e);
    check_ok(vr_gguf_put_ints(head, "no.ints", numbers, 0, &e), &e);
    check_ok(vr_gguf_head_end(head, &e), &e);
}

START_TEST(keys_stand_before_those_of_the_file)
{
    model m = { 0 };
    vr_gguf_head head = { 0 };
    vr_err e = { 0 };
    vr_string s;
    int n, count;
    float f;
    bool b;
    model_string(&m, "a.text", "old");
    model_int(&m, "file.int", 9);
    model_open(&m);
    fill(&head);
    check_ok(vr_weights_add_keys(m.weights, &head.bytes, &e), &e);
    ck_assert_ptr_null(head.bytes.data);
    check_ok(vr_weights_string(m.weights, &s, &e, "a.text"), &e);
    ck_assert(s.n_bytes == 3 && memcmp(s.data, "new", 3) == 0);
    check_ok(vr_weights_int(m.weights, &n, 0, 9, &e, "file.int"), &e);
    ck_assert_int_eq(n, 9);
    check_ok(vr_weights_int(m.weights, &n, -9, 9, &e, "an.int"), &e);
    ck_assert_int_eq(n, -5);
    check_ok(vr_weights_float(m.weights, &f, &e, "a.float"), &e);
    ck_assert(f == 0.25F);
    check_ok(vr_weights_bool(m.weights, &b, &e, "a.bool"), &e);
    ck_assert(b);
    check_ok(vr_weights_array(m.weights, &count, &e, "some.ints"), &e);
    ck_assert_int_eq(count, 3);
    check_ok(vr_weights_array_int(m.weights, "some.ints", 1, &n, &e), &e);
    ck_assert_int_eq(n, -1);
    check_ok(vr_weights_array_string(m.weights, "some.texts", 2, &s, &e), &e);
    ck_assert(s.n_bytes == 2 && memcmp(s.data, "bc", 2) == 0);
    check_ok(vr_weights_array(m.weights, &count, &e, "no.ints"), &e);
    ck_assert_int_eq(count, 0);
    ck_assert(vr_weights_has(m.weights, "an.int") && !vr_weights_has(m.weights, "another.int"));
    model_free(&m);
}
END_TEST

START_TEST(a_broken_head_is_refused)
{
    model m = { 0 };
    vr_gguf_head head = { 0 };
    vr_err e = { 0 };
    model_int(&m, "file.int", 9);
    model_open(&m);
    fill(&head);
    head.bytes.n_bytes -= 3;
    ck_assert_int_eq(vr_weights_add_keys(m.weights, &head.bytes, &e), VR_ERR_WEIGHTS);
    ck_assert(e.text[0]);
    model_free(&m);
}
END_TEST

START_TEST(tensors_and_raw_keys)
{
    vr_gguf_head head = { 0 };
    vr_err e = { 0 };
    vr_weights *w;
    vr_weights_tensor t;
    static _Alignas(64) unsigned char bytes[512];
    const uint32_t number = 7, alignment = 64;
    const int64_t shape[2] = { 2, 3 };
    check_ok(vr_gguf_head_begin(&head, &e), &e);
    check_ok(vr_gguf_put_raw(&head, (vr_string){ "n", 1 }, 4, &number, 4, &e), &e);
    check_ok(vr_gguf_put_raw(&head, (vr_string){ "general.alignment", 17 }, 4, &alignment, 4, &e), &e);
    check_ok(vr_gguf_put_tensor(&head, (vr_string){ "w", 1 }, VR_DTYPE_F32, 2, shape, 0, &e), &e);
    check_ok(vr_gguf_head_end(&head, &e), &e);
    ck_assert_uint_lt(head.bytes.n_bytes, 128 + 64);
    memcpy(bytes, head.bytes.data, head.bytes.n_bytes);
    check_ok(vr_weights_open_memory(&w, bytes, sizeof bytes, "head.bin", &e), &e);
    ck_assert_int_eq(vr_weights_n_tensors(w), 1);
    vr_weights_tensor_at(w, 0, &t);
    ck_assert(t.n_dims == 2 && t.shape[0] == 2 && t.shape[1] == 3 && t.n_bytes == 24 && t.offset % 64 == 0);
    vr_weights_free(w);
    vr_text_free(&head.bytes);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("gguf_head");
    TCase *const t = tcase_create("gguf_head");
    tcase_add_test(t, keys_stand_before_those_of_the_file);
    tcase_add_test(t, a_broken_head_is_refused);
    tcase_add_test(t, tensors_and_raw_keys);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
