/*
 * text_stream_test.c - bytes to whole characters, as Python's bytes.decode("utf-8", errors="replace") has them.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"
#include "tests/unit/suite.h"

#define BAD "\xef\xbf\xbd"

/* Push data in parts of the given length; out has room for 3 * n_bytes + 1. */
static size_t push_in_parts(char *out, const char *data, size_t n_bytes, size_t part)
{
    vr_text_stream stream = { 0 };
    size_t n = 0;
    for (size_t at = 0; at < n_bytes; at += part) {
        const size_t take = part < n_bytes - at ? part : n_bytes - at;
        char *room = malloc(3 * (take + 4)); /* of the size that the contract asks for */
        ck_assert_ptr_nonnull(room);
        const size_t made = vr_text_stream_push(&stream, data + at, take, at + take == n_bytes, room);
        ck_assert_uint_le(made, 3 * (take + 4));
        memcpy(out + n, room, made);
        n += made;
        free(room);
    }
    ck_assert_int_eq(stream.n_pending, 0);
    return n;
}

START_TEST(as_python)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        /* what CPython 3.11 makes of them */
        { "", "" },
        { "plain", "plain" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\x80", BAD },
        { "\x80\xbf", BAD BAD },
        { "\xc0\x80", BAD BAD },
        { "\xc1\xbf", BAD BAD },
        { "\xc3", BAD },
        { "\xc3(", BAD "(" },
        { "\xc3\xc3\xa9", BAD "\xc3\xa9" },
        { "\xe2\x82", BAD },
        { "\xe2\x82"
          "A",
          BAD "A" },
        { "\xe2\x28\xa1", BAD "(" BAD },
        { "\xe0\x80\x80", BAD BAD BAD },
        { "\xe0\x9f\xbf", BAD BAD BAD },
        { "\xe0\xa0", BAD },
        { "\xed\xa0\x80", BAD BAD BAD },
        { "\xed\x9f", BAD },
        { "\xf0\x9f\x98", BAD },
        { "\xf0\x9f\x98\xe2\x82\xac", BAD "\xe2\x82\xac" },
        { "\xf0\x9f\xf0\x9f\x98\x80", BAD "\xf0\x9f\x98\x80" },
        { "\xf0\x8f\xbf\xbf", BAD BAD BAD BAD },
        { "\xf4\x90\x80\x80", BAD BAD BAD BAD },
        { "\xf4\x8f\xbf", BAD },
        { "\xf5\x80\x80\x80", BAD BAD BAD BAD },
        { "\xff\xfe", BAD BAD },
        { "\xe2\xe2\xe2\x82\xac", BAD BAD "\xe2\x82\xac" },
        { "\xef\xbf\xbd", BAD },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t n_bytes = strlen(cases[i].bytes), expected = strlen(cases[i].text);
        for (size_t part = 1; part <= n_bytes; part++) {
            char out[64];
            const size_t n = push_in_parts(out, cases[i].bytes, n_bytes, part);
            ck_assert_msg(n == expected && memcmp(out, cases[i].text, n) == 0, "case %zu in parts of %zu: \"%.*s\"", i, part,
                          (int)n, out);
        }
    }
}
END_TEST

START_TEST(waits_for_the_rest)
{
    vr_text_stream stream = { 0 };
    char out[32];
    ck_assert_uint_eq(vr_text_stream_push(&stream, "a\xf0\x9f", 3, false, out), 1);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "\x98", 1, false, out), 0);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "\x80", 1, false, out), 4);
    ck_assert_mem_eq(out, "\xf0\x9f\x98\x80", 4);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "\xe2", 1, false, out), 0);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "", 0, false, out), 0);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "", 0, true, out), 3);
    ck_assert_mem_eq(out, BAD, 3);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "", 0, true, out), 0);
    ck_assert_uint_eq(vr_text_stream_push(&stream, "\0b", 2, false, out), 2);
    ck_assert_mem_eq(out, "\0b", 2);
}
END_TEST

/* Bytes of the longest prefix of s that begins a well-formed sequence, from table 3-7 of Unicode; *whole: all of it. */
static size_t maximal_part(const unsigned char *s, size_t n, int *whole)
{
    static const unsigned char rows[][9] = {
        /* bytes, then low and high of each */
        { 1, 0x00, 0x7f },
        { 2, 0xc2, 0xdf, 0x80, 0xbf },
        { 3, 0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf },
        { 3, 0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf },
        { 3, 0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf },
        { 3, 0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf },
        { 4, 0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
        { 4, 0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
        { 4, 0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf },
    };
    size_t longest = 0;
    *whole = 0;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        size_t i = 0;
        while (i < rows[r][0] && i < n && s[i] >= rows[r][1 + 2 * i] && s[i] <= rows[r][2 + 2 * i]) i++;
        if (i > longest) {
            longest = i;
            *whole = i == rows[r][0];
        }
    }
    return longest;
}

static size_t naive(char *out, const unsigned char *s, size_t n)
{
    size_t made = 0;
    for (size_t at = 0; at < n;) {
        int whole;
        const size_t part = maximal_part(s + at, n - at, &whole);
        memcpy(out + made, whole ? (const char *)s + at : BAD, whole ? part : 3);
        made += whole ? part : 3;
        at += part ? part : 1;
    }
    return made;
}

START_TEST(random_bytes)
{
    static const unsigned char often[] = { 'a',  0x80, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed,
                                           0xee, 0xf0, 0xf1, 0xf4, 0xf5, 0x90, 0x8f };
    const unsigned seed = 20240501;
    printf("random_bytes: seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 100000; round++) {
        unsigned char data[16];
        const size_t n = (size_t)(rand() % 16);
        for (size_t i = 0; i < n; i++)
            data[i] = (unsigned char)(rand() % 4 ? often[(size_t)rand() % sizeof often] : rand() % 256);
        char out[64], expected[64];
        const size_t n_expected = naive(expected, data, n);
        const size_t n_out = push_in_parts(out, (const char *)data, n, 1 + (size_t)(rand() % 16));
        ck_assert_msg(n_out == n_expected && memcmp(out, expected, n_out) == 0, "round %d", round);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text_stream");
    TCase *t = tcase_create("stream");
    tcase_set_timeout(t, 900);
    tcase_add_test(t, as_python);
    tcase_add_test(t, waits_for_the_rest);
    tcase_add_test(t, random_bytes);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
