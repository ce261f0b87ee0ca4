/*
 * flash_vstream_qwen.h - Flash-VStream (Qwen2-VL) from the inside: flash_vstream_qwen.c (parts, plan), _steps.c (what clips and
 * streams share), _look.c (clip -> memory -> rows), _stream.c and _show.c (the memory of a stream), _places.c (where the rows
 * stand), _facts.c (what is told of them).
 */
#ifndef VR_FLASH_VSTREAM_QWEN_H
#define VR_FLASH_VSTREAM_QWEN_H

#include "encode/qwen_vit.h"
#include "project/patch_merger.h"
#include "systems/system.h"

typedef struct vr_flash_qwen {
    vr_qwen_vit *vit;
    vr_patch_merger merger;
    vr_llama *llama;
    float mean[3], std[3];
    float fps;
    int frames_max;                      /* 240 */
    int pixels_min, pixels_max;          /* of the first resize */
    int temporal_length, spatial_length; /* 60 slots of the CSM, 30 steps of the DAM */
    int pool;                            /* 2: half resolution */
} vr_flash_qwen;

/* What a clip is cut into, known before anything is decoded. */
typedef struct vr_flash_qwen_layout {
    int first_height, first_width; /* between the two resizes */
    vr_qwen_grid full, half;       /* half is pooled */
    int n_steps;                   /* t: pairs of pictures */
    int n_slots, n_whole;          /* steps of the CSM, of the DAM */
    int slot_rows, whole_rows;     /* rows of the decoder that one of each takes */
} vr_flash_qwen_layout;

/* Frames of width x height pixels after rotation; path: of messages. */
int vr_flash_qwen_layout_make(const vr_flash_qwen *s, const char *path, int width, int height, int n_frames,
                              vr_flash_qwen_layout *out, vr_err *e);
/* The one that takes most memory of all that frames may lead to, for a stream, whose frames come later; first_pixels: the most
 * between the resizes. */
void vr_flash_qwen_layout_most(const vr_flash_qwen *s, vr_flash_qwen_layout *most, int64_t *first_pixels);
int vr_flash_qwen_rows(const vr_flash_qwen_layout *layout); /* of the decoder, for the whole clip */

/* The second resize: rgb [first_height, first_width, 3], which the first one made -> picture [height, width, 3]. */
int vr_flash_qwen_picture(const vr_flash_qwen_layout *layout, const uint8_t *rgb, uint8_t *picture, vr_err *e);
size_t vr_flash_qwen_picture_bytes(const vr_flash_qwen_layout *layout);
size_t vr_flash_qwen_floats(const vr_flash_qwen *s, const vr_qwen_grid *grid); /* of the features of a step */
size_t vr_flash_qwen_row_floats(const vr_flash_qwen *s, int n);                /* of n rows of the decoder */

/* Patches on their way to the tower: room for one whole step, or pool * pool pooled ones. */
typedef struct vr_flash_qwen_patches {
    float *here, *there; /* host, backend memory */
} vr_flash_qwen_patches;

void vr_flash_qwen_patches_take(const vr_flash_qwen_layout *layout, vr_run *run, vr_flash_qwen_patches *patches);
/* pictures of n steps through the tower -> out [n, P, D]. Stages: `stage` (patches), those of the tower. */
void vr_flash_qwen_encode(const vr_flash_qwen *s, vr_run *run, const vr_flash_qwen_patches *patches, const vr_qwen_grid *grid,
                          const uint8_t *pictures, int n, float *out, const char *stage);
/* The n heaviest of K slots [K, floats] -> the row of bank [T, floats] nearest to each: rows [n]. Stage compress.dam.order. */
void vr_flash_qwen_choose(vr_run *run, const float *slots, const float *weights, int K, const float *bank, int T, size_t floats,
                          int n, int32_t *rows);
/* T groups of patches x -> rows [T, Dl]. Stages compress.memory, project.video. */
void vr_flash_qwen_merge(const vr_flash_qwen *s, vr_run *run, const float *x, int T, float *rows);

int vr_flash_qwen_look(const vr_flash_qwen *s, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e);

/* What became of the steps. */
typedef struct vr_flash_qwen_memory {
    const int32_t *whole;      /* [n_whole] steps that are shown whole, in the order of their rows */
    const int32_t *slot_times; /* [n_slots] places of the CSM in time */
    const int32_t *slots;      /* [n_steps] the slot that each step went into */
} vr_flash_qwen_memory;

/* view->positions, positions_plain, n_positions. */
int vr_flash_qwen_places(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, vr_view *view, vr_err *e);
/* The facts; n_video_rows is set. */
void vr_flash_qwen_tell(const vr_flash_qwen_layout *layout, const vr_flash_qwen_memory *memory, vr_view *view);

extern const vr_stream_system vr_flash_qwen_stream;

#endif
