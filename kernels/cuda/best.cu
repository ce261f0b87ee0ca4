/*
 * best.cu - the k best numbers of a row, in their order: so that of the logits a few numbers reach the host and not all.
 *
 *   slices of the row -> each sorted in shared memory (bitonic) -> its k first -> slices of these -> ... -> one slice
 *
 * A number and its place are one key of 64 bits: no two are equal, so the order of threads decides nothing. 152064 logits and
 * k = 50 are three launches. Softmax and the drawing stay on the host, in double and in one fixed order (decode/sample.c).
 */
#include "kernels/cuda/cuda.h"

#ifdef VR_TEST_TINY
#define SLICE 128 /* several rounds for small rows */
#else
#define SLICE 1024 /* 8 KB of shared memory, 55 steps */
#endif
#define SORTERS 256 /* threads: two pairs each */
static_assert(2 * VR_BEST_MOST <= SLICE, "each round leaves fewer numbers");

/* Ascending keys: numbers from the largest on, of equals the lower place, then NaN. */
static __device__ inline uint64_t key_of(float x, int64_t place)
{
    const uint32_t bits = __float_as_uint(x + 0.0f), negative = 0u - (bits >> 31); /* -0 becomes 0 */
    const uint32_t order = x == x ? ~(bits ^ (negative | 0x80000000u)) : 0xffffffffu;
    return (uint64_t)order << 32 | (uint64_t)place;
}

static __device__ inline uint32_t place_of(uint64_t key)
{
    return (uint32_t)key;
}

/* x: the row, or NULL: keys of the round before. One slice a block; of a single one the k first are what was asked for. */
static __global__ void best_round(uint64_t *out, int32_t *ids, float *values, const float *row, const float *x,
                                  const uint64_t *keys, int64_t n, int k)
{
    VR_SHARED(uint64_t, sorted, SLICE);
    const int64_t first = (int64_t)blockIdx.x * SLICE;
    for (int i = (int)threadIdx.x; i < SLICE; i += SORTERS)
        sorted[i] = first + i >= n ? ~(uint64_t)0 : x ? key_of(x[first + i], first + i) : keys[first + i];
    __syncthreads();
    for (int size = 2; size <= SLICE; size *= 2) {
        for (int stride = size / 2; stride > 0; stride /= 2) {
            for (int p = (int)threadIdx.x; p < SLICE / 2; p += SORTERS) {
                const int i = 2 * p - (p & (stride - 1)), j = i + stride;
                const uint64_t a = sorted[i], b = sorted[j];
                if ((a > b) == ((i & size) == 0)) sorted[i] = b, sorted[j] = a;
            }
            __syncthreads();
        }
    }
    for (int i = (int)threadIdx.x; i < k; i += SORTERS) {
        const uint64_t key = sorted[i];
        if (gridDim.x > 1)
            out[(int64_t)blockIdx.x * k + i] = key;
        else
            ids[i] = (int32_t)place_of(key), values[i] = row[place_of(key)];
    }
}

static void rounds(vr_cuda *c, int32_t *ids, float *values, const float *row, int n, int k)
{
    const int64_t slices = ((int64_t)n + SLICE - 1) / SLICE;
    /* two halves that take turns; the second round writes less than the first */
    uint64_t *keys = static_cast<uint64_t *>(vr_cuda_space(c, VR_CUDA_SUMS, (size_t)(2 * slices * k) * sizeof *keys));
    const float *x = row;
    int64_t left = n;
    if (!keys) return;
    for (int from = 1;; from = 1 - from, x = nullptr) {
        const int64_t blocks = (left + SLICE - 1) / SLICE;
        VR_LAUNCH(c, best_round, (unsigned)blocks, SORTERS, 0, keys + (1 - from) * slices * k, ids, values, row, x,
                  keys + from * slices * k, left, k);
        if (blocks == 1 || !vr_cuda_ready(c)) return;
        left = blocks * k;
    }
}

void vr_cuda_best(vr_backend *be, int32_t *ids, float *values, const float *x, int n, int k)
{
    vr_cuda *c = vr_cuda_of(be);
    if (n == 0 || k <= 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, n), ids = vr_cuda_out(c, ids, k), values = vr_cuda_out(c, values, k);
    if (vr_cuda_ready(c)) rounds(c, ids, values, x, n, k);
    vr_cuda_end(c);
}
