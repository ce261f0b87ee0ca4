/*
 * stock_text.h - stock text models (GGUF as llama.cpp writes it) under the keys of our own files.
 *
 *   general.architecture llama | qwen2 -> keys of weights/FORMAT.md beside the file's (vr_weights_add_keys); tensors stay
 *
 * Ref:   ggml/docs/gguf.md (names of keys); llama.cpp llama-arch.cpp, llama-model.cpp (defaults), llama-chat.cpp (which marks
 *        make out a chat template), llama-vocab.cpp (defaults of the tokenizers, which pieces end an answer).
 * Trap:  rows of q and k of a llama file are in the order of adjacent pairs, those of qwen2 in halves. A prompt may hold 4096
 *        rows, or what the model was made for where that is less: a cache of 128 K rows would take more memory than the model.
 */
#ifndef VR_STOCK_TEXT_H
#define VR_STOCK_TEXT_H

#include "base/weights.h"

/* Nothing where the file is one of ours (or says nothing). VR_ERR_WEIGHTS for another architecture. */
int vr_stock_text_adopt(vr_weights *w, vr_err *e);

#endif
