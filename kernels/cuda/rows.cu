/*
 * rows.cu - operations that touch every number once: gates, rope, sums and copies of rows, table look-ups, patches.
 *
 * One thread an element, neighbours beside each other: all are bound by memory.
 * Sums that decide something later (means, mixtures) are kept in f64, as level c does: the memory waits longer than the sums.
 */
#include "kernels/cuda/cuda.h"

static __global__ void gated(float *y, const float *gate, const float *up, vr_activation act, int64_t n)
{
    VR_EACH(i, n) y[i] = vr_activate(gate[i], act) * up[i];
}

void vr_cuda_gated(vr_backend *be, float *y, const float *gate, const float *up, vr_activation act, int64_t n)
{
    vr_cuda *c = vr_cuda_of(be);
    if (n == 0 || !vr_cuda_begin(c)) return;
    gate = vr_cuda_in(c, gate, n), up = vr_cuda_in(c, up, n), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, gated, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, gate, up, act, n);
    vr_cuda_end(c);
}

static __global__ void rope(float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int H, int half,
                            int64_t n)
{
    VR_EACH(i, n)
    {
        const int k = (int)(i % half), h = (int)(i / half % H);
        const int64_t t = i / half / H;
        float *head = x + t * row + (int64_t)h * 2 * half;
        float *first = head + (pairs == VR_ROPE_HALVES ? k : 2 * k),
              *second = head + (pairs == VR_ROPE_HALVES ? k + half : 2 * k + 1);
        const float u = *first, v = *second, co = cosine[t * half + k], si = sine[t * half + k];
        *first = u * co - v * si;
        *second = v * co + u * si;
    }
}

void vr_cuda_rope(vr_backend *be, float *x, int64_t row, const float *cosine, const float *sine, vr_rope_pairs pairs, int T,
                  int H, int E)
{
    vr_cuda *c = vr_cuda_of(be);
    const int half = E / 2;
    const int64_t n = (int64_t)T * H * half;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_out(c, x, (int64_t)(T - 1) * row + (int64_t)H * E);
    cosine = vr_cuda_in(c, cosine, (int64_t)T * half), sine = vr_cuda_in(c, sine, (int64_t)T * half);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, rope, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, x, row, cosine, sine, pairs, H, half, n);
    vr_cuda_end(c);
}

static __global__ void add_rows(float *y, const float *x, const float *b, int D, int repeat, int n_b, int64_t n)
{
    VR_EACH(i, n) y[i] = x[i] + b[i / D / repeat % n_b * D + i % D];
}

void vr_cuda_add_rows(vr_backend *be, float *y, const float *x, const float *b, int T, int D, int repeat, int n_b)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)T * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, n), b = vr_cuda_in(c, b, (int64_t)n_b * D), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, add_rows, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, x, b, D, repeat, n_b, n);
    vr_cuda_end(c);
}

static __global__ void scale_add(float *y, const float *residual, const float *x, const float *scale, int D, int64_t n)
{
    VR_EACH(i, n) y[i] = residual[i] + scale[i % D] * x[i];
}

void vr_cuda_scale_add(vr_backend *be, float *y, const float *residual, const float *x, const float *scale, int T, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)T * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    residual = vr_cuda_in(c, residual, n), x = vr_cuda_in(c, x, n), scale = vr_cuda_in(c, scale, D), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, scale_add, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, residual, x, scale, D, n);
    vr_cuda_end(c);
}

static __global__ void mean_rows(float *y, const float *x, int T, int D, int64_t n)
{
    VR_EACH(i, n)
    {
        const float *from = x + i / D * T * D + i % D;
        double sum = 0;
        for (int t = 0; t < T; t++) sum += (double)from[(int64_t)t * D];
        y[i] = (float)(sum / T);
    }
}

void vr_cuda_mean_rows(vr_backend *be, float *y, const float *x, int N, int T, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)N * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, n * T), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, mean_rows, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, x, T, D, n);
    vr_cuda_end(c);
}

static __global__ void mix_rows(float *y, const float *a, const float *x, int T, int D, int64_t n)
{
    VR_EACH(i, n)
    {
        const float *share = a + i / D * T, *from = x + i % D;
        double sum = 0;
        for (int t = 0; t < T; t++) { /* all threads of a row take the same way */
            if (share[t] != 0.0f) sum += (double)share[t] * (double)from[(int64_t)t * D];
        }
        y[i] = (float)sum;
    }
}

void vr_cuda_mix_rows(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)K * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    a = vr_cuda_in(c, a, (int64_t)K * T), x = vr_cuda_in(c, x, (int64_t)T * D), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, mix_rows, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, a, x, T, D, n);
    vr_cuda_end(c);
}

static __global__ void copy_rows(float *y, int64_t y_row, const float *x, int64_t x_row, int D, int64_t n)
{
    VR_EACH(i, n) y[i / D * y_row + i % D] = x[i / D * x_row + i % D];
}

void vr_cuda_copy_rows(vr_backend *be, float *y, int64_t y_row, const float *x, int64_t x_row, int T, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)T * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (T - 1) * x_row + D), y = vr_cuda_out(c, y, (T - 1) * y_row + D);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, copy_rows, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, y_row, x, x_row, D, n);
    vr_cuda_end(c);
}

static __global__ void gather_rows(float *y, const float *x, const int32_t *ids, int D, int64_t n)
{
    VR_EACH(i, n) y[i] = x[(int64_t)ids[i / D] * D + i % D];
}

/* Rows of x that are not of the device: as many as the list asks for. ids of the host then. */
static int64_t rows_named(const int32_t *ids, int T)
{
    int most = 0;
    for (int t = 0; t < T; t++) most = ids[t] > most ? ids[t] : most;
    return (int64_t)most + 1;
}

void vr_cuda_gather_rows(vr_backend *be, float *y, const float *x, const int32_t *ids, int T, int D)
{
    vr_cuda *c = vr_cuda_of(be);
    const int64_t n = (int64_t)T * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    const int64_t n_x = c->base.plan || vr_cuda_on_device(x) ? 0 : rows_named(ids, T) * D;
    x = vr_cuda_in(c, x, n_x), ids = vr_cuda_in(c, ids, T), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c)) VR_LAUNCH(c, gather_rows, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, x, ids, D, n);
    vr_cuda_end(c);
}

template <typename W> static __global__ void embed_rows(float *y, const W *w, const int32_t *ids, int D, int64_t n)
{
    VR_EACH(i, n) y[i] = vr_number(w, (int64_t)ids[i / D] * D + i % D);
}

void vr_cuda_embed_rows(vr_backend *be, float *y, const vr_matrix *m, const int32_t *ids, int T)
{
    vr_cuda *c = vr_cuda_of(be);
    const int D = m->cols;
    const int64_t n = (int64_t)T * D;
    if (n == 0 || !vr_cuda_begin(c)) return;
    const void *w = vr_cuda_in_bytes(c, m->data, vr_matrix_bytes(m));
    ids = vr_cuda_in(c, ids, T), y = vr_cuda_out(c, y, n);
    if (!vr_cuda_ready(c)) return;
    if (vr_is_strips(m->dtype))
        vr_cuda_strips_embed(c, y, w, m->dtype, ids, D, n);
    else if (m->dtype == VR_DTYPE_F32)
        VR_LAUNCH(c, (embed_rows<float>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const float *>(w), ids, D, n);
    else if (m->dtype == VR_DTYPE_F16)
        VR_LAUNCH(c, (embed_rows<vr_f16>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const vr_f16 *>(w), ids, D, n);
    else
        VR_LAUNCH(c, (embed_rows<vr_bf16>), vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, static_cast<const vr_bf16 *>(w), ids, D,
                  n);
    vr_cuda_end(c);
}

/* y[n, py*cols + px, (ch*side + i)*side + j] */
static __global__ void patches(float *y, const float *x, int C, int height, int width, int side, int stride, int rows, int cols,
                               int64_t n)
{
    VR_EACH(at, n)
    {
        const int j = (int)(at % side), i = (int)(at / side % side);
        const int64_t plane = at / side / side, patch = plane / C;
        const int ch = (int)(plane % C), px = (int)(patch % cols), py = (int)(patch / cols % rows);
        const int64_t image = patch / cols / rows;
        y[at] = x[((image * C + ch) * height + (int64_t)py * stride + i) * width + (int64_t)px * stride + j];
    }
}

void vr_cuda_patches(vr_backend *be, float *y, const float *x, int N, int C, int height, int width, int side, int stride)
{
    vr_cuda *c = vr_cuda_of(be);
    const int rows = (height - side) / stride + 1, cols = (width - side) / stride + 1;
    const int64_t n = (int64_t)N * rows * cols * C * side * side;
    if (n == 0 || !vr_cuda_begin(c)) return;
    x = vr_cuda_in(c, x, (int64_t)N * C * height * width), y = vr_cuda_out(c, y, n);
    if (vr_cuda_ready(c))
        VR_LAUNCH(c, patches, vr_cuda_blocks(n), VR_CUDA_THREADS, 0, y, x, C, height, width, side, stride, rows, cols, n);
    vr_cuda_end(c);
}
