/*
 * machine.c - facts without which figures mean nothing: processor, its rates at the start, compiler, peers.
 *
 *   --csv: lines that begin with # in front of the header;  else: notes
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/onednn.h"
#include "vidrun.h"

/* "model name" of the first processor, where the system tells one. */
static void processor_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

static void fact(const bench_run *run, const char *format, ...) VR_PRINTF(2, 3);
static void fact(const bench_run *run, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (run->format == BENCH_CSV)
        printf("# %s\n", text);
    else
        bench_note("%s", text);
}

void bench_machine(const bench_run *run, const char *level)
{
    char name[128];
    processor_name(name, sizeof name);
    fact(run, "%s, %d thread%s, level %s of %s", name, run->n_threads, run->n_threads == 1 ? "" : "s", level,
         vr_cpu_features());
    fact(run, "at the start: FMA in f32 %.0f GFLOP/s, read %.1f GB/s", 1e-9 * run->best_fma, 1e-9 * bench_probe_read(run));
    fact(run, "vidrun %s, compiler %s", VIDRUN_VERSION, __VERSION__);
    const char *slash = run->llama ? strrchr(run->llama, '/') : NULL; /* the place says nothing of the program */
    if (run->peers)
        fact(run, "peers: %s, PyTorch %s, llama.cpp %s", onednn_name() ? onednn_name() : "no oneDNN",
             run->peer && peer_torch(run->peer) ? peer_torch(run->peer) : "none",
             !run->llama ? "none"
             : slash     ? slash + 1
                         : run->llama);
}
