/*
 * cpu.h - inside of the CPU backend: what operations share.
 *
 *   vr_backend + dsp table + pool + one scratch buffer per thread (allocated at open, never in an operation)
 */
#ifndef VR_CPU_H
#define VR_CPU_H

#include <assert.h>

#include "base/pool.h"
#include "kernels/backend.h"
#include "kernels/dsp.h"

/* Blocks of attention. 320 keys: the 257 of a ViT frame at 224 pixels and the 230 of a sound clip are one block. 288 queries: a
 * multiple of every tile height that holds such a frame, so its keys are packed once. */
#define VR_ATTENTION_KEYS    320
#define VR_ATTENTION_QUERIES 288

/* Rows of x for which a weight panel is packed once; a multiple of every tile height. */
#define VR_GEMM_ROWS 768

typedef struct vr_cpu {
    vr_backend base; /* first: a vr_backend of ours is a vr_cpu */
    vr_dsp dsp;
    vr_pool *pool; /* owned */
    vr_gemm gemm;
    float **scratch; /* [n_threads] owned, 64-byte aligned, scratch_floats each */
    vr_precision precision;
    bool narrow; /* whether the last product of more than VR_DSP_DOT_T rows was one of bf16 or of whole numbers */
    void *rows; /* owned, 64-byte aligned: rows of x in the type of a product; grows (vr_cpu_rows) */
    size_t rows_bytes;
    vr_err error; /* the first one of an operation; sync hands it out */
    float *blas;  /* owned: widened weights and product of gemm_openblas.c; NULL with the own product */
} vr_cpu;

static inline vr_cpu *vr_cpu_of(vr_backend *be)
{
    return (vr_cpu *)be;
}

/* Operations, one family per file; contracts in ops.h. */
void vr_cpu_linear(vr_backend *be, float *y, const float *x, const vr_matrix *w, const float *bias, vr_activation act,
                   const float *residual, int T);
void vr_cpu_attention(vr_backend *be, const vr_attention *a);
void vr_cpu_keep_rows(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H, int E);
void vr_cpu_layer_norm(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps);
void vr_cpu_rms_norm(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps);
void vr_cpu_l2_norm(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale);
void vr_cpu_gated(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n);
void vr_cpu_rope(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                 int H, int E);
void vr_cpu_add_rows(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b);
void vr_cpu_copy_rows(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D);
void vr_cpu_embed_rows(vr_backend *be, float *y, const vr_matrix *w, const int32_t *ids, int T);
void vr_cpu_scale_add(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D);
void vr_cpu_mean_rows(vr_backend *be, float *y, const float *x, int N, int T, int D);
void vr_cpu_gather_rows(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D);
void vr_cpu_resize_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D);
void vr_cpu_add_neighbours(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                           int side, int D);
void vr_cpu_pool_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int N,
                      int D);
void vr_cpu_prune(vr_backend *be, const vr_prune *p);
void vr_cpu_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window);
void vr_cpu_gram(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D);
void vr_cpu_distances(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D);
void vr_cpu_mix_rows(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D);
void vr_cpu_best(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k);
void vr_cpu_top_k(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least);
void vr_cpu_patches(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride);

/* A product, y = act(x W^T + bias) + residual, as in ops.h; vr_cpu_linear chooses. */
typedef struct vr_product {
    vr_cpu *cpu;
    float *y;
    const float *x;
    const vr_matrix *w;
    const float *bias;
    vr_activation act;
    const float *residual;
    int T;
} vr_product;

void vr_gemm_own(const vr_product *p);
void vr_gemm_bf16(const vr_product *p);     /* levels with bf16 products */
void vr_linear_strips(const vr_product *p); /* quantised weights; every T */
void vr_gemm_openblas(const vr_product *p);

/* At least so many bytes, 64-byte aligned, until the next call; NULL, and the error kept, without memory. */
void *vr_cpu_rows(vr_cpu *cpu, size_t bytes);

/* panel [depth][tile_cols] of columns k.. of the rows column.. of quantised weights, as vr_dsp_pack_fn. */
void vr_strips_panel(float *panel, const vr_dsp *d, const vr_matrix *w, int column, int n, int k, int depth);

/* Floats of scratch that a family wants of each thread (blas: of the backend). */
size_t vr_gemm_scratch(const vr_dsp *d);
size_t vr_attention_scratch(const vr_dsp *d);
size_t vr_gram_scratch(void);
size_t vr_openblas_scratch(void);
void vr_openblas_threads(int n_threads);

/* Rows whose copy is larger go past the caches (dsp.h gather): nothing of the start would still be there at the end. */
#define VR_STREAM_BYTES ((int64_t)16 << 20)

/* mask[i] = 1 for the k smallest of s [n], the lower place among equals, NaN last; else 0. */
void vr_least(uint8_t *mask, const float *s, int n, int k);

static inline int vr_min_int(int a, int b)
{
    return a < b ? a : b;
}

static inline int vr_ceil_div(int a, int b)
{
    return a / b + (a % b != 0);
}

#endif
