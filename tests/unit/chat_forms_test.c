/*
 * chat_forms_test.c - which form a chat template has, and the system text that it sets by itself.
 *
 * The templates are the telling parts of published ones, as they are in a file: line ends in strings are spelled \n or are
 * line ends.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "systems/chat_forms.h"
#include "tests/unit/suite.h"

static vr_string string_of(const char *s)
{
    return (vr_string){ s, strlen(s) };
}

static const char qwen[] =
    "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if messages[0]['role'] == 'system' %}\n"
    "{{- messages[0]['content'] }}{%- endif %}{{- '<|im_end|>\\n' }}{%- else %}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}";
static const char smol[] = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
                           "{{ '<|im_start|>system\nYou are kind<|im_end|>\n' }}{% endif %}"
                           "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}";

START_TEST(forms)
{
    static const struct {
        const char *template, *name; /* NULL: of no known form */
    } cases[] = {
        { "", "plain" },
        { smol, "chatml" },
        { qwen, "chatml" },
        { "<|im_start|>user<|im_sep|>", NULL },
        { "{{ '<|start_header_id|>' + role + '<|end_header_id|>' + text + '<|eot_id|>' }}", "llama3" },
        { "{{ bos_token + '[INST] ' + '<<SYS>>\\n' + text + ' [/INST]' }}", "llama2" },
        { "{{ bos_token }}{{ '[INST] ' + message['content'] + ' [/INST]' }}", "mistral" },
        { "[SYSTEM_PROMPT] [INST]", NULL },
        { "{{ '<|user|>\n' + content + eos_token }}{{ '<|assistant|>' }}", "zephyr" },
        { "{{ '<|user|>\n' + content + '<|end|>\n<|assistant|>' }}{{ eos_token }}", NULL },
        { "{{ 'USER: ' + content }}{{ ' ASSISTANT:' }}", "vicuna" },
        { "{{ messages }}", NULL },
        { "<|im_start", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vr_chat_form *const form = vr_chat_form_of(string_of(cases[i].template));
        if (cases[i].name)
            ck_assert_msg(form && strcmp(form->name, cases[i].name) == 0, "%s: %s", cases[i].template,
                          form ? form->name : "none");
        else
            ck_assert_msg(!form, "%s: %s", cases[i].template, form ? form->name : "none");
    }
}
END_TEST

START_TEST(system_texts)
{
    static const struct {
        const char *template, *text;
    } cases[] = {
        { smol, "You are kind" },
        { qwen, "You are a helpful assistant." },
        { "<|im_start|>system", "" },
        { "<|im_start|>system\n", "" },
        { "<|im_start|>system\\n' + text + '<|im_end|>", "" },
        { "{{ '<|im_start|>' }}", "" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vr_string text = vr_chat_form_system(string_of(cases[i].template));
        ck_assert_msg(text.n_bytes == strlen(cases[i].text) && memcmp(text.data, cases[i].text, text.n_bytes) == 0, "%s: %.*s",
                      cases[i].template, (int)text.n_bytes, text.data);
    }
}
END_TEST

START_TEST(the_table_is_sound)
{
    for (int i = 0; i < VR_CHAT_FORMS; i++) {
        const vr_chat_form *const f = &vr_chat_forms[i];
        ck_assert(f->name && f->first && f->bare && f->next && f->open && f->answer);
        ck_assert(strstr(f->first, "{system}") && strstr(f->first, "{text}") && strstr(f->next, "{text}"));
        ck_assert(strstr(f->bare, "{text}") && !strstr(f->bare, "{system}") && strstr(f->answer, "{text}"));
        ck_assert(!strchr(f->name, ' '));
        ck_assert_int_eq(f->marks[0] == NULL, i == VR_CHAT_FORMS - 1); /* plain */
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("chat_forms");
    TCase *const t = tcase_create("chat_forms");
    tcase_add_test(t, forms);
    tcase_add_test(t, system_texts);
    tcase_add_test(t, the_table_is_sound);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
