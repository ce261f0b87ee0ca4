/*
 * split.h - how a byte-level BPE tokenizer cuts a text into parts that are merged each for itself; internal to src/text.
 *
 *   text -> contraction | letters | numbers | signs | line ends | white space ...
 *
 * Ref:   the expression of Qwen2's and Llama 3's tokenizer.json, alternatives in this order; i: case ignored; L, N, S: classes
 *        of unicode.h:
 *          i('s 't 're 've 'm 'll 'd) | [not CR, LF, L, N]? L+ | N (Llama 3: N{1,3}) | blank? [not S, L, N]+ [CR, LF]*
 *          | S* [CR, LF]+ | S+ not before a non-S | S+
 * Trap:  s without case is also U+017F. The last of several white spaces belongs to what follows, unless a line end is among
 *        them: then all up to the last line end is one part.
 */
#ifndef VR_SPLIT_H
#define VR_SPLIT_H

#include <stddef.h>

/* Bytes of the first part of text, valid UTF-8 of at least one byte. most_digits: N that one part takes. All parts together
 * take time linear in the text. */
size_t vr_split_first(const char *text, size_t n_bytes, int most_digits);

#endif
