/*
 * check_quantised.c - bf16 products, rows quantised to bytes, strips of quantised weights; the operation linear on all of them.
 *
 *   whole numbers: the very bits of level c;  bf16: plain sums in double of the rounded numbers
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "kernels/check/check.h"
#include "kernels/cpu/cpu.h"

static const vr_dtype dtypes[VR_DSP_DTYPES] = { VR_DTYPE_F32, VR_DTYPE_F16, VR_DTYPE_BF16 };

static double rounded(float x)
{
    return (double)vr_bf16_to_f32(vr_f32_to_bf16(x)); /* the data has no subnormal numbers */
}

/* bytes of a buffer of the arena, at a multiple of 64 as in a file */
static void *aligned(vr_check *ck, size_t n_bytes)
{
    return vr_arena_alloc(&ck->arena, n_bytes, 1);
}

static void check_bytes(vr_check *ck, const char *what, const void *is, const void *want, size_t n_bytes)
{
    ck->n_compared += (int64_t)n_bytes;
    for (size_t i = 0; i < n_bytes && !vr_check_failed(ck); i++)
        if (((const unsigned char *)is)[i] != ((const unsigned char *)want)[i])
            vr_check_fail(ck, "%s: byte %zu of %zu is %d, expected %d", what, i, n_bytes, ((const unsigned char *)is)[i],
                          ((const unsigned char *)want)[i]);
}

static void check_pairs(vr_check *ck, int type, int n, int K)
{
    const vr_dsp *d = ck->d;
    const size_t mark = vr_arena_mark(&ck->arena);
    const int cols = d->tile_cols, w_row = K + 3, pairs = (K + 1) / 2;
    const size_t bytes = (size_t)pairs * (size_t)cols * 2 * sizeof(uint16_t);
    char what[128];
    snprintf(what, sizeof what, "pack_pairs %d rows of %d, type %d", n, K, type);
    float *wide = vr_check_floats(ck, (int64_t)n * w_row);
    const void *w = vr_check_weights(ck, dtypes[type], (int64_t)n * w_row, wide);
    uint16_t *panel = aligned(ck, bytes + 64), *want = aligned(ck, bytes + 64);
    memset(panel, 0x55, bytes + 64);
    memset(want, 0x55, bytes + 64);
    for (int k = 0; k < 2 * pairs; k++)
        for (int c = 0; c < cols; c++)
            want[(k / 2 * cols + c) * 2 + k % 2] = c < n && k < K ? vr_f32_to_bf16(wide[c * w_row + k]) : 0;
    d->pack_pairs[type](panel, w, w_row, n, K);
    check_bytes(ck, what, panel, want, bytes + 64);
    vr_arena_release(&ck->arena, mark);
}

static void check_narrow(vr_check *ck, int n)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    float *x = vr_check_floats(ck, n);
    const size_t bytes = (size_t)(n + n % 2) * sizeof(uint16_t) + 8;
    uint16_t *y = aligned(ck, bytes), *want = aligned(ck, bytes);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    if (n > 3) x[0] = NAN, x[1] = INFINITY, x[2] = -1e-39F, x[3] = 3.4e38F;
    memset(y, 0x55, bytes);
    memset(want, 0x55, bytes);
    ck->d->narrow(y, x, n);
    ck->c->narrow(want, x, n);
    if (n > 3 && isnan(vr_bf16_to_f32(y[0])) && isnan(vr_bf16_to_f32(want[0]))) y[0] = want[0];
    check_bytes(ck, "narrow", y, want, bytes);
    vr_arena_release(&ck->arena, mark);
}

static void check_tile(vr_check *ck, int rows, int cols, int K, bool add)
{
    const vr_dsp *d = ck->d;
    const size_t mark = vr_arena_mark(&ck->arena);
    const int width = d->tile_cols, pairs = (K + 1) / 2, all = (pairs + d->pair_step - 1) / d->pair_step * d->pair_step,
              a_row = 2 * all + 6, c_row = width + 7, n = (rows - 1) * c_row + width;
    char what[128];
    snprintf(what, sizeof what, "gemm_tile_bf16 %d x %d x %d, add %d", rows, cols, K, add);
    uint16_t *a = aligned(ck, (size_t)(rows * a_row) * 2), *panel = aligned(ck, (size_t)(2 * all * width) * 2);
    float *c = vr_check_floats(ck, n), *old = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, width), *limit = vr_check_doubles(ck, width);
    for (int i = 0; i < rows * a_row; i++) a[i] = i % a_row < 2 * pairs ? vr_f32_to_bf16((float)vr_check_normal(ck)) : 0;
    for (int i = 0; i < 2 * all * width; i++) panel[i] = i < 2 * pairs * width ? vr_f32_to_bf16((float)vr_check_normal(ck)) : 0;
    if (add) vr_check_fill(ck, c, n, VR_FILL_NORMAL);
    memcpy(old, c, (size_t)n * sizeof *old);
    d->gemm_tile_bf16(c, c_row, a, a_row, panel, rows, cols, pairs, add);
    for (int r = 0; r < rows && !vr_check_failed(ck); r++) {
        for (int j = 0; j < cols; j++) {
            double sum = add ? (double)old[r * c_row + j] : 0.0, size = fabs(sum);
            for (int k = 0; k < 2 * pairs; k++) {
                const double term =
                    (double)vr_bf16_to_f32(a[r * a_row + k]) * (double)vr_bf16_to_f32(panel[(k / 2 * width + j) * 2 + k % 2]);
                sum += term, size += fabs(term);
            }
            want[j] = sum, limit[j] = vr_check_reduce(VR_FILL_NORMAL, 2 * pairs + 1, size);
        }
        vr_check_near(ck, what, c + r * c_row, want, limit, cols);
        if (r < rows - 1) vr_check_equal(ck, what, c + r * c_row + width, old + r * c_row + width, c_row - width);
    }
    vr_check_guards(ck, what, c, n);
    vr_arena_release(&ck->arena, mark);
}

/* The numbers of rows that are not there stay as they are: marked. */
static vr_quantised_rows rows_alloc(vr_check *ck, int T, int K, int tile)
{
    vr_quantised_rows x = { .blocks = vr_strip_blocks(K), .tile = tile };
    const size_t places = (size_t)(vr_ceil_div(T, tile) * tile * x.blocks) * 2;
    x.q = aligned(ck, places * VR_STRIP_GROUP);
    x.sums = aligned(ck, places * sizeof *x.sums);
    memset(x.q, 0x55, places * VR_STRIP_GROUP);
    memset(x.sums, 0x55, places * sizeof *x.sums);
    x.scale = vr_check_floats(ck, T);
    return x;
}

static void quantise_row(const vr_dsp *d, const vr_quantised_rows *x, int t, const float *row, int K)
{
    const int64_t place = vr_quantised_place(x, t);
    d->quantise(x->q + place * VR_STRIP_GROUP, x->sums + place, x->scale + t, row, K, x->tile);
}

static void check_quantise(vr_check *ck, int K, vr_fill fill, float odd)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "quantise %d, %s, with %g", K, vr_fill_name(fill), (double)odd);
    float *x = vr_check_floats(ck, K);
    vr_check_fill(ck, x, K, fill);
    if (K > 0 && odd != 0) x[vr_check_random(ck) % (uint32_t)K] = odd;
    const int tile = 1 + (int)(vr_check_random(ck) % VR_STRIP_MAX_T), t = (int)(vr_check_random(ck) % (uint32_t)tile);
    const size_t places = (size_t)(vr_strip_blocks(K) * 2 * tile);
    vr_quantised_rows is = rows_alloc(ck, tile, K, tile), want = rows_alloc(ck, tile, K, tile);
    quantise_row(ck->d, &is, t, x, K);
    quantise_row(ck->c, &want, t, x, K);
    check_bytes(ck, what, is.q, want.q, places * VR_STRIP_GROUP);
    check_bytes(ck, what, is.sums, want.sums, places * sizeof *is.sums);
    if (!(isnan(is.scale[t]) && isnan(want.scale[t]))) vr_check_equal(ck, what, is.scale + t, want.scale + t, 1);
    vr_arena_release(&ck->arena, mark);
}

/* N rows of K normal numbers as strips of the type. */
static vr_matrix make_strips(vr_check *ck, vr_dtype type, int N, int K)
{
    unsigned char *data = aligned(ck, vr_strips_bytes(type, N, K));
    float *x = vr_check_floats(ck, (int64_t)VR_STRIP_ROWS * K);
    for (int r = 0; r < N; r += VR_STRIP_ROWS) {
        vr_check_fill(ck, x, (int64_t)VR_STRIP_ROWS * K, VR_FILL_NORMAL);
        vr_strip_quantise(data + vr_strips_bytes(type, r, K), type, x, K, N - r < VR_STRIP_ROWS ? N - r : VR_STRIP_ROWS, K);
    }
    return (vr_matrix){ data, type, N, K };
}

static void check_strip(vr_check *ck, vr_dtype type, int T, int n_strips, int K)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int y_row = n_strips * VR_STRIP_ROWS + 3, n = T * y_row;
    const int room = ck->d->strip_rows - T;
    const int before = (int)(vr_check_random(ck) % (uint32_t)(room + 1)), tile = before + T, first = tile + before;
    char what[128];
    snprintf(what, sizeof what, "strips of %s, %d x %d x %d", vr_dtype_name(type), T, n_strips, K);
    const vr_matrix w = make_strips(ck, type, n_strips * VR_STRIP_ROWS, K);
    vr_quantised_rows x = rows_alloc(ck, 2 * tile, K, tile); /* the last rows of the second tile are taken */
    float *row = vr_check_floats(ck, K), *is = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    for (int t = 0; t < 2 * tile; t++) {
        vr_check_fill(ck, row, K, t == first ? VR_FILL_HUGE : VR_FILL_NORMAL);
        quantise_row(ck->c, &x, t, row, K);
    }
    memcpy(want, is, (size_t)n * sizeof *want); /* the marks between rows */
    vr_dsp_strip(ck->d, type)(is, y_row, &x, first, T, w.data, n_strips);
    vr_dsp_strip(ck->c, type)(want, y_row, &x, first, T, w.data, n_strips);
    vr_check_equal(ck, what, is, want, n);
    vr_check_guards(ck, what, is, n);
    vr_arena_release(&ck->arena, mark);
}

static void check_pack_strip(vr_check *ck, vr_dtype type, int k, int K)
{
    const vr_dsp *d = ck->d;
    const size_t mark = vr_arena_mark(&ck->arena);
    const int width = d->tile_cols, n = vr_ceil_div(K, VR_STRIP_GROUP) * VR_STRIP_GROUP * width;
    const int cols = vr_min_int(width, VR_STRIP_ROWS);
    const int row = (int)(vr_check_random(ck) % (uint32_t)VR_STRIP_ROWS) / cols * cols;
    char what[128];
    snprintf(what, sizeof what, "pack_strip of %s, row %d, columns %d..%d", vr_dtype_name(type), row, k, k + K - 1);
    const vr_matrix w = make_strips(ck, type, VR_STRIP_ROWS, k + K);
    float *panel = vr_check_floats(ck, n), *old = vr_check_floats(ck, n), *want = vr_check_floats(ck, (int64_t)cols * K);
    memcpy(old, panel, (size_t)n * sizeof *old);
    for (int c = 0; c < cols; c++) vr_strip_widen(want + (ptrdiff_t)c * K, w.data, type, row + c, k, K);
    d->pack_strip(panel, w.data, type, row, k, K);
    for (int i = 0; i < K && !vr_check_failed(ck); i++) {
        for (int c = 0; c < cols; c++) {
            const float is = panel[i * width + c] + 0.0F, wanted = want[(ptrdiff_t)c * K + i] + 0.0F; /* -0 becomes 0 */
            vr_check_equal(ck, what, &is, &wanted, 1);
        }
        vr_check_equal(ck, what, panel + i * width + cols, old + i * width + cols, width - cols);
    }
    vr_check_guards(ck, what, panel, n);
    vr_arena_release(&ck->arena, mark);
}

/* linear on quantised weights: in f32 near the sums of the widened weights, in int8 near those of the rounded rows. */
static void check_linear_strips(vr_check *ck, vr_backend *be, vr_precision precision, vr_dtype type, int T, int K, int N)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t n = (int64_t)T * N;
    char what[128];
    snprintf(what, sizeof what, "linear %s %d x %d x %d, precision %d", vr_dtype_name(type), T, K, N, (int)precision);
    const vr_matrix w = make_strips(ck, type, N, K);
    /* a device rounds many rows to bf16 rather than to bytes */
    const bool narrow = ck->device && precision != VR_PRECISION_F32 && T > 8;
    float *x = vr_check_floats(ck, (int64_t)T * K), *bias = vr_check_floats(ck, N), *y = vr_check_floats(ck, n);
    float *row = vr_check_floats(ck, K);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, (int64_t)T * K, VR_FILL_NORMAL);
    vr_check_fill(ck, bias, N, VR_FILL_NORMAL);
    vr_quantised_rows q = rows_alloc(ck, 1, K, 1);
    for (int t = 0; t < T; t++) {
        quantise_row(ck->c, &q, 0, x + (ptrdiff_t)t * K, K);
        for (int r = 0; r < N; r++) {
            double sum = (double)bias[r], size = fabs(sum);
            vr_strip_widen(row, (const unsigned char *)w.data + vr_strips_bytes(type, r / 16 * 16, K), type, r % 16, 0, K);
            for (int k = 0; k < K; k++) {
                const double value =
                    precision == VR_PRECISION_F32 ? (double)x[(ptrdiff_t)t * K + k] : (double)q.q[k] * (double)*q.scale;
                const double term = narrow ? rounded(x[(ptrdiff_t)t * K + k]) * rounded(row[k]) : value * (double)row[k];
                sum += term, size += fabs(term);
            }
            want[(ptrdiff_t)t * N + r] = sum;
            limit[(ptrdiff_t)t * N + r] = vr_check_reduce(VR_FILL_HUGE, K + 2, size);
        }
    }
    be->ops->linear(be, y, x, &w, bias, VR_ACT_NONE, NULL, T);
    vr_backend_sync(be, NULL);
    vr_check_near(ck, what, y, want, limit, n);
    vr_check_guards(ck, what, y, n);
    int32_t ids[3] = { N - 1, 0, N / 2 };
    float *rows = vr_check_floats(ck, 3 * (int64_t)K);
    be->ops->embed_rows(be, rows, &w, ids, 3);
    for (int i = 0; i < 3; i++) {
        vr_strip_widen(row, (const unsigned char *)w.data + vr_strips_bytes(type, ids[i] / 16 * 16, K), type, ids[i] % 16, 0,
                       K);
        vr_check_equal(ck, "embed_rows of strips", rows + (ptrdiff_t)i * K, row, K);
    }
    vr_arena_release(&ck->arena, mark);
}

/* linear in bf16: near the sums of rounded numbers where the level has such products, else of the numbers as they are. */
static void check_linear_bf16(vr_check *ck, vr_backend *be, vr_dtype type, int T, int K, int N)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t n = (int64_t)T * N;
    const bool narrow = ck->d->gemm_tile_bf16 != NULL;
    char what[128];
    snprintf(what, sizeof what, "linear in bf16, %s, %d x %d x %d", vr_dtype_name(type), T, K, N);
    float *x = vr_check_floats(ck, (int64_t)T * K), *wide = vr_check_floats(ck, (int64_t)N * K), *y = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, (int64_t)T * K, VR_FILL_NORMAL);
    const vr_matrix w = { vr_check_weights(ck, type, (int64_t)N * K, wide), type, N, K };
    for (int64_t i = 0; i < n; i++) {
        double size = 0.0;
        want[i] = 0.0;
        for (int k = 0; k < K; k++) {
            const float a = x[i / N * K + k], b = wide[i % N * K + k];
            const double term = narrow ? rounded(a) * rounded(b) : (double)a * (double)b;
            want[i] += term, size += fabs(term);
        }
        limit[i] = vr_check_reduce(VR_FILL_HUGE, K + 1, size);
    }
    be->ops->linear(be, y, x, &w, NULL, VR_ACT_NONE, NULL, T);
    vr_check_near(ck, what, y, want, limit, n);
    vr_check_guards(ck, what, y, n);
    vr_arena_release(&ck->arena, mark);
}

static const int shapes[][3] = { { 1, 64, 16 }, { 2, 200, 40 }, { 7, 96, 33 }, { 5, 31, 1 }, { 13, 513, 70 }, { 4, 300, 129 } };
enum { N_KINDS = 3 };
static const vr_dtype kinds[N_KINDS] = { VR_DTYPE_Q8_R16, VR_DTYPE_Q4_R16, VR_DTYPE_Q4M_R16 };

void vr_check_strips(vr_check *ck, vr_backend *be, vr_precision precision)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !vr_check_failed(ck); i++) {
        for (int k = 0; k < N_KINDS; k++)
            check_linear_strips(ck, be, precision, kinds[k], shapes[i][0], shapes[i][1], shapes[i][2]);
    }
}

static void check_operations(vr_check *ck)
{
    for (int p = VR_PRECISION_F32; p <= VR_PRECISION_AUTO; p++) {
        vr_backend *be = NULL;
        vr_err e;
        const vr_cpu_options options = { .n_threads = 2, .precision = (vr_precision)p, .level = ck->d->level };
        if (vr_backend_open_cpu(&be, &options, &e) != VR_OK) {
            vr_check_fail(ck, "%s", e.text);
            return;
        }
        const vr_precision strips = p == VR_PRECISION_INT8 || p == VR_PRECISION_AUTO ? VR_PRECISION_INT8 : VR_PRECISION_F32;
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !vr_check_failed(ck); i++) {
            for (int k = 0; k < N_KINDS; k++)
                check_linear_strips(ck, be, strips, kinds[k], shapes[i][0], shapes[i][1], shapes[i][2]);
            for (int t = 0; p == VR_PRECISION_BF16 && t < VR_DSP_DTYPES; t++)
                check_linear_bf16(ck, be, dtypes[t], shapes[i][0] + 4, shapes[i][1], shapes[i][2]);
        }
        vr_backend_free(be);
    }
}

/* The bf16 kernel of AMX with plain C for the tiles: alone, and in products where the level packs panels as wide as it wants. */
static void check_plain_tiles(vr_check *ck)
{
    const vr_dsp *level = ck->d;
    vr_dsp tiles = *level;
    tiles.gemm_tile_bf16 = vr_gemm_tile_bf16_tiles, tiles.pair_rows = 32, tiles.pair_step = 16, tiles.tile_cols = 64;
    ck->d = &tiles;
    for (int K = 1; K < 100; K += ck->thorough ? 7 : 31) {
        for (int rows = 1; rows <= tiles.pair_rows; rows += ck->thorough ? 1 : 5)
            check_tile(ck, rows, 1 + (int)(vr_check_random(ck) % 64), K, rows % 2);
    }
    vr_backend *be = NULL;
    vr_err e;
    const vr_cpu_options options = { .n_threads = 2, .precision = VR_PRECISION_BF16, .level = level->level };
    if (level->tile_cols == tiles.tile_cols && vr_backend_open_cpu(&be, &options, &e) == VR_OK) {
        vr_cpu_of(be)->dsp = tiles;
        check_linear_bf16(ck, be, VR_DTYPE_BF16, 33, 1087, 70);
        check_linear_bf16(ck, be, VR_DTYPE_F16, 17, 512, 33);
        check_linear_bf16(ck, be, VR_DTYPE_F32, 70, 31, 129);
    }
    vr_backend_free(be);
    ck->d = level;
}

/* The same for strips of quantised weights. */
static void check_plain_strips(vr_check *ck)
{
    static const int lengths[] = { 1, 33, 64, 255, 256, 257, 600 }; /* a kernel takes 256 columns at a time */
    enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };
    const vr_dsp *level = ck->d;
    vr_dsp tiles = *level;
    tiles.strip_q8 = vr_strip_q8_tiles, tiles.strip_q4 = vr_strip_q4_tiles, tiles.strip_q4m = vr_strip_q4m_tiles;
    tiles.strip_rows = VR_STRIP_MAX_T;
    ck->d = &tiles;
    for (int k = 0; k < N_KINDS; k++) {
        for (int T = 1; T <= tiles.strip_rows; T++)
            for (int i = ck->thorough ? 0 : T % 2; i < N_LENGTHS; i += ck->thorough ? 1 : 2)
                check_strip(ck, kinds[k], T, 1 + (T + i / 2) % 2, lengths[i]);
    }
    vr_backend *be = NULL;
    vr_err e;
    const vr_cpu_options options = { .n_threads = 2, .precision = VR_PRECISION_INT8, .level = level->level };
    if (vr_backend_open_cpu(&be, &options, &e) == VR_OK) {
        vr_cpu_of(be)->dsp = tiles;
        vr_check_strips(ck, be, VR_PRECISION_INT8);
        check_linear_strips(ck, be, VR_PRECISION_INT8, VR_DTYPE_Q8_R16, 33, 300, 70);
        check_linear_strips(ck, be, VR_PRECISION_INT8, VR_DTYPE_Q4_R16, 97, 64, 33);
        check_linear_strips(ck, be, VR_PRECISION_INT8, VR_DTYPE_Q4M_R16, 48, 513, 17);
    } else {
        vr_check_fail(ck, "%s", e.text);
    }
    vr_backend_free(be);
    ck->d = level;
}

void vr_check_quantised(vr_check *ck)
{
    static const int lengths[] = { 1, 2, 15, 16, 31, 32, 33, 63, 64, 65, 100, 128, 257, 1031 };
    enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };
    for (int i = 0; i < N_LENGTHS && !vr_check_failed(ck); i++) {
        const int K = lengths[i];
        for (int f = 0; f < VR_FILLS; f++) check_quantise(ck, K, (vr_fill)f, 0);
        check_quantise(ck, K, VR_FILL_NORMAL, NAN);
        check_quantise(ck, K, VR_FILL_NORMAL, -INFINITY);
        check_quantise(ck, K, VR_FILL_NORMAL, 3e38F);
        for (int T = 1; T <= ck->d->strip_rows; T++) {
            for (int strips = 1; strips <= 2; strips++) {
                for (int k = 0; k < N_KINDS; k++) check_strip(ck, kinds[k], T, strips, K);
            }
        }
        for (int k = 0; k < N_KINDS * 4; k++) check_pack_strip(ck, kinds[k % N_KINDS], k / N_KINDS * VR_STRIP_GROUP, K);
        if (!ck->d->gemm_tile_bf16) continue;
        check_narrow(ck, K);
        for (int t = 0; t < VR_DSP_DTYPES; t++) {
            check_pairs(ck, t, ck->d->tile_cols, K);
            check_pairs(ck, t, 1 + (int)(vr_check_random(ck) % (uint32_t)ck->d->tile_cols), K);
        }
        for (int rows = 1; rows <= ck->d->pair_rows; rows++)
            check_tile(ck, rows, 1 + (int)(vr_check_random(ck) % (uint32_t)ck->d->tile_cols), K, rows % 2);
    }
    if (!vr_check_failed(ck)) check_operations(ck);
    if (!vr_check_failed(ck) && ck->d->gemm_tile_bf16) check_plain_tiles(ck);
    if (!vr_check_failed(ck) && ck->d->gemm_tile_bf16) check_plain_strips(ck);
}
