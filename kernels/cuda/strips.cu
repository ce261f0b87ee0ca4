/*
 * strips.cu - quantised weights (base/strips.h): products with few rows on bytes, and strips made plain for cuBLAS.
 *
 *   x [T,K] f32 -> signed bytes, one scale a row, sums of every 32 numbers        quantise
 *   a block a strip of 16 rows of W: warps take its blocks of 64 columns in turn; lane = (row, group of 32 columns):
 *     word of 4 weights x word of 4 numbers by dp4a -> whole number -> times scale of the group, in f32
 *   the two groups and the warps are added up in shared memory -> scale of the row -> epilogue
 *
 * A half warp reads 16 neighbouring words, a warp 128 bytes of one block: every byte of W once, in order.
 * Trap:  weights are stored with an excess. Q8: flipping the highest bit of number + 128 gives the signed byte. Q4: half bytes
 *        of number + 8 are multiplied as they are, and 8 times the sum of the group's numbers is taken off. Q4M has no excess,
 *        but a least value, which the sum of the group's numbers is multiplied by.
 */
#include "kernels/cuda/cuda.h"

#define STRIP_WARPS 4 /* of a block: 4096 rows are 256 strips, too few for a GPU with one warp each */

static __global__ void quantise(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int padded)
{
    const int t = (int)blockIdx.x, lane = (int)threadIdx.x;
    const float *row = x + (int64_t)t * K;
    float largest = 0;
    int finite = 1;
    for (int k = lane; k < K; k += VR_WARP) {
        const float size = fabsf(row[k]);
        finite &= size <= 3.402823466e38f;
        largest = fmaxf(largest, size);
    }
    largest = vr_warp_max(largest);
    finite = __all_sync(VR_ALL, finite);
    const bool some = finite && largest >= 7.8886090522101181e-31f; /* 2^-100: its inverse times 127 is no infinity */
    const float factor = some ? 127.0f / largest : 0.0f;
    for (int group = 0; group < padded / VR_STRIP_GROUP; group++) {
        const int k = group * VR_STRIP_GROUP + lane;
        const int whole = some && k < K ? (int)rintf(row[k] * factor) : 0;
        q[(int64_t)t * padded + k] = (int8_t)whole;
        const int sum = vr_warp_sum(whole);
        if (lane == 0) sums[(int64_t)t * (padded / VR_STRIP_GROUP) + group] = sum;
    }
    if (lane == 0) scale[t] = !finite ? NAN : some ? largest / 127.0f : 0.0f;
}

/* Sum of 32 products of row r of a block in group g with the group's numbers, which have the sum x_sum, times their scale. */
static __device__ inline float group_product(const vr_q8_block *b, int g, int r, const int *x, int x_sum, float scale)
{
    (void)x_sum;
    int sum = 0;
    for (int i = 0; i < 8; i++) {
        const unsigned w = *reinterpret_cast<const unsigned *>(b->q[g * 8 + i][r]) ^ 0x80808080u;
        sum = __dp4a((int)w, x[i], sum);
    }
    return (float)sum * scale;
}

/* Half bytes as they are: quads of 16 rows of a group. */
static __device__ inline int halves_product(const uint8_t (*q)[VR_STRIP_ROWS][4], int r, const int *x, int sum)
{
    for (int i = 0; i < 4; i++) {
        const unsigned w = *reinterpret_cast<const unsigned *>(q[i][r]);
        sum = __dp4a((int)(w & 0x0f0f0f0fu), x[i], sum);
        sum = __dp4a((int)(w >> 4 & 0x0f0f0f0fu), x[4 + i], sum);
    }
    return sum;
}

static __device__ inline float group_product(const vr_q4_block *b, int g, int r, const int *x, int x_sum, float scale)
{
    return (float)halves_product(b->q[g], r, x, -8 * x_sum) * scale;
}

static __device__ inline float group_product(const vr_q4m_block *b, int g, int r, const int *x, int x_sum, float scale)
{
    return (float)halves_product(b->q[g], r, x, 0) * scale + (float)x_sum * vr_half_bits(b->least[g][r]);
}

template <typename B, int ROWS>
static __global__ void strips_few(float *y, const int8_t *q, const int32_t *sums, const float *scale, const B *w, int T,
                                  int blocks, int N, vr_cuda_epilogue end)
{
    VR_SHARED(float, room, STRIP_WARPS *VR_WARP *ROWS);
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP, r = lane % VR_STRIP_ROWS,
              g = lane / VR_STRIP_ROWS;
    const B *strip = w + (int64_t)blockIdx.x * blocks;
    float sum[ROWS];
    for (int t = 0; t < ROWS; t++) sum[t] = 0;
    for (int at = warp; at < blocks; at += STRIP_WARPS) {
        const float of_group = vr_half_bits(strip[at].scale[g][r]);
        for (int t = 0; t < ROWS; t++) {
            if (t >= T) break;
            const int64_t group = ((int64_t)t * blocks + at) * 2 + g;
            const int *x = reinterpret_cast<const int *>(q + group * VR_STRIP_GROUP);
            sum[t] += group_product(&strip[at], g, r, x, sums[group], of_group);
        }
    }
    for (int t = 0; t < ROWS; t++) room[((int)threadIdx.x) * ROWS + t] = sum[t];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < VR_STRIP_ROWS * T; i += STRIP_WARPS * VR_WARP) {
        const int row = i % VR_STRIP_ROWS, t = i / VR_STRIP_ROWS, n = (int)blockIdx.x * VR_STRIP_ROWS + row;
        float total = 0;
        for (int part = 0; part < 2 * STRIP_WARPS; part++) total += room[(part * VR_STRIP_ROWS + row) * ROWS + t];
        if (n >= N) continue;
        const float x = vr_activate(total * scale[t] + (end.bias ? end.bias[n] : 0.0f), end.act);
        y[(int64_t)t * N + n] = end.residual ? x + end.residual[(int64_t)t * N + n] : x;
    }
}

template <typename B>
static void few_launch(vr_cuda *c, float *y, const int8_t *q, const int32_t *sums, const float *scale, const void *w, int T,
                       int blocks, int N, vr_cuda_epilogue end)
{
    const unsigned strips = (unsigned)((N + VR_STRIP_ROWS - 1) / VR_STRIP_ROWS);
    const B *strip = static_cast<const B *>(w);
    if (T == 1)
        VR_LAUNCH(c, (strips_few<B, 1>), strips, STRIP_WARPS * VR_WARP, 0, y, q, sums, scale, strip, T, blocks, N, end);
    else
        VR_LAUNCH(c, (strips_few<B, VR_CUDA_FEW>), strips, STRIP_WARPS * VR_WARP, 0, y, q, sums, scale, strip, T, blocks, N,
                  end);
}

void vr_cuda_strips_few(vr_cuda *c, float *y, const float *x, const void *w, vr_dtype dtype, int T, int K, int N,
                        vr_cuda_epilogue end)
{
    const int blocks = vr_strip_blocks(K), padded = blocks * VR_STRIP_COLUMNS;
    const size_t q_bytes = (size_t)T * (size_t)padded, sum_bytes = (size_t)T * (size_t)blocks * 2 * sizeof(int32_t);
    unsigned char *memory =
        static_cast<unsigned char *>(vr_cuda_space(c, VR_CUDA_ROWS, q_bytes + sum_bytes + (size_t)T * sizeof(float)));
    if (!memory) return;
    int8_t *q = reinterpret_cast<int8_t *>(memory);
    int32_t *sums = reinterpret_cast<int32_t *>(memory + q_bytes);
    float *scale = reinterpret_cast<float *>(memory + q_bytes + sum_bytes);
    VR_LAUNCH(c, quantise, (unsigned)T, VR_WARP, 0, q, sums, scale, x, K, padded);
    if (dtype == VR_DTYPE_Q8_R16)
        few_launch<vr_q8_block>(c, y, q, sums, scale, w, T, blocks, N, end);
    else if (dtype == VR_DTYPE_Q4_R16)
        few_launch<vr_q4_block>(c, y, q, sums, scale, w, T, blocks, N, end);
    else
        few_launch<vr_q4m_block>(c, y, q, sums, scale, w, T, blocks, N, end);
}

/* Number k of row r of a strip's block. */
static __device__ inline float strip_number(const vr_q8_block *b, int r, int k)
{
    const int whole = (int)b->q[k / 4][r][k % 4] - 128;
    return (float)whole * vr_half_bits(b->scale[k / VR_STRIP_GROUP][r]);
}

static __device__ inline float strip_number(const vr_q4_block *b, int r, int k)
{
    const int g = k / VR_STRIP_GROUP, i = k % VR_STRIP_GROUP, both = b->q[g][i % 16 / 4][r][i % 4];
    return (float)((i < 16 ? both & 15 : both >> 4) - 8) * vr_half_bits(b->scale[g][r]);
}

static __device__ inline float strip_number(const vr_q4m_block *b, int r, int k)
{
    const int g = k / VR_STRIP_GROUP, i = k % VR_STRIP_GROUP, both = b->q[g][i % 16 / 4][r][i % 4];
    return (float)(i < 16 ? both & 15 : both >> 4) * vr_half_bits(b->scale[g][r]) + vr_half_bits(b->least[g][r]);
}

template <typename B> static __device__ inline float number_of(const B *w, int64_t row, int k, int blocks)
{
    const B *block = w + row / VR_STRIP_ROWS * blocks + k / VR_STRIP_COLUMNS;
    return strip_number(block, (int)(row % VR_STRIP_ROWS), k % VR_STRIP_COLUMNS);
}

static __device__ inline void put(float *y, int64_t i, float x)
{
    y[i] = x;
}

static __device__ inline void put(vr_bf16 *y, int64_t i, float x)
{
    y[i] = vr_to_bf16(x);
}

template <typename B, typename Y> static __global__ void strips_widen(Y *y, const B *w, int first, int K, int blocks, int64_t n)
{
    VR_EACH(i, n) put(y, i, number_of(w, first + i / K, (int)(i % K), blocks));
}

template <typename B, typename Y> static void widen_launch(vr_cuda *c, Y *y, const void *w, int first, int K, int64_t n)
{
    VR_LAUNCH(c, (strips_widen<B, Y>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const B *>(w), first, K,
              vr_strip_blocks(K), n);
}

template <typename Y> void vr_cuda_strips_widen(vr_cuda *c, Y *y, const void *w, vr_dtype dtype, int first, int rows, int K)
{
    const int64_t n = (int64_t)rows * K;
    if (dtype == VR_DTYPE_Q8_R16)
        widen_launch<vr_q8_block>(c, y, w, first, K, n);
    else if (dtype == VR_DTYPE_Q4_R16)
        widen_launch<vr_q4_block>(c, y, w, first, K, n);
    else
        widen_launch<vr_q4m_block>(c, y, w, first, K, n);
}

template void vr_cuda_strips_widen<float>(vr_cuda *, float *, const void *, vr_dtype, int, int, int);
template void vr_cuda_strips_widen<vr_bf16>(vr_cuda *, vr_bf16 *, const void *, vr_dtype, int, int, int);

template <typename B>
static __global__ void strips_embed(float *y, const B *w, const int32_t *ids, int D, int blocks, int64_t n)
{
    VR_EACH(i, n) y[i] = number_of(w, ids[i / D], (int)(i % D), blocks);
}

template <typename B> static void embed_launch(vr_cuda *c, float *y, const void *w, const int32_t *ids, int D, int64_t n)
{
    VR_LAUNCH(c, (strips_embed<B>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const B *>(w), ids, D,
              vr_strip_blocks(D), n);
}

void vr_cuda_strips_embed(vr_cuda *c, float *y, const void *w, vr_dtype dtype, const int32_t *ids, int D, int64_t n)
{
    if (dtype == VR_DTYPE_Q8_R16)
        embed_launch<vr_q8_block>(c, y, w, ids, D, n);
    else if (dtype == VR_DTYPE_Q4_R16)
        embed_launch<vr_q4_block>(c, y, w, ids, D, n);
    else
        embed_launch<vr_q4m_block>(c, y, w, ids, D, n);
}
