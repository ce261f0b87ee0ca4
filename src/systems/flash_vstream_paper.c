/*
 * flash_vstream_paper.c - see flash_vstream_paper.h.
 *
 *   stream: 25 slots and a new row, each with its weight -> k-means -> slots by time ; bank of frames -> nearest to the heaviest
 *   bank:   every frame; once 512 are in it every second one leaves and of those to come every second one enters, and so on:
 *           256 to 512 frames evenly spread over the stream
 *
 * Ref:  arXiv:2406.08085 section 3.2 (weighted k-means, feature retrieval from the buffer).
 * Trap: a slot made of two frames is equally far from both: the earlier is taken, at every level.
 */
#include "systems/flash_vstream_paper.h"

#include <string.h>

#define NEARER (1 - 1e-5) /* of squared distances: what is nearer by rounding alone is equally far */

void vr_flash_slots_by_time(const vr_kmeans *km, const float *row_weights, const double *row_times, int32_t *order,
                            float *weights, double *times)
{
    const int T = km->T, K = km->K;
    const int32_t *labels = km->n_rounds > 0 ? km->labels + (int64_t)(km->n_rounds - 1) * T : NULL;
    for (int j = 0; j < K; j++) {
        double sum = 0, time = 0, slot_time;
        for (int i = 0; i < T; i++) {
            const double w = row_weights ? (double)row_weights[i] : 1;
            if ((labels ? labels[i] : i) != j) continue;
            sum += w;
            time += w * row_times[i];
        }
        slot_time = sum > 0 ? time / sum : row_times[T - 1];
        int at = j;
        for (; at > 0 && times[at - 1] > slot_time; at--)
            times[at] = times[at - 1], weights[at] = weights[at - 1], order[at] = order[at - 1];
        times[at] = slot_time;
        weights[at] = (float)sum;
        order[at] = j;
    }
}

/* keys: the heaviest slots, of equals the earlier */
static int heaviest(const float *weights, int K, int32_t *keys)
{
    int n = 0;
    for (int j = 0; j < K; j++) {
        int at = n < VR_MEMORY_KEYS ? n++ : VR_MEMORY_KEYS;
        for (; at > 0 && weights[keys[at - 1]] < weights[j]; at--)
            if (at < VR_MEMORY_KEYS) keys[at] = keys[at - 1];
        if (at < VR_MEMORY_KEYS) keys[at] = j;
    }
    return n;
}

int vr_flash_nearest(const vr_run *run, const float *rows, int T, int columns, const float *slots, const float *weights, int K,
                     int32_t *picks)
{
    int32_t keys[VR_MEMORY_KEYS] = { 0 };
    const int n = run->be->plan ? VR_MEMORY_KEYS : heaviest(weights, K, keys);
    const size_t mark = vr_arena_mark(run->scratch), host = vr_arena_mark(run->host);
    float *key_rows = vr_arena_floats(run->scratch, (size_t)VR_MEMORY_KEYS * (size_t)columns);
    double *distance = vr_arena_alloc(run->scratch, (size_t)T * VR_MEMORY_KEYS, sizeof *distance);
    double *known = vr_arena_alloc(run->host, (size_t)T * VR_MEMORY_KEYS, sizeof *known);
    for (int j = 0; j < n; j++)
        run->be->ops->copy_rows(run->be, key_rows + (size_t)j * (size_t)columns, columns,
                                slots + (size_t)keys[j] * (size_t)columns, columns, 1, columns);
    run->be->ops->distances(run->be, distance, rows, T, key_rows, n, columns);
    if (!run->be->plan) run->be->read(run->be, known, distance, (size_t)T * (size_t)n * sizeof *known);
    for (int j = 0; j < n && !run->be->plan; j++) {
        picks[j] = 0;
        for (int i = 1; i < T; i++)
            if (known[(size_t)(i * n + j)] < NEARER * known[(size_t)(picks[j] * n + j)]) picks[j] = i;
    }
    vr_arena_release(run->host, host);
    vr_arena_release(run->scratch, mark);
    return n;
}

void vr_flash_paper_take(vr_flash_paper *p, const vr_run *run, int K, int columns, int map_floats)
{
    const size_t rows = (size_t)K + 1, width = (size_t)columns;
    *p = (vr_flash_paper){ .K = K, .columns = columns, .map_floats = map_floats, .stride = 1 };
    p->rows = vr_arena_floats(run->scratch, rows * width);
    p->spare = vr_arena_floats(run->scratch, rows * width);
    p->bank = vr_arena_floats(run->scratch, VR_FLASH_BANK * (size_t)map_floats);
    p->bank_rows = vr_arena_floats(run->scratch, VR_FLASH_BANK * width);
    p->weights = vr_arena_floats(run->host, rows);
    p->next_weights = vr_arena_floats(run->host, rows);
    p->times = vr_arena_alloc(run->host, rows, sizeof *p->times);
    p->next_times = vr_arena_alloc(run->host, rows, sizeof *p->next_times);
    p->order = vr_arena_alloc(run->host, rows, sizeof *p->order);
    p->distance = vr_arena_alloc(run->host, rows * rows, sizeof *p->distance);
    p->bank_seen = vr_arena_alloc(run->host, VR_FLASH_BANK, sizeof *p->bank_seen);
    vr_kmeans_alloc(&p->km, run->host, K + 1, K, false);
}

static void row_copy(const vr_run *run, float *to, int i, const float *from, int k, int n_floats)
{
    run->be->ops->copy_rows(run->be, to + (size_t)i * (size_t)n_floats, n_floats, from + (size_t)k * (size_t)n_floats, n_floats,
                            1, n_floats);
}

static void bank_add(vr_flash_paper *p, const vr_run *run, const float *row, const float *map, const vr_flash_seen *seen)
{
    if (run->be->plan || p->n_frames % p->stride != 0) return;
    if (p->n_bank == VR_FLASH_BANK) {
        for (int i = 1; 2 * i < p->n_bank; i++) {
            row_copy(run, p->bank, i, p->bank, 2 * i, p->map_floats);
            row_copy(run, p->bank_rows, i, p->bank_rows, 2 * i, p->columns);
            p->bank_seen[i] = p->bank_seen[2 * i];
        }
        p->n_bank /= 2;
        p->stride *= 2;
        if (p->n_frames % p->stride != 0) return;
    }
    row_copy(run, p->bank, p->n_bank, map, 0, p->map_floats);
    row_copy(run, p->bank_rows, p->n_bank, row, 0, p->columns);
    p->bank_seen[p->n_bank++] = *seen;
}

/* K + 1 rows become K. */
static void slots_merge(vr_flash_paper *p, const vr_run *run, vr_random *random)
{
    const int T = p->K + 1;
    vr_kmeans_distances(run, p->rows, T, p->columns, p->distance);
    if (run->be->plan) {
        p->km.T = T, p->km.K = p->K;
    } else {
        vr_kmeans_run(&p->km, p->distance, T, p->K, p->weights, NULL, 0, random);
        vr_flash_slots_by_time(&p->km, p->weights, p->times, p->order, p->next_weights, p->next_times);
        memcpy(p->weights, p->next_weights, (size_t)p->K * sizeof *p->weights);
        memcpy(p->times, p->next_times, (size_t)p->K * sizeof *p->times);
    }
    vr_kmeans_centroids(run, &p->km, p->order, p->rows, p->columns, p->spare);
    float *const merged = p->spare;
    p->spare = p->rows;
    p->rows = merged;
    p->n = p->K;
}

void vr_flash_paper_add(vr_flash_paper *p, const vr_run *run, const float *row, const float *map, const vr_flash_seen *seen,
                        vr_random *random)
{
    const bool plan = run->be->plan;
    bank_add(p, run, row, map, seen);
    row_copy(run, p->rows, plan ? 0 : p->n, row, 0, p->columns);
    if (!plan) p->weights[p->n] = 1, p->times[p->n] = (double)p->n_frames;
    p->n++;
    p->n_frames++;
    if (plan || p->n > p->K) slots_merge(p, run, random);
    const int n_rows = plan ? VR_FLASH_BANK : p->n_bank;
    p->n_picks = vr_flash_nearest(run, p->bank_rows, n_rows, p->columns, p->rows, p->weights, p->n, p->picks);
}
