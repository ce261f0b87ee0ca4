/*
 * split.c - see split.h.
 */
#include "text/split.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "text/unicode.h"

/* The character at some place of the text. */
typedef struct character {
    size_t n_bytes; /* 0: the text ends here */
    uint32_t point;
    vr_unicode_class class;
} character;

static character character_at(const char *text, size_t n_bytes, size_t at)
{
    character c = { 0 };
    if (at < n_bytes) c.n_bytes = vr_utf8_decode(text + at, n_bytes - at, &c.point);
    if (c.n_bytes > 0) c.class = vr_unicode_class_of(c.point);
    return c;
}

static bool is_line_end(uint32_t point)
{
    return point == '\r' || point == '\n';
}

static bool is_sign(character c)
{
    return c.n_bytes > 0 && c.class == VR_UNICODE_OTHER;
}

/* bytes from `at` on that are of the class, at most `most` characters */
static size_t run(const char *text, size_t n_bytes, size_t at, vr_unicode_class class, int most)
{
    const size_t first = at;
    for (int i = 0; i < most; i++) {
        const character c = character_at(text, n_bytes, at);
        if (c.n_bytes == 0 || c.class != class) break;
        at += c.n_bytes;
    }
    return at - first;
}

/* The parts of words like it's and they'll; 0: none. text begins with an apostrophe. */
static size_t contraction(const char *text, size_t n_bytes, bool any_case)
{
    static const char *const endings[] = { "s", "t", "re", "ve", "m", "ll", "d", "\xc5\xbf" }; /* U+017F */
    for (size_t i = 0; i < sizeof endings / sizeof endings[0] - !any_case; i++) {
        const size_t n = strlen(endings[i]);
        size_t same = 0;
        while (same < n && 1 + same < n_bytes) {
            const char c = text[1 + same];
            if ((any_case && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != endings[i][same]) break;
            same++;
        }
        if (same == n) return 1 + n;
    }
    return 0;
}

/* The end of the signs that begin at `at`, and of the line ends behind them. */
static size_t signs_and_line_ends(const char *text, size_t n_bytes, size_t at)
{
    for (character c; is_sign(c = character_at(text, n_bytes, at)); at += c.n_bytes) continue;
    while (at < n_bytes && is_line_end((unsigned char)text[at])) at++;
    return at;
}

static size_t white_space(const char *text, size_t n_bytes)
{
    size_t end = 0, behind_line_end = 0, last = 0; /* of the run; behind its last line end; of its last character */
    for (character c; (c = character_at(text, n_bytes, end)).class == VR_UNICODE_SPACE;) {
        last = c.n_bytes;
        end += last;
        if (is_line_end(c.point)) behind_line_end = end;
    }
    if (behind_line_end > 0) return behind_line_end;
    return end == n_bytes || end == last ? end : end - last;
}

/* GPT-2's rule; digits_alone: SmolLM's. */
static size_t first_of_gpt2(const char *text, size_t n_bytes, bool digits_alone)
{
    const character first = character_at(text, n_bytes, 0);
    const size_t n = first.point == '\'' ? contraction(text, n_bytes, false) : 0;
    if (n > 0) return n;
    if (first.class == VR_UNICODE_NUMBER && digits_alone) return first.n_bytes;
    const size_t blank = first.point == ' ' ? 1 : 0;
    const character led = blank ? character_at(text, n_bytes, 1) : first;
    if (is_sign(led)) {
        size_t end = blank;
        for (character c; is_sign(c = character_at(text, n_bytes, end)); end += c.n_bytes) continue;
        return end;
    }
    if (led.class == VR_UNICODE_LETTER || (led.class == VR_UNICODE_NUMBER && !digits_alone))
        return blank + run(text, n_bytes, blank, led.class, INT32_MAX);
    size_t end = 0, last = 0; /* white space, and its last character */
    character behind;
    for (; (behind = character_at(text, n_bytes, end)).class == VR_UNICODE_SPACE; end += last) last = behind.n_bytes;
    const bool cut = behind.n_bytes == 0 || (digits_alone && behind.class == VR_UNICODE_NUMBER);
    return cut || end == last ? end : end - last;
}

static size_t first_of_qwen2(const char *text, size_t n_bytes, int most_digits)
{
    const character first = character_at(text, n_bytes, 0);
    if (first.point == '\'') {
        const size_t n = contraction(text, n_bytes, true);
        if (n > 0) return n;
    }
    if (first.class == VR_UNICODE_LETTER) return run(text, n_bytes, 0, VR_UNICODE_LETTER, INT32_MAX);
    if (first.class == VR_UNICODE_NUMBER) return run(text, n_bytes, 0, VR_UNICODE_NUMBER, most_digits);
    const character second = character_at(text, n_bytes, first.n_bytes);
    if (second.class == VR_UNICODE_LETTER && !is_line_end(first.point))
        return first.n_bytes + run(text, n_bytes, first.n_bytes, VR_UNICODE_LETTER, INT32_MAX);
    if (is_sign(first)) return signs_and_line_ends(text, n_bytes, 0);
    if (first.point == ' ' && is_sign(second)) return signs_and_line_ends(text, n_bytes, 1);
    return white_space(text, n_bytes);
}

size_t vr_split_first(const char *text, size_t n_bytes, vr_split_rule rule)
{
    switch (rule) {
    case VR_SPLIT_GPT2:
    case VR_SPLIT_SMOLLM:
        return first_of_gpt2(text, n_bytes, rule == VR_SPLIT_SMOLLM);
    case VR_SPLIT_QWEN2:
    case VR_SPLIT_LLAMA3:
        break;
    }
    return first_of_qwen2(text, n_bytes, rule == VR_SPLIT_LLAMA3 ? 3 : 1);
}
