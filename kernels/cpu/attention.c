/*
 * attention.c - softmax(scale q k^T) v by blocks; the scores of one tile are all that ever exists.
 *
 *   task (batch, head, block of queries):
 *     for each block of keys:  k -> panels [E][tile_cols];  v -> panels [keys][tile_cols]
 *       for each tile of queries:  s = q k^T  ->  running softmax, p = exp(s - max)  ->  o = o factor + p v
 *     out = o / sum
 *   in bf16 (backend.h, vr_precision) the same with q, k, p and v rounded: panels of pairs, of neighbours in E for k, of keys for v
 *   1 to 4 queries (decoding): attention_few.c
 *
 * k and v are f32, f16 or bytes (kernels/kept.h) and widened when they are packed.
 * The extra key and value are where the running softmax starts: max = score, sum = 1, o = value. Without them -inf, 0, 0.
 * Ref:   arXiv:1805.02867 (running softmax), arXiv:2205.14135, 2307.08691 (blocks); kernels/ops.h.
 * Trap:  a causal query sees a prefix of the keys, so p holds zeros from there to the end of the tile; a NaN or infinity in
 *        a row of v that only later queries of the tile see still reaches it as 0 * NaN, as it does in the published models.
 * Owner: panels, scores and sums live in the scratch of the thread.
 */
#include "kernels/cpu/attention.h"

#define KEYS       VR_ATTENTION_KEYS
#define QUERIES    VR_ATTENTION_QUERIES
#define SCORE_ROWS VR_ATTENTION_SCORE_ROWS
#define AHEAD      8 /* rows; bench/LOG.md */

static_assert(KEYS % VR_DSP_MAX_TILE_COLS == 0, "a row of scores is a whole number of panels");
static_assert(VR_MAX_HEAD_DIM % VR_DSP_MAX_TILE_COLS == 0, "so is a row of the output");
static_assert(KEYS % (2 * VR_DSP_MAX_PAIR_STEP) == 0 && VR_MAX_HEAD_DIM % (2 * VR_DSP_MAX_PAIR_STEP) == 0, "of steps of pairs");
static_assert(QUERIES % VR_DSP_MAX_PAIR_ROWS == 0 && VR_DSP_MAX_TILE_ROWS <= SCORE_ROWS, "a block is a whole number of tiles");

size_t vr_attention_scratch(const vr_dsp *d)
{
    (void)d;
    const size_t f32 = (size_t)KEYS * VR_MAX_HEAD_DIM * 2 + (size_t)QUERIES * (VR_MAX_HEAD_DIM + 2) + (size_t)KEYS * SCORE_ROWS;
    const size_t narrow = (QUERIES * (size_t)VR_MAX_HEAD_DIM + (size_t)KEYS * SCORE_ROWS) / 2;
    return f32 + narrow + (size_t)VR_DSP_MAX_TILE_COLS * VR_MAX_HEAD_DIM;
}

/* Divided where it lies in a cache: out is only written. */
static void finish(const vr_attend_task *w)
{
    for (int t = 0; t < w->n_queries; t++) {
        float *o = w->o + t * w->o_row;
        w->d->scale(o, 1.0f / w->sum[t], w->a->head_dim);
        memcpy(w->out + t * w->a->out.row, o, (size_t)w->a->head_dim * sizeof *o);
    }
}

/* Row t + AHEAD of n: rows of a head are as far apart as rows of all heads, which the processor does not foresee. */
static void fetch_row(const float *x, int64_t x_row, int t, int n, int E)
{
    if (t + AHEAD >= n) return;
    for (int e = 0; e < E; e += 16) __builtin_prefetch(x + (t + AHEAD) * x_row + e, 0, 3);
}

/* Rows first .. first + n - 1 <= tile_cols of keys or values x as f32: where they are, or widened. */
static const float *wide_rows(const vr_attend_task *w, const void *x, int64_t x_row, int first, int n, int64_t *row)
{
    const int E = w->a->head_dim;
    *row = w->a->kept == VR_KEPT_F32 ? x_row : E;
    if (w->a->kept == VR_KEPT_F32) return vr_attend_row(w->a, x, x_row, first);
    for (int i = 0; i < n; i++) w->kept->widen(w->wide + (ptrdiff_t)i * E, vr_attend_row(w->a, x, x_row, first + i), E);
    return w->wide;
}

/* n keys from first on. k as the weights of a product are packed; v is row-major as a panel is, only cut and padded. */
static void pack_keys(const vr_attend_task *w, int first, int n)
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
static void attend_tile(const vr_attend_task *w, int t, int rows, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, packed = n;
    n = vr_min_int(n, vr_attend_visible(a, w->first + t + rows - 1) - first);
    if (n <= 0) return;
    for (int c = 0; c < n; c += cols) {
        d->gemm_tile(w->s + c, KEYS, w->q + t * a->q.row, a->q.row, w->k_panels + (ptrdiff_t)c * E, rows,
                     vr_min_int(cols, n - c), E, false);
    }
    for (int i = 0; i < rows; i++) {
        const int sees = vr_attend_visible(a, w->first + t + i) - first;
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
static void pack_keys_narrow(const vr_attend_task *w, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, n_rows = vr_attend_steps(d, n);
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
                    if (e == 0 && a->kept == VR_KEPT_F32) fetch_row(w->v, a->v.row, first + c + i + r, first + n, E);
                    if (c + i + r < n)
                        narrow_row(d, two[r], v + (i + r) * row + e, width, cols);
                    else
                        memset(two[r], 0, sizeof two[r]);
                }
                for (int x = 0; x < cols; x += 8) { /* whole vectors */
                    for (int y = x; y < x + 8; y++) pairs[y] = two[0][y] | (uint32_t)two[1][y] << 16;
                }
            }
        }
    }
}

/* attend_tile in bf16 */
static void attend_tile_narrow(const vr_attend_task *w, int t, int rows, int first, int n)
{
    const vr_attention *a = w->a;
    const vr_dsp *d = w->d;
    const int E = a->head_dim, cols = d->tile_cols, packed = vr_attend_steps(d, n);
    const uint16_t *k = (const uint16_t *)(const void *)w->k_panels, *v = (const uint16_t *)(const void *)w->v_panels;
    n = vr_min_int(n, vr_attend_visible(a, w->first + t + rows - 1) - first);
    if (n <= 0) return;
    const int n_row = vr_attend_steps(d, n);
    for (int c = 0; c < n; c += cols) {
        d->gemm_tile_bf16(w->s + c, KEYS, w->narrow_q + (ptrdiff_t)t * w->e_row, w->e_row, k + (ptrdiff_t)c * w->e_row, rows,
                          vr_min_int(cols, n - c), vr_ceil_div(E, 2), false);
    }
    for (int i = 0; i < rows; i++) {
        const int sees = vr_attend_visible(a, w->first + t + i) - first;
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
    const vr_attend_job *j = arg;
    const int head = index / j->n_query_blocks;
    vr_attend_task w;
    vr_attend_open(&w, j, head / j->a->n_heads, head % j->a->n_heads, index % j->n_query_blocks, thread);
    vr_attend_start(&w);
    for (int t = 0; t < w.n_queries && j->narrow; t++) {
        fetch_row(w.q, j->a->q.row, t, w.n_queries, j->a->head_dim);
        narrow_row(w.d, w.narrow_q + (ptrdiff_t)t * w.e_row, w.q + t * j->a->q.row, j->a->head_dim, w.e_row);
    }
    const int n_keys = vr_attend_visible(j->a, w.first + w.n_queries - 1); /* later blocks are masked for all: skipped */
    for (int first = 0; first < n_keys; first += j->key_block) {
        const int n = vr_min_int(j->key_block, n_keys - first), rows = j->rows;
        (j->narrow ? pack_keys_narrow : pack_keys)(&w, first, n);
        for (int t = 0; t < w.n_queries; t += rows)
            (j->narrow ? attend_tile_narrow : attend_tile)(&w, t, vr_min_int(rows, w.n_queries - t), first, n);
    }
    finish(&w);
}

void vr_cpu_attention(vr_backend *be, const vr_attention *a)
{
    assert(a->n_batch >= 0 && a->n_queries >= 0 && a->n_heads >= 0 && a->head_dim >= 0 && a->head_dim <= VR_MAX_HEAD_DIM);
    if (a->n_batch == 0 || a->n_queries == 0 || a->n_heads == 0 || a->head_dim == 0) return;
    assert(a->n_keys >= 1 && a->n_kv_heads >= 1 && a->n_heads % a->n_kv_heads == 0 && !a->extra_k == !a->extra_v);
    vr_cpu *cpu = vr_cpu_of(be);
    vr_attend_job j = { .a = a, .cpu = cpu };
    assert(a->kept < VR_KEPTS && (int64_t)a->n_batch * a->n_heads < INT32_MAX);
    if (a->n_queries <= VR_DSP_DOT_T) {
        vr_attend_few(&j);
        return;
    }
    j.narrow = cpu->narrow;
    j.rows = j.narrow ? cpu->dsp.pair_rows : cpu->dsp.tile_rows;
    j.query_block = vr_attend_block(a->n_queries, QUERIES, j.rows);
    j.n_query_blocks = vr_ceil_div(a->n_queries, j.query_block);
    j.key_block = vr_attend_block(a->n_keys, KEYS, cpu->dsp.tile_cols);
    assert((int64_t)a->n_batch * a->n_heads * j.n_query_blocks < INT32_MAX);
    vr_pool_run(cpu->pool, a->n_batch * a->n_heads * j.n_query_blocks, block_task, &j);
}
