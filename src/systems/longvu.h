/*
 * longvu.h - LongVU from the inside: longvu.c (parts, plan), longvu_look.c (clip -> grid of each kept frame), longvu_show.c
 * (grids and question -> rows), longvu_facts.c (what is told of it).
 */
#ifndef VR_LONGVU_H
#define VR_LONGVU_H

#include "compress/spatial_sampler.h"
#include "compress/token_grid.h"
#include "encode/vit.h"
#include "project/project.h"
#include "systems/system.h"

/* A tower with what its pixels go through before and its rows after. */
typedef struct vr_longvu_tower {
    vr_vit *vit;
    float mean[3], std[3];
    uint8_t pad[3];
    vr_project_mlp aux; /* D -> W */
} vr_longvu_tower;

typedef struct vr_longvu {
    vr_longvu_tower siglip, dino;
    vr_spatial_sampler *sampler;
    vr_project_mlp project; /* W -> Dl */
    const float *newline;   /* [Dl]  image_newline */
    vr_llama *llama;
    float fps;
    int tower_side, query_side, low_side; /* 24, 12, 8; low_side 0: no small grid */
    float dino_threshold, drop_threshold;
    int max_length, reserve; /* M, 16 */
} vr_longvu;

/* What a clip became: the grids of the frames kept. Its memory is the run's scratch arena; the struct is owned. */
typedef struct vr_longvu_features {
    bool looked, selected; /* selected: frames were chosen by similarity */
    int width, height;     /* of the picture, after rotation */
    int pair_a, pair_b;    /* what the crop takes for width and height (compress/token_grid.c) */
    int n_in, n, n_max;
    int32_t *kept;   /* [n_in] owned: positions of the kept frames among those sampled; the first n are set */
    float *grids;    /* [n_max, q*q, W] backend memory */
    size_t places;   /* q*q */
    uint8_t *tokens; /* [n_max, places] owned: what the facts tell of each kept frame's tokens */
} vr_longvu_features;

/* Tokens of prompt and budget of one question (spec 4.2). */
typedef struct vr_longvu_budget {
    int L, B, R; /* ids with the mark of the clip; for cap and regime; room for rows of the clip */
    int cap, n_full, n_low;
} vr_longvu_budget;

vr_longvu_budget vr_longvu_budget_of(const vr_longvu *s, const vr_question *question);
int vr_longvu_frames_most(const vr_longvu *s, int n_in); /* frames that may be kept of n_in */
/* What is left of a frame's grid without its padding; is_low: of the small grid, where there is one. */
vr_crop vr_longvu_crop(const vr_longvu *s, const vr_longvu_features *f, bool is_low);

int vr_longvu_look(const vr_longvu *s, vr_run *run, vr_source *source, const vr_view *view, bool select, vr_longvu_features *f,
                   const vr_hooks *hooks, vr_err *e);
int vr_longvu_show(const vr_longvu *s, vr_run *run, vr_view *view, vr_longvu_features *f, const vr_longvu_budget *b,
                   const vr_question *question, vr_err *e);

/* Facts, in this order: the frames kept; the grid of kept frame i (a later one replaces it); which tokens of all kept frames
 * are left: n ids, frame * tokens + token. */
void vr_longvu_tell_frames(vr_view *view, const vr_longvu_features *f);
void vr_longvu_tell_grid(vr_view *view, const vr_longvu_features *f, int i, int side, const vr_crop *crop, bool high);
void vr_longvu_tell_tokens(vr_view *view, vr_longvu_features *f, const int32_t *ids, int n, int tokens);

#endif
