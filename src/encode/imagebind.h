/*
 * imagebind.h - ImageBind's audio tower: log-mel clips to one vector each.
 */
#ifndef VR_IMAGEBIND_H
#define VR_IMAGEBIND_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_imagebind vr_imagebind;

/* Binds every tensor under `imagebind.`; mel_bins and mel_frames: size of a clip. */
int vr_imagebind_open(vr_imagebind **out, vr_weights *w, int mel_bins, int mel_frames, vr_err *e);
void vr_imagebind_free(vr_imagebind *tower); /* NULL is legal */

int vr_imagebind_output_width(const vr_imagebind *tower); /* E */

/* mel [N, mel_bins, mel_frames] -> out [N, E], of length output_scale.
 * Stages: audio.stem, audio.embed, audio.block.00.., audio.cls, audio.out. */
void vr_imagebind_forward(const vr_imagebind *tower, vr_run *run, const float *mel, int N, float *out);

#endif
