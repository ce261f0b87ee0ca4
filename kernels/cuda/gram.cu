/*
 * gram.cu - all pairs of rows: products, squared distances, mean cosines of windows.
 *
 *   block (tile of pairs, chunk of columns): sums in f32 -> f64 -> partial [chunk][tile][side side] -> one thread a pair adds its
 *   chunks in order
 *     f32, distances          4 x 4 pairs a block, threads stride 16384 columns
 *     16 bits, T <= 16        one tile of 16 x 16 by tensor cores (mma.h): a warp multiplies 32 columns of all rows with themselves,
 *                             from memory to registers: what a lane holds of A is what it needs of B; every number is read once
 *     16 bits, more rows      tiles of 64 x 64 by tensor cores, above the diagonal alone; columns staged in shared memory, the next
 *                             64 on their way while these are multiplied:
 *                               stage 0: rows [64][72] columns [64][72] | stage 1: the same; 8 numbers a row against bank conflicts
 *   Tensor cores want rows at multiples of 16 bytes, and bf16 capability 8.0; else as f32.
 *
 * What a pair gets depends on its rows alone: the same bits at every place and in either order.
 * Trap:  a tensor core cuts off what it adds (mma.h). Every product of depth 16 starts at zero, and 4 of them are added before they
 *        go to the sum: at most 64 roundings in 4096 columns, and the limit of class REDUCE stays that of f32.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/mma.h"

#define TILE    4
#define COLUMNS 16384 /* of a chunk; ops.h */
#define THREADS 128

#define NARROW_COLUMNS 4096 /* of a chunk for tensor cores: 216 blocks for a window of 16 x 884736 */
#define WINDOW         16   /* rows of its tile ... */
#define WINDOW_WARPS   8    /* ... and warps: a thread a pair at the end */
#define SIDE           64   /* rows of a tile of more */
#define SIDE_WARPS     4    /* 2 x 2, each 32 x 32 pairs */
#define DEPTH          64   /* columns of a stage */
#define STAGE_ROW      (DEPTH + 8)

struct pairs_job {
    const void *x, *y;
    int T, N, side, tiles_down, tiles_across;
    int64_t D, columns; /* of a chunk */
    bool upper;         /* tiles below the diagonal are not made, nor looked at: y is x */
    double *partial;    /* [chunks, tiles, side side] */
    double *out;        /* [T, N] */
};

template <typename X, bool DISTANCE> static __global__ void pair_sums(pairs_job j)
{
    VR_SHARED(double, room, VR_WARP);
    const X *x = static_cast<const X *>(j.x), *y = static_cast<const X *>(j.y);
    const unsigned n_tiles = (unsigned)j.tiles_down * (unsigned)j.tiles_across, tile = blockIdx.x % n_tiles,
                   chunk = blockIdx.x / n_tiles;
    const int r = (int)(tile / (unsigned)j.tiles_across) * TILE, c = (int)(tile % (unsigned)j.tiles_across) * TILE;
    const int64_t first = (int64_t)chunk * COLUMNS, end = first + COLUMNS < j.D ? first + COLUMNS : j.D;
    const X *a[TILE], *b[TILE];
    for (int i = 0; i < TILE; i++) { /* beyond the last row: the last once more */
        a[i] = x + (int64_t)(r + i < j.T ? r + i : j.T - 1) * j.D;
        b[i] = y + (int64_t)(c + i < j.N ? c + i : j.N - 1) * j.D;
    }
    float sum[TILE][TILE];
    for (int i = 0; i < TILE; i++)
        for (int k = 0; k < TILE; k++) sum[i][k] = 0;
    for (int64_t d = first + threadIdx.x; d < end; d += THREADS) {
        float u[TILE], v[TILE];
        for (int i = 0; i < TILE; i++) u[i] = vr_number(a[i], d), v[i] = vr_number(b[i], d);
        for (int i = 0; i < TILE; i++) {
            for (int k = 0; k < TILE; k++) {
                const float step = u[i] - v[k];
                sum[i][k] += DISTANCE ? step * step : u[i] * v[k];
            }
        }
    }
    for (int i = 0; i < TILE; i++) {
        for (int k = 0; k < TILE; k++) {
            const double total = vr_block_sum((double)sum[i][k], (double *)room);
            if (threadIdx.x == 0) j.partial[(int64_t)blockIdx.x * TILE * TILE + i * TILE + k] = total;
        }
    }
}

static __global__ void pair_totals(pairs_job j, int64_t n_chunks)
{
    const int64_t n = (int64_t)j.T * j.N, n_tiles = (int64_t)j.tiles_down * j.tiles_across;
    VR_EACH(at, n)
    {
        const int i = (int)(at / j.N), k = (int)(at % j.N);
        const int r = j.upper && i > k ? k : i, c = j.upper && i > k ? i : k;
        const int64_t tile = (int64_t)(r / j.side) * j.tiles_across + c / j.side;
        double sum = 0;
        for (int64_t chunk = 0; chunk < n_chunks; chunk++)
            sum += j.partial[((chunk * n_tiles + tile) * j.side + r % j.side) * j.side + c % j.side];
        j.out[at] = sum;
    }
}

/* --- tensor cores -------------------------------------------------------------------------------------------------------- */

/* sum[i] += of products of depth 16, each from zero: a [STEPS][4], b [STEPS][2] */
template <typename X, int STEPS>
static __device__ inline void add_products(float *sum, const uint32_t (*a)[4], const uint32_t (*b)[2])
{
    float total[4] = { 0, 0, 0, 0 };
    for (int step = 0; step < STEPS; step++) {
        float part[4] = { 0, 0, 0, 0 };
        vr_mma<X>(part, a[step], b[step]);
        for (int i = 0; i < 4; i++) total[i] += part[i];
    }
    for (int i = 0; i < 4; i++) sum[i] += total[i];
}

/* T <= 16. A lane reads 8 columns of two rows in one piece: words 0 and 1 stand for the first product's columns of a lane, 2 and 3
 * for the second's. Which column is which does not matter, as A and B are the same rows. */
template <typename X> static __global__ void __launch_bounds__(WINDOW_WARPS *VR_WARP) window_sums(pairs_job j)
{
    VR_SHARED(double, room, WINDOW_WARPS *WINDOW *WINDOW);
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP, row = lane / 4;
    const int64_t first = (int64_t)blockIdx.x * j.columns, end = first + j.columns < j.D ? first + j.columns : j.D;
    const X *x = static_cast<const X *>(j.x);
    float sum[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
    enum { AHEAD = 4 }; /* pieces on their way: 4 KB a warp */
    for (int64_t at = first + warp * 32; at < end; at += WINDOW_WARPS * 32 * AHEAD) {
        uint4 upper[AHEAD], lower[AHEAD];
        for (int i = 0; i < AHEAD; i++) {
            const int64_t d = at + i * WINDOW_WARPS * 32 + lane % 4 * 8;
            const uint4 none = { 0, 0, 0, 0 };
            upper[i] = d < end && row < j.T ? *reinterpret_cast<const uint4 *>(x + row * j.D + d) : none;
            lower[i] = d < end && row + 8 < j.T ? *reinterpret_cast<const uint4 *>(x + (row + 8) * j.D + d) : none;
        }
        for (int i = 0; i < AHEAD; i++) {
            const uint4 u = upper[i], l = lower[i];
            const uint32_t a[2][4] = { { u.x, l.x, u.y, l.y }, { u.z, l.z, u.w, l.w } };
            const uint32_t left[2][2] = { { u.x, u.y }, { u.z, u.w } }, right[2][2] = { { l.x, l.y }, { l.z, l.w } };
            add_products<X, 2>(sum[0], a, left);
            add_products<X, 2>(sum[1], a, right);
        }
    }
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 4; i++) {
            const int r = row + i / 2 * 8, c = side * 8 + lane % 4 * 2 + i % 2;
            room[(warp * WINDOW + r) * WINDOW + c] = (double)sum[side][i];
        }
    }
    __syncthreads();
    double total = 0;
    for (int w = 0; w < WINDOW_WARPS; w++) total += room[w * WINDOW * WINDOW + (int)threadIdx.x];
    j.partial[(int64_t)blockIdx.x * WINDOW * WINDOW + threadIdx.x] = total;
}

/* 64 rows from r on, columns d .. d + 63, on their way; beyond the last row the last once more, beyond end zeros. */
template <typename X> static __device__ inline void stage_rows(X *to, const pairs_job &j, int r, int64_t d, int64_t end)
{
    VR_ROLLED for (int i = (int)threadIdx.x; i < SIDE * (DEPTH / 8); i += SIDE_WARPS * VR_WARP)
    {
        const int row = r + i / (DEPTH / 8), col = i % (DEPTH / 8) * 8;
        X *at = to + i / (DEPTH / 8) * STAGE_ROW + col;
        const X *from = static_cast<const X *>(j.x) + (row < j.T ? row : j.T - 1) * j.D + d + col;
        if (d + col < end)
            vr_copy_async(at, from);
        else
            *reinterpret_cast<uint4 *>(at) = uint4{ 0, 0, 0, 0 };
    }
}

template <typename X> static __global__ void __launch_bounds__(SIDE_WARPS *VR_WARP, 2) tile_sums(pairs_job j)
{
    VR_SHARED(uint4, room, 2 * 2 * SIDE * STAGE_ROW / 8);
    X *const stages = reinterpret_cast<X *>(static_cast<uint4 *>(room));
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP;
    const unsigned n_tiles = (unsigned)j.tiles_down * (unsigned)j.tiles_across, tile = blockIdx.x % n_tiles;
    const int r = (int)(tile / (unsigned)j.tiles_across) * SIDE, c = (int)(tile % (unsigned)j.tiles_across) * SIDE;
    if (c < r) return; /* the whole block */
    const int64_t first = (int64_t)(blockIdx.x / n_tiles) * j.columns, end = first + j.columns < j.D ? first + j.columns : j.D;
    const int down = warp / 2 * 32, across = warp % 2 * 32;
    /* where a lane's row of four 8 x 8 matrices begins: of A upper, lower, and both again to the right; of B right after left */
    const int of_a = (down + lane % 16) * STAGE_ROW + lane / 16 * 8;
    const int of_b = (across + lane / 16 * 8 + lane % 8) * STAGE_ROW + lane / 8 % 2 * 8;
    float sum[2][4][4];
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 4; n++)
            for (int i = 0; i < 4; i++) sum[m][n][i] = 0;
    int stage = 0;
    stage_rows(stages, j, r, first, end);
    if (c != r) stage_rows(stages + SIDE * STAGE_ROW, j, c, first, end);
    vr_copy_group();
    for (int64_t d = first; d < end; d += DEPTH, stage = 1 - stage) {
        vr_copy_wait<0>();
        __syncthreads(); /* this stage is here, and nobody reads the other one any more */
        if (d + DEPTH < end) {
            X *const next = stages + (1 - stage) * 2 * SIDE * STAGE_ROW;
            stage_rows(next, j, r, d + DEPTH, end);
            if (c != r) stage_rows(next + SIDE * STAGE_ROW, j, c, d + DEPTH, end);
            vr_copy_group();
        }
        const X *rows = stages + stage * 2 * SIDE * STAGE_ROW, *cols = c == r ? rows : rows + SIDE * STAGE_ROW;
        uint32_t a[2][DEPTH / 16][4];
        for (int m = 0; m < 2; m++)
            for (int step = 0; step < DEPTH / 16; step++)
                vr_load_matrices(a[m][step], rows + of_a + m * 16 * STAGE_ROW + step * 16);
        for (int n = 0; n < 4; n += 2) {
            uint32_t b[2][DEPTH / 16][2];
            for (int step = 0; step < DEPTH / 16; step++) {
                uint32_t words[4];
                vr_load_matrices(words, cols + of_b + n * 8 * STAGE_ROW + step * 16);
                b[0][step][0] = words[0], b[0][step][1] = words[1], b[1][step][0] = words[2], b[1][step][1] = words[3];
            }
            for (int m = 0; m < 2; m++) {
                add_products<X, DEPTH / 16>(sum[m][n], a[m], b[0]);
                add_products<X, DEPTH / 16>(sum[m][n + 1], a[m], b[1]);
            }
        }
    }
    double *to = j.partial + (int64_t)blockIdx.x * SIDE * SIDE;
    for (int m = 0; m < 2; m++) {
        for (int n = 0; n < 4; n++) {
            for (int i = 0; i < 4; i++) {
                const int row = down + m * 16 + lane / 4 + i / 2 * 8, col = across + n * 8 + lane % 4 * 2 + i % 2;
                to[row * SIDE + col] = (double)sum[m][n][i];
            }
        }
    }
}

/* --- operations ---------------------------------------------------------------------------------------------------------- */

/* Tiles, chunks and their memory; chunks of all tiles, or -1 where there is no memory. */
static int64_t pairs_open(vr_cuda *c, pairs_job *j, int side, int64_t columns)
{
    j->side = side, j->columns = columns;
    j->tiles_down = (j->T + side - 1) / side, j->tiles_across = (j->N + side - 1) / side;
    const int64_t n_tiles = (int64_t)j->tiles_down * j->tiles_across, n_chunks = (j->D + columns - 1) / columns;
    j->partial = static_cast<double *>(
        vr_cuda_space(c, VR_CUDA_SUMS, (size_t)(n_tiles * n_chunks) * (size_t)side * (size_t)side * sizeof(double)));
    return j->partial ? n_chunks : -1;
}

static void pairs_close(vr_cuda *c, const pairs_job *j, int64_t n_chunks)
{
    VR_LAUNCH(c, pair_totals, vr_cuda_blocks((int64_t)j->T * j->N), VR_CUDA_THREADS, 0, *j, n_chunks);
}

static unsigned pairs_blocks(const pairs_job *j, int64_t n_chunks)
{
    return (unsigned)((int64_t)j->tiles_down * j->tiles_across * n_chunks);
}

/* out [T, N] of rows x [T, D] and y [N, D], all of the device */
template <typename X, bool DISTANCE>
static void pairs(vr_cuda *c, double *out, const void *x, int T, const void *y, int N, int64_t D)
{
    pairs_job j = pairs_job();
    j.x = x, j.y = y, j.T = T, j.N = N, j.D = D, j.out = out;
    const int64_t n_chunks = pairs_open(c, &j, TILE, COLUMNS);
    if (n_chunks < 0) return;
    if (n_chunks > 0) VR_LAUNCH(c, (pair_sums<X, DISTANCE>), pairs_blocks(&j, n_chunks), THREADS, 0, j);
    pairs_close(c, &j, n_chunks);
}

/* Products of rows of 16-bit numbers. there: the device has their products in tensor cores. */
template <typename X> static void narrow_products(vr_cuda *c, double *out, const void *x, int T, int64_t D, bool there)
{
    if (!there || D % 8 != 0 || reinterpret_cast<uintptr_t>(x) % 16 != 0) {
        pairs<X, false>(c, out, x, T, x, T, D);
        return;
    }
    pairs_job j = pairs_job();
    j.x = x, j.y = x, j.T = T, j.N = T, j.D = D, j.upper = true, j.out = out;
    const int64_t n_chunks = pairs_open(c, &j, T <= WINDOW ? WINDOW : SIDE, NARROW_COLUMNS);
    if (n_chunks < 0) return;
    if (n_chunks > 0 && T <= WINDOW) VR_LAUNCH(c, window_sums<X>, pairs_blocks(&j, n_chunks), WINDOW_WARPS * VR_WARP, 0, j);
    if (n_chunks > 0 && T > WINDOW) VR_LAUNCH(c, tile_sums<X>, pairs_blocks(&j, n_chunks), SIDE_WARPS * VR_WARP, 0, j);
    pairs_close(c, &j, n_chunks);
}

void vr_cuda_gram(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in_bytes(c, x, (size_t)T * (size_t)D * vr_dtype_bytes(dtype));
    g = vr_cuda_out(c, g, (int64_t)T * T);
    if (!vr_cuda_ready(c)) return;
    if (dtype == VR_DTYPE_F32)
        pairs<float, false>(c, g, x, T, x, T, D);
    else if (dtype == VR_DTYPE_F16)
        narrow_products<vr_f16>(c, g, x, T, D, true);
    else
        narrow_products<vr_bf16>(c, g, x, T, D, c->bf16);
    vr_cuda_end(c);
}

void vr_cuda_distances(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || N == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, T * D), y = vr_cuda_in(c, y, N * D), d = vr_cuda_out(c, d, (int64_t)T * N);
    if (vr_cuda_ready(c)) pairs<float, true>(c, d, x, T, y, N, D);
    vr_cuda_end(c);
}

/* g [m, m] -> mean cosine of each frame with all of the window */
static __global__ void mean_cosines(float *similarity, const double *g, int m)
{
    for (int i = (int)threadIdx.x; i < m; i += (int)blockDim.x) {
        double sum = 0;
        for (int k = 0; k < m; k++) sum += g[i * m + k] / (sqrt(g[i * m + i]) * sqrt(g[k * m + k]));
        similarity[i] = (float)(sum / m);
    }
}

void vr_cuda_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window)
{
    vr_cuda *c = vr_cuda_of(be);
    if (n_frames == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, n_frames * D), similarity = vr_cuda_out(c, similarity, n_frames);
    double *g = static_cast<double *>(vr_cuda_space(c, VR_CUDA_GRAM, (size_t)window * (size_t)window * sizeof *g));
    for (int first = 0; first < n_frames && vr_cuda_ready(c); first += window) {
        const int m = n_frames - first < window ? n_frames - first : window;
        pairs<float, false>(c, g, x + first * D, m, x + first * D, m, D);
        VR_LAUNCH(c, mean_cosines, 1u, 2 * VR_WARP, 0, similarity + first, g, m);
    }
    vr_cuda_end(c);
}
