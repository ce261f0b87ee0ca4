/*
 * released.h - sizes of the released models: integer keys, and tensors with their shapes.
 *
 *   released.c   the table of releases: keys and parts; parts.c: the tensors of a part by its keys
 */
#ifndef RELEASED_H
#define RELEASED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/weights.h"

typedef struct released_key {
    const char *name;
    int value;
} released_key;

typedef struct released_tensor {
    char name[64];
    int rows, cols;           /* cols 0: a vector of rows numbers */
    bool one;                 /* weights of a norm, scales of a block: about 1 */
    bool table;               /* F32 in every file: positions, queries, taps */
    bool decoder, vocabulary; /* matrices of the decoder's layers; token table and head */
    uint64_t number;
} released_tensor;

typedef struct released {
    const vr_weights *like;   /* borrowed: keys that the release does not name */
    const released_key *keys; /* of the release, ends with NULL; NULL: all are those of like */
    released_tensor *tensors; /* owned, in file order */
    int n_tensors, capacity;
    bool failed; /* no memory */
} released;

/* A group of tensors; prefix: of its names and keys. */
typedef struct released_part {
    void (*add)(released *m, const char *prefix);
    const char *prefix;
} released_part;

/* like: a weight file of the same system. VR_ERR_USAGE for an unknown name, and where like lacks a key or has other tensors than
 * its own keys say. released_free is legal on a zeroed one. */
int released_find(released *out, const char *name, const vr_weights *like, vr_err *e);
void released_free(released *model);
const char *released_names(void); /* of all releases, separated by ", " */

/* NULL: like's value holds. */
const released_key *released_key_find(const released *m, vr_string name);
int released_size(const released *m, const char *prefix, const char *what); /* key PREFIX.WHAT; 0: there is none */
bool released_like_has(const released *m, const char *tensor);

/* parts.c, names and shapes as in weights/FORMAT.md */
void released_add_eva(released *m, const char *prefix);
void released_add_clip(released *m, const char *prefix); /* nothing where there are no keys of it */
void released_add_siglip(released *m, const char *prefix);
void released_add_dino(released *m, const char *prefix);
void released_add_qwen_vit(released *m, const char *prefix);
void released_add_imagebind(released *m, const char *prefix);
void released_add_qformer(released *m, const char *prefix);
void released_add_aggregator(released *m, const char *prefix); /* behind vit */
void released_add_bridge(released *m, const char *prefix);     /* and the retrieval, behind vit */
void released_add_sampler(released *m, const char *prefix);    /* and what brings siglip and dino to its width */
void released_add_abstract(released *m, const char *prefix);   /* behind vit */
void released_add_merger(released *m, const char *prefix);     /* behind vit */
void released_add_positions(released *m, const char *prefix);  /* of frames or clips before a Q-Former */
void released_add_linear(released *m, const char *prefix);     /* from the part PREFIX, to the decoder: project.video */
void released_add_sound(released *m, const char *prefix);      /* the same for project.audio */
void released_add_mlp(released *m, const char *prefix);        /* the same with two layers */
void released_add_llama(released *m, const char *prefix);

#endif
