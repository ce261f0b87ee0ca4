/*
 * unicode_test.c - classes of code points and the normal form C: digests over all of Unicode, cases by hand, random marks.
 *
 * The digests are what `tools/unicode_tables.py --digest` computes from Python's unicodedata without the tables.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/unicode.h"
#include "tests/unit/suite.h"

#define CLASSES      0x11fa0bc44166e2e1u /* Unicode 15.1.0 */
#define NORMAL_FORMS 0x861a5003d3a3287bu

static uint64_t digest(uint64_t h, const void *data, size_t n_bytes)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n_bytes; i++) h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

static size_t utf8(char *out, uint32_t c)
{
    const int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(first[n] | c);
    return (size_t)n;
}

START_TEST(all_classes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000) continue;
        const unsigned char class = (unsigned char)vr_unicode_class_of(c);
        h = digest(h, &class, 1);
    }
    ck_assert_uint_eq(h, CLASSES);
    ck_assert_int_eq(vr_unicode_class_of(0x110000), VR_UNICODE_OTHER);
    ck_assert_int_eq(vr_unicode_class_of(UINT32_MAX), VR_UNICODE_OTHER);
}
END_TEST

START_TEST(all_normal_forms)
{
    enum { BATCH = 256 };
    char text[BATCH * 9];
    uint64_t h = 0xcbf29ce484222325u;
    vr_err e = { 0 };
    for (uint32_t first = 0; first < 0x110000; first += BATCH) {
        if (first >= 0xd800 && first < 0xe000) continue;
        size_t n = 0, n_out;
        for (uint32_t c = first; c < first + BATCH; c++) { /* each begins with a letter: they do not touch */
            text[n++] = 'e';
            n += utf8(text + n, c);
            n += utf8(text + n, 0x323);
            n += utf8(text + n, 0x301);
        }
        char *out;
        ck_assert_int_eq(vr_unicode_nfc(text, n, &out, &n_out, &e), VR_OK);
        ck_assert_ptr_nonnull(out);
        h = digest(h, out, n_out);
        free(out);
    }
    ck_assert_uint_eq(h, NORMAL_FORMS);
}
END_TEST

static const char *const forms[][2] = {
    { "e\xcc\x81", "\xc3\xa9" },
    { "\xe2\x84\xa6\xe2\x84\xab", "\xce\xa9\xc3\x85" },                         /* Ohm, Angstrom: singletons */
    { "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc" },                             /* U+0958 does not compose again */
    { "q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87" },                               /* marks in order */
    { "\xe1\xba\x9b\xcc\xa3", "\xe1\xba\x9b\xcc\xa3" },                         /* U+1E9B U+0323 */
    { "a\xcc\x84\xcc\x88", "\xc4\x81\xcc\x88" },                                /* the second mark of a class is blocked */
    { "a\xcc\xa3\xcc\x82", "\xe1\xba\xad" },                                    /* two marks, one letter */
    { "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81" },                 /* Hangul from three parts */
    { "\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81" },                             /* from a syllable and a trailing consonant */
    { "\xea\xb0\x80\xe1\x86\xa7", "\xea\xb0\x80\xe1\x86\xa7" },                 /* U+11A7 is no trailing consonant */
    { "\xea\xb0\x81\xe1\x86\xa8", "\xea\xb0\x81\xe1\x86\xa8" },                 /* one is there already */
    { "\xe0\xa7\x87\xe0\xa6\xbe", "\xe0\xa7\x8b" },                             /* two starters */
    { "\xe0\xa7\x87\xcc\x81\xe0\xa6\xbe", "\xe0\xa7\x87\xcc\x81\xe0\xa6\xbe" }, /* with a mark between: blocked */
    { "\xcc\x81"
      "e",
      "\xcc\x81"
      "e" },                            /* a mark without a letter */
    { "\xcd\x84", "\xcc\x88\xcc\x81" }, /* U+0344 */
};

START_TEST(normal_forms)
{
    vr_err e = { 0 };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char *out;
        size_t n;
        ck_assert_int_eq(vr_unicode_nfc(forms[i][0], strlen(forms[i][0]), &out, &n, &e), VR_OK);
        ck_assert_msg(out && n == strlen(forms[i][1]) && memcmp(out, forms[i][1], n) == 0, "case %zu", i);
        free(out);
    }
    char *out = NULL;
    size_t n = 0;
    ck_assert_int_eq(vr_unicode_nfc("na\xc3\xafve \xcb\xbf", 9, &out, &n, &e), VR_OK);
    ck_assert_ptr_null(out); /* nothing to do */
    ck_assert_uint_eq(n, 9);
}
END_TEST

/* A normal form is its own normal form, and the same for any order of marks of different classes. */
START_TEST(random_marks)
{
    static const uint32_t marks[] = { 0x301, 0x323, 0x327, 0x338, 0x345, 0x5b0, 0x308b, 0x3099 };
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 2000; round++) {
        char a[64], b[64], *out_a, *out_b, *again;
        size_t n_a = 1, n_b = 1, n_out_a, n_out_b, n_again;
        a[0] = b[0] = (char)('a' + rand() % 26);
        const int n = 2 + rand() % 4, first = rand() % 5, step = rand() % 2 ? 3 : 5;
        for (int i = 0; i < n; i++) n_a += utf8(a + n_a, marks[(first + i * step) % 8]);
        for (int i = n - 1; i >= 0; i--) n_b += utf8(b + n_b, marks[(first + i * step) % 8]);
        vr_err e = { 0 };
        ck_assert_int_eq(vr_unicode_nfc(a, n_a, &out_a, &n_out_a, &e), VR_OK);
        ck_assert_int_eq(vr_unicode_nfc(out_a, n_out_a, &again, &n_again, &e), VR_OK);
        ck_assert(n_again == n_out_a && (!again || memcmp(again, out_a, n_again) == 0));
        bool distinct = true; /* U+308B is a starter: what is behind it does not come in front */
        for (int i = 0; i < n; i++) distinct = distinct && marks[(first + i * step) % 8] != 0x308b;
        if (distinct) {
            ck_assert_int_eq(vr_unicode_nfc(b, n_b, &out_b, &n_out_b, &e), VR_OK);
            ck_assert(n_out_b == n_out_a && memcmp(out_a, out_b, n_out_a) == 0);
            free(out_b);
        }
        free(out_a);
        free(again);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unicode");
    TCase *t = tcase_create("unicode");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, all_classes);
    tcase_add_test(t, all_normal_forms);
    tcase_add_test(t, normal_forms);
    tcase_add_test(t, random_marks);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
