/*
 * part.h - a part of a model as one way of a group: its scratch memory planned, its floor, its line.
 */
#ifndef BENCH_PART_H
#define BENCH_PART_H

#include "base/weights.h"
#include "bench/bench.h"

/* Matrices of a weight file, counted. */
typedef struct part_matrices {
    double numbers, bytes;
    bool quantised; /* products with 8-bit rows */
    vr_dtype type;  /* of the last one */
} part_matrices;

/* Adds those whose names begin with prefix, and hold `within` where that is not NULL. */
void part_count(part_matrices *m, const vr_weights *w, const char *prefix, const char *within);

/* Operations, a multiply-add counts two: products with the matrices of blocks, and attention. 0: the file has no such part.
 * A tower for a frame; ImageBind for a clip of sound; a Q-Former whose queries look at R rows. */
double part_tower(const vr_weights *w, const char *prefix);
double part_imagebind(const vr_weights *w);
double part_qformer(const vr_weights *w, const char *prefix, int R);
/* Integer key PREFIX.NAME; 0: there is none. */
int part_key(const vr_weights *w, const char *prefix, const char *name);
/* As lines say it: f32, f16, bf16, q8, q4, q4_1. */
const char *part_type_name(vr_dtype type);
/* Matrices that every token of an answer reads: layers and head. */
part_matrices part_decoder(const vr_weights *w);

typedef struct part {
    void (*forward)(void *model, vr_run *pass);
    void *model;
    double operations; /* of a call, */
    double rate;       /* in a type of which a unit does so many while it does one in f32 */
    double bytes;      /* not 0: the part is bound by reading so many, and operations say nothing */
    const char *form;  /* of the line; NULL: the group's shape */
    double units;      /* done by a call */
    const char *unit;
    bench_run *run; /* the rest is part_measure's */
    vr_arena scratch;
    vr_run pass;
} part;

/* Rounds and lines of g, whose peers are there already; forward is run over a plan first. */
int part_measure(bench_run *run, vr_backend *be, part *p, bench_group *g, vr_err *e);

#endif
