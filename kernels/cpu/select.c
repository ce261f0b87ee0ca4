/*
 * select.c - see select.h.
 *
 *   fill with level c -> climb the ladder as far as the processor and the wish allow
 *
 * Tiles: avx512 6 x 64 is 24 sums, 4 vectors of the panel, 1-2 broadcasts (of 32 registers); avx2 6 x 16: 12, 2, 1-2 (of 16);
 * neon 6 x 16: 24, 4, 1-2 (of 32).
 * A panel of 512 x 64 floats is 128 KB: it stays in a second-level cache of 256 KB or more beside the rows of a. One that is read
 * once or twice (few rows of x) has 16 KB and stays in the first.
 */
#include "kernels/cpu/select.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpuid.h"

#define FILL(d, l)                                                                                                             \
    do {                                                                                                                       \
        (d)->level = #l;                                                                                                       \
        (d)->pack[VR_DSP_F32] = vr_pack_f32_##l, (d)->pack[VR_DSP_F16] = vr_pack_f16_##l;                                      \
        (d)->pack[VR_DSP_BF16] = vr_pack_bf16_##l, (d)->gemm_tile = vr_gemm_tile_##l, (d)->pack_strip = vr_pack_strip_##l;     \
        (d)->dot[VR_DSP_F32] = vr_dot_f32_##l, (d)->dot[VR_DSP_F16] = vr_dot_f16_##l;                                          \
        (d)->dot[VR_DSP_BF16] = vr_dot_bf16_##l, (d)->widen[VR_DSP_F32] = vr_widen_f32_##l;                                    \
        (d)->widen[VR_DSP_F16] = vr_widen_f16_##l, (d)->widen[VR_DSP_BF16] = vr_widen_bf16_##l;                                \
        (d)->cosine[VR_DSP_F32] = vr_cosine_f32_##l, (d)->cosine[VR_DSP_F16] = vr_cosine_f16_##l;                              \
        (d)->cosine[VR_DSP_BF16] = vr_cosine_bf16_##l, (d)->gram[VR_DSP_F32] = vr_gram_f32_##l;                                \
        (d)->gram[VR_DSP_F16] = vr_gram_f16_##l, (d)->gram[VR_DSP_BF16] = vr_gram_bf16_##l;                                    \
        (d)->distance = vr_distance_##l, (d)->gather = vr_gather_##l;                                                          \
        (d)->finish = vr_finish_##l, (d)->gated = vr_gated_##l;                                                                \
        (d)->layer_norm = vr_layer_norm_##l, (d)->rms_norm = vr_rms_norm_##l, (d)->l2_norm = vr_l2_norm_##l;                   \
        (d)->rope = vr_rope_##l, (d)->softmax = vr_softmax_##l;                                                                \
        (d)->kept[VR_KEPT_F32] = (vr_dsp_kept){ vr_scores_f32_##l, vr_weighted_sum_f32_##l, vr_widen_f32_##l, NULL };        \
        (d)->kept[VR_KEPT_F16] =                                                                                               \
            (vr_dsp_kept){ vr_scores_f16_##l, vr_weighted_sum_f16_##l, vr_widen_f16_##l, vr_keep_f16_##l };                  \
        (d)->kept[VR_KEPT_Q8] =                                                                                                \
            (vr_dsp_kept){ vr_scores_q8_##l, vr_weighted_sum_q8_##l, vr_widen_q8_##l, vr_keep_q8_##l };                      \
        (d)->add = vr_add_##l, (d)->scale = vr_scale_##l;                                                                      \
    } while (0)

static const struct {
    const char *name;
    unsigned flag; /* of cpuid.h; 0: everywhere */
} levels[] = {
    { "c", 0 },
#if defined(__x86_64__)
    { "avx2", VR_CPU_AVX2 },
    { "avx512", VR_CPU_AVX512 },
    { "avx512vnni", VR_CPU_AVX512_VNNI },
    { "avx512bf16", VR_CPU_FAST_BF16 },
    { "amx", VR_CPU_AMX },
#elif defined(__aarch64__)
    { "neon", VR_CPU_NEON },
    { "neondot", VR_CPU_NEON_DOT },
#endif
};
enum { N_LEVELS = sizeof levels / sizeof levels[0] };

const char *vr_dsp_level(int i, bool *here)
{
    if (i < 0 || i >= N_LEVELS) return NULL;
    *here = levels[i].flag == 0 || (vr_cpu_flags() & levels[i].flag) != 0;
    return levels[i].name;
}

/* Rung i and all below it. */
static void fill(vr_dsp *d, int i)
{
    FILL(d, c);
    d->cosine_rows = 7;
    d->tile_rows = 4, d->tile_cols = 8, d->k_block = d->k_block_few = VR_MAX_WIDTH; /* a whole sum in double */
    d->pack_pairs[VR_DSP_F32] = vr_pack_pairs_f32_c, d->pack_pairs[VR_DSP_F16] = vr_pack_pairs_f16_c;
    d->pack_pairs[VR_DSP_BF16] = vr_pack_pairs_bf16_c, d->narrow = vr_narrow_c, d->gemm_tile_bf16 = vr_gemm_tile_bf16_c;
    d->pair_rows = d->tile_rows, d->pair_step = 1;
    d->quantise = vr_quantise_c, d->strip_q8 = vr_strip_q8_c, d->strip_q4 = vr_strip_q4_c;
    d->strip_q4m = vr_strip_q4m_c, d->strip_rows = VR_STRIP_T;
#if defined(__x86_64__)
    if (i < 1) return;
    FILL(d, avx2);
    d->tile_rows = 6, d->tile_cols = 16, d->k_block = 512, d->k_block_few = 256;
    d->cosine_rows = 4; /* 9 sums of 16 registers */
    d->gemm_tile_bf16 = NULL;
    d->quantise = vr_quantise_avx2, d->strip_q8 = vr_strip_q8_avx2, d->strip_q4 = vr_strip_q4_avx2;
    d->strip_q4m = vr_strip_q4m_avx2;
    if (i < 2) return;
    FILL(d, avx512);
    d->tile_rows = 6, d->tile_cols = 64, d->k_block = 512, d->k_block_few = 64;
    d->cosine_rows = 7; /* 15 sums of 32 */
    if (i < 3) return;
    d->level = "avx512vnni";
    d->quantise = vr_quantise_avx512vnni, d->strip_q8 = vr_strip_q8_avx512vnni, d->strip_q4 = vr_strip_q4_avx512vnni;
    d->strip_q4m = vr_strip_q4m_avx512vnni;
    if (i < 4) return;
    d->level = "avx512bf16";
    d->gram[VR_DSP_BF16] = vr_gram_bf16_avx512bf16;
    d->pack_pairs[VR_DSP_F32] = vr_pack_pairs_f32_avx512bf16, d->pack_pairs[VR_DSP_F16] = vr_pack_pairs_f16_avx512bf16;
    d->pack_pairs[VR_DSP_BF16] = vr_pack_pairs_bf16_avx512bf16, d->narrow = vr_narrow_avx512bf16;
    d->gemm_tile_bf16 = vr_gemm_tile_bf16_avx512bf16;
    d->pair_rows = d->tile_rows;
    if (i < 5) return;
    d->level = "amx";
    d->gram[VR_DSP_BF16] = vr_gram_bf16_avx512; /* where there is AMX, vdpbf16ps is slower than f32 */
    d->gemm_tile_bf16 = vr_gemm_tile_bf16_amx;
    d->pair_rows = 32, d->pair_step = 16;
    d->strip_q8 = vr_strip_q8_amx, d->strip_q4 = vr_strip_q4_amx, d->strip_q4m = vr_strip_q4m_amx;
    d->strip_rows = 32;
#elif defined(__aarch64__)
    if (i < 1) return;
    FILL(d, neon);
    d->tile_rows = 6, d->tile_cols = 16, d->k_block = 512, d->k_block_few = 256;
    d->cosine_rows = 7; /* 15 sums of 32 */
    d->gemm_tile_bf16 = NULL;
    d->quantise = vr_quantise_neon, d->strip_q8 = vr_strip_q8_neon, d->strip_q4 = vr_strip_q4_neon;
    d->strip_q4m = vr_strip_q4m_neon;
    if (i < 2) return;
    d->level = "neondot";
    d->strip_q8 = vr_strip_q8_neondot, d->strip_q4 = vr_strip_q4_neondot;
    d->strip_q4m = vr_strip_q4m_neondot;
#else
    (void)i;
#endif
}

int vr_dsp_select(vr_dsp *d, const char *level, vr_err *e)
{
    const char *from = "level";
    if (!level) {
        level = getenv("VIDRUN_CPU");
        from = "VIDRUN_CPU";
        if (!level || !*level) level = "best";
    }
    int best = 0, found = -1;
    for (int i = 0; i < N_LEVELS; i++) {
        bool here;
        if (strcmp(vr_dsp_level(i, &here), level) == 0) found = i;
        if (here) best = i;
        if (found == i && !here) {
            return vr_fail(e, VR_ERR_USAGE, "%s %s: this machine lacks it, it has %s", from, level, vr_cpu_features());
        }
    }
    if (strcmp(level, "best") == 0) found = best;
    if (found < 0) {
        return vr_fail(e, VR_ERR_USAGE, "%s %s: no level of this program; this machine has %s", from, level, vr_cpu_features());
    }
    fill(d, found);
    return VR_OK;
}
