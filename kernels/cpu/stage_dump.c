/*
 * run.c - stages of a run for parity: backend memory -> dump.
 *
 * Memory of the backends that exist is host memory, so a stage goes to the dump from where it lies, once the queue is empty.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "kernels/backend.h"

void vr_run_dump(const vr_run *run, const float *x, int n_dims, const int64_t *shape, const char *name_format, ...)
{
    if (!run->dump || run->be->plan) return;
    char name[VR_MAX_NAME + 1];
    va_list args;
    va_start(args, name_format);
    vsnprintf(name, sizeof name, name_format, args);
    va_end(args);
    vr_backend_sync(run->be, NULL); /* the caller asks again at the end of its pass and gets the same error */
    vr_dump_f32(run->dump, name, x, n_dims, shape);
}
