/*
 * gram_avx512bf16.c - Gram matrices of bf16 rows with the bf16 products of AVX-512: twice the columns of an f32 product.
 *
 *   gram_body.h on the vectors of vec_avx512.h; a product is a pair of bf16 products added to an f32 sum
 *
 * Numbers are not rounded: they are bf16 as they come. Subnormal numbers count as zeros.
 * Trap:  not every processor that has the instruction is fast at it; kernels/cpu/cpuid.c, bench/LOG.md.
 */
#if defined(__x86_64__)
#include "kernels/x86/vec_avx512.h"

#include "kernels/vec/gram_body.h"

VR_INLINE vf product_pairs(vf x, vf y, vf sum)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

void vr_gram_bf16_avx512bf16(double *g, const void *const *rows, int n, int64_t first, int columns)
{
    gram(part_f32, product_pairs, 1, sizeof(uint16_t), g, rows, n, first, columns);
}
#else
typedef int vr_no_gram_avx512bf16; /* an object without a declaration is not C */
#endif
