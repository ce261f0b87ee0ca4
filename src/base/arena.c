/*
 * arena.c - see arena.h.
 */
#define _GNU_SOURCE
#include "base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ALIGNMENT 64
#define GAP       64 /* bytes between blocks; poisoned under AddressSanitizer, otherwise it hides overruns of a neighbour */

static unsigned char plan_base[1]; /* planning hands out this address; it is never read or written */

void vr_arena_plan(vr_arena *a)
{
    *a = (vr_arena){ .size = SIZE_MAX };
}

int vr_arena_open(vr_arena *a, size_t bytes, vr_err *e)
{
    *a = (vr_arena){ 0 };
    if (bytes == 0) bytes = ALIGNMENT;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return vr_fail(e, VR_ERR_LIMIT, "not enough memory: %zu MB of scratch were refused", bytes >> 20);
    a->base = p;
    a->size = bytes;
    POISON(a->base, bytes);
    return VR_OK;
}

int vr_arena_open_twin(vr_arena *a, vr_arena *of, vr_err *e)
{
    VR_TRY(vr_arena_open(a, of->size, e));
    UNPOISON(a->base, a->size); /* released through the other one, which does not know this memory */
    a->twin = of;
    return VR_OK;
}

void vr_arena_large_pages(vr_arena *a)
{
    if (a->base && !a->release) madvise(a->base, a->size, MADV_HUGEPAGE); /* refused where the system has none: nothing lost */
}

void vr_arena_close(vr_arena *a)
{
    if (a->release) {
        a->release(a->base);
    } else if (a->base) {
        UNPOISON(a->base, a->size);
        munmap(a->base, a->size);
    }
    *a = (vr_arena){ 0 };
}

void *vr_arena_alloc(vr_arena *a, size_t count, size_t size)
{
    assert(size > 0 && count <= (SIZE_MAX / 4) / size);
    const size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
    vr_arena *const counted = a->twin ? a->twin : a;
    assert(bytes <= counted->size - counted->used);
    unsigned char *p = a->base ? a->base + counted->used : plan_base;
    counted->used += bytes;
    if (counted->used > counted->peak) counted->peak = counted->used;
    if (a->base && !a->release && !a->twin) UNPOISON(p, count * size);
    return p;
}

float *vr_arena_floats(vr_arena *a, size_t count)
{
    return vr_arena_alloc(a, count, sizeof(float));
}

size_t vr_arena_mark(const vr_arena *a)
{
    return a->twin ? a->twin->used : a->used;
}

void vr_arena_release(vr_arena *a, size_t mark)
{
    vr_arena *const counted = a->twin ? a->twin : a;
    assert(mark <= counted->used);
    if (counted->base && !counted->release) POISON(counted->base + mark, counted->used - mark);
    counted->used = mark;
}
