/*
 * layers.c - see layers.h.
 *
 *   weights bound - weights there - layers n.. - tables + work + cache of n layers <= memory that is free     largest n
 *
 * Trap:  tables (tokens, head) go to the device with the last layer alone: the head is computed where the last layer is.
 */
#include "layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "session.h"

int vr_layers_parse(const char *text, int *n, vr_err *e)
{
    *n = -1;
    if (!text || strcmp(text, "auto") == 0) return VR_OK;
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 6) {
        *n = atoi(text);
        return VR_OK;
    }
    return vr_fail(e, VR_ERR_USAGE, "option --gpu-layers: '%s' is neither auto nor a number of layers", text);
}

/* What n layers on the device need of it: *room, working memory returned. */
static size_t needed(const vr_model *m, int n, size_t work_bytes, const vr_kvcache_config *cache, vr_device_room *room)
{
    vr_kvcache_config here = *cache;
    size_t elsewhere = n < cache->n_layers ? vr_llama_table_bytes(m->llama) : 0;
    here.n_layers = n;
    for (int l = n; l < cache->n_layers; l++) elsewhere += vr_llama_layer_bytes(m->llama, l);
    room->weights_bytes = room->weights_bytes > elsewhere ? room->weights_bytes - elsewhere : 0;
    return work_bytes + vr_device_bytes(vr_kvcache_bytes(&here));
}

static bool fits(const vr_model *m, int n, size_t work_bytes, const vr_kvcache_config *cache, vr_device_room room)
{
    const size_t n_bytes = needed(m, n, work_bytes, cache, &room);
    return vr_device_room_suffices(&room, n_bytes);
}

static int refuse(const vr_model *m, int n, int n_fitting, size_t work_bytes, const vr_kvcache_config *cache,
                  vr_device_room room, vr_err *e)
{
    char remedy[96] = VR_DEVICE_NONE;
    const size_t n_bytes = needed(m, n, work_bytes, cache, &room);
    if (n_fitting >= 0)
        snprintf(remedy, sizeof remedy, "%d of the decoder's %d layers would fit: --gpu-layers %d", n_fitting, cache->n_layers,
                 n_fitting);
    return vr_device_room_fail(m->backend, &room, n_bytes, remedy, e);
}

int vr_layers_place(vr_model *m, size_t work_bytes, const vr_kvcache_config *cache, vr_err *e)
{
    vr_layers *layers = &m->layers;
    vr_device_room room;
    const int L = cache->n_layers;
    VR_TRY(vr_device_room_get(m->backend, m->weights, &room, e));
    if (room.n_total == 0) {
        layers->n = L;
        return VR_OK;
    }
    if (layers->decided) { /* those that are there stay there */
        return fits(m, layers->n, work_bytes, cache, room) ? VR_OK : refuse(m, layers->n, -1, work_bytes, cache, room, e);
    }
    int n = m->n_layers_asked > L ? L : m->n_layers_asked;
    layers->n_fitting = L;
    while (layers->n_fitting >= 0 && !fits(m, layers->n_fitting, work_bytes, cache, room)) layers->n_fitting--;
    if (n < 0) n = layers->n_fitting > 0 ? layers->n_fitting : 0;
    if (n > layers->n_fitting) return refuse(m, n, layers->n_fitting, work_bytes, cache, room, e);
    if (n < L) VR_TRY(vr_backend_open_cpu(&layers->be, &m->cpu, e));
    if (n < L && m->n_layers_asked < 0)
        vr_log_print(&m->hooks.log, VR_LOG_INFO, "%s: %d of the decoder's %d layers fit; the processor computes the others",
                     m->backend->name, n, L);
    layers->decided = true;
    layers->n = n;
    layers->n_free = room.n_free;
    layers->n_bytes = needed(m, n, work_bytes, cache, &room);
    layers->n_bytes += room.weights_bytes;
    return VR_OK;
}

void vr_layers_free(vr_layers *layers)
{
    vr_backend_free(layers->be);
    *layers = (vr_layers){ 0 };
}

int vr_rest_plan(const vr_model *m, int n_rows, size_t *n_bytes, vr_err *e)
{
    const size_t D = (size_t)vr_llama_config_get(m->llama)->width;
    const vr_kvcache_config config = vr_llama_cache(m->llama, n_rows, m->kept);
    vr_backend *nothing;
    vr_arena counted;
    vr_kvcache cache;
    *n_bytes = 0;
    if (!m->layers.be) return VR_OK;
    VR_TRY(vr_backend_open_plan(&nothing, e));
    vr_arena_plan(&counted);
    vr_run run = { .be = nothing, .scratch = &counted, .host = &counted };
    vr_kvcache_plan(&cache, &counted, &config);
    float *x = vr_arena_floats(&counted, VR_LLAMA_ROWS * D); /* or rows of the table */
    vr_arena_floats(&counted, VR_LLAMA_ROWS * D);            /* of a dump */
    vr_llama_forward(m->llama, &run, &cache, NULL, x, n_rows < VR_LLAMA_ROWS ? n_rows : VR_LLAMA_ROWS, x);
    *n_bytes = counted.peak;
    vr_backend_free(nothing);
    return VR_OK;
}

int vr_rest_open(vr_rest *rest, vr_run *run, vr_kvcache *cache, const vr_model *m, const vr_kvcache_config *config,
                 size_t scratch_bytes, vr_err *e)
{
    vr_kvcache_config here = *config, there = *config;
    *rest = (vr_rest){ 0 };
    here.n_layers = m->layers.n;
    there.n_layers -= m->layers.n;
    VR_TRY(vr_kvcache_open(cache, run->be, &here, e));
    if (!m->layers.be) return VR_OK;
    VR_TRY(vr_backend_arena_open(m->layers.be, &rest->scratch, scratch_bytes, e));
    VR_TRY(vr_kvcache_open(&rest->cache, m->layers.be, &there, e));
    rest->run = (vr_run){ .be = m->layers.be, .scratch = &rest->scratch, .host = &rest->scratch };
    run->rest = &rest->run;
    cache->rest = &rest->cache;
    return VR_OK;
}

void vr_rest_close(vr_rest *rest)
{
    vr_kvcache_close(&rest->cache);
    vr_arena_close(&rest->scratch);
}
