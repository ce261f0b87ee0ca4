/*
 * patch_merger.c - see patch_merger.h.
 */
#include "project/patch_merger.h"

int vr_patch_merger_bind(vr_patch_merger *merger, vr_weights *w, int width, int group, int out_width, vr_err *e)
{
    const int joined = group * width;
    *merger = (vr_patch_merger){ .width = width, .group = group };
    VR_TRY(vr_weights_float(w, &merger->epsilon, e, "merger.norm_epsilon"));
    VR_TRY(vr_weights_vector(w, &merger->norm_w, width, e, "merger.norm.weight"));
    VR_TRY(vr_weights_vector(w, &merger->norm_b, width, e, "merger.norm.bias"));
    VR_TRY(vr_weights_matrix(w, &merger->fc1_w, joined, joined, e, "merger.fc1.weight"));
    VR_TRY(vr_weights_vector(w, &merger->fc1_b, joined, e, "merger.fc1.bias"));
    VR_TRY(vr_weights_matrix(w, &merger->fc2_w, out_width, joined, e, "merger.fc2.weight"));
    return vr_weights_vector(w, &merger->fc2_b, out_width, e, "merger.fc2.bias");
}

void vr_patch_merger_forward(const vr_patch_merger *merger, vr_run *run, const float *x, int T, float *out)
{
    const vr_ops *op = run->be->ops;
    const int D = merger->width, rows = T * merger->group;
    const size_t n = (size_t)rows * (size_t)D, mark = vr_arena_mark(run->scratch);
    float *normed = vr_arena_floats(run->scratch, n), *hidden = vr_arena_floats(run->scratch, n);
    op->layer_norm(run->be, normed, x, merger->norm_w, merger->norm_b, rows, D, merger->epsilon);
    op->linear(run->be, hidden, normed, &merger->fc1_w, merger->fc1_b, VR_ACT_GELU, NULL, T);
    op->linear(run->be, out, hidden, &merger->fc2_w, merger->fc2_b, VR_ACT_NONE, NULL, T);
    vr_arena_release(run->scratch, mark);
}
