/*
 * attention_tiles.cu - attention in bf16 by tensor cores (mma.h): q, k, p and v rounded, scores, softmax and sums in f32.
 *
 *   keys and values of any type -> bf16 rows of W numbers [batch, Hk, rows, W], zeros beyond the head and the last row; the extra
 *   key and value come first, where every query sees them
 *   block (batch, head, split of the keys, 64 queries), a warp 16 of them, q in registers:
 *     k tile is here | v tile starts | s = q k^T | softmax | v tile is here | next k tile starts | o += p v
 *   one split: out = o / sum;  several: (max, sum, o) of each -> merge (attention.cu)
 *
 *   shared: k [64][W + 8] v [64][W + 8] bf16: 8 numbers a row keep the eight rows of a matrix in different banks
 *   W: 32, 64, 80 (heads of 72), 96 (88), 128. The scores of C are the probabilities of A (mma.h): p never leaves the registers.
 *
 * The same rounding as kernels/cpu/attention.c in bf16, but for exp, here 2^x of scores in units of log 2, and for the extra key,
 * which is rounded here.
 * Ref:   arXiv:2205.14135, 2307.08691.
 * Trap:  o and the sums belong to the running maximum of a row; four lanes share a row and have the same maximum, but each its own
 *        part of the sum.
 */
#include "kernels/cuda/attend.h"
#include "kernels/cuda/mma.h"

#define WARPS   4
#define ROWS    (WARPS * VR_MMA_ROWS) /* queries of a block */
#define KEYS    64
#define PIECE   ((size_t)32 << 20) /* bytes of rows in bf16: as many batches at once */
#define LOG2_E  1.44269504f
#define LOG_E_2 0.693147181f

struct tiles_job {
    vr_attend_job attend;
    const vr_bf16 *k, *v; /* [batch, Hk, n_rows, W] */
    vr_bf16 *to_k, *to_v; /* the same, while they are made */
    int n_rows, n_extra;  /* n_rows: a multiple of KEYS */
};

/* A warp a row of k and of v; a lane two numbers. */
template <vr_kept TYPE> static __global__ void narrow_rows(tiles_job j, int W)
{
    const vr_attention *a = &j.attend.a;
    const int lane = (int)threadIdx.x % VR_WARP, E = a->head_dim;
    const int64_t at = (int64_t)blockIdx.x * WARPS + threadIdx.x / VR_WARP;
    if (at >= (int64_t)a->n_batch * a->n_kv_heads * j.n_rows) return; /* a whole warp */
    const int key = (int)(at % j.n_rows) - j.n_extra, h = (int)(at / j.n_rows % a->n_kv_heads),
              n = (int)(at / j.n_rows / a->n_kv_heads);
    for (int which = 0; which < 2; which++) {
        const float *extra = which ? a->extra_v : a->extra_k;
        const void *row = vr_kept_at<TYPE>(which ? &a->v : &a->k, n, key, h);
        uint32_t *to = reinterpret_cast<uint32_t *>((which ? j.to_v : j.to_k) + at * W);
        for (int pair = lane; pair < W / 2; pair += VR_WARP) {
            float numbers[2];
            for (int i = 0; i < 2; i++) {
                const int e = 2 * pair + i;
                numbers[i] = e >= E || key >= a->n_keys ? 0.0f
                             : key < 0                  ? extra[h * E + e]
                                                        : vr_kept_number<TYPE>(row, e, j.attend.scales);
            }
            to[pair] = vr_pair<vr_bf16>(numbers[0], numbers[1]);
        }
    }
}

/* Rows at .. at + 63 on their way to a tile. */
template <int W> static __device__ inline void tile_start(vr_bf16 *tile, const vr_bf16 *rows, int at)
{
    enum { PIECES = W / 8 };
    for (int i = (int)threadIdx.x; i < KEYS * PIECES; i += WARPS * VR_WARP)
        vr_copy_async(tile + i / PIECES * (W + 8) + i % PIECES * 8, rows + (int64_t)at * W + i * 8);
    vr_copy_group();
}

/* Number e of query t, 0 where there is none. */
static __device__ inline float query(const vr_attention *a, const float *q, int t, int e)
{
    return t < a->n_queries && e < a->head_dim ? q[t * a->q.row + e] : 0.0f;
}

/* Scores s of keys at .. of rows row and row + 8 -> probabilities; what was summed before shrinks by factor. see: keys of a row. */
static __device__ inline void softmax(float (*s)[4], float unit, const int *see, int at, float *max, float *sum, float *factor)
{
    const int pair = (int)threadIdx.x % 4 * 2;
    float most[2] = { max[0], max[1] };
    for (int n = 0; n < KEYS / 8; n++) {
        for (int i = 0; i < 4; i++) {
            s[n][i] = at + n * 8 + pair + i % 2 < see[i / 2] ? s[n][i] * unit : -INFINITY;
            most[i / 2] = fmaxf(most[i / 2], s[n][i]);
        }
    }
    float zero[2];
    for (int r = 0; r < 2; r++) {
        most[r] = fmaxf(most[r], __shfl_xor_sync(VR_ALL, most[r], 1));
        most[r] = fmaxf(most[r], __shfl_xor_sync(VR_ALL, most[r], 2));
        zero[r] = most[r] == -INFINITY ? 0.0f : most[r];
        factor[r] = exp2f(max[r] - zero[r]);
        max[r] = most[r];
        sum[r] *= factor[r];
    }
    for (int n = 0; n < KEYS / 8; n++) {
        for (int i = 0; i < 4; i++) {
            s[n][i] = exp2f(s[n][i] - zero[i / 2]);
            sum[i / 2] += s[n][i];
        }
    }
}

template <int W> static __global__ void __launch_bounds__(WARPS *VR_WARP) attend_tiles(tiles_job j)
{
    VR_SHARED(uint4, k_room, KEYS * (W + 8) / 8);
    VR_SHARED(uint4, v_room, KEYS * (W + 8) / 8);
    vr_bf16 *const k_tile = reinterpret_cast<vr_bf16 *>(static_cast<uint4 *>(k_room));
    vr_bf16 *const v_tile = reinterpret_cast<vr_bf16 *>(static_cast<uint4 *>(v_room));
    const vr_attend_job *job = &j.attend;
    const vr_attention *a = &job->a;
    const int lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP, pair = lane % 4 * 2;
    const int in_order = (int)(blockIdx.x % (unsigned)job->n_query_blocks),
              split = (int)(blockIdx.x / (unsigned)job->n_query_blocks % (unsigned)job->n_splits);
    const int block = job->n_query_blocks - 1 - in_order; /* where they are causal the last have most to do */
    const int head = (int)(blockIdx.x / (unsigned)job->n_query_blocks / (unsigned)job->n_splits), h = head % a->n_heads,
              n = head / a->n_heads, kv = h / (a->n_heads / a->n_kv_heads);
    const int64_t first_row = ((int64_t)n * a->n_kv_heads + kv) * j.n_rows;
    const vr_bf16 *keys = j.k + first_row * W, *values = j.v + first_row * W;
    const int t = block * ROWS + warp * VR_MMA_ROWS + lane / 4;
    const int see[2] = { vr_attend_visible(a, t) + j.n_extra, vr_attend_visible(a, t + 8) + j.n_extra };
    const int t_last = (block + 1) * ROWS < a->n_queries ? (block + 1) * ROWS - 1 : a->n_queries - 1;
    const int seen = vr_attend_visible(a, t_last) + j.n_extra, start = split * job->split_keys;
    const int end =
        seen < start + job->split_keys ? seen : start + job->split_keys; /* later tiles are masked for all: skipped */

    const float *from = a->q.data + n * a->q.batch + h * a->q.head;
    uint32_t q[W / 16][4];
    for (int step = 0; step < W / 16; step++) {
        for (int i = 0; i < 4; i++) {
            const int row = t + i % 2 * 8, e = step * 16 + i / 2 * 8 + pair;
            q[step][i] = vr_pair<vr_bf16>(query(a, from, row, e), query(a, from, row, e + 1));
        }
    }
    float o[W / 8][4], max[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 };
    for (int d = 0; d < W / 8; d++)
        for (int i = 0; i < 4; i++) o[d][i] = 0;
    /* where a lane's row of four 8 x 8 matrices begins: of keys right after left, then the next 8 keys; of values, turned, the next
     * 8 keys first */
    const vr_bf16 *const of_k = k_tile + (lane / 16 * 8 + lane % 8) * (W + 8) + lane / 8 % 2 * 8;
    const vr_bf16 *const of_v = v_tile + lane % 16 * (W + 8) + lane / 16 * 8;
    if (start < end) tile_start<W>(k_tile, keys, start);
    for (int at = start; at < end; at += KEYS) {
        vr_copy_wait<0>();
        __syncthreads(); /* k is here; v is no longer read */
        tile_start<W>(v_tile, values, at);
        float s[KEYS / 8][4];
        for (int key = 0; key < KEYS / 8; key += 2) {
            for (int i = 0; i < 4; i++) s[key][i] = s[key + 1][i] = 0;
            for (int step = 0; step < W / 16; step++) {
                uint32_t b[4];
                vr_load_matrices(b, of_k + key * 8 * (W + 8) + step * 16);
                vr_mma<vr_bf16>(s[key], q[step], b);
                vr_mma<vr_bf16>(s[key + 1], q[step], b + 2);
            }
        }
        float factor[2];
        softmax(s, a->scale * LOG2_E, see, at, max, sum, factor);
        for (int d = 0; d < W / 8; d++)
            for (int i = 0; i < 4; i++) o[d][i] *= factor[i / 2];
        vr_copy_wait<0>();
        __syncthreads(); /* v is here; k is no longer read */
        if (at + KEYS < end) tile_start<W>(k_tile, keys, at + KEYS);
        for (int key = 0; key < KEYS / 8; key += 2) {
            const uint32_t p[4] = { vr_pair<vr_bf16>(s[key][0], s[key][1]), vr_pair<vr_bf16>(s[key][2], s[key][3]),
                                    vr_pair<vr_bf16>(s[key + 1][0], s[key + 1][1]),
                                    vr_pair<vr_bf16>(s[key + 1][2], s[key + 1][3]) };
            for (int d = 0; d < W / 8; d += 2) {
                uint32_t b[4];
                vr_load_matrices_turned(b, of_v + key * 8 * (W + 8) + d * 8);
                vr_mma<vr_bf16>(o[d], p, b);
                vr_mma<vr_bf16>(o[d + 1], p, b + 2);
            }
        }
    }
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(VR_ALL, sum[r], 1);
        sum[r] += __shfl_xor_sync(VR_ALL, sum[r], 2);
        const int row = t + r * 8, E = a->head_dim;
        if (row >= a->n_queries) continue;
        const float factor = job->parts ? 1.0f : 1.0f / sum[r];
        float *to = job->parts ? job->parts + (((int64_t)head * a->n_queries + row) * job->n_splits + split) * (E + 2) + 2
                               : a->out.data + n * a->out.batch + (int64_t)row * a->out.row + h * a->out.head;
        if (job->parts && pair == 0) to[-2] = max[r] * LOG_E_2, to[-1] = sum[r];
        for (int d = 0; d < W / 8; d++) {
            for (int i = 0; i < 2; i++) {
                const int e = d * 8 + pair + i;
                if (e < E) to[e] = o[d][2 * r + i] * factor;
            }
        }
    }
}

template <int W> static void launch(vr_cuda *c, tiles_job *j)
{
    vr_attend_job *job = &j->attend;
    const vr_attention *a = &job->a;
    const int64_t n_rows = (int64_t)a->n_batch * a->n_kv_heads * j->n_rows;
    j->to_k = static_cast<vr_bf16 *>(vr_cuda_space(c, VR_CUDA_ROWS, (size_t)n_rows * 2 * W * sizeof(vr_bf16)));
    if (!j->to_k) return;
    j->to_v = j->to_k + n_rows * W;
    j->k = j->to_k, j->v = j->to_v;
    const unsigned blocks = (unsigned)((n_rows + WARPS - 1) / WARPS);
    if (a->kept == VR_KEPT_F32)
        VR_LAUNCH(c, narrow_rows<VR_KEPT_F32>, blocks, WARPS * VR_WARP, 0, *j, W);
    else if (a->kept == VR_KEPT_F16)
        VR_LAUNCH(c, narrow_rows<VR_KEPT_F16>, blocks, WARPS * VR_WARP, 0, *j, W);
    else
        VR_LAUNCH(c, narrow_rows<VR_KEPT_Q8>, blocks, WARPS * VR_WARP, 0, *j, W);
    const int64_t tasks = vr_attend_split(c, job, ROWS, j->n_extra + a->n_keys, KEYS);
    if (tasks == 0) return;
    VR_LAUNCH(c, attend_tiles<W>, (unsigned)tasks, WARPS * VR_WARP, 0, *j);
    vr_attend_merge(c, job);
}

static void piece_launch(vr_cuda *c, const vr_attend_job *given)
{
    tiles_job j = tiles_job();
    j.attend = *given;
    const vr_attention *a = &given->a;
    j.n_extra = a->extra_k ? 1 : 0;
    j.n_rows = (j.n_extra + a->n_keys + KEYS - 1) / KEYS * KEYS;
    const int E = a->head_dim;
    if (E <= 32)
        launch<32>(c, &j);
    else if (E <= 64)
        launch<64>(c, &j);
    else if (E <= 80)
        launch<80>(c, &j);
    else if (E <= 96)
        launch<96>(c, &j);
    else
        launch<128>(c, &j);
}

void vr_attend_tiles(vr_cuda *c, vr_attend_job *j)
{
    vr_attention *a = &j->a;
    const size_t a_batch = (size_t)a->n_kv_heads * (size_t)a->n_keys * 2 * VR_ATTEND_TILES_WIDTH * sizeof(vr_bf16);
    const int n_batch = a->n_batch, most = a_batch < PIECE ? (int)(PIECE / a_batch) : 1;
    const int64_t element = (int64_t)vr_kept_bytes(a->kept);
    for (int first = 0; first < n_batch && vr_cuda_ready(c); first += a->n_batch) {
        a->n_batch = n_batch - first < most ? n_batch - first : most;
        piece_launch(c, j);
        a->q.data += a->n_batch * a->q.batch, a->out.data += a->n_batch * a->out.batch;
        a->k.data = static_cast<const unsigned char *>(a->k.data) + a->n_batch * a->k.batch * element;
        a->v.data = static_cast<const unsigned char *>(a->v.data) + a->n_batch * a->v.batch * element;
    }
}
