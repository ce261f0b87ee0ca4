/*
 * stage_dump.c - what belongs to a run: its memory, and its stages for parity: backend memory -> dump.
 *
 * Where backend memory is the host's, a stage goes to the dump from where it lies, once the queue is empty; else it is read first.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "kernels/backend.h"

int vr_run_open(vr_run *run, vr_backend *be, vr_arena *scratch, vr_arena *host, size_t n_bytes, vr_err *e)
{
    *run = (vr_run){ .be = be, .scratch = scratch, .host = scratch };
    VR_TRY(vr_backend_arena_open(be, scratch, n_bytes, e));
    if (!be->arena_open) return VR_OK;
    run->host = host;
    return vr_arena_open_twin(host, scratch, e);
}

static void read_and_dump(const vr_run *run, const char *name, const float *x, int n_dims, const int64_t *shape)
{
    size_t n = sizeof *x;
    for (int i = 0; i < n_dims; i++) n *= (size_t)shape[i];
    float *host = malloc(n ? n : 1);
    if (!host) return; /* the stage is missing, which who compares stages sees */
    run->be->read(run->be, host, x, n);
    vr_dump_f32(run->dump, name, host, n_dims, shape);
    free(host);
}

void vr_run_dump(const vr_run *run, const float *x, int n_dims, const int64_t *shape, const char *name_format, ...)
{
    if (!run->dump || run->be->plan) return;
    char name[VR_MAX_NAME + 1];
    va_list args;
    va_start(args, name_format);
    vsnprintf(name, sizeof name, name_format, args);
    va_end(args);
    if (run->be->arena_open) {
        read_and_dump(run, name, x, n_dims, shape);
        return;
    }
    vr_backend_sync(run->be, NULL); /* the caller asks again at the end of its pass and gets the same error */
    vr_dump_f32(run->dump, name, x, n_dims, shape);
}
