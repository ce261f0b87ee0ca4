/*
 * attention.cu - softmax(scale q k^T) v by tiles of keys; the scores of a tile are all that ever exists.
 *
 *   in f32, or a few queries; more in bf16 (backend.h, vr_precision): attention_tiles.cu
 *   block (batch, head, split of the keys, 4 warps of queries):
 *     for each tile of up to 32 keys:  k, v, widened -> shared;  lane = key: scores -> running softmax;  lane = column: o = o factor + p v
 *   one split: out = o / sum;  several (few queries, many keys: decoding): (max, sum, o) of each -> merge
 *
 * Any head width up to 512: 128 and less with 4 queries a warp, so that a key in shared memory serves four, wider with one.
 * The extra key and value are where the running softmax of the first split starts, as on the CPU.
 * Rows of keys in shared memory are padded to an odd number of floats: 32 lanes read 32 keys from 32 banks.
 * Ref:   arXiv:1805.02867 (running softmax), arXiv:2205.14135 (tiles), flash-decoding (splits).
 */
#include "kernels/cuda/attend.h"

#define WARPS        4
#define SHARED_BYTES (48 << 10) /* what every GPU gives without being asked */

/* QUERIES a warp, COLUMNS of o a lane: E <= 32 COLUMNS */
template <int QUERIES, int COLUMNS, vr_kept KEPT> static __global__ void attend(vr_attend_job j)
{
    VR_SHARED_DYNAMIC(float, room);
    const vr_attention *a = &j.a;
    const int E = a->head_dim, lane = (int)threadIdx.x % VR_WARP, warp = (int)threadIdx.x / VR_WARP;
    float *const q_all = (float *)room, *const k_tile = q_all + WARPS * QUERIES * E;
    float *const v_tile = k_tile + j.key_tile * (E + 1), *const p_all = v_tile + j.key_tile * E;
    float *const q = q_all + warp * QUERIES * E, *const p = p_all + warp * QUERIES * VR_WARP;
    const int block = (int)(blockIdx.x % (unsigned)j.n_query_blocks),
              split = (int)(blockIdx.x / (unsigned)j.n_query_blocks % (unsigned)j.n_splits);
    const int head = (int)(blockIdx.x / (unsigned)j.n_query_blocks / (unsigned)j.n_splits), h = head % a->n_heads,
              n = head / a->n_heads;
    const int kv = h / (a->n_heads / a->n_kv_heads), first = (block * WARPS + warp) * QUERIES;
    float max[QUERIES], sum[QUERIES], o[QUERIES][COLUMNS];

    for (int i = 0; i < QUERIES; i++) {
        const float *from = a->q.data + n * a->q.batch + (int64_t)(first + i) * a->q.row + h * a->q.head;
        const bool extra = a->extra_k && split == 0;
        float dot = 0;
        for (int e = lane; e < E; e += VR_WARP) {
            q[i * E + e] = first + i < a->n_queries ? from[e] : 0.0f;
            if (extra) dot += q[i * E + e] * a->extra_k[(int64_t)kv * E + e];
        }
        max[i] = extra ? vr_warp_sum(dot) * a->scale : -INFINITY;
        sum[i] = extra ? 1.0f : 0.0f;
        for (int r = 0; r < COLUMNS; r++) {
            const int e = lane + r * VR_WARP;
            o[i][r] = extra && e < E ? a->extra_v[(int64_t)kv * E + e] : 0.0f;
        }
    }
    const int last =
        (block + 1) * WARPS * QUERIES - 1 < a->n_queries - 1 ? (block + 1) * WARPS * QUERIES - 1 : a->n_queries - 1;
    const int seen = vr_attend_visible(a, last), start = split * j.split_keys;
    const int end = seen < start + j.split_keys ? seen : start + j.split_keys; /* later tiles are masked for all: skipped */
    for (int at = start; at < end; at += j.key_tile) {
        const int n_keys = end - at < j.key_tile ? end - at : j.key_tile;
        __syncthreads();
        for (int key = warp; key < n_keys; key += WARPS) {
            const void *k_row = vr_kept_at<KEPT>(&a->k, n, at + key, kv), *v_row = vr_kept_at<KEPT>(&a->v, n, at + key, kv);
            for (int e = lane; e < E; e += VR_WARP) {
                k_tile[key * (E + 1) + e] = vr_kept_number<KEPT>(k_row, e, j.scales);
                v_tile[key * E + e] = vr_kept_number<KEPT>(v_row, e, j.scales);
            }
        }
        __syncthreads();
        float s[QUERIES];
        for (int i = 0; i < QUERIES; i++) s[i] = 0;
        if (lane < n_keys) {
            for (int e = 0; e < E; e++) {
                const float k = k_tile[lane * (E + 1) + e];
                for (int i = 0; i < QUERIES; i++) s[i] += q[i * E + e] * k;
            }
        }
        for (int i = 0; i < QUERIES; i++) {
            const bool sees = lane < n_keys && at + lane < vr_attend_visible(a, first + i);
            const float score = sees ? s[i] * a->scale : -INFINITY;
            const float higher = fmaxf(max[i], vr_warp_max(score)), zero = higher == -INFINITY ? 0.0f : higher;
            const float factor = expf(max[i] - zero), share = sees ? expf(score - zero) : 0.0f;
            sum[i] = sum[i] * factor + vr_warp_sum(share);
            max[i] = higher;
            p[i * VR_WARP + lane] = share;
            for (int r = 0; r < COLUMNS; r++) o[i][r] *= factor;
        }
        __syncwarp();
        for (int key = 0; key < n_keys && lane < E; key++) {
            for (int r = 0; r < COLUMNS; r++) {
                const int e = lane + r * VR_WARP;
                const float v = e < E ? v_tile[key * E + e] : 0.0f;
                for (int i = 0; i < QUERIES; i++) o[i][r] += p[i * VR_WARP + key] * v;
            }
        }
        __syncwarp();
    }
    for (int i = 0; i < QUERIES; i++) {
        if (first + i >= a->n_queries) continue;
        const float factor = j.parts ? 1.0f : 1.0f / sum[i];
        float *to = j.parts ? j.parts + (((int64_t)head * a->n_queries + first + i) * j.n_splits + split) * (E + 2) + 2
                            : a->out.data + n * a->out.batch + (int64_t)(first + i) * a->out.row + h * a->out.head;
        if (j.parts && lane == 0) to[-2] = max[i], to[-1] = sum[i];
        for (int r = 0; r < COLUMNS; r++) {
            const int e = lane + r * VR_WARP;
            if (e < E) to[e] = o[i][r] * factor;
        }
    }
}

/* One warp a query: the splits' parts on a common maximum. */
static __global__ void merge(vr_attend_job j)
{
    const vr_attention *a = &j.a;
    const int E = a->head_dim, lane = (int)threadIdx.x;
    const int t = (int)(blockIdx.x % (unsigned)a->n_queries), head = (int)(blockIdx.x / (unsigned)a->n_queries);
    const int h = head % a->n_heads, n = head / a->n_heads;
    const float *parts = j.parts + (int64_t)blockIdx.x * j.n_splits * (E + 2);
    float max = -INFINITY, sum = 0;
    for (int s = 0; s < j.n_splits; s++) max = fmaxf(max, parts[(int64_t)s * (E + 2)]);
    const float zero = max == -INFINITY ? 0.0f : max;
    for (int s = 0; s < j.n_splits; s++) sum += parts[(int64_t)s * (E + 2) + 1] * expf(parts[(int64_t)s * (E + 2)] - zero);
    float *out = a->out.data + n * a->out.batch + t * a->out.row + h * a->out.head;
    for (int e = lane; e < E; e += VR_WARP) {
        float o = 0;
        for (int s = 0; s < j.n_splits; s++)
            o += parts[(int64_t)s * (E + 2) + 2 + e] * expf(parts[(int64_t)s * (E + 2)] - zero);
        out[e] = o / sum;
    }
}

static bool parts_take(vr_cuda *c, vr_attend_job *j, int64_t rows)
{
    j->parts = static_cast<float *>(vr_cuda_space(c, VR_CUDA_SUMS, (size_t)rows * (size_t)(j->a.head_dim + 2) * sizeof(float)));
    return j->parts != nullptr;
}

/* The most rows of parts that so many queries or fewer have: blocks that are split are fewer than 2 a processor, and splits make
 * less than 4 a processor and one more each of them. */
static int64_t most_parts(const vr_cuda *c, const vr_attention *a, int queries, int64_t most_splits)
{
    const int64_t rows = (int64_t)a->n_batch * a->n_heads * a->n_queries * most_splits,
                  split = 6 * (int64_t)c->n_processors * queries;
    return rows < split ? rows : split;
}

int64_t vr_attend_split(vr_cuda *c, vr_attend_job *j, int queries, int n_keys, int step)
{
    const vr_attention *a = &j->a;
    j->n_query_blocks = (a->n_queries + queries - 1) / queries;
    j->n_splits = 1, j->split_keys = n_keys, j->parts = nullptr;
    const int64_t heads = (int64_t)a->n_batch * a->n_heads, blocks = heads * j->n_query_blocks;
    if (n_keys <= VR_ATTEND_SPLIT_KEYS) return blocks;
    const int64_t wanted = (4 * c->n_processors + blocks - 1) / blocks,
                  fit = (n_keys + VR_ATTEND_SPLIT_KEYS - 1) / VR_ATTEND_SPLIT_KEYS;
    const int64_t most = fit < VR_ATTEND_MAX_SPLITS ? fit : VR_ATTEND_MAX_SPLITS;
    if (c->base.plan) return parts_take(c, j, most_parts(c, a, queries, most)) ? blocks : 0;
    /* too few blocks for the processors, and keys enough to share */
    const int n_splits = (int)(blocks >= 2 * c->n_processors ? 1 : wanted < most ? wanted : most);
    if (n_splits <= 1) return blocks;
    j->split_keys = ((n_keys + n_splits - 1) / n_splits + step - 1) / step * step;
    j->n_splits = (n_keys + j->split_keys - 1) / j->split_keys;
    return parts_take(c, j, heads * a->n_queries * j->n_splits) ? blocks * j->n_splits : 0;
}

void vr_attend_merge(vr_cuda *c, const vr_attend_job *j)
{
    const int64_t rows = (int64_t)j->a.n_batch * j->a.n_heads * j->a.n_queries;
    if (j->n_splits > 1) VR_LAUNCH(c, merge, (unsigned)rows, VR_WARP, 0, *j);
}

template <int QUERIES, int COLUMNS, vr_kept KEPT> static void launch(vr_cuda *c, vr_attend_job *j)
{
    const vr_attention *a = &j->a;
    const int E = a->head_dim;
    const int fixed = WARPS * QUERIES * (E + VR_WARP) * (int)sizeof(float), a_key = (2 * E + 1) * (int)sizeof(float);
    const int fit = (SHARED_BYTES - fixed) / a_key;
    j->key_tile = fit < VR_WARP ? fit : VR_WARP;
    const int64_t blocks = vr_attend_split(c, j, WARPS * QUERIES, a->n_keys, 1);
    if (blocks == 0) return;
    VR_LAUNCH(c, (attend<QUERIES, COLUMNS, KEPT>), (unsigned)blocks, WARPS * VR_WARP, (size_t)(fixed + j->key_tile * a_key),
              *j);
    vr_attend_merge(c, j);
}

template <vr_kept KEPT> static void attend_in_f32(vr_cuda *c, vr_attend_job *j)
{
    static void (*const widths[])(vr_cuda *, vr_attend_job *) = { launch<4, 1, KEPT>, launch<4, 2, KEPT>, launch<4, 3, KEPT>,
                                                                  launch<4, 4, KEPT>, launch<1, 16, KEPT> };
    const int E = j->a.head_dim;
    widths[E > 128 ? 4 : (E - 1) / VR_WARP](c, j);
}

/* Elements from the first to behind the last that rows of heads cover. */
template <typename V> static int64_t extent(const V *v, int N, int rows, int heads, int row)
{
    return (N - 1) * v->batch + (rows - 1) * v->row + (heads - 1) * v->head + row;
}

static const void *kept_in(vr_cuda *c, const vr_attention *a, const vr_kept_heads *v)
{
    const int64_t n = extent(v, a->n_batch, a->n_keys, a->n_kv_heads, vr_kept_row(a->kept, a->head_dim));
    return vr_cuda_in_bytes(c, v->data, (size_t)n * vr_kept_bytes(a->kept));
}

void vr_cuda_attention(vr_backend *be, const vr_attention *given)
{
    vr_cuda *c = vr_cuda_of(be);
    vr_attend_job j = vr_attend_job();
    vr_attention *a = &j.a;
    *a = *given;
    const int E = a->head_dim;
    if (a->n_batch == 0 || a->n_queries == 0 || a->n_heads == 0 || E == 0 || !vr_cuda_begin(c)) return;
    a->q.data =
        const_cast<float *>(vr_cuda_in(c, (const float *)a->q.data, extent(&a->q, a->n_batch, a->n_queries, a->n_heads, E)));
    a->k.data = kept_in(c, a, &a->k), a->v.data = kept_in(c, a, &a->v);
    a->out.data = vr_cuda_out(c, a->out.data, extent(&a->out, a->n_batch, a->n_queries, a->n_heads, E));
    a->extra_k = vr_cuda_in(c, a->extra_k, (int64_t)a->n_kv_heads * E);
    a->extra_v = vr_cuda_in(c, a->extra_v, (int64_t)a->n_kv_heads * E);
    j.scales = vr_kept_scales(E);
    if (!vr_cuda_ready(c)) return;
    if (c->narrow && a->n_queries > VR_CUDA_FEW_QUERIES && E <= VR_ATTEND_TILES_WIDTH)
        vr_attend_tiles(c, &j);
    else if (a->kept == VR_KEPT_F32)
        attend_in_f32<VR_KEPT_F32>(c, &j);
    else if (a->kept == VR_KEPT_F16)
        attend_in_f32<VR_KEPT_F16>(c, &j);
    else
        attend_in_f32<VR_KEPT_Q8>(c, &j);
    vr_cuda_end(c);
}
