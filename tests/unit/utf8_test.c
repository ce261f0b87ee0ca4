/*
 * utf8_test.c - what is well-formed UTF-8, and how text from outside is printed.
 */
#include <check.h>

#include "base/utf8.h"
#include "tests/unit/suite.h"

START_TEST(utf8)
{
    static const struct {
        const char *bytes;
        size_t n, length;
        uint32_t point;
    } cases[] = {
        { "", 0, 0, 0 },
        { "a", 1, 1, 'a' },
        { "\0", 1, 1, 0 },
        { "\xc3\xa9", 2, 2, 0xe9 },
        { "\xe2\x82\xac", 3, 3, 0x20ac },
        { "\xf0\x9f\x98\x80", 4, 4, 0x1f600 },
        { "\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff },
        { "\xc3", 1, 0, 0 },             /* cut */
        { "\xc3\xa9", 1, 0, 0 },         /* cut before what would complete it */
        { "\xc3(", 2, 0, 0 },            /* no continuation */
        { "\x80", 1, 0, 0 },             /* continuation alone */
        { "\xc1\x81", 2, 0, 0 },         /* overlong */
        { "\xe0\x9f\xbf", 3, 0, 0 },     /* overlong */
        { "\xf0\x8f\xbf\xbf", 4, 0, 0 }, /* overlong */
        { "\xed\xa0\x80", 3, 0, 0 },     /* surrogate */
        { "\xf4\x90\x80\x80", 4, 0, 0 }, /* beyond U+10FFFF */
        { "\xff", 1, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t point = 0;
        ck_assert_msg(vr_utf8_decode(cases[i].bytes, cases[i].n, &point) == cases[i].length, "case %zu", i);
        ck_assert_uint_eq(point, cases[i].point);
    }
}
END_TEST

START_TEST(escape)
{
    char out[16];
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "plain", 5), "plain");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "\x1b[2J", 4), "\\x1b[2J");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "\"\\", 2), "\\x22\\x5c");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "\xc2\x9b\xe2\x82\xac", 5), "\\xc2\\x9b\xe2\x82\xac");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "a\0b", 3), "a\\x00b");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "123456789012345", 15), "123456789012345");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "1234567890123456", 16), "123456789012...");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "123456789012\xe2\x82\xac", 15), "123456789012\xe2\x82\xac");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "12345678901\xe2\x82\xac!!", 16), "12345678901...");
    ck_assert_str_eq(vr_utf8_escape(out, sizeof out, "", 0), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("utf8");
    TCase *text = tcase_create("text");
    tcase_set_timeout(text, 120);
    tcase_add_test(text, utf8);
    tcase_add_test(text, escape);
    suite_add_tcase(suite, text);
    return suite_run(suite);
}
