/*
 * limits.h - what a file from outside may ask for, in one place. Larger requests are refused with VR_ERR_WEIGHTS, VR_ERR_VIDEO
 * or VR_ERR_LIMIT; every product of sizes below fits int64_t, and every row of activations fits int.
 */
#ifndef VR_LIMITS_H
#define VR_LIMITS_H

/* weight file */
#define VR_MAX_TENSORS 65536
#define VR_MAX_KEYS    65536
#define VR_MAX_NAME    128 /* bytes of a tensor name or key, without the NUL */
#define VR_MAX_DIMS    4
#define VR_MAX_DIM     (1 << 24) /* one dimension */
#define VR_MAX_STRING  (1 << 20) /* bytes of a string value */
#define VR_MAX_ARRAY   (1 << 24) /* elements of an array value */

/* models */
#define VR_MAX_WIDTH     65536 /* embedding or hidden width */
#define VR_MAX_BLOCKS    512   /* layers of one tower or decoder */
#define VR_MAX_HEADS     1024
#define VR_MAX_HEAD_DIM  512
#define VR_MAX_GRID_SIDE 1024 /* patches a line of a tower */
#define VR_MAX_GROUP     64   /* frames that see each other in a tower */
#define VR_MAX_QUERIES   4096 /* query tokens of one Q-Former */
#define VR_MAX_VOCAB     (1 << 20)
#define VR_MAX_CONTEXT   (1 << 20)
#define VR_MAX_THREADS   256

/* media */
#define VR_MAX_FRAME_SIDE  16384     /* pixels a side of a decoded frame */
#define VR_MAX_IMAGE_SIZE  4096      /* pixels a side of a frame given to a tower */
#define VR_MAX_FRAMES      (1 << 20) /* sampled frames of one run */
#define VR_MAX_CHANNELS    64        /* audio channels */
#define VR_MAX_SAMPLE_RATE 768000

/* text */
#define VR_MAX_PROMPT (1 << 20) /* bytes of one prompt */

#endif
