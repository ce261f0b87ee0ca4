/*
 * gram.cu - all pairs of rows: products, squared distances, mean cosines of windows.
 *
 *   block (tile of 4 x 4 pairs, chunk of 16384 columns): threads stride the chunk, 16 sums each in f32 -> f64 over the block
 *   -> partial [chunk][tile][16] -> one thread a pair adds its chunks in order
 *
 * A row is read by T/4 tiles, from the second-level cache after the first. What a pair gets depends on its rows alone: the same
 * bits at every place and in either order.
 */
#include "kernels/cuda/cuda.h"

#define TILE    4
#define COLUMNS 16384 /* of a chunk; ops.h */
#define THREADS 128

struct pairs_job {
    const void *x, *y;
    int T, N, tiles_down, tiles_across;
    int64_t D;
    double *partial; /* [chunks, tiles, 16] */
    double *out;     /* [T, N] */
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
        const int64_t tile = (int64_t)(i / TILE) * j.tiles_across + k / TILE;
        double sum = 0;
        for (int64_t chunk = 0; chunk < n_chunks; chunk++)
            sum += j.partial[(chunk * n_tiles + tile) * TILE * TILE + i % TILE * TILE + k % TILE];
        j.out[at] = sum;
    }
}

/* out [T, N] of rows x [T, D] and y [N, D], all of the device */
template <typename X, bool DISTANCE>
static void pairs(vr_cuda *c, double *out, const void *x, int T, const void *y, int N, int64_t D)
{
    pairs_job j = { x, y, T, N, (T + TILE - 1) / TILE, (N + TILE - 1) / TILE, D, nullptr, out };
    const int64_t n_tiles = (int64_t)j.tiles_down * j.tiles_across, n_chunks = (D + COLUMNS - 1) / COLUMNS;
    j.partial =
        static_cast<double *>(vr_cuda_space(c, VR_CUDA_SUMS, (size_t)(n_tiles * n_chunks + 1) * TILE * TILE * sizeof(double)));
    if (!j.partial) return;
    if (n_chunks > 0) VR_LAUNCH(c, (pair_sums<X, DISTANCE>), (unsigned)(n_tiles * n_chunks), THREADS, 0, j);
    VR_LAUNCH(c, pair_totals, vr_cuda_blocks((int64_t)T * N), VR_CUDA_THREADS, 0, j, n_chunks);
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
        pairs<vr_f16, false>(c, g, x, T, x, T, D);
    else
        pairs<vr_bf16, false>(c, g, x, T, x, T, D);
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
