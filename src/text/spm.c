/*
 * spm.c - SentencePiece BPE with byte fallback (LLaMA 1 and 2, Vicuna): a stretch of text to ids.
 *
 *   text -> normalise: dummy blank in front, blank -> U+2581, wrong bytes -> U+FFFD each
 *        -> symbols: user-defined pieces whole (longest first, never merged), else characters; doubly linked
 *        -> merges: heap of neighbouring pairs that are a piece; highest score first, then leftmost
 *        -> ids: piece, or its UTF-8 bytes as byte pieces, or the unknown id
 *
 * Where tokenizer.legacy is false a stretch behind a special string has no dummy blank, or (tokenizer.strip_prefix) loses it
 * again: it is taken off the first piece.
 * Ref:   google/sentencepiece bpe_model.cc (SampleEncode), normalizer.cc (Normalize, NormalizePrefix: every malformed byte
 *        becomes one U+FFFD), sentencepiece_processor.cc (byte fallback; runs of unknown characters are one unknown id);
 *        transformers 4.39 models/llama/tokenization_llama.py (tokenize, _tokenize), 4.31 likewise (strip_prefix).
 * Trap:  scores order the merges, not ids; pairs in the heap may be stale: they are known by their size.
 *        An unused piece takes part in merges and is then taken apart again where the pair considered last for its spelling
 *        was joined, even if that pair was never merged. An unused character stays (library 0.1.99).
 *        Not legacy, transformers encodes "<unk>" in front of a text that begins with a blank and drops its pieces again: the
 *        same as long as no piece has a blank behind another letter. There a text that begins with a special string has the
 *        dummy blank in front of that; a first piece that is a blank alone is dropped before a control token and stays before
 *        a token that was merely added.
 * Owner: the vocabulary is borrowed; texts, scores and the matcher are owned. Scratch is allocated per stretch.
 */
#include "text/spm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/heap.h"
#include "text/matcher.h"

#define SCORES       "tokenizer.ggml.scores"
#define LEGACY       "tokenizer.legacy"
#define STRIP_PREFIX "tokenizer.strip_prefix"
#define BLANK        "\xe2\x96\x81" /* U+2581 */
#define BLANK_BYTES  3

struct vr_spm {
    const vr_vocab *vocab;
    uint32_t *ranks;  /* [vocab->count] the order of the scores, the highest first */
    vr_string *texts; /* [vocab->count] what a piece adds to a text; in text_bytes or in the weight file */
    char *text_bytes;
    vr_matcher user_defined;
    size_t longest;     /* bytes of the longest piece that a merge can make */
    int32_t bytes[256]; /* ids of byte pieces; -1: missing */
    int n_bytes;        /* byte pieces there are; 0: no byte fallback */
    bool dummy_prefix, has_unused;
    bool legacy;       /* every stretch has the dummy blank, not only the first */
    bool strip_prefix; /* not legacy: the others have it and lose it */
};

typedef struct symbol {
    int32_t at, n_bytes;    /* in the normalised text; n_bytes 0: merged away */
    int32_t previous, next; /* -1: none */
    bool frozen;            /* a user-defined piece */
} symbol;

/* Scratch of one stretch. */
typedef struct work {
    const vr_spm *spm;
    char *text;
    int32_t n_text;
    symbol *symbols;
    int32_t n_symbols;
    vr_heap heap;
    int32_t *joined; /* [vocab->count] bytes of the left part of the last pair considered that is spelled so; not
                        set for others, NULL without unused pieces */
} work;

/* ---- opening ---- */

/* The bits of floats are ordered as their values, the negative ones backwards. */
static uint32_t rank_of(float score)
{
    uint32_t bits;
    const float positive_zero = score + 0.0f;
    memcpy(&bits, &positive_zero, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

static int read_scores(vr_spm *spm, const vr_weights *w, vr_err *e)
{
    const int count = spm->vocab->count;
    int n_scores;
    VR_TRY(vr_weights_array(w, &n_scores, e, SCORES));
    if (n_scores != count)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %d elements, the vocabulary %d", vr_weights_path(w), SCORES,
                       n_scores, count);
    spm->ranks = calloc((size_t)count, sizeof *spm->ranks);
    if (!spm->ranks) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d scores", count);
    for (int id = 0; id < count; id++) {
        float score;
        VR_TRY(vr_weights_array_float(w, SCORES, id, &score, e));
        spm->ranks[id] = rank_of(score);
    }
    return VR_OK;
}

static int read_bytes(vr_spm *spm, const vr_weights *w, vr_err *e)
{
    const vr_vocab *v = spm->vocab;
    for (int b = 0; b < 256; b++) {
        char name[8];
        const int n = snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        const int id = vr_vocab_find(v, name, (size_t)n);
        spm->bytes[b] = id >= 0 && v->types[id] == VR_PIECE_BYTE ? id : -1;
        if (spm->bytes[b] >= 0) spm->n_bytes++;
    }
    if (v->unknown < 0 && spm->n_bytes < 256)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: the tokenizer has neither an unknown id nor all 256 byte pieces (only %d)",
                       vr_weights_path(w), spm->n_bytes);
    return VR_OK;
}

static bool well_formed(vr_string text)
{
    size_t at = 0;
    uint32_t point;
    for (size_t n; (n = vr_utf8_decode(text.data + at, text.n_bytes - at, &point)) > 0;) at += n;
    return at == text.n_bytes;
}

/* User-defined pieces are searched for in the text; they and unused ones have a bounded length. Whole characters only: a piece
 * must not cut one of the text, which would make more symbols than characters. */
static int collect(vr_spm *spm, const vr_weights *w, vr_err *e)
{
    const vr_vocab *v = spm->vocab;
    int n_user_defined = 0;
    for (int id = 0; id < v->count; id++) {
        const int type = v->types[id];
        const size_t n = v->pieces[id].n_bytes;
        const bool bounded = type == VR_PIECE_USER_DEFINED || type == VR_PIECE_UNUSED;
        if (bounded && n > VR_VOCAB_SEARCHED_BYTES)
            return vr_fail(e, VR_ERR_WEIGHTS,
                           "%s: key \"tokenizer.ggml.tokens\": id %d has type %d and %zu bytes, more than %d",
                           vr_weights_path(w), id, type, n, VR_VOCAB_SEARCHED_BYTES);
        if (type == VR_PIECE_USER_DEFINED && !well_formed(v->pieces[id]))
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"tokenizer.ggml.tokens\": id %d is user-defined and not valid UTF-8",
                           vr_weights_path(w), id);
        if (type == VR_PIECE_USER_DEFINED && n > 0) n_user_defined++;
        if (type == VR_PIECE_UNUSED) spm->has_unused = true;
        if ((bounded || type == VR_PIECE_NORMAL) && n > spm->longest) spm->longest = n;
    }
    if (n_user_defined == 0) return VR_OK;
    vr_matcher_entry *entries = malloc((size_t)n_user_defined * sizeof *entries);
    if (!entries) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d user-defined pieces", n_user_defined);
    for (int id = 0, i = 0; id < v->count; id++)
        if (v->types[id] == VR_PIECE_USER_DEFINED && v->pieces[id].n_bytes > 0)
            entries[i++] = (vr_matcher_entry){ .string = v->pieces[id], .value = id };
    vr_matcher_open(&spm->user_defined, entries, n_user_defined);
    return VR_OK;
}

/* Copy a piece with blanks for U+2581; returns the bytes written, never more than the piece has. */
static size_t unescape(char *out, vr_string piece)
{
    size_t n = 0;
    for (size_t i = 0; i < piece.n_bytes;) {
        if (piece.n_bytes - i >= BLANK_BYTES && memcmp(piece.data + i, BLANK, BLANK_BYTES) == 0) {
            out[n++] = ' ';
            i += BLANK_BYTES;
        } else {
            out[n++] = piece.data[i++];
        }
    }
    return n;
}

static int write_texts(vr_spm *spm, vr_err *e)
{
    const vr_vocab *v = spm->vocab;
    size_t total = 256; /* the bytes of byte pieces; the sum of all pieces is less than the weight file's size */
    for (int id = 0; id < v->count; id++) total += v->pieces[id].n_bytes;
    spm->texts = calloc((size_t)v->count, sizeof *spm->texts);
    spm->text_bytes = malloc(total);
    if (!spm->texts || !spm->text_bytes)
        return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the texts of %d pieces", v->count);
    char *out = spm->text_bytes;
    for (int b = 0; b < 256; b++) *out++ = (char)b;
    for (int id = 0; id < v->count; id++) {
        const int type = v->types[id];
        spm->texts[id] = v->pieces[id];
        if (type == VR_PIECE_UNKNOWN || type == VR_PIECE_CONTROL || type == VR_PIECE_BYTE) continue;
        spm->texts[id] = (vr_string){ out, unescape(out, v->pieces[id]) };
        out += spm->texts[id].n_bytes;
    }
    for (int b = 0; b < 256; b++)
        if (spm->bytes[b] >= 0) spm->texts[spm->bytes[b]] = (vr_string){ spm->text_bytes + b, 1 };
    return VR_OK;
}

int vr_spm_open(vr_spm **out, const vr_vocab *vocab, const vr_weights *w, vr_err *e)
{
    vr_spm *spm = calloc(1, sizeof *spm);
    if (!spm) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a tokenizer");
    spm->vocab = vocab;
    spm->legacy = true;
    int rc = vr_weights_bool(w, &spm->dummy_prefix, e, "tokenizer.ggml.add_space_prefix");
    if (rc == VR_OK && vr_weights_has(w, LEGACY)) rc = vr_weights_bool(w, &spm->legacy, e, LEGACY);
    if (rc == VR_OK && vr_weights_has(w, STRIP_PREFIX)) rc = vr_weights_bool(w, &spm->strip_prefix, e, STRIP_PREFIX);
    if (rc == VR_OK) rc = read_scores(spm, w, e);
    if (rc == VR_OK) rc = read_bytes(spm, w, e);
    if (rc == VR_OK) rc = collect(spm, w, e);
    if (rc == VR_OK) rc = write_texts(spm, e);
    if (rc == VR_OK)
        *out = spm;
    else
        vr_spm_free(spm);
    return rc;
}

void vr_spm_free(vr_spm *spm)
{
    if (!spm) return;
    vr_matcher_free(&spm->user_defined);
    free(spm->ranks);
    free(spm->texts);
    free(spm->text_bytes);
    free(spm);
}

bool vr_spm_legacy(const vr_spm *spm)
{
    return spm->legacy;
}

vr_string vr_spm_piece(const vr_spm *spm, int32_t id)
{
    return spm->texts[id];
}

/* ---- text to symbols ---- */

static bool has_prefix(const vr_spm *spm, const vr_spm_stretch *s)
{
    if (!spm->dummy_prefix) return false;
    if (spm->legacy || spm->strip_prefix) return s->n_bytes > 0;
    return !s->behind_special && (s->n_bytes > 0 || s->next >= 0);
}

static void normalise(work *k, const char *text, size_t n_bytes, bool prefix)
{
    char *out = k->text;
    if (prefix) out = (char *)memcpy(out, BLANK, BLANK_BYTES) + BLANK_BYTES;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t point;
        const size_t length = vr_utf8_decode(text + i, n_bytes - i, &point);
        const bool replaced = length == 0 || point == ' ';
        const char *from = length == 0 ? "\xef\xbf\xbd" : replaced ? BLANK : text + i;
        const size_t n = replaced ? 3 : length;
        memcpy(out, from, n);
        out += n;
        i += length > 0 ? length : 1;
    }
    k->n_text = (int32_t)(out - k->text);
}

/* Bytes of the character that begins with first; the text is well-formed and user-defined pieces are whole characters. */
static int32_t character_bytes(char first)
{
    const unsigned char byte = (unsigned char)first;
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

static void split(work *k)
{
    for (int32_t at = 0; at < k->n_text;) {
        size_t matched = 0;
        const bool frozen = vr_matcher_find(&k->spm->user_defined, k->text + at, (size_t)(k->n_text - at), &matched) >= 0;
        const int32_t n = frozen ? (int32_t)matched : character_bytes(k->text[at]);
        const int32_t i = k->n_symbols++;
        k->symbols[i] = (symbol){ .at = at, .n_bytes = n, .previous = i - 1, .next = i + 1, .frozen = frozen };
        at += n;
    }
    if (k->n_symbols > 0) k->symbols[k->n_symbols - 1].next = -1;
}

/* ---- merging ---- */

static void consider(work *k, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return;
    const symbol *a = &k->symbols[left], *b = &k->symbols[right];
    const int32_t n = a->n_bytes + b->n_bytes;
    if (a->frozen || b->frozen || (size_t)n > k->spm->longest) return;
    const int id = vr_vocab_find_mergeable(k->spm->vocab, k->text + a->at, (size_t)n);
    if (id < 0) return;
    if (k->joined) k->joined[id] = a->n_bytes;
    vr_heap_push(&k->heap, (vr_heap_pair){ .rank = k->spm->ranks[id], .left = left, .right = right, .n_bytes = n });
}

static void merge(work *k)
{
    for (int32_t i = 1; i < k->n_symbols; i++) consider(k, i - 1, i);
    while (k->heap.count > 0) {
        const vr_heap_pair p = vr_heap_pop(&k->heap);
        symbol *left = &k->symbols[p.left], *right = &k->symbols[p.right];
        if (left->n_bytes == 0 || right->n_bytes == 0 || left->n_bytes + right->n_bytes != p.n_bytes) continue;
        left->n_bytes = p.n_bytes;
        left->next = right->next;
        if (right->next >= 0) k->symbols[right->next].previous = p.left;
        right->n_bytes = 0;
        consider(k, left->previous, p.left);
        consider(k, p.left, left->next);
    }
}

/* ---- symbols to ids ---- */

static int emit_unknown(const work *k, const char *data, int32_t n_bytes, bool *in_unknown, vr_ids *ids, vr_err *e)
{
    const vr_spm *spm = k->spm;
    if (spm->n_bytes == 0) {
        const bool again = *in_unknown;
        *in_unknown = true;
        return again ? VR_OK : vr_ids_push(ids, spm->vocab->unknown, e);
    }
    for (int32_t i = 0; i < n_bytes; i++) {
        const int32_t id = spm->bytes[(unsigned char)data[i]];
        VR_TRY(vr_ids_push(ids, id >= 0 ? id : spm->vocab->unknown, e));
    }
    return VR_OK;
}

/* Recursion ends at pieces in use; the parts get shorter and begin with at most VR_VOCAB_SEARCHED_BYTES. */
static int emit(const work *k, const char *data, int32_t n_bytes, bool *in_unknown, vr_ids *ids, vr_err *e)
{
    const vr_vocab *v = k->spm->vocab;
    const int id = vr_vocab_find(v, data, (size_t)n_bytes);
    if (id < 0 || id == v->unknown) return emit_unknown(k, data, n_bytes, in_unknown, ids, e);
    if (v->types[id] == VR_PIECE_UNUSED && n_bytes > character_bytes(*data)) { /* it was merged, so the pair was considered */
        VR_TRY(emit(k, data, k->joined[id], in_unknown, ids, e));
        return emit(k, data + k->joined[id], n_bytes - k->joined[id], in_unknown, ids, e);
    }
    *in_unknown = false;
    return vr_ids_push(ids, id, e);
}

static bool is_blank(const vr_spm *spm, int32_t id)
{
    const vr_string piece = spm->vocab->pieces[id];
    return piece.n_bytes == BLANK_BYTES && memcmp(piece.data, BLANK, BLANK_BYTES) == 0;
}

/* The ids from `first` on without the dummy blank at the beginning of their first piece. What is left of it may be no piece:
 * then it is the unknown id, as in the original. */
static void strip_prefix(const vr_spm *spm, vr_ids *ids, int first)
{
    if (ids->count == first) return;
    const vr_vocab *v = spm->vocab;
    const vr_string piece = v->pieces[ids->data[first]];
    if (piece.n_bytes < BLANK_BYTES || memcmp(piece.data, BLANK, BLANK_BYTES) != 0) return;
    if (piece.n_bytes > BLANK_BYTES) {
        const int id = vr_vocab_find(v, piece.data + BLANK_BYTES, piece.n_bytes - BLANK_BYTES);
        if (id >= 0 || v->unknown >= 0) ids->data[first] = id >= 0 ? id : v->unknown;
        return;
    }
    memmove(ids->data + first, ids->data + first + 1, (size_t)(ids->count - first - 1) * sizeof ids->data[0]);
    ids->count--;
}

/* What the original does to the ids of a stretch, those from `first` on, where the tokenizer is not legacy. */
static void repair(const vr_spm *spm, const vr_spm_stretch *s, vr_ids *ids, int first)
{
    if (spm->strip_prefix) {
        if (spm->dummy_prefix && s->behind_special && s->text[0] != ' ') strip_prefix(spm, ids, first);
        return;
    }
    const bool special = s->next >= 0 && spm->vocab->types[s->next] != VR_PIECE_USER_DEFINED;
    if (special && !s->behind_special && ids->count == first + 1 && is_blank(spm, ids->data[first])) ids->count--;
}

int vr_spm_encode(const vr_spm *spm, const vr_spm_stretch *stretch, vr_ids *ids, vr_err *e)
{
    const size_t n_bytes = stretch->n_bytes;
    assert(n_bytes <= VR_MAX_PROMPT); /* so that every size below fits int32_t */
    const bool prefix = has_prefix(spm, stretch);
    if (n_bytes == 0 && !prefix) return VR_OK;
    work k = { .spm = spm };
    const size_t n_symbols = n_bytes + 1; /* a byte makes at most one character, the dummy prefix another */
    const int first = ids->count;
    int rc = VR_OK;
    k.text = malloc(3 * n_symbols);
    k.symbols = malloc(n_symbols * sizeof *k.symbols);
    k.heap.pairs = malloc(2 * n_symbols * sizeof *k.heap.pairs);
    if (spm->has_unused) k.joined = malloc((size_t)spm->vocab->count * sizeof *k.joined);
    if (!k.text || !k.symbols || !k.heap.pairs || (spm->has_unused && !k.joined)) {
        rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory to tokenise %zu bytes", n_bytes);
        goto done;
    }
    normalise(&k, stretch->text, n_bytes, prefix);
    split(&k);
    merge(&k);
    bool in_unknown = false;
    for (int32_t i = 0; i >= 0 && rc == VR_OK; i = k.symbols[i].next)
        rc = emit(&k, k.text + k.symbols[i].at, k.symbols[i].n_bytes, &in_unknown, ids, e);
    if (rc == VR_OK && !spm->legacy) repair(spm, stretch, ids, first);
done:
    free(k.text);
    free(k.symbols);
    free(k.heap.pairs);
    free(k.joined);
    return rc;
}
