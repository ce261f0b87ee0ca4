/*
 * gather_body.h - rows in a new order, past the caches, for the vectors of a vec_*.h included before.
 *
 *   x [*][row], ids [n] -> y [n][row], streaming stores of whole vectors
 *
 * A plain store first reads the line that it is about to overwrite, and pushes others out; a streaming store does neither.
 * Trap:  streaming stores are ordered with nothing: the fence at the end is what makes them visible to the next lock.
 */
#include <stdint.h>
#include <string.h>

#include "kernels/dsp.h"
#include "kernels/vec/unroll.h"

VR_INLINE void stream_row(unsigned char *y, const unsigned char *x, size_t n)
{
    const size_t vector = VF * sizeof(float), head = (size_t)(-(uintptr_t)y & (vector - 1));
    size_t i = head < n ? head : n;
    memcpy(y, x, i);
    for (; i + vector <= n; i += vector) vf_stream(y + i, x + i);
    memcpy(y + i, x + i, n - i);
}

void VR_LEVEL(vr_gather)(void *y, const void *x, const int32_t *ids, int n, size_t row_bytes)
{
    for (int i = 0; i < n; i++)
        stream_row((unsigned char *)y + (size_t)i * row_bytes, (const unsigned char *)x + (size_t)ids[i] * row_bytes,
                   row_bytes);
    vf_stream_end();
}
