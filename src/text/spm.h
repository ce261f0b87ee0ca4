/*
 * spm.h - SentencePiece BPE with byte fallback, the kind "llama"; internal to src/text.
 */
#ifndef VR_SPM_H
#define VR_SPM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ids.h"
#include "text/vocab.h"

typedef struct vr_spm vr_spm;

int vr_spm_open(vr_spm **out, const vr_vocab *vocab, const vr_weights *w, vr_err *e); /* vocab is borrowed */
void vr_spm_free(vr_spm *spm);                                                        /* NULL is legal */
bool vr_spm_legacy(const vr_spm *spm); /* false: U+2581 in a text is a blank, also to whoever looks for special strings */

/* What stands between special strings. */
typedef struct vr_spm_stretch {
    const char *text;
    size_t n_bytes;
    bool behind_special; /* not the first one */
    int32_t next;        /* id of the special string behind it; -1: none */
} vr_spm_stretch;

/* Append the ids of a stretch; none where it is empty. */
int vr_spm_encode(const vr_spm *spm, const vr_spm_stretch *stretch, vr_ids *ids, vr_err *e);
vr_string vr_spm_piece(const vr_spm *spm, int32_t id); /* as vr_tokenizer_piece */

#endif
