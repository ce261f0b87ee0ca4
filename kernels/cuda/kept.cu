/*
 * kept.cu - rows of keys and values as a cache keeps them (kernels/kept.h).
 *
 *   warp (position, head):  x [E] -> row;  of Q8 a lane a number of a group
 *
 * The same bits as kernels/ref/kept_c.c: the scale is rounded up, quotients are those of IEEE (nvcc without -use_fast_math).
 */
#include "kernels/cuda/cuda.h"

#define WARPS 4

struct keep_job {
    unsigned char *y;
    int64_t row, head; /* elements */
    const float *x;
    int T, H, E, scales, row_bytes; /* of one head */
};

static __device__ inline void keep_f16(const keep_job &j, unsigned char *row, const float *x, int lane)
{
    for (int e = lane; e < j.E; e += VR_WARP) reinterpret_cast<uint16_t *>(row)[e] = vr_to_f16(x[e]);
}

static __device__ inline void keep_q8(const keep_job &j, unsigned char *row, const float *x, int lane)
{
    const int n_groups = (j.E + VR_KEPT_GROUP - 1) / VR_KEPT_GROUP;
    static_assert(VR_KEPT_GROUP == VR_WARP, "a lane a number");
    for (int group = 0; group < n_groups; group++) {
        const int e = group * VR_KEPT_GROUP + lane;
        const float number = e < j.E ? x[e] : 0.0f;
        const bool finite = __all_sync(VR_ALL, fabsf(number) < INFINITY);
        const float exact = vr_warp_max(fabsf(number)) / 127;
        const uint16_t near = vr_to_f16(exact);
        const uint16_t scale = finite ? (uint16_t)(near + (vr_half_bits(near) < exact ? 1 : 0)) : (uint16_t)0x7e00;
        const float value = vr_half_bits(scale), inverse = value > 0 ? 1 / value : 0;
        if (e < j.E) row[e] = finite ? (unsigned char)(signed char)rintf(number * inverse) : 0;
        if (lane == 0) reinterpret_cast<uint16_t *>(row + j.scales)[group] = scale;
    }
    if (lane == 0 && j.scales > j.E) row[j.E] = 0;
    for (int i = j.scales + 2 * n_groups + lane; i < j.row_bytes; i += VR_WARP) row[i] = 0;
}

template <vr_kept TYPE> static __global__ void keep(keep_job j)
{
    const int lane = (int)threadIdx.x % VR_WARP;
    const int64_t at = (int64_t)blockIdx.x * WARPS + threadIdx.x / VR_WARP;
    if (at >= (int64_t)j.T * j.H) return; /* a whole warp */
    const float *x = j.x + at * j.E;
    const int64_t element = at / j.H * j.row + at % j.H * j.head;
    if (TYPE == VR_KEPT_F32)
        for (int e = lane; e < j.E; e += VR_WARP) reinterpret_cast<float *>(j.y)[element + e] = x[e];
    else if (TYPE == VR_KEPT_F16)
        keep_f16(j, j.y + 2 * element, x, lane);
    else
        keep_q8(j, j.y + element, x, lane);
}

void vr_cuda_keep_rows(vr_backend *be, vr_kept type, void *y, int64_t row, int64_t head, const float *x, int T, int H, int E)
{
    vr_cuda *c = vr_cuda_of(be);
    if (T == 0 || H == 0 || E == 0 || !vr_cuda_begin(c)) return;
    const int64_t n = (T - 1) * row + (H - 1) * head + vr_kept_row(type, E);
    keep_job j = { nullptr, row, head, vr_cuda_in(c, x, (int64_t)T * H * E), T, H, E, vr_kept_scales(E), vr_kept_row(type, E) };
    j.y = static_cast<unsigned char *>(vr_cuda_out_bytes(c, y, (size_t)n * vr_kept_bytes(type)));
    if (!vr_cuda_ready(c)) return;
    const unsigned blocks = (unsigned)(((int64_t)T * H + WARPS - 1) / WARPS);
    if (type == VR_KEPT_F32)
        VR_LAUNCH(c, keep<VR_KEPT_F32>, blocks, WARPS * VR_WARP, 0, j);
    else if (type == VR_KEPT_F16)
        VR_LAUNCH(c, keep<VR_KEPT_F16>, blocks, WARPS * VR_WARP, 0, j);
    else
        VR_LAUNCH(c, keep<VR_KEPT_Q8>, blocks, WARPS * VR_WARP, 0, j);
    vr_cuda_end(c);
}
