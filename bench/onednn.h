/*
 * onednn.h - products by oneDNN, a peer of ours: found by the Makefile where it is installed, else never there.
 *
 * Owner: a product has operands of its own, and its weights were brought into oneDNN's form once, before any timing.
 */
#ifndef BENCH_ONEDNN_H
#define BENCH_ONEDNN_H

#include <stdbool.h>

typedef struct onednn onednn;

const char *onednn_name(void); /* "oneDNN-2.6.3"; NULL: this bench was built without it */

/* y [T,N] = x [T,K] W^T, W [N,K]; type "f32"; "bf16": x, W and y; "int8": unsigned x, signed W, y in f32 without scales.
 * gelu: then a bias and GELU (not with int8). NULL, with a note: not this type on this machine, or a wrong product. */
onednn *onednn_open(const char *type, int T, int K, int N, bool gelu, int n_threads);
double onednn_time(void *product); /* seconds of one; negative: it failed */
void onednn_free(onednn *product); /* NULL is legal */

#endif
