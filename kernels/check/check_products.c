/*
 * check_products.c - pack, gemm_tile, dot, widen against plain sums in double.
 *
 * Every level is compared with sums written here, level c included: products are the one family whose panel layout differs
 * between levels.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"
#include "base/half.h"

static const vr_dtype dtypes[VR_DSP_DTYPES] = { VR_DTYPE_F32, VR_DTYPE_F16, VR_DTYPE_BF16 };

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static void check_pack(vr_check *ck, int type, int n, int K)
{
    const vr_dsp *d = ck->d;
    const size_t mark = vr_arena_mark(&ck->arena);
    const int cols = d->tile_cols, w_row = K + 3;
    char what[128];
    snprintf(what, sizeof what, "pack %d rows of %d, type %d", n, K, type);
    float *wide = vr_check_floats(ck, (int64_t)n * w_row), *panel = vr_check_floats(ck, (int64_t)K * cols);
    float *want = vr_check_floats(ck, (int64_t)K * cols);
    const void *w = vr_check_weights(ck, dtypes[type], (int64_t)n * w_row, wide);
    d->pack[type](panel, w, w_row, n, K);
    for (int k = 0; k < K; k++) {
        for (int c = 0; c < cols; c++) want[k * cols + c] = c < n ? wide[c * w_row + k] : 0.0f;
    }
    vr_check_equal(ck, what, panel, want, (int64_t)K * cols);
    vr_check_guards(ck, what, panel, (int64_t)K * cols);
    vr_arena_release(&ck->arena, mark);
}

static void check_tile(vr_check *ck, int rows, int cols, int K, bool add, vr_fill fill)
{
    const vr_dsp *d = ck->d;
    const size_t mark = vr_arena_mark(&ck->arena);
    const int width = d->tile_cols, a_row = K + 5, c_row = width + 7, n = (rows - 1) * c_row + width;
    char what[128];
    snprintf(what, sizeof what, "gemm_tile %d x %d x %d, add %d, %s", rows, cols, K, add, vr_fill_name(fill));
    float *a = vr_check_floats(ck, (int64_t)rows * a_row), *panel = vr_check_floats(ck, (int64_t)K * width);
    float *c = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, width), *limit = vr_check_doubles(ck, width);
    for (int r = 0; r < rows; r++) vr_check_fill(ck, a + (int64_t)r * a_row, K, fill);
    vr_check_fill(ck, panel, (int64_t)K * width, fill == VR_FILL_ALTERNATING ? VR_FILL_NORMAL : fill);
    if (add) vr_check_fill(ck, c, n, VR_FILL_NORMAL);
    float *old = vr_check_floats(ck, n);
    memcpy(old, c, (size_t)n * sizeof *old);
    d->gemm_tile(c, c_row, a, a_row, panel, rows, cols, K, add);
    for (int r = 0; r < rows && !vr_check_failed(ck); r++) {
        for (int j = 0; j < cols; j++) {
            double sum = add ? (double)old[r * c_row + j] : 0.0, size = fabs(sum);
            for (int k = 0; k < K; k++) {
                const double term = (double)a[r * a_row + k] * (double)panel[k * width + j];
                sum += term;
                size += fabs(term);
            }
            want[j] = sum;
            limit[j] = vr_check_reduce(fill, K + 1, size);
        }
        vr_check_near(ck, what, c + r * c_row, want, limit, cols);
        if (r < rows - 1) vr_check_equal(ck, what, c + r * c_row + width, old + r * c_row + width, c_row - width);
    }
    vr_check_guards(ck, what, c, n);
    vr_arena_release(&ck->arena, mark);
}

static void check_dot(vr_check *ck, int type, int T, int n_rows, int K, vr_fill fill)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int w_row = K + 2, x_row = K + 1, y_row = n_rows + 3, n = (T - 1) * y_row + n_rows;
    char what[128];
    snprintf(what, sizeof what, "dot %d x %d x %d, type %d, %s", T, n_rows, K, type, vr_fill_name(fill));
    float *wide = vr_check_floats(ck, (int64_t)n_rows * w_row), *x = vr_check_floats(ck, (int64_t)T * x_row);
    float *y = vr_check_floats(ck, n);
    const void *w = vr_check_weights(ck, dtypes[type], (int64_t)n_rows * w_row, wide);
    for (int t = 0; t < T; t++) vr_check_fill(ck, x + (int64_t)t * x_row, K, fill);
    ck->d->dot[type](y, y_row, x, x_row, T, w, w_row, n_rows, K);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < n_rows; i++) {
            double sum = 0.0, size = 0.0;
            for (int k = 0; k < K; k++) {
                const double term = (double)x[t * x_row + k] * (double)wide[i * w_row + k];
                sum += term;
                size += fabs(term);
            }
            const double limit = vr_check_reduce(fill, K, size);
            vr_check_near(ck, what, y + t * y_row + i, &sum, &limit, 1);
        }
    }
    vr_check_guards(ck, what, y, n);
    vr_arena_release(&ck->arena, mark);
}

/* Every number of 16 bits but signalling NaN, at every length of the last vector. */
static void check_widen(vr_check *ck, int type)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    enum { N = 65536 };
    float *y = vr_check_floats(ck, N), *want = vr_check_floats(ck, N);
    uint16_t *w = vr_arena_alloc(&ck->arena, N, sizeof *w);
    int n = 0;
    for (uint32_t bits = 0; bits < N; bits++) {
        const uint16_t half = (uint16_t)bits;
        want[n] = type == VR_DSP_F16 ? vr_f16_to_f32(half) : vr_bf16_to_f32(half);
        if (!isnan(want[n]) || (bits & (type == VR_DSP_F16 ? 0x200 : 0x40))) w[n++] = half;
    }
    ck->d->widen[type](y, w, n);
    vr_check_equal(ck, type == VR_DSP_F16 ? "widen f16" : "widen bf16", y, want, n);
    for (int i = 0; i < 40; i++) {
        float *part = vr_check_floats(ck, i);
        ck->d->widen[type](part, w + 1000, i);
        vr_check_equal(ck, "widen, short", part, want + 1000, i);
        vr_check_guards(ck, "widen, short", part, i);
    }
    vr_arena_release(&ck->arena, mark);
}

void vr_check_products(vr_check *ck)
{
    const int width = ck->d->tile_cols, depth = ck->thorough ? 1408 : 100;
    check_widen(ck, VR_DSP_F16);
    check_widen(ck, VR_DSP_BF16);
    for (int type = 0; type < VR_DSP_DTYPES; type++) {
        for (int i = 0, K; (K = vr_check_size(ck, i, depth)) != 0 && !vr_check_failed(ck); i++) {
            for (int n = 1; n <= width; n += n < 4 ? 1 : ck->thorough ? 5 : 20) check_pack(ck, type, n, K);
            check_pack(ck, type, width, K);
            for (int T = 1; T <= VR_DSP_DOT_T; T++) check_dot(ck, type, T, 3, K, VR_FILL_NORMAL);
            for (int fill = 1; fill < VR_FILLS; fill++) check_dot(ck, type, 2, 2, K, (vr_fill)fill);
        }
        check_dot(ck, type, 1, 2, 11008, VR_FILL_NORMAL);
    }
    for (int i = 0, K; (K = vr_check_size(ck, i, depth)) != 0 && !vr_check_failed(ck); i++) {
        for (int rows = 1; rows <= ck->d->tile_rows; rows++) {
            for (int cols = 1; cols < width; cols += cols < 3 ? 1 : ck->thorough ? 7 : 21) {
                check_tile(ck, rows, cols, min_int(K, 130), rows & 1, VR_FILL_NORMAL);
            }
            for (int fill = 0; fill < VR_FILLS; fill++) check_tile(ck, rows, width, K, false, (vr_fill)fill);
        }
    }
    check_tile(ck, ck->d->tile_rows, width, 0, false, VR_FILL_NORMAL);
    check_tile(ck, 1, width, 0, true, VR_FILL_NORMAL);
}
