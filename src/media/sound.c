/*
 * sound.c - see sound.h.
 *
 *   pass 1: count samples -> S at 16 kHz -> clip starts -> stretches (clips that touch, merged)
 *   pass 2: samples under the stretches -> resampled [C, count] each -> clip by clip: own mean subtracted in place -> mel
 *
 *   clips:      [----0----]                     [----3----]
 *                     [----1----]                     [----4----]
 *   stretches:  [===============]               [===============]
 *
 * Ref:   Video-LLaMA ImageBind/data.py:28-161; conversation_video.py:255.
 * Trap:  clips are views of one buffer in the original: the mean of clip i is gone from the samples that clip i+1 shares
 *        with it. The mean is that of all channels, the features are those of channel 0.
 */
#include "media/sound.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "media/audio.h"
#include "media/clips.h"
#include "media/mel.h"
#include "media/resample.h"
#include "media/source_inside.h"

/* A part of the wave that is held: outputs [first, last), and the input samples [in_first, in_last) below them. */
typedef struct stretch {
    int64_t first, last, in_first, in_last;
    float *input; /* [C, in_last - in_first] until it is resampled */
    float *wave;  /* [C, last - first] */
} stretch;

/* State of one vr_sound_read. */
typedef struct sound {
    const vr_source *source;
    const vr_sound_config *config;
    int channels, rate;
    int64_t n_in, n; /* samples of the file, and at config->sample_rate */
    int64_t clip_samples;
    int64_t *starts; /* [n_clips] */
    vr_resampler *resampler;
    vr_mel *mel;
    stretch *stretches;
    int n_stretches;
    int64_t n_bad;
} sound;

static int no_memory(const sound *s, vr_err *e)
{
    return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", s->source->input.name);
}

/* Pass 1: rate, channels, length. */
static int measure(sound *s, vr_err *e)
{
    vr_audio *audio = NULL;
    VR_TRY(vr_audio_open(&audio, &s->source->input, e));
    int rc, n = 0;
    while ((rc = vr_audio_next(audio, &n, e)) == VR_OK && n > 0) s->n_in += n;
    s->channels = audio->channels;
    s->rate = audio->sample_rate;
    s->n_bad = audio->decoder->n_bad;
    vr_audio_free(audio);
    if (rc == VR_OK && s->n_in == 0)
        rc = vr_fail(e, VR_ERR_VIDEO, "%s: nothing of its sound can be decoded", s->source->input.name);
    return rc;
}

static int plan_clips(sound *s, vr_err *e)
{
    const vr_sound_config *c = s->config;
    VR_TRY(vr_resampler_open(&s->resampler, s->rate, c->sample_rate, e));
    VR_TRY(vr_mel_open(&s->mel, c->sample_rate, c->mel_bins, e));
    s->n = vr_resampler_length(s->resampler, s->n_in);
    if (s->n < vr_mel_window(s->mel)) {
        return vr_fail(e, VR_ERR_VIDEO, "%s: its sound is too short, %lld samples at %d Hz", s->source->input.name,
                       (long long)s->n, c->sample_rate);
    }
    s->clip_samples = llround((double)c->clip_seconds * c->sample_rate);
    s->starts = calloc((size_t)c->n_clips, sizeof *s->starts);
    s->stretches = calloc((size_t)c->n_clips, sizeof *s->stretches);
    if (!s->starts || !s->stretches) return no_memory(s, e);
    vr_clips_starts(s->starts, c->n_clips, s->n, c->sample_rate, (double)c->clip_seconds, c->clip_divisor);
    return VR_OK;
}

static int64_t clip_end(const sound *s, int clip)
{
    const int64_t end = s->starts[clip] + s->clip_samples;
    return end < s->n ? end : s->n;
}

/* Stretches under the clips, or one for the whole wave; with room for their input. */
static int plan_stretches(sound *s, bool whole, vr_err *e)
{
    assert(s->stretches && s->starts);
    for (int i = 0; i < s->config->n_clips; i++) {
        stretch *last = s->n_stretches ? &s->stretches[s->n_stretches - 1] : NULL;
        if (last && s->starts[i] <= last->last) {
            if (clip_end(s, i) > last->last) last->last = clip_end(s, i);
        } else {
            s->stretches[s->n_stretches++] = (stretch){ .first = s->starts[i], .last = clip_end(s, i) };
        }
        if (whole) s->stretches[0].first = 0, s->stretches[0].last = s->n;
    }
    for (int i = 0; i < s->n_stretches; i++) {
        stretch *t = &s->stretches[i];
        vr_resampler_span(s->resampler, t->first, t->last, s->n_in, &t->in_first, &t->in_last);
        const uint64_t samples = (uint64_t)(t->in_last - t->in_first);
        if (samples > SIZE_MAX / sizeof(float) / VR_MAX_CHANNELS) return no_memory(s, e);
        t->input = calloc((size_t)samples * (size_t)s->channels, sizeof *t->input); /* zeros, should pass 2 bring less */
        if (!t->input) return no_memory(s, e);
    }
    return VR_OK;
}

/* What of a piece at [at, at + n) lies in a stretch. */
static void keep_piece(const sound *s, stretch *t, const vr_audio *audio, int64_t at, int n)
{
    const int64_t first = at > t->in_first ? at : t->in_first;
    const int64_t last = at + n < t->in_last ? at + n : t->in_last;
    if (first >= last) return;
    for (int c = 0; c < s->channels; c++) {
        float *to = t->input + c * (t->in_last - t->in_first) + (first - t->in_first);
        vr_audio_samples(audio, c, (int)(first - at), (int)(last - first), to);
    }
}

/* Pass 2: fill the inputs of the stretches. */
static int collect(sound *s, vr_err *e)
{
    vr_audio *audio = NULL;
    VR_TRY(vr_audio_open(&audio, &s->source->input, e));
    const int64_t end = s->stretches[s->n_stretches - 1].in_last;
    int rc = VR_OK, n = 0;
    for (int64_t at = 0; at < end; at += n) {
        if ((rc = vr_audio_next(audio, &n, e)) != VR_OK || n == 0) break;
        for (int i = 0; i < s->n_stretches; i++) keep_piece(s, &s->stretches[i], audio, at, n);
    }
    vr_audio_free(audio);
    return rc;
}

static int resample(sound *s, vr_err *e)
{
    for (int i = 0; i < s->n_stretches; i++) {
        stretch *t = &s->stretches[i];
        const int64_t count = t->last - t->first, n = t->in_last - t->in_first;
        if ((uint64_t)count > SIZE_MAX / sizeof(float) / VR_MAX_CHANNELS) return no_memory(s, e);
        t->wave = malloc((size_t)count * (size_t)s->channels * sizeof *t->wave);
        if (!t->wave) return no_memory(s, e);
        for (int c = 0; c < s->channels; c++) {
            vr_resampler_run(s->resampler, t->wave + c * count, t->first, count, t->input + c * n, t->in_first, n);
        }
        free(t->input);
        t->input = NULL;
    }
    return VR_OK;
}

static int dump_wave(const sound *s, vr_dump *dump, vr_err *e)
{
    if (!dump) return VR_OK;
    const int64_t n_clips = s->config->n_clips;
    int32_t *starts = malloc((size_t)n_clips * sizeof *starts);
    if (!starts) return no_memory(s, e);
    for (int64_t i = 0; i < n_clips; i++) starts[i] = (int32_t)s->starts[i];
    vr_dump_f32(dump, "input.wave", s->stretches[0].wave, 2, (const int64_t[2]){ s->channels, s->n });
    vr_dump_i32(dump, "input.clip_starts", starts, 1, &n_clips);
    free(starts);
    return VR_OK;
}

/* Step A of the original, see the trap above. wave: channel 0 at the clip; stride: to the next channel. */
static void subtract_mean(float *wave, int channels, int64_t stride, int64_t n)
{
    double sum = 0;
    for (int c = 0; c < channels; c++) {
        for (int64_t i = 0; i < n; i++) sum += (double)wave[c * stride + i];
    }
    const float mean = (float)(sum / ((double)n * channels));
    for (int c = 0; c < channels; c++) {
        for (int64_t i = 0; i < n; i++) wave[c * stride + i] -= mean;
    }
}

static void featurise(sound *s, float *mel)
{
    const vr_sound_config *c = s->config;
    const size_t area = (size_t)c->mel_bins * (size_t)c->mel_frames;
    stretch *t = s->stretches;
    for (int i = 0; i < c->n_clips; i++, mel += area) {
        while (s->starts[i] >= t->last) t++;
        float *wave = t->wave + (s->starts[i] - t->first);
        const int64_t n = clip_end(s, i) - s->starts[i];
        subtract_mean(wave, s->channels, t->last - t->first, n);
        vr_mel_run(s->mel, mel, c->mel_frames, wave, n);
        for (size_t k = 0; k < area; k++) mel[k] = (mel[k] - c->mean) / c->std;
    }
}

static int read_sound(sound *s, float *mel, vr_dump *dump, vr_err *e)
{
    if (!s->source->info.has_audio) return vr_fail(e, VR_ERR_VIDEO, "%s: has no sound", s->source->input.name);
    VR_TRY(measure(s, e));
    VR_TRY(plan_clips(s, e));
    VR_TRY(plan_stretches(s, dump != NULL, e));
    VR_TRY(collect(s, e));
    VR_TRY(resample(s, e));
    VR_TRY(dump_wave(s, dump, e));
    featurise(s, mel);
    return VR_OK;
}

static void close_sound(sound *s)
{
    for (int i = 0; i < s->n_stretches; i++) {
        free(s->stretches[i].input);
        free(s->stretches[i].wave);
    }
    free(s->stretches);
    free(s->starts);
    vr_resampler_free(s->resampler);
    vr_mel_free(s->mel);
}

static int check_config(const vr_sound_config *c, vr_err *e)
{
    const bool good = c->n_clips >= 1 && c->n_clips <= 4096 && c->clip_divisor >= c->n_clips - 1 && c->clip_divisor >= 1 &&
                      c->clip_divisor <= 4096 && c->sample_rate >= 1000 && c->sample_rate <= VR_MAX_SAMPLE_RATE &&
                      c->clip_seconds >= 0.025F && c->clip_seconds <= 3600.0F && c->mel_bins >= 1 &&
                      c->mel_bins <= VR_MAX_WIDTH && c->mel_frames >= 1 && c->mel_frames <= VR_MAX_WIDTH &&
                      fabsf(c->std) > 0.0F;
    return good ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "the settings of the sound clips are out of range");
}

int vr_sound_read(vr_source *source, const vr_sound_config *config, float *mel, bool *heard, vr_dump *dump, const vr_log *log,
                  vr_err *e)
{
    *heard = false;
    VR_TRY(check_config(config, e));
    sound s = { .source = source, .config = config };
    vr_err cause = { 0 };
    const int rc = read_sound(&s, mel, dump, &cause);
    if (rc == VR_OK && s.n_bad > 0) {
        vr_log_print(log, VR_LOG_WARN, "%s: packets of its sound that could not be decoded and are left out: %lld",
                     source->input.name, (long long)s.n_bad);
    }
    close_sound(&s);
    *heard = rc == VR_OK;
    if (rc == VR_ERR_VIDEO) { /* the original goes on without sound, whatever was wrong with it */
        vr_log_print(log, VR_LOG_WARN, "%s", cause.text);
        return VR_OK;
    }
    return rc == VR_OK ? VR_OK : vr_fail(e, rc, "%s", cause.text);
}
