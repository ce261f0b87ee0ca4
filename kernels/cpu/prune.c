/*
 * prune.c - rows that say something new: cosine similarity to an anchor fused with the decision to keep.
 *
 *   tile: one window, some places -> cosines (dsp) -> mask      the last tile of a window: k least, count
 *   chain: windows in order, as far as they are counted: offset -> indices -> rows
 *
 *   window     0      1      2      3      4              counted: 0 1 _ 3 _
 *   offset     0     +c0    +c1     ?      ?              next in the chain: 2; whoever counts it goes on with 2 and 3
 *
 * x is read once. Windows are written in their order, but nobody waits for it: a thread that counted a window takes from the
 * chain what it can and goes back to the tiles. So rows are copied soon after they were read, from the last cache, and with
 * streaming stores (16 MB and more). The last window for each thread is left to a second job that cuts it finer, so that no
 * thread idles.
 * Places, not frames, are cut into tiles: a tile holds all frames of its places, an anchor is loaded once for 7 of them.
 * Ref:   LongVU cambrian_arch.py:1454-1510; arXiv:2410.17434 section 3.3.
 * Trap:  a unit of work is one window or many short ones; only a unit of one window has more than one tile.
 */
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

#define MAX_UNITS  1024
#define TILE_BYTES (1 << 20) /* read by a tile: 20 to 40 microseconds, eight tiles a window of LongVU */
#define COPY_BYTES (1 << 18)

typedef struct prune_job {
    const vr_prune *p;
    const vr_dsp *d;
    int window;               /* frames; not more than there are */
    int unit_frames, n_units; /* a unit: whole windows */
    int n_tiles, tile_places; /* of a unit */
    int n_inline;             /* units whose rows are copied by whoever comes by */
    int64_t row_bytes;
    bool stream;
    _Atomic int tiles_left[MAX_UNITS];
    _Atomic int count[MAX_UNITS]; /* rows kept; -1: not known yet */
    _Atomic uint64_t chain;       /* next unit << 32 | rows kept before it */
} prune_job;

static const unsigned char *row_at(const prune_job *j, int64_t row)
{
    return (const unsigned char *)j->p->x + row * j->row_bytes;
}

/* Frames of a window, the first excepted, are compared unless they are the even ones of pairs. */
static bool compared(const prune_job *j, int in_window)
{
    return j->p->anchor == VR_PRUNE_PAIRS ? in_window % 2 == 1 : in_window > 0;
}

/* Cosines of all frames of a window at some places. Groups of frames outside, places inside: streams as long as a tile. */
static void window_cosines(const prune_job *j, int first, int m, int place_first, int place_end)
{
    const vr_prune *p = j->p;
    const bool chain = p->anchor != VR_PRUNE_FIRST;
    const bool pairs = p->anchor == VR_PRUNE_PAIRS;
    const int most = pairs ? (j->d->cosine_rows - 1) | 1 : j->d->cosine_rows; /* of pairs an odd number: groups begin even */
    const int step = pairs ? most + 1 : most;
    const int64_t frame = (int64_t)p->N * p->D;
    for (int at = 0; at + 1 < m; at += step) {
        const int n = vr_min_int(most, m - 1 - at), anchor = chain ? at : 0;
        for (int i = place_first; i < place_end; i++) {
            const int64_t row = (int64_t)(first + at + 1) * p->N + i;
            j->d->cosine[vr_dsp_dtype(p->dtype)](p->similarity + row, p->N, row_at(j, (int64_t)(first + anchor) * p->N + i),
                                                 row_at(j, row), frame, n, p->D, chain);
        }
    }
}

static void window_decide(const prune_job *j, int first, int m, int place_first, int place_end)
{
    const vr_prune *p = j->p;
    for (int f = 0; f < m; f++) {
        float *s = p->similarity + (int64_t)(first + f) * p->N;
        uint8_t *mask = p->mask + (int64_t)(first + f) * p->N;
        if (compared(j, f)) {
            for (int i = place_first; i < place_end; i++) mask[i] = s[i] < p->threshold;
        } else {
            for (int i = place_first; i < place_end; i++) s[i] = 0.0f, mask[i] = 1;
        }
    }
}

static void frame_least(const prune_job *j, int f)
{
    const vr_prune *p = j->p;
    const float *s = p->similarity + (int64_t)f * p->N;
    uint8_t *mask = p->mask + (int64_t)f * p->N;
    vr_least(mask, s, p->N, p->n_least);
    for (int i = 0; i < p->N; i++) mask[i] = mask[i] && s[i] == s[i];
}

static int unit_end(const prune_job *j, int unit)
{
    const int first = unit * j->unit_frames, left = j->p->n_frames - first;
    return first + vr_min_int(left, j->unit_frames);
}

/* All tiles of the unit are done. */
static void unit_count(prune_job *j, int unit)
{
    const vr_prune *p = j->p;
    const int first = unit * j->unit_frames, end = unit_end(j, unit);
    for (int f = first; p->n_least > 0 && f < end; f++) {
        if (compared(j, f % j->window)) frame_least(j, f);
    }
    int count = 0;
    for (int64_t at = (int64_t)first * p->N; at < (int64_t)end * p->N; at++) count += p->mask[at];
    atomic_store(&j->count[unit], count);
}

static void copy_rows(const prune_job *j, int64_t first, int64_t n)
{
    unsigned char *y = (unsigned char *)j->p->rows + first * j->row_bytes;
    const int32_t *ids = j->p->indices + first;
    if (j->stream) {
        j->d->gather(y, j->p->x, ids, (int)n, (size_t)j->row_bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++) memcpy(y + i * j->row_bytes, row_at(j, ids[i]), (size_t)j->row_bytes);
}

/* Take the next unit below limit from the chain and list its rows; false: there is none, or it is not counted yet. */
static bool chain_step(prune_job *j, int limit, int64_t *first, int *n)
{
    uint64_t chain = atomic_load(&j->chain);
    int unit;
    do {
        unit = (int)(chain >> 32);
        if (unit >= limit || (*n = atomic_load(&j->count[unit])) < 0) return false;
    } while (!atomic_compare_exchange_weak(&j->chain, &chain, (uint64_t)(unit + 1) << 32 | ((uint32_t)chain + (uint32_t)*n)));
    *first = (int64_t)(uint32_t)chain;
    int64_t at = (int64_t)unit * j->unit_frames * j->p->N;
    for (int32_t *to = j->p->indices + *first, *const end = to + *n; to < end; at++) {
        *to = (int32_t)at;
        to += j->p->mask[at];
    }
    return true;
}

static void prune_tile(void *arg, int tile, int thread)
{
    (void)thread;
    prune_job *j = arg;
    const vr_prune *p = j->p;
    const int unit = tile / j->n_tiles, place_first = tile % j->n_tiles * j->tile_places;
    const int place_end = vr_min_int(p->N, place_first + j->tile_places), end = unit_end(j, unit);
    for (int first = unit * j->unit_frames; first < end; first += j->window) {
        const int m = vr_min_int(j->window, end - first);
        window_cosines(j, first, m, place_first, place_end);
        window_decide(j, first, m, place_first, place_end);
    }
    if (atomic_fetch_sub(&j->tiles_left[unit], 1) != 1) return;
    unit_count(j, unit);
    int64_t at;
    for (int n; chain_step(j, j->n_inline, &at, &n);) {
        if (p->rows) copy_rows(j, at, n);
    }
}

typedef struct rest_job {
    prune_job *prune;
    int64_t first, end;
    int per_tile;
} rest_job;

static void rest_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const rest_job *r = arg;
    const int64_t first = r->first + (int64_t)tile * r->per_tile, left = r->end - first;
    copy_rows(r->prune, first, left < r->per_tile ? left : r->per_tile);
}

static void plan_tiles(prune_job *j, int n_threads)
{
    const vr_prune *p = j->p;
    j->window = vr_min_int(p->window, p->n_frames);
    j->row_bytes = (int64_t)p->D * (int64_t)vr_dtype_bytes(p->dtype);
    j->stream = (int64_t)p->n_frames * p->N * j->row_bytes >= VR_STREAM_BYTES;
    const int n_windows = vr_ceil_div(p->n_frames, j->window);
    const int64_t window_bytes = j->row_bytes * p->N * j->window;
    int windows = vr_ceil_div(n_windows, MAX_UNITS); /* of a unit */
    if (window_bytes * windows < TILE_BYTES) windows = (int)(TILE_BYTES / (window_bytes > 0 ? window_bytes : 1));
    windows = windows < 1 ? 1 : vr_min_int(windows, n_windows);
    j->unit_frames = vr_min_int(p->n_frames, windows > p->n_frames / j->window ? p->n_frames : windows * j->window);
    j->n_units = vr_ceil_div(p->n_frames, j->unit_frames);
    const int64_t tiles = windows == 1 ? window_bytes / TILE_BYTES : 1;
    j->tile_places = tiles <= 1 ? p->N : tiles >= p->N ? 1 : vr_ceil_div(p->N, (int)tiles);
    j->n_tiles = vr_ceil_div(p->N, j->tile_places);
    j->n_inline = p->rows ? j->n_units - n_threads : j->n_units;
    for (int i = 0; i < j->n_units; i++) {
        atomic_init(&j->tiles_left[i], j->n_tiles);
        atomic_init(&j->count[i], -1);
    }
    atomic_init(&j->chain, 0);
}

void vr_cpu_prune(vr_backend *be, const vr_prune *p)
{
    assert(p->n_frames >= 0 && p->N >= 0 && p->D >= 0 && p->window >= 1 && p->n_least >= 0);
    assert((int64_t)p->n_frames * p->N <= INT32_MAX);
    *p->n_kept = 0;
    if (p->n_frames == 0 || p->N == 0) return;
    vr_pool *pool = vr_cpu_of(be)->pool;
    prune_job j = { .p = p, .d = &vr_cpu_of(be)->dsp };
    plan_tiles(&j, vr_pool_threads(pool));
    assert((int64_t)j.n_units * j.n_tiles < INT32_MAX);
    vr_pool_run(pool, j.n_units * j.n_tiles, prune_tile, &j);

    rest_job rest = { .prune = &j, .first = (int64_t)(uint32_t)atomic_load(&j.chain) };
    int64_t at;
    for (int n; chain_step(&j, j.n_units, &at, &n);) continue;
    rest.end = (int64_t)(uint32_t)atomic_load(&j.chain);
    *p->n_kept = (int32_t)rest.end;
    if (!p->rows || p->D == 0) return;
    rest.per_tile = j.row_bytes >= COPY_BYTES ? 1 : (int)(COPY_BYTES / j.row_bytes);
    vr_pool_run(pool, (int)((rest.end - rest.first + rest.per_tile - 1) / rest.per_tile), rest_tile, &rest);
}
