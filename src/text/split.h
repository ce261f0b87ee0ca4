/*
 * split.h - how a byte-level BPE tokenizer cuts a text into parts that are merged each for itself; internal to src/text.
 *
 *   text -> contraction | letters | numbers | signs | line ends | white space ...
 *
 * Ref:   the expression of Qwen2's and Llama 3's tokenizer.json, alternatives in this order; i: case ignored; L, N, S: classes
 *        of unicode.h:
 *          i('s 't 're 've 'm 'll 'd) | [not CR, LF, L, N]? L+ | N (Llama 3: N{1,3}) | blank? [not S, L, N]+ [CR, LF]*
 *          | S* [CR, LF]+ | S+ not before a non-S | S+
 *        openai/gpt-2 encoder.py (pat):
 *          's 't 're 've 'm 'll 'd | blank? L+ | blank? N+ | blank? [not S, L, N]+ | S+ not before a non-S | S+
 *        SmolLM's tokenizer.json: each N is cut out first, then GPT-2's on what lies between: a run of S ends there.
 * Trap:  s without case is also U+017F. The last of several white spaces belongs to what follows, unless a line end is among
 *        them: then all up to the last line end is one part.
 */
#ifndef VR_SPLIT_H
#define VR_SPLIT_H

#include <stddef.h>

typedef enum vr_split_rule { VR_SPLIT_QWEN2, VR_SPLIT_LLAMA3, VR_SPLIT_GPT2, VR_SPLIT_SMOLLM } vr_split_rule;

/* Bytes of the first part of text, valid UTF-8 of at least one byte. All parts together take time linear in the text. */
size_t vr_split_first(const char *text, size_t n_bytes, vr_split_rule rule);

#endif
