/*
 * audio.c - see audio.h.
 *
 * Ref:   FFmpeg libswresample/audioconvert.c (scale of each sample format); torchaudio 0.13 io (aformat=sample_fmts=fltp).
 */
#include "media/audio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

int vr_audio_open(vr_audio **out, const vr_input *input, vr_err *e)
{
    *out = NULL;
    vr_audio *a = calloc(1, sizeof *a);
    if (a) a->piece = av_frame_alloc();
    int rc = VR_OK;
    if (!a || !a->piece) {
        rc = vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", input->name);
    } else {
        rc = vr_decoder_open(&a->decoder, input, AVMEDIA_TYPE_AUDIO, e);
    }
    if (rc == VR_OK) *out = a, a = NULL;
    vr_audio_free(a);
    return rc;
}

void vr_audio_free(vr_audio *a)
{
    if (!a) return;
    vr_decoder_free(a->decoder);
    av_frame_free(&a->piece);
    free(a);
}

static int check_piece(vr_audio *a, vr_err *e)
{
    const char *name = a->decoder->demuxer->input->name;
    const int rate = a->piece->sample_rate, channels = vr_frame_channels(a->piece);
    if (a->sample_rate == 0) {
        if (rate < 1 || rate > VR_MAX_SAMPLE_RATE || channels < 1 || channels > VR_MAX_CHANNELS) {
            return vr_fail(e, VR_ERR_VIDEO, "%s: sound of %d Hz and %d channels cannot be used", name, rate, channels);
        }
        a->sample_rate = rate;
        a->channels = channels;
    }
    if (rate != a->sample_rate || channels != a->channels) {
        return vr_fail(e, VR_ERR_VIDEO, "%s: its sound changes from %d Hz, %d channels to %d Hz, %d channels", name,
                       a->sample_rate, a->channels, rate, channels);
    }
    return VR_OK;
}

int vr_audio_next(vr_audio *a, int *n_samples, vr_err *e)
{
    do {
        *n_samples = 0;
        const int code = vr_decoder_next(a->decoder, a->piece);
        if (code == AVERROR(ENOMEM))
            return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", a->decoder->demuxer->input->name);
        if (code < 0) return VR_OK;
        VR_TRY(check_piece(a, e));
        *n_samples = a->piece->nb_samples;
    } while (*n_samples <= 0);
    return VR_OK;
}

static float finite_or_zero(float x)
{
    return isfinite(x) ? x : 0.0F;
}

static float read_sample(const uint8_t *in, enum AVSampleFormat format)
{
    union {
        int16_t s16;
        int32_t s32;
        int64_t s64;
        float f32;
        double f64;
    } v;
    switch (format) {
    case AV_SAMPLE_FMT_U8:
        return (float)(*in - 128) / 128.0F;
    case AV_SAMPLE_FMT_S16:
        memcpy(&v.s16, in, sizeof v.s16);
        return (float)v.s16 / 32768.0F;
    case AV_SAMPLE_FMT_S32:
        memcpy(&v.s32, in, sizeof v.s32);
        return (float)v.s32 / 2147483648.0F;
    case AV_SAMPLE_FMT_S64:
        memcpy(&v.s64, in, sizeof v.s64);
        return (float)v.s64 / 9223372036854775808.0F;
    case AV_SAMPLE_FMT_FLT:
        memcpy(&v.f32, in, sizeof v.f32);
        return finite_or_zero(v.f32);
    case AV_SAMPLE_FMT_DBL:
        memcpy(&v.f64, in, sizeof v.f64);
        return finite_or_zero((float)v.f64);
    default:
        return 0.0F;
    }
}

void vr_audio_samples(const vr_audio *a, int channel, int first, int n, float *out)
{
    const enum AVSampleFormat format = a->piece->format;
    const bool planar = av_sample_fmt_is_planar(format) != 0;
    const size_t bytes = (size_t)av_get_bytes_per_sample(format);
    const size_t step = planar ? bytes : bytes * (size_t)a->channels;
    const uint8_t *in = planar ? a->piece->extended_data[channel] : a->piece->extended_data[0] + (size_t)channel * bytes;
    in += (size_t)first * step;
    for (int i = 0; i < n; i++, in += step) out[i] = read_sample(in, av_get_packed_sample_fmt(format));
}
