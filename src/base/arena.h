/*
 * arena.h - scratch memory of a run: planned, allocated once, handed out as a stack.
 *
 *   plan:  vr_arena_plan(&a)            alloc counts, returns addresses that must not be touched
 *   run:   vr_arena_open(&a, a.peak)    alloc hands out zero-filled pages of one mapping
 *   pass:  mark = vr_arena_mark(&a) ... vr_arena_release(&a, mark)
 *
 * The plan runs the very code of the run over a backend whose operations do nothing (kernels/backend.h), so the two
 * cannot disagree; an allocation that does not fit is therefore our own mistake and asserts.
 * Blocks are 64-byte aligned. Under AddressSanitizer the gaps between blocks and everything released are poisoned.
 */
#ifndef VR_ARENA_H
#define VR_ARENA_H

#include <stddef.h>

#include "base/err.h"

typedef struct vr_arena {
    unsigned char *base; /* owned mapping; NULL while planning */
    size_t size;         /* bytes of the mapping; the largest size_t while planning */
    size_t used;
    size_t peak;                 /* high-water mark of used */
    void (*release)(void *base); /* of memory that is not the host's: gives it back; never touched here. NULL: a mapping */
    struct vr_arena *twin;       /* borrowed: whose used and peak count for this one too; NULL: its own do */
} vr_arena;

void vr_arena_plan(vr_arena *a);
int vr_arena_open(vr_arena *a, size_t bytes, vr_err *e); /* VR_ERR_LIMIT when the memory cannot be had */
/* Host memory beside memory of another kind: what is taken of either has its place in both, and marks of one are marks of the
 * other, as in the plan, where the two were one. */
int vr_arena_open_twin(vr_arena *a, vr_arena *of, vr_err *e);
/* For memory that is read over and over in far apart rows: pages of 2 MB where the system grants them, so as much is taken at once. */
void vr_arena_large_pages(vr_arena *a);
void vr_arena_close(vr_arena *a); /* legal on a planned, closed or zeroed arena */

/* count elements of size bytes; count may be 0. Contents are undefined. Never NULL. */
void *vr_arena_alloc(vr_arena *a, size_t count, size_t size);
float *vr_arena_floats(vr_arena *a, size_t count);

size_t vr_arena_mark(const vr_arena *a);
void vr_arena_release(vr_arena *a, size_t mark);

#endif
