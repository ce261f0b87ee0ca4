/*
 * bpe.c - byte-level BPE (Qwen2, Llama 3): a stretch of text to ids.
 *
 *   text -> wrong bytes -> U+FFFD each -> normal form C, where the file says so -> parts (split.h), each for itself:
 *        -> whole part a piece, where merges are ignored: its id
 *        -> else symbols: one byte each; doubly linked -> merges: heap of neighbours, lowest rank first, then leftmost -> ids
 *
 * Ref:   openai/gpt-2 encoder.py (bytes_to_unicode, bpe); huggingface/tokenizers models/bpe/word.rs (merge_all: a heap in
 *        place of a search for the best pair), models/bpe/model.rs (ignore_merges).
 * Trap:  pieces are spelled in an alphabet that has a printable letter for every byte: a blank is U+0120.
 *        A merge is known by the ids of its parts: pieces made in different ways have a rank for each way.
 * Owner: the vocabulary is borrowed; texts and merges are owned. Scratch is allocated per stretch, O(n log n) time.
 */
#include "text/bpe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/heap.h"
#include "text/split.h"
#include "text/unicode.h"

#define MERGES "tokenizer.ggml.merges"
#define PRE    "tokenizer.ggml.pre"

/* As in vocab.c: whoever makes a file could make all merges collide. */
#define MAX_RUN 1024

#define ALPHABET 324 /* code points of the alphabet are below: 256 + the 68 bytes that have no printable letter of their own */

typedef struct merge {
    int32_t left, right, made; /* pieces; the place in the list is the rank */
} merge;

struct vr_bpe {
    const vr_vocab *vocab;
    vr_string *texts; /* [vocab->count] what a piece adds to a text; in text_bytes or in the weight file */
    char *text_bytes;
    int16_t byte_of[ALPHABET]; /* -1: no letter of the alphabet */
    char letters[256][2];      /* the letter of a byte, UTF-8 */
    int letter_bytes[256];     /* 1 or 2 */
    int32_t bytes[256];        /* the piece that is one byte; -1: none, see partial */
    size_t longest;            /* bytes of the longest spelling */
    merge *merges;
    int n_merges;
    int32_t *slots; /* [n_slots] open addressing, indexes of merges; -1: empty */
    uint32_t n_slots;
    vr_split_rule rule;
    bool ignore_merges, nfc;
    bool partial; /* some bytes have no piece */
};

typedef struct symbol {
    int32_t id, n_bytes;    /* n_bytes 0: merged away */
    int32_t previous, next; /* -1: none */
} symbol;

/* Scratch of one stretch. */
typedef struct work {
    const vr_bpe *bpe;
    char *clean, *normal; /* the text after each step; NULL: the step changed nothing */
    symbol *symbols;
    vr_heap heap;
} work;

/* ---- opening ---- */

static bool is_printable(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

static void alphabet_make(vr_bpe *bpe)
{
    for (int i = 0; i < ALPHABET; i++) bpe->byte_of[i] = -1;
    for (int b = 0, others = 0; b < 256; b++) {
        const int point = is_printable(b) ? b : 256 + others++;
        bpe->byte_of[point] = (int16_t)b;
        bpe->letter_bytes[b] = point < 0x80 ? 1 : 2;
        bpe->letters[b][0] = (char)(point < 0x80 ? point : 0xc0 | point >> 6);
        bpe->letters[b][1] = (char)(0x80 | (point & 0x3f));
    }
}

/* The bytes that a spelling stands for, written to out; false: it has other letters than the alphabet's. */
static bool unspell(const vr_bpe *bpe, vr_string piece, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t i = 0, length; i < piece.n_bytes; i += length) {
        uint32_t point;
        length = vr_utf8_decode(piece.data + i, piece.n_bytes - i, &point);
        if (length == 0 || point >= ALPHABET || bpe->byte_of[point] < 0) return false;
        out[n++] = (char)bpe->byte_of[point];
    }
    *n_out = n;
    return true;
}

static int texts_read(vr_bpe *bpe, const vr_weights *w, vr_err *e)
{
    const vr_vocab *v = bpe->vocab;
    size_t total = 1; /* the sum of all pieces is less than the weight file's size */
    for (int id = 0; id < v->count; id++) total += v->pieces[id].n_bytes;
    bpe->texts = calloc((size_t)v->count, sizeof *bpe->texts);
    bpe->text_bytes = malloc(total);
    if (!bpe->texts || !bpe->text_bytes)
        return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the texts of %d pieces", v->count);
    char *out = bpe->text_bytes;
    for (int id = 0; id < v->count; id++) {
        const int type = v->types[id];
        bpe->texts[id] = type == VR_PIECE_UNUSED ? (vr_string){ "", 0 } : v->pieces[id];
        if (type != VR_PIECE_NORMAL) continue;
        size_t n;
        if (!unspell(bpe, v->pieces[id], out, &n))
            return vr_fail(e, VR_ERR_WEIGHTS,
                           "%s: key \"tokenizer.ggml.tokens\": id %d is not spelled in the letters for bytes",
                           vr_weights_path(w), id);
        bpe->texts[id] = (vr_string){ out, n };
        out += n;
        if (v->pieces[id].n_bytes > bpe->longest) bpe->longest = v->pieces[id].n_bytes;
    }
    return VR_OK;
}

/* -1: no normal piece is spelled so. */
static int find_normal(const vr_bpe *bpe, const char *spelling, size_t n_bytes)
{
    const int id = vr_vocab_find_mergeable(bpe->vocab, spelling, n_bytes);
    return id >= 0 && bpe->vocab->types[id] == VR_PIECE_NORMAL ? id : -1;
}

static int bytes_read(vr_bpe *bpe, const vr_weights *w, vr_err *e)
{
    for (int b = 0; b < 256; b++) {
        bpe->bytes[b] = find_normal(bpe, bpe->letters[b], (size_t)bpe->letter_bytes[b]);
        if (bpe->bytes[b] < 0 && !bpe->partial)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: the vocabulary has no piece for byte 0x%02x", vr_weights_path(w),
                           (unsigned)b);
    }
    return VR_OK;
}

/* The slot of the merge, or the empty slot that ends the search; *run: slots passed. */
static int32_t *slot_of(const vr_bpe *bpe, int32_t left, int32_t right, int *run)
{
    const uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    uint32_t at = (uint32_t)(key >> 32) & (bpe->n_slots - 1);
    for (*run = 0;; at = (at + 1) & (bpe->n_slots - 1), ++*run) {
        int32_t *slot = &bpe->slots[at];
        if (*slot < 0 || (bpe->merges[*slot].left == left && bpe->merges[*slot].right == right)) return slot;
    }
}

/* "LEFT RIGHT", both and what they make together normal pieces; longest and scratch bound what has to be copied. */
static bool merge_parse(const vr_bpe *bpe, vr_string text, char *scratch, merge *out)
{
    const char *blank = memchr(text.data, ' ', text.n_bytes);
    if (!blank || text.n_bytes - 1 > bpe->longest) return false;
    const size_t n_left = (size_t)(blank - text.data), n_right = text.n_bytes - n_left - 1;
    memcpy(scratch, text.data, n_left);
    memcpy(scratch + n_left, blank + 1, n_right);
    *out = (merge){ .left = find_normal(bpe, scratch, n_left),
                    .right = find_normal(bpe, scratch + n_left, n_right),
                    .made = find_normal(bpe, scratch, n_left + n_right) };
    return out->left >= 0 && out->right >= 0 && out->made >= 0;
}

static int merges_fill(vr_bpe *bpe, const vr_weights *w, char *scratch, vr_err *e)
{
    for (int i = 0; i < bpe->n_merges; i++) {
        vr_string text;
        int run;
        VR_TRY(vr_weights_array_string(w, MERGES, i, &text, e));
        if (!merge_parse(bpe, text, scratch, &bpe->merges[i]))
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": element %d does not make a piece of two pieces",
                           vr_weights_path(w), MERGES, i);
        *slot_of(bpe, bpe->merges[i].left, bpe->merges[i].right, &run) = i;
        if (run > MAX_RUN)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": more than %d merges with the same hash", vr_weights_path(w),
                           MERGES, MAX_RUN);
    }
    return VR_OK;
}

static int merges_read(vr_bpe *bpe, const vr_weights *w, vr_err *e)
{
    VR_TRY(vr_weights_array(w, &bpe->n_merges, e, MERGES));
    bpe->n_slots = 16;
    while (bpe->n_slots < 2 * (uint32_t)bpe->n_merges) bpe->n_slots *= 2; /* n_merges is at most VR_MAX_ARRAY */
    bpe->merges = calloc((size_t)bpe->n_merges + 1, sizeof *bpe->merges);
    bpe->slots = malloc(bpe->n_slots * sizeof *bpe->slots);
    char *scratch = malloc(bpe->longest + 1);
    int rc = VR_ERR_LIMIT;
    if (bpe->merges && bpe->slots && scratch) {
        for (uint32_t i = 0; i < bpe->n_slots; i++) bpe->slots[i] = -1;
        rc = merges_fill(bpe, w, scratch, e);
    } else {
        vr_fail(e, rc, "not enough memory for %d merges", bpe->n_merges);
    }
    free(scratch);
    return rc;
}

static const struct {
    const char *name;
    vr_split_rule rule;
    bool partial; /* bytes that text hardly ever has need no piece: they are dropped */
} pres[] = { { "qwen2", VR_SPLIT_QWEN2, false },
             { "llama-bpe", VR_SPLIT_LLAMA3, false },
             { "smollm", VR_SPLIT_SMOLLM, true },
             { "gpt-2", VR_SPLIT_GPT2, false } };

static int pre_read(vr_bpe *bpe, const vr_weights *w, vr_err *e)
{
    vr_string pre;
    size_t i = 0;
    const size_t count = sizeof pres / sizeof pres[0];
    VR_TRY(vr_weights_string(w, &pre, e, PRE));
    while (i < count && (strlen(pres[i].name) != pre.n_bytes || memcmp(pres[i].name, pre.data, pre.n_bytes) != 0)) i++;
    if (i == count) {
        char name[64];
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" is \"%s\"; this version reads qwen2, llama-bpe, smollm and gpt-2",
                       vr_weights_path(w), PRE, vr_utf8_escape(name, sizeof name, pre.data, pre.n_bytes));
    }
    bpe->rule = pres[i].rule;
    bpe->partial = pres[i].partial;
    VR_TRY(vr_weights_bool(w, &bpe->ignore_merges, e, "tokenizer.ignore_merges"));
    return vr_weights_bool(w, &bpe->nfc, e, "tokenizer.nfc");
}

int vr_bpe_open(vr_bpe **out, const vr_vocab *vocab, const vr_weights *w, vr_err *e)
{
    vr_bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a tokenizer");
    bpe->vocab = vocab;
    alphabet_make(bpe);
    int rc = pre_read(bpe, w, e);
    if (rc == VR_OK) rc = texts_read(bpe, w, e);
    if (rc == VR_OK) rc = bytes_read(bpe, w, e);
    if (rc == VR_OK) rc = merges_read(bpe, w, e);
    if (rc == VR_OK)
        *out = bpe;
    else
        vr_bpe_free(bpe);
    return rc;
}

void vr_bpe_free(vr_bpe *bpe)
{
    if (!bpe) return;
    free(bpe->texts);
    free(bpe->text_bytes);
    free(bpe->merges);
    free(bpe->slots);
    free(bpe);
}

vr_string vr_bpe_piece(const vr_bpe *bpe, int32_t id)
{
    return bpe->texts[id];
}

/* ---- text as the parts are cut from it ---- */

static bool is_well_formed(const char *text, size_t n_bytes)
{
    size_t at = 0;
    uint32_t point;
    for (size_t n; (n = vr_utf8_decode(text + at, n_bytes - at, &point)) > 0;) at += n;
    return at == n_bytes;
}

static size_t replace_wrong(char *out, const char *text, size_t n_bytes)
{
    const char *const first = out;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t point;
        const size_t length = vr_utf8_decode(text + i, n_bytes - i, &point);
        const size_t n = length > 0 ? length : 3;
        memcpy(out, length > 0 ? text + i : "\xef\xbf\xbd", n);
        out += n;
        i += length > 0 ? length : 1;
    }
    return (size_t)(out - first);
}

/* false: there is not enough memory. */
static bool prepare(work *k, const char **text, size_t *n_bytes)
{
    char *normal = NULL;
    if (!is_well_formed(*text, *n_bytes)) {
        k->clean = malloc(3 * *n_bytes);
        if (!k->clean) return false;
        *n_bytes = replace_wrong(k->clean, *text, *n_bytes);
        *text = k->clean;
    }
    if (k->bpe->nfc && vr_unicode_nfc(*text, *n_bytes, &normal, n_bytes, NULL) != VR_OK) return false;
    k->normal = normal;
    if (normal) *text = normal;
    k->symbols = malloc(*n_bytes * sizeof *k->symbols);
    k->heap.pairs = malloc(2 * *n_bytes * sizeof *k->heap.pairs);
    return k->symbols && k->heap.pairs;
}

/* ---- a part to ids ---- */

/* The piece that is the whole part, or -1; the symbols' memory is free at that time and has room for the spelling. */
static int whole(const work *k, const char *part, size_t n_bytes)
{
    const vr_bpe *bpe = k->bpe;
    char *spelling = (char *)k->symbols;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        const unsigned char b = (unsigned char)part[i];
        if (n + (size_t)bpe->letter_bytes[b] > bpe->longest) return -1;
        memcpy(spelling + n, bpe->letters[b], (size_t)bpe->letter_bytes[b]);
        n += (size_t)bpe->letter_bytes[b];
    }
    return find_normal(bpe, spelling, n);
}

static void consider(work *k, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return;
    const symbol *a = &k->symbols[left], *b = &k->symbols[right];
    int run;
    const int32_t rank = *slot_of(k->bpe, a->id, b->id, &run);
    if (rank < 0) return;
    vr_heap_push(&k->heap,
                 (vr_heap_pair){ .rank = (uint32_t)rank, .left = left, .right = right, .n_bytes = a->n_bytes + b->n_bytes });
}

static void merge_all(work *k, int32_t n_symbols)
{
    for (int32_t i = 1; i < n_symbols; i++) consider(k, i - 1, i);
    while (k->heap.count > 0) {
        const vr_heap_pair p = vr_heap_pop(&k->heap);
        symbol *left = &k->symbols[p.left], *right = &k->symbols[p.right];
        if (left->n_bytes == 0 || right->n_bytes == 0 || left->n_bytes + right->n_bytes != p.n_bytes) continue;
        left->id = k->bpe->merges[p.rank].made;
        left->n_bytes = p.n_bytes;
        left->next = right->next;
        if (right->next >= 0) k->symbols[right->next].previous = p.left;
        right->n_bytes = 0;
        consider(k, left->previous, p.left);
        consider(k, p.left, left->next);
    }
}

static int part_encode(work *k, const char *part, size_t n_bytes, vr_ids *ids, vr_err *e)
{
    const int id = k->bpe->ignore_merges ? whole(k, part, n_bytes) : -1;
    if (id >= 0) return vr_ids_push(ids, id, e);
    const int32_t n = (int32_t)n_bytes;
    assert(n > 0);
    for (int32_t i = 0; i < n; i++)
        k->symbols[i] = (symbol){
            .id = k->bpe->bytes[(unsigned char)part[i]], .n_bytes = 1, .previous = i - 1, .next = i + 1 < n ? i + 1 : -1
        };
    merge_all(k, n);
    for (int32_t i = 0; i >= 0; i = k->symbols[i].next)
        if (k->symbols[i].id >= 0) VR_TRY(vr_ids_push(ids, k->symbols[i].id, e));
    return VR_OK;
}

int vr_bpe_encode(const vr_bpe *bpe, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e)
{
    assert(n_bytes <= VR_MAX_PROMPT); /* so that every size below fits int32_t */
    if (n_bytes == 0) return VR_OK;
    work k = { .bpe = bpe };
    int rc = VR_OK;
    if (!prepare(&k, &text, &n_bytes)) {
        rc = vr_fail(e, VR_ERR_LIMIT, "not enough memory to tokenise %zu bytes", n_bytes);
        goto done;
    }
    for (size_t at = 0, n; rc == VR_OK && at < n_bytes; at += n) {
        n = vr_split_first(text + at, n_bytes - at, bpe->rule);
        rc = part_encode(&k, text + at, n, ids, e);
    }
done:
    free(k.clean);
    free(k.normal);
    free(k.symbols);
    free(k.heap.pairs);
    return rc;
}
