/*
 * strip_tiles_c.c - quantised rows times strips in tiles, with plain C for tiles and vectors: checked on every machine, never
 * chosen.
 *
 * Ref: kernels/x86/strip_tiles_body.h.
 */
#include <math.h>

#include "base/half.h"

#define VR_PLAIN_TILES
#include "kernels/x86/tiles.h"

typedef struct vf {
    float at[16];
} vf;

static inline vf vf_load(const float *p)
{
    vf y;
    memcpy(y.at, p, sizeof y.at);
    return y;
}

static inline void vf_store(float *p, vf x)
{
    memcpy(p, x.at, sizeof x.at);
}

static inline vf vf_set1(float x)
{
    vf y;
    for (int i = 0; i < 16; i++) y.at[i] = x;
    return y;
}

static inline vf vf_zero(void)
{
    return vf_set1(0);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    vf y;
    for (int i = 0; i < 16; i++) y.at[i] = vr_f16_to_f32(p[i]);
    return y;
}

static inline vf vf_load_i32(const int32_t *p)
{
    vf y;
    for (int i = 0; i < 16; i++) y.at[i] = (float)p[i];
    return y;
}

static inline vf vf_mul(vf a, vf b)
{
    for (int i = 0; i < 16; i++) a.at[i] *= b.at[i];
    return a;
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    for (int i = 0; i < 16; i++) a.at[i] = fmaf(a.at[i], b.at[i], c.at[i]);
    return a;
}

#include "kernels/x86/strip_tiles_body.h"

DEFINE_STRIP_TILES(tiles, c)
