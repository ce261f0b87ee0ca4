/*
 * linear.cu - y = act(x W^T + bias) + residual.
 *
 *   up to 8 rows (decoding)  plain weights: a warp a row of W, which is read once, rows of x from the cache; sums in f32
 *                            quantised weights: strips.cu
 *   more                     W and x in one type (f32 or bf16) -> cuBLAS -> bias, activation, residual in one pass
 *
 * What products are computed in: vr_precision, as on the CPU (backend.h). Weights of another type than the product's are widened
 * or rounded piece by piece (PIECE_BYTES) into working memory; bf16 weights go to cuBLAS as they lie.
 * Not cuBLASLt: its epilogue could add the bias, and not more, as its GELU is the tanh form, which towers of erf and quick GELU
 * cannot take. By bytes it would save up to a third of a bf16 product's time where only a bias follows (q, k, v of a tower: 69 MB
 * of y read and written beside 24 GFLOP); its price is descriptors, a choice of algorithm kept for each shape and conditions of
 * alignment. To be measured on a GPU before it is written.
 * Trap:  y may be the residual: cuBLAS then writes to working memory, or adds where nothing stands between product and residual.
 */
#include "kernels/cuda/cuda.h"

#define PIECE_BYTES ((size_t)64 << 20)
#define ROW_WARPS   4 /* rows of W a block: enough blocks for every processor at 4096 rows */

static __device__ void finish(float *y, float sum, int64_t at, int n, vr_cuda_epilogue end)
{
    const float x = vr_activate(sum + (end.bias ? end.bias[n] : 0.0f), end.act);
    y[at] = end.residual ? x + end.residual[at] : x;
}

static __device__ inline void eight(const float *x, float *to)
{
    const float4 a = *reinterpret_cast<const float4 *>(x), b = *reinterpret_cast<const float4 *>(x + 4);
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

template <typename W> static __device__ inline void eight(const W *x, float *to)
{
    const uint4 words = *reinterpret_cast<const uint4 *>(x);
    const unsigned word[4] = { words.x, words.y, words.z, words.w };
    for (int i = 0; i < 4; i++) {
        const W low = { (uint16_t)(word[i] & 0xffff) }, high = { (uint16_t)(word[i] >> 16) };
        to[2 * i] = vr_number(&low, 0), to[2 * i + 1] = vr_number(&high, 0);
    }
}

/* One warp a row of W, ROWS >= T rows of x. EIGHT: addresses are multiples of 16 bytes, K of 8. */
template <typename W, int ROWS, bool EIGHT>
static __global__ void few(float *y, const float *x, const W *w, int T, int K, int N, vr_cuda_epilogue end)
{
    const int lane = (int)threadIdx.x % VR_WARP, n = (int)blockIdx.x * ROW_WARPS + (int)threadIdx.x / VR_WARP;
    if (n >= N) return; /* a whole warp */
    const W *row = w + (int64_t)n * K;
    float sum[ROWS];
    for (int t = 0; t < ROWS; t++) sum[t] = 0;
    if (EIGHT) {
        for (int k = 8 * lane; k < K; k += 8 * VR_WARP) {
            float a[8], b[8];
            eight(row + k, a);
            for (int t = 0; t < ROWS; t++) {
                if (t >= T) break;
                eight(x + (int64_t)t * K + k, b);
                for (int i = 0; i < 8; i++) sum[t] += a[i] * b[i];
            }
        }
    } else {
        for (int k = lane; k < K; k += VR_WARP) {
            const float a = vr_number(row, k);
            for (int t = 0; t < ROWS; t++) {
                if (t < T) sum[t] += a * x[(int64_t)t * K + k];
            }
        }
    }
    for (int t = 0; t < ROWS; t++) {
        const float total = vr_warp_sum(sum[t]);
        if (lane == 0 && t < T) finish(y, total, (int64_t)t * N + n, n, end);
    }
}

template <typename W, int ROWS>
static void few_launch(vr_cuda *c, float *y, const float *x, const W *w, int T, int K, int N, vr_cuda_epilogue end)
{
    const bool aligned = K % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0 && reinterpret_cast<uintptr_t>(w) % 16 == 0;
    const unsigned blocks = (unsigned)((N + ROW_WARPS - 1) / ROW_WARPS);
    if (aligned)
        VR_LAUNCH(c, (few<W, ROWS, true>), blocks, ROW_WARPS * VR_WARP, 0, y, x, w, T, K, N, end);
    else
        VR_LAUNCH(c, (few<W, ROWS, false>), blocks, ROW_WARPS * VR_WARP, 0, y, x, w, T, K, N, end);
}

template <typename W>
static void few_rows(vr_cuda *c, float *y, const float *x, const void *w, int T, int K, int N, vr_cuda_epilogue end)
{
    const W *weights = static_cast<const W *>(w);
    if (T == 1)
        few_launch<W, 1>(c, y, x, weights, T, K, N, end);
    else if (T <= 4)
        few_launch<W, 4>(c, y, x, weights, T, K, N, end);
    else
        few_launch<W, VR_CUDA_FEW>(c, y, x, weights, T, K, N, end);
}

static __device__ inline void put(float *y, int64_t i, float x)
{
    y[i] = x;
}

static __device__ inline void put(vr_bf16 *y, int64_t i, float x)
{
    y[i] = vr_to_bf16(x);
}

template <typename X, typename Y> static __global__ void convert(Y *y, const X *x, int64_t n)
{
    VR_EACH(i, n) put(y, i, vr_number(x, i));
}

template <typename X, typename Y> static void convert_launch(vr_cuda *c, Y *y, const void *x, int64_t n)
{
    VR_LAUNCH(c, (convert<X, Y>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const X *>(x), n);
}

static __global__ void epilogue(float *y, const float *product, int N, int64_t n, vr_cuda_epilogue end)
{
    VR_EACH(i, n) finish(y, product[i], i, (int)(i % N), end);
}

/* Rows first .. first+n-1 of w as numbers of type Y: as they lie where they are that already. */
template <typename Y>
static const Y *rows_as(vr_cuda *c, const void *w, vr_dtype dtype, int first, int n, int K, bool as_they_lie)
{
    const size_t row = (size_t)K * (vr_is_strips(dtype) ? 0 : vr_dtype_bytes(dtype));
    const unsigned char *from = static_cast<const unsigned char *>(w) + (size_t)first * row;
    if (as_they_lie) return reinterpret_cast<const Y *>(from);
    Y *to = static_cast<Y *>(vr_cuda_space(c, VR_CUDA_WEIGHTS, (size_t)n * (size_t)K * sizeof(Y)));
    if (!to) return nullptr;
    const int64_t numbers = (int64_t)n * K;
    if (vr_is_strips(dtype))
        vr_cuda_strips_widen(c, to, w, dtype, first, n, K);
    else if (dtype == VR_DTYPE_F32)
        convert_launch<float>(c, to, from, numbers);
    else if (dtype == VR_DTYPE_F16)
        convert_launch<vr_f16>(c, to, from, numbers);
    else
        convert_launch<vr_bf16>(c, to, from, numbers);
    return to;
}

/* product [T, N] (+= where add) x W^T by cuBLAS, whose matrices are ours turned: columns of N */
template <typename Y>
static void product_by_blas(vr_cuda *c, float *product, const Y *x, const void *w, vr_dtype dtype, int T, int K, int N,
                            bool add)
{
    const cudaDataType_t type = sizeof(Y) == 2 ? CUDA_R_16BF : CUDA_R_32F;
    const bool as_they_lie = dtype == (sizeof(Y) == 2 ? VR_DTYPE_BF16 : VR_DTYPE_F32);
    const size_t fit = PIECE_BYTES / ((size_t)K * sizeof(Y)) / VR_STRIP_ROWS * VR_STRIP_ROWS;
    const int piece = as_they_lie || fit >= (size_t)N ? N : fit < VR_STRIP_ROWS ? VR_STRIP_ROWS : (int)fit;
    if (!vr_cuda_blas_begin(c)) return;
    const float one = 1.0f, beta = add ? 1.0f : 0.0f;
    for (int first = 0; first < N && vr_cuda_ready(c); first += piece) {
        const int n = N - first < piece ? N - first : piece;
        const Y *rows = rows_as<Y>(c, w, dtype, first, n, K, as_they_lie);
        if (!rows) return;
        if (c->base.plan) continue;
        vr_cuda_blas_ok(c, cublasGemmEx(c->blas, CUBLAS_OP_T, CUBLAS_OP_N, n, T, K, &one, rows, type, K, x, type, K, &beta,
                                        product + first, CUDA_R_32F, N, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    }
}

/* Whether products of many rows with such weights are those of bf16. */
static bool is_narrow(const vr_cuda *c, vr_dtype dtype)
{
    return c->bf16 && c->precision != VR_PRECISION_F32 && !(c->precision == VR_PRECISION_AUTO && dtype == VR_DTYPE_F32);
}

static void many_rows(vr_cuda *c, float *y, const float *x, const void *w, vr_dtype dtype, int T, int K, int N,
                      vr_cuda_epilogue end)
{
    const bool aliased = end.residual == y, add = aliased && end.act == VR_ACT_NONE; /* the product goes on top of y */
    const int64_t n = (int64_t)T * N;
    float *product = y;
    if (aliased && !add) product = static_cast<float *>(vr_cuda_space(c, VR_CUDA_PRODUCT, (size_t)n * sizeof(float)));
    if (!product) return;
    if (K == 0) {
        if (!add && !c->base.plan) vr_cuda_ok(c, cudaMemsetAsync(product, 0, (size_t)n * sizeof(float), c->stream), "product");
    } else if (is_narrow(c, dtype)) {
        vr_bf16 *rows = static_cast<vr_bf16 *>(vr_cuda_space(c, VR_CUDA_ROWS, (size_t)T * (size_t)K * sizeof *rows));
        if (!rows) return;
        convert_launch<float>(c, rows, x, (int64_t)T * K);
        product_by_blas(c, product, rows, w, dtype, T, K, N, add);
    } else {
        product_by_blas(c, product, x, w, dtype, T, K, N, add);
    }
    if (add) end.residual = nullptr;
    if (!vr_cuda_ready(c) || (product == y && !end.bias && !end.residual && end.act == VR_ACT_NONE)) return;
    VR_LAUNCH(c, epilogue, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, product, N, n, end);
}

void vr_cuda_linear(vr_backend *be, float *y, const float *x, const vr_matrix *m, const float *bias, vr_activation act,
                    const float *residual, int T)
{
    vr_cuda *c = vr_cuda_of(be);
    const int K = m->cols, N = m->rows;
    if (T == 0 || N == 0 || !vr_cuda_begin(c)) return;
    const void *w = vr_cuda_in_bytes(c, m->data, vr_matrix_bytes(m));
    x = vr_cuda_in(c, x, (int64_t)T * K), residual = vr_cuda_in(c, residual, (int64_t)T * N);
    y = vr_cuda_out(c, y, (int64_t)T * N);
    const vr_cuda_epilogue end = { vr_cuda_in(c, bias, N), residual, act };
    const bool bytes = vr_is_strips(m->dtype) && (c->precision == VR_PRECISION_INT8 || c->precision == VR_PRECISION_AUTO);
    if (!vr_cuda_ready(c)) return;
    if (T > VR_CUDA_FEW_QUERIES) c->narrow = is_narrow(c, m->dtype);
    if (c->base.plan && T > VR_CUDA_FEW && bytes) /* a prompt of many rows may end with a few */
        vr_cuda_strips_few(c, y, x, w, m->dtype, VR_CUDA_FEW, K, N, end);
    if (T <= VR_CUDA_FEW && bytes)
        vr_cuda_strips_few(c, y, x, w, m->dtype, T, K, N, end);
    else if (T > VR_CUDA_FEW || vr_is_strips(m->dtype))
        many_rows(c, y, x, w, m->dtype, T, K, N, end);
    else if (m->dtype == VR_DTYPE_F32)
        few_rows<float>(c, y, x, w, T, K, N, end);
    else if (m->dtype == VR_DTYPE_F16)
        few_rows<vr_f16>(c, y, x, w, T, K, N, end);
    else
        few_rows<vr_bf16>(c, y, x, w, T, K, N, end);
    vr_cuda_end(c);
}
