/*
 * ops.h - THE table: every operation that a model may ask for. Models see nothing else of a CPU or GPU.
 *
 * Dimension letters (the whole project): N frames or clips, P patches, T tokens (rows), D width, H heads, Hk key/value heads,
 * E head width, F hidden width, Q queries, V vocabulary, K inner dimension of a product.
 * All activations are f32, rows contiguous unless a stride is given. Operations are ordered; they return nothing; the first
 * error is kept by the backend and returned by vr_backend_sync. Every count may be 0 (nothing happens). Unless a line says
 * otherwise, outputs do not overlap inputs. Accuracy classes: tests/check (REDUCE, ULP(n), EXACT).
 * Level c is the definition: kernels/ref, double accumulators.
 */
#ifndef VR_OPS_H
#define VR_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/tensor.h"
#include "kernels/kept.h"

typedef struct vr_backend vr_backend;

typedef enum vr_activation {
    VR_ACT_NONE,
    VR_ACT_GELU,       /* x/2 (1 + erf(x/sqrt 2)) */
    VR_ACT_GELU_TANH,  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    VR_ACT_GELU_QUICK, /* x sigmoid(1.702 x) */
    VR_ACT_SILU        /* x sigmoid(x) */
} vr_activation;

/* Rows of heads inside a larger array: element (n, t, h, e) is data[n*batch + t*row + h*head + e]. */
typedef struct vr_heads {
    float *data;
    int64_t batch, row, head; /* floats */
} vr_heads;

/* Rows of keys or values, in a type of kept.h: row (n, t, h) begins at element n*batch + t*row + h*head. */
typedef struct vr_kept_heads {
    const void *data;
    int64_t batch, row, head; /* elements; of Q8 multiples of 4 */
} vr_kept_heads;

/* out(n,t,h,:) = sum_j softmax_j(scale * q(n,t,h,:) . k(n,j,hk,:)) v(n,j,hk,:),  hk = h / (H/Hk)
 *   causal: query t sees keys j <= t + (n_keys - n_queries)
 *   k and v are of the type kept, widened exactly as they are read; q and out are f32
 *   extra_k, extra_v [Hk*E] f32, head-major, or NULL: one more key and value after the last, the same for every n, never masked
 *   The score matrix is never stored; softmax in f32 with a running maximum; the same bits for any number of threads.
 *   n_keys >= 1 where n_queries >= 1. */
typedef struct vr_attention {
    int n_batch, n_queries, n_keys;
    int n_heads, n_kv_heads, head_dim;
    float scale;
    bool causal;
    vr_heads q, out;
    vr_kept kept; /* F32 when not given */
    vr_kept_heads k, v;
    const float *extra_k, *extra_v;
} vr_attention;

typedef enum vr_rope_pairs {
    VR_ROPE_HALVES,  /* element e turns with e + E/2 (Hugging Face LLaMA) */
    VR_ROPE_ADJACENT /* element 2e turns with 2e + 1 (original LLaMA, stock GGUF files) */
} vr_rope_pairs;

/* Which row a row of a later frame is compared with: rows at the same place in */
typedef enum vr_prune_anchor {
    VR_PRUNE_FIRST,    /* the first frame of the window (LongVU cambrian_arch.py:1454-1510) */
    VR_PRUNE_PREVIOUS, /* the frame before; the first of a window is no one's */
    VR_PRUNE_PAIRS     /* the even frame before an odd one; even frames are no one's */
} vr_prune_anchor;

/* Rows that say something new: similarity to an anchor fused with the decision to keep.
 *   windows of `window` frames, the last may be short;  frames that are compared with no one are kept whole, similarity 0
 *   s[f,i] = (a . b) / (max(|a|, 1e-8) max(|b|, 1e-8)), a = anchor's row i, b = x[f,i]
 *   n_least 0: keep where s < threshold;  n_least > 0: keep the n_least least similar rows of every compared frame, all of a
 *   frame that has fewer, the lower row among equals;  a similarity of NaN drops its row in both
 *   Order of the list: frame, row. Sums of squares must fit f32. class REDUCE; decisions within 1e-5 of the threshold may fall
 *   either way between levels, never between numbers of threads */
typedef struct vr_prune {
    const void *x; /* [n_frames, N, D] F32, F16 or BF16, contiguous */
    vr_dtype dtype;
    int n_frames, N, D, window; /* n_frames * N fits int32_t; window >= 1, of any size */
    vr_prune_anchor anchor;
    float threshold;
    int n_least;
    float *similarity; /* [n_frames, N] out */
    uint8_t *mask;     /* [n_frames, N] out: 1 kept */
    int32_t *indices;  /* [n_frames * N] out: rows kept, ascending; only the first *n_kept are written */
    int32_t *n_kept;   /* out */
    void *rows;        /* NULL, or [n_frames * N, D] out: the kept rows, as x; only the first *n_kept are written */
} vr_prune;

#define VR_BEST_MOST 64 /* of best: what is asked for 50 likeliest tokens, and a few that may equal the last */

typedef struct vr_ops {
    /* y[t,n] = act(sum_k x[t,k] w[n,k] + bias[n]) + residual[t,n];  x [T,w->cols], y [T,w->rows]; w F32, F16 or BF16
     * bias [rows] or NULL; residual [T,rows] or NULL, may be y itself. class REDUCE, then ULP of the activation */
    void (*linear)(vr_backend *be, float *y, const float *x, const vr_matrix *w, const float *bias, vr_activation act,
                   const float *residual, int T);

    /* y[t,d] = (x[t,d] - mean_d) / sqrt(var_d + eps) * w[d] + b[d]; biased variance; y may equal x. class REDUCE */
    void (*layer_norm)(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps);

    /* y[t,d] = x[t,d] / sqrt(mean_d(x^2) + eps) * w[d]; y may equal x. class REDUCE */
    void (*rms_norm)(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps);

    /* y[t,d] = x[t,d] / max(sqrt(sum_d x^2), eps) * scale; y may equal x. class REDUCE */
    void (*l2_norm)(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale);

    /* y[t,f] = act(gate[t,f]) * up[t,f], n floats in all; y may equal gate or up. ULP of the activation */
    void (*gated)(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n);

    void (*attention)(vr_backend *be, const vr_attention *a);

    /* Rows as a cache keeps them: y(t,h,:) = x[t, h*E ...], x [T, H*E] f32; y rows of the type (kept.h), row (t, h) at element
     * t*row + h*head. EXACT. NULL: this backend keeps F32 alone, and its attention knows no other type */
    void (*keep_rows)(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H, int E);

    /* Turn H heads of E floats of every row in place by table row t: x(t,h,:), cosine and sine [T, E/2]. class REDUCE */
    void (*rope)(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                 int H, int E);

    /* y[t,:] = x[t,:] + b[(t / repeat) % n_b, :], b [n_b, D]; y may equal x. EXACT */
    void (*add_rows)(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b);

    /* y[t,d] = residual[t,d] + scale[d] x[t,d]; y may equal residual or x. class REDUCE */
    void (*scale_add)(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D);

    /* y[n,:] = sum_{t<T} x[n,t,:] / T, x [N,T,D]. class REDUCE */
    void (*mean_rows)(vr_backend *be, float *y, const float *x, int N, int T, int D);

    /* y[t,:] = x[ids[t],:]; every id is a row of x. EXACT */
    void (*gather_rows)(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D);

    /* Grids of rows, bilinear without alignment of corners or antialiasing (torch interpolate): y [N, side, side, D],
     * x(n,r,c,:) is x[n*x_batch + (r*in_side + c)*D];  u = max((i + 1/2) in_side/side - 1/2, 0), f = floor(u), t = u - f:
     * (1-t) row f + t row min(f+1, in_side-1). class REDUCE */
    void (*resize_grid)(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D);

    /* Every channel of T grids gets what its 27 neighbours in time, line and column are worth (zeros outside), itself among them:
     *   y(t,r,c,d) = x(t,r,c,d) + bias[d] + sum_k w[k,d] x(t + k/9 - 1, r + k/3%3 - 1, c + k%3 - 1, d)
     * element (t,r,c,d) of x and y lies at t*batch + (r*side + c)*D + d; w [27, D]. class REDUCE of 29 */
    void (*add_neighbours)(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                           int side, int D);

    /* Means of windows of grids of rows: y [N, side, side, D], x as in resize_grid, side <= in_side.
     *   adaptive: line i is made of lines floor(i in_side/side) .. ceil((i+1) in_side/side) - 1 (torch AdaptiveAvgPool2d)
     *   else: of lines i s .. i s + s - 1, s = floor(in_side/side); lines that are left over do not count (AvgPool2d)
     * Columns likewise. class REDUCE */
    void (*pool_grid)(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive, int N,
                      int D);

    void (*prune)(vr_backend *be, const vr_prune *p);

    /* similarity[f] = 1/m sum_k v_f . v_k, v = x / |x|, over the m frames k of the window of f (f itself too), x [n_frames, D]
     * f32; windows of `window` <= 64 frames, the last may be short. class REDUCE (LongVU cambrian_arch.py:646-785, without the
     * middle frame) */
    void (*frame_similarity)(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window);

    /* g[i,j] = x_i . x_j, x [T, D] F32, F16 or BF16, g [T, T] f64, both halves: distances, mean cosines, k-means. Sums of at
     * most 16384 products in f32, their total in f64; class REDUCE */
    void (*gram)(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D);

    /* d[i,j] = sum_k (x[i,k] - y[j,k])^2, x [T,D], y [N,D] f32, d [T,N] f64. Equal rows give 0; a pair gives the same bits at
     * every place and in either order, so with y = x, where every pair is computed once, d is symmetric. Sums of at most 16384
     * terms in f32, their total in f64; class REDUCE: small distances keep their digits, which those made of gram do not */
    void (*distances)(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D);

    /* y[j,:] = sum_i a[j,i] x[i,:], a [K,T], x [T,D]; rows with a share of 0 are not read, a single share of 1 copies.
     * class REDUCE */
    void (*mix_rows)(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D);

    /* For each of T rows of n numbers: the places of the k largest (least: smallest), ascending, ids [T, min(k, n)]; the lower
     * place among equals (-0 equals 0), NaN after every number. EXACT */
    void (*top_k)(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least);

    /* The k best of one row of n numbers in their order, the largest first: ids[i] and values[i] = x[ids[i]], i < k; the lower place
     * among equals (-0 equals 0), NaN after every number. k <= min(n, VR_BEST_MOST). EXACT */
    void (*best)(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k);

    /* y[t*y_row + d] = x[t*x_row + d], d < D; x_row 0 repeats one row. EXACT */
    void (*copy_rows)(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D);

    /* y[t,:] = w[ids[t],:] widened to f32; every id is inside the table. EXACT */
    void (*embed_rows)(vr_backend *be, float *y, const vr_matrix *w, const int32_t *ids, int T);

    /* Cut N images [C, height, width] into patches of side x side every stride pixels, without padding:
     * y[n, py*cols + px, (c*side + i)*side + j] = x[n, c, py*stride + i, px*stride + j];  rows = (height-side)/stride + 1.
     * EXACT */
    void (*patches)(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride);
} vr_ops;

#endif
