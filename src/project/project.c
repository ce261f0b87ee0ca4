/*
 * project.c - see project.h. Ref: Video-LLaMA video_llama.py:186-198 (llama_proj), 226-250 (audio_llama_proj).
 */
#include "project/project.h"

int vr_project_bind(vr_project *project, vr_weights *w, const char *prefix, int in_width, int out_width, vr_err *e)
{
    VR_TRY(vr_weights_matrix(w, &project->w, out_width, in_width, e, "%s.weight", prefix));
    VR_TRY(vr_weights_vector(w, &project->b, out_width, e, "%s.bias", prefix));
    return VR_OK;
}

void vr_project_forward(const vr_project *project, vr_run *run, const float *x, int T, float *out, const char *stage)
{
    run->be->ops->linear(run->be, out, x, &project->w, project->b, VR_ACT_NONE, NULL, T);
    vr_run_dump(run, out, 3, (const int64_t[3]){ 1, T, project->w.rows }, "%s", stage);
}
