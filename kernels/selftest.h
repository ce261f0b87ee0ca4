/*
 * selftest.h - are the kernels right on this very machine? `vidrun --self-test` and tests/check ask the same code.
 *
 *   levels of this machine x families -> compare with level c or with plain sums in double -> one line each
 *
 * Accuracy classes (u = 2^-24, S = sum of the absolute terms, k terms):
 *   EXACT    bit equal
 *   REDUCE   abs(y - ref) <= (k + log2(k) + 2) u S for any data, and 8 u S on normal random data
 *   ULP(n)   abs(y - ref) <= n u times the size that kernels/dsp.h names for the function
 */
#ifndef VR_SELFTEST_H
#define VR_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef void vr_selftest_line(void *cookie, const char *text); /* one line, no newline */

/* Less than 2 seconds. VR_OK when all families agree; VR_ERR_OTHER names the first that does not. */
int vr_selftest(vr_selftest_line *print, void *cookie, vr_err *e);

/* The same with many more sizes, from a seed. */
int vr_selftest_thorough(uint64_t seed, vr_selftest_line *print, void *cookie, vr_err *e);

/* The operations of a device (kernels/cuda), opened twice: for products in f32, and in what the weights are (auto). */
struct vr_backend;
int vr_selftest_device(struct vr_backend *f32, struct vr_backend *automatic, bool thorough, uint64_t seed,
                       vr_selftest_line *print, void *cookie, vr_err *e);

#endif
