/*
 * scene_tiling.c - see scene_tiling.h.
 *
 *   rows -> op prune, each with the row before it -> similarities -> hills to the left and right -> depths -> cuts
 *
 * Ref:  VideoLLaMB self_segment.py:3-59 (cal_left_depth_score, cal_right_depth_score, segment).
 * Trap: the walk to the left from place i is that from place i-1 wherever s[i-1] >= s[i], so one pass gives all hills.
 * Trap: one similarity has no deviation (n - 1 = 0): the threshold is no number and nothing is deeper, as in the original.
 */
#include "compress/scene_tiling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void vr_scene_similarity(const vr_run *run, const float *x, int T, int D, float *similarity)
{
    const size_t mark = vr_arena_mark(run->scratch);
    vr_prune p = { .x = x, .dtype = VR_DTYPE_F32, .n_frames = T, .N = 1, .D = D, .window = T > 0 ? T : 1 };
    p.anchor = VR_PRUNE_PREVIOUS;
    p.similarity = vr_arena_floats(run->scratch, (size_t)T);
    p.mask = vr_arena_alloc(run->scratch, (size_t)T, sizeof *p.mask);
    p.indices = vr_arena_alloc(run->scratch, (size_t)T, sizeof *p.indices);
    p.n_kept = vr_arena_alloc(run->scratch, 1, sizeof *p.n_kept);
    run->be->ops->prune(run->be, &p);
    if (T > 1 && !run->be->plan) run->be->read(run->be, similarity, p.similarity + 1, (size_t)(T - 1) * sizeof *similarity);
    vr_arena_release(run->scratch, mark);
}

void vr_scene_depth(const float *similarity, int n, float *depth)
{
    float hill = 0.0f;
    for (int i = n - 1; i >= 0; i--) {
        if (i == n - 1 || !(similarity[i + 1] >= similarity[i])) hill = similarity[i];
        depth[i] = hill;
    }
    for (int i = 0; i < n; i++) {
        if (i == 0 || !(similarity[i - 1] >= similarity[i])) hill = similarity[i];
        depth[i] = (hill + depth[i]) - 2.0f * similarity[i];
    }
}

static int compare_places(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Place a comes before b: deeper, or as deep and lower; not-a-number counts as the deepest. */
static bool before(const float *depth, int a, int b)
{
    if (isnan(depth[a]) != isnan(depth[b])) return isnan(depth[a]);
    if (depth[a] != depth[b] && !isnan(depth[a])) return depth[a] > depth[b];
    return a < b;
}

/* The `count` deepest of n places, ascending. */
static int deepest(const float *depth, int n, int count, int32_t *ends)
{
    int n_ends = 0;
    for (int last = -1; n_ends < count && n_ends < n; n_ends++) {
        int next = -1;
        for (int i = 0; i < n; i++) {
            if ((last < 0 || before(depth, last, i)) && (next < 0 || before(depth, i, next))) next = i;
        }
        ends[n_ends] = last = next;
    }
    qsort(ends, (size_t)n_ends, sizeof *ends, compare_places);
    return n_ends;
}

/* Mean and deviation in double, compared as f32: depths that are all equal do not exceed themselves. */
static float threshold(const float *depth, int n, float alpha)
{
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < n; i++) mean += (double)depth[i];
    mean /= n;
    for (int i = 0; i < n; i++) square += ((double)depth[i] - mean) * ((double)depth[i] - mean);
    return (float)(mean + (double)alpha * sqrt(square / (n - 1)));
}

int vr_scene_ends(const float *depth, int T, const vr_scene_rule *rule, int32_t *ends)
{
    const int n = T - 1;
    int n_ends = 0;
    if (rule->n_cuts > 0) {
        n_ends = deepest(depth, n, rule->n_cuts, ends);
    } else if (n > 1) {
        const float least = threshold(depth, n, rule->alpha);
        for (int i = 0; i < n; i++) {
            if (depth[i] > least) ends[n_ends++] = i;
        }
        if (n_ends > rule->most) n_ends = deepest(depth, n, rule->most, ends);
    }
    ends[n_ends++] = n;
    return n_ends;
}

void vr_scene_stream_open(vr_scene_stream *s, const vr_run *run, int D)
{
    *s = (vr_scene_stream){ .D = D, .pair = vr_arena_floats(run->scratch, 2 * (size_t)D) };
}

void vr_scene_stream_free(vr_scene_stream *s)
{
    free(s->similarity);
    free(s->depth);
    free(s->ends);
    *s = (vr_scene_stream){ 0 };
}

static int grow(vr_scene_stream *s, vr_err *e)
{
    if (s->T < s->capacity) return VR_OK;
    if (s->capacity > INT32_MAX / 4) return vr_fail(e, VR_ERR_LIMIT, "scenes: more than %d frames", s->capacity);
    const int capacity = s->capacity ? 2 * s->capacity : 1024;
    float *similarity = realloc(s->similarity, (size_t)capacity * sizeof *similarity);
    if (similarity) s->similarity = similarity;
    float *depth = realloc(s->depth, (size_t)capacity * sizeof *depth);
    if (depth) s->depth = depth;
    int32_t *ends = realloc(s->ends, (size_t)capacity * sizeof *ends);
    if (ends) s->ends = ends;
    if (!similarity || !depth || !ends) return vr_fail(e, VR_ERR_LIMIT, "scenes: no memory for %d frames", capacity);
    s->capacity = capacity;
    return VR_OK;
}

int vr_scene_stream_append(vr_scene_stream *s, const vr_run *run, const float *x, vr_err *e)
{
    const vr_ops *const op = run->be->ops;
    float similarity;
    if (!run->be->plan) VR_TRY(grow(s, e));
    op->copy_rows(run->be, s->pair + s->D, s->D, x, s->D, 1, s->D);
    vr_scene_similarity(run, s->pair, 2, s->D, &similarity);
    op->copy_rows(run->be, s->pair, s->D, x, s->D, 1, s->D);
    if (run->be->plan) return VR_OK;
    if (s->T > 0) s->similarity[s->T - 1] = similarity;
    s->T++;
    return VR_OK;
}

int vr_scene_stream_ends(vr_scene_stream *s, const vr_scene_rule *rule, const int32_t **ends)
{
    *ends = s->ends;
    if (s->T == 0) return 0;
    vr_scene_depth(s->similarity, s->T - 1, s->depth);
    return vr_scene_ends(s->depth, s->T, rule, s->ends);
}
