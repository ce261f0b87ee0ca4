/*
 * rope.c - see rope.h.
 */
#include "decode/rope.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

static bool is_spelled(vr_string s, const char *expected)
{
    return s.n_bytes == strlen(expected) && memcmp(s.data, expected, s.n_bytes) == 0;
}

static int pairs_read(vr_rope_pairs *out, const vr_weights *w, vr_err *e)
{
    vr_string name;
    VR_TRY(vr_weights_string(w, &name, e, "llama.rope.pairs"));
    if (!is_spelled(name, "halves") && !is_spelled(name, "adjacent"))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.rope.pairs is neither halves nor adjacent", vr_weights_path(w));
    *out = is_spelled(name, "halves") ? VR_ROPE_HALVES : VR_ROPE_ADJACENT;
    return VR_OK;
}

static int scaling_read(vr_rope *rope, const vr_weights *w, vr_err *e)
{
    vr_string type;
    if (!vr_weights_has(w, "llama.rope.scaling.type")) return VR_OK;
    VR_TRY(vr_weights_string(w, &type, e, "llama.rope.scaling.type"));
    if (is_spelled(type, "none")) return VR_OK;
    if (is_spelled(type, "linear")) {
        VR_TRY(vr_weights_float(w, &rope->linear, e, "llama.rope.scaling.factor"));
        if (rope->linear > 0) return VR_OK;
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.rope.scaling.factor is %g, which cannot be", vr_weights_path(w),
                       (double)rope->linear);
    }
    if (!is_spelled(type, "llama3")) {
        char name[64];
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.rope.scaling.type is \"%s\", this version knows llama3 and linear",
                       vr_weights_path(w), vr_utf8_escape(name, sizeof name, type.data, type.n_bytes));
    }
    VR_TRY(vr_weights_float(w, &rope->factor, e, "llama.rope.scaling.factor"));
    VR_TRY(vr_weights_float(w, &rope->low, e, "llama.rope.scaling.low_freq_factor"));
    VR_TRY(vr_weights_float(w, &rope->high, e, "llama.rope.scaling.high_freq_factor"));
    VR_TRY(vr_weights_int(w, &rope->original_context, 1, VR_MAX_CONTEXT, e, "llama.rope.scaling.original_context_length"));
    if (!(rope->factor > 0 && rope->low > 0 && rope->high > rope->low))
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.rope.scaling has the factors %g, low %g, high %g, which cannot be",
                       vr_weights_path(w), (double)rope->factor, (double)rope->low, (double)rope->high);
    rope->scaled = true;
    return VR_OK;
}

static int sections_read(vr_rope *rope, const vr_weights *w, vr_err *e)
{
    static const char key[] = "llama.rope.sections";
    int count, total = 0;
    if (!vr_weights_has(w, key)) return VR_OK;
    VR_TRY(vr_weights_array(w, &count, e, "%s", key));
    for (int i = 0; i < 3 && count == 3; i++) {
        VR_TRY(vr_weights_array_int(w, key, i, &rope->sections[i], e));
        if (rope->sections[i] < 0 || rope->sections[i] > rope->head_dim / 2) count = 0;
        total += count ? rope->sections[i] : 0;
    }
    if (count != 3 || total != rope->head_dim / 2)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: %s is not three numbers of pairs that make %d together", vr_weights_path(w), key,
                       rope->head_dim / 2);
    return VR_OK;
}

int vr_rope_read(vr_rope *rope, const vr_weights *w, vr_err *e)
{
    *rope = (vr_rope){ 0 };
    VR_TRY(vr_weights_int(w, &rope->head_dim, 2, VR_MAX_HEAD_DIM, e, "llama.rope.dimension_count"));
    VR_TRY(vr_weights_float(w, &rope->base, e, "llama.rope.freq_base"));
    if (rope->head_dim % 2 != 0 || rope->base <= 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: llama.rope.dimension_count %d or llama.rope.freq_base %g cannot be",
                       vr_weights_path(w), rope->head_dim, (double)rope->base);
    VR_TRY(pairs_read(&rope->pairs, w, e));
    VR_TRY(sections_read(rope, w, e));
    return scaling_read(rope, w, e);
}

float vr_rope_frequency(const vr_rope *rope, int i)
{
    const float exponent = (float)(2 * i) / (float)rope->head_dim;
    float frequency = 1.0f / (float)pow((double)rope->base, (double)exponent);
    if (rope->linear > 0) frequency /= rope->linear;
    if (rope->factors) frequency /= rope->factors[i];
    if (!rope->scaled) return frequency;
    const float turn = (float)(2 * 3.14159265358979323846) / frequency; /* positions that a whole turn takes */
    const float context = (float)rope->original_context;
    if (turn < context / rope->high) return frequency;
    if (turn > context / rope->low) return frequency / rope->factor;
    const float kept = (context / turn - rope->low) / (rope->high - rope->low);
    return (1.0f - kept) * frequency / rope->factor + kept * frequency;
}

static void turn(float frequency, int position, float *cosine, float *sine)
{
    const float angle = (float)position * frequency;
    *cosine = (float)cos((double)angle);
    *sine = (float)sin((double)angle);
}

void vr_rope_table(const vr_rope *rope, int n_positions, float *cosine, float *sine)
{
    const int half = rope->head_dim / 2;
    for (int i = 0; i < half; i++) {
        const float frequency = vr_rope_frequency(rope, i);
        for (int t = 0; t < n_positions; t++) {
            const size_t at = (size_t)t * (size_t)half + (size_t)i;
            turn(frequency, t, cosine + at, sine + at);
        }
    }
}

bool vr_rope_has_sections(const vr_rope *rope)
{
    return rope->sections[0] + rope->sections[1] + rope->sections[2] > 0;
}

void vr_rope_rows(const vr_rope *rope, const int32_t *positions, int T, float *cosine, float *sine)
{
    const int half = rope->head_dim / 2;
    for (int i = 0; i < half; i++) {
        const float frequency = vr_rope_frequency(rope, i);
        const int section = i < rope->sections[0] ? 0 : i < rope->sections[0] + rope->sections[1] ? 1 : 2;
        for (size_t t = 0; t < (size_t)T; t++) {
            const size_t at = t * (size_t)half + (size_t)i;
            turn(frequency, positions[3 * t + (size_t)section], cosine + at, sine + at);
        }
    }
}
