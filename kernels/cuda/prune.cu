/*
 * prune.cu - rows that say something new, and the k largest or smallest of a row.
 *
 *   warp (window, place): the place's rows of all frames, each read once -> similarity -> mask (threshold)
 *   block frame:  (n_least: mask of the least)  ->  count  ->  [one block: offsets, n_kept]  ->  list of rows  ->  rows
 *
 * Nothing waits for the host. The anchor's row is read again for every frame, from the first-level cache: 7 KB at 3584 bf16.
 * Radix selection on the float's bits in order, 8 bits a pass, as on the CPU (kernels/cpu/top_k.c): k does not matter.
 * Trap:  -0 equals 0 and has other bits; NaN gets the last place, and in prune none at all.
 */
#include "kernels/cuda/cuda.h"

#define WARPS  4   /* places a block */
#define SELECT 256 /* threads of a selection: one a bin of 8 bits */
#define LAST   0xffffffffu

/* Products of a with b, b with b, a with a; known to the whole warp. */
template <typename X> static __device__ inline void three(const X *a, const X *b, int D, float *ab, float *bb, float *aa)
{
    const int lane = (int)threadIdx.x % VR_WARP;
    float sum_ab = 0, sum_bb = 0, sum_aa = 0;
    for (int d = lane; d < D; d += VR_WARP) {
        const float u = vr_number(a, d), v = vr_number(b, d);
        sum_ab += u * v, sum_bb += v * v, sum_aa += u * u;
    }
    *ab = vr_warp_sum(sum_ab), *bb = vr_warp_sum(sum_bb), *aa = vr_warp_sum(sum_aa);
}

/* The same from multiples of 16 bytes, D of 8: two numbers of 16 bits a word. */
template <typename X> static __device__ inline void three_pairs(const X *a, const X *b, int D, float *ab, float *bb, float *aa)
{
    const int lane = (int)threadIdx.x % VR_WARP;
    const uint4 *p = reinterpret_cast<const uint4 *>(a), *q = reinterpret_cast<const uint4 *>(b);
    float sum_ab = 0, sum_bb = 0, sum_aa = 0;
    for (int d = lane; d < D / 8; d += VR_WARP) {
        const uint4 x = p[d], y = q[d];
        const unsigned u[4] = { x.x, x.y, x.z, x.w }, v[4] = { y.x, y.y, y.z, y.w };
        for (int i = 0; i < 4; i++) {
            const X u0 = { (uint16_t)(u[i] & 0xffff) }, u1 = { (uint16_t)(u[i] >> 16) };
            const X v0 = { (uint16_t)(v[i] & 0xffff) }, v1 = { (uint16_t)(v[i] >> 16) };
            const float a0 = vr_number(&u0, 0), a1 = vr_number(&u1, 0), b0 = vr_number(&v0, 0), b1 = vr_number(&v1, 0);
            sum_ab += a0 * b0 + a1 * b1, sum_bb += b0 * b0 + b1 * b1, sum_aa += a0 * a0 + a1 * a1;
        }
    }
    *ab = vr_warp_sum(sum_ab), *bb = vr_warp_sum(sum_bb), *aa = vr_warp_sum(sum_aa);
}

static __device__ inline void three_pairs(const float *a, const float *b, int D, float *ab, float *bb, float *aa)
{
    three(a, b, D, ab, bb, aa);
}

static __device__ inline bool compared(vr_prune_anchor anchor, int in_window)
{
    return anchor == VR_PRUNE_PAIRS ? in_window % 2 == 1 : in_window > 0;
}

template <typename X, bool EIGHT> static __global__ void similarities(vr_prune p, int n_windows)
{
    const int lane = (int)threadIdx.x % VR_WARP;
    const int64_t task = (int64_t)blockIdx.x * WARPS + threadIdx.x / VR_WARP;
    if (task >= (int64_t)n_windows * p.N) return; /* a whole warp */
    const int place = (int)(task % p.N), first = (int)(task / p.N) * p.window;
    const int m = p.n_frames - first < p.window ? p.n_frames - first : p.window;
    const X *x = static_cast<const X *>(p.x);
    for (int f = 0; f < m; f++) {
        const int64_t row = (int64_t)(first + f) * p.N + place;
        float s = 0;
        bool keep = true;
        if (compared(p.anchor, f)) {
            const int64_t anchor = (int64_t)(first + (p.anchor == VR_PRUNE_FIRST ? 0 : f - 1)) * p.N + place;
            float ab, bb, aa;
            if (EIGHT)
                three_pairs(x + anchor * p.D, x + row * p.D, p.D, &ab, &bb, &aa);
            else
                three(x + anchor * p.D, x + row * p.D, p.D, &ab, &bb, &aa);
            const float a = sqrtf(aa), b = sqrtf(bb); /* NaN is smaller than nothing here: it stays */
            s = ab / ((a < 1e-8f ? 1e-8f : a) * (b < 1e-8f ? 1e-8f : b));
            keep = s < p.threshold;
        }
        if (lane == 0) p.similarity[row] = s, p.mask[row] = keep ? 1 : 0;
    }
}

/* --- order --------------------------------------------------------------------------------------------------------------- */

static __device__ inline uint32_t key_of(float x, uint32_t flip)
{
    const uint32_t bits = __float_as_uint(x + 0.0f), negative = 0u - (bits >> 31); /* -0 becomes 0 */
    const uint32_t key = (bits ^ (negative | 0x80000000u)) ^ flip;
    return x == x ? key : LAST;
}

/* How many threads of the block before this one say yes; *total: of all. room [33] shared. */
static __device__ int block_rank(bool yes, int *total, int *room)
{
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP, n_warps = (int)blockDim.x / VR_WARP;
    const unsigned votes = __ballot_sync(VR_ALL, yes);
    if (lane == 0) room[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << lane) - 1)), all = 0;
    for (int i = 0; i < n_warps; i++) {
        if (i < warp) before += room[i];
        all += room[i];
    }
    __syncthreads();
    *total = all;
    return before;
}

/* Key of the k-th of n (1 <= k <= n), and how many of the k have just that key. bins [256] shared. */
static __device__ uint32_t key_select(const float *x, int n, int k, uint32_t flip, int *n_equal, int *bins)
{
    uint32_t prefix = 0, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        bins[threadIdx.x] = 0;
        __syncthreads();
        for (int i = (int)threadIdx.x; i < n; i += SELECT) {
            const uint32_t key = key_of(x[i], flip);
            if ((key & known) == prefix) atomicAdd(&bins[key >> shift & 255], 1);
        }
        __syncthreads();
        uint32_t bin = 0;
        while (k > bins[bin]) k -= bins[bin++];
        __syncthreads();
        prefix |= bin << shift;
        known |= 255u << shift;
    }
    *n_equal = k;
    return prefix;
}

/* mask of the n_least least of every compared frame: one block a frame */
static __global__ void least(vr_prune p)
{
    VR_SHARED(int, bins, SELECT);
    VR_SHARED(int, room, VR_WARP + 1);
    const int f = (int)blockIdx.x;
    if (!compared(p.anchor, f % p.window)) return; /* the whole block */
    const float *s = p.similarity + (int64_t)f * p.N;
    int n_equal, equal_before = 0, all;
    const uint32_t last = key_select(s, p.N, p.n_least < p.N ? p.n_least : p.N, 0, &n_equal, (int *)bins);
    for (int first = 0; first < p.N; first += SELECT) {
        const int i = first + (int)threadIdx.x;
        const uint32_t key = i < p.N ? key_of(s[i], 0) : LAST;
        const bool equal = i < p.N && key == last;
        const int rank = equal_before + block_rank(equal, &all, (int *)room);
        equal_before += all;
        if (i < p.N) p.mask[(int64_t)f * p.N + i] = s[i] == s[i] && (key < last || (equal && rank < n_equal)) ? 1 : 0;
    }
}

static __global__ void counts(vr_prune p, int32_t *count)
{
    VR_SHARED(int, room, VR_WARP);
    int kept = 0;
    for (int i = (int)threadIdx.x; i < p.N; i += (int)blockDim.x) kept += p.mask[(int64_t)blockIdx.x * p.N + i];
    kept = vr_block_sum(kept, (int *)room);
    if (threadIdx.x == 0) count[blockIdx.x] = kept;
}

/* count of every frame -> rows kept before it; one warp */
static __global__ void offsets(vr_prune p, int32_t *count)
{
    const int lane = (int)threadIdx.x;
    int32_t before = 0;
    for (int first = 0; first < p.n_frames; first += VR_WARP) {
        const int32_t own = first + lane < p.n_frames ? count[first + lane] : 0;
        int32_t sum = own;
        for (int step = 1; step < VR_WARP; step *= 2) {
            const int32_t left = __shfl_up_sync(VR_ALL, sum, step);
            if (lane >= step) sum += left;
        }
        if (first + lane < p.n_frames) count[first + lane] = before + sum - own;
        before += __shfl_sync(VR_ALL, sum, VR_WARP - 1);
    }
    if (lane == 0) *p.n_kept = before;
}

static __global__ void list(vr_prune p, const int32_t *offset)
{
    VR_SHARED(int, room, VR_WARP + 1);
    const int64_t frame = (int64_t)blockIdx.x * p.N;
    int at = offset[blockIdx.x], all;
    for (int first = 0; first < p.N; first += (int)blockDim.x) {
        const int i = first + (int)threadIdx.x;
        const bool kept = i < p.N && p.mask[frame + i];
        const int rank = block_rank(kept, &all, (int *)room);
        if (kept) p.indices[at + rank] = (int32_t)(frame + i);
        at += all;
    }
}

/* Kept rows one behind the other, in words of W; a warp a row. How many there are is known to the device alone. */
template <typename W> static __global__ void gather(vr_prune p, int64_t words)
{
    const int lane = (int)threadIdx.x % VR_WARP;
    const int64_t step = (int64_t)gridDim.x * WARPS;
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / VR_WARP; i < *p.n_kept; i += step) {
        const W *from = static_cast<const W *>(p.x) + p.indices[i] * words;
        W *to = static_cast<W *>(p.rows) + i * words;
        for (int64_t k = lane; k < words; k += VR_WARP) to[k] = from[k];
    }
}

template <typename X> static void similarities_launch(vr_cuda *c, const vr_prune *p, bool aligned)
{
    const int n_windows = (p->n_frames + p->window - 1) / p->window;
    const unsigned blocks = (unsigned)(((int64_t)n_windows * p->N + WARPS - 1) / WARPS);
    if (aligned)
        VR_LAUNCH(c, (similarities<X, true>), blocks, WARPS * VR_WARP, 0, *p, n_windows);
    else
        VR_LAUNCH(c, (similarities<X, false>), blocks, WARPS * VR_WARP, 0, *p, n_windows);
}

static void run(vr_cuda *c, const vr_prune *p)
{
    const size_t row_bytes = (size_t)p->D * vr_dtype_bytes(p->dtype);
    const bool aligned = p->D % 8 == 0 && reinterpret_cast<uintptr_t>(p->x) % 16 == 0;
    int32_t *count = static_cast<int32_t *>(vr_cuda_space(c, VR_CUDA_SUMS, (size_t)p->n_frames * sizeof *count));
    if (!count) return;
    if (p->dtype == VR_DTYPE_F32)
        similarities_launch<float>(c, p, false);
    else if (p->dtype == VR_DTYPE_F16)
        similarities_launch<vr_f16>(c, p, aligned);
    else
        similarities_launch<vr_bf16>(c, p, aligned);
    if (p->n_least > 0) VR_LAUNCH(c, least, (unsigned)p->n_frames, SELECT, 0, *p);
    VR_LAUNCH(c, counts, (unsigned)p->n_frames, vr_cuda_row_threads(p->N), 0, *p, count);
    VR_LAUNCH(c, offsets, 1u, VR_WARP, 0, *p, count);
    VR_LAUNCH(c, list, (unsigned)p->n_frames, vr_cuda_row_threads(p->N), 0, *p, count);
    if (!p->rows || row_bytes == 0) return;
    const int64_t most = ((int64_t)p->n_frames * p->N + WARPS - 1) / WARPS;
    const unsigned blocks = (unsigned)(most < 16 * c->n_processors ? most : 16 * c->n_processors);
    if (row_bytes % 16 == 0 && (reinterpret_cast<uintptr_t>(p->x) | reinterpret_cast<uintptr_t>(p->rows)) % 16 == 0)
        VR_LAUNCH(c, (gather<uint4>), blocks, WARPS * VR_WARP, 0, *p, (int64_t)(row_bytes / 16));
    else
        VR_LAUNCH(c, (gather<uint16_t>), blocks, WARPS * VR_WARP, 0, *p, (int64_t)(row_bytes / 2));
}

void vr_cuda_prune(vr_backend *be, const vr_prune *given)
{
    vr_cuda *c = vr_cuda_of(be);
    vr_prune p = *given;
    const int64_t n = (int64_t)p.n_frames * p.N;
    const size_t x_bytes = (size_t)n * (size_t)p.D * vr_dtype_bytes(p.dtype);
    if (!vr_cuda_begin(c)) return;
    if (p.window > p.n_frames) p.window = p.n_frames > 0 ? p.n_frames : 1;
    p.n_kept = vr_cuda_out(c, p.n_kept, 1);
    p.x = vr_cuda_in_bytes(c, p.x, x_bytes), p.rows = vr_cuda_out_bytes(c, p.rows, x_bytes);
    p.similarity = vr_cuda_out(c, p.similarity, n), p.mask = vr_cuda_out(c, p.mask, n),
    p.indices = vr_cuda_out(c, p.indices, n);
    if (vr_cuda_ready(c) && n == 0 && !c->base.plan)
        vr_cuda_ok(c, cudaMemsetAsync(p.n_kept, 0, sizeof *p.n_kept, c->stream), "prune");
    if (vr_cuda_ready(c) && n > 0) run(c, &p);
    vr_cuda_end(c);
}

/* --- top_k --------------------------------------------------------------------------------------------------------------- */

static __global__ void top_k(int32_t *ids, const float *x, int n, int k, uint32_t flip)
{
    VR_SHARED(int, bins, SELECT);
    VR_SHARED(int, room, VR_WARP + 1);
    const float *row = x + (int64_t)blockIdx.x * n;
    int32_t *to = ids + (int64_t)blockIdx.x * k;
    int n_equal, equal_before = 0, at = 0, all;
    const uint32_t last = key_select(row, n, k, flip, &n_equal, (int *)bins);
    for (int first = 0; first < n; first += SELECT) {
        const int i = first + (int)threadIdx.x;
        const uint32_t key = i < n ? key_of(row[i], flip) : LAST;
        const bool equal = i < n && key == last;
        const int rank = equal_before + block_rank(equal, &all, (int *)room);
        equal_before += all;
        const bool taken = i < n && (key < last || (equal && rank < n_equal));
        const int place = at + block_rank(taken, &all, (int *)room);
        at += all;
        if (taken) to[place] = i;
    }
}

void vr_cuda_top_k(vr_backend *be, int32_t *ids, const float *x, int T, int n, int k, bool least_first)
{
    vr_cuda *c = vr_cuda_of(be);
    if (k > n) k = n;
    if (T == 0 || k <= 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (int64_t)T * n), ids = vr_cuda_out(c, ids, (int64_t)T * k);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, top_k, (unsigned)T, SELECT, 0, ids, x, n, k, least_first ? 0u : LAST);
    vr_cuda_end(c);
}
