/*
 * bench.h - one way of measuring for all kernels: ways of doing the same work take turns, and each is a ratio to a floor of the
 * same round.
 *
 *   family -> group: floors, own ways, peers -> check against the oracle -> rounds (order rotated) -> lines: table, CSV or JSON
 *
 * Floor: the least that the work can cost on this machine in this moment (reading the input once; products at the rate of the
 * FMA units), measured as a way of its own. A round is clean if both FMA probes around it reach 0.85 of the best of the run and
 * its two read probes differ by less than 15 %; with 5 clean rounds and more only these count. With fewer all count, and the
 * line says so: such figures show the order of things, not more.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "kernels/backend.h"

#define BENCH_MAX_ROUNDS 101
#define BENCH_MAX_WAYS   16
#define BENCH_MIN_CLEAN  5

typedef enum bench_format { BENCH_TABLE, BENCH_CSV, BENCH_JSON } bench_format;

typedef struct bench_run {
    bench_format format;
    int n_threads, rounds;
    double seconds; /* for everything; the groups that are left share what is left */
    bool sweep;     /* every level, one thread too */
    bool peers;
    const char *level;       /* NULL: the best of this machine and avx2 */
    const char *script;      /* of the peers */
    const char *weights;     /* of the families of whole parts; NULL: none given */
    const char *llama;       /* llama-bench, or a Python module; NULL: not compared with llama.cpp */
    const char *clip;        /* of the family pipeline; NULL: one is made */
    double start, group_end; /* a group may begin rounds until then */
    int groups_left;
    vr_pool *pool;
    double best_fma;
    bool header_printed;
    struct peer *peer; /* NULL: none here */
} bench_run;

typedef enum bench_kind { BENCH_FLOOR, BENCH_OWN, BENCH_PEER } bench_kind;

/* One way of doing the work of a group. */
typedef struct bench_way {
    bench_kind kind;
    char form[40], name[32]; /* index, copy, ...; of a peer its name and version */
    char level[16];
    int n_threads;
    double bytes;              /* that must move */
    double operations;         /* 0: none to speak of */
    double units;              /* tokens, frames, ... done by a call; 0: not told */
    const char *unit;          /* their noun; static */
    unsigned floors;           /* bit i: the time of way i is part of the floor; 0: it has none */
    int most_rounds;           /* 0: all */
    int repeats;               /* times that a call does the work; 0: once */
    double (*call)(void *arg); /* does the work once, returns seconds; negative: cannot */
    void *arg;
    int n;
    double time[BENCH_MAX_ROUNDS];
} bench_way;

typedef struct bench_group {
    const char *bench; /* family */
    char type[8], shape[48];
    int window;
    int least_rounds; /* 0: BENCH_MIN_CLEAN, of rounds and of clean ones; less where one takes many seconds */
    /* NULL, or one call does the work of all ways: it fills time[r] of each; false: no further rounds */
    bool (*whole)(void *arg, struct bench_group *g, int r);
    void *whole_arg;
    int n_ways;
    bench_way ways[BENCH_MAX_WAYS];
} bench_group;

bench_way *bench_add(bench_group *g, bench_kind kind, const char *form, double (*call)(void *arg), void *arg);

/* Before a group gets its data: is there time for it? false, with a note, if not. */
bool bench_begin(bench_run *run, const bench_group *g);

/* All rounds of a group, and its lines. */
void bench_measure(bench_run *run, bench_group *g);

/* Lines that are no measurement: why something is missing. On stderr. */
void bench_note(const char *format, ...) VR_PRINTF(1, 2);

/* probe.c: what this machine can do right now. */
double bench_seconds(void);
void bench_clock_processor(void);  /* count processor time from now on */
void bench_rest(int milliseconds); /* until threads of others have stopped to spin */
int bench_probe_open(bench_run *run, vr_err *e);
void bench_probe_close(void);
double bench_probe_fma(const bench_run *run);                    /* operations a second, a multiply-add counts two */
double bench_probe_read(const bench_run *run);                   /* bytes a second */
double bench_read(vr_pool *pool, const void *x, size_t n_bytes); /* seconds to read x once */
double bench_write(vr_pool *pool, void *x, size_t n_bytes);      /* seconds to write x once with streaming stores */
void *bench_alloc(size_t n_bytes);                               /* large pages where there are any; NULL without memory */
void bench_free(void *x, size_t n_bytes);

/* lines.c */
void bench_lines(bench_run *run, const bench_group *g, const bool *clean, int n_rounds);
void bench_machine(const bench_run *run, const char *level); /* machine.c: comments of the CSV, notes of the other forms */

/* peer.c: children that time the same work. */
typedef struct peer peer;
peer *peer_open(const char *script, int n_threads); /* NULL, with a note: no script, no Python, no numpy */
void peer_close(peer *p);
const char *peer_torch(const peer *p); /* its version; NULL: not installed */
/* Hand over a case and its input (x NULL: the child makes its own), and add ways of PyTorch and numpy with so many rounds at
 * most, 0: no such way. what: peers.py. A note if the child cannot; nothing without a child. */
void peer_add(peer *p, bench_group *g, const char *what, const void *x, size_t n_bytes, const int *numbers, int n_numbers,
              int torch_rounds, int numpy_rounds);
void peer_expect(peer *p, int64_t result); /* of every call of this case: one with another result is not counted */
/* A way of llama.cpp as a Python module: rows of a prompt, or tokens of an answer one by one, behind depth rows. NULL, with a
 * note: not there. */
bench_way *peer_add_llama(peer *p, bench_group *g, const char *module, const char *weights, int n_prompt, int n_answer,
                          int depth);
/* llama-bench at path `program` with a stock file: seconds of n_prompt rows, or of n_answer tokens behind depth rows. Negative:
 * it gave no figures. */
double peer_llama(const char *program, const char *weights, int n_threads, int n_prompt, int n_answer, int depth);

/* Families. False: an error, which is in e. */
int bench_products(bench_run *run, const char *family, vr_err *e);
int bench_encoder(bench_run *run, const char *family, vr_err *e);
int bench_decoder(bench_run *run, const char *family, vr_err *e);
int bench_pipeline(bench_run *run, vr_err *e);
int bench_prune(bench_run *run, vr_err *e);
int bench_select(bench_run *run, vr_err *e);
int bench_top_k(bench_run *run, vr_err *e);
int bench_gather(bench_run *run, vr_err *e);
int bench_kmeans(bench_run *run, vr_err *e);
int bench_memory_update(bench_run *run, vr_err *e);
int bench_scene_tiling(bench_run *run, vr_err *e);
int bench_ladder(bench_run *run, vr_err *e);

/* device.c: instead of everything else. Without a device: a note, and VR_OK. */
int bench_device(bench_run *run, int device, vr_err *e);

/* stream.c */
int bench_stream(const bench_run *run, const char *weights, vr_err *e);

/* Numbers of one of the three types, uniform in [-1, 1); seed 0 is not allowed. */
float bench_random(uint64_t *seed);
void bench_store(void *x, vr_dtype dtype, int64_t i, float value);
float bench_load(const void *x, vr_dtype dtype, int64_t i);

/* Levels to be measured, the best first; names are static. */
int bench_levels(const bench_run *run, const char *levels[4]);

#endif
