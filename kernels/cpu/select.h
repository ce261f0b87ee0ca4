/*
 * select.h - which level of kernels runs.
 */
#ifndef VR_SELECT_H
#define VR_SELECT_H

#include "base/err.h"
#include "kernels/dsp.h"

/* level: c, avx2, avx512, neon, another of select.c or best; NULL: what VIDRUN_CPU names, else best. VR_ERR_USAGE if unknown or not here. */
int vr_dsp_select(vr_dsp *d, const char *level, vr_err *e);

/* Level number i of this program, from the definition up; NULL after the last. With *here: whether this machine runs it. */
const char *vr_dsp_level(int i, bool *here);

#endif
