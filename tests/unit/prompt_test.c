/*
 * prompt_test.c - conversations as text and rows, and where answers end.
 *
 *   keys by hand + a small tokenizer -> vr_prompt -> turns -> spans as one line: texts, [V] and [A] for rows
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gguf_writer.h"
#include "text/answer.h"
#include "text/prompt.h"
#include "tests/unit/suite.h"

typedef struct prompt_file { /* NULL: the key is left out, or empty */
    const char *first, *next, *open, *answer, *stop;
    const char *video, *separator, *cut, *after, *system;
    int trim; /* -1: no such key */
} prompt_file;

typedef struct subject {
    void *bytes;
    vr_weights *weights;
    vr_tokenizer *tokenizer;
    vr_prompt *prompt;
} subject;

static void put_text(writer *f, const char *key, const char *text)
{
    put_key(f, key, 8), put_string(f, text ? text : "");
}

/* <unk> <end> a b <eot> <eom>: ends with <end>, and with <eom> from the list */
static void put_tokenizer(writer *f)
{
    static const char *const pieces[] = { "<unk>", "<end>", "a", "b", "<eot>", "<eom>" };
    put_text(f, "tokenizer.ggml.model", "llama");
    put_key(f, "tokenizer.ggml.add_space_prefix", 7), put_u8(f, 0);
    put_array(f, "tokenizer.ggml.tokens", 8, 6);
    for (int i = 0; i < 6; i++) put_string(f, pieces[i]);
    put_array(f, "tokenizer.ggml.scores", 6, 6);
    for (int i = 0; i < 6; i++) put_f32(f, 0);
    put_array(f, "tokenizer.ggml.token_type", 5, 6);
    for (int i = 0; i < 6; i++) put_u32(f, i == 2 || i == 3 ? 1 : i == 0 ? 2 : 3);
    put_key(f, "tokenizer.ggml.unknown_token_id", 4), put_u32(f, 0);
    put_key(f, "tokenizer.ggml.eos_token_id", 4), put_u32(f, 1);
    put_array(f, "tokenizer.eos_ids", 5, 1), put_u32(f, 5);
}

static subject subject_of(const prompt_file *p)
{
    writer f = { 0 };
    put_head(&f, 3, 0, 22 + (uint64_t)(p->separator != NULL) + (uint64_t)(p->trim >= 0) + (uint64_t)(p->system != NULL));
    put_tokenizer(&f);
    put_text(&f, "prompt.template", "t");
    put_array(&f, "prompt.templates", 8, 1), put_string(&f, "t");
    put_text(&f, "prompt.system.video", " S\n");
    put_text(&f, "prompt.system.image", "I");
    put_text(&f, "prompt.video", p->video);
    put_text(&f, "prompt.image", "{video}\n");
    put_text(&f, "prompt.audio_video", "{audio} {video}");
    put_text(&f, "template.t.first", p->first);
    put_text(&f, "template.t.next", p->next);
    put_text(&f, "template.t.open", p->open);
    put_text(&f, "template.t.answer", p->answer);
    put_array(&f, "template.t.stop", 8, 2), put_string(&f, p->stop ? p->stop : "<eot>"), put_string(&f, "a no-such-piece");
    put_text(&f, "template.t.cut", p->cut);
    put_text(&f, "template.t.after", p->after);
    if (p->separator) put_text(&f, "prompt.separator", p->separator);
    if (p->system) put_text(&f, "template.t.system", p->system);
    if (p->trim >= 0) put_key(&f, "template.t.trim", 7), put_u8(&f, (uint8_t)p->trim);
    subject s = { 0 };
    vr_err e = { 0 };
    ck_assert_int_eq(posix_memalign(&s.bytes, 64, f.n), 0);
    memcpy(s.bytes, f.bytes, f.n);
    ck_assert_msg(vr_weights_open_memory(&s.weights, s.bytes, f.n, "prompt.bin", &e) == VR_OK, "%s", e.text);
    writer_free(&f);
    ck_assert_msg(vr_tokenizer_open(&s.tokenizer, s.weights, &e) == VR_OK, "%s", e.text);
    ck_assert_msg(vr_prompt_open(&s.prompt, s.weights, NULL, s.tokenizer, &e) == VR_OK, "%s", e.text);
    return s;
}

static void subject_free(subject *s)
{
    vr_prompt_free(s->prompt);
    vr_tokenizer_free(s->tokenizer);
    vr_weights_free(s->weights);
    free(s->bytes);
}

static const double seconds[] = { 0, 1.25 };

/* Rows are [V] and [A], spans are separated by nothing: a text span stands on both sides of rows. */
static void expect(const subject *s, bool image, bool heard, const vr_turn *turns, int n_turns, const char *expected)
{
    const vr_prompt_scene scene = { .image = image, .heard = heard, .n_frames = 2, .seconds = seconds };
    vr_spans spans = { 0 };
    vr_text all = { 0 };
    vr_err e = { 0 };
    ck_assert_msg(vr_prompt_render(s->prompt, &scene, turns, n_turns, &spans, &e) == VR_OK, "%s", e.text);
    for (int i = 0; i < spans.count; i++) {
        const vr_span *span = &spans.items[i];
        ck_assert_int_eq(span->kind == VR_SPAN_TEXT, i % 2 == 0);
        ck_assert_int_eq(vr_text_append_string(&all,
                                               span->kind == VR_SPAN_VIDEO   ? "[V]"
                                               : span->kind == VR_SPAN_AUDIO ? "[A]"
                                                                             : "",
                                               &e),
                         VR_OK);
        ck_assert_int_eq(vr_text_append_string(&all, vr_text_string(&span->text), &e), VR_OK);
        ck_assert_uint_eq(strlen(vr_text_string(&span->text)), span->text.n_bytes);
    }
    ck_assert_str_eq(vr_text_string(&all), expected);
    vr_text_free(&all);
    vr_spans_free(&spans);
}

static char question[] = " Why? \n", second[] = "\tAnd {video} {text}?", answer[] = " Because.", empty[] = "",
            blanks[] = " \n ";

static const prompt_file plain = { .first = "<{system}>{text}|",
                                   .next = "<{text}|",
                                   .open = "A:",
                                   .answer = "A:{text}|",
                                   .video = "{video} {frames} at {times}. ",
                                   .trim = -1 };

START_TEST(as_it_was)
{
    subject s = subject_of(&plain);
    const vr_turn turns[] = { { .question = question, .answer = answer }, { .question = second } };
    expect(&s, false, false, turns, 1, "< S\n>[V] 2 at 0.0, 1.2.   Why? \n|A: Because.|");
    expect(&s, false, false, turns, 2, "< S\n>[V] 2 at 0.0, 1.2.   Why? \n|A: Because.|<\tAnd {video} {text}?|A:");
    expect(&s, true, false, turns, 1, "<I>[V]\n  Why? \n|A: Because.|");
    expect(&s, false, true, turns, 1, "< S\n>[A] [V]  Why? \n|A: Because.|");
    const vr_turn unanswered[] = { { .question = question, .answer = empty } };
    expect(&s, false, false, unanswered, 1, "< S\n>[V] 2 at 0.0, 1.2.   Why? \n|A:");
    subject_free(&s);
}
END_TEST

START_TEST(without_separator)
{
    prompt_file p = plain;
    p.video = "{video}\n";
    p.separator = "";
    subject s = subject_of(&p);
    const vr_turn turns[] = { { .question = question } };
    expect(&s, false, false, turns, 1, "< S\n>[V]\n Why? \n|A:");
    subject_free(&s);
    p.separator = "--";
    s = subject_of(&p);
    expect(&s, false, false, turns, 1, "< S\n>[V]\n-- Why? \n|A:");
    subject_free(&s);
}
END_TEST

START_TEST(system_of_the_template)
{
    prompt_file p = plain;
    p.video = "{video}\n";
    p.separator = "";
    p.system = "T {text}";
    subject s = subject_of(&p);
    const vr_turn turns[] = { { .question = second } };
    expect(&s, false, false, turns, 1, "<T {text}>[V]\n\tAnd {video} {text}?|A:");
    expect(&s, true, false, turns, 1, "<T {text}>[V]\n\tAnd {video} {text}?|A:");
    const vr_prompt_scene scene = { .n_frames = 2, .seconds = seconds, .system_text = "own" };
    vr_spans spans = { 0 };
    vr_err e = { 0 };
    ck_assert_int_eq(vr_prompt_render(s.prompt, &scene, turns, 1, &spans, &e), VR_OK);
    ck_assert_str_eq(vr_text_string(&spans.items[0].text), "<own>");
    vr_spans_free(&spans);
    subject_free(&s);
}
END_TEST

START_TEST(trimmed)
{
    prompt_file p = plain;
    p.video = "{video}\n";
    p.separator = "";
    p.trim = 1;
    p.next = "<\n{text}|"; /* blanks of a template stay */
    subject s = subject_of(&p);
    const vr_turn turns[] = { { .question = question, .answer = answer }, { .question = second, .answer = answer } };
    expect(&s, false, false, turns, 2, "<S>[V]\n Why?|A:Because.|<\nAnd {video} {text}?|A:Because.|");
    const vr_turn nothing[] = { { .question = blanks } };
    expect(&s, false, false, nothing, 1, "<S>[V]|A:"); /* the rows stay, the line end behind them does not */
    const vr_turn twice[] = { { .question = question, .answer = answer }, { .question = blanks } };
    expect(&s, false, false, twice, 2, "<S>[V]\n Why?|A:Because.|<\n|A:");
    subject_free(&s);
    p.trim = 0;
    s = subject_of(&p);
    expect(&s, false, false, nothing, 1, "< S\n>[V]\n \n |A:");
    subject_free(&s);
}
END_TEST

START_TEST(ends)
{
    prompt_file p = plain;
    p.stop = "a b";
    subject s = subject_of(&p);
    ck_assert(!vr_prompt_stops(s.prompt, NULL, 0));
    ck_assert(vr_prompt_stops(s.prompt, (const int32_t[]){ 2, 1 }, 2)); /* eos_token_id */
    ck_assert(vr_prompt_stops(s.prompt, (const int32_t[]){ 5 }, 1));    /* eos_ids */
    ck_assert(!vr_prompt_stops(s.prompt, (const int32_t[]){ 4 }, 1));   /* not a stop here */
    ck_assert(!vr_prompt_stops(s.prompt, (const int32_t[]){ 3 }, 1));
    ck_assert(vr_prompt_stops(s.prompt, (const int32_t[]){ 2, 2, 3 }, 3));
    ck_assert(!vr_prompt_stops(s.prompt, (const int32_t[]){ 2, 3, 2 }, 3));
    ck_assert_str_eq(vr_prompt_cut(s.prompt), "");
    ck_assert_str_eq(vr_prompt_after(s.prompt), "");
    subject_free(&s);
}
END_TEST

/* Text in pieces of n bytes; what is shown and what is final. */
static void answer_check(const char *cut, const char *after, bool clean, const char *raw, const char *shown, const char *final)
{
    for (size_t n = 1; n <= strlen(raw); n++) {
        vr_answer_text text = { 0 };
        vr_text all = { 0 }, whole = { 0 };
        vr_err e = { 0 };
        vr_answer_begin(&text, cut, after, clean);
        for (size_t at = 0; at <= strlen(raw); at += n) {
            const size_t left = strlen(raw) - at, now = left < n ? left : n;
            const char *part;
            size_t n_part;
            ck_assert_int_eq(vr_answer_push(&text, raw + at, now, left <= n, &part, &n_part, &e), VR_OK);
            ck_assert_int_eq(vr_text_append(&all, part, n_part, &e), VR_OK);
            if (left <= n) break;
        }
        ck_assert_int_eq(vr_answer_final(&text, &whole, &e), VR_OK);
        ck_assert_str_eq(vr_text_string(&all), shown);
        ck_assert_str_eq(vr_text_string(&whole), final);
        vr_text_free(&all);
        vr_text_free(&whole);
        vr_answer_free(&text);
    }
}

START_TEST(answers)
{
    answer_check("", "", false, " a b ### c \n", "a b ### c", "a b ### c");
    answer_check("###", "", false, " a b ### c", "a b", "a b");
    answer_check("###", "A:", false, "x A: a ## b###", "x A: a ## b", "a ## b");
    answer_check("", "A:", false, "x A: a \t", "x A: a", "a");
    answer_check("###", "", false, "a ##", "a ##", "a ##");
    answer_check("", "", false, "  ", "", "");
    answer_check("", "", false, "a . b", "a . b", "a . b");
}
END_TEST

/* Expected: what clean_up_tokenization of transformers and strip make of it. */
START_TEST(cleaned_answers)
{
    static const char *const cases[][2] = {
        { " A dog . Why ? Stop ! One , two", "A dog. Why? Stop! One, two" },
        { "a  . b ..", "a . b.." },
        { "do n't I 'm it 's we 've they 're he 'll", "don't I'm it's we've they're he 'll" },
        { "the ' word ' x", "the'word'x" },
        { "a ' . b", "a '. b" },
        { "a ' ' b", "a'' b" },
        { "x 's' y 'v 'r n' n", "x's' y 'v 'r n' n" },
        { "end '", "end '" },
        { "end .", "end." },
        { "end n", "end n" },
        { " . ", "." },
        { "a\n . b\t, c", "a\n. b\t, c" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        answer_check("", "", true, cases[i][0], cases[i][1], cases[i][1]);
    answer_check("#.", "", true, "a b # . c", "a b", "a b"); /* the mark is searched for in the cleaned text */
}
END_TEST

/* tests/fixtures/videochat/table.txt: "frames num den n index .. <tab> sentence", recorded with the original code (numpy). */
START_TEST(numpy_times_as_recorded)
{
    enum { MOST = 64 };
    static const char form[] = "The video contains {frames} frames sampled at {numpy_times} seconds.";
    const prompt_file p = { .first = "{text}", .video = form, .separator = "", .trim = -1 };
    subject s = subject_of(&p);
    FILE *const file = fopen("tests/fixtures/videochat/table.txt", "r");
    char line[4096], none[] = "";
    int n_lines = 0;
    ck_assert_ptr_nonnull(file);
    for (; fgets(line, sizeof line, file); n_lines++) {
        double times[MOST];
        int at = 0, num, den, n, used;
        line[strcspn(line, "\n")] = '\0';
        ck_assert_int_eq(sscanf(line, "%*d %d %d %d%n", &num, &den, &n, &at), 3);
        ck_assert_int_le(n, MOST);
        for (int i = 0; i < n; i++) {
            int index;
            ck_assert_int_eq(sscanf(line + at, "%d%n", &index, &used), 1);
            at += used;
            times[i] = (double)index / ((double)num / (double)den);
        }
        const vr_prompt_scene scene = { .n_frames = n, .seconds = times };
        const vr_turn turn = { .question = none };
        vr_spans spans = { 0 };
        ck_assert_int_eq(vr_prompt_render(s.prompt, &scene, &turn, 1, &spans, NULL), VR_OK);
        ck_assert_int_eq(spans.count, 1);
        ck_assert_str_eq(vr_text_string(&spans.items[0].text), line + at + 1);
        vr_spans_free(&spans);
    }
    fclose(file);
    ck_assert_int_eq(n_lines, 132);
    subject_free(&s);
}
END_TEST

/* A clip that was told as text: its text stands as it is, placeholders and all, where the media text would. */
START_TEST(told)
{
    const prompt_file p = { .first = "<{text}>",
                            .open = "=",
                            .answer = "={text};",
                            .next = "[{text}]",
                            .video = "{video} x",
                            .separator = "|",
                            .trim = -1 };
    subject s = subject_of(&p);
    char one[] = "q", two[] = "r", said[] = "a";
    const vr_turn turns[] = { { one, said }, { two, NULL } };
    const vr_prompt_scene scene = { .told = "a {video} {text} dog" };
    vr_spans spans = { 0 };
    ck_assert_int_eq(vr_prompt_render(s.prompt, &scene, turns, 2, &spans, NULL), VR_OK);
    ck_assert_int_eq(spans.count, 1);
    ck_assert_str_eq(vr_text_string(&spans.items[0].text), "<a {video} {text} dog|q>=a;[r]=");
    vr_spans_free(&spans);
    subject_free(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prompt");
    TCase *t = tcase_create("prompt");
    tcase_add_test(t, as_it_was);
    tcase_add_test(t, without_separator);
    tcase_add_test(t, system_of_the_template);
    tcase_add_test(t, trimmed);
    tcase_add_test(t, ends);
    tcase_add_test(t, answers);
    tcase_add_test(t, cleaned_answers);
    tcase_add_test(t, numpy_times_as_recorded);
    tcase_add_test(t, told);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
