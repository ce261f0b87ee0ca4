/*
 * kvcache.c - see kvcache.h.
 */
#include "decode/kvcache.h"

/* Bytes of a plane from which large pages pay: an answer reads all of them for each token. bench/LOG.md */
#define LARGE_PLANE ((size_t)16 << 20)

static size_t plane_bytes(const vr_kvcache_config *c)
{
    const size_t head = (size_t)vr_kept_row(c->kept, c->head_dim) * vr_kept_bytes(c->kept);
    return (size_t)c->n_max * (size_t)c->n_heads * head;
}

static void take(vr_kvcache *cache, vr_arena *memory, const vr_kvcache_config *c)
{
    *cache = (vr_kvcache){ .config = *c, .head = vr_kept_row(c->kept, c->head_dim) };
    cache->row = c->n_heads * cache->head;
    cache->k = vr_arena_alloc(memory, (size_t)c->n_layers * plane_bytes(c), 1);
    cache->v = vr_arena_alloc(memory, (size_t)c->n_layers * plane_bytes(c), 1);
}

vr_kept vr_kvcache_kept(const vr_backend *be, vr_kept wanted)
{
    return be->ops->keep_rows ? wanted : VR_KEPT_F32;
}

size_t vr_kvcache_bytes(const vr_kvcache_config *config)
{
    vr_kvcache cache;
    vr_arena plan;
    vr_arena_plan(&plan);
    take(&cache, &plan, config);
    return plan.peak;
}

int vr_kvcache_open(vr_kvcache *cache, vr_backend *be, const vr_kvcache_config *config, vr_err *e)
{
    vr_arena memory;
    *cache = (vr_kvcache){ 0 };
    VR_TRY(vr_backend_arena_open(be, &memory, vr_kvcache_bytes(config), e));
    take(cache, &memory, config);
    cache->memory = memory;
    if (plane_bytes(config) >= LARGE_PLANE) vr_arena_large_pages(&cache->memory);
    return VR_OK;
}

void vr_kvcache_plan(vr_kvcache *cache, vr_arena *plan, const vr_kvcache_config *config)
{
    vr_kvcache_config nothing = *config;
    nothing.n_max = 0;
    take(cache, plan, &nothing);
}

void vr_kvcache_close(vr_kvcache *cache)
{
    vr_arena_close(&cache->memory);
    *cache = (vr_kvcache){ 0 };
}

static size_t row_offset(const vr_kvcache *c, int layer, int first)
{
    return ((size_t)layer * (size_t)c->config.n_max + (size_t)first) * (size_t)c->row * vr_kept_bytes(c->config.kept);
}

void *vr_kvcache_keys(const vr_kvcache *cache, int layer, int first)
{
    return cache->k + row_offset(cache, layer, first);
}

void *vr_kvcache_values(const vr_kvcache *cache, int layer, int first)
{
    return cache->v + row_offset(cache, layer, first);
}

float *vr_kvcache_new(const vr_kvcache *cache, vr_run *run, void *rows, int T)
{
    if (cache->config.kept == VR_KEPT_F32) return rows; /* rows of the cache are contiguous, as those of a product are */
    return vr_arena_floats(run->scratch, (size_t)T * (size_t)cache->config.n_heads * (size_t)cache->config.head_dim);
}

void vr_kvcache_keep(const vr_kvcache *cache, const vr_run *run, void *rows, const float *x, int T)
{
    const vr_kvcache_config *c = &cache->config;
    if (rows != x) run->be->ops->keep_rows(run->be, c->kept, rows, cache->row, cache->head, x, T, c->n_heads, c->head_dim);
}
