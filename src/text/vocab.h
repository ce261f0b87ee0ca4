/*
 * vocab.h - the pieces of the weight file's tokenizer, by id and by spelling.
 *
 *   tokenizer.ggml.tokens, .token_type -> pieces [count] -> hash table: spelling -> id
 *   tokenizer.ggml.{bos,eos,unknown}_token_id, tokenizer.eos_ids; tokenizer.ggml.add_bos_token false: no bos (stock files)
 *
 * Shared by all kinds of tokenizers; internal to src/text.
 * Ref:   google/sentencepiece model_interface.cc (InitializePieces, PieceToId): pieces that a text can be made of and reserved
 *        ones (unknown, control, byte) are two name spaces; the reserved one is asked first.
 * Trap:  one spelling may occur in both spaces; of equals in one space the lowest id counts, and an empty piece is never found.
 * Owner: the arrays are owned, spellings are borrowed from the weight file.
 */
#ifndef VR_VOCAB_H
#define VR_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/weights.h"

/* The longest piece that is searched for in a text (user-defined, special) or taken apart again (unused). Published ones have
 * at most a few dozen bytes; the bound keeps the search linear in the text whatever a file says. */
#define VR_VOCAB_SEARCHED_BYTES 256

typedef enum vr_piece_type { /* numbers of the file format */
                             VR_PIECE_NORMAL = 1,
                             VR_PIECE_UNKNOWN = 2,
                             VR_PIECE_CONTROL = 3,
                             VR_PIECE_USER_DEFINED = 4,
                             VR_PIECE_UNUSED = 5,
                             VR_PIECE_BYTE = 6
} vr_piece_type;

typedef struct vr_vocab_slot {
    int32_t id; /* -1: empty */
    uint32_t hash;
} vr_vocab_slot;

typedef struct vr_vocab {
    int count;
    vr_string *pieces;     /* [count] */
    unsigned char *types;  /* [count] vr_piece_type */
    vr_vocab_slot *slots;  /* [n_slots] open addressing */
    uint32_t n_slots;      /* a power of two, at least twice count */
    int bos, eos, unknown; /* -1: none */
    int *eos_ids;          /* [n_eos_ids] that end an answer beside eos */
    int n_eos_ids;
} vr_vocab;

int vr_vocab_open(vr_vocab *v, const vr_weights *w, vr_err *e); /* v is zeroed; on failure it still has to be freed */
void vr_vocab_free(vr_vocab *v);

int vr_vocab_find(const vr_vocab *v, const char *data, size_t n_bytes);           /* reserved first; -1: none */
int vr_vocab_find_mergeable(const vr_vocab *v, const char *data, size_t n_bytes); /* normal, user-defined, unused; -1: none */

#endif
