/*
 * lines.c - results as a table, CSV or JSON, one line for each own way.
 *
 *   times of a way and of its floor in round r -> ratio of round r -> median, p10, p90 over the clean rounds
 *
 * ratio: time over floor.  peer: time of the peer over ours, both of the same round (median).  state: "clean" if only clean
 * rounds count, "disturbed" if there were fewer than 5 of them, so that all count.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

typedef struct summary {
    int n;
    double time, floor, ratio, p10, p90;
} summary;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* x is sorted by the call. */
static double quantile(double *x, int n, double q)
{
    if (n == 0) return (double)NAN;
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[(int)(q * (n - 1) + 0.5)];
}

static double floor_time(const bench_group *g, const bench_way *w, int r)
{
    double sum = 0.0;
    for (int i = 0; i < g->n_ways; i++) {
        if (w->floors >> i & 1) sum += g->ways[i].time[r];
    }
    return sum;
}

static summary summarise(const bench_group *g, const bench_way *w, const bool *use, int n_rounds)
{
    double times[BENCH_MAX_ROUNDS], floors[BENCH_MAX_ROUNDS], ratios[BENCH_MAX_ROUNDS];
    summary s = { 0 };
    for (int r = 0; r < n_rounds; r++) {
        const double floor = floor_time(g, w, r);
        if (!use[r] || isnan(w->time[r]) || isnan(floor)) continue;
        times[s.n] = w->time[r], floors[s.n] = floor, ratios[s.n++] = w->time[r] / floor;
    }
    s.time = quantile(times, s.n, 0.5), s.floor = quantile(floors, s.n, 0.5), s.ratio = quantile(ratios, s.n, 0.5);
    s.p10 = quantile(ratios, s.n, 0.1), s.p90 = quantile(ratios, s.n, 0.9);
    return s;
}

static double over(const bench_way *w, const bench_way *other, const bool *use, int n_rounds)
{
    double ratios[BENCH_MAX_ROUNDS];
    int n = 0;
    for (int r = 0; r < n_rounds; r++) {
        if (use[r] && !isnan(w->time[r]) && !isnan(other->time[r])) ratios[n++] = other->time[r] / w->time[r];
    }
    return quantile(ratios, n, 0.5);
}

/* A number, or null: JSON has no NaN. */
static void print_number(const char *name, double x)
{
    if (isnan(x))
        printf(", \"%s\": null", name);
    else
        printf(", \"%s\": %.4g", name, x);
}

typedef struct line {
    const bench_group *g;
    const bench_way *w;
    summary s;
    const char *state;
    const char *peer_name, *second_name;
    double peer, second;
} line;

static double rate(const line *l)
{
    return (l->w->operations > 0.0 ? l->w->operations : l->w->bytes) / l->s.time * 1e-9;
}

static void print_json(const line *l)
{
    printf("{\"bench\": \"%s\", \"form\": \"%s\", \"type\": \"%s\", \"shape\": \"%s\", \"window\": %d, \"level\": \"%s\", "
           "\"threads\": %d",
           l->g->bench, l->w->form, l->g->type, l->g->shape, l->g->window, l->w->level, l->w->n_threads);
    print_number("ratio", l->s.ratio);
    print_number("p10", l->s.p10);
    print_number("p90", l->s.p90);
    printf(", \"rounds\": %d", l->s.n);
    print_number("peer", l->peer);
    printf(", \"peer_name\": \"%s\"", l->peer_name);
    print_number("second_peer", l->second);
    printf(", \"second_peer_name\": \"%s\", \"bytes\": %.0f", l->second_name, l->w->bytes);
    print_number(l->w->operations > 0.0 ? "gflops" : "gb_s", rate(l));
    print_number("ms", 1e3 * l->s.time);
    print_number("floor_ms", 1e3 * l->s.floor);
    printf(", \"state\": \"%s\"}\n", l->state);
}

static void print_csv(bench_run *run, const line *l)
{
    if (!run->header_printed) {
        puts("bench,form,type,shape,window,level,threads,ratio,p10,p90,rounds,peer,peer_name,second_peer,second_peer_name,"
             "bytes,rate,ms,"
             "floor_ms,state");
    }
    printf("%s,%s,%s,%s,%d,%s,%d,%.4g,%.4g,%.4g,%d,%.4g,%s,%.4g,%s,%.0f,%.4g,%.4g,%.4g,%s\n", l->g->bench, l->w->form,
           l->g->type, l->g->shape, l->g->window, l->w->level, l->w->n_threads, l->s.ratio, l->s.p10, l->s.p90, l->s.n, l->peer,
           l->peer_name, l->second, l->second_name, l->w->bytes, rate(l), 1e3 * l->s.time, 1e3 * l->s.floor, l->state);
}

static void print_row(bench_run *run, const line *l)
{
    if (!run->header_printed) {
        printf("%-9s %-24s %-5s %-18s %-7s %s %9s %9s %6s %13s %3s  %s\n", "bench", "form", "type", "shape", "level", "T", "ms",
               "GB|GF/s", "floor", "p10..p90", "n", "times faster than");
    }
    printf("%-9s %-24s %-5s %-18s %-7s %d %9.3f %9.1f %6.2f %6.2f..%-5.2f %3d%s", l->g->bench, l->w->form, l->g->type,
           l->g->shape, l->w->level, l->w->n_threads, 1e3 * l->s.time, rate(l), l->s.ratio, l->s.p10, l->s.p90, l->s.n,
           strcmp(l->state, "clean") == 0 ? " " : "~");
    if (!isnan(l->peer)) printf(" %s %.1f", l->peer_name, l->peer);
    if (!isnan(l->second)) printf("  %s %.1f", l->second_name, l->second);
    putchar('\n');
}

static void print_line(bench_run *run, const line *l)
{
    if (run->format == BENCH_JSON)
        print_json(l);
    else if (run->format == BENCH_CSV)
        print_csv(run, l);
    else
        print_row(run, l);
    run->header_printed = true;
    fflush(stdout);
}

void bench_lines(bench_run *run, const bench_group *g, const bool *clean, int n_rounds)
{
    bool use[BENCH_MAX_ROUNDS];
    int n_clean = 0;
    for (int r = 0; r < n_rounds; r++) n_clean += clean[r];
    for (int r = 0; r < n_rounds; r++) use[r] = clean[r] || n_clean < BENCH_MIN_CLEAN;
    for (int i = 0; i < g->n_ways; i++) {
        const bench_way *w = &g->ways[i];
        if (w->kind != BENCH_OWN) continue;
        line l = {
            g,           w,          summarise(g, w, use, n_rounds), n_clean < BENCH_MIN_CLEAN ? "disturbed" : "clean", "", "",
            (double)NAN, (double)NAN
        };
        for (int k = 0; k < g->n_ways; k++) {
            const bench_way *p = &g->ways[k];
            if (p->kind != BENCH_PEER || p->n == 0) continue;
            const double times = over(w, p, use, n_rounds);
            if (!*l.peer_name)
                l.peer_name = p->name, l.peer = times;
            else
                l.second_name = p->name, l.second = times;
        }
        if (l.s.n == 0)
            bench_note("%s %s %s %s: not measured", g->bench, w->form, g->type, g->shape);
        else
            print_line(run, &l);
    }
}
