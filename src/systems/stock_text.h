/*
 * stock_text.h - stock text models (GGUF as llama.cpp writes it) under the keys of our own files.
 *
 *   general.architecture llama | qwen2 -> keys of weights/FORMAT.md beside the file's (vr_weights_add_keys); tensors stay
 *
 * Ref:   ggml/docs/gguf.md (names of keys); llama.cpp llama-arch.cpp, llama-model.cpp (defaults), llama-chat.cpp (which marks
 *        make out a chat template), llama-vocab.cpp (defaults of the tokenizers, which pieces end an answer).
 * Trap:  rows of q and k of a llama file are in the order of adjacent pairs, those of qwen2 in halves. Where nothing is asked,
 *        prompt and answer may hold 4096 rows: a cache of 128 K rows would take more memory than the model.
 */
#ifndef VR_STOCK_TEXT_H
#define VR_STOCK_TEXT_H

#include "base/weights.h"

/* context: rows of prompt and answer, 0: 4096, or what the model was made for where that is less. Nothing where the file is
 * one of ours (or says nothing). VR_ERR_WEIGHTS for another architecture; VR_ERR_USAGE for a context that is asked of one of
 * our files, or that is longer than the model was made for. */
int vr_stock_text_adopt(vr_weights *w, int context, vr_err *e);

#endif
