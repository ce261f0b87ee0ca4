/*
 * tokenizer.h - text to ids and back; the kind is named by the weight file (tokenizer.ggml.model).
 *
 *   text -> split at special strings -> each stretch: SentencePiece BPE with byte fallback (spm.c), or byte-level BPE (bpe.c)
 *        -> ids
 *   id -> bytes of its piece -> vr_text_stream: whole UTF-8 characters only
 */
#ifndef VR_TOKENIZER_H
#define VR_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "base/weights.h"

typedef struct vr_tokenizer vr_tokenizer;

int vr_tokenizer_open(vr_tokenizer **out, const vr_weights *w, vr_err *e);
void vr_tokenizer_free(vr_tokenizer *tokenizer);
int vr_tokenizer_vocab(const vr_tokenizer *tokenizer); /* number of ids */
int vr_tokenizer_bos(const vr_tokenizer *tokenizer);   /* -1: none */
bool vr_tokenizer_ends(const vr_tokenizer *tokenizer, int32_t id); /* whether an answer ends with this id */

/* Append the ids of text (any bytes; invalid UTF-8 is read as U+FFFD) to ids. No BOS is added. Strings of special tokens in the
 * text become their ids, as the Hugging Face slow tokenizer does. */
int vr_tokenizer_encode(const vr_tokenizer *tokenizer, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e);

/* Id of the piece that is spelled exactly so, in the weight file's spelling (tokenizer.ggml.tokens), or -1. */
int vr_tokenizer_find(const vr_tokenizer *tokenizer, const char *piece, size_t n_bytes);

/* Bytes that id adds to a text: blanks as such, byte pieces as their byte, special pieces as their spelling, or nothing where
 * the file has tokenizer.skip_special. Borrowed. */
vr_string vr_tokenizer_piece(const vr_tokenizer *tokenizer, int32_t id);

/* Bytes in, whole characters out: an unfinished character waits, a wrong one becomes U+FFFD (as Python's errors="replace"). */
typedef struct vr_text_stream {
    unsigned char pending[4];
    int n_pending;
} vr_text_stream;

/* Returns the number of bytes written to out, which has room for 3 * (n_bytes + 4). flush: nothing more will come. */
size_t vr_text_stream_push(vr_text_stream *stream, const char *data, size_t n_bytes, bool flush, char *out);

#endif
