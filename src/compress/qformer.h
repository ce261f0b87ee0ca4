/*
 * qformer.h - Q-Former: a few learned queries look at many rows and become the tokens that the decoder reads.
 */
#ifndef VR_QFORMER_H
#define VR_QFORMER_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_qformer vr_qformer;

/* Binds every tensor under `PREFIX.`: query, input_norm, blk.*; keys `PREFIX.*`. prefix: "qformer", "video_qformer",
 * "audio_qformer". */
int vr_qformer_open(vr_qformer **out, vr_weights *w, const char *prefix, vr_err *e);
void vr_qformer_free(vr_qformer *qformer); /* NULL is legal */

int vr_qformer_width(const vr_qformer *qformer);         /* D */
int vr_qformer_queries(const vr_qformer *qformer);       /* Q */
int vr_qformer_encoder_width(const vr_qformer *qformer); /* De */

/* encoded [N, R, De] -> out [N, Q, D]; n attends to its own R rows only.
 * Stages: PREFIX.embed, PREFIX.layer.00.., PREFIX.out; written as [N, Q, D], with n_dims 2 as [N Q, D]. */
void vr_qformer_forward(const vr_qformer *qformer, vr_run *run, const float *encoded, int N, int R, float *out, int n_dims);

#endif
