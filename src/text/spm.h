/*
 * spm.h - SentencePiece BPE with byte fallback, the kind "llama"; internal to src/text.
 */
#ifndef VR_SPM_H
#define VR_SPM_H

#include "base/ids.h"
#include "text/vocab.h"

typedef struct vr_spm vr_spm;

int vr_spm_open(vr_spm **out, const vr_vocab *vocab, const vr_weights *w, vr_err *e); /* vocab is borrowed */
void vr_spm_free(vr_spm *spm);                                                        /* NULL is legal */
/* Append the ids of a stretch without special strings; nothing where it is empty. */
int vr_spm_encode(const vr_spm *spm, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e);
vr_string vr_spm_piece(const vr_spm *spm, int32_t id); /* as vr_tokenizer_piece */

#endif
