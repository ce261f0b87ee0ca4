/*
 * clips.c - see clips.h.
 */
#include "media/clips.h"

#include <assert.h>
#include <math.h>

__extension__ typedef unsigned __int128 wide; /* gcc and clang; not in ISO C */

void vr_clips_starts(int64_t *starts, int n_clips, int64_t n_samples, int sample_rate, double clip_seconds, int divisor)
{
    assert(n_clips <= 4096 && divisor >= 1 && divisor <= 4096 && n_samples >= 0);
    const double duration = (double)n_samples / sample_rate;
    const double spread = duration > clip_seconds ? duration - clip_seconds : 0.0;
    int exponent;
    const double fraction = frexp(spread, &exponent); /* spread = fraction * 2^exponent */
    uint64_t mantissa = (uint64_t)ldexp(fraction, 53);
    int shift = 53 - exponent;
    while (mantissa && !(mantissa & 1) && shift > 0) mantissa >>= 1, shift--;
    assert(shift >= 0 && shift <= 115); /* else the shift below would leave 128 bits; d - clip keeps the grid of d and clip */
    for (int i = 0; i < n_clips; i++) {
        const wide product = (wide)mantissa * (wide)((uint64_t)i * (uint64_t)sample_rate);
        starts[i] = (int64_t)(product / ((wide)(uint64_t)divisor << shift));
    }
}
