/*
 * project.c - see project.h.
 *
 * Ref: Video-LLaMA video_llama.py:186-198 (llama_proj), 226-250 (audio_llama_proj); LongVU cambrian_arch.py:72-82, 882-897
 *      (mm_projector, mm_projector_aux_*).
 */
#include "project/project.h"

int vr_project_bind(vr_project *project, vr_weights *w, const char *prefix, int in_width, int out_width, vr_err *e)
{
    VR_TRY(vr_weights_matrix(w, &project->w, out_width, in_width, e, "%s.weight", prefix));
    VR_TRY(vr_weights_vector(w, &project->b, out_width, e, "%s.bias", prefix));
    return VR_OK;
}

void vr_project_forward(const vr_project *project, vr_run *run, const float *x, int T, float *out, const char *stage,
                        int n_dims)
{
    run->be->ops->linear(run->be, out, x, &project->w, project->b, VR_ACT_NONE, NULL, T);
    const int64_t shape[3] = { 1, T, project->w.rows };
    vr_run_dump(run, out, n_dims, shape + 3 - n_dims, "%s", stage);
}

int vr_project_mlp_bind(vr_project_mlp *mlp, vr_weights *w, const char *prefix, int in_width, int out_width, float epsilon,
                        vr_err *e)
{
    *mlp = (vr_project_mlp){ .epsilon = epsilon };
    VR_TRY(vr_weights_matrix(w, &mlp->fc1_w, out_width, in_width, e, "%s.fc1.weight", prefix));
    VR_TRY(vr_weights_vector(w, &mlp->fc1_b, out_width, e, "%s.fc1.bias", prefix));
    VR_TRY(vr_weights_matrix(w, &mlp->fc2_w, out_width, out_width, e, "%s.fc2.weight", prefix));
    VR_TRY(vr_weights_vector(w, &mlp->fc2_b, out_width, e, "%s.fc2.bias", prefix));
    if (epsilon == 0) return VR_OK;
    VR_TRY(vr_weights_vector(w, &mlp->norm_w, out_width, e, "%s.norm.weight", prefix));
    return vr_weights_vector(w, &mlp->norm_b, out_width, e, "%s.norm.bias", prefix);
}

void vr_project_mlp_forward(const vr_project_mlp *mlp, vr_run *run, const float *x, int T, float *out)
{
    const vr_ops *op = run->be->ops;
    const size_t mark = vr_arena_mark(run->scratch);
    float *hidden = vr_arena_floats(run->scratch, (size_t)T * (size_t)mlp->fc1_w.rows);
    op->linear(run->be, hidden, x, &mlp->fc1_w, mlp->fc1_b, VR_ACT_GELU, NULL, T);
    op->linear(run->be, out, hidden, &mlp->fc2_w, mlp->fc2_b, VR_ACT_NONE, NULL, T);
    if (mlp->norm_w) op->layer_norm(run->be, out, out, mlp->norm_w, mlp->norm_b, T, mlp->fc2_w.rows, mlp->epsilon);
    vr_arena_release(run->scratch, mark);
}
