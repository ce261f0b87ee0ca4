/*
 * layers.h - which layers of the decoder a device takes, and the memory of those that it does not.
 *
 *   towers -> layers 0..n-1 | n.. and the head           of the device | of the processor: a row crosses once
 *
 * All that fit, or as many as asked for. Decided once for a model, when it first knows what its work needs; the device keeps the
 * layers it has.
 */
#ifndef VR_LAYERS_H
#define VR_LAYERS_H

#include "decode/llama.h"
#include "vidrun.h"

/* What was decided. */
typedef struct vr_layers {
    bool decided;   /* there is a device */
    int n;          /* of the decoder's layers, on the device; all of them where there is none */
    int n_fitting;  /* -1: not even what stands before the decoder */
    size_t n_bytes; /* of the device that are needed: weights, working memory, keys and values */
    size_t n_free;  /* of the device */
    vr_backend *be; /* of the other layers; NULL: there are none. Owned */
} vr_layers;

/* NULL, "auto" or a whole number -> *n, -1 for auto; VR_ERR_USAGE. */
int vr_layers_parse(const char *text, int *n, vr_err *e);

/* Decides, or looks whether what was decided has room for this work too: work_bytes of the device (vr_device_work) and a cache of
 * all layers. VR_ERR_LIMIT, with the number that would fit. */
int vr_layers_place(vr_model *m, size_t work_bytes, const vr_kvcache_config *cache, vr_err *e);
void vr_layers_free(vr_layers *layers);

/* The processor's part of a run. */
typedef struct vr_rest {
    vr_arena scratch;
    vr_run run;
    vr_kvcache cache;
} vr_rest;

/* Bytes of rest->scratch that reading a prompt of n_rows and answering take. */
int vr_rest_plan(const vr_model *m, int n_rows, size_t *n_bytes, vr_err *e);
/* The cache of a decoder on run->be; where some of its layers are elsewhere, also rest, to which run and cache then point. */
int vr_rest_open(vr_rest *rest, vr_run *run, vr_kvcache *cache, const vr_model *m, const vr_kvcache_config *config,
                 size_t scratch_bytes, vr_err *e);
void vr_rest_close(vr_rest *rest); /* legal on a zeroed one */

#endif
