/*
 * bench.c - `vidrun-bench [OPTION...] [FAMILY...]`: kernels at the sizes of the models, as ratios to floors of the same run.
 *
 *   options -> pool, probes, peers -> families (products.c, encoder.c, decoder.c, pipeline.c, prune.c, ...) -> lines on stdout
 *
 * Notes go to stderr. Figures from different runs compare only as ratios. bench/quiet.sh makes bench/results.csv.
 * Ref:   bench/LOG.md holds what was measured, and what failed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "bench/bench.h"

typedef struct family {
    const char *name;
    int n_groups, n_swept; /* without and with --sweep: they share the time */
    int (*run)(bench_run *run, vr_err *e);
    bool by_name; /* only if named */
} family;

static int run_gemm(bench_run *run, vr_err *e)
{
    return bench_products(run, "gemm", e);
}

static int run_gemv(bench_run *run, vr_err *e)
{
    return bench_products(run, "gemv", e);
}

static int run_attention(bench_run *run, vr_err *e)
{
    return bench_products(run, "attention", e);
}

static int run_norms(bench_run *run, vr_err *e)
{
    return bench_products(run, "norms", e);
}

static int run_vit(bench_run *run, vr_err *e)
{
    return bench_encoder(run, "vit", e);
}

static int run_qformer(bench_run *run, vr_err *e)
{
    return bench_encoder(run, "qformer", e);
}

static int run_audio(bench_run *run, vr_err *e)
{
    return bench_encoder(run, "audio", e);
}

static int run_prefill(bench_run *run, vr_err *e)
{
    return bench_decoder(run, "prefill", e);
}

static int run_decode(bench_run *run, vr_err *e)
{
    return bench_decoder(run, "decode", e);
}

static const family families[] = {
    { "gemm", 18, 18, run_gemm, false },
    { "gemv", 10, 10, run_gemv, false },
    { "attention", 7, 7, run_attention, false },
    { "norms", 3, 3, run_norms, false },
    { "qformer", 3, 3, run_qformer, true },
    { "audio", 2, 2, run_audio, true },
    { "vit", 3, 3, run_vit, true },
    { "prefill", 1, 1, run_prefill, true },
    { "decode", 2, 2, run_decode, true },
    { "pipeline", 1, 1, bench_pipeline, true },
    { "prune", 6, 12, bench_prune, false },
    { "select", 2, 2, bench_select, true },
    { "top-k", 2, 2, bench_top_k, false },
    { "gather", 2, 2, bench_gather, false },
    { "ladder", 1, 1, bench_ladder, false },
    { "kmeans", 2, 2, bench_kmeans, false },
    { "memory_update", 1, 1, bench_memory_update, false },
    { "scene_tiling", 1, 1, bench_scene_tiling, false },
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

static const char usage[] =
    "usage: vidrun-bench [OPTION...] [FAMILY...]\n"
    "families: gemm gemv attention norms prune (index, copy, select) select top-k gather kmeans memory_update scene_tiling\n"
    "          ladder; all without a name.  By name only, with --weights: vit qformer audio prefill decode pipeline\n"
    "  --json           one object a line\n"
    "  --csv            comma-separated values with a header\n"
    "  --threads N      threads (2)\n"
    "  --rounds N       at most so many rounds (31)\n"
    "  --seconds S      for everything (40; with --sweep 600)\n"
    "  --level L        c, avx2 or avx512 alone; otherwise the best and avx2\n"
    "  --sweep          every level, more sizes, also one thread\n"
    "  --peers FILE     script of the peers (bench/peers/peers.py)\n"
    "  --no-peers       without PyTorch, numpy, oneDNN, OpenBLAS and llama.cpp\n"
    "  --weights FILE   of vit, qformer, audio, pipeline (vidrun-make-weights), of prefill and decode (or a stock GGUF file)\n"
    "  --llama PROGRAM  llama-bench of llama.cpp, a peer of prefill and decode on a stock file; or a Python module: cyllama\n"
    "  --clip FILE      video of pipeline\n"
    "  --stream FILE    instead: a stream of ten hours with this weight file\n"
    "  --device cuda[:N]  instead: the operations of a GPU, with --weights its decoder too\n"
    "  --processor      count processor time of one thread, for a busy machine; such figures are no wall time\n";

typedef struct wishes {
    bool family[N_FAMILIES], any;
    bool processor, help;
    const char *stream; /* weight file */
    const char *device;
} wishes;

/* Value of option i, which must be a number between 1 and max. */
static int number(int argc, char **argv, int i, int max, vr_err *e)
{
    char *end = NULL;
    errno = 0;
    const long value = i + 1 < argc ? strtol(argv[i + 1], &end, 10) : 0;
    if (i + 1 >= argc || *end || errno || value < 1 || value > max) {
        vr_fail(e, VR_ERR_USAGE, "%s: a number between 1 and %d is missing", argv[i], max);
        return -1;
    }
    return (int)value;
}

/* One option; returns how many words it took, negative: an error. */
static int option(bench_run *run, wishes *w, int argc, char **argv, int i, vr_err *e)
{
    const char *name = argv[i];
    int value;
    if (strcmp(name, "--json") == 0) return run->format = BENCH_JSON, 1;
    if (strcmp(name, "--csv") == 0) return run->format = BENCH_CSV, 1;
    if (strcmp(name, "--sweep") == 0) return run->sweep = true, 1;
    if (strcmp(name, "--no-peers") == 0) return run->peers = false, 1;
    if (strcmp(name, "--processor") == 0) return w->processor = true, 1;
    if (strcmp(name, "--help") == 0) return w->help = true, 1;
    if (strcmp(name, "--threads") == 0)
        return (value = number(argc, argv, i, VR_MAX_THREADS, e)) < 0 ? value : (run->n_threads = value, 2);
    if (strcmp(name, "--rounds") == 0)
        return (value = number(argc, argv, i, BENCH_MAX_ROUNDS, e)) < 0 ? value : (run->rounds = value, 2);
    if (strcmp(name, "--seconds") == 0)
        return (value = number(argc, argv, i, 86400, e)) < 0 ? value : (run->seconds = value, 2);
    if (strcmp(name, "--level") == 0 && i + 1 < argc) return run->level = argv[i + 1], 2;
    if (strcmp(name, "--peers") == 0 && i + 1 < argc) return run->script = argv[i + 1], 2;
    if (strcmp(name, "--weights") == 0 && i + 1 < argc) return run->weights = argv[i + 1], 2;
    if (strcmp(name, "--llama") == 0 && i + 1 < argc) return run->llama = argv[i + 1], 2;
    if (strcmp(name, "--clip") == 0 && i + 1 < argc) return run->clip = argv[i + 1], 2;
    if (strcmp(name, "--device") == 0 && i + 1 < argc) return w->device = argv[i + 1], 2;
    if (strcmp(name, "--stream") == 0 && i + 1 < argc) return w->stream = argv[i + 1], 2;
    for (int f = 0; f < N_FAMILIES; f++) {
        if (strcmp(name, families[f].name) == 0) return w->family[f] = w->any = true, 1;
    }
    return vr_fail(e, VR_ERR_USAGE, "%s: no family and no option, or its value is missing (--help)", name);
}

/* The script beside the sources: from the project root, or beside the build folder that holds this program. */
static void find_script(bench_run *run, char *path, size_t size, const char *program)
{
    static const char *const places[] = { "", "/..", "/../.." };
    if (run->script) return;
    run->script = "bench/peers/peers.py";
    FILE *f = fopen(run->script, "r");
    const char *slash = strrchr(program, '/');
    for (size_t i = 0; !f && slash && i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, size, "%.*s%s/bench/peers/peers.py", (int)(slash - program), program, places[i]);
        if ((f = fopen(path, "r")) != NULL) run->script = path;
    }
    if (f) fclose(f);
}

static int run_families(bench_run *run, const wishes *w, vr_err *e)
{
    vr_backend *be = NULL;
    run->groups_left = 0;
    run->peer = NULL;
    VR_TRY(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 1, .gemm = VR_GEMM_OWN, .level = run->level }, e));
    char level[16];
    snprintf(level, sizeof level, "%s", vr_cpu_level(be));
    vr_backend_free(be);
    VR_TRY(vr_pool_open(&run->pool, run->n_threads, e));
    int rc = bench_probe_open(run, e);
    if (rc == VR_OK) {
        if (run->peers && run->script) run->peer = peer_open(run->script, run->n_threads);
        bench_machine(run, level);
        run->start = bench_seconds(); /* what peers need to begin does not count */
    }
    for (int f = 0; f < N_FAMILIES; f++) {
        if (w->any ? w->family[f] : !families[f].by_name)
            run->groups_left += run->sweep ? families[f].n_swept : families[f].n_groups;
    }
    for (int f = 0; rc == VR_OK && f < N_FAMILIES; f++) {
        if (w->any ? w->family[f] : !families[f].by_name) rc = families[f].run(run, e);
    }
    peer_close(run->peer);
    bench_probe_close();
    vr_pool_free(run->pool);
    return rc;
}

int main(int argc, char **argv)
{
    bench_run run = { .n_threads = 2, .rounds = 31, .peers = true };
    wishes w = { 0 };
    vr_err e = { 0 };
    char path[4096];
    int rc = VR_OK;
    for (int i = 1, step; i < argc && rc == VR_OK; i += step) {
        step = option(&run, &w, argc, argv, i, &e);
        if (step < 0) rc = VR_ERR_USAGE, step = 1;
    }
    if (rc == VR_OK && w.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (w.processor) bench_clock_processor(), run.n_threads = 1;
    if (run.seconds <= 0.0) run.seconds = run.sweep ? 600.0 : 40.0;
    run.start = bench_seconds();
    find_script(&run, path, sizeof path, argv[0]);
    if (rc == VR_OK && w.device) {
        const bool numbered = strncmp(w.device, "cuda:", 5) == 0;
        const int device = numbered ? atoi(w.device + 5) : strcmp(w.device, "cuda") == 0 ? 0 : -1;
        rc = device < 0 ? vr_fail(&e, VR_ERR_USAGE, "--device: cuda or cuda:N") : bench_device(&run, device, &e);
        if (rc != VR_OK) fprintf(stderr, "vidrun-bench: %s\n", e.text);
        return rc == VR_OK ? 0 : rc == VR_ERR_USAGE ? 2 : 1;
    }
    if (w.processor) run.script = run.llama = NULL; /* peers in this process only: others have clocks of their own */
    const bool again = run.sweep && run.n_threads > 1;
    if (again) run.seconds /= 2.0;
    if (rc == VR_OK) rc = w.stream ? bench_stream(&run, w.stream, &e) : run_families(&run, &w, &e);
    if (rc == VR_OK && again && !w.stream) {
        run.n_threads = 1, run.best_fma = 0.0;
        rc = run_families(&run, &w, &e);
    }
    if (rc != VR_OK) fprintf(stderr, "vidrun-bench: %s\n", e.text);
    return rc == VR_OK ? 0 : rc == VR_ERR_USAGE ? 2 : 1;
}
