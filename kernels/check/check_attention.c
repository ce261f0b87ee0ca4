/*
 * check_attention.c - the operation attention against the textbook in double: all scores, softmax, weighted mean; keys and values
 * as f32, f16 and bytes, whose values the textbook reads.
 *
 * Limit: a score is off by some 8 u A, A = scale sum abs(q k); a probability by twice that; so with S = sum p abs(v)
 * Limit: a score is off by some 8 u A, A = scale sum abs(q k); a probability by twice that; so with S = sum p abs(v)
 *   abs(error) <= (16 + 16 max A) u S        on normal random data
 *   in bf16 q, k, p and v are rounded, each by 2^-9 at most: abs(error) <= 1.1 (1 + 2 max A) 2^-8 S
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"
#include "kernels/cpu/cpu.h"

typedef struct attention_case {
    int n_batch, n_queries, n_keys, n_heads, n_kv_heads, head_dim;
    bool causal, extra, heads_first; /* heads_first: [n][h][t][e] instead of [n][t][h][e] */
    bool narrow;                     /* in bf16 */
    vr_kept kept;
} attention_case;

/* A view of n_batch x rows x heads x E with some room between rows; returns the floats it covers. */
static int64_t layout(vr_heads *v, const attention_case *c, int rows, int heads)
{
    const int64_t E = c->head_dim + 3;
    v->head = c->heads_first ? rows * E : c->head_dim;
    v->row = c->heads_first ? E : heads * E;
    v->batch = (int64_t)rows * heads * E + 5;
    return c->n_batch * v->batch;
}

/* The rows of v [n_batch, rows, heads] as the type keeps them; v then holds the values that are kept. */
static vr_kept_heads narrowed(vr_check *ck, vr_kept type, const vr_heads *v, const attention_case *c, int rows, int heads)
{
    const int E = c->head_dim;
    const int64_t head = vr_kept_row(type, E), room = type == VR_KEPT_Q8 ? 4 : 3;
    vr_kept_heads y = { v->data, v->batch, v->row, v->head };
    if (type == VR_KEPT_F32) return y;
    y.head = c->heads_first ? rows * (head + room) : head;
    y.row = c->heads_first ? head + room : heads * (head + room);
    y.batch = (int64_t)rows * heads * (head + room) + 4;
    const size_t element = vr_kept_bytes(type);
    unsigned char *data = (unsigned char *)vr_check_floats(ck, c->n_batch * y.batch * (int64_t)element / 4 + 1);
    y.data = data;
    for (int i = 0; i < c->n_batch * rows * heads; i++) {
        const int h = i % heads, t = i / heads % rows, n = i / heads / rows;
        float *x = v->data + n * v->batch + t * v->row + h * v->head;
        void *row = data + (size_t)(n * y.batch + t * y.row + h * y.head) * element;
        ck->c->kept[type].keep(row, x, E);
        ck->c->kept[type].widen(x, row, E);
    }
    return y;
}

static float *at(const vr_heads *v, int n, int t, int h)
{
    return v->data + n * v->batch + t * v->row + h * v->head;
}

/* One output row; keys, values: of a, as f32. score: room for n_keys + 1. */
static void reference_row(const vr_attention *a, const vr_heads *keys, const vr_heads *values, bool narrow, int n, int t, int h,
                          double *score, double *want, double *limit)
{
    const int E = a->head_dim, kv = h / (a->n_heads / a->n_kv_heads), extra = a->extra_k != NULL;
    const int seen = a->causal ? t + 1 + a->n_keys - a->n_queries : a->n_keys, total = seen + extra;
    const float *q = at(&a->q, n, t, h);
    double max = (double)-INFINITY, sum = 0.0, largest = 0.0;
    for (int j = 0; j < total; j++) {
        const float *k = j < seen ? at(keys, n, j, kv) : a->extra_k + (int64_t)kv * E;
        double dot = 0.0, size = 0.0;
        for (int e = 0; e < E; e++) {
            dot += (double)q[e] * (double)k[e];
            size += fabs((double)q[e] * (double)k[e]);
        }
        score[j] = dot * (double)a->scale;
        max = fmax(max, score[j]);
        largest = fmax(largest, size * (double)a->scale);
    }
    for (int j = 0; j < total; j++) sum += score[j] = exp(score[j] - max);
    for (int e = 0; e < E; e++) {
        double mean = 0.0, size = 0.0;
        for (int j = 0; j < total; j++) {
            const float *v = j < seen ? at(values, n, j, kv) : a->extra_v + (int64_t)kv * E;
            mean += score[j] / sum * (double)v[e];
            size += score[j] / sum * fabs((double)v[e]);
        }
        want[e] = mean;
        limit[e] = narrow ? 1.1 * (1.0 + 2.0 * largest) * 0x1p-8 * size : (16.0 + 16.0 * largest) * VR_CHECK_U * size;
    }
}

static void check_one(vr_check *ck, const attention_case *c)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[200];
    snprintf(what, sizeof what,
             "attention %d x %d queries, %d keys, heads %d/%d of %d, causal %d, extra %d, heads first %d, "
             "bf16 %d, kept %d",
             c->n_batch, c->n_queries, c->n_keys, c->n_heads, c->n_kv_heads, c->head_dim, c->causal, c->extra, c->heads_first,
             c->narrow, c->kept);
    vr_attention a = { .n_batch = c->n_batch, .n_queries = c->n_queries, .n_keys = c->n_keys, .n_heads = c->n_heads };
    a.n_kv_heads = c->n_kv_heads, a.head_dim = c->head_dim, a.causal = c->causal;
    a.scale = (float)(1.0 / sqrt((double)c->head_dim));
    vr_heads k, v;
    const int64_t n_q = layout(&a.q, c, c->n_queries, c->n_heads), n_k = layout(&k, c, c->n_keys, c->n_kv_heads);
    layout(&v, c, c->n_keys, c->n_kv_heads);
    layout(&a.out, c, c->n_queries, c->n_heads);
    a.q.data = vr_check_floats(ck, n_q), a.out.data = vr_check_floats(ck, n_q);
    k.data = vr_check_floats(ck, n_k), v.data = vr_check_floats(ck, n_k);
    vr_check_fill(ck, a.q.data, n_q, VR_FILL_NORMAL);
    vr_check_fill(ck, k.data, n_k, VR_FILL_NORMAL);
    vr_check_fill(ck, v.data, n_k, VR_FILL_NORMAL);
    a.kept = c->kept;
    a.k = narrowed(ck, c->kept, &k, c, c->n_keys, c->n_kv_heads), a.v = narrowed(ck, c->kept, &v, c, c->n_keys, c->n_kv_heads);
    const int64_t n_extra = (int64_t)c->n_kv_heads * c->head_dim;
    float *extra = vr_check_floats(ck, 2 * n_extra), *first = vr_check_floats(ck, n_q);
    vr_check_fill(ck, extra, 2 * n_extra, VR_FILL_NORMAL);
    if (c->extra) a.extra_k = extra, a.extra_v = extra + n_extra;
    memcpy(first, a.out.data, (size_t)n_q * sizeof *first);
    float *const other = vr_check_floats(ck, n_q); /* what two threads write */
    ck->one->ops->attention(ck->one, &a);
    double *score = vr_check_doubles(ck, c->n_keys + 1), *want = vr_check_doubles(ck, c->head_dim);
    double *limit = vr_check_doubles(ck, c->head_dim);
    for (int i = 0; i < c->n_batch * c->n_queries * c->n_heads && !vr_check_failed(ck); i++) {
        const int h = i % c->n_heads, t = i / c->n_heads % c->n_queries, n = i / c->n_heads / c->n_queries;
        reference_row(&a, &k, &v, c->narrow, n, t, h, score, want, limit);
        vr_check_near(ck, what, at(&a.out, n, t, h), want, limit, c->head_dim);
    }
    vr_check_guards(ck, what, a.out.data, n_q);
    vr_attention b = a;
    b.out.data = other;
    ck->two->ops->attention(ck->two, &b);
    vr_check_equal(ck, what, other, a.out.data, n_q);
    /* what lies between the rows is untouched */
    for (int i = 0; i < c->n_batch * c->n_queries * c->n_heads; i++) {
        const int h = i % c->n_heads, t = i / c->n_heads % c->n_queries, n = i / c->n_heads / c->n_queries;
        memcpy(at(&a.out, n, t, h), first, (size_t)c->head_dim * sizeof *first);
    }
    vr_check_equal(ck, what, a.out.data, first, n_q);
    vr_arena_release(&ck->arena, mark);
}

/* Keys and values of every type that the backend keeps. */
static void check_types(vr_check *ck, const attention_case *c)
{
    attention_case of_type = *c;
    for (int type = 0; type < (ck->one->ops->keep_rows ? VR_KEPTS : VR_KEPT_F32 + 1); type++) {
        of_type.kept = (vr_kept)type;
        check_one(ck, &of_type);
    }
}

/* In f32, and in bf16 where the level has it. */
static void check_case(vr_check *ck, const attention_case *c)
{
    check_types(ck, c);
    if (ck->device || !ck->d->gemm_tile_bf16 || c->n_queries <= VR_DSP_DOT_T) return;
    attention_case narrow = *c;
    narrow.narrow = true;
    vr_cpu_of(ck->one)->narrow = vr_cpu_of(ck->two)->narrow = true; /* as a product in bf16 leaves it */
    check_types(ck, &narrow);
    vr_cpu_of(ck->one)->narrow = vr_cpu_of(ck->two)->narrow = false;
}

/* The same with the tiles of AMX in plain C. */
static void check_tiles(vr_check *ck, const attention_case *cases, int n)
{
    vr_cpu *const be[] = { vr_cpu_of(ck->one), vr_cpu_of(ck->two) };
    const vr_dsp before = be[0]->dsp;
    for (int i = 0; i < 2; i++) {
        be[i]->narrow = true;
        be[i]->dsp.gemm_tile_bf16 = vr_gemm_tile_bf16_tiles, be[i]->dsp.pair_rows = 32, be[i]->dsp.pair_step = 16;
    }
    for (int i = 0; i < n && !vr_check_failed(ck); i++) {
        attention_case narrow = cases[i];
        narrow.narrow = true;
        if (narrow.n_queries > VR_DSP_DOT_T) check_types(ck, &narrow);
    }
    for (int i = 0; i < 2; i++) be[i]->narrow = false, be[i]->dsp = before;
}

static const attention_case fixed[] = {
    { 1, 1, 1, 1, 1, 1, .extra = false },
    { 1, 1, 70, 2, 2, 128, .causal = true, .heads_first = true },
    { 2, 3, 33, 4, 2, 64, .causal = true },
    { 1, 4, 400, 2, 1, 88, .extra = true },
    { 2, 32, 33, 3, 3, 64, .causal = false },
    { 1, 17, 17, 2, 2, 88, .causal = true },
    { 1, 9, 330, 2, 1, 72, .causal = true, .extra = true, .heads_first = true },
    { 1, 40, 700, 1, 1, 128, .causal = true, .heads_first = true },
    { 2, 23, 23, 2, 2, 64, .extra = true },
    { 1, 270, 5, 1, 1, 7, .causal = false },
    { 1, 65, 64, 1, 1, 16, .causal = false },
    { 1, 5, 321, 4, 1, 33, .extra = true, .heads_first = true },
    /* several ranges of keys, shared by threads: one head, grouped heads, a query that sees nothing of the last range */
    { 1, 1, 1100, 1, 1, 128, .causal = true },
    { 1, 2, 1030, 7, 1, 72, .causal = true, .extra = true },
    { 2, 4, 513, 2, 2, 64, .causal = true },
    { 1, 1, 1537, 12, 2, 24, .extra = true },
    /* heads that share keys: all of them together, and more than that */
    { 1, 1, 600, 14, 2, 128, .causal = true },
    { 2, 1, 130, 10, 2, 72, .extra = true },
    { 1, 1, 97, 15, 3, 64, .heads_first = true },
    { 1, 1, 70, 26, 2, 33, .causal = true },
};

enum { N_FIXED = sizeof fixed / sizeof fixed[0] };

static attention_case random_case(vr_check *ck)
{
    const uint32_t r = vr_check_random(ck);
    attention_case c = { .n_batch = 1 + (int)(r % 2), .n_kv_heads = 1 + (int)(r >> 8) % 3, .causal = r & 2, .extra = r & 4 };
    c.heads_first = r & 8;
    c.n_heads = c.n_kv_heads * (1 + (int)(r >> 16) % 3);
    c.n_queries = 1 + (int)(vr_check_random(ck) % (r & 16 ? 40 : 4));
    c.n_keys = c.n_queries + (int)(vr_check_random(ck) % 90);
    c.head_dim = 1 + (int)(vr_check_random(ck) % 130);
    return c;
}

void vr_check_attention(vr_check *ck)
{
    for (int i = 0; i < N_FIXED && !vr_check_failed(ck); i++) check_case(ck, &fixed[i]);
    if (!ck->device && ck->d->gemm_tile_bf16 && ck->d->tile_cols == 64) check_tiles(ck, fixed, N_FIXED);
    if (!ck->thorough) return;
    check_case(ck, &(attention_case){ 1, 257, 257, 4, 4, 88, .causal = false });
    check_case(ck, &(attention_case){ 1, 530, 530, 1, 1, 128, .causal = true });
    check_case(ck, &(attention_case){ 1, 9, 50, 1, 1, 512, .extra = true });
    for (int i = 0; i < 150 && !vr_check_failed(ck); i++) {
        const attention_case c = random_case(ck);
        check_case(ck, &c);
    }
}

void vr_check_attention_narrow(vr_check *ck)
{
    static const attention_case large[] = {
        { 1, 70, 70, 4, 2, 128, .causal = true, .extra = true }, /* several blocks of queries, grouped heads */
        { 1, 200, 600, 2, 1, 72, .causal = true },               /* and ranges of keys, some of them after all that is seen */
    };
    enum { ROWS = VR_DSP_DOT_T + 1, K = 8 };
    vr_backend *const one = ck->one;
    float *x = vr_check_floats(ck, (int64_t)ROWS * K), *y = vr_check_floats(ck, (int64_t)ROWS * K),
          *wide = vr_check_floats(ck, (int64_t)K * K);
    vr_check_fill(ck, x, (int64_t)ROWS * K, VR_FILL_NORMAL);
    const vr_matrix w = { vr_check_weights(ck, VR_DTYPE_BF16, (int64_t)K * K, wide), VR_DTYPE_BF16, K, K };
    ck->one = ck->two;
    ck->one->ops->linear(ck->one, y, x, &w, NULL, VR_ACT_NONE, NULL, ROWS); /* a product in bf16 */
    for (int i = 0; i < (ck->thorough ? 150 : 10) + N_FIXED + 2 && !vr_check_failed(ck); i++) {
        attention_case c = i < N_FIXED ? fixed[i] : i < N_FIXED + 2 ? large[i - N_FIXED] : random_case(ck);
        c.narrow = true;
        if (c.n_queries > VR_DSP_DOT_T) check_types(ck, &c);
    }
    ck->one = one;
}
