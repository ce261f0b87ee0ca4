/*
 * cosine_body.h - cosines of the rows at one place with their anchors, for the vectors of a vec_*.h included before.
 *
 *   a [D], b [R][D] -> a.b_r, b_r.b_r [R], a.a  in 2 R + 1 vectors of sums -> quotients s [R]
 *
 * One load of the anchor feeds R products: 32 registers take 7 rows at once (15 sums), 16 take 4 (9 sums), so there the anchor
 * of a window of 8 comes a second time, from the first-level cache. One chain a sum: with 3 chains and more the units wait for
 * memory, not for each other. A chain of rows (previous frame) costs the same: the row just loaded is the next anchor.
 * Ref:   kernels/ref/prune_c.c; bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/vec/pair_body.h"

#if VF_REGISTERS == 32
#define AT_ONCE 7
#else
#define AT_ONCE 4
#endif

#define SIZE_f32  sizeof(float)
#define SIZE_f16  sizeof(uint16_t)
#define SIZE_bf16 sizeof(uint16_t)

/* Neither sqrt nor fmax of the library: they are calls, or may be one, and the memory waits. NaN gives 1e-8, as with fmax. */
VR_INLINE double norm(float square)
{
    return vd_root((double)square, 1e-8);
}

/* R and chain are constants where this is called. */
VR_INLINE void cosine_rows(pair_fn pair, load_fn load, float *s, int64_t s_row, const void *a, const void *b, int64_t b_row,
                           int R, int D, bool chain)
{
    vf aa = vf_zero(), ab[AT_ONCE], bb[AT_ONCE];
    VR_UNROLL
    for (int r = 0; r < R; r++) ab[r] = bb[r] = vf_zero();
    int d = 0;
    for (; d <= D - 2 * VF; d += 2 * VF) {
        vf x[2], y[2];
        pair(x, a, d);
        aa = vf_fma(x[1], x[1], vf_fma(x[0], x[0], aa));
        VR_UNROLL
        for (int r = 0; r < R; r++) {
            pair(y, b, r * b_row + d);
            ab[r] = vf_fma(x[1], y[1], vf_fma(x[0], y[0], ab[r]));
            bb[r] = vf_fma(y[1], y[1], vf_fma(y[0], y[0], bb[r]));
            if (chain) x[0] = y[0], x[1] = y[1];
        }
    }
    for (; d < D; d += VF) {
        const int n = D - d < VF ? D - d : VF;
        vf x = load(a, d, n);
        aa = vf_fma(x, x, aa);
        VR_UNROLL
        for (int r = 0; r < R; r++) {
            const vf y = load(b, r * b_row + d, n);
            ab[r] = vf_fma(x, y, ab[r]);
            bb[r] = vf_fma(y, y, bb[r]);
            if (chain) x = y;
        }
    }
    double a_norm = norm(vf_sum(aa));
    VR_UNROLL
    for (int r = 0; r < R; r++) {
        const double b_norm = norm(vf_sum(bb[r]));
        s[r * s_row] = (float)((double)vf_sum(ab[r]) / (a_norm * b_norm));
        if (chain) a_norm = b_norm;
    }
}

/* chain is a constant where this is called. Three sizes of group, for windows of 8 (avx2: 4 + 3), 4 and 2 frames. */
VR_INLINE void cosine(pair_fn pair, load_fn load, size_t size, float *s, int64_t s_row, const void *a, const void *b,
                      int64_t b_row, int n, int D, bool chain)
{
    const char *from = a;
    for (int r = 0, R; r < n; r += R) {
        const char *const rows = (const char *)b + r * b_row * (int64_t)size;
        R = n - r >= AT_ONCE ? AT_ONCE : n - r >= 3 ? 3 : 1;
        if (R == AT_ONCE)
            cosine_rows(pair, load, s + r * s_row, s_row, from, rows, b_row, AT_ONCE, D, chain);
        else if (R == 3)
            cosine_rows(pair, load, s + r * s_row, s_row, from, rows, b_row, 3, D, chain);
        else
            cosine_rows(pair, load, s + r * s_row, s_row, from, rows, b_row, 1, D, chain);
        if (chain) from = rows + (R - 1) * b_row * (int64_t)size;
    }
}

#define DEFINE_COSINE(dtype)                                                                                                   \
    void VR_LEVEL(vr_cosine_##dtype)(float *s, int64_t s_row, const void *a, const void *b, int64_t b_row, int n, int D,       \
                                     bool chain)                                                                               \
    {                                                                                                                          \
        if (chain)                                                                                                             \
            cosine(pair_##dtype, load_##dtype, SIZE_##dtype, s, s_row, a, b, b_row, n, D, true);                               \
        else                                                                                                                   \
            cosine(pair_##dtype, load_##dtype, SIZE_##dtype, s, s_row, a, b, b_row, n, D, false);                              \
    }

DEFINE_COSINE(f32)
DEFINE_COSINE(f16)
DEFINE_COSINE(bf16)
