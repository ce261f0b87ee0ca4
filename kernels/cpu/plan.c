/*
 * plan.c - a backend whose operations do nothing.
 *
 *   the code of a run -> plan backend + planning arena (base/arena.h) -> bytes of scratch that the run will need
 *
 * Trap:  a plan hands out addresses that must not be touched; so nothing here reads or writes what it is given, but for read,
 *        whose target is host memory of the caller.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

static void plan_linear(vr_backend *be, float *y, const float *x, const vr_matrix *w, const float *bias, vr_activation act,
                        const float *residual, int T)
{
    (void)be, (void)y, (void)x, (void)w, (void)bias, (void)act, (void)residual, (void)T;
}

static void plan_layer_norm(vr_backend *be, float *y, const float *x, const float *w, const float *b, int T, int D, float eps)
{
    (void)be, (void)y, (void)x, (void)w, (void)b, (void)T, (void)D, (void)eps;
}

static void plan_rms_norm(vr_backend *be, float *y, const float *x, const float *w, int T, int D, float eps)
{
    (void)be, (void)y, (void)x, (void)w, (void)T, (void)D, (void)eps;
}

static void plan_l2_norm(vr_backend *be, float *y, const float *x, int T, int D, float eps, float scale)
{
    (void)be, (void)y, (void)x, (void)T, (void)D, (void)eps, (void)scale;
}

static void plan_gated(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n)
{
    (void)be, (void)y, (void)gate, (void)up, (void)act, (void)n;
}

static void plan_attention(vr_backend *be, const vr_attention *a)
{
    (void)be, (void)a;
}

static void plan_keep_rows(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H,
                           int E)
{
    (void)be, (void)type, (void)y, (void)row, (void)head, (void)x, (void)T, (void)H, (void)E;
}

static void plan_rope(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                      int H, int E)
{
    (void)be, (void)x, (void)row, (void)cosine, (void)sine, (void)pairs, (void)T, (void)H, (void)E;
}

static void plan_add_rows(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b)
{
    (void)be, (void)y, (void)x, (void)b, (void)T, (void)D, (void)repeat, (void)n_b;
}

static void plan_copy_rows(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D)
{
    (void)be, (void)y, (void)y_row, (void)x, (void)x_row, (void)T, (void)D;
}

static void plan_embed_rows(vr_backend *be, float *y, const vr_matrix *w, const int32_t *ids, int T)
{
    (void)be, (void)y, (void)w, (void)ids, (void)T;
}

static void plan_patches(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride)
{
    (void)be, (void)y, (void)x, (void)N, (void)C, (void)height, (void)width, (void)side, (void)stride;
}

static void plan_scale_add(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D)
{
    (void)be, (void)y, (void)residual, (void)x, (void)scale, (void)T, (void)D;
}

static void plan_mean_rows(vr_backend *be, float *y, const float *x, int N, int T, int D)
{
    (void)be, (void)y, (void)x, (void)N, (void)T, (void)D;
}

static void plan_gather_rows(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D)
{
    (void)be, (void)y, (void)x, (void)ids, (void)T, (void)D;
}

static void plan_resize_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, int N, int D)
{
    (void)be, (void)y, (void)side, (void)x, (void)x_batch, (void)in_side, (void)N, (void)D;
}

static void plan_add_neighbours(vr_backend *be, float *y, const float *x, int64_t batch, const float *w, const float *bias, int T,
                                int side, int D)
{
    (void)be, (void)y, (void)x, (void)batch, (void)w, (void)bias, (void)T, (void)side, (void)D;
}

static void plan_pool_grid(vr_backend *be, float *y, int side, const float *x, int64_t x_batch, int in_side, bool adaptive,
                           int N, int D)
{
    (void)be, (void)y, (void)side, (void)x, (void)x_batch, (void)in_side, (void)adaptive, (void)N, (void)D;
}

static void plan_prune(vr_backend *be, const vr_prune *p)
{
    (void)be, (void)p;
}

static void plan_gram(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D)
{
    (void)be, (void)g, (void)x, (void)dtype, (void)T, (void)D;
}

static void plan_distances(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D)
{
    (void)be, (void)d, (void)x, (void)T, (void)y, (void)N, (void)D;
}

static void plan_mix_rows(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D)
{
    (void)be, (void)y, (void)a, (void)K, (void)x, (void)T, (void)D;
}

static void plan_best(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k)
{
    (void)be, (void)ids, (void)values, (void)x, (void)n, (void)k;
}

static void plan_top_k(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least)
{
    (void)be, (void)ids, (void)x, (void)T, (void)n, (void)k, (void)least;
}

static void plan_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window)
{
    (void)be, (void)similarity, (void)x, (void)n_frames, (void)D, (void)window;
}

static const vr_ops plan_ops = {
    .linear = plan_linear,
    .layer_norm = plan_layer_norm,
    .rms_norm = plan_rms_norm,
    .l2_norm = plan_l2_norm,
    .gated = plan_gated,
    .attention = plan_attention,
    .keep_rows = plan_keep_rows,
    .rope = plan_rope,
    .add_rows = plan_add_rows,
    .copy_rows = plan_copy_rows,
    .embed_rows = plan_embed_rows,
    .patches = plan_patches,
    .scale_add = plan_scale_add,
    .mean_rows = plan_mean_rows,
    .gather_rows = plan_gather_rows,
    .resize_grid = plan_resize_grid,
    .pool_grid = plan_pool_grid,
    .add_neighbours = plan_add_neighbours,
    .prune = plan_prune,
    .frame_similarity = plan_frame_similarity,
    .gram = plan_gram,
    .distances = plan_distances,
    .mix_rows = plan_mix_rows,
    .top_k = plan_top_k,
    .best = plan_best,
};

static int plan_sync(vr_backend *be, vr_err *e)
{
    (void)be, (void)e;
    return VR_OK;
}

static void plan_read(vr_backend *be, void *host, const void *x, size_t n_bytes)
{
    (void)be, (void)x;
    if (n_bytes) memset(host, 0, n_bytes);
}

static void plan_write(vr_backend *be, void *x, const void *host, size_t n_bytes)
{
    (void)be, (void)x, (void)host, (void)n_bytes;
}

static void plan_free(vr_backend *be)
{
    free(be);
}

int vr_backend_open_plan(vr_backend **out, vr_err *e)
{
    vr_backend *be = malloc(sizeof *be);
    if (!be) return vr_fail(e, VR_ERR_OTHER, "plan: no memory");
    *be = (vr_backend){
        .ops = &plan_ops, .sync = plan_sync, .read = plan_read, .write = plan_write, .free = plan_free, .plan = true
    };
    *out = be;
    return VR_OK;
}

int vr_backend_open_plan_of(vr_backend **out, vr_backend *be, vr_err *e)
{
    return be->plan_open ? be->plan_open(be, out, e) : vr_backend_open_plan(out, e);
}
