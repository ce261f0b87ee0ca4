/*
 * attention_few.c - attention of 1 to 4 queries, which is decoding: keys and values are read once, where they are.
 *
 *   task (batch, group of bundles, piece of the keys); bundle: rows that share keys, heads of one query or queries of one head
 *     for each range of keys:  for each short block:  for each bundle:  s = q . k  ->  running softmax  ->  o = o factor + p v
 *     (max, sum, o) of each range -> merged, in order -> out
 *
 * Keys in short blocks, bundles inside, because a cache row [Hk*E] holds neighbouring heads in one page of memory; the next
 * block is on its way meanwhile. f16 and bytes are widened in registers.
 * The ranges depend on the number of keys alone, threads share whole ranges: the same bits for any number of threads.
 * Ref:   arXiv:1805.02867 (running softmax), flash-decoding (ranges); kernels/ops.h; bench/LOG.md.
 * Owner: scores and sums live in the scratch of the thread, those of ranges in rows of the backend.
 */
#include "kernels/cpu/attention.h"

#define FEW_BYTES ((size_t)256 << 10) /* of k and v in a block, and as much ahead: second-level cache; bench/LOG.md */
#define FEW_HEADS 8
#define RANGE     512 /* keys of a range at most: merging is a hundredth of their reading; bench/LOG.md */

static_assert(VR_DSP_FEW_KEYS <= VR_ATTENTION_KEYS && FEW_HEADS * VR_DSP_FEW <= VR_ATTENTION_QUERIES, "the scratch holds them");
static_assert(FEW_HEADS * VR_DSP_FEW * VR_DSP_QUERY_ROW <= VR_ATTENTION_KEYS * VR_MAX_HEAD_DIM,
              "and copies of queries where keys go");
static_assert(RANGE % VR_DSP_FEW_KEYS == 0 && VR_MAX_CONTEXT / RANGE <= VR_ATTENTION_KEYS * VR_ATTENTION_SCORE_ROWS,
              "shares of ranges lie where scores do");

/* n rows of n_heads from first on, while all bundles of the task do their part of a block. */
static vr_ahead ahead_of(const vr_attend_task *w, int first, int n, int n_heads, int64_t work)
{
    const vr_attention *a = w->a;
    const ptrdiff_t element = (ptrdiff_t)vr_kept_bytes(a->kept);
    vr_ahead f = { .step = { a->k.row * element, a->v.row * element }, .run = n_heads * a->k.head * element, .n_rows = n };
    const bool neighbours = a->k.head == vr_kept_row(a->kept, a->head_dim) && a->v.head == a->k.head;
    if (!neighbours || n <= 0) return (vr_ahead){ 0 };
    f.row[0] = vr_attend_row(a, w->k, a->k.row, first), f.row[1] = vr_attend_row(a, w->v, a->v.row, first);
    f.per_line = work / ((f.run + VR_AHEAD_LINE - 1) / VR_AHEAD_LINE * n);
    return f;
}

/* n keys from first on, all rows of one bundle. */
static void attend_few(const vr_attend_task *w, int first, int n, vr_ahead *next)
{
    const vr_attention *a = w->a;
    float factor[VR_DSP_FEW];
    w->kept->scores(w->s, w->few_q, w->n_queries, vr_attend_row(a, w->k, a->k.row, first), a->k.row, n, a->head_dim, next);
    for (int t = 0; t < w->n_queries; t++) {
        const int sees = vr_attend_visible(a, w->bundled ? 0 : t) - first;
        factor[t] =
            w->d->softmax(w->s + t * VR_DSP_FEW_KEYS, sees < 0 ? 0 : vr_min_int(n, sees), n, a->scale, &w->max[t], &w->sum[t]);
    }
    w->kept->weighted_sum(w->o, w->o_row, factor, vr_attend_row(a, w->v, a->v.row, first), a->v.row, w->s, w->n_queries, n,
                          a->head_dim, next);
}

/* The first head of a bundle. */
static int head_of(const vr_attend_job *j, int unit)
{
    const int shared = j->a->n_heads / j->a->n_kv_heads, of_each = vr_ceil_div(shared, j->bundle);
    return unit / of_each * shared + unit % of_each * j->bundle;
}

/* The softmax of range r of a bundle of batch n begins; place: of the bundle in the scratch. */
static void open_range(vr_attend_task *w, const vr_attend_job *j, int64_t n, int unit, int r, int place, int thread)
{
    const int h = head_of(j, unit), shared = j->a->n_heads / j->a->n_kv_heads;
    vr_attend_open(w, j, n, h, 0, thread);
    if (j->bundle > 1) {
        w->bundled = true, w->n_queries = vr_min_int(j->bundle, shared - h % shared);
        w->q_row = j->a->q.head, w->out_row = j->a->out.head;
    }
    w->few_q = w->k_panels + (ptrdiff_t)place * VR_DSP_FEW * VR_DSP_QUERY_ROW;
    for (int t = 0; t < w->n_queries; t++)
        memcpy(w->few_q + (ptrdiff_t)t * VR_DSP_QUERY_ROW, w->q + t * w->q_row, (size_t)j->a->head_dim * sizeof *w->q);
    w->max = j->parts ? j->parts + (((size_t)n * (size_t)j->n_units + (size_t)unit) * (size_t)j->n_ranges + (size_t)r) * j->part
                      : w->o + (size_t)place * j->part;
    w->sum = w->max + w->n_queries;
    w->o = w->sum + w->n_queries;
    if (r > 0) w->extra_k = w->extra_v = NULL;
}

/* out = the ranges of a bundle on a common maximum, w that of the first one. A single range: out = o / sum. */
static void merge(const vr_attend_task *w, const vr_attend_job *j)
{
    const int64_t part = (int64_t)j->part;
    const float nothing = 0.0f;
    vr_ahead none = { 0 };
    for (int t = 0; t < w->n_queries; t++) {
        float *const share = w->s, *const out = w->out + t * w->out_row;
        float max = -INFINITY, sum = 0.0f, total = 0.0f;
        for (int r = 0; r < j->n_ranges; r++) share[r] = w->max[r * part + t];
        w->d->softmax(share, j->n_ranges, j->n_ranges, 1.0f, &max, &sum);
        for (int r = 0; r < j->n_ranges; r++) total += share[r] * w->sum[r * part + t];
        w->d->scale(share, 1.0f / total, j->n_ranges);
        memset(out, 0, (size_t)j->a->head_dim * sizeof *out);
        w->d->kept[VR_KEPT_F32].weighted_sum(out, 0, &nothing, w->o + t * w->o_row, part, share, 1, j->n_ranges, j->a->head_dim,
                                             &none);
    }
}

static void few_task(void *arg, int index, int thread)
{
    const vr_attend_job *j = arg;
    const vr_attention *a = j->a;
    const int piece = index % j->n_pieces, n = index / j->n_pieces / j->n_groups;
    const int unit = index / j->n_pieces % j->n_groups * j->group, n_units = vr_min_int(j->group, j->n_units - unit);
    const int shared = a->n_heads / a->n_kv_heads;
    const int n_kv = head_of(j, unit + n_units - 1) / shared - head_of(j, unit) / shared + 1;
    const int r_first = (int)((int64_t)piece * j->n_ranges / j->n_pieces);
    const int r_end = (int)((piece + (int64_t)1) * j->n_ranges / j->n_pieces), last = vr_min_int(a->n_keys, r_end * j->range);
    vr_attend_task w[FEW_HEADS];
    for (int r = r_first; r < r_end; r++) {
        int n_rows = 0;
        for (int i = 0; i < n_units; i++) {
            open_range(&w[i], j, n, unit + i, r, i, thread);
            vr_attend_start(&w[i]);
            n_rows += w[i].n_queries;
        }
        const int end = vr_min_int(a->n_keys, (r + 1) * j->range);
        for (int first = r * j->range; first < end; first += j->key_block) {
            const int n_keys = vr_min_int(j->key_block, end - first), next = first + n_keys;
            if (first == r_first * j->range) {
                vr_ahead f = ahead_of(&w[0], first, n_keys, n_kv, 0);
                vr_ahead_fetch(&f, 0);
            }
            const int64_t work = (int64_t)2 * n_rows * n_keys * a->head_dim;
            vr_ahead f = ahead_of(&w[0], next, vr_min_int(j->key_block, last - next), n_kv, work);
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
    const vr_attend_job *j = arg;
    vr_attend_task w;
    open_range(&w, j, index / j->n_units, index % j->n_units, 0, 0, thread);
    merge(&w, j);
}

/* One query: heads that share keys are rows of one product, up to eight, so that a key is read and widened once for them. All
 * bundles that share keys in one task; where that leaves too few tasks for the threads, pieces of the keys: two for each
 * thread, as one of them may be held up. Nothing of this but the bundles changes a bit. */
void vr_attend_few(vr_attend_job *j)
{
    const vr_attention *a = j->a;
    const int shared = a->n_heads / a->n_kv_heads, wanted = 2 * vr_pool_threads(j->cpu->pool);
    vr_attend_task w;
    j->query_block = VR_DSP_DOT_T;
    j->bundle = a->n_queries == 1 ? vr_min_int(shared, VR_DSP_FEW) : 1;
    const int of_each = vr_ceil_div(shared, j->bundle);
    j->n_units = a->n_kv_heads * of_each;
    j->range = vr_attend_block(a->n_keys, RANGE, VR_DSP_FEW_KEYS);
    j->n_ranges = vr_ceil_div(a->n_keys, j->range);
    const int units = a->n_batch * j->n_units;
    j->group = vr_min_int(FEW_HEADS, units / wanted > 1 ? units / wanted : 1);
    if (j->n_ranges > 1 && j->group < of_each) j->group = vr_min_int(FEW_HEADS, of_each);
    j->n_groups = vr_ceil_div(j->n_units, j->group);
    const size_t key =
        (size_t)vr_ceil_div(j->group, of_each) * 2 * (size_t)vr_kept_row(a->kept, a->head_dim) * vr_kept_bytes(a->kept);
    j->key_block = key * VR_DSP_FEW_KEYS <= FEW_BYTES ? VR_DSP_FEW_KEYS : VR_DSP_FEW_KEYS / 2;
    const int tasks = a->n_batch * j->n_groups;
    j->n_pieces = vr_min_int(j->n_ranges, vr_ceil_div(wanted, tasks));
    vr_attend_open(&w, j, 0, 0, 0, 0);
    j->part = (size_t)(j->bundle > 1 ? j->bundle : a->n_queries) * (size_t)(2 + w.o_row);
    if (j->n_ranges > 1) {
        j->parts = vr_cpu_rows(j->cpu, (size_t)units * (size_t)j->n_ranges * j->part * sizeof *j->parts);
        if (!j->parts) return;
    }
    assert((int64_t)tasks * j->n_pieces < INT32_MAX);
    vr_pool_run(j->cpu->pool, tasks * j->n_pieces, few_task, j);
    if (j->n_pieces > 1) vr_pool_run(j->cpu->pool, units, merge_task, j);
}
