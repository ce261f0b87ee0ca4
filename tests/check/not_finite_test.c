/*
 * not_finite_test.c - what is not finite is seen behind every product and every attention, at every level and precision; rows
 * beside it stay what they are.
 *
 *   x [T,K] -> linear -> y;   one number of one row NaN or infinite -> that row has no finite number, the others the same bits
 *   q, k, v -> attention;     a number of q, k or v NaN -> every sum it belongs to, and no other head
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/strips.h"
#include "kernels/backend.h"
#include "kernels/cpu/select.h"
#include "tests/unit/suite.h"

static const vr_precision precisions[] = { VR_PRECISION_F32, VR_PRECISION_BF16, VR_PRECISION_INT8 };
enum { N_PRECISIONS = sizeof precisions / sizeof precisions[0], MOST = 48 * 200 };

static float value_of(int i)
{
    return (float)((i * 7919) % 1009 - 504) / 504.0F + 0.001F;
}

static vr_backend *open_cpu(const char *level, vr_precision precision)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    ck_assert_msg(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 2, .precision = precision, .level = level }, &e) ==
                      VR_OK,
                  "%s", e.text);
    return be;
}

/* A matrix [N, K] of the type, of value_of(). */
static vr_matrix make_matrix(vr_dtype type, int N, int K)
{
    vr_matrix w = { .dtype = type, .rows = N, .cols = K };
    unsigned char *data = aligned_alloc(64, (vr_matrix_bytes(&w) + 63) / 64 * 64);
    float *wide = malloc((size_t)(N * K) * sizeof *wide);
    ck_assert(data && wide);
    for (int i = 0; i < N * K; i++) wide[i] = value_of(i + 17);
    for (int i = 0; i < N * K && !vr_is_strips(type); i++) {
        const uint16_t half = type == VR_DTYPE_F16 ? vr_f32_to_f16(wide[i]) : vr_f32_to_bf16(wide[i]);
        if (type == VR_DTYPE_F32)
            memcpy(data + (size_t)i * 4, &wide[i], 4);
        else
            memcpy(data + (size_t)i * 2, &half, 2);
    }
    for (int r = 0; r < N && vr_is_strips(type); r += VR_STRIP_ROWS)
        vr_strip_quantise(data + vr_strips_bytes(type, r, K), type, wide + (ptrdiff_t)r * K, K,
                          N - r < VR_STRIP_ROWS ? N - r : VR_STRIP_ROWS, K);
    free(wide);
    w.data = data;
    return w;
}

static void check_linear(vr_backend *be, const char *level, int precision, vr_dtype type, int T)
{
    enum { K = 150, N = 70 };
    static float x[MOST], plain[MOST], y[MOST];
    const float odd[] = { NAN, INFINITY, -INFINITY };
    const vr_matrix w = make_matrix(type, N, K);
    for (int i = 0; i < T * K; i++) x[i] = value_of(i);
    be->ops->linear(be, plain, x, &w, NULL, VR_ACT_NONE, NULL, T);
    for (int o = 0; o < 3; o++) {
        const int t = T * o / 3, k = (o * 71 + 3) % K;
        const float kept = x[t * K + k];
        x[t * K + k] = odd[o];
        be->ops->linear(be, y, x, &w, NULL, VR_ACT_NONE, NULL, T);
        x[t * K + k] = kept;
        int n_finite = 0, n_changed = 0;
        for (int i = 0; i < T * N; i++) {
            n_finite += i / N == t && isfinite(y[i]);
            n_changed += i / N != t && memcmp(&y[i], &plain[i], sizeof y[i]) != 0;
        }
        ck_assert_msg(n_finite == 0 && n_changed == 0, "%s, precision %d, %s, %d rows, %g: %d hidden, %d other rows changed",
                      level, precision, vr_dtype_name(type), T, (double)odd[o], n_finite, n_changed);
    }
    free((void *)(uintptr_t)w.data);
}

START_TEST(behind_products)
{
    static const vr_dtype types[] = { VR_DTYPE_F32,    VR_DTYPE_F16,    VR_DTYPE_BF16,
                                      VR_DTYPE_Q8_R16, VR_DTYPE_Q4_R16, VR_DTYPE_Q4M_R16 };
    static const int rows[] = { 1, 3, 7, 40 };
    const char *level;
    bool here;
    for (int i = 0; (level = vr_dsp_level(i, &here)) != NULL; i++) {
        for (int p = 0; p < N_PRECISIONS && here; p++) {
            vr_backend *be = open_cpu(level, precisions[p]);
            for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
                for (size_t t = 0; t < sizeof rows / sizeof rows[0]; t++) check_linear(be, level, p, types[k], rows[t]);
            }
            vr_backend_free(be);
        }
    }
}
END_TEST

/* Two heads of 24 numbers; a number of head 1 of q, k or v is NaN. */
static void check_attention(vr_backend *be, const char *level, int precision, vr_kept kept, int n_queries, int n_keys)
{
    enum { H = 2, E = 24, ROW = H * E };
    static float q[MOST], k[MOST], v[MOST], plain[MOST], out[MOST];
    static unsigned char kept_k[MOST * 4], kept_v[MOST * 4];
    const int head = vr_kept_row(kept, E), row = H * head;
    for (int i = 0; i < n_queries * ROW; i++) q[i] = value_of(i);
    for (int i = 0; i < n_keys * ROW; i++) k[i] = value_of(i + 5), v[i] = value_of(i + 11);
    vr_attention a = {
        .n_batch = 1, .n_queries = n_queries, .n_keys = n_keys, .n_heads = H, .n_kv_heads = H, .head_dim = E, .scale = 0.2F
    };
    a.causal = true, a.kept = kept;
    a.q = (vr_heads){ q, 0, ROW, E };
    a.k = (vr_kept_heads){ kept_k, 0, row, head }, a.v = (vr_kept_heads){ kept_v, 0, row, head };
    const int t = n_queries / 2, j = n_keys - n_queries + t; /* the key that query t is the first to see */
    for (int o = -1; o < 3; o++) {
        float *const number = o == 0 ? &q[t * ROW + E + 7] : o == 1 ? &k[j * ROW + E + 7] : &v[j * ROW + E + 7];
        const float before = *number;
        if (o >= 0) *number = NAN;
        be->ops->keep_rows(be, kept, kept_k, row, head, k, n_keys, H, E);
        be->ops->keep_rows(be, kept, kept_v, row, head, v, n_keys, H, E);
        a.out = (vr_heads){ o < 0 ? plain : out, 0, ROW, E };
        be->ops->attention(be, &a);
        *number = before;
        int n_hidden = 0, n_changed = 0;
        for (int i = 0; i < n_queries * ROW && o >= 0; i++) {
            const int query = i / ROW, e = i % ROW - E;
            const bool seen = e >= 0 && (o == 0 ? query == t : query >= t) && (o < 2 || e == 7);
            n_hidden += seen && isfinite(out[i]);
            /* bytes share a scale with the numbers beside them; a hidden value is taken zero times, and 0 * NaN is NaN */
            if (e < 0 || (query < t && o < 2)) n_changed += memcmp(&out[i], &plain[i], sizeof out[i]) != 0;
        }
        ck_assert_msg(n_hidden == 0 && n_changed == 0,
                      "%s, precision %d, kept as %d, %d x %d, %s: %d hidden, %d others changed", level, precision, (int)kept,
                      n_queries, n_keys,
                      o == 0   ? "q"
                      : o == 1 ? "k"
                               : "v",
                      n_hidden, n_changed);
    }
}

START_TEST(behind_attention)
{
    static const int sizes[][2] = { { 1, 70 }, { 3, 19 }, { 40, 40 }, { 65, 150 } };
    const char *level;
    bool here;
    for (int i = 0; (level = vr_dsp_level(i, &here)) != NULL; i++) {
        for (int p = 0; p < N_PRECISIONS && here; p++) {
            vr_backend *be = open_cpu(level, precisions[p]);
            for (int kept = 0; kept < VR_KEPTS; kept++) {
                for (int s = 0; s < 4; s++) check_attention(be, level, p, (vr_kept)kept, sizes[s][0], sizes[s][1]);
            }
            vr_backend_free(be);
        }
    }
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_test(all, behind_products);
    tcase_add_test(all, behind_attention);
    return suite_run_case("not finite", all);
}
