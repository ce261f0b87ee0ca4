/*
 * quantise_body.h - a row of f32 as signed bytes with one scale, for the vectors and whole numbers included before.
 *
 *   largest size, and whether all is finite -> x * (127 / largest) -> nearest -> bytes, sums of 32
 *
 * Ref: kernels/quantised.h.
 */
#include <math.h>
#include <string.h>

VR_INLINE void quantise(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile)
{
    const int n = vr_strip_blocks(K) * VR_STRIP_COLUMNS;
    vf most = vf_zero(), finite = vf_zero();
    for (int k = 0; k < K; k += VF) {
        const vf v = K - k < VF ? vf_load_part(x + k, K - k) : vf_load(x + k);
        most = vf_max(vf_abs(v), most);
        finite = vf_fma(v, vf_zero(), finite);
    }
    const float top = vf_largest(most);
    const bool good = vf_sum(finite) == 0;
    *scale = !good ? NAN : top < 0x1p-100F ? 0 : top / 127;
    const vf inverse = vf_set1(good && top >= 0x1p-100F ? 127 / top : 0);
    for (int k = 0; k < n; k += VR_STRIP_GROUP, q += (ptrdiff_t)tile * VR_STRIP_GROUP, sums += tile) {
        vi sum = vi_set1(0);
        VR_UNROLL
        for (int i = 0; i < VR_STRIP_GROUP; i += VF) {
            const int left = good ? K - k - i : 0;
            const vf v = left >= VF ? vf_load(x + k + i) : vf_load_part(x + k + i, left > 0 ? left : 0);
            const vi whole = vi_nearest(vf_mul(v, inverse));
            vi_store_bytes(q + i, whole);
            sum = vi_add(sum, whole);
        }
        *sums = vi_sum(sum);
    }
}
