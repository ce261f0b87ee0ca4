/*
 * check.h - tools of the kernel checks: random data, guarded buffers, comparison.
 *
 *   guard | data | guard        every buffer starts at a random multiple of 4 bytes; guards and fresh data are one marked NaN,
 *                               so reading beside an input shows in the result, and writing beside an output shows in the guard
 *
 * A check calls a kernel and its reference and compares; the first difference is kept as text and ends the family.
 * Owner: buffers come from the arena of the check and are released together.
 */
#ifndef VR_CHECK_H
#define VR_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "kernels/backend.h"
#include "kernels/dsp.h"

#define VR_CHECK_U 0x1p-24

typedef enum vr_fill { VR_FILL_NORMAL, VR_FILL_TINY, VR_FILL_HUGE, VR_FILL_ALTERNATING, VR_FILL_ZERO, VR_FILLS } vr_fill;

typedef struct vr_check {
    const vr_dsp *d;              /* level under test */
    const vr_dsp *c;              /* the definition */
    vr_backend *one, *two, *blas; /* of that level: one thread, two threads, two threads and OpenBLAS */
    bool device;                  /* the three are one backend of another kind; d is c */
    vr_arena arena;               /* ARENA_BYTES of selftest.c */
    uint64_t random;              /* state */
    bool thorough;
    int64_t n_compared;
    double worst;      /* largest error / limit so far */
    char failure[512]; /* empty: none */
} vr_check;

typedef struct vr_check_family {
    const char *name;
    void (*run)(vr_check *ck);
} vr_check_family;

/* Families, in the order of the report. */
void vr_check_products(vr_check *ck);
void vr_check_norms(vr_check *ck);
void vr_check_activations(vr_check *ck);
void vr_check_rows(vr_check *ck);
void vr_check_linear(vr_check *ck);
void vr_check_attention(vr_check *ck);
void vr_check_attention_narrow(vr_check *ck); /* of a device, in bf16: by two, which is not of precision f32 */
void vr_check_kept(vr_check *ck);
void vr_check_moves(vr_check *ck);
void vr_check_grid(vr_check *ck);
void vr_check_prune(vr_check *ck);
void vr_check_quantised(vr_check *ck);
void vr_check_best(vr_check *ck); /* part of moves */
void vr_check_distances(vr_check *ck);
void vr_check_device(vr_check *ck); /* of a device: operations that the CPU backend makes of checked kernels */
/* linear and embed_rows of quantised weights by a backend of that precision */
void vr_check_strips(vr_check *ck, vr_backend *be, vr_precision precision);

uint32_t vr_check_random(vr_check *ck);
double vr_check_normal(vr_check *ck); /* about normal, mean 0, deviation 1 */
const char *vr_fill_name(vr_fill fill);

/* Sizes worth a look; 0 after the last. Short list, or the long one of a thorough check. limit drops larger ones. */
int vr_check_size(const vr_check *ck, int i, int limit);

float *vr_check_floats(vr_check *ck, int64_t n);
void vr_check_fill(vr_check *ck, float *x, int64_t n, vr_fill fill);
double *vr_check_doubles(vr_check *ck, int64_t n);
/* n numbers of dtype, normal; for F16 exponents that the products can stand. The f32 values of the same go to wide. */
void *vr_check_weights(vr_check *ck, vr_dtype dtype, int64_t n, float *wide);

/* what: name of kernel and case, for the message. y [n] against want within limit; NaN must meet NaN. */
void vr_check_near(vr_check *ck, const char *what, const float *y, const double *want, const double *limit, int64_t n);
void vr_check_equal(vr_check *ck, const char *what, const float *y, const float *want, int64_t n); /* bits */
void vr_check_guards(vr_check *ck, const char *what, const float *x, int64_t n);
void vr_check_fail(vr_check *ck, const char *format, ...) VR_PRINTF(2, 3);

static inline bool vr_check_failed(const vr_check *ck)
{
    return ck->failure[0] != '\0';
}

/* Limit of class REDUCE. */
static inline double vr_check_reduce(vr_fill fill, int k, double sum)
{
    const double any = (double)k + 2.0, normal = 8.0;
    return (fill == VR_FILL_NORMAL && normal < any ? normal : any) * VR_CHECK_U * sum + (double)(k + 2) * 0x1p-149;
}

#endif
