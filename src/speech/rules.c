/*
 * rules.c - see rules.h.
 *
 *   times among what was said:   <|0.00|> words <|2.40|><|2.40|> words <|5.00|>      a start, words, an end and the next start
 *     after start + words: any           after words + time: a time again, or the end
 *     after time + time: words           the first token: a time, at most 1 s
 *   together likelier than the likeliest word: a time must come
 *
 * Trap:  "penultimate was a time" is also true where there is none; a time may repeat only as the start that follows an end.
 * Trap:  single ending: the last time stands alone behind words. Then nothing was said after it, and the next window begins at
 *        the end of this one; else the words behind the last pair are cut off and heard again from there.
 */
#include "speech/rules.h"

#include <math.h>

#include "base/limits.h"

enum { FIRST_TIME_MOST = 50 }; /* 1 s */

static int token_read(const vr_speech_tokens *t, const vr_weights *w, int *out, const char *name, vr_err *e)
{
    return vr_weights_int(w, out, 0, t->vocab - 1, e, "speech.token.%s", name);
}

static int list_read(const vr_speech_tokens *t, const vr_weights *w, vr_ids *out, const char *key, vr_err *e)
{
    int count, id;
    VR_TRY(vr_weights_array(w, &count, e, "%s", key));
    for (int i = 0; i < count; i++) {
        VR_TRY(vr_weights_array_int(w, key, i, &id, e));
        if (id < 0 || id >= t->vocab)
            return vr_fail(e, VR_ERR_WEIGHTS, "%s: key \"%s\": element %d is %d, the vocabulary has %d ids", vr_weights_path(w),
                           key, i, id, t->vocab);
        VR_TRY(vr_ids_push(out, id, e));
    }
    return VR_OK;
}

int vr_speech_tokens_read(vr_speech_tokens *t, const vr_weights *w, int vocab, vr_err *e)
{
    t->vocab = vocab;
    VR_TRY(token_read(t, w, &t->start, "start", e));
    VR_TRY(token_read(t, w, &t->end, "end", e));
    VR_TRY(token_read(t, w, &t->previous, "previous", e));
    VR_TRY(token_read(t, w, &t->no_speech, "no_speech", e));
    VR_TRY(token_read(t, w, &t->transcribe, "transcribe", e));
    VR_TRY(token_read(t, w, &t->no_times, "no_times", e));
    VR_TRY(token_read(t, w, &t->language, "language", e));
    VR_TRY(vr_weights_bool(w, &t->multilingual, e, "speech.multilingual"));
    VR_TRY(vr_weights_array(w, &t->n_languages, e, "speech.languages"));
    t->times = t->no_times + 1;
    if (t->times >= vocab || t->end >= t->times || t->n_languages > vocab - t->language ||
        (t->multilingual && t->n_languages < 1))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: the ids speech.token.* and speech.languages do not fit a vocabulary of %d ids",
                       vr_weights_path(w), vocab);
    VR_TRY(list_read(t, w, &t->never, "speech.suppress", e));
    return list_read(t, w, &t->never_first, "speech.suppress_first", e);
}

void vr_speech_tokens_free(vr_speech_tokens *t)
{
    vr_ids_free(&t->never);
    vr_ids_free(&t->never_first);
}

static void forbid(float *logits, int first, int last)
{
    for (int i = first; i < last; i++) logits[i] = -INFINITY;
}

/* Whether all times together are likelier than every other token. */
static bool times_win(const vr_speech_tokens *t, const float *logits)
{
    float word = -INFINITY, top = -INFINITY;
    double sum = 0;
    for (int i = 0; i < t->times; i++)
        if (logits[i] > word) word = logits[i];
    for (int i = t->times; i < t->vocab; i++)
        if (logits[i] > top) top = logits[i];
    if (!isfinite(top)) return false;
    for (int i = t->times; i < t->vocab; i++) sum += exp((double)logits[i] - (double)top);
    return (double)top + log(sum) > (double)word;
}

static void times_apply(const vr_speech_tokens *t, float *logits, const int32_t *said, int n)
{
    const bool last = n >= 1 && said[n - 1] >= t->times, before = n < 2 || said[n - 2] >= t->times;
    logits[t->no_times] = -INFINITY;
    if (last && before) forbid(logits, t->times, t->vocab);
    if (last && !before) forbid(logits, 0, t->end);
    for (int i = n - 1; i >= 0; i--) {
        if (said[i] < t->times) continue;
        forbid(logits, t->times, last && !before ? said[i] : said[i] + 1);
        break;
    }
    if (n == 0) {
        forbid(logits, 0, t->times);
        if (t->vocab - t->times > FIRST_TIME_MOST + 1) forbid(logits, t->times + FIRST_TIME_MOST + 1, t->vocab);
    }
    if (times_win(t, logits)) forbid(logits, 0, t->times);
}

void vr_rules_apply(const vr_speech_tokens *t, float *logits, const int32_t *said, int n)
{
    for (int i = 0; n == 0 && i < t->never_first.count; i++) logits[t->never_first.data[i]] = -INFINITY;
    for (int i = 0; i < t->never.count; i++) logits[t->never.data[i]] = -INFINITY;
    times_apply(t, logits, said, n);
}

int vr_rules_cut(const vr_speech_tokens *t, const int32_t *ids, int n, vr_speech_piece *pieces, int *go_on)
{
    const bool single = n >= 2 && ids[n - 1] >= t->times && ids[n - 2] < t->times;
    int count = 0, first = 0;
    *go_on = -1;
    for (int i = 1; i <= n; i++) {
        const bool pair = i < n && ids[i - 1] >= t->times && ids[i] >= t->times;
        if (!pair && !(i == n && single && count > 0)) continue;
        const int start = ids[first] < t->times ? 0 : ids[first] - t->times; /* a word stands first only where all is NaN */
        pieces[count++] = (vr_speech_piece){ .first = first, .last = i, .start = start, .end = ids[i - 1] - t->times };
        first = i;
    }
    if (count > 0) {
        if (!single) *go_on = ids[first - 1] - t->times;
        return count;
    }
    pieces[0] = (vr_speech_piece){ .last = n, .end = -1 };
    for (int i = n - 1; i >= 0; i--) {
        if (ids[i] < t->times) continue;
        if (ids[i] != t->times) pieces[0].end = ids[i] - t->times;
        break;
    }
    return 1;
}
