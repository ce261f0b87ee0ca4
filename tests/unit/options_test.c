/*
 * options_test.c - the command line: every spelling, every range, every refusal, and the texts made from the table.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/help.h"
#include "cli/options.h"
#include "tests/unit/suite.h"

enum { MAX_WORDS = 12 };

/* words: the command line without the program's name, separated by |. */
static int parse(vr_options *out, const char *words, vr_err *e)
{
    static char copy[512]; /* options keep pointing into it */
    const char *argv[MAX_WORDS] = { "vidrun" };
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = copy; word;) {
        char *const bar = strchr(word, '|');
        if (bar) *bar = '\0';
        ck_assert_int_lt(argc, MAX_WORDS);
        argv[argc++] = word;
        word = bar ? bar + 1 : NULL;
    }
    *e = (vr_err){ 0 };
    return vr_options_parse(out, argc, argv, e);
}

static void refuse(const char *words, const char *message)
{
    vr_options o;
    vr_err e;
    ck_assert_msg(parse(&o, words, &e) == VR_ERR_USAGE, "%s was accepted", words);
    ck_assert_int_eq(e.code, VR_ERR_USAGE);
    ck_assert_str_eq(e.text, message);
}

static vr_options accept(const char *words)
{
    vr_options o;
    vr_err e;
    ck_assert_msg(parse(&o, words, &e) == VR_OK, "%s: %s", words, e.text);
    return o;
}

START_TEST(every_spelling_of_a_value)
{
    static const char *const spellings[] = { "-n5|w|v",  "-n|5|w|v",  "--predict|5|w|v",   "--predict=5|w|v",
                                             "w|-n|5|v", "w|v|-n5",   "w|v|p|--predict|5", "-n9|w|v|-n|5",
                                             "-qn5|w|v", "-qn|5|w|v", "-n+5|w|v" };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        const vr_options o = accept(spellings[i]);
        ck_assert_int_eq(o.n_predict, 5);
        ck_assert_str_eq(o.weights, "w");
        ck_assert_str_eq(o.video, "v");
        ck_assert(vr_options_given(&o, VR_OPTION_PREDICT));
        ck_assert(!vr_options_given(&o, VR_OPTION_FRAMES));
    }
}
END_TEST

START_TEST(all_values)
{
    const vr_options o = accept("--temp=0.5|--top-k|0|--top-p=1e-1|--repetition-penalty=1.25|w|v|-s18446744073709551615|-t3");
    ck_assert(o.temperature == 0.5f);
    ck_assert_int_eq(o.top_k, 0);
    ck_assert(vr_options_given(&o, VR_OPTION_TOP_K));
    ck_assert(o.top_p == 0.1f);
    ck_assert(o.repetition_penalty == 1.25f);
    ck_assert(o.seed == UINT64_MAX);
    ck_assert_int_eq(o.n_threads, 3);
    const vr_options t = accept("--system=|--template|llama_v2|--gemm=openblas|--precision=f32|--dump-stages=d|-qh");
    ck_assert_str_eq(t.system_text, "");
    ck_assert_str_eq(t.template_name, "llama_v2");
    ck_assert_int_eq(t.gemm, 1);
    ck_assert_int_eq(t.precision, 0);
    ck_assert_str_eq(t.dump_dir, "d");
    ck_assert(t.quiet && t.help && !t.verbose);
    const vr_options f = accept("--no-audio|--image|--json|-v|--estimate|w|v");
    ck_assert(f.no_audio && f.image && f.json && f.verbose && f.estimate && !f.quiet);
}
END_TEST

START_TEST(operands)
{
    vr_options o = accept("w|v|what?");
    ck_assert_str_eq(o.prompt, "what?");
    o = accept("--|-w|-v|--help");
    ck_assert_str_eq(o.weights, "-w");
    ck_assert_str_eq(o.video, "-v");
    ck_assert_str_eq(o.prompt, "--help");
    o = accept("w|-|p");
    ck_assert_str_eq(o.video, "-");
    o = accept("w|-|--estimate");
    ck_assert_ptr_null(o.prompt);
}
END_TEST

START_TEST(help_and_version_end_the_line)
{
    ck_assert(accept("--help|--bogus").help);
    ck_assert(accept("-V|a|b|c|d").version);
    refuse("--bogus|--help", "unknown option --bogus (vidrun --help lists all)");
}
END_TEST

START_TEST(bad_numbers)
{
    refuse("w|v|-n|0", "option --predict: '0' is not a whole number from 1 to 1048576");
    refuse("w|v|-n-1", "option --predict: '-1' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=0", "option --frames: '0' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=1048577", "option --frames: '1048577' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=8x", "option --frames: '8x' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=8.0", "option --frames: '8.0' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=1e2", "option --frames: '1e2' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=0x8", "option --frames: '0x8' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames= 8", "option --frames: ' 8' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=", "option --frames: '' is not a whole number from 1 to 1048576");
    refuse("w|v|--frames=99999999999999999999", "option --frames: '99999999999999999999' is not a whole number from 1 to 1048576");
    refuse("w|v|-t|0", "option --threads: '0' is not a whole number from 1 to 256");
    refuse("w|v|--temp|nan", "option --temp: 'nan' is not a number from 0 to 100");
    refuse("w|v|--temp|inf", "option --temp: 'inf' is not a number from 0 to 100");
    refuse("w|v|--temp|1e999", "option --temp: '1e999' is not a number from 0 to 100");
    refuse("w|v|--temp|-0.1", "option --temp: '-0.1' is not a number from 0 to 100");
    refuse("w|v|--temp|0x1p1", "option --temp: '0x1p1' is not a number from 0 to 100");
    refuse("w|v|--temp|1-1", "option --temp: '1-1' is not a number from 0 to 100");
    refuse("w|v|--top-p|1.01", "option --top-p: '1.01' is not a number from 0 to 1");
    refuse("w|v|--repetition-penalty|0", "option --repetition-penalty: '0' is not a number from 0.01 to 100");
    refuse("w|v|-s|-1", "option --seed: '-1' is not a whole number from 0 to 18446744073709551615");
    refuse("w|v|-s|18446744073709551616",
           "option --seed: '18446744073709551616' is not a whole number from 0 to 18446744073709551615");
    refuse("w|v|--gemm|mkl", "option --gemm: 'mkl' is not one of: own openblas");
    refuse("w|v|--gemm|own openblas", "option --gemm: 'own openblas' is not one of: own openblas");
    refuse("w|v|--precision=f64", "option --precision: 'f64' is not one of: f32 bf16 int8 auto");
}
END_TEST

START_TEST(unknown_options)
{
    refuse("w|v|--tem=1", "unknown option --tem; did you mean --temp?");
    refuse("w|v|--temperature", "unknown option --temperature (vidrun --help lists all)");
    refuse("w|v|-temp|1", "unknown option -temp; did you mean --temp?");
    refuse("w|v|--frame|1", "unknown option --frame; did you mean --frames?");
    refuse("w|v|--thraeds=1", "unknown option --thraeds; did you mean --threads?");
    refuse("w|v|--top_k=1", "unknown option --top_k; did you mean --top-k?");
    refuse("w|v|--print-ma", "unknown option --print-ma (vidrun --help lists all)");
    refuse("w|v|--=1", "unknown option -- (vidrun --help lists all)");
    refuse("w|v|-x", "unknown option -x (vidrun --help lists all)");
    refuse("w|v|-qx", "unknown option -x in -qx (vidrun --help lists all)");
}
END_TEST

START_TEST(values_where_they_belong)
{
    refuse("w|v|-n", "option --predict needs a value: N");
    refuse("w|v|--system", "option --system needs a value: TEXT");
    refuse("w|v|--json=yes", "option --json takes no value ('yes')");
    refuse("w|v|--json=", "option --json takes no value ('')");
}
END_TEST

START_TEST(operands_that_are_missing_or_too_many)
{
    vr_options o;
    vr_err e;
    const char *const alone[] = { "vidrun" };
    ck_assert_int_eq(vr_options_parse(&o, 1, alone, &e), VR_ERR_USAGE);
    ck_assert_str_eq(e.text, "WEIGHTS and VIDEO are missing: vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]");
    ck_assert_int_eq(vr_options_parse(&o, 0, alone, &e), VR_ERR_USAGE);
    refuse("w", "VIDEO is missing: vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]");
    refuse("|v", "WEIGHTS is empty");
    refuse("w|", "VIDEO is empty");
    refuse("w|v|", "PROMPT is empty");
    refuse("w|v| \t\n", "PROMPT is empty");
    refuse("w|v|what|is", "unexpected operand 'is'; a prompt of several words is quoted: \"...\"");
    refuse("w|-", "VIDEO is standard input, so that prompts cannot be read from it: give PROMPT");
    refuse("w|v|p|--prompt-file=f", "PROMPT and option --prompt-file exclude each other");
    refuse("w|v|p|--dump-stages=", "option --dump-stages: the folder's name is empty");
    refuse("w|v|p|-qv", "options --quiet and --verbose exclude each other");
    refuse("w|v|p|--image|--frames|8", "options --image and --frames exclude each other");
}
END_TEST

START_TEST(without_a_video)
{
    const vr_options t = accept("w|--text|p");
    ck_assert_str_eq(t.weights, "w");
    ck_assert_ptr_null(t.video);
    ck_assert_str_eq(t.prompt, "p");
    ck_assert_ptr_null(accept("--text|w").prompt);
    ck_assert_str_eq(accept("--perplexity=f|w|--json").perplexity, "f");
    refuse("--text", "WEIGHTS and VIDEO are missing: vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]");
    refuse("--text|w|v|p", "unexpected operand 'p': with --text the operands are WEIGHTS [PROMPT]");
    refuse("--text|w|", "PROMPT is empty");
    refuse("--text|--image|w", "options --text and --image exclude each other");
    refuse("--text|--stream|w", "options --text and --stream exclude each other");
    refuse("--text|--frames=2|w", "options --text and --frames exclude each other");
    refuse("--text|--picture=p|w", "options --text and --picture exclude each other");
    refuse("--perplexity=|w", "option --perplexity: the file's name is empty");
    refuse("--perplexity=f|w|v", "unexpected operand 'v': option --perplexity takes WEIGHTS alone");
    refuse("--perplexity=f|--text|w|p", "unexpected operand 'p': option --perplexity takes WEIGHTS alone");
    refuse("--perplexity=f|--prompt-file=g|w", "options --perplexity and --prompt-file exclude each other");
    refuse("--perplexity=f|--fps=2|w", "options --perplexity and --fps exclude each other");
}
END_TEST

START_TEST(keys_and_values_are_auto_unless_given)
{
    ck_assert_int_eq(accept("--text|--context=100|w").n_context, 100);
    refuse("--context|100|w|v", "option --context needs --text");
    refuse("--text|--context|1|w", "option --context: '1' is not a whole number from 2 to 1048576");
    ck_assert_int_eq(accept("w|v").kv, 3); /* VR_KV_AUTO */
    ck_assert_int_eq(accept("w|v|--kv=f32").kv, 0);
    ck_assert_int_eq(accept("w|v|--kv|f16").kv, 1);
    ck_assert_int_eq(accept("w|v|--kv=q8_0").kv, 2);
    refuse("w|v|--kv=q8", "option --kv: 'q8' is not one of: f32 f16 q8_0 auto");
}
END_TEST

START_TEST(precision_is_auto_unless_given)
{
    ck_assert_int_eq(accept("w|v").precision, 3); /* VR_PRECISION_AUTO */
    ck_assert_int_eq(accept("w|v|--precision=f32").precision, 0);
    ck_assert_int_eq(accept("w|v|--precision=bf16").precision, 1);
    ck_assert_int_eq(accept("w|v|--precision=int8").precision, 2);
}
END_TEST

START_TEST(a_prompt_that_is_too_long)
{
    const size_t n = VR_MAX_PROMPT + 1;
    char *const prompt = malloc(n + 1);
    ck_assert_ptr_nonnull(prompt);
    memset(prompt, 'a', n);
    prompt[n] = '\0';
    const char *const argv[] = { "vidrun", "w", "v", prompt };
    vr_options o;
    vr_err e;
    ck_assert_int_eq(vr_options_parse(&o, 4, argv, &e), VR_ERR_USAGE);
    ck_assert_str_eq(e.text, "PROMPT is longer than 1048576 bytes");
    prompt[n - 1] = '\0';
    ck_assert_int_eq(vr_options_parse(&o, 4, argv, &e), VR_OK);
    free(prompt);
}
END_TEST

START_TEST(the_table_is_sound)
{
    for (int i = 0; i < VR_N_OPTIONS; i++) {
        const vr_option *const a = &vr_option_table[i];
        ck_assert_ptr_nonnull(a->name);
        ck_assert_ptr_nonnull(a->help);
        ck_assert_int_eq(a->argument == NULL, a->type == VR_OPTION_FLAG);
        ck_assert_int_eq(a->choices != NULL, a->type == VR_OPTION_CHOICE);
        ck_assert_uint_lt(a->offset, sizeof(vr_options));
        ck_assert_int_ne(a->help[strlen(a->help) - 1], '.');
        ck_assert_ptr_null(strpbrk(a->help, "'[]\\\"")); /* quoting of the completion scripts */
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(a->name, vr_option_table[k].name);
            ck_assert(!a->letter || a->letter != vr_option_table[k].letter);
            ck_assert_uint_ne(a->offset, vr_option_table[k].offset);
        }
    }
    ck_assert_int_le(VR_N_OPTIONS, 64); /* bits of vr_options.given */
}
END_TEST

/* What write makes; to be freed. */
static char *text_of(void (*write_text)(FILE *file))
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *const file = open_memstream(&text, &n_bytes);
    ck_assert_ptr_nonnull(file);
    write_text(file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_uint_eq(strlen(text), n_bytes);
    return text;
}

static void write_bash(FILE *file)
{
    vr_help_write_completion(file, vr_option_choice("bash zsh fish", "bash"));
}

static void write_zsh(FILE *file)
{
    vr_help_write_completion(file, vr_option_choice("bash zsh fish", "zsh"));
}

static void write_fish(FILE *file)
{
    vr_help_write_completion(file, vr_option_choice("bash zsh fish", "fish"));
}

START_TEST(every_text_names_every_option)
{
    static void (*const writers[])(FILE *) = { vr_help_write, write_bash, write_zsh, write_fish };
    for (size_t w = 0; w < sizeof writers / sizeof writers[0]; w++) {
        char *const text = text_of(writers[w]);
        for (int i = 0; i < VR_N_OPTIONS; i++) {
            char name[64];
            snprintf(name, sizeof name, writers[w] == write_fish ? "-l %s " : "--%s", vr_option_table[i].name);
            ck_assert_msg((strstr(text, name) != NULL) == (vr_option_table[i].group != NULL), "text %zu, option %s", w, name);
        }
        free(text);
    }
}
END_TEST

START_TEST(help_fits_a_terminal)
{
    char *const text = text_of(vr_help_write);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) ck_assert_uint_lt(strcspn(line, "\n"), 80);
    free(text);
}
END_TEST

START_TEST(the_manual_page_escapes_what_roff_reads)
{
    char *const text = text_of(vr_help_write_man);
    ck_assert_ptr_nonnull(strstr(text, "\n.B \\-n\\fR, \\fB\\-\\-predict \\fIN\n"));
    ck_assert_ptr_nonnull(strstr(text, "\n.B \\-\\-no\\-audio\n"));
    ck_assert_ptr_nonnull(strstr(text, "\\(aqWhat is in the video?\\(aq"));
    ck_assert_ptr_null(strstr(text, "print\\-man"));
    free(text);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("options");
    TCase *const parsing = tcase_create("parsing"), *const texts = tcase_create("texts");
    tcase_add_test(parsing, every_spelling_of_a_value);
    tcase_add_test(parsing, all_values);
    tcase_add_test(parsing, operands);
    tcase_add_test(parsing, help_and_version_end_the_line);
    tcase_add_test(parsing, bad_numbers);
    tcase_add_test(parsing, unknown_options);
    tcase_add_test(parsing, values_where_they_belong);
    tcase_add_test(parsing, operands_that_are_missing_or_too_many);
    tcase_add_test(parsing, without_a_video);
    tcase_add_test(parsing, precision_is_auto_unless_given);
    tcase_add_test(parsing, keys_and_values_are_auto_unless_given);
    tcase_add_test(parsing, a_prompt_that_is_too_long);
    tcase_add_test(texts, the_table_is_sound);
    tcase_add_test(texts, every_text_names_every_option);
    tcase_add_test(texts, help_fits_a_terminal);
    tcase_add_test(texts, the_manual_page_escapes_what_roff_reads);
    suite_add_tcase(suite, parsing);
    suite_add_tcase(suite, texts);
    return suite_run(suite);
}
