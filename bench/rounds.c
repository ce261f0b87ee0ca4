/*
 * rounds.c - rounds of a group: probes, every way once in an order that rotates, probes.
 *
 *   round r:  FMA, read | way r, r+1, ... | FMA, read -> times[r], clean[r]
 *
 * Rounds go on until the share of the group in the time of the run is used, at least 5 (or what the group says), at most
 * run->rounds.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "kernels/cpu/select.h"

#define CLEAN_FMA    0.85
#define CLEAN_READ   0.15
#define PEER_SHARE   0.5
#define PEER_SPIN_MS 20 /* OpenMP's threads turn some 5 ms after the last of their work: the next way would share its cores */

bench_way *bench_add(bench_group *g, bench_kind kind, const char *form, double (*call)(void *arg), void *arg)
{
    bench_way *w = &g->ways[g->n_ways < BENCH_MAX_WAYS ? g->n_ways++ : BENCH_MAX_WAYS - 1];
    *w = (bench_way){ .kind = kind, .call = call, .arg = arg };
    snprintf(w->form, sizeof w->form, "%s", form);
    return w;
}

void bench_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("vidrun-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int bench_levels(const bench_run *run, const char *levels[4])
{
    int n = 0, first = 0;
    bool here;
    for (int i = 0; vr_dsp_level(i, &here); i++) {
        if (here) first = i;
    }
    for (int i = first; i >= 0 && n < 4; i--) {
        const char *level = vr_dsp_level(i, &here);
        if (!here || (run->level && strcmp(run->level, level) != 0)) continue;
        if (!run->sweep && !run->level && i == 0 && n > 0) continue; /* level c is the definition, not a contender */
        levels[n++] = level;
    }
    return n;
}

bool bench_begin(bench_run *run, const bench_group *g)
{
    const double now = bench_seconds(), left = run->start + run->seconds - now;
    run->group_end = now + left / (run->groups_left > 1 ? run->groups_left : 1);
    run->groups_left--;
    if (left > 0.0) return true;
    bench_note("%s %s %s: not measured, the %.0f s are over (--seconds)", g->bench, g->type, g->shape, run->seconds);
    return false;
}

/* Times of round r. Peers, slow as they are, may have PEER_SHARE of the time of the group, and one round in any case. */
static double round_run(bench_group *g, int r, double peer_time)
{
    for (int i = 0; i < g->n_ways; i++) {
        bench_way *w = &g->ways[(i + r) % g->n_ways];
        w->time[r] = (double)NAN;
        const bool is_peer = w->kind == BENCH_PEER;
        if ((w->most_rounds && w->n >= w->most_rounds) || (is_peer && peer_time <= 0.0 && w->n > 0)) continue;
        const double start = bench_seconds(), time = w->call(w->arg);
        if (is_peer) {
            peer_time -= bench_seconds() - start;
            bench_rest(PEER_SPIN_MS);
        }
        if (time <= 0.0) continue;
        w->time[r] = w->repeats ? time / w->repeats : time;
        w->n++;
    }
    return peer_time;
}

void bench_measure(bench_run *run, bench_group *g)
{
    bool clean[BENCH_MAX_ROUNDS], more = true;
    const int least = g->least_rounds ? g->least_rounds : BENCH_MIN_CLEAN;
    for (int i = 0; i < g->n_ways && !g->whole; i++) g->ways[i].call(g->ways[i].arg); /* the first call is not counted */
    double peer_time = PEER_SHARE * (run->group_end - bench_seconds());
    int r = 0;
    while (more && r < run->rounds && (r < least || bench_seconds() < run->group_end)) {
        const double fma_before = bench_probe_fma(run), read_before = bench_probe_read(run);
        if (g->whole)
            more = g->whole(g->whole_arg, g, r);
        else
            peer_time = round_run(g, r, peer_time);
        const double read_after = bench_probe_read(run), fma_after = bench_probe_fma(run);
        run->best_fma = fmax(run->best_fma, fmax(fma_before, fma_after));
        clean[r] = fmin(fma_before, fma_after) >= CLEAN_FMA * run->best_fma &&
                   fabs(read_before - read_after) < CLEAN_READ * fmax(read_before, read_after);
        r += more;
    }
    bench_lines(run, g, clean, r);
}
