/*
 * dump.h - stages of a run written as NumPy files, for parity with the published model.
 *
 * A stage may arrive in parts (chunks of frames, chunks of prompt rows): every call appends along the first axis and patches
 * the shape in the header. The first error is kept and returned by close (VR_ERR_OTHER): callers need not check each row.
 *
 *   vr_dump_f32 -> DIR/PREFIXname.npy.part -> close: renamed to .npy; after an error: all .part files removed
 *
 * Nothing of a failed dump stays behind, and files of an earlier run with the same name live until then.
 * Ref:  NumPy NEP 1 (numpy/lib/format.py), version 1.0.
 * Trap: a file is open only while a part is written: a run has more stages than a process may have open files.
 */
#ifndef VR_DUMP_H
#define VR_DUMP_H

#include <stdint.h>

#include "base/err.h"

typedef struct vr_dump vr_dump;

int vr_dump_open(vr_dump **out, const char *dir, vr_err *e); /* makes the folder if it is missing */
int vr_dump_close(vr_dump *dump, vr_err *e);                 /* NULL is legal; frees in any case */

/* Stages that follow are written as PREFIX + name; "" at first. */
void vr_dump_prefix(vr_dump *dump, const char *prefix);

/* x [shape[0], .., shape[n_dims-1]], C order; n_dims 1..4; later calls agree in all but shape[0]. dump NULL: nothing. */
void vr_dump_f32(vr_dump *dump, const char *name, const float *x, int n_dims, const int64_t *shape);
void vr_dump_i32(vr_dump *dump, const char *name, const int32_t *x, int n_dims, const int64_t *shape);
void vr_dump_u8(vr_dump *dump, const char *name, const uint8_t *x, int n_dims, const int64_t *shape);

#endif
