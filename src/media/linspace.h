/*
 * linspace.h - places spread evenly, both ends included.
 */
#ifndef VR_LINSPACE_H
#define VR_LINSPACE_H

#include <stdint.h>

/* out[i] = floor(i (n_total-1)/(n-1)) as numpy.linspace(0, n_total-1, n, dtype=int) has it, n_total >= 1, n >= 1; equal places
 * where n_total < n. */
void vr_linspace(int64_t *out, int64_t n_total, int n);

#endif
