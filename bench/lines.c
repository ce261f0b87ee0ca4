/*
 * lines.c - results as a table, CSV or JSON, one line for each own way.
 *
 *   times of a way and of its floor in round r -> ratio of round r -> median, p10, p90 over the clean rounds
 *
 * ratio: time over floor, so 1/ratio is the share of what the machine could do.  peer: time of the peer over ours, both of the
 * same round (median; a peer that ran in no clean round: of all).  units_s: tokens, frames, ... a second.  state: "clean" if
 * only clean rounds count, "disturbed" if there were fewer than 5 of them (or than the group asks for), so that all count.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define MAX_PEERS 3

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
    return w->floors ? sum : (double)NAN;
}

static summary summarise(const bench_group *g, const bench_way *w, const bool *use, int n_rounds)
{
    double times[BENCH_MAX_ROUNDS], floors[BENCH_MAX_ROUNDS], ratios[BENCH_MAX_ROUNDS];
    summary s = { 0 };
    for (int r = 0; r < n_rounds; r++) {
        const double floor = floor_time(g, w, r);
        if (!use[r] || isnan(w->time[r]) || (w->floors && isnan(floor))) continue;
        times[s.n] = w->time[r], floors[s.n] = floor, ratios[s.n++] = w->time[r] / floor;
    }
    s.time = quantile(times, s.n, 0.5), s.floor = quantile(floors, s.n, 0.5), s.ratio = quantile(ratios, s.n, 0.5);
    s.p10 = quantile(ratios, s.n, 0.1), s.p90 = quantile(ratios, s.n, 0.9);
    return s;
}

/* use NULL: all rounds */
static double over(const bench_way *w, const bench_way *other, const bool *use, int n_rounds)
{
    double ratios[BENCH_MAX_ROUNDS];
    int n = 0;
    for (int r = 0; r < n_rounds; r++) {
        if ((!use || use[r]) && !isnan(w->time[r]) && !isnan(other->time[r])) ratios[n++] = other->time[r] / w->time[r];
    }
    return n == 0 && use ? over(w, other, NULL, n_rounds) : quantile(ratios, n, 0.5);
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
    const char *peer_name[MAX_PEERS]; /* "": none */
    double peer[MAX_PEERS];
} line;

static double rate(const line *l)
{
    const double work = l->w->operations > 0.0 ? l->w->operations : l->w->bytes;
    return work > 0.0 ? work / l->s.time * 1e-9 : (double)NAN;
}

static double units(const line *l)
{
    return l->w->units > 0.0 ? l->w->units / l->s.time : (double)NAN;
}

static const char *unit(const line *l)
{
    return l->w->unit ? l->w->unit : "";
}

static void print_json(const line *l)
{
    static const char *const names[MAX_PEERS] = { "peer", "second_peer", "third_peer" };
    printf("{\"bench\": \"%s\", \"form\": \"%s\", \"type\": \"%s\", \"shape\": \"%s\", \"window\": %d, \"level\": \"%s\", "
           "\"threads\": %d",
           l->g->bench, l->w->form, l->g->type, l->g->shape, l->g->window, l->w->level, l->w->n_threads);
    print_number("ratio", l->s.ratio);
    print_number("p10", l->s.p10);
    print_number("p90", l->s.p90);
    printf(", \"rounds\": %d", l->s.n);
    for (int i = 0; i < MAX_PEERS; i++) {
        print_number(names[i], l->peer[i]);
        printf(", \"%s_name\": \"%s\"", names[i], l->peer_name[i]);
    }
    printf(", \"bytes\": %.0f", l->w->bytes);
    print_number(l->w->operations > 0.0 ? "gflops" : "gb_s", rate(l));
    print_number("ms", 1e3 * l->s.time);
    print_number("floor_ms", 1e3 * l->s.floor);
    print_number("units_s", units(l));
    printf(", \"unit\": \"%s\", \"state\": \"%s\"}\n", unit(l), l->state);
}

static void print_csv(bench_run *run, const line *l)
{
    if (!run->header_printed) {
        puts(
            "bench,form,type,shape,window,level,threads,ratio,p10,p90,rounds,peer,peer_name,second_peer,second_peer_name,bytes,"
            "rate,ms,floor_ms,state,third_peer,third_peer_name,units_s,unit");
    }
    printf("%s,%s,%s,%s,%d,%s,%d,%.4g,%.4g,%.4g,%d,%.4g,%s,%.4g,%s,%.0f,%.4g,%.4g,%.4g,%s,%.4g,%s,%.4g,%s\n", l->g->bench,
           l->w->form, l->g->type, l->g->shape, l->g->window, l->w->level, l->w->n_threads, l->s.ratio, l->s.p10, l->s.p90,
           l->s.n, l->peer[0], l->peer_name[0], l->peer[1], l->peer_name[1], l->w->bytes, rate(l), 1e3 * l->s.time,
           1e3 * l->s.floor, l->state, l->peer[2], l->peer_name[2], units(l), unit(l));
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
    for (int i = 0; i < MAX_PEERS; i++) {
        if (!isnan(l->peer[i])) printf(" %s %.2f ", l->peer_name[i], l->peer[i]);
    }
    if (l->w->units > 0.0) printf(" %.4g %s/s", units(l), unit(l));
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

/* Rates of the peers in the units of w, which all do as much work. */
static void note_peers(const bench_group *g, const bench_way *w, const line *l)
{
    for (int i = 0; i < MAX_PEERS; i++) {
        if (w->units > 0.0 && !isnan(l->peer[i]))
            bench_note("%s %s %s: vidrun %.4g %s/s, %s %.4g, ratio %.2f", g->bench, g->type, g->shape, units(l), unit(l),
                       l->peer_name[i], units(l) / l->peer[i], l->peer[i]);
    }
}

void bench_lines(bench_run *run, const bench_group *g, const bool *clean, int n_rounds)
{
    bool use[BENCH_MAX_ROUNDS];
    const int least = g->least_rounds ? g->least_rounds : BENCH_MIN_CLEAN;
    int n_clean = 0;
    for (int r = 0; r < n_rounds; r++) n_clean += clean[r];
    for (int r = 0; r < n_rounds; r++) use[r] = clean[r] || n_clean < least;
    for (int i = 0; i < g->n_ways; i++) {
        const bench_way *w = &g->ways[i];
        if (w->kind != BENCH_OWN) continue;
        line l = { .g = g, .w = w, .s = summarise(g, w, use, n_rounds), .state = n_clean < least ? "disturbed" : "clean" };
        for (int k = 0; k < MAX_PEERS; k++) l.peer_name[k] = "", l.peer[k] = (double)NAN;
        for (int k = 0, n = 0; k < g->n_ways && n < MAX_PEERS; k++) {
            const bench_way *p = &g->ways[k];
            if (p->kind == BENCH_PEER && p->n > 0) l.peer_name[n] = p->name, l.peer[n++] = over(w, p, use, n_rounds);
        }
        if (l.s.n == 0) {
            bench_note("%s %s %s %s: not measured", g->bench, w->form, g->type, g->shape);
            continue;
        }
        print_line(run, &l);
        note_peers(g, w, &l);
    }
}
