/*
 * attend.h - what the kernels of attention share: the job, who sees what, splits of the keys, kept rows.
 */
#ifndef VR_CUDA_ATTEND_H
#define VR_CUDA_ATTEND_H

#include "kernels/cuda/cuda.h"

#define VR_ATTEND_SPLIT_KEYS 256 /* keys of a split, at least: its reading hides the merge */
#define VR_ATTEND_MAX_SPLITS 64

struct vr_attend_job {
    vr_attention a; /* addresses of the device */
    int scales;     /* bytes from a row of Q8 to its scales */
    int key_tile, n_query_blocks, n_splits, split_keys;
    float *parts; /* [batch, H, queries, n_splits, E + 2] max, sum, o; NULL: one split */
};

/* Keys that query t sees; the extra one is not counted. */
static __device__ inline int vr_attend_visible(const vr_attention *a, int t)
{
    if (!a->causal) return a->n_keys;
    const int64_t n = (int64_t)t + 1 + a->n_keys - a->n_queries;
    return n < 0 ? 0 : n < a->n_keys ? (int)n : a->n_keys;
}

/* Row of one position and head, and its number e. */
template <vr_kept TYPE> static __device__ inline const void *vr_kept_at(const vr_kept_heads *v, int n, int t, int h)
{
    const size_t element = TYPE == VR_KEPT_F32 ? 4 : TYPE == VR_KEPT_F16 ? 2 : 1;
    return static_cast<const unsigned char *>(v->data) + (n * v->batch + t * v->row + h * v->head) * (int64_t)element;
}

template <vr_kept TYPE> static __device__ inline float vr_kept_number(const void *row, int e, int scales)
{
    if (TYPE == VR_KEPT_F32) return static_cast<const float *>(row)[e];
    if (TYPE == VR_KEPT_F16) return vr_half_bits(static_cast<const uint16_t *>(row)[e]);
    const unsigned char *bytes = static_cast<const unsigned char *>(row);
    const uint16_t scale = reinterpret_cast<const uint16_t *>(bytes + scales)[e / VR_KEPT_GROUP];
    return vr_half_bits(scale) * (float)static_cast<const signed char *>(row)[e];
}

/* n_query_blocks of so many queries, and n_splits, split_keys (a multiple of step but for one split) and parts over n_keys; returns
 * the blocks of a launch; 0: no memory, the error is kept. */
int64_t vr_attend_split(vr_cuda *c, vr_attend_job *j, int queries, int n_keys, int step);
void vr_attend_merge(vr_cuda *c, const vr_attend_job *j); /* nothing where there is one split */

/* attention_tiles.cu: in bf16, by tensor cores. head_dim <= VR_ATTEND_TILES_WIDTH. */
#define VR_ATTEND_TILES_WIDTH 128
void vr_attend_tiles(vr_cuda *c, vr_attend_job *j);

#endif
