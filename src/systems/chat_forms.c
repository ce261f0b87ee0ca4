/*
 * chat_forms.c - see chat_forms.h.
 *
 * Ref: the chat_template of the published tokenizer_config.json of SmolLM2, Qwen2 and Qwen2.5 (chatml), Llama 2, Llama 3,
 *      Mistral 7B, Zephyr and TinyLlama, Vicuna 1.5.
 */
#include "systems/chat_forms.h"

#include <string.h>

const vr_chat_form vr_chat_forms[VR_CHAT_FORMS] = {
    { .name = "chatml",
      .marks = { "<|im_start|>" },
      .never = "<|im_sep|>",
      .first = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n",
      .bare = "<|im_start|>user\n{text}<|im_end|>\n",
      .next = "<|im_start|>user\n{text}<|im_end|>\n",
      .open = "<|im_start|>assistant\n",
      .answer = "<|im_start|>assistant\n{text}<|im_end|>\n",
      .stop = "<|im_end|>" },
    { .name = "llama3",
      .marks = { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
      .first = "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
               "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
      .bare = "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
      .next = "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
      .open = "<|start_header_id|>assistant<|end_header_id|>\n\n",
      .answer = "<|start_header_id|>assistant<|end_header_id|>\n\n{text}<|eot_id|>",
      .stop = "<|eot_id|>",
      .trim = true },
    { .name = "llama2",
      .marks = { "[INST]", "<<SYS>>" },
      .first = "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{text} [/INST]",
      .bare = "[INST] {text} [/INST]",
      .next = "{bos}[INST] {text} [/INST]",
      .open = "",
      .answer = " {text} {eos}",
      .trim = true },
    { .name = "mistral",
      .marks = { "[INST]" },
      .never = "[SYSTEM_PROMPT]",
      .first = "[INST] {system}\n\n{text} [/INST]",
      .bare = "[INST] {text} [/INST]",
      .next = "[INST] {text} [/INST]",
      .open = "",
      .answer = "{text}{eos}" },
    { .name = "zephyr",
      .marks = { "<|user|>", "<|assistant|>", "eos_token" },
      .never = "<|end|>",
      .first = "<|system|>\n{system}{eos}\n<|user|>\n{text}{eos}\n",
      .bare = "<|user|>\n{text}{eos}\n",
      .next = "<|user|>\n{text}{eos}\n",
      .open = "<|assistant|>\n",
      .answer = "<|assistant|>\n{text}{eos}\n" },
    { .name = "vicuna",
      .marks = { "USER: ", "ASSISTANT:" },
      .first = "{system} USER: {text}",
      .bare = "USER: {text}",
      .next = "USER: {text}",
      .open = " ASSISTANT:",
      .answer = " ASSISTANT: {text}{eos}" },
    { .name = "plain", .first = "{system}{text}", .bare = "{text}", .next = "{text}", .open = "", .answer = "{text}" },
};

/* Where the word begins in the text, or NULL. */
static const char *find(vr_string text, const char *word)
{
    const size_t n = strlen(word);
    for (size_t at = 0; at + n <= text.n_bytes; at++)
        if (memcmp(text.data + at, word, n) == 0) return text.data + at;
    return NULL;
}

static bool fits(const vr_chat_form *form, vr_string template)
{
    for (size_t i = 0; i < sizeof form->marks / sizeof form->marks[0] && form->marks[i]; i++)
        if (!find(template, form->marks[i])) return false;
    return !form->never || !find(template, form->never);
}

const vr_chat_form *vr_chat_form_of(vr_string template)
{
    const int plain = VR_CHAT_FORMS - 1;
    if (template.n_bytes == 0) return &vr_chat_forms[plain];
    for (int i = 0; i < plain; i++)
        if (fits(&vr_chat_forms[i], template)) return &vr_chat_forms[i];
    return NULL;
}

static bool is_text(vr_string s)
{
    for (size_t i = 0; i < s.n_bytes; i++) /* else an expression */
        if (strchr("'\"{}", s.data[i])) return false;
    return true;
}

vr_string vr_chat_form_system(vr_string template)
{
    static const char begin[] = "<|im_start|>system", end[] = "<|im_end|>";
    const char *const last = template.data + template.n_bytes;
    vr_string rest = template;
    for (const char *at; (at = find(rest, begin)) != NULL;) {
        at += sizeof begin - 1;
        if (at < last && *at == '\n')
            at++;
        else if (last - at >= 2 && at[0] == '\\' && at[1] == 'n')
            at += 2;
        rest = (vr_string){ at, (size_t)(last - at) };
        const char *const behind = find(rest, end);
        const vr_string found = { at, behind ? (size_t)(behind - at) : 0 };
        if (behind && is_text(found)) return found;
    }
    return (vr_string){ "", 0 };
}
