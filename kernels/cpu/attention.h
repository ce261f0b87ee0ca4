/*
 * attention.h - what the two ways of attention share: blocks (attention.c) and a few queries (attention_few.c).
 *
 *   job (one call) -> tasks (a head and its queries), each with its parts of the scratch of a thread
 */
#ifndef VR_CPU_ATTENTION_H
#define VR_CPU_ATTENTION_H

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/cpu/cpu.h"

#define VR_ATTENTION_SCORE_ROWS VR_DSP_MAX_PAIR_ROWS /* of the tallest tile */

typedef struct vr_attend_job {
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
} vr_attend_job;

/* One task: what it reads, and its parts of the scratch. */
typedef struct vr_attend_task {
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
    float *few_q; /* [n_queries][VR_DSP_QUERY_ROW] copies of few queries */
    float *wide;                   /* [tile_cols][head_dim] rows that are kept narrow */
    uint16_t *narrow_q, *narrow_p; /* in bf16: [n_queries][e_row], [pair_rows][VR_ATTENTION_KEYS] */
    int e_row;                     /* head_dim, up to whole steps of pairs, with zeros */
} vr_attend_task;

/* Keys that query t sees. */
static inline int vr_attend_visible(const vr_attention *a, int t)
{
    if (!a->causal) return a->n_keys;
    const int64_t n = (int64_t)t + 1 + a->n_keys - a->n_queries;
    return n < 0 ? 0 : n < a->n_keys ? (int)n : a->n_keys;
}

/* n numbers and the zeros that bf16 tiles want behind them */
static inline int vr_attend_steps(const vr_dsp *d, int n)
{
    const int step = 2 * (d->pair_step > 0 ? d->pair_step : 1);
    return vr_ceil_div(n, step) * step;
}

/* Row t of keys or values, from its first one on. */
static inline const void *vr_attend_row(const vr_attention *a, const void *x, int64_t row, int64_t t)
{
    return (const unsigned char *)x + (size_t)(t * row) * vr_kept_bytes(a->kept);
}

/* Head h of batch n, queries of a block, on the scratch of a thread. */
static inline void vr_attend_open(vr_attend_task *w, const vr_attend_job *j, int64_t n, int h, int block, int thread)
{
    const vr_attention *a = j->a;
    const int64_t kv = h / (a->n_heads / a->n_kv_heads);
    *w = (vr_attend_task){ .a = a, .d = &j->cpu->dsp, .first = block * j->query_block };
    w->n_queries = vr_min_int(j->query_block, a->n_queries - w->first);
    w->q = a->q.data + n * a->q.batch + w->first * a->q.row + h * a->q.head;
    w->q_row = a->q.row, w->out_row = a->out.row;
    w->kept = &w->d->kept[a->kept];
    w->k = vr_attend_row(a, a->k.data, 1, n * a->k.batch + kv * a->k.head);
    w->v = vr_attend_row(a, a->v.data, 1, n * a->v.batch + kv * a->v.head);
    w->out = a->out.data + n * a->out.batch + w->first * a->out.row + h * a->out.head;
    w->extra_k = a->extra_k ? a->extra_k + kv * a->head_dim : NULL;
    w->extra_v = a->extra_k ? a->extra_v + kv * a->head_dim : NULL;
    w->o_row = vr_ceil_div(a->head_dim, w->d->tile_cols) * w->d->tile_cols;
    w->k_panels = j->cpu->scratch[thread];
    w->v_panels = w->k_panels + VR_ATTENTION_KEYS * VR_MAX_HEAD_DIM;
    w->o = w->v_panels + VR_ATTENTION_KEYS * VR_MAX_HEAD_DIM;
    w->s = w->o + VR_ATTENTION_QUERIES * VR_MAX_HEAD_DIM;
    w->max = w->s + VR_ATTENTION_KEYS * VR_ATTENTION_SCORE_ROWS;
    w->sum = w->max + VR_ATTENTION_QUERIES;
    w->narrow_q = (uint16_t *)(void *)(w->sum + VR_ATTENTION_QUERIES);
    w->narrow_p = w->narrow_q + (ptrdiff_t)VR_ATTENTION_QUERIES * VR_MAX_HEAD_DIM;
    w->wide = (float *)(void *)(w->narrow_p + (ptrdiff_t)VR_ATTENTION_KEYS * VR_ATTENTION_SCORE_ROWS);
    w->e_row = vr_attend_steps(w->d, a->head_dim);
}

/* The running softmax of every row begins: with the extra key and value, where there are. */
static inline void vr_attend_start(const vr_attend_task *w)
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

/* A block of about equal size, a multiple of step, at most max. */
static inline int vr_attend_block(int n, int max, int step)
{
    return vr_ceil_div(vr_ceil_div(n, vr_ceil_div(n, max)), step) * step;
}

/* 1 to VR_DSP_DOT_T queries; job: a and cpu are set. */
void vr_attend_few(vr_attend_job *j);

#endif
