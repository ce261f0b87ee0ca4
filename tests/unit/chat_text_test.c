/*
 * chat_text_test.c - the texts of VideoChat-Text against those that the original code made (tests/fixtures/describe/chat_text.json).
 *
 *   lists of a case -> texts, prompts of every turn, what is remembered: character by character
 *
 * The fixture holds recorded inputs and outputs; times of speech in milliseconds, captions of the last 60 frames.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json_read.h"
#include "describe/chat_text.h"
#include "tests/unit/suite.h"

enum { MOST = 8 };

typedef struct turn {
    vr_text question, llm_output, prompt, memory_after;
} turn;

typedef struct example {
    vr_text name, tags, seconds, dense, times, question, long_prompt;
    vr_description description;
    turn turns[MOST];
    int n_turns;
    vr_notes chunks;
} example;

static void take_list(vr_json_in *j, vr_notes *notes)
{
    vr_text text = { 0 };
    vr_json_enter(j, '[');
    while (vr_json_next(j, ']')) {
        ck_assert(vr_json_take_text(j, &text));
        ck_assert_int_eq(vr_notes_add(notes, 0, 0, vr_text_string(&text), text.n_bytes, NULL), VR_OK);
    }
    vr_text_free(&text);
}

static void take_speech(vr_json_in *j, vr_notes *notes)
{
    vr_text key = { 0 }, text = { 0 };
    vr_json_enter(j, '[');
    while (vr_json_next(j, ']')) {
        int64_t start = 0, end = 0;
        vr_json_enter(j, '{');
        while (vr_json_next(j, '}')) {
            ck_assert(vr_json_key(j, &key));
            if (strcmp(key.data, "start_ms") == 0)
                vr_json_take_int(j, &start);
            else if (strcmp(key.data, "end_ms") == 0)
                vr_json_take_int(j, &end);
            else
                vr_json_take_text(j, &text);
        }
        ck_assert_int_eq(vr_notes_add(notes, (double)start / 1000, (double)end / 1000, text.data, text.n_bytes, NULL), VR_OK);
    }
    vr_text_free(&key);
    vr_text_free(&text);
}

/* An object of strings: those with known names. */
static void take_texts(vr_json_in *j, const char *const *names, vr_text *const *texts, int n)
{
    vr_text key = { 0 };
    vr_json_enter(j, '{');
    while (vr_json_next(j, '}')) {
        ck_assert(vr_json_key(j, &key));
        bool known = false;
        for (int i = 0; i < n && !known; i++)
            if ((known = strcmp(key.data, names[i]) == 0)) vr_json_take_text(j, texts[i]);
        ck_assert(known);
    }
    vr_text_free(&key);
}

static void take_turns(vr_json_in *j, example *x)
{
    static const char *const names[] = { "question", "llm_output", "prompt", "memory_after" };
    vr_json_enter(j, '[');
    while (vr_json_next(j, ']')) {
        ck_assert_int_lt(x->n_turns, MOST);
        turn *const t = &x->turns[x->n_turns++];
        take_texts(j, names, (vr_text *const[]){ &t->question, &t->llm_output, &t->prompt, &t->memory_after }, 4);
    }
}

static void take_example(vr_json_in *j, example *x)
{
    static const char *const names[] = { "tags", "seconds", "dense", "times" };
    vr_text key = { 0 };
    vr_json_enter(j, '{');
    while (vr_json_next(j, '}')) {
        ck_assert(vr_json_key(j, &key));
        const char *const name = key.data;
        if (strcmp(name, "tags") == 0)
            take_list(j, &x->description.tags);
        else if (strcmp(name, "captions") == 0)
            take_list(j, &x->description.captions);
        else if (strcmp(name, "dense") == 0)
            take_list(j, &x->description.dense);
        else if (strcmp(name, "chunks") == 0)
            take_list(j, &x->chunks);
        else if (strcmp(name, "speech") == 0)
            take_speech(j, &x->description.speech);
        else if (strcmp(name, "texts") == 0)
            take_texts(j, names, (vr_text *const[]){ &x->tags, &x->seconds, &x->dense, &x->times }, 4);
        else if (strcmp(name, "turns") == 0)
            take_turns(j, x);
        else
            vr_json_take_text(j, strcmp(name, "name") == 0          ? &x->name
                                 : strcmp(name, "summary") == 0     ? &x->description.summary
                                 : strcmp(name, "question") == 0    ? &x->question
                                 : strcmp(name, "long_prompt") == 0 ? &x->long_prompt
                                                                    : &key);
    }
    vr_text_free(&key);
}

static void example_free(example *x)
{
    vr_text *const texts[] = { &x->name, &x->tags, &x->seconds, &x->dense, &x->times, &x->question, &x->long_prompt };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) vr_text_free(texts[i]);
    for (int i = 0; i < x->n_turns; i++) {
        vr_text_free(&x->turns[i].question);
        vr_text_free(&x->turns[i].llm_output);
        vr_text_free(&x->turns[i].prompt);
        vr_text_free(&x->turns[i].memory_after);
    }
    vr_notes_free(&x->chunks);
    vr_description_free(&x->description);
}

/* Calls check for every example of the fixture. */
static int each_example(void (*check)(const example *x))
{
    static char bytes[1 << 18];
    FILE *const file = fopen("tests/fixtures/describe/chat_text.json", "rb");
    ck_assert_ptr_nonnull(file);
    const size_t n_bytes = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    vr_json_in j;
    int n = 0;
    vr_json_begin(&j, bytes, n_bytes);
    vr_json_enter(&j, '[');
    for (; vr_json_next(&j, ']'); n++) {
        example x = { 0 };
        take_example(&j, &x);
        ck_assert(!j.wrong);
        check(&x);
        example_free(&x);
    }
    ck_assert(vr_json_end(&j));
    return n;
}

static void expect(vr_text *made, const vr_text *wanted, const example *x, const char *what)
{
    ck_assert_msg(strcmp(vr_text_string(made), vr_text_string(wanted)) == 0, "%s, %s: '%s' instead of '%s'", x->name.data, what,
                  vr_text_string(made), vr_text_string(wanted));
    vr_text_free(made);
}

static void check_texts(const example *x)
{
    vr_text tags = { 0 }, seconds = { 0 }, dense = { 0 }, times = { 0 };
    ck_assert_int_eq(vr_chat_text_tags(&x->description.tags, &tags, NULL), VR_OK);
    ck_assert_int_eq(vr_chat_text_seconds(&x->description.captions, &seconds, NULL), VR_OK);
    ck_assert_int_eq(vr_chat_text_times(&x->description.speech, &times, NULL), VR_OK);
    expect(&tags, &x->tags, x, "tags");
    expect(&seconds, &x->seconds, x, "seconds");
    expect(&times, &x->times, x, "times");
    if (x->n_turns == 0) return;
    ck_assert_int_eq(vr_chat_text_dense(&x->description.dense, &dense, NULL), VR_OK);
    expect(&dense, &x->dense, x, "dense");
}

static void check_turns(const example *x)
{
    vr_text history = { 0 };
    for (int i = 0; i < x->n_turns; i++) {
        const turn *const t = &x->turns[i];
        vr_text prompt = { 0 }, answer = { 0 }, memory = { 0 };
        ck_assert_int_eq(vr_chat_text_trim(&history, NULL), VR_OK);
        const char *const so_far = vr_text_string(&history);
        ck_assert_int_eq(vr_chat_text_prompt(&x->description, so_far, t->question.data, &prompt, NULL), VR_OK);
        expect(&prompt, &t->prompt, x, "prompt");
        ck_assert_int_eq(vr_chat_text_answer(t->llm_output.data, &answer, NULL), VR_OK);
        ck_assert_int_eq(vr_chat_text_remember(&history, t->question.data, vr_text_string(&answer), NULL), VR_OK);
        ck_assert_int_eq(vr_text_append_string(&memory, vr_text_string(&history), NULL), VR_OK);
        expect(&memory, &t->memory_after, x, "memory");
        vr_text_free(&answer);
    }
    vr_text_free(&history);
}

static void check_long(const example *x)
{
    if (x->chunks.count == 0) return;
    vr_text document = { 0 }, context = { 0 }, prompt = { 0 };
    ck_assert_int_eq(vr_chat_text_document(&x->description, &document, NULL), VR_OK);
    const char *at = document.data;
    for (int i = 0; i < x->chunks.count; i++) { /* the splitter drops blanks between its pieces and nothing else */
        const char *const found = strstr(at, x->chunks.items[i].text);
        ck_assert_ptr_nonnull(found);
        ck_assert_uint_eq(strspn(at, " \n"), (size_t)(found - at));
        at = found + strlen(x->chunks.items[i].text);
        if (i) ck_assert_int_eq(vr_text_append_string(&context, "\n\n", NULL), VR_OK);
        ck_assert_int_eq(vr_text_append_string(&context, x->chunks.items[i].text, NULL), VR_OK);
    }
    ck_assert_str_eq(at, "");
    ck_assert_int_eq(vr_chat_text_question(context.data, x->question.data, &prompt, NULL), VR_OK);
    expect(&prompt, &x->long_prompt, x, "long prompt");
    vr_text_free(&document);
    vr_text_free(&context);
}

START_TEST(texts)
{
    ck_assert_int_eq(each_example(check_texts), 4);
}
END_TEST

START_TEST(turns)
{
    each_example(check_turns);
}
END_TEST

START_TEST(long_videos)
{
    each_example(check_long);
}
END_TEST

START_TEST(answers)
{
    static const char *const cases[][2] = {
        { "AI: a", "a" }, { "nothing", "" }, { "AI: a AI: b ", "b" }, { "AI:", "" }, { "", "" }, { "x AI:\n\na\nb\n", "a\nb" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vr_text out = { 0 };
        ck_assert_int_eq(vr_chat_text_answer(cases[i][0], &out, NULL), VR_OK);
        ck_assert_str_eq(vr_text_string(&out), cases[i][1]);
        vr_text_free(&out);
    }
}
END_TEST

START_TEST(history_of_one_endless_line)
{
    vr_text history = { 0 };
    for (int i = 0; i < 600; i++) ck_assert_int_eq(vr_text_append_string(&history, "word ", NULL), VR_OK);
    ck_assert_int_eq(vr_chat_text_trim(&history, NULL), VR_OK);
    ck_assert_str_eq(vr_text_string(&history), "\n");
    vr_text_free(&history);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("chat_text");
    TCase *const all = tcase_create("all");
    tcase_add_test(all, texts);
    tcase_add_test(all, turns);
    tcase_add_test(all, long_videos);
    tcase_add_test(all, answers);
    tcase_add_test(all, history_of_one_endless_line);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
