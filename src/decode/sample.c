/*
 * sample.c - see sample.h.
 *
 *   logits -> work[V]: NaN -> -inf, penalty, / temperature
 *          -> greedy: one pass
 *          -> top-k or top-p: heap of ids, best on top, popped one by one: only what is kept gets sorted
 *          -> draw: first kept id whose running sum exceeds u * sum
 *
 * Ref:   transformers 4.28 generation/logits_process.py (RepetitionPenalty-, TemperatureLogitsWarper, TopK-, TopPLogitsWarper);
 *        Blackman and Vigna, "Scrambled linear pseudorandom number generators" (xoshiro256**); Steele et al. 2014 (splitmix64).
 * Trap:  top-p there sorts ascending and removes while the running sum is <= 1 - p: an id stays exactly if the better ones sum
 *        to less than p. Sums are doubles in one fixed order, so a seed gives the same answer everywhere.
 *        Of equal logits the lower id counts as the better one; the original's order among them is that of an unstable sort.
 * Trap:  among few numbers the k-th may equal one that is not there, and logits that differ may be equal once divided by the
 *        temperature: the last of the few must be clearly behind.
 */
#include "decode/sample.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/ops.h"

/* The candidates of one draw. The heap shrinks from its end, where what was popped gathers: the best is ids[V - 1]. */
typedef struct candidates {
    const float *work; /* [V] */
    int32_t *ids;      /* [V] */
    int V, n_heap;
} candidates;

static uint64_t rotate_left(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t xoshiro256(uint64_t s[4])
{
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* [0, 1), all multiples of 2^-53 */
static double uniform(vr_sampler *sampler)
{
    return (double)(xoshiro256(sampler->state) >> 11) * 0x1p-53;
}

void vr_sampler_open(vr_sampler *sampler, const vr_sampling *config)
{
    sampler->config = *config;
    uint64_t state = config->seed;
    for (int i = 0; i < 4; i++) sampler->state[i] = splitmix64(&state);
}

/* ---- logits ---- */

/* Infinities of the model or of a division stay below the largest float, so that differences stay numbers. */
static float at_most_largest(float x)
{
    return x > FLT_MAX ? FLT_MAX : x;
}

static void prepare(const vr_sampling *c, const float *logits, int V, const int32_t *seen, int n_seen, float *work)
{
    for (int i = 0; i < V; i++) work[i] = isnan(logits[i]) ? -INFINITY : at_most_largest(logits[i]);
    if (c->repetition_penalty != 1.0f)
        for (int i = 0; i < n_seen; i++) { /* from the logit itself, so that an id seen twice is punished once */
            assert(seen[i] >= 0 && seen[i] < V);
            const float x = logits[seen[i]];
            if (!isnan(x)) work[seen[i]] = at_most_largest(x < 0 ? x * c->repetition_penalty : x / c->repetition_penalty);
        }
    if (c->temperature > 0 && c->temperature != 1.0f)
        for (int i = 0; i < V; i++) work[i] = at_most_largest(work[i] / c->temperature);
}

static int32_t largest(const float *work, int V)
{
    int32_t best = 0;
    for (int32_t i = 1; i < V; i++)
        if (work[i] > work[best]) best = i;
    return best;
}

/* ---- candidates ---- */

static bool better(const candidates *c, int32_t a, int32_t b)
{
    return c->work[a] > c->work[b] || (c->work[a] >= c->work[b] && a < b);
}

static void sink(candidates *c, int at)
{
    const int32_t id = c->ids[at];
    for (int child; (child = 2 * at + 1) < c->n_heap; at = child) {
        if (child + 1 < c->n_heap && better(c, c->ids[child + 1], c->ids[child])) child++;
        if (!better(c, c->ids[child], id)) break;
        c->ids[at] = c->ids[child];
    }
    c->ids[at] = id;
}

static void heap_build(candidates *c)
{
    for (int i = 0; i < c->V; i++) c->ids[i] = i;
    c->n_heap = c->V;
    for (int i = c->V / 2; i-- > 0;) sink(c, i);
}

static void heap_pop(candidates *c)
{
    const int32_t best = c->ids[0];
    c->ids[0] = c->ids[--c->n_heap];
    c->ids[c->n_heap] = best;
    sink(c, 0);
}

static int32_t kept(const candidates *c, int i)
{
    return c->ids[c->V - 1 - i];
}

/* Pop the k best and all that equal the last of them; returns how many are kept. */
static int keep_top_k(candidates *c, int k)
{
    for (int i = 0; i < k; i++) heap_pop(c);
    while (c->n_heap > 0 && c->work[c->ids[0]] >= c->work[kept(c, k - 1)]) heap_pop(c), k++;
    return k;
}

/* Of the n best (popped as far as n_heap says) those that top-p keeps; top: the largest logit. */
static int keep_top_p(candidates *c, int n, double p, float top)
{
    double total = 0, sum = 0;
    if (n < c->V)
        for (int i = 0; i < n; i++) total += exp((double)c->work[kept(c, i)] - (double)top);
    else
        for (int i = 0; i < n; i++) total += exp((double)c->work[i] - (double)top);
    int n_kept = 0;
    while (n_kept < n && (n_kept == 0 || sum < p * total)) {
        if (n_kept == c->V - c->n_heap) heap_pop(c);
        sum += exp((double)c->work[kept(c, n_kept)] - (double)top);
        n_kept++;
    }
    return n_kept;
}

static int32_t draw(const candidates *c, int n, double u, float top)
{
    double total = 0, sum = 0;
    for (int i = 0; i < n; i++) total += exp((double)c->work[kept(c, i)] - (double)top);
    for (int i = 0; i < n; i++) {
        sum += exp((double)c->work[kept(c, i)] - (double)top);
        if (sum > u * total) return kept(c, i);
    }
    return kept(c, 0); /* not reached: u is below 1 */
}

int32_t vr_sampler_next(vr_sampler *sampler, const float *logits, int V, const int32_t *seen, int n_seen, vr_arena *scratch)
{
    assert(V >= 1);
    const vr_sampling *config = &sampler->config;
    const size_t mark = vr_arena_mark(scratch);
    float *work = vr_arena_floats(scratch, (size_t)V);
    candidates c = { .work = work, .ids = vr_arena_alloc(scratch, (size_t)V, sizeof(int32_t)), .V = V };
    prepare(config, logits, V, seen, n_seen, work);
    int32_t id = largest(work, V);
    const float top = work[id];
    if (config->temperature > 0 && top > -INFINITY) {
        int n = V;
        if (config->top_k > 0 && config->top_k < V) {
            heap_build(&c);
            n = keep_top_k(&c, config->top_k);
        } else if (config->top_p < 1) {
            heap_build(&c);
        } else {
            for (int i = 0; i < V; i++) c.ids[V - 1 - i] = i;
        }
        if (config->top_p < 1) n = keep_top_p(&c, n, (double)config->top_p, top);
        id = draw(&c, n, uniform(sampler), top);
    }
    vr_arena_release(scratch, mark);
    return id;
}

/* ---- of the few best ---- */

int vr_sampler_needs(const vr_sampler *sampler, int V, int n_seen)
{
    const vr_sampling *c = &sampler->config;
    if (c->repetition_penalty != 1.0f && n_seen > 0) return 0;
    if (!(c->temperature > 0)) return 1;
    if (V <= VR_BEST_MOST) return V;
    return c->top_k > 0 && c->top_k < VR_BEST_MOST ? VR_BEST_MOST : 0;
}

int32_t vr_sampler_pick(vr_sampler *sampler, const int32_t *ids, const float *values, int n, int V, vr_arena *scratch)
{
    const vr_sampling *c = &sampler->config;
    int32_t by_id[VR_BEST_MOST];
    float row[VR_BEST_MOST];
    assert(n >= 1 && n <= VR_BEST_MOST);
    for (int i = 0; i < n; i++)
        if (!isfinite(values[i])) return -1;
    if (c->temperature > 0 && n < V) {
        const float kth = at_most_largest(values[c->top_k - 1] / c->temperature);
        if (!(at_most_largest(values[n - 1] / c->temperature) < kth)) return -1;
    }
    for (int i = 0; i < n; i++) { /* a row of its own, in the order of ids: so equals are told apart as in the whole one */
        int at = i;
        for (; at > 0 && by_id[at - 1] > ids[i]; at--) by_id[at] = by_id[at - 1], row[at] = row[at - 1];
        by_id[at] = ids[i], row[at] = values[i];
    }
    return by_id[vr_sampler_next(sampler, row, n, NULL, 0, scratch)];
}
