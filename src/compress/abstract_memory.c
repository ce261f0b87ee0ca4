/*
 * abstract_memory.c - see abstract_memory.h.
 *
 *   q = M Wq^T + bq [m,E], k = X Wk^T + bk [n,E] -> op attention with the tokens themselves as values [m,D]
 *   -> M += -ratio M; M += ratio (what was seen)
 *
 * The width of values is cut into D/E heads that share one query and one key: strides of 0 between heads.
 * Ref:  Flash-VStream-LLaVA vstream_arch.py:34-65,174-183 (attention), compress_functions.py:263-277 (attention_feature).
 * Trap: the original takes 1 - rowsum(ratio W) where this takes 1 - ratio: the same but for rounding.
 * Trap: with one new token the softmax has one key and every slot moves alike, whatever the weights are.
 */
#include "compress/abstract_memory.h"

#include <math.h>

static void move(const vr_abstract_memory *a, const vr_run *run, float *memory, const float *seen, int m)
{
    const int D = a->D;
    float *const keep = vr_arena_floats(run->scratch, 2 * (size_t)D), *const take = keep + D;
    float *const host = vr_arena_floats(run->host, 2 * (size_t)D);
    for (int d = 0; d < D && !run->be->plan; d++) host[d] = -a->ratio, host[D + d] = a->ratio;
    run->be->write(run->be, keep, host, 2 * (size_t)D * sizeof *host);
    run->be->ops->scale_add(run->be, memory, memory, memory, keep, m, D);
    run->be->ops->scale_add(run->be, memory, memory, seen, take, m, D);
}

/* memory [m,D] sees x [n,D]. */
static void update(const vr_abstract_memory *a, const vr_run *run, float *memory, int m, const float *x, int n)
{
    const vr_ops *const op = run->be->ops;
    const size_t mark = vr_arena_mark(run->scratch), host = vr_arena_mark(run->host);
    const int D = a->D, E = a->q.rows, H = (D + E - 1) / E, padded = H * E;
    float *const q = vr_arena_floats(run->scratch, (size_t)m * (size_t)E);
    float *const k = vr_arena_floats(run->scratch, (size_t)n * (size_t)E);
    /* columns from D on are whatever is there: no other column depends on them */
    float *const values = vr_arena_floats(run->scratch, (size_t)n * (size_t)padded);
    float *const found = vr_arena_floats(run->scratch, (size_t)m * (size_t)padded);
    float *const seen = vr_arena_floats(run->scratch, (size_t)m * (size_t)D);
    op->linear(run->be, q, memory, &a->q, a->q_bias, VR_ACT_NONE, NULL, m);
    op->linear(run->be, k, x, &a->k, a->k_bias, VR_ACT_NONE, NULL, n);
    op->copy_rows(run->be, values, padded, x, D, n, D);
    vr_attention attention = { .n_batch = 1, .n_queries = m, .n_keys = n, .n_heads = H, .n_kv_heads = H, .head_dim = E };
    attention.scale = 1.0f / sqrtf((float)E);
    attention.q = (vr_heads){ .data = q, .row = E };
    attention.k = (vr_kept_heads){ .data = k, .row = E };
    attention.v = (vr_kept_heads){ .data = values, .row = padded, .head = E };
    attention.out = (vr_heads){ .data = found, .row = padded, .head = E };
    op->attention(run->be, &attention);
    op->copy_rows(run->be, seen, D, found, padded, m, D);
    move(a, run, memory, seen, m);
    vr_arena_release(run->host, host);
    vr_arena_release(run->scratch, mark);
}

void vr_abstract_memory_append(const vr_abstract_memory *a, const vr_run *run, float *memory, int *n_steps, const float *x,
                               int t, const char *stage)
{
    const int64_t step = (int64_t)a->P * a->D;
    const int n_new = t < a->N - *n_steps ? t : a->N - *n_steps, n_slots = a->N * a->P;
    run->be->ops->copy_rows(run->be, memory + *n_steps * step, a->D, x, a->D, n_new * a->P, a->D);
    *n_steps += n_new;
    for (int i = n_new, chunk = 0; i < t; i += a->N, chunk++) {
        const int n = t - i < a->N ? t - i : a->N;
        update(a, run, memory, n_slots, x + i * step, n * a->P);
        if (stage) vr_run_dump(run, memory, 2, (const int64_t[2]){ n_slots, a->D }, "%s.%02d", stage, chunk);
    }
}
