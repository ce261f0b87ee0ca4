/*
 * attention.c - softmax(scale q k^T) v by blocks; the scores of one tile are all that ever exists.
 *
 *   task (batch, head, block of queries):
 *     for each block of keys:  k -> panels [E][tile_cols];  v -> panels [keys][tile_cols]
 *       for each tile of queries:  s = q k^T  ->  running softmax, p = exp(s - max)  ->  o = o factor + p v
 *     out = o / sum
 *   in bf16 (backend.h, vr_precision) the same with q, k, p and v rounded: panels of pairs, of neighbours in E for k, of keys for v
 *   1 to 4 queries (decoding), task (batch, group of heads, piece of the keys): k and v are read in place, once, by dot and
 *   weighted_sum, heads of one query that share keys together; keys in short blocks, heads inside, because a cache row [Hk*E]
 *   holds neighbouring heads in one page of memory
 *     many keys are cut into ranges, each with a softmax of its own: (max, sum, o) of each -> merged, in order
 *
 * k and v are f32, f16 or bytes (kernels/kept.h): blocks are widened when they are packed, a few queries widen in registers.
 * The ranges depend on the number of keys alone, threads share whole ranges: the same bits for any number of threads.
 * The extra key and value are where the running softmax starts: max = score, sum = 1, o = value. Without them -inf, 0, 0.
 * Ref:   arXiv:1805.02867 (running softmax), arXiv:2205.14135, 2307.08691 (blocks), flash-decoding (ranges); kernels/ops.h.
 * Trap:  a causal query sees a prefix of the keys, so p holds zeros from there to the end of the tile; a NaN or infinity in
 *        a row of v that only later queries of the tile see still reaches it as 0 * NaN, as it does in the published models.
 * Owner: panels, scores and sums live in the scratch of the thread, those of ranges in rows of the backend.
 */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/cpu/cpu.h"

#define KEYS      VR_ATTENTION_KEYS
#define QUERIES   VR_ATTENTION_QUERIES
#define FEW_KEYS  32 /* 128 KB of k and of v for 8 heads of 128, and as much ahead: second-level cache; bench/LOG.md */
#define FEW_HEADS 8
#define SLICE     8   /* keys between fetches: some 64 lines of f32 */
#define RANGE     512 /* keys of a range at most: merging is a hundredth of their reading; bench/LOG.md */

#define SCORE_ROWS VR_DSP_MAX_PAIR_ROWS /* of the tallest tile */
static_assert(KEYS % VR_DSP_MAX_TILE_COLS == 0, "a row of scores is a whole number of panels");
static_assert(FEW_KEYS <= KEYS && FEW_HEADS * VR_DSP_DOT_T <= QUERIES, "decoding uses the same scratch");
static_assert(VR_MAX_HEAD_DIM % VR_DSP_MAX_TILE_COLS == 0, "so is a row of the output");
static_assert(KEYS % (2 * VR_DSP_MAX_PAIR_STEP) == 0 && VR_MAX_HEAD_DIM % (2 * VR_DSP_MAX_PAIR_STEP) == 0, "of steps of pairs");
static_assert(RANGE % FEW_KEYS == 0 && VR_MAX_CONTEXT / RANGE <= KEYS * SCORE_ROWS, "shares of ranges lie where scores do");
static_assert(QUERIES % VR_DSP_MAX_PAIR_ROWS == 0 && VR_DSP_MAX_TILE_ROWS <= SCORE_ROWS, "a block is a whole number of tiles");

typedef struct job {
    const vr_attention *a;
    vr_cpu *cpu;
    int query_block, n_query_blocks, key_block;
    bool narrow;         /* in bf16 */
    int rows;            /* of a tile */
    int bundle, n_units; /* with few queries: heads whose rows are multiplied together, bundles in all; so too: */
    int group, n_groups; /* bundles a task */
    int range, n_ranges; /* keys of a range */
    int n_pieces;        /* of the ranges, one a task */
    size_t part;         /* floats: [rows] max, [rows] sum, [rows][o_row] of a range and bundle */
    float *parts;        /* [batch, n_units, n_ranges][part]; NULL: one range, in the scratch */
} job;

/* One task: what it reads, and its parts of the scratch. */
typedef struct task {
    const vr_attention *a;
    const vr_dsp *d;
    const vr_dsp_kept *kept;
    const float *q; /* of batch, head and first query */
    const void *k, *v;
    float *out;
    const float *extra_k, *extra_v;
    int64_t q_row, out_row;
    bool bundled;         /* rows are heads of one query */
    int first, n_queries; /* queries of this task; bundled: heads */
    int o_row;            /* head_dim, up to whole panels */
    float *k_panels, *v_panels, *o, *s, *max, *sum;
    float *wide;                   /* [tile_cols][head_dim] rows that are kept narrow */
    uint16_t *narrow_q, *narrow_p; /* in bf16: [n_queries][e_row], [pair_rows][KEYS] */
    int e_row;                     /* head_dim, up to whole steps of pairs, with zeros */
} task;

size_t vr_attention_scratch(const vr_dsp *d)
{
    (void)d;
    const size_t f32 = (size_t)KEYS * VR_MAX_HEAD_DIM * 2 + (size_t)QUERIES * (VR_MAX_HEAD_DIM + 2) + (size_t)KEYS * SCORE_ROWS;
    const size_t narrow = (QUERIES * (size_t)VR_MAX_HEAD_DIM + (size_t)KEYS * SCORE_ROWS) / 2;
    return f32 + narrow + (size_t)VR_DSP_MAX_TILE_COLS * VR_MAX_HEAD_DIM;
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

/* Row t of keys or values, from its first one on. */
static const void *row_at(const vr_attention *a, const void *x, int64_t row, int64_t t)
{
    return (const unsigned char *)x + (size_t)(t * row) * vr_kept_bytes(a->kept);
}

static void open_task(task *w, const job *j, int64_t n, int h, int block, int thread)
{
    const vr_attention *a = j->a;
    const int64_t kv = h / (a->n_heads / a->n_kv_heads);
    *w = (task){ .a = a, .d = &j->cpu->dsp, .first = block * j->query_block };
    w->n_queries = vr_min_int(j->query_block, a->n_queries - w->first);
    w->q = a->q.data + n * a->q.batch + w->first * a->q.row + h * a->q.head;
    w->q_row = a->q.row, w->out_row = a->out.row;
    w->kept = &w->d->kept[a->kept];
    w->k = row_at(a, a->k.data, 1, n * a->k.batch + kv * a->k.head);
    w->v = row_at(a, a->v.data, 1, n * a->v.batch + kv * a->v.head);
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
    w->wide = (float *)(void *)(w->narrow_p + (ptrdiff_t)KEYS * SCORE_ROWS);
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
        w->d->dot[VR_DSP_F32](&w->max[t], 1, w->q + t * w->q_row, 0, 1, w->extra_k, 0, 1, E);
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

/* Rows first .. first + n - 1 <= tile_cols of keys or values x as f32: where they are, or widened. */
static const float *wide_rows(const task *w, const void *x, int64_t x_row, int first, int n, int64_t *row)
{
    const int E = w->a->head_dim;
    *row = w->a->kept == VR_KEPT_F32 ? x_row : E;
    if (w->a->kept == VR_KEPT_F32) return row_at(w->a, x, x_row, first);
    for (int i = 0; i < n; i++) w->kept->widen(w->wide + (ptrdiff_t)i * E, row_at(w->a, x, x_row, first + i), E);
    return w->wide;
}

/* n keys from first on. k as the weights of a product are packed; v is row-major as a panel is, only cut and padded. */
static void pack_keys(const task *w, int first, int n)
{
    const vr_attention *a = w->a;
    const int E = a->head_dim, cols = w->d->tile_cols;
    for (int c = 0; c < n; c += cols) {
        const int rows = vr_min_int(cols, n - c);
        int64_t row;
        const float *k = wide_rows(w, w->k, a->k.row, first + c, rows, &row);
        w->d->pack[VR_DSP_F32](w->k_panels + (ptrdiff_t)c * E, k, row, rows, E);
        const float *v = wide_rows(w, w->v, a->v.row, first + c, rows, &row);
        for (int e = 0; e < E; e += cols) {
            const size_t width = (size_t)vr_min_int(cols, E - e);
            float *panel = w->v_panels + (ptrdiff_t)e * n + (ptrdiff_t)c * cols;
            for (int i = 0; i < rows; i++, panel += cols) {
                memcpy(panel, v + i * row + e, width * sizeof *panel);
                memset(panel + width, 0, ((size_t)cols - width) * sizeof *panel);
            }
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
    uint16_t *panel = (uint16_t *)(void *)w->k_panels, two[2][VR_DSP_MAX_TILE_COLS + 1];
    int64_t row;
    for (int c = 0; c < n; c += cols, panel += (ptrdiff_t)w->e_row * cols) {
        const float *k = wide_rows(w, w->k, a->k.row, first + c, vr_min_int(cols, n - c), &row);
        d->pack_pairs[VR_DSP_F32](panel, k, row, vr_min_int(cols, n - c), E);
        const ptrdiff_t done = (ptrdiff_t)(E + E % 2) * cols;
        memset(panel + done, 0, (size_t)((ptrdiff_t)w->e_row * cols - done) * sizeof *panel);
    }
    for (int c = 0; c < n_rows; c += cols) {
        const int rows = vr_min_int(cols, n_rows - c);
        const float *v = c < n ? wide_rows(w, w->v, a->v.row, first + c, vr_min_int(rows, n - c), &row) : NULL;
        for (int e = 0; e < E; e += cols) {
            const int width = vr_min_int(cols, E - e);
            uint32_t *pairs = (uint32_t *)(void *)w->v_panels + (ptrdiff_t)e / 2 * n_rows + (ptrdiff_t)c / 2 * cols;
            for (int i = 0; i < rows; i += 2, pairs += cols) {
                for (int r = 0; r < 2; r++) {
                    if (c + i + r < n)
                        narrow_row(d, two[r], v + (i + r) * row + e, width, cols);
                    else
                        memset(two[r], 0, sizeof two[r]);
                }
                for (int x = 0; x < cols; x++) pairs[x] = two[0][x] | (uint32_t)two[1][x] << 16;
            }
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

/* What is read next, on its way into the cache: rows of neighbouring heads, in the order of their addresses, a few lines at a time
 * while the processor multiplies. Runs of one head, one head after the other, are too short for what it fetches by itself, and many
 * lines at once make it wait. bench/LOG.md */
typedef struct ahead {
    const char *row[2];  /* keys, values */
    ptrdiff_t step[2];   /* bytes from row to row */
    ptrdiff_t run, at;   /* bytes of a row, done */
    int n_rows, n_lines; /* left; lines at a time */
} ahead;

static void fetch(ahead *f)
{
    for (int i = 0; i < f->n_lines && f->n_rows > 0; i++) {
        __builtin_prefetch(f->row[0] + f->at, 0, 2);
        __builtin_prefetch(f->row[1] + f->at, 0, 2);
        f->at += 64;
        if (f->at < f->run) continue;
        f->at = 0, f->n_rows--;
        f->row[0] += f->step[0], f->row[1] += f->step[1];
    }
}

/* n rows from first on, in the given number of calls of fetch */
static ahead ahead_of(const task *w, int first, int n, int n_heads, int n_calls)
{
    const vr_attention *a = w->a;
    const ptrdiff_t element = (ptrdiff_t)vr_kept_bytes(a->kept);
    ahead f = { .step = { a->k.row * element, a->v.row * element }, .run = n_heads * a->k.head * element, .n_rows = n };
    const bool neighbours = a->k.head == vr_kept_row(a->kept, a->head_dim) && a->v.head == a->k.head;
    if (!neighbours || n <= 0) return (ahead){ 0 };
    f.row[0] = row_at(a, w->k, a->k.row, first), f.row[1] = row_at(a, w->v, a->v.row, first);
    f.n_lines = (int)(((f.run + 63) / 64 * f.n_rows + n_calls - 1) / n_calls);
    return f;
}

/* n keys from first on, all rows of one bundle. */
static void attend_few(const task *w, int first, int n, ahead *next)
{
    const vr_attention *a = w->a;
    const int T = w->n_queries;
    float factor[VR_DSP_DOT_T];
    for (int i = 0; i < n; i += SLICE) {
        fetch(next);
        w->kept->dot(w->s + i, FEW_KEYS, w->q, w->q_row, T, row_at(a, w->k, a->k.row, first + i), a->k.row,
                     vr_min_int(SLICE, n - i), a->head_dim);
    }
    for (int t = 0; t < T; t++) {
        const int sees = visible(a, w->bundled ? 0 : t) - first;
        factor[t] = w->d->softmax(w->s + t * FEW_KEYS, sees < 0 ? 0 : vr_min_int(n, sees), n, a->scale, &w->max[t], &w->sum[t]);
    }
    for (int i = 0; i < n; i += SLICE) {
        fetch(next);
        w->kept->weighted_sum(w->o, w->o_row, factor, row_at(a, w->v, a->v.row, first + i), a->v.row, w->s + i, FEW_KEYS, T,
                              vr_min_int(SLICE, n - i), a->head_dim);
        for (int t = 0; t < T; t++) factor[t] = 1.0f;
    }
}

/* The first head of a bundle. */
static int head_of(const job *j, int unit)
{
    const int shared = j->a->n_heads / j->a->n_kv_heads, of_each = vr_ceil_div(shared, j->bundle);
    return unit / of_each * shared + unit % of_each * j->bundle;
}

/* The softmax of range r of a bundle of batch n begins; place: of the bundle in the scratch. */
static void open_range(task *w, const job *j, int64_t n, int unit, int r, int place, int thread)
{
    const int h = head_of(j, unit), shared = j->a->n_heads / j->a->n_kv_heads;
    open_task(w, j, n, h, 0, thread);
    if (j->bundle > 1) {
        w->bundled = true, w->n_queries = vr_min_int(j->bundle, shared - h % shared);
        w->q_row = j->a->q.head, w->out_row = j->a->out.head;
    }
    w->max = j->parts ? j->parts + (((size_t)n * (size_t)j->n_units + (size_t)unit) * (size_t)j->n_ranges + (size_t)r) * j->part
                      : w->o + (size_t)place * j->part;
    w->sum = w->max + w->n_queries;
    w->o = w->sum + w->n_queries;
    if (r > 0) w->extra_k = w->extra_v = NULL;
}

/* out = the ranges of a bundle on a common maximum, w that of the first one. A single range: out = o / sum. */
static void merge(const task *w, const job *j)
{
    const int64_t part = (int64_t)j->part;
    const float nothing = 0.0f;
    for (int t = 0; t < w->n_queries; t++) {
        float *const share = w->s, *const out = w->out + t * w->out_row;
        float max = -INFINITY, sum = 0.0f, total = 0.0f;
        for (int r = 0; r < j->n_ranges; r++) share[r] = w->max[r * part + t];
        w->d->softmax(share, j->n_ranges, j->n_ranges, 1.0f, &max, &sum);
        for (int r = 0; r < j->n_ranges; r++) total += share[r] * w->sum[r * part + t];
        w->d->scale(share, 1.0f / total, j->n_ranges);
        memset(out, 0, (size_t)j->a->head_dim * sizeof *out);
        w->d->kept[VR_KEPT_F32].weighted_sum(out, 0, &nothing, w->o + t * w->o_row, part, share, 0, 1, j->n_ranges,
                                             j->a->head_dim);
    }
}

static void few_task(void *arg, int index, int thread)
{
    const job *j = arg;
    const vr_attention *a = j->a;
    const int piece = index % j->n_pieces, n = index / j->n_pieces / j->n_groups;
    const int unit = index / j->n_pieces % j->n_groups * j->group, n_units = vr_min_int(j->group, j->n_units - unit);
    const int shared = a->n_heads / a->n_kv_heads;
    const int n_kv = head_of(j, unit + n_units - 1) / shared - head_of(j, unit) / shared + 1;
    const int r_first = (int)((int64_t)piece * j->n_ranges / j->n_pieces);
    const int r_end = (int)((piece + (int64_t)1) * j->n_ranges / j->n_pieces), last = vr_min_int(a->n_keys, r_end * j->range);
    task w[FEW_HEADS];
    for (int r = r_first; r < r_end; r++) {
        for (int i = 0; i < n_units; i++) {
            open_range(&w[i], j, n, unit + i, r, i, thread);
            start(&w[i]);
        }
        const int end = vr_min_int(a->n_keys, (r + 1) * j->range);
        for (int first = r * j->range; first < end; first += FEW_KEYS) {
            const int n_keys = vr_min_int(FEW_KEYS, end - first), next = first + n_keys;
            if (first == r_first * j->range) {
                ahead f = ahead_of(&w[0], first, n_keys, n_kv, 1);
                fetch(&f);
            }
            ahead f = ahead_of(&w[0], next, vr_min_int(FEW_KEYS, last - next), n_kv, n_units * 2 * vr_ceil_div(n_keys, SLICE));
            for (int i = 0; i < n_units; i++) attend_few(&w[i], first, n_keys, &f);
        }
    }
    for (int i = 0; j->n_pieces == 1 && i < n_units; i++) {
        open_range(&w[i], j, n, unit + i, 0, i, thread);
        merge(&w[i], j);
    }
}

/* Where several tasks had a share in a bundle. */
static void merge_task(void *arg, int index, int thread)
{
    const job *j = arg;
    task w;
    open_range(&w, j, index / j->n_units, index % j->n_units, 0, 0, thread);
    merge(&w, j);
}

/* A block of about equal size, a multiple of step, at most max. */
static int even_block(int n, int max, int step)
{
    return vr_ceil_div(vr_ceil_div(n, vr_ceil_div(n, max)), step) * step;
}

/* One query: heads that share keys are rows of one product, up to four, so that a key is read and widened once for them. All
 * bundles that share keys in one task; where that leaves too few tasks for the threads, pieces of the keys: two for each thread, as
 * one of them may be held up. Nothing of this but the bundles changes a bit. */
static void attend_with_few(job *j)
{
    const vr_attention *a = j->a;
    const int shared = a->n_heads / a->n_kv_heads, wanted = 2 * vr_pool_threads(j->cpu->pool);
    task w;
    j->query_block = VR_DSP_DOT_T;
    j->bundle = a->n_queries == 1 ? vr_min_int(shared, VR_DSP_DOT_T) : 1;
    const int of_each = vr_ceil_div(shared, j->bundle);
    j->n_units = a->n_kv_heads * of_each;
    j->range = even_block(a->n_keys, RANGE, FEW_KEYS);
    j->n_ranges = vr_ceil_div(a->n_keys, j->range);
    const int units = a->n_batch * j->n_units;
    j->group = vr_min_int(FEW_HEADS, units / wanted > 1 ? units / wanted : 1);
    if (j->n_ranges > 1 && j->group < of_each) j->group = vr_min_int(FEW_HEADS, of_each);
    j->n_groups = vr_ceil_div(j->n_units, j->group);
    const int tasks = a->n_batch * j->n_groups;
    j->n_pieces = vr_min_int(j->n_ranges, vr_ceil_div(wanted, tasks));
    open_task(&w, j, 0, 0, 0, 0);
    j->part = (size_t)(j->bundle > 1 ? j->bundle : a->n_queries) * (size_t)(2 + w.o_row);
    if (j->n_ranges > 1) {
        j->parts = vr_cpu_rows(j->cpu, (size_t)units * (size_t)j->n_ranges * j->part * sizeof *j->parts);
        if (!j->parts) return;
    }
    assert((int64_t)tasks * j->n_pieces < INT32_MAX);
    vr_pool_run(j->cpu->pool, tasks * j->n_pieces, few_task, j);
    if (j->n_pieces > 1) vr_pool_run(j->cpu->pool, units, merge_task, j);
}

void vr_cpu_attention(vr_backend *be, const vr_attention *a)
{
    assert(a->n_batch >= 0 && a->n_queries >= 0 && a->n_heads >= 0 && a->head_dim >= 0 && a->head_dim <= VR_MAX_HEAD_DIM);
    if (a->n_batch == 0 || a->n_queries == 0 || a->n_heads == 0 || a->head_dim == 0) return;
    assert(a->n_keys >= 1 && a->n_kv_heads >= 1 && a->n_heads % a->n_kv_heads == 0 && !a->extra_k == !a->extra_v);
    vr_cpu *cpu = vr_cpu_of(be);
    job j = { .a = a, .cpu = cpu };
    assert(a->kept < VR_KEPTS && (int64_t)a->n_batch * a->n_heads < INT32_MAX);
    if (a->n_queries <= VR_DSP_DOT_T) {
        attend_with_few(&j);
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
