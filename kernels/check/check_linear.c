/*
 * check_linear.c - the operation linear, all its ways, against plain sums in double.
 *
 *   one thread -> compare with sums;  two threads -> the same bits;  OpenBLAS -> compare with sums
 *
 * The ways differ in T (dot up to 4, tiles above), K (blocks of 512), N (panels of 8, 16, 64), type, ends and y = residual.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

typedef struct linear_case {
    int T, K, N;
    vr_dtype dtype;
    vr_activation act;
    bool bias, residual, in_place; /* in_place: y is residual */
} linear_case;

typedef struct linear_data {
    float *x, *bias, *residual, *y;
    double *want, *limit;
    vr_matrix w;
} linear_data;

static void reference(vr_check *ck, const linear_case *l, linear_data *p, const float *wide)
{
    for (int t = 0; t < l->T; t++) {
        for (int n = 0; n < l->N; n++) {
            double sum = l->bias ? (double)p->bias[n] : 0.0, size = fabs(sum);
            for (int k = 0; k < l->K; k++) {
                const double term = (double)p->x[t * l->K + k] * (double)wide[n * l->K + k];
                sum += term;
                size += fabs(term);
            }
            const float rounded = (float)sum;
            float end;
            ck->c->finish(&end, &rounded, NULL, l->act, l->residual ? &p->residual[t * l->N + n] : NULL, 1);
            p->want[t * l->N + n] = (double)end;
            const double added = l->residual ? fabs((double)p->residual[t * l->N + n]) : 0.0;
            p->limit[t * l->N + n] = 1.2 * vr_check_reduce(VR_FILL_NORMAL, l->K + 1, size) + 6.0 * VR_CHECK_U * (size + added);
        }
    }
}

static void run(vr_check *ck, vr_backend *be, const linear_case *l, const linear_data *p)
{
    const int64_t n = (int64_t)l->T * l->N;
    const float *residual = l->residual ? p->residual : NULL;
    for (int64_t i = 0; i < n; i++) p->y[i] = l->in_place ? p->residual[i] : NAN;
    if (l->in_place) residual = p->y;
    be->ops->linear(be, p->y, p->x, &p->w, l->bias ? p->bias : NULL, l->act, residual, l->T);
    vr_backend_sync(be, NULL);
    vr_check_guards(ck, "linear", p->y, n);
}

static void check_case(vr_check *ck, const linear_case *l)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t n = (int64_t)l->T * l->N;
    char what[160];
    snprintf(what, sizeof what, "linear %d x %d x %d, %s, act %d, bias %d, residual %d, in place %d", l->T, l->K, l->N,
             l->dtype == VR_DTYPE_F32   ? "f32"
             : l->dtype == VR_DTYPE_F16 ? "f16"
                                        : "bf16",
             (int)l->act, l->bias, l->residual, l->in_place);
    linear_data p = { .x = vr_check_floats(ck, (int64_t)l->T * l->K), .bias = vr_check_floats(ck, l->N) };
    p.residual = vr_check_floats(ck, n), p.y = vr_check_floats(ck, n);
    p.want = vr_check_doubles(ck, n), p.limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, p.x, (int64_t)l->T * l->K, VR_FILL_NORMAL);
    vr_check_fill(ck, p.bias, l->N, VR_FILL_NORMAL);
    vr_check_fill(ck, p.residual, n, VR_FILL_NORMAL);
    float *wide = vr_check_floats(ck, (int64_t)l->N * l->K), *first = vr_check_floats(ck, n);
    p.w = (vr_matrix){ vr_check_weights(ck, l->dtype, (int64_t)l->N * l->K, wide), l->dtype, l->N, l->K };
    reference(ck, l, &p, wide);
    run(ck, ck->one, l, &p);
    vr_check_near(ck, what, p.y, p.want, p.limit, n);
    memcpy(first, p.y, (size_t)n * sizeof *first);
    run(ck, ck->two, l, &p);
    vr_check_equal(ck, what, p.y, first, n);
    run(ck, ck->blas, l, &p);
    vr_check_near(ck, what, p.y, p.want, p.limit, n);
    vr_arena_release(&ck->arena, mark);
}

void vr_check_linear(vr_check *ck)
{
    static const linear_case fixed[] = {
        { 1, 88, 70, VR_DTYPE_F16, VR_ACT_NONE, false, false, false },
        { 4, 100, 65, VR_DTYPE_BF16, VR_ACT_SILU, true, true, true },
        { 5, 7, 1, VR_DTYPE_F32, VR_ACT_GELU, true, false, false },
        { 33, 513, 64, VR_DTYPE_F16, VR_ACT_GELU, true, true, false },
        { 13, 1030, 67, VR_DTYPE_F32, VR_ACT_NONE, true, true, true },
        { 6, 1, 17, VR_DTYPE_BF16, VR_ACT_GELU_TANH, false, true, true },
        { 7, 0, 9, VR_DTYPE_F16, VR_ACT_NONE, true, true, false },
        { 2, 0, 9, VR_DTYPE_F16, VR_ACT_NONE, true, true, false },
        { 0, 8, 8, VR_DTYPE_F32, VR_ACT_NONE, true, true, false },
        { 770, 9, 65, VR_DTYPE_F16, VR_ACT_NONE, true, true, true },
        { 3, 512, 130, VR_DTYPE_F16, VR_ACT_GELU_QUICK, true, true, true },
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0] && !vr_check_failed(ck); i++) check_case(ck, &fixed[i]);
    if (!ck->thorough) return;
    check_case(ck, &(linear_case){ 257, 1408, 192, VR_DTYPE_F16, VR_ACT_GELU, true, false, false });
    check_case(ck, &(linear_case){ 1, 11008, 130, VR_DTYPE_F16, VR_ACT_NONE, false, true, true });
    check_case(ck, &(linear_case){ 33, 11008, 70, VR_DTYPE_BF16, VR_ACT_NONE, false, true, true });
    check_case(ck,
               &(linear_case){ 1030, 40, 1030, VR_DTYPE_F16, VR_ACT_SILU, true, true, true }); /* blocks of OpenBLAS: 1024 */
    for (int i = 0; i < 150 && !vr_check_failed(ck); i++) {
        const uint32_t r = vr_check_random(ck);
        linear_case l = {
            .T = 1 + (int)(vr_check_random(ck) % 40), .bias = r & 1, .residual = r & 2, .act = (vr_activation)((r >> 8) % 5)
        };
        l.K = 1 + (int)(vr_check_random(ck) % 200);
        l.N = 1 + (int)(vr_check_random(ck) % 200);
        l.dtype = r & 4 ? VR_DTYPE_F16 : r & 8 ? VR_DTYPE_BF16 : VR_DTYPE_F32;
        l.in_place = l.residual && (r & 16);
        check_case(ck, &l);
    }
}
