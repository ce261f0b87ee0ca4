/*
 * bpe.h - byte-level BPE, the kind "gpt2" (Qwen2, Llama 3); internal to src/text.
 */
#ifndef VR_BPE_H
#define VR_BPE_H

#include "base/ids.h"
#include "text/vocab.h"

typedef struct vr_bpe vr_bpe;

int vr_bpe_open(vr_bpe **out, const vr_vocab *vocab, const vr_weights *w, vr_err *e); /* vocab is borrowed */
void vr_bpe_free(vr_bpe *bpe);                                                        /* NULL is legal */
/* Append the ids of a stretch without special strings. */
int vr_bpe_encode(const vr_bpe *bpe, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e);
vr_string vr_bpe_piece(const vr_bpe *bpe, int32_t id); /* as vr_tokenizer_piece */

#endif
