/*
 * flash_vstream_qwen_stream.h - Flash-VStream (Qwen): the memory of a stream from the inside, for flash_vstream_qwen_stream.c
 * (frames into it) and flash_vstream_qwen_show.c (copies of it, rows for a question).
 */
#ifndef VR_FLASH_VSTREAM_QWEN_STREAM_H
#define VR_FLASH_VSTREAM_QWEN_STREAM_H

#include "compress/ordered_kmeans.h"
#include "systems/flash_vstream_qwen.h"

enum { VR_FLASH_QWEN_DEPTH = 2 }; /* frames of a step */

/* The frames of a step. */
typedef struct vr_flash_qwen_seen {
    int64_t number[VR_FLASH_QWEN_DEPTH];
    double seconds[VR_FLASH_QWEN_DEPTH];
} vr_flash_qwen_seen;

typedef struct vr_flash_qwen_stream_memory {
    const vr_flash_qwen *s;
    vr_backend *be;
    vr_random random;
    vr_flash_qwen_layout l; /* of the first frame; later ones are brought to its sides. While planning: the largest */
    bool known;
    int64_t n_frames, n_steps;
    vr_flash_qwen_patches patches;
    /* the bank, room for bank_max */
    int bank_max, n_bank;
    uint8_t *pictures;          /* [n_bank, 2, height, width, 3] host */
    float *bank;                /* [n_bank, Ph, D] */
    int32_t *numbers;           /* [n_bank] steps */
    vr_flash_qwen_seen *frames; /* [n_bank] */
    /* the slots */
    int n_slots;
    float *slots, *made; /* [K + 1, Ph, D], [K, Ph, D] */
    float *weights;      /* [K + 1] */
    int32_t *times;      /* [K + 1] */
    vr_ordered_kmeans km;
    /* steps that are shown whole */
    int n_whole;
    float *whole;   /* [P, D] of one */
    float *rows;    /* [spatial_length, whole_rows, Dl] the shelf */
    int32_t *shelf; /* [spatial_length] the step of each place; -1: none */
    int32_t *picks; /* [n_whole] rows of the bank */
    int32_t *order; /* [n_whole] places on the shelf */
} vr_flash_qwen_stream_memory;

/* What vr_stream_system says. */
int vr_flash_qwen_rows_most(const void *state);
int vr_flash_qwen_snapshot_open(const void *state, const void *memory, void **out, vr_err *e);
void vr_flash_qwen_snapshot_free(void *snapshot);
int vr_flash_qwen_snapshot_take(const void *state, const void *memory, void *out, vr_err *e);
int vr_flash_qwen_show(const void *state, const void *snapshot, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e);

#endif
