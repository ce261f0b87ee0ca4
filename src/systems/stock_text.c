/*
 * stock_text.c - see stock_text.h.
 */
#include "systems/stock_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf_head.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "systems/chat_forms.h"
#include "text/vocab.h"

#define CONTEXT 4096 /* rows of prompt and answer, where nothing is asked */
#define PREDICT 512

/* The file being read and the keys being made. */
typedef struct adopter {
    const vr_weights *w;
    const char *arch; /* "llama", "qwen2": how the file's keys begin */
    int context;      /* rows of prompt and answer; 0: not asked */
    vr_gguf_head head;
    char name[VR_MAX_NAME + 1]; /* of the key being read */
} adopter;

static bool is_spelled(vr_string s, const char *expected)
{
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

/* The file's name of a key of its architecture. */
static const char *own(adopter *a, const char *key)
{
    snprintf(a->name, sizeof a->name, "%s.%s", a->arch, key);
    return a->name;
}

/* llama.KEY = the file's number, or `otherwise` where that is not negative */
static int number(adopter *a, const char *key, int max, int otherwise, int *out, vr_err *e)
{
    char ours[VR_MAX_NAME + 1];
    snprintf(ours, sizeof ours, "llama.%s", key);
    *out = otherwise;
    if (otherwise < 0 || vr_weights_has(a->w, own(a, key))) VR_TRY(vr_weights_int(a->w, out, 1, max, e, "%s", own(a, key)));
    return vr_gguf_put_int(&a->head, ours, *out, e);
}

static int fraction(adopter *a, const char *key, float otherwise, vr_err *e)
{
    char ours[VR_MAX_NAME + 1];
    float value = otherwise;
    snprintf(ours, sizeof ours, "llama.%s", key);
    if (otherwise <= 0 || vr_weights_has(a->w, own(a, key))) VR_TRY(vr_weights_float(a->w, &value, e, "%s", own(a, key)));
    return vr_gguf_put_float(&a->head, ours, value, e);
}

/* ---- decoder ---- */

/* Rows of the token table. */
static int table_rows(const vr_weights *w, int *rows, vr_err *e)
{
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(w, i, &t);
        if (!is_spelled(t.name, "token_embd.weight") || t.n_dims != 2 || t.shape[0] > VR_MAX_VOCAB) continue;
        *rows = (int)t.shape[0];
        return VR_OK;
    }
    return vr_fail(e, VR_ERR_WEIGHTS, "%s: tensor \"token_embd.weight\" is missing, or no table of tokens", vr_weights_path(w));
}

static int scaling_adopt(adopter *a, vr_err *e)
{
    vr_string type;
    const bool old = vr_weights_has(a->w, own(a, "rope.scale_linear"));
    if (old) {
        float factor;
        VR_TRY(vr_weights_float(a->w, &factor, e, "%s", own(a, "rope.scale_linear")));
        VR_TRY(vr_gguf_put_text(&a->head, "llama.rope.scaling.type", "linear", e));
        return vr_gguf_put_float(&a->head, "llama.rope.scaling.factor", factor, e);
    }
    if (!vr_weights_has(a->w, own(a, "rope.scaling.type"))) return VR_OK;
    VR_TRY(vr_weights_string(a->w, &type, e, "%s", own(a, "rope.scaling.type")));
    VR_TRY(vr_gguf_put_string(&a->head, "llama.rope.scaling.type", type, e));
    return is_spelled(type, "linear") ? fraction(a, "rope.scaling.factor", 0, e) : VR_OK;
}

/* A head's keys and values must be as wide as what turns in it: no file of these architectures has them otherwise. */
static int widths_check(adopter *a, int head_dim, vr_err *e)
{
    static const char *const keys[] = { "attention.key_length", "attention.value_length" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int width;
        if (!vr_weights_has(a->w, own(a, keys[i]))) continue;
        VR_TRY(vr_weights_int(a->w, &width, 1, VR_MAX_HEAD_DIM, e, "%s", own(a, keys[i])));
        if (width != head_dim)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s is %d, but %d elements of a head turn: this version needs them equal",
                           vr_weights_path(a->w), own(a, keys[i]), width, head_dim);
    }
    return VR_OK;
}

static int decoder_adopt(adopter *a, vr_err *e)
{
    int n, width, heads, rows = 0, context, experts, head_dim;
    VR_TRY(number(a, "block_count", VR_MAX_BLOCKS, -1, &n, e));
    VR_TRY(number(a, "embedding_length", VR_MAX_WIDTH, -1, &width, e));
    VR_TRY(number(a, "feed_forward_length", VR_MAX_WIDTH, -1, &n, e));
    VR_TRY(number(a, "attention.head_count", VR_MAX_HEADS, -1, &heads, e));
    VR_TRY(number(a, "attention.head_count_kv", VR_MAX_HEADS, heads, &n, e));
    VR_TRY(number(a, "context_length", VR_MAX_CONTEXT, -1, &context, e));
    VR_TRY(number(a, "rope.dimension_count", VR_MAX_HEAD_DIM, width / heads, &head_dim, e));
    VR_TRY(widths_check(a, head_dim, e));
    VR_TRY(table_rows(a->w, &rows, e));
    VR_TRY(vr_gguf_put_int(&a->head, "llama.vocab_size", rows, e));
    VR_TRY(fraction(a, "attention.layer_norm_rms_epsilon", 0, e));
    VR_TRY(fraction(a, "rope.freq_base", 10000, e));
    const bool adjacent = strcmp(a->arch, "llama") == 0;
    VR_TRY(vr_gguf_put_text(&a->head, "llama.rope.pairs", adjacent ? "adjacent" : "halves", e));
    VR_TRY(scaling_adopt(a, e));
    if (vr_weights_has(a->w, own(a, "expert_count"))) {
        VR_TRY(vr_weights_int(a->w, &experts, 0, INT32_MAX, e, "%s", own(a, "expert_count")));
        if (experts > 0)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: a mixture of %d experts, which this version does not know",
                           vr_weights_path(a->w), experts);
    }
    if (a->context > context)
        return vr_fail(e, VR_ERR_USAGE, "--context %d: %s was made for %d", a->context, vr_weights_path(a->w), context);
    if (a->context == 0) a->context = context < CONTEXT ? context : CONTEXT;
    return vr_gguf_put_int(&a->head, "prompt.context", a->context, e);
}

/* ---- tokenizer ---- */

/* Pieces that end an answer whatever the file says of them. */
static bool ends_text(vr_string piece)
{
    static const char *const ends[] = { "<|eot_id|>", "<|im_end|>",    "<|end|>",        "<|endoftext|>",
                                        "<|eom_id|>", "<end_of_turn>", "<|end_of_text|>" };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (is_spelled(piece, ends[i])) return true;
    return false;
}

/* Special pieces are found in a text, as llama.cpp does; no blanks beside them are dropped. */
static int specials_adopt(adopter *a, vr_err *e)
{
    static const char tokens[] = "tokenizer.ggml.tokens", types[] = "tokenizer.ggml.token_type";
    int count, n = 0, n_ends = 0, ends[32], rc = VR_OK;
    VR_TRY(vr_weights_array(a->w, &count, e, "%s", tokens));
    int *ids = malloc(((size_t)count + 1) * sizeof *ids), *strip = calloc((size_t)count + 1, sizeof *strip);
    if (!ids || !strip) rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d pieces", count);
    for (int id = 0; rc == VR_OK && id < count; id++) {
        int type = 0;
        vr_string piece;
        rc = vr_weights_array_int(a->w, types, id, &type, e);
        if (rc == VR_OK) rc = vr_weights_array_string(a->w, tokens, id, &piece, e);
        if (rc != VR_OK || (type != VR_PIECE_CONTROL && type != VR_PIECE_USER_DEFINED && type != VR_PIECE_UNKNOWN)) continue;
        if (piece.n_bytes == 0 || piece.n_bytes > VR_VOCAB_SEARCHED_BYTES) continue;
        if (ends_text(piece) && n_ends < 32) ends[n_ends++] = id;
        ids[n++] = id;
    }
    if (rc == VR_OK) rc = vr_gguf_put_ints(&a->head, "tokenizer.special_ids", ids, n, e);
    if (rc == VR_OK) rc = vr_gguf_put_ints(&a->head, "tokenizer.special_strip", strip, n, e);
    if (rc == VR_OK) rc = vr_gguf_put_ints(&a->head, "tokenizer.eos_ids", ends, n_ends, e);
    free(ids);
    free(strip);
    return rc;
}

static int tokenizer_adopt(adopter *a, vr_err *e)
{
    vr_string model, pre = { "", 0 };
    VR_TRY(vr_weights_string(a->w, &model, e, "tokenizer.ggml.model"));
    const bool bpe = is_spelled(model, "gpt2");
    if (bpe) VR_TRY(vr_weights_string(a->w, &pre, e, "tokenizer.ggml.pre"));
    const bool llama3 = is_spelled(pre, "llama-bpe") || is_spelled(pre, "llama3") || is_spelled(pre, "llama-v3");
    VR_TRY(specials_adopt(a, e));
    VR_TRY(vr_gguf_put_bool(&a->head, "tokenizer.skip_special", true, e));
    if (!vr_weights_has(a->w, "tokenizer.ggml.add_bos_token"))
        VR_TRY(vr_gguf_put_bool(&a->head, "tokenizer.ggml.add_bos_token", !bpe || llama3, e));
    if (!bpe) {
        if (!vr_weights_has(a->w, "tokenizer.ggml.add_space_prefix"))
            VR_TRY(vr_gguf_put_bool(&a->head, "tokenizer.ggml.add_space_prefix", true, e));
        return VR_OK;
    }
    if (llama3) VR_TRY(vr_gguf_put_text(&a->head, "tokenizer.ggml.pre", "llama-bpe", e));
    VR_TRY(vr_gguf_put_bool(&a->head, "tokenizer.ignore_merges", llama3, e));
    return vr_gguf_put_bool(&a->head, "tokenizer.nfc", is_spelled(pre, "qwen2"), e);
}

/* ---- prompt ---- */

/* The piece of a key like tokenizer.ggml.eos_token_id; empty: none. */
static vr_string piece_of(const adopter *a, const char *key)
{
    vr_string piece = { "", 0 };
    int id;
    if (vr_weights_has(a->w, key) && vr_weights_int(a->w, &id, 0, VR_MAX_VOCAB, NULL, "%s", key) == VR_OK)
        vr_weights_array_string(a->w, "tokenizer.ggml.tokens", id, &piece, NULL);
    return piece;
}

/* template.NAME.PART = text with {bos} and {eos} replaced */
static int part_put(adopter *a, const char *form, const char *part, const char *text, vr_err *e)
{
    const vr_string bos = piece_of(a, "tokenizer.ggml.bos_token_id"), eos = piece_of(a, "tokenizer.ggml.eos_token_id");
    char key[VR_MAX_NAME + 1];
    vr_text whole = { 0 };
    int rc = VR_OK;
    snprintf(key, sizeof key, "template.%s.%s", form, part);
    while (rc == VR_OK && *text) {
        const bool is_bos = strncmp(text, "{bos}", 5) == 0, is_eos = strncmp(text, "{eos}", 5) == 0;
        const vr_string piece = is_bos ? bos : is_eos ? eos : (vr_string){ text, 1 };
        rc = vr_text_append(&whole, piece.data, piece.n_bytes, e);
        text += is_bos || is_eos ? 5 : 1;
    }
    if (rc == VR_OK) rc = vr_gguf_put_text(&a->head, key, vr_text_string(&whole), e);
    vr_text_free(&whole);
    return rc;
}

static int form_put(adopter *a, const vr_chat_form *form, vr_err *e)
{
    char key[VR_MAX_NAME + 1];
    const char *const stops[1] = { form->stop };
    VR_TRY(part_put(a, form->name, "first", form->first, e));
    VR_TRY(part_put(a, form->name, "bare", form->bare, e));
    VR_TRY(part_put(a, form->name, "next", form->next, e));
    VR_TRY(part_put(a, form->name, "open", form->open, e));
    VR_TRY(part_put(a, form->name, "answer", form->answer, e));
    VR_TRY(part_put(a, form->name, "cut", "", e));
    VR_TRY(part_put(a, form->name, "after", "", e));
    snprintf(key, sizeof key, "template.%s.trim", form->name);
    VR_TRY(vr_gguf_put_bool(&a->head, key, form->trim, e));
    snprintf(key, sizeof key, "template.%s.stop", form->name);
    return vr_gguf_put_texts(&a->head, key, stops, form->stop ? 1 : 0, e);
}

/* Text that a rendered prompt may hold: no zero byte. */
static vr_string without_zero(vr_string s)
{
    return s.n_bytes > 0 && memchr(s.data, '\0', s.n_bytes) ? (vr_string){ "", 0 } : s;
}

static int prompt_adopt(adopter *a, vr_err *e)
{
    static const char *const empty[] = { "prompt.video", "prompt.image", "prompt.separator" };
    static const char key[] = "tokenizer.chat_template";
    const char *names[VR_CHAT_FORMS];
    vr_string template = { "", 0 };
    if (vr_weights_has(a->w, key)) VR_TRY(vr_weights_string(a->w, &template, e, "%s", key));
    const vr_chat_form *const form = vr_chat_form_of(template);
    const vr_string system = without_zero(vr_chat_form_system(template));
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) VR_TRY(vr_gguf_put_text(&a->head, empty[i], "", e));
    VR_TRY(vr_gguf_put_string(&a->head, "prompt.system.video", system, e));
    VR_TRY(vr_gguf_put_string(&a->head, "prompt.system.image", system, e));
    VR_TRY(vr_gguf_put_text(&a->head, "prompt.template", form ? form->name : "", e));
    for (int i = 0; i < VR_CHAT_FORMS; i++) {
        names[i] = vr_chat_forms[i].name;
        VR_TRY(form_put(a, &vr_chat_forms[i], e));
    }
    return vr_gguf_put_texts(&a->head, "prompt.templates", names, VR_CHAT_FORMS, e);
}

/* Stock files propose no sampling; these are the customary values. */
static int sampling_put(adopter *a, vr_err *e)
{
    VR_TRY(vr_gguf_put_float(&a->head, "sampling.temperature", 0.8f, e));
    VR_TRY(vr_gguf_put_float(&a->head, "sampling.top_p", 0.95f, e));
    VR_TRY(vr_gguf_put_float(&a->head, "sampling.repetition_penalty", 1, e));
    VR_TRY(vr_gguf_put_int(&a->head, "sampling.top_k", 40, e));
    const int half = a->context / 2; /* the other half is the prompt's */
    return vr_gguf_put_int(&a->head, "sampling.predict", half < 1 ? 1 : half < PREDICT ? half : PREDICT, e);
}

static int adopt(adopter *a, vr_err *e)
{
    VR_TRY(vr_gguf_head_begin(&a->head, e));
    VR_TRY(vr_gguf_put_int(&a->head, "vidrun.format", 1, e));
    VR_TRY(vr_gguf_put_text(&a->head, "vidrun.system", "text", e));
    if (!vr_weights_has(a->w, "general.name")) VR_TRY(vr_gguf_put_text(&a->head, "general.name", "", e));
    VR_TRY(decoder_adopt(a, e));
    VR_TRY(tokenizer_adopt(a, e));
    VR_TRY(prompt_adopt(a, e));
    VR_TRY(sampling_put(a, e));
    return vr_gguf_head_end(&a->head, e);
}

int vr_stock_text_adopt(vr_weights *w, int context, vr_err *e)
{
    vr_string arch;
    if (vr_weights_has(w, "vidrun.system") && context > 0)
        return vr_fail(e, VR_ERR_USAGE, "--context: %s is no stock text model, it says itself how much it takes",
                       vr_weights_path(w));
    if (vr_weights_has(w, "vidrun.system") || !vr_weights_has(w, "general.architecture")) return VR_OK;
    VR_TRY(vr_weights_string(w, &arch, e, "general.architecture"));
    if (is_spelled(arch, "vidrun")) return VR_OK; /* one of ours that lacks its system */
    adopter a = { .w = w,
                  .context = context,
                  .arch = is_spelled(arch, "llama")   ? "llama"
                          : is_spelled(arch, "qwen2") ? "qwen2"
                                                      : NULL };
    if (!a.arch) {
        char name[64];
        return vr_fail(e, VR_ERR_WEIGHTS,
                       "%s: general.architecture is \"%s\"; this version reads vidrun's own files, and text models of the "
                       "architectures llama and qwen2",
                       vr_weights_path(w), vr_utf8_escape(name, sizeof name, arch.data, arch.n_bytes));
    }
    int rc = adopt(&a, e);
    if (rc == VR_OK) rc = vr_weights_add_keys(w, &a.head.bytes, e);
    vr_text_free(&a.head.bytes);
    return rc;
}
