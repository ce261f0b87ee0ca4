/*
 * ladder.c - family ladder: the steps of kernels/ladder and the operation that they lead to, checked and timed side by side.
 *
 *   64 x 144 x 3584 bf16, windows of 8;  form: the step;  floor: read x once
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "kernels/cpu/cpuid.h"
#include "kernels/ladder/ladder.h"

#if defined(__x86_64__)

enum { FRAMES = 64, N = 144, D = 3584, WINDOW = 8, ROWS = FRAMES * N };

typedef struct ladder_data {
    bench_run *run;
    vr_backend *be;
    vr_prune p;
    float *scratch;
    int32_t n_kept;
} ladder_data;

typedef struct ladder_way {
    const char *name;
    int n_threads;
    vr_ladder_step *step; /* NULL: the operation */
    ladder_data *data;
} ladder_way;

static double call_read(void *arg)
{
    const ladder_data *d = arg;
    return bench_read(d->run->pool, d->p.x, (size_t)ROWS * D * sizeof(uint16_t));
}

static double call_step(void *arg)
{
    const ladder_way *w = arg;
    ladder_data *d = w->data;
    const double start = bench_seconds();
    if (w->step)
        w->step(&d->p, d->run->pool, d->scratch);
    else
        d->be->ops->prune(d->be, &d->p);
    return bench_seconds() - start;
}

/* Row i of later frames is its anchor with noise where a coin falls so, else all noise: no cosine near the threshold. */
static void fill_rows(uint16_t *x)
{
    uint64_t seed = 88172645463325252ull;
    for (int64_t row = 0; row < ROWS; row++) {
        const int64_t anchor = row / N / WINDOW * WINDOW * N + row % N;
        const bool alike = anchor != row && bench_random(&seed) < 0.0f;
        for (int k = 0; k < D; k++) {
            const float noise = bench_random(&seed);
            bench_store(x, VR_DTYPE_BF16, row * D + k,
                        alike ? bench_load(x, VR_DTYPE_BF16, anchor * D + k) + 0.4f * noise : noise);
        }
    }
}

static int check_way(ladder_way *w, const uint8_t *mask, vr_err *e)
{
    memset(w->data->p.mask, 7, ROWS);
    call_step(w);
    int32_t n = 0;
    for (int32_t i = 0; i < ROWS; i++) {
        if (w->data->p.mask[i] != mask[i] || (mask[i] && w->data->p.indices[n++] != i))
            return vr_fail(e, VR_ERR_OTHER, "ladder %s: row %d differs", w->name, i);
    }
    return n == w->data->n_kept ? VR_OK
                                : vr_fail(e, VR_ERR_OTHER, "ladder %s: %d rows kept, not %d", w->name, w->data->n_kept, n);
}

static int measure(ladder_data *d, const uint8_t *mask, vr_err *e)
{
    ladder_way ways[] = { { "1 papers", 1, vr_ladder_papers, d },
                          { "2 fused", 1, vr_ladder_fused, d },
                          { "3 lanes", 1, vr_ladder_lanes, d },
                          { "4 places", 1, vr_ladder_places, d },
                          { "5 threads", d->run->n_threads, vr_ladder_threads, d },
                          { "6 vr_cpu_prune", d->run->n_threads, NULL, d } };
    bench_group g = { .bench = "ladder", .type = "bf16", .window = WINDOW };
    snprintf(g.shape, sizeof g.shape, "%dx%dx%d", FRAMES, N, D);
    bench_add(&g, BENCH_FLOOR, "read", call_read, d);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        VR_TRY(check_way(&ways[i], mask, e));
        bench_way *b = bench_add(&g, BENCH_OWN, ways[i].name, call_step, &ways[i]);
        b->bytes = (double)ROWS * D * 2.0, b->floors = 1, b->n_threads = ways[i].n_threads;
        snprintf(b->level, sizeof b->level, "%s", !ways[i].step ? vr_cpu_level(d->be) : i < 2 ? "c" : "avx2");
    }
    bench_measure(d->run, &g);
    return VR_OK;
}

int bench_ladder(bench_run *run, vr_err *e)
{
    if (!(vr_cpu_flags() & VR_CPU_AVX2)) {
        bench_note("SKIP ladder: steps 3 to 5 want AVX2");
        return VR_OK;
    }
    ladder_data d = { .run = run };
    if (!bench_begin(run, &(bench_group){ .bench = "ladder", .type = "bf16" })) return VR_OK;
    const size_t bytes = (size_t)ROWS * D * sizeof(uint16_t);
    uint16_t *x = bench_alloc(bytes);
    uint8_t *masks = malloc(2 * ROWS);
    d.p = (vr_prune){ .x = x, .dtype = VR_DTYPE_BF16, .n_frames = FRAMES, .N = N, .D = D, .window = WINDOW, .threshold = 0.7f };
    d.p.similarity = malloc(ROWS * sizeof(float)), d.p.indices = malloc(ROWS * sizeof(int32_t)), d.p.mask = masks,
    d.p.n_kept = &d.n_kept;
    d.scratch = malloc(vr_ladder_scratch(&d.p) * sizeof(float));
    int rc = vr_backend_open_cpu(&d.be, &(vr_cpu_options){ .n_threads = run->n_threads, .gemm = VR_GEMM_OWN, .level = "c" }, e);
    if (rc == VR_OK && (!x || !masks || !d.p.similarity || !d.p.indices || !d.scratch))
        rc = vr_fail(e, VR_ERR_LIMIT, "ladder: no memory");
    if (rc == VR_OK) {
        fill_rows(x);
        d.be->ops->prune(d.be, &d.p); /* level c is the oracle of the steps */
        memcpy(masks + ROWS, masks, ROWS);
        vr_backend_free(d.be);
        d.be = NULL;
        rc = vr_backend_open_cpu(&d.be,
                                 &(vr_cpu_options){ .n_threads = run->n_threads, .gemm = VR_GEMM_OWN, .level = run->level }, e);
    }
    if (rc == VR_OK) rc = measure(&d, masks + ROWS, e);
    if (d.be) vr_backend_free(d.be);
    bench_free(x, bytes);
    free(masks);
    free(d.p.similarity);
    free(d.p.indices);
    free(d.scratch);
    return rc;
}

#else

int bench_ladder(bench_run *run, vr_err *e)
{
    (void)run, (void)e;
    bench_note("SKIP ladder: its steps are written for x86");
    return VR_OK;
}

#endif
