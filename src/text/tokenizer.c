/*
 * tokenizer.c - see tokenizer.h.
 *
 *   open:    tokenizer.ggml.model -> kind -> vocabulary, special strings, the kind's own tables
 *   encode:  text -> at each place the longest special string -> its id
 *                 -> stretches in between, blanks beside specials stripped where asked -> the kind's encoder
 *
 * special_strip: blanks at both sides; special_lstrip, special_rstrip: at one.
 * Ref:   transformers 4.28 tokenization_utils.py (Trie.split, PreTrainedTokenizer.tokenize).
 * Trap:  every stretch is encoded for itself, so with its own dummy prefix (spm.c: where the tokenizer is "legacy"); an empty
 *        or wholly stripped one adds nothing. Not legacy, U+2581 becomes a blank before special strings are searched for.
 *        The original's trie goes wrong where a special string lies inside another; here the leftmost, longest one counts.
 * Owner: spellings are borrowed from the weight file, which has to outlive the tokenizer.
 */
#include "text/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/blank.h"
#include "text/bpe.h"
#include "text/matcher.h"
#include "text/spm.h"
#include "text/vocab.h"

#define KIND          "tokenizer.ggml.model"
#define SPECIAL_IDS   "tokenizer.special_ids"
#define SPECIAL_STRIP "tokenizer.special_strip"
#define SPECIAL_LEFT  "tokenizer.special_lstrip"
#define SPECIAL_RIGHT "tokenizer.special_rstrip"
#define SKIP_SPECIAL  "tokenizer.skip_special"
#define BLANK         "\xe2\x96\x81" /* U+2581 */
#define BLANK_BYTES   3

typedef struct special {
    int32_t id;
    bool strip_left, strip_right; /* blanks before it, behind it are dropped */
} special;

struct vr_tokenizer {
    vr_vocab vocab;
    special *specials;
    vr_matcher matcher; /* values: indexes of specials */
    vr_spm *spm;        /* one of the two; the other is NULL */
    vr_bpe *bpe;
    bool skip_special; /* control and unknown pieces add nothing to a text */
};

/* ---- opening ---- */

/* Element i of a list of flags that may be missing; kept where it is. */
static int read_flag(const vr_weights *w, const char *key, int i, bool *flag, vr_err *e)
{
    int value;
    if (!vr_weights_has(w, key)) return VR_OK;
    VR_TRY(vr_weights_array_int(w, key, i, &value, e));
    if (value) *flag = true;
    return VR_OK;
}

static int read_special(const vr_tokenizer *t, const vr_weights *w, int i, special *out, vr_err *e)
{
    int id, strip;
    VR_TRY(vr_weights_array_int(w, SPECIAL_IDS, i, &id, e));
    VR_TRY(vr_weights_array_int(w, SPECIAL_STRIP, i, &strip, e));
    if (id < 0 || id >= t->vocab.count)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": element %d is %d, the vocabulary has %d ids", vr_weights_path(w),
                       SPECIAL_IDS, i, id, t->vocab.count);
    const size_t n = t->vocab.pieces[id].n_bytes;
    if (n == 0 || n > VR_VOCAB_SEARCHED_BYTES)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": id %d is spelled with %zu bytes, expected 1 to %d",
                       vr_weights_path(w), SPECIAL_IDS, id, n, VR_VOCAB_SEARCHED_BYTES);
    *out = (special){ .id = id, .strip_left = strip != 0, .strip_right = strip != 0 };
    VR_TRY(read_flag(w, SPECIAL_LEFT, i, &out->strip_left, e));
    return read_flag(w, SPECIAL_RIGHT, i, &out->strip_right, e);
}

static int read_specials(vr_tokenizer *t, const vr_weights *w, vr_err *e)
{
    if (!vr_weights_has(w, SPECIAL_IDS)) return VR_OK;
    int count, n_strip;
    VR_TRY(vr_weights_array(w, &count, e, SPECIAL_IDS));
    VR_TRY(vr_weights_array(w, &n_strip, e, SPECIAL_STRIP));
    if (count != n_strip || count > t->vocab.count)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\" has %d elements, \"%s\" %d, the vocabulary %d", vr_weights_path(w),
                       SPECIAL_IDS, count, SPECIAL_STRIP, n_strip, t->vocab.count);
    if (count <= 0) return VR_OK;
    t->specials = calloc((size_t)count, sizeof *t->specials);
    if (!t->specials) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d special strings", count);
    for (int i = 0; i < count; i++) VR_TRY(read_special(t, w, i, &t->specials[i], e));
    vr_matcher_entry *entries = malloc((size_t)count * sizeof *entries);
    if (!entries) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for %d special strings", count);
    for (int i = 0; i < count; i++) entries[i] = (vr_matcher_entry){ .string = t->vocab.pieces[t->specials[i].id], .value = i };
    vr_matcher_open(&t->matcher, entries, count);
    return VR_OK;
}

static int open_kind(vr_tokenizer *t, const vr_weights *w, vr_err *e)
{
    vr_string kind;
    VR_TRY(vr_weights_string(w, &kind, e, KIND));
    if (kind.n_bytes == 5 && memcmp(kind.data, "llama", 5) == 0) return vr_spm_open(&t->spm, &t->vocab, w, e);
    if (kind.n_bytes == 4 && memcmp(kind.data, "gpt2", 4) == 0) return vr_bpe_open(&t->bpe, &t->vocab, w, e);
    char name[64];
    return vr_fail(e, VR_ERR_WEIGHTS,
                   "%s: key \"%s\" is \"%s\"; this version reads \"llama\" (SentencePiece BPE) and \"gpt2\" (byte-level BPE)",
                   vr_weights_path(w), KIND, vr_utf8_escape(name, sizeof name, kind.data, kind.n_bytes));
}

int vr_tokenizer_open(vr_tokenizer **out, const vr_weights *w, vr_err *e)
{
    vr_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for a tokenizer");
    int rc = vr_vocab_open(&t->vocab, w, e);
    if (rc == VR_OK) rc = read_specials(t, w, e);
    if (rc == VR_OK && vr_weights_has(w, SKIP_SPECIAL)) rc = vr_weights_bool(w, &t->skip_special, e, SKIP_SPECIAL);
    if (rc == VR_OK) rc = open_kind(t, w, e);
    if (rc == VR_OK)
        *out = t;
    else
        vr_tokenizer_free(t);
    return rc;
}

void vr_tokenizer_free(vr_tokenizer *t)
{
    if (!t) return;
    vr_spm_free(t->spm);
    vr_bpe_free(t->bpe);
    vr_matcher_free(&t->matcher);
    free(t->specials);
    vr_vocab_free(&t->vocab);
    free(t);
}

int vr_tokenizer_vocab(const vr_tokenizer *t)
{
    return t->vocab.count;
}

int vr_tokenizer_bos(const vr_tokenizer *t)
{
    return t->vocab.bos;
}

bool vr_tokenizer_ends(const vr_tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->vocab.n_eos_ids; i++)
        if (t->vocab.eos_ids[i] == id) return true;
    return id >= 0 && id == t->vocab.eos;
}

int vr_tokenizer_find(const vr_tokenizer *t, const char *piece, size_t n_bytes)
{
    return vr_vocab_find(&t->vocab, piece, n_bytes);
}

vr_string vr_tokenizer_piece(const vr_tokenizer *t, int32_t id)
{
    assert(id >= 0 && id < t->vocab.count);
    const int type = t->vocab.types[id];
    if (t->skip_special && (type == VR_PIECE_CONTROL || type == VR_PIECE_UNKNOWN)) return (vr_string){ "", 0 };
    return t->bpe ? vr_bpe_piece(t->bpe, id) : vr_spm_piece(t->spm, id);
}

/* ---- encoding ---- */

/* A stretch between two specials; NULL: the text begins or ends there. */
static int encode_stretch(const vr_tokenizer *t, const char *text, size_t n_bytes, const special *before, const special *after,
                          vr_ids *ids, vr_err *e)
{
    for (size_t n; before && before->strip_right && (n = vr_blank_bytes(text, n_bytes, false)) > 0;) {
        text += n;
        n_bytes -= n;
    }
    for (size_t n; after && after->strip_left && (n = vr_blank_bytes(text, n_bytes, true)) > 0;) n_bytes -= n;
    if (t->bpe) return vr_bpe_encode(t->bpe, text, n_bytes, ids, e);
    const vr_spm_stretch stretch = {
        .text = text, .n_bytes = n_bytes, .behind_special = before != NULL, .next = after ? after->id : -1
    };
    return vr_spm_encode(t->spm, &stretch, ids, e);
}

static int encode(const vr_tokenizer *t, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e)
{
    size_t begin = 0; /* of the stretch */
    const special *before = NULL;
    for (size_t at = 0, n; at < n_bytes;) {
        const int32_t found = vr_matcher_find(&t->matcher, text + at, n_bytes - at, &n);
        if (found < 0) {
            at++;
            continue;
        }
        const special *s = &t->specials[found];
        VR_TRY(encode_stretch(t, text + begin, at - begin, before, s, ids, e));
        VR_TRY(vr_ids_push(ids, s->id, e));
        before = s;
        begin = at += n;
    }
    return encode_stretch(t, text + begin, n_bytes - begin, before, NULL, ids, e);
}

/* A copy with blanks for U+2581; *n_bytes: its length. NULL: no memory. */
static char *with_blanks(const char *text, size_t *n_bytes)
{
    char *out = malloc(*n_bytes + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < *n_bytes;) {
        const bool blank = *n_bytes - i >= BLANK_BYTES && memcmp(text + i, BLANK, BLANK_BYTES) == 0;
        out[n++] = blank ? ' ' : text[i];
        i += blank ? BLANK_BYTES : 1;
    }
    *n_bytes = n;
    return out;
}

int vr_tokenizer_encode(const vr_tokenizer *t, const char *text, size_t n_bytes, vr_ids *ids, vr_err *e)
{
    if (n_bytes > VR_MAX_PROMPT)
        return vr_fail(e, VR_ERR_LIMIT, "a text of %zu bytes is too long to tokenise; the limit is %d", n_bytes, VR_MAX_PROMPT);
    if (t->bpe || vr_spm_legacy(t->spm)) return encode(t, text, n_bytes, ids, e);
    char *copy = with_blanks(text, &n_bytes);
    const int rc = copy ? encode(t, copy, n_bytes, ids, e) : vr_fail(e, VR_ERR_LIMIT, "not enough memory for a text");
    free(copy);
    return rc;
}
