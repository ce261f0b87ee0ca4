/*
 * project.h - from the width of a tower to the width of the decoder.
 */
#ifndef VR_PROJECT_H
#define VR_PROJECT_H

#include "base/weights.h"
#include "kernels/backend.h"

typedef struct vr_project {
    vr_matrix w;    /* [Dl, D]  PREFIX.weight, borrowed */
    const float *b; /* [Dl]     PREFIX.bias */
} vr_project;

int vr_project_bind(vr_project *project, vr_weights *w, const char *prefix, int in_width, int out_width, vr_err *e);

/* x [T, D] -> out [T, Dl]: x W^T + b. The stage is written under `stage` as [1, T, Dl], with n_dims 2 as [T, Dl]. */
void vr_project_forward(const vr_project *project, vr_run *run, const float *x, int T, float *out, const char *stage,
                        int n_dims);

/* fc2(gelu(fc1(x))), normed where there is a norm. */
typedef struct vr_project_mlp {
    vr_matrix fc1_w, fc2_w;       /* [W, D], [Dl, W]  PREFIX.fc1, PREFIX.fc2, borrowed */
    const float *fc1_b, *fc2_b;   /* [W], [Dl] */
    const float *norm_w, *norm_b; /* [Dl] or NULL     PREFIX.norm */
    float epsilon;
} vr_project_mlp;

/* epsilon: of the norm; 0 binds none. The hidden width is the output's. */
int vr_project_mlp_bind(vr_project_mlp *mlp, vr_weights *w, const char *prefix, int in_width, int out_width, float epsilon,
                        vr_err *e);
/* x [T, D] -> out [T, Dl] */
void vr_project_mlp_forward(const vr_project_mlp *mlp, vr_run *run, const float *x, int T, float *out);

#endif
