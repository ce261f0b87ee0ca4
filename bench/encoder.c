/*
 * encoder.c - families vit, qformer, audio: what sees and hears, from a weight file (--weights FILE, vidrun-make-weights).
 *
 *   vit: 1, 4, 8 frames a pass;  qformer: the frames' own and that of the video;  audio: ImageBind and its Q-Former
 *   peer of vit: the same tower in PyTorch, bf16
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/part.h"
#include "compress/qformer.h"
#include "encode/imagebind.h"
#include "encode/vit.h"

enum { FRAMES = 8 }; /* of a video */

typedef struct encoder {
    bench_run *run;
    vr_backend *be;
    vr_weights *w;
    vr_vit *vit;
    vr_qformer *qformer;
    vr_imagebind *imagebind;
    float *x, *y;
    int N, R; /* frames or clips, rows of each that a Q-Former looks at */
} encoder;

static bool take(encoder *m, int64_t n_in, int64_t n_out)
{
    uint64_t seed = 7;
    m->x = malloc((size_t)n_in * sizeof *m->x), m->y = malloc((size_t)n_out * sizeof *m->y);
    for (int64_t i = 0; m->x && i < n_in; i++) m->x[i] = bench_random(&seed);
    return m->x && m->y;
}

/* The group's type: that of the blocks' matrices, as they are multiplied. */
static void type_of_blocks(const encoder *m, const char *prefix, bench_group *g)
{
    char names[64];
    part_matrices all = { 0 };
    snprintf(names, sizeof names, "%s.blk.", prefix);
    part_count(&all, m->w, names, NULL);
    snprintf(g->type, sizeof g->type, "%s", all.quantised ? part_type_name(all.type) : "bf16");
}

/* One line: n_in and n_out numbers. */
static int measure(encoder *m, part *p, bench_group *g, int64_t n_in, int64_t n_out, vr_err *e)
{
    p->rate = strcmp(g->type, "bf16") == 0 ? 2.0 : 4.0, p->model = m;
    const int rc =
        take(m, n_in, n_out) ? part_measure(m->run, m->be, p, g, e) : vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", g->bench);
    free(m->x);
    free(m->y);
    m->x = m->y = NULL;
    return rc;
}

/* ---- vit ---- */

static void forward_vit(void *model, vr_run *pass)
{
    const encoder *m = model;
    vr_vit_forward(m->vit, pass, m->x, m->N, m->y);
}

static void add_torch(const encoder *m, bench_group *g)
{
    const int numbers[] = { m->N,
                            vr_vit_image_size(m->vit),
                            part_key(m->w, "vit", "patch_size"),
                            vr_vit_width(m->vit),
                            vr_vit_heads(m->vit),
                            part_key(m->w, "vit", "feed_forward_length"),
                            vr_vit_block_count(m->vit) };
    peer_add(m->run->peer, g, "vit", NULL, 0, numbers, 7, 3, 0);
}

static int vit(encoder *m, vr_err *e)
{
    static const vr_vit_parts parts = {
        .prefix = "vit", .stage = "vision", .patch_bias = true, .class_row = true, .output_norm = true
    };
    static const int frames[] = { 1, 4, 8 };
    VR_TRY(vr_vit_open(&m->vit, m->w, &parts, e));
    const int64_t T = vr_vit_tokens(m->vit), D = vr_vit_width(m->vit), S = vr_vit_image_size(m->vit);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        m->N = frames[i];
        bench_group g = { .bench = "vit", .least_rounds = m->N > 1 ? 3 : 0 };
        type_of_blocks(m, "vit", &g);
        snprintf(g.shape, sizeof g.shape, "%d frame%s", m->N, m->N > 1 ? "s" : "");
        if (!bench_begin(m->run, &g)) continue;
        add_torch(m, &g);
        part p = { .forward = forward_vit, .operations = m->N * part_tower(m->w, "vit"), .units = m->N, .unit = "frames" };
        VR_TRY(measure(m, &p, &g, m->N * 3 * S * S, m->N * T * D, e));
    }
    return VR_OK;
}

/* ---- Q-Formers ---- */

static void forward_qformer(void *model, vr_run *pass)
{
    const encoder *m = model;
    vr_qformer_forward(m->qformer, pass, m->x, m->N, m->R, m->y, 3);
}

/* One Q-Former: N times its queries look at R rows. */
static int qformer(encoder *m, const char *family, const char *prefix, int N, int R, const char *unit, vr_err *e)
{
    bench_group g = { .bench = family };
    type_of_blocks(m, prefix, &g);
    snprintf(g.shape, sizeof g.shape, "%s %dx%d", prefix, N, R);
    if (!bench_begin(m->run, &g)) return VR_OK;
    VR_TRY(vr_qformer_open(&m->qformer, m->w, prefix, e));
    m->N = N, m->R = R;
    const int64_t Q = vr_qformer_queries(m->qformer), D = vr_qformer_width(m->qformer);
    part p = { .forward = forward_qformer, .operations = N * part_qformer(m->w, prefix, R), .units = N, .unit = unit };
    const int rc = measure(m, &p, &g, (int64_t)N * R * vr_qformer_encoder_width(m->qformer), N * Q * D, e);
    vr_qformer_free(m->qformer);
    m->qformer = NULL;
    return rc;
}

static int qformers(encoder *m, vr_err *e)
{
    const int patch = part_key(m->w, "vit", "patch_size"), side = patch ? part_key(m->w, "vit", "image_size") / patch : 0;
    const int rows = side * side + 1, queries = part_key(m->w, "qformer", "query_count");
    VR_TRY(qformer(m, "qformer", "qformer", 1, rows, "frames", e));
    VR_TRY(qformer(m, "qformer", "qformer", FRAMES, rows, "frames", e));
    if (!vr_weights_has(m->w, "video_qformer.block_count")) return VR_OK;
    return qformer(m, "qformer", "video_qformer", 1, FRAMES * queries, "videos", e);
}

/* ---- sound ---- */

static void forward_imagebind(void *model, vr_run *pass)
{
    const encoder *m = model;
    vr_imagebind_forward(m->imagebind, pass, m->x, m->N, m->y);
}

static int sound(encoder *m, vr_err *e)
{
    int bins, columns, n_clips;
    bench_group g = { .bench = "audio" };
    type_of_blocks(m, "imagebind", &g);
    VR_TRY(vr_weights_int(m->w, &bins, 1, 1024, e, "audio.mel_bins"));
    VR_TRY(vr_weights_int(m->w, &columns, 1, 16384, e, "audio.mel_frames"));
    VR_TRY(vr_weights_int(m->w, &n_clips, 1, 1024, e, "audio.clips"));
    VR_TRY(vr_imagebind_open(&m->imagebind, m->w, bins, columns, e));
    snprintf(g.shape, sizeof g.shape, "imagebind %d clips", n_clips);
    m->N = n_clips;
    part p = { .forward = forward_imagebind, .operations = n_clips * part_imagebind(m->w), .units = n_clips, .unit = "clips" };
    const int64_t n_in = (int64_t)n_clips * bins * columns, n_out = (int64_t)n_clips * vr_imagebind_output_width(m->imagebind);
    if (bench_begin(m->run, &g)) VR_TRY(measure(m, &p, &g, n_in, n_out, e));
    return qformer(m, "audio", "audio_qformer", 1, n_clips, "videos", e);
}

int bench_encoder(bench_run *run, const char *family, vr_err *e)
{
    encoder m = { .run = run };
    if (!run->weights) return vr_fail(e, VR_ERR_USAGE, "%s: --weights FILE is needed", family);
    const vr_cpu_options options = { .n_threads = run->n_threads, .precision = VR_PRECISION_AUTO, .level = run->level };
    int rc = vr_backend_open_cpu(&m.be, &options, e);
    if (rc == VR_OK) rc = vr_weights_open(&m.w, run->weights, e);
    if (rc == VR_OK)
        rc = strcmp(family, "vit") == 0 ? vit(&m, e) : strcmp(family, "audio") == 0 ? sound(&m, e) : qformers(&m, e);
    vr_vit_free(m.vit);
    vr_qformer_free(m.qformer);
    vr_imagebind_free(m.imagebind);
    vr_weights_free(m.w);
    vr_backend_free(m.be);
    return rc;
}
