/*
 * attention.c - softmax(scale q k^T) v by blocks; the scores of one tile are all that ever exists.
 *
 *   task (batch, head, block of queries):
 *     for each block of keys:  k -> panels [E][tile_cols];  v -> panels [keys][tile_cols]
 *       for each tile of queries:  s = q k^T  ->  running softmax, p = exp(s - max)  ->  o = o factor + p v
 *     out = o / sum
 *   in bf16 (backend.h, vr_precision) the same with q, k, p and v rounded: panels of pairs, of neighbours in E for k, of keys for v
 *   1 to 4 queries (decoding), task (batch, group of heads): k and v are read in place, once, by dot and weighted_sum; keys in
 *   short blocks, heads inside, because a cache row [Hk*E] holds neighbouring heads in one page of memory
 *
 * The extra key and value are where the running softmax starts: max = score, sum = 1, o = value. Without them -inf, 0, 0.
 * Ref:   arXiv:1805.02867 (running softmax), arXiv:2205.14135, 2307.08691 (blocks); kernels/ops.h.
 * Trap:  a causal query sees a prefix of the keys, so p holds zeros from there to the end of the tile; a NaN or infinity in
 *        a row of v that only later queries of the tile see still reaches it as 0 * NaN, as it does in the published models.
 * Owner: panels, scores and sums live in the scratch of the thread.
 */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/cpu/cpu.h"

#define KEYS      VR_ATTENTION_KEYS
#define QUERIES   VR_ATTENTION_QUERIES
#define FEW_KEYS  64 /* 256 KB of k and of v for 8 heads of 128: second-level cache; bench/LOG.md */
#define FEW_HEADS 8

#define SCORE_ROWS VR_DSP_MAX_PAIR_ROWS /* of the tallest tile */
static_assert(KEYS % VR_DSP_MAX_TILE_COLS == 0, "a row of scores is a whole number of panels");
static_assert(FEW_KEYS <= KEYS && FEW_HEADS * VR_DSP_DOT_T <= QUERIES, "decoding uses the same scratch");
static_assert(VR_MAX_HEAD_DIM % VR_DSP_MAX_TILE_COLS == 0, "so is a row of the output");
static_assert(KEYS % (2 * VR_DSP_MAX_PAIR_STEP) == 0 && VR_MAX_HEAD_DIM % (2 * VR_DSP_MAX_PAIR_STEP) == 0, "of steps of pairs");
static_assert(QUERIES % VR_DSP_MAX_PAIR_ROWS == 0 && VR_DSP_MAX_TILE_ROWS <= SCORE_ROWS, "a block is a whole number of tiles");

typedef struct job {
    const vr_attention *a;
    const vr_cpu *cpu;
    int query_block, n_query_blocks, key_block;
    bool narrow;         /* in bf16 */
    int rows;            /* of a tile */
    int group, n_groups; /* heads a task, with few queries */
} job;

/* One task: what it reads, and its parts of the scratch. */
typedef struct task {
    const vr_attention *a;
    const vr_dsp *d;
    const float *q, *k, *v; /* of batch, head and first query */
    float *out;
    const float *extra_k, *extra_v;
    int first, n_queries; /* queries of this task */
    int o_row;            /* head_dim, up to whole panels */
    float *k_panels, *v_panels, *o, *s, *max, *sum;
    uint16_t *narrow_q, *narrow_p; /* in bf16: [n_queries][e_row], [pair_rows][KEYS] */
    int e_row;                     /* head_dim, up to whole steps of pairs, with zeros */
} task;

size_t vr_attention_scratch(const vr_dsp *d)
{
    (void)d;
    const size_t f32 = (size_t)KEYS * VR_MAX_HEAD_DIM * 2 + (size_t)QUERIES * (VR_MAX_HEAD_DIM + 2) + (size_t)KEYS * SCORE_ROWS;
    return f32 + (QUERIES * (size_t)VR_MAX_HEAD_DIM + (size_t)KEYS * SCORE_ROWS) / 2;
}

/* Keys that query t sees. */
static int visible(const vr_attention *a, int t)
{
    if (!a->causal) return a->n_keys;
    const int64_t n = (int64_t)t + 1 + a->n_keys - a->n_queries;
    return n < 0 ? 0 : n < a->n_keys ? (int)n : a->n_keys;
}

/* n numbers and the zeros that bf16 tiles want behind them */
static int up_to_steps(const vr_dsp *d, int n)
{
    const int step = 2 * (d->pair_step > 0 ? d->pair_step : 1);
    return vr_ceil_div(n, step) * step;
}

static void open_task(task *w, const job *j, int64_t n, int h, int block, int thread)
{
    const vr_attention *a = j->a;
    const int64_t kv = h / (a->n_heads / a->n_kv_heads);
    *w = (task){ .a = a, .d = &j->cpu->dsp, .first = block * j->query_block };
    w->n_queries = vr_min_int(j->query_block, a->n_queries - w->first);
    w->q = a->q.data + n * a->q.batch + w->first * a->q.row + h * a->q.head;
    w->k = (const float *)a->k.data + n * a->k.batch + kv * a->k.head;
    w->v = (const float *)a->v.data + n * a->v.batch + kv * a->v.head;
    w->out = a->out.data + n * a->out.batch + w->first * a->out.row + h * a->out.head;
    w->extra_k = a->extra_k ? a->extra_k + kv * a->head_dim : NULL;
    w->extra_v = a->extra_k ? a->extra_v + kv * a->head_dim : NULL;
    w->o_row = vr_ceil_div(a->head_dim, w->d->tile_cols) * w->d->tile_cols;
    w->k_panels = j->cpu->scratch[thread];
    w->v_panels = w->k_panels + KEYS * VR_MAX_HEAD_DIM;
    w->o = w->v_panels + KEYS * VR_MAX_HEAD_DIM;
    w->s = w->o + QUERIES * VR_MAX_HEAD_DIM;
    w->max = w->s + KEYS * SCORE_ROWS;
    w->sum = w->max + QUERIES;
    w->narrow_q = (uint16_t *)(void *)(w->sum + QUERIES);
    w->narrow_p = w->narrow_q + (ptrdiff_t)QUERIES * VR_MAX_HEAD_DIM;
    w->e_row = up_to_steps(w->d, a->head_dim);
}

static void start(const task *w)
{
    const int E = w->a->head_dim;
    for (int t = 0; t < w->n_queries; t++) {
        float *o = w->o + t * w->o_row;
        w->max[t] = -INFINITY;
        w->sum[t] = 0.0f;
        memset(o, 0, (size_t)w->o_row * sizeof *o);
        if (!w->extra_k) continue;
        w->d->dot[VR_DSP_F32](&w->max[t], 1, w->q + t * w->a->q.row, 0, 1, w->extra_k, 0, 1, E);
        w->max[t] *= w->a->scale;
        w->sum[t] = 1.0f;
        memcpy(o, w->extra_v, (size_t)E * sizeof *o);
    }
}

static void finish(const task *w)
{
    for (int t = 0; t < w->n_queries; t++) {
        float *out = w->out + t * w->a->out.row;
        memcpy(out, w->o + t * w->o_row, (size_t)w->a->head_dim * sizeof *out);
        w->d->scale(out, 1.0f / w->sum[t], w->a->head_dim);
    }
}

/* n keys from first on. k as the weights of a product are packed; v is row-major as a panel is, only cut and padded. */
static void pack_keys(const task *w, int first, int n)
{
    const vr_attention *a = w->a;
    const int E = a->head_dim, cols = w->d->tile_cols;
    for (int c = 0; c < n; c += cols) {
        w->d->pack[VR_DSP_F32](w->k_panels + (ptrdiff_t)c * E, w->k + (first + c) * a->k.row, a->k.row, vr_min_int(cols, n - c),
                               E);
    }
    for (int e = 0; e < E; e += cols) {
        const size_t width = (size_t)vr_min_int(cols, E - e);
        float *panel = w->v_panels + (ptrdiff_t)e * n;
        for (int i = 0; i < n; i++, panel += cols) {
            memcpy(panel, w->v + (first + i) * a->v.row + e, width * sizeof *panel);
            memset(panel + width, 0, ((size_t)cols - width) * sizeof *panel);
        }
    }
}

/* Queries t .. t + rows - 1 of the task against the n packed keys from first on. */
static void attend_tile(const task *w, int t, int rows, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, packed = n;
    n = vr_min_int(n, visible(a, w->first + t + rows - 1) - first);
    if (n <= 0) return;
    for (int c = 0; c < n; c += cols) {
        d->gemm_tile(w->s + c, KEYS, w->q + t * a->q.row, a->q.row, w->k_panels + (ptrdiff_t)c * E, rows,
                     vr_min_int(cols, n - c), E, false);
    }
    for (int i = 0; i < rows; i++) {
        const int sees = visible(a, w->first + t + i) - first;
        const float factor =
            d->softmax(w->s + i * KEYS, sees < 0 ? 0 : vr_min_int(sees, n), n, a->scale, &w->max[t + i], &w->sum[t + i]);
        if (factor != 1.0f) d->scale(w->o + (t + i) * w->o_row, factor, E);
    }
    for (int e = 0; e < E; e += cols) {
        d->gemm_tile(w->o + t * w->o_row + e, w->o_row, w->s, KEYS, w->v_panels + (ptrdiff_t)e * packed, rows,
                     vr_min_int(cols, E - e), n, true);
    }
}

static void narrow_row(const vr_dsp *d, uint16_t *y, const float *x, int n, int n_zero)
{
    memset(y + n, 0, (size_t)(n_zero - n) * sizeof *y);
    d->narrow(y, x, n);
}

/* pack_keys in bf16. v: two keys side by side, rows of zeros behind the last. */
static void pack_keys_narrow(const task *w, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, n_rows = up_to_steps(d, n);
    uint16_t *k = (uint16_t *)(void *)w->k_panels, two[2][VR_DSP_MAX_TILE_COLS + 1];
    for (int c = 0; c < n; c += cols, k += (ptrdiff_t)w->e_row * cols) {
        d->pack_pairs[VR_DSP_F32](k, w->k + (first + c) * a->k.row, a->k.row, vr_min_int(cols, n - c), E);
        const ptrdiff_t done = (ptrdiff_t)(E + E % 2) * cols;
        memset(k + done, 0, (size_t)((ptrdiff_t)w->e_row * cols - done) * sizeof *k);
    }
    uint32_t *v = (uint32_t *)(void *)w->v_panels;
    for (int e = 0; e < E; e += cols) {
        const int width = vr_min_int(cols, E - e);
        for (int i = 0; i < n_rows; i += 2, v += cols) {
            for (int r = 0; r < 2; r++) {
                if (i + r < n)
                    narrow_row(d, two[r], w->v + (first + i + r) * a->v.row + e, width, cols);
                else
                    memset(two[r], 0, sizeof two[r]);
            }
            for (int c = 0; c < cols; c++) v[c] = two[0][c] | (uint32_t)two[1][c] << 16;
        }
    }
}

/* attend_tile in bf16 */
static void attend_tile_narrow(const task *w, int t, int rows, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, packed = up_to_steps(d, n);
    const uint16_t *k = (const uint16_t *)(const void *)w->k_panels, *v = (const uint16_t *)(const void *)w->v_panels;
    n = vr_min_int(n, visible(a, w->first + t + rows - 1) - first);
    if (n <= 0) return;
    const int n_row = up_to_steps(d, n);
    for (int c = 0; c < n; c += cols) {
        d->gemm_tile_bf16(w->s + c, KEYS, w->narrow_q + (ptrdiff_t)t * w->e_row, w->e_row, k + (ptrdiff_t)c * w->e_row, rows,
                          vr_min_int(cols, n - c), vr_ceil_div(E, 2), false);
    }
    for (int i = 0; i < rows; i++) {
        const int sees = visible(a, w->first + t + i) - first;
        const float factor =
            d->softmax(w->s + i * KEYS, sees < 0 ? 0 : vr_min_int(sees, n), n_row, a->scale, &w->max[t + i], &w->sum[t + i]);
        if (factor != 1.0f) d->scale(w->o + (t + i) * w->o_row, factor, E);
        d->narrow(w->narrow_p + i * KEYS, w->s + i * KEYS, n_row);
    }
    for (int e = 0; e < E; e += cols) {
        d->gemm_tile_bf16(w->o + t * w->o_row + e, w->o_row, w->narrow_p, KEYS, v + (ptrdiff_t)e * packed, rows,
                          vr_min_int(cols, E - e), vr_ceil_div(n, 2), true);
    }
}

static void block_task(void *arg, int index, int thread)
{
    const job *j = arg;
    const int head = index / j->n_query_blocks;
    task w;
    open_task(&w, j, head / j->a->n_heads, head % j->a->n_heads, index % j->n_query_blocks, thread);
    start(&w);
    for (int t = 0; t < w.n_queries && j->narrow; t++)
        narrow_row(w.d, w.narrow_q + (ptrdiff_t)t * w.e_row, w.q + t * j->a->q.row, j->a->head_dim, w.e_row);
    const int n_keys = visible(j->a, w.first + w.n_queries - 1); /* later blocks are masked for all: skipped */
    for (int first = 0; first < n_keys; first += j->key_block) {
        const int n = vr_min_int(j->key_block, n_keys - first), rows = j->rows;
        (j->narrow ? pack_keys_narrow : pack_keys)(&w, first, n);
        for (int t = 0; t < w.n_queries; t += rows)
            (j->narrow ? attend_tile_narrow : attend_tile)(&w, t, vr_min_int(rows, w.n_queries - t), first, n);
    }
    finish(&w);
}

/* n keys from first on, all queries of one head. */
static void attend_few(const task *w, int first, int n)
{
    const vr_attention *a = w->a;
    w->d->dot[VR_DSP_F32](w->s, FEW_KEYS, w->q, a->q.row, w->n_queries, w->k + first * a->k.row, a->k.row, n, a->head_dim);
    for (int t = 0; t < w->n_queries; t++) {
        const int sees = vr_min_int(n, visible(a, t) - first);
        if (sees <= 0) continue;
        const float factor = w->d->softmax(w->s + t * FEW_KEYS, sees, sees, a->scale, &w->max[t], &w->sum[t]);
        w->d->weighted_sum(w->o + t * w->o_row, factor, w->v + first * a->v.row, a->v.row, w->s + t * FEW_KEYS, sees,
                           a->head_dim);
    }
}

/* n rows of neighbouring heads, in the order of their addresses: runs of E floats, one head after the other, are too short for
 * what the processor fetches by itself. bench/LOG.md */
static void fetch(const float *x, const vr_kept_heads *layout, int n, int n_heads, int E)
{
    const ptrdiff_t bytes = (ptrdiff_t)n_heads * E * (ptrdiff_t)sizeof *x;
    for (int i = 0; layout->head == E && i < n; i++) {
        const char *row = (const char *)(x + i * layout->row);
        for (ptrdiff_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    }
}

static void few_task(void *arg, int index, int thread)
{
    const job *j = arg;
    const vr_attention *a = j->a;
    const int h = index % j->n_groups * j->group, n_heads = vr_min_int(j->group, a->n_heads - h);
    task w[FEW_HEADS];
    for (int i = 0; i < n_heads; i++) {
        open_task(&w[i], j, index / j->n_groups, h + i, 0, thread);
        w[i].o += i * VR_DSP_DOT_T * w[i].o_row, w[i].max += i * VR_DSP_DOT_T, w[i].sum += i * VR_DSP_DOT_T;
        start(&w[i]);
    }
    const int shared = a->n_heads / a->n_kv_heads, n_kv = (h + n_heads - 1) / shared - h / shared + 1;
    for (int first = 0; first < a->n_keys; first += FEW_KEYS) {
        const int n = vr_min_int(FEW_KEYS, a->n_keys - first);
        fetch(w[0].k + first * a->k.row, &a->k, n, n_kv, a->head_dim);
        fetch(w[0].v + first * a->v.row, &a->v, n, n_kv, a->head_dim);
        for (int i = 0; i < n_heads; i++) attend_few(&w[i], first, n);
    }
    for (int i = 0; i < n_heads; i++) finish(&w[i]);
}

/* A block of about equal size, a multiple of step, at most max. */
static int even_block(int n, int max, int step)
{
    return vr_ceil_div(vr_ceil_div(n, vr_ceil_div(n, max)), step) * step;
}

void vr_cpu_attention(vr_backend *be, const vr_attention *a)
{
    assert(a->n_batch >= 0 && a->n_queries >= 0 && a->n_heads >= 0 && a->head_dim >= 0 && a->head_dim <= VR_MAX_HEAD_DIM);
    if (a->n_batch == 0 || a->n_queries == 0 || a->n_heads == 0 || a->head_dim == 0) return;
    assert(a->n_keys >= 1 && a->n_kv_heads >= 1 && a->n_heads % a->n_kv_heads == 0 && !a->extra_k == !a->extra_v);
    assert(a->kept == VR_KEPT_F32);
    vr_cpu *cpu = vr_cpu_of(be);
    job j = { .a = a, .cpu = cpu };
    if (a->n_queries <= VR_DSP_DOT_T) {
        const int64_t per_thread = ((int64_t)a->n_batch * a->n_heads) / (2 * vr_pool_threads(cpu->pool));
        j.query_block = VR_DSP_DOT_T;
        j.group = per_thread < 1 ? 1 : per_thread < FEW_HEADS ? (int)per_thread : FEW_HEADS; /* changes no bit of a head */
        j.n_groups = vr_ceil_div(a->n_heads, j.group);
        assert((int64_t)a->n_batch * j.n_groups < INT32_MAX);
        vr_pool_run(cpu->pool, a->n_batch * j.n_groups, few_task, &j);
        return;
    }
    j.narrow = cpu->narrow;
    j.rows = j.narrow ? cpu->dsp.pair_rows : cpu->dsp.tile_rows;
    j.query_block = even_block(a->n_queries, QUERIES, j.rows);
    j.n_query_blocks = vr_ceil_div(a->n_queries, j.query_block);
    j.key_block = even_block(a->n_keys, KEYS, cpu->dsp.tile_cols);
    assert((int64_t)a->n_batch * a->n_heads * j.n_query_blocks < INT32_MAX);
    vr_pool_run(cpu->pool, a->n_batch * a->n_heads * j.n_query_blocks, block_task, &j);
}
