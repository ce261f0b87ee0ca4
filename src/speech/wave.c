/*
 * wave.c - see wave.h.
 *
 *   in:  [in_first ............ in_first + n_in)      mono samples at the file's rate that outputs to come depend on
 *   block: outputs [next, next + BLOCK) -> vr_resampler_span -> pieces are read until the span is there, or the sound has ended
 *
 * Ref:   openai/whisper audio.py (load_audio: ffmpeg -ac 1 -ar 16000).
 * Trap:  the number of samples is known only at the end: until then the resampler is told that there is no end.
 *        The original's resampler is swresample's, this is torchaudio's (resample.h); 16 kHz pass through both untouched.
 */
#include "speech/wave.h"

#include <stdlib.h>
#include <string.h>

#include "media/resample.h"
#include "speech/log_mel.h"

enum { BLOCK = 8000 };                           /* samples resampled at once: half a second */
static const int64_t ENDLESS = INT64_C(1) << 60; /* samples of a sound whose end is not known */

struct vr_wave {
    vr_audio *audio;
    vr_resampler *resampler; /* from the first piece on */
    float *in, *channel;     /* [capacity], [channel_capacity] */
    size_t capacity, channel_capacity;
    int64_t in_first, n_in;
    int64_t next;       /* of the outputs */
    float block[BLOCK]; /* outputs [next - n_block + at, next) wait */
    int n_block, at;
    bool ended;
    vr_err cause; /* why it ended early */
};

int vr_wave_open(vr_wave **out, const vr_input *input, vr_err *e)
{
    *out = NULL;
    vr_wave *w = calloc(1, sizeof *w);
    if (!w) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", input->name);
    const int rc = vr_audio_open(&w->audio, input, e);
    if (rc == VR_OK) *out = w, w = NULL;
    vr_wave_free(w);
    return rc;
}

void vr_wave_free(vr_wave *w)
{
    if (!w) return;
    vr_audio_free(w->audio);
    vr_resampler_free(w->resampler);
    free(w->in);
    free(w->channel);
    free(w);
}

int64_t vr_wave_bad(const vr_wave *w)
{
    return w->audio->decoder->n_bad;
}

const char *vr_wave_cause(const vr_wave *w)
{
    if (w->cause.code != VR_OK) return w->cause.text;
    return w->ended && w->audio->decoder->broken ? "the file is broken or cut short" : NULL;
}

/* Room for n floats; what is there stays. */
static int reserve(const vr_wave *w, float **data, size_t *capacity, size_t n, vr_err *e)
{
    if (n <= *capacity) return VR_OK;
    float *more = realloc(*data, 2 * n * sizeof **data);
    if (!more) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", w->audio->decoder->demuxer->input->name);
    *data = more;
    *capacity = 2 * n;
    return VR_OK;
}

/* One more piece behind those of `in`. */
static int piece_add(vr_wave *w, vr_err *e)
{
    int n = 0;
    const int rc = vr_audio_next(w->audio, &n, &w->cause);
    if (rc != VR_OK && rc != VR_ERR_VIDEO) return vr_fail(e, rc, "%s", w->cause.text);
    if (rc != VR_OK || n == 0) {
        w->ended = true;
        return VR_OK;
    }
    const int channels = w->audio->channels;
    if (!w->resampler) VR_TRY(vr_resampler_open(&w->resampler, w->audio->sample_rate, VR_SPEECH_RATE, e));
    VR_TRY(reserve(w, &w->in, &w->capacity, (size_t)w->n_in + (size_t)n, e));
    VR_TRY(reserve(w, &w->channel, &w->channel_capacity, (size_t)n, e));
    float *mean = w->in + w->n_in;
    memset(mean, 0, (size_t)n * sizeof *mean);
    for (int c = 0; c < channels; c++) {
        vr_audio_samples(w->audio, c, 0, n, w->channel);
        for (int i = 0; i < n; i++) mean[i] += w->channel[i] / (float)channels;
    }
    w->n_in += n;
    return VR_OK;
}

/* Forget the input before `first`. */
static void forget(vr_wave *w, int64_t first)
{
    const int64_t n = first - w->in_first;
    if (n <= 0) return;
    memmove(w->in, w->in + n, (size_t)(w->n_in - n) * sizeof *w->in);
    w->in_first = first;
    w->n_in -= n;
}

static int block_make(vr_wave *w, vr_err *e)
{
    int64_t first = 0, last = 0, count = BLOCK, n_all = ENDLESS;
    w->n_block = w->at = 0;
    while (!w->ended) {
        if (w->resampler) {
            vr_resampler_span(w->resampler, w->next, w->next + BLOCK, ENDLESS, &first, &last);
            if (w->in_first + w->n_in >= last) break;
        }
        VR_TRY(piece_add(w, e));
    }
    if (!w->resampler) return VR_OK;
    if (w->ended) {
        n_all = w->in_first + w->n_in;
        count = vr_resampler_length(w->resampler, n_all) - w->next;
        if (count > BLOCK) count = BLOCK;
        if (count <= 0) return VR_OK;
    }
    vr_resampler_span(w->resampler, w->next, w->next + count, n_all, &first, &last);
    vr_resampler_run(w->resampler, w->block, w->next, count, w->in + (first - w->in_first), first, last - first);
    w->n_block = (int)count;
    w->next += count;
    vr_resampler_span(w->resampler, w->next, w->next + BLOCK, n_all, &first, &last);
    forget(w, first);
    return VR_OK;
}

int vr_wave_read(vr_wave *w, float *out, int n, int *n_read, vr_err *e)
{
    *n_read = 0;
    while (*n_read < n) {
        if (w->at == w->n_block) VR_TRY(block_make(w, e));
        if (w->n_block == 0) break;
        const int left = n - *n_read, there = w->n_block - w->at, take = left < there ? left : there;
        memcpy(out + *n_read, w->block + w->at, (size_t)take * sizeof *out);
        w->at += take;
        *n_read += take;
    }
    return VR_OK;
}
