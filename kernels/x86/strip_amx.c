/*
 * strip_amx.c - quantised rows times strips with AMX: strip_tiles_body.h on the tile instructions of bytes and AVX-512.
 *
 * Trap:  the kernel lets a process use tiles only after it has asked (kernels/cpu/cpuid.c).
 */
#if defined(__x86_64__)
#include "kernels/x86/tiles.h"
#include "kernels/x86/vec_avx512.h"

static inline vf vf_load_i32(const int32_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
}

#include "kernels/x86/strip_tiles_body.h"

DEFINE_STRIP_TILES(amx, avx512vnni)
#else
typedef int vr_no_strip_amx; /* an object without a declaration is not C */
#endif
