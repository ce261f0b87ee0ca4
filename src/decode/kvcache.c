/*
 * kvcache.c - see kvcache.h.
 */
#include "decode/kvcache.h"

/* Bytes of a plane from which large pages pay: an answer reads all of them for each token. bench/LOG.md */
#define LARGE_PLANE ((size_t)16 << 20)

/* floats of one of the two halves */
static size_t half_floats(int n_layers, int n_max, int width)
{
    return (size_t)n_layers * (size_t)n_max * (size_t)width;
}

size_t vr_kvcache_bytes(int n_layers, int n_max, int width)
{
    vr_arena plan;
    vr_arena_plan(&plan);
    vr_arena_floats(&plan, half_floats(n_layers, n_max, width));
    vr_arena_floats(&plan, half_floats(n_layers, n_max, width));
    return plan.peak;
}

int vr_kvcache_open(vr_kvcache *cache, vr_backend *be, int n_layers, int n_max, int width, vr_err *e)
{
    *cache = (vr_kvcache){ .n_layers = n_layers, .n_max = n_max, .width = width };
    VR_TRY(vr_backend_arena_open(be, &cache->memory, vr_kvcache_bytes(n_layers, n_max, width), e));
    cache->k = vr_arena_floats(&cache->memory, half_floats(n_layers, n_max, width));
    cache->v = vr_arena_floats(&cache->memory, half_floats(n_layers, n_max, width));
    if (half_floats(1, n_max, width) * sizeof *cache->k >= LARGE_PLANE) vr_arena_large_pages(&cache->memory);
    return VR_OK;
}

void vr_kvcache_close(vr_kvcache *cache)
{
    vr_arena_close(&cache->memory);
    *cache = (vr_kvcache){ 0 };
}

float *vr_kvcache_keys(const vr_kvcache *cache, int layer)
{
    return cache->k + (size_t)layer * (size_t)cache->n_max * (size_t)cache->width;
}

float *vr_kvcache_values(const vr_kvcache *cache, int layer)
{
    return cache->v + (size_t)layer * (size_t)cache->n_max * (size_t)cache->width;
}
