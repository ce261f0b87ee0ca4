/*
 * told_test.c - a clip as text within a room: order, merging, cutting, summaries of groups, and when to give up.
 *
 * Tokens are words here, and a summary is "S" with what it was asked for.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "describe/told.h"
#include "tests/unit/suite.h"

typedef struct helper {
    int n_summaries, fail_at; /* fail_at 0: never */
    bool silent;              /* summaries are empty */
    int most_tokens;          /* of a text that was summarised */
} helper;

static int count(void *cookie, const char *text, size_t n_bytes, int *n_tokens, vr_err *e)
{
    (void)cookie, (void)e;
    *n_tokens = 0;
    for (size_t i = 0; i < n_bytes; i++)
        *n_tokens += text[i] != ' ' && text[i] != '\n' && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\n');
    return VR_OK;
}

static int summarise(void *cookie, const char *text, double start, double end, int n_tokens, vr_text *out, vr_err *e)
{
    helper *const h = cookie;
    int n;
    char said[64];
    count(NULL, text, strlen(text), &n, e);
    if (n > h->most_tokens) h->most_tokens = n;
    ck_assert_int_ge(n_tokens, 16);
    if (++h->n_summaries == h->fail_at) return vr_fail(e, VR_ERR_CANCEL, "stopped");
    snprintf(said, sizeof said, "S %.0f to %.0f", start, end);
    return h->silent ? VR_OK : vr_text_append_string(out, said, e);
}

static void add(vr_notes *notes, double start, double end, const char *text)
{
    ck_assert_int_eq(vr_notes_add(notes, start, end, text, strlen(text), NULL), VR_OK);
}

static int make(vr_description *d, helper *h, int room_tokens, vr_text *out, int *n_rounds)
{
    const vr_told_room room = { .n_tokens = room_tokens, .count = count, .summarise = summarise, .cookie = h };
    vr_err e = { 0 };
    const int rc = vr_told_make(d, &room, out, n_rounds, &e);
    vr_description_free(d);
    return rc;
}

START_TEST(all_fits)
{
    vr_description d = { 0 };
    vr_text out = { 0 };
    helper h = { 0 };
    int n_rounds;
    add(&d.captions, 0, 30.5, "a dog runs");
    add(&d.captions, 30.5, 61, "a dog runs ");
    add(&d.captions, 61, 90, "it sleeps");
    add(&d.speech, 3.52, 9.999, " Good dog.");
    add(&d.speech, 11, 12, " Good dog.");
    add(&d.speech, 12, 13, " Sit.");
    ck_assert_int_eq(make(&d, &h, 300, &out, &n_rounds), VR_OK);
    ck_assert_int_eq(n_rounds, 0);
    ck_assert_int_eq(h.n_summaries, 0);
    const char *const from = strstr(out.data, "\nThe second description");
    ck_assert_ptr_nonnull(from);
    ck_assert_str_eq(from, "\nThe second description of the video is:\n0-61second: a dog runs\n61-90second: it sleeps\n"
                           "\nThe subtitile of the video is:\n3-12second:  Good dog.\n12-13second:  Sit.");
    vr_text_free(&out);
}
END_TEST

START_TEST(nothing_is_known)
{
    vr_description d = { 0 };
    vr_text out = { 0 };
    helper h = { 0 };
    int n_rounds;
    ck_assert_int_eq(make(&d, &h, 300, &out, &n_rounds), VR_OK);
    ck_assert_ptr_null(strstr(out.data, "description of the video is"));
    ck_assert_ptr_null(strstr(out.data, "subtitile"));
    vr_text_free(&out);
}
END_TEST

/* An hour: 60 captions of 20 words, 600 lines of speech. */
static void hour(vr_description *d)
{
    for (int i = 0; i < 60; i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "caption %d", i);
        for (int k = 0; k < 18; k++) n += snprintf(text + n, sizeof text - (size_t)n, " w%d", k);
        add(&d->captions, 60 * i, 60 * i + 60, text);
    }
    for (int i = 0; i < 600; i++) {
        char text[64];
        snprintf(text, sizeof text, " line %d of what is said", i);
        add(&d->speech, 6 * i, 6 * i + 5, text);
    }
}

START_TEST(an_hour_is_reduced)
{
    for (int room = 200; room <= 2000; room += 300) {
        vr_description d = { 0 };
        vr_text out = { 0 };
        helper h = { 0 };
        int n_rounds, n;
        hour(&d);
        ck_assert_int_eq(make(&d, &h, room, &out, &n_rounds), VR_OK);
        ck_assert_int_ge(n_rounds, 1);
        ck_assert_int_le(h.most_tokens, room);
        count(NULL, out.data, out.n_bytes, &n, NULL);
        ck_assert_int_le(n, room);
        ck_assert_ptr_nonnull(strstr(out.data, "\n0-")); /* from the first to the last second */
        ck_assert_ptr_nonnull(strstr(out.data, "-3600second: S"));
        ck_assert_ptr_null(strstr(out.data, "subtitile"));
        vr_text_free(&out);
    }
}
END_TEST

START_TEST(a_silent_model)
{
    vr_description d = { 0 };
    vr_text out = { 0 };
    helper h = { .silent = true };
    int n_rounds;
    hour(&d);
    ck_assert_int_eq(make(&d, &h, 300, &out, &n_rounds), VR_OK);
    ck_assert_ptr_nonnull(strstr(out.data, "second: caption 0 "));
    vr_text_free(&out);
}
END_TEST

START_TEST(a_line_longer_than_the_room)
{
    vr_description d = { 0 };
    vr_text text = { 0 }, out = { 0 };
    helper h = { 0 };
    int n_rounds, n;
    for (int i = 0; i < 5000; i++) ck_assert_int_eq(vr_text_append_string(&text, "\xC3\xA9\xC3\xA9 ", NULL), VR_OK);
    add(&d.captions, 0, 60, text.data);
    add(&d.captions, 60, 120, "short");
    ck_assert_int_eq(make(&d, &h, 200, &out, &n_rounds), VR_OK);
    count(NULL, out.data, out.n_bytes, &n, NULL);
    ck_assert_int_le(n, 200);
    ck_assert_int_eq(n_rounds, 0);
    ck_assert_ptr_nonnull(strstr(out.data, "\n60-120second: short"));
    vr_text_free(&text);
    vr_text_free(&out);
}
END_TEST

START_TEST(what_fails)
{
    vr_description d = { 0 };
    vr_text out = { 0 };
    helper h = { .fail_at = 3 };
    int n_rounds;
    hour(&d);
    ck_assert_int_eq(make(&d, &h, 300, &out, &n_rounds), VR_ERR_CANCEL);
    hour(&d);
    ck_assert_int_eq(make(&d, &h, 100, &out, &n_rounds), VR_ERR_LIMIT); /* hardly more than the head */
    ck_assert_ptr_null(out.data);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("told");
    TCase *const all = tcase_create("all");
    tcase_add_test(all, all_fits);
    tcase_add_test(all, nothing_is_known);
    tcase_add_test(all, an_hour_is_reduced);
    tcase_add_test(all, a_silent_model);
    tcase_add_test(all, a_line_longer_than_the_room);
    tcase_add_test(all, what_fails);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
