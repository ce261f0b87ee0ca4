/*
 * token_prune.h - LongVU's spatial token compression: within a chunk of frames only what differs from the first frame stays.
 *
 * The decision of each token is the op prune (kernels/ops.h); here the chunks become one sequence of at most `room` tokens.
 */
#ifndef VR_TOKEN_PRUNE_H
#define VR_TOKEN_PRUNE_H

#include <stdint.h>

#define VR_PRUNE_CHUNK 8 /* frames of a chunk */

typedef struct vr_token_list {
    int32_t *ids; /* kept tokens, frame * n_tokens + token, chunk by chunk; owned by the caller, room for all */
    int *lengths; /* [n_chunks] */
    int n_chunks;
    int removed; /* tokens taken from the end of every chunk because the whole was too long */
} vr_token_list;

/* Shorten to `room` tokens as the original does; returns how many ids are left, compacted to the front of ids. lengths stay
 * as they were. A negative room cuts that many from the end (the original's Python slice). */
int vr_token_list_cut(vr_token_list *list, int room);

#endif
