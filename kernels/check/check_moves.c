/*
 * check_moves.c - the other operations: loops over rows, so that a row of the wrong place would show; one thread against two.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

/* Run once with one thread, compare; once with two, compare bits. */
#define BOTH(call)                                                                                                             \
    for (int pass = 0; pass < 2; pass++) {                                                                                     \
        vr_backend *const be = pass == 0 ? ck->one : ck->two;                                                                  \
        call;                                                                                                                  \
        vr_check_equal(ck, what, y, want, n);                                                                                  \
        vr_check_guards(ck, what, y, n);                                                                                       \
    }

static void check_norms(vr_check *ck, int T, int D)
{
    const char *what = "norms by rows";
    const int64_t n = (int64_t)T * D;
    float *x = vr_check_floats(ck, n), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    float *w = vr_check_floats(ck, D), *b = vr_check_floats(ck, D);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, w, D, VR_FILL_NORMAL);
    vr_check_fill(ck, b, D, VR_FILL_NORMAL);
    for (int t = 0; t < T; t++) ck->d->layer_norm(want + (int64_t)t * D, x + (int64_t)t * D, w, b, D, 1e-6f);
    BOTH(be->ops->layer_norm(be, y, x, w, b, T, D, 1e-6f))
    for (int t = 0; t < T; t++) ck->d->rms_norm(want + (int64_t)t * D, x + (int64_t)t * D, w, D, 1e-6f);
    BOTH(be->ops->rms_norm(be, y, x, w, T, D, 1e-6f))
    for (int t = 0; t < T; t++) ck->d->l2_norm(want + (int64_t)t * D, x + (int64_t)t * D, D, 1e-12f, 3.0f);
    BOTH(be->ops->l2_norm(be, y, x, T, D, 1e-12f, 3.0f))
}

static void check_gated(vr_check *ck, int n)
{
    const char *what = "gated in tiles";
    float *x = vr_check_floats(ck, n), *up = vr_check_floats(ck, n), *y = vr_check_floats(ck, n),
          *want = vr_check_floats(ck, n);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, up, n, VR_FILL_NORMAL);
    ck->d->gated(want, x, up, VR_ACT_SILU, n);
    BOTH(be->ops->gated(be, y, x, up, VR_ACT_SILU, n))
}

static void check_rope(vr_check *ck, int T, int H, int E, vr_rope_pairs pairs)
{
    const char *what = "rope by rows";
    const int64_t row = (int64_t)H * E + 5, n = T * row;
    float *x = vr_check_floats(ck, n), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    float *c = vr_check_floats(ck, (int64_t)T * E / 2), *s = vr_check_floats(ck, (int64_t)T * E / 2);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, c, (int64_t)T * E / 2, VR_FILL_NORMAL);
    vr_check_fill(ck, s, (int64_t)T * E / 2, VR_FILL_NORMAL);
    memcpy(want, x, (size_t)n * sizeof *want);
    for (int i = 0; i < T * H; i++) {
        const int t = i / H, h = i % H;
        ck->d->rope(want + t * row + h * E, c + t * (E / 2), s + t * (E / 2), pairs, E);
    }
    BOTH((memcpy(y, x, (size_t)n * sizeof *y), be->ops->rope(be, y, row, c, s, pairs, T, H, E)))
}

static void check_add_copy(vr_check *ck, int T, int D, int repeat, int n_b)
{
    const char *what = "add_rows, copy_rows";
    int64_t n = (int64_t)T * D;
    float *x = vr_check_floats(ck, n), *b = vr_check_floats(ck, (int64_t)n_b * D);
    float *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, b, (int64_t)n_b * D, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) want[i] = x[i] + b[i / D / repeat % n_b * D + i % D];
    BOTH(be->ops->add_rows(be, y, x, b, T, D, repeat, n_b))
    for (int64_t i = 0; i < n; i++) want[i] = x[i % D];
    BOTH(be->ops->copy_rows(be, y, D, x, 0, T, D))
    n = T / 2 * (D + 2);
    if (n > (int64_t)T * D || D < 2) return;
    y = vr_check_floats(ck, n), want = vr_check_floats(ck, n);
    for (int64_t i = 0; i < n; i++) {
        if (i % (D + 2) < D) want[i] = x[i / (D + 2) * 2 * D + i % (D + 2)];
    }
    BOTH(be->ops->copy_rows(be, y, D + 2, x, 2 * D, T / 2, D))
}

static void check_embed(vr_check *ck, vr_dtype dtype, int T, int D)
{
    const char *what = "embed_rows";
    enum { ROWS = 9 };
    const int64_t n = (int64_t)T * D;
    float *wide = vr_check_floats(ck, ROWS * D), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    int32_t *ids = vr_arena_alloc(&ck->arena, (size_t)T, sizeof *ids);
    const vr_matrix w = { vr_check_weights(ck, dtype, ROWS * D, wide), dtype, ROWS, D };
    for (int t = 0; t < T; t++) {
        ids[t] = (int32_t)(vr_check_random(ck) % ROWS);
        memcpy(want + (int64_t)t * D, wide + (int64_t)ids[t] * D, (size_t)D * sizeof *want);
    }
    BOTH(be->ops->embed_rows(be, y, &w, ids, T))
}

static void check_patches(vr_check *ck, int N, int C, int height, int width, int side, int stride)
{
    const char *what = "patches";
    const int rows = (height - side) / stride + 1, cols = (width - side) / stride + 1;
    const int64_t n = (int64_t)N * rows * cols * C * side * side;
    float *x = vr_check_floats(ck, (int64_t)N * C * height * width), *y = vr_check_floats(ck, n),
          *want = vr_check_floats(ck, n);
    vr_check_fill(ck, x, (int64_t)N * C * height * width, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = i % side, row = i / side % side, c = i / side / side % C, patch = i / side / side / C;
        const int64_t px = patch % cols, py = patch / cols % rows, image = patch / cols / rows;
        want[i] = x[((image * C + c) * height + py * stride + row) * width + px * stride + j];
    }
    BOTH(be->ops->patches(be, y, x, N, C, height, width, side, stride))
}

void vr_check_moves(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    static const int shapes[][2] = { { 1, 1 }, { 3, 88 }, { 70, 1030 }, { 2, 40000 }, { 130, 33 } };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !vr_check_failed(ck); i++) {
        const int T = shapes[i][0], D = shapes[i][1];
        if (!ck->device) check_norms(ck, T, D);
        if (!ck->device) check_gated(ck, T * D);
        check_add_copy(ck, T, D, 1, 3);
        check_add_copy(ck, T, D, 2, 1 + T / 2);
        check_embed(ck, VR_DTYPE_F32, T, D % 5000 + 1);
        check_embed(ck, VR_DTYPE_F16, T, D % 5000 + 1);
        check_embed(ck, VR_DTYPE_BF16, T, D % 5000 + 1);
        vr_arena_release(&ck->arena, mark);
    }
    if (!ck->device) {
        check_rope(ck, 9, 5, 128, VR_ROPE_HALVES);
        check_rope(ck, 300, 3, 88, VR_ROPE_ADJACENT);
        check_rope(ck, 3, 2, 2, VR_ROPE_HALVES);
    }
    check_patches(ck, 2, 3, 28, 42, 14, 14);
    check_patches(ck, 2, 1, 16, 21, 4, 3); /* overlapping, with a rest */
    check_patches(ck, 1, 2, 5, 5, 5, 1);
    vr_arena_release(&ck->arena, mark);
    vr_check_best(ck);
}
