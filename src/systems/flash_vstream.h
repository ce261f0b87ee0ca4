/*
 * flash_vstream.h - Flash-VStream (LLaVA) from the inside: flash_vstream.c (parts, plan), flash_vstream_clip.c (the memory of a
 * clip), flash_vstream_stream.c (of a stream), flash_vstream_paper.{c,h} (both as the paper has them), flash_vstream_maps.c (what
 * they share: frames -> maps, memory -> rows), flash_vstream_facts.c (what is told of it).
 */
#ifndef VR_FLASH_VSTREAM_H
#define VR_FLASH_VSTREAM_H

#include "compress/abstract_memory.h"
#include "compress/temporal_memory.h"
#include "encode/vit.h"
#include "project/project.h"
#include "systems/system.h"

#define VR_FLASH_PASS 4 /* frames that go through the tower together */

typedef struct vr_flash {
    vr_vit *vit;
    float mean[3], std[3];
    float fps;
    int D;                                      /* width of the tower's rows */
    int map_side, temporal_side, abstract_side; /* 8, 4, 1 tokens a line */
    int map_tokens, temporal_tokens;            /* their squares */
    int spatial_length, temporal_length;        /* C = 1 newest frame, K = 25 slots */
    vr_abstract_memory abstract;                /* N = 25 slots of abstract_side^2 tokens */
    vr_project_mlp project;                     /* D -> Dl */
    vr_llama *llama;
} vr_flash;

/* A memory: four arrays in backend memory, in the order of the decoder's rows. */
typedef struct vr_flash_memory {
    const float *abstract;  /* [n_abstract, abstract tokens, D] */
    const float *temporal;  /* [n_temporal, temporal tokens, D] */
    const float *retrieved; /* maps of frames, of which `picks` are shown: [., map tokens, D] */
    const float *spatial;   /* [n_spatial, map tokens, D] */
    int n_abstract, n_temporal, n_picks, n_spatial;
    const int32_t *picks; /* [n_picks] places in retrieved */
} vr_flash_memory;

/* One of the parts of a memory as rows of D floats. */
typedef struct vr_flash_piece {
    const float *rows; /* borrowed */
    int n_rows;
} vr_flash_piece;

#define VR_FLASH_PIECES (3 + VR_MEMORY_KEYS)

/* The parts one after the other; returns their number, at most VR_FLASH_PIECES. */
int vr_flash_pieces(const vr_flash *s, const vr_flash_memory *memory, vr_flash_piece *pieces);
/* Tokens of so many slots and maps. */
int vr_flash_rows(const vr_flash *s, int n_abstract, int n_temporal, int n_maps);

/* Host memory of one picture on its way to the tower. */
typedef struct vr_flash_picture {
    uint8_t *crop; /* [S,S,3] */
    float *planes; /* [3,S,S] */
} vr_flash_picture;

void vr_flash_picture_take(const vr_flash *s, vr_run *run, vr_flash_picture *picture);
/* rgb [height,width,3] -> pixels [3,S,S] (backend memory). Stages input.pixels.u8, input.pixels. */
int vr_flash_pixels(const vr_flash *s, vr_run *run, const vr_flash_picture *picture, const uint8_t *rgb, int width, int height,
                    float *pixels, vr_err *e);
/* pixels [n,3,S,S], n <= VR_FLASH_PASS -> maps [n, map tokens, D]. Stages of the tower, vision.out. */
void vr_flash_maps(const vr_flash *s, vr_run *run, const float *pixels, int n, float *maps);
/* maps [n, map tokens, D] -> the tokens of a smaller side, [n, side^2, D] */
void vr_flash_pool(const vr_flash *s, vr_run *run, const float *maps, int n, int side, float *out);
/* x [n,D], the whole memory -> rows [n,Dl] of the decoder. Stages compress.memory, project.video. */
void vr_flash_project(const vr_flash *s, vr_run *run, const float *x, int n, float *rows);

/* Tokens of a clip of T frames. */
int vr_flash_clip_rows(const vr_flash *s, int T);
/* vr_system.watch */
int vr_flash_watch(const void *state, vr_run *run, vr_source *source, vr_view *view, const vr_hooks *hooks, vr_err *e);

/* What a clip's memory is made of, for the facts. */
typedef struct vr_flash_story {
    int width, height;     /* of the video */
    int n_before;          /* L frames in front of the spatial memory */
    const int32_t *labels; /* [L] the slot of each */
    const float *weights;  /* [n_slots] frames of each slot */
    int n_slots, n_abstract;
    const int32_t *picks; /* [n_picks] frames retrieved */
    int n_picks;
} vr_flash_story;

/* Facts of all frames of the view; n_video_rows is set. */
void vr_flash_tell(const vr_flash *s, vr_view *view, const vr_flash_story *story);
/* What a stream's memory is made of: its view lists the frames shown whole. */
typedef struct vr_flash_stream_story {
    int width, height; /* of the newest frame */
    int64_t n_frames;  /* added so far */
    int n_slots, n_abstract;
    const int32_t *picks; /* [n_picks] places of the retrieved frames in the view */
    int n_picks;
} vr_flash_stream_story;

void vr_flash_tell_stream(const vr_flash *s, vr_view *view, const vr_flash_stream_story *story);
/* facts.memory; without memory for it nothing is told. */
void vr_flash_tell_retrieved(vr_view *view, int n_slots, int n_abstract, const int32_t *positions, int n);

extern const vr_stream_system vr_flash_stream;

#endif
