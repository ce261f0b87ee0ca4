/*
 * vocab.c - see vocab.h.
 *
 * Trap: whoever makes a file chooses the spellings and so could make all of them collide: a run of occupied slots longer than
 *       chance allows is refused, which bounds the time to open a file and to look up a piece.
 */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define TOKENS  "tokenizer.ggml.tokens"
#define TYPES   "tokenizer.ggml.token_type"
#define EOS     "tokenizer.eos_ids"
#define ADD_BOS "tokenizer.ggml.add_bos_token"

#define MAX_EOS 64

/* With half of the slots empty, a million pieces and a good hash, runs stay below a hundred slots. */
#define MAX_RUN 1024

/* FNV-1a, 64 bits, folded: the low bits of the 32-bit variant are too regular for short spellings. */
static uint32_t hash_of(const char *data, size_t n_bytes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_bytes; i++) h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

static bool is_reserved(const vr_vocab *v, int id)
{
    const int type = v->types[id];
    return type == VR_PIECE_UNKNOWN || type == VR_PIECE_CONTROL || type == VR_PIECE_BYTE;
}

/* The slot of the piece, or the empty slot that ends the search; *run: slots passed. */
static vr_vocab_slot *slot_of(const vr_vocab *v, const char *data, size_t n_bytes, uint32_t hash, bool reserved, int *run)
{
    uint32_t at = hash & (v->n_slots - 1);
    for (*run = 0;; at = (at + 1) & (v->n_slots - 1), ++*run) {
        vr_vocab_slot *slot = &v->slots[at];
        if (slot->id < 0) return slot;
        const vr_string piece = v->pieces[slot->id];
        if (slot->hash == hash && piece.n_bytes == n_bytes && memcmp(piece.data, data, n_bytes) == 0 &&
            is_reserved(v, slot->id) == reserved)
            return slot;
    }
}

static int find(const vr_vocab *v, const char *data, size_t n_bytes, bool reserved)
{
    int run;
    return slot_of(v, data, n_bytes, hash_of(data, n_bytes), reserved, &run)->id;
}

int vr_vocab_find(const vr_vocab *v, const char *data, size_t n_bytes)
{
    const int id = find(v, data, n_bytes, true);
    return id >= 0 ? id : find(v, data, n_bytes, false);
}

int vr_vocab_find_mergeable(const vr_vocab *v, const char *data, size_t n_bytes)
{
    return find(v, data, n_bytes, false);
}

static int insert(vr_vocab *v, int id, const char *path, vr_err *e)
{
    const vr_string piece = v->pieces[id];
    if (piece.n_bytes == 0) return VR_OK;
    const uint32_t hash = hash_of(piece.data, piece.n_bytes);
    int run;
    vr_vocab_slot *slot = slot_of(v, piece.data, piece.n_bytes, hash, is_reserved(v, id), &run);
    if (run > MAX_RUN)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": more than %d pieces with the same hash", path, TOKENS, MAX_RUN);
    if (slot->id < 0) *slot = (vr_vocab_slot){ .id = id, .hash = hash };
    return VR_OK;
}

static int allocate(vr_vocab *v, int count, vr_err *e)
{
    v->n_slots = 16;
    while (v->n_slots < 2 * (uint32_t)count) v->n_slots *= 2; /* count is at most VR_MAX_VOCAB */
    v->pieces = calloc((size_t)count, sizeof *v->pieces);
    v->types = calloc((size_t)count, sizeof *v->types);
    v->slots = malloc(v->n_slots * sizeof *v->slots);
    if (!v->pieces || !v->types || !v->slots) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d pieces", count);
    v->count = count;
    for (uint32_t i = 0; i < v->n_slots; i++) v->slots[i] = (vr_vocab_slot){ .id = -1 };
    return VR_OK;
}

static int read_id(const vr_vocab *v, const vr_weights *w, int *id, const char *key, vr_err *e)
{
    *id = -1;
    if (!vr_weights_has(w, key)) return VR_OK;
    return vr_weights_int(w, id, 0, v->count - 1, e, "%s", key);
}

static int read_eos_ids(vr_vocab *v, const vr_weights *w, vr_err *e)
{
    int count;
    if (!vr_weights_has(w, EOS)) return VR_OK;
    VR_TRY(vr_weights_array(w, &count, e, EOS));
    if (count > MAX_EOS)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %d elements, more than %d", vr_weights_path(w), EOS, count,
                       MAX_EOS);
    v->eos_ids = calloc((size_t)count + 1, sizeof *v->eos_ids);
    if (!v->eos_ids) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d ids", count);
    v->n_eos_ids = count;
    for (int i = 0; i < count; i++) {
        VR_TRY(vr_weights_array_int(w, EOS, i, &v->eos_ids[i], e));
        if (v->eos_ids[i] < 0 || v->eos_ids[i] >= v->count)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": element %d is %d, the vocabulary has %d ids", vr_weights_path(w),
                           EOS, i, v->eos_ids[i], v->count);
    }
    return VR_OK;
}

int vr_vocab_open(vr_vocab *v, const vr_weights *w, vr_err *e)
{
    const char *path = vr_weights_path(w);
    int count, n_types;
    VR_TRY(vr_weights_array(w, &count, e, TOKENS));
    if (count < 1 || count > VR_MAX_VOCAB)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %d elements, expected 1 to %d", path, TOKENS, count,
                       VR_MAX_VOCAB);
    VR_TRY(vr_weights_array(w, &n_types, e, TYPES));
    if (n_types != count)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %d elements, \"%s\" %d", path, TYPES, n_types, TOKENS, count);
    VR_TRY(allocate(v, count, e));
    for (int id = 0; id < count; id++) {
        int type;
        VR_TRY(vr_weights_array_string(w, TOKENS, id, &v->pieces[id], e));
        VR_TRY(vr_weights_array_int(w, TYPES, id, &type, e));
        if (type < VR_PIECE_NORMAL || type > VR_PIECE_BYTE)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": id %d has type %d, expected 1 to 6", path, TYPES, id, type);
        v->types[id] = (unsigned char)type;
        VR_TRY(insert(v, id, path, e));
    }
    VR_TRY(read_id(v, w, &v->bos, "tokenizer.ggml.bos_token_id", e));
    bool begins = true;
    if (vr_weights_has(w, ADD_BOS)) VR_TRY(vr_weights_bool(w, &begins, e, ADD_BOS));
    if (!begins) v->bos = -1;
    VR_TRY(read_id(v, w, &v->eos, "tokenizer.ggml.eos_token_id", e));
    VR_TRY(read_id(v, w, &v->unknown, "tokenizer.ggml.unknown_token_id", e));
    return read_eos_ids(v, w, e);
}

void vr_vocab_free(vr_vocab *v)
{
    free(v->pieces);
    free(v->types);
    free(v->slots);
    free(v->eos_ids);
    *v = (vr_vocab){ 0 };
}
