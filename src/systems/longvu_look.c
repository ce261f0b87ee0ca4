/*
 * longvu_look.c - LongVU: a clip becomes one grid of rows for each frame kept.
 *
 *   16 frames: pad, resize -> DINOv2 -> 24x24 rows -> similarity -> frames kept
 *              of those:      SigLIP -> 24x24 rows ; both -> aux projections -> sampler -> grid [q*q, W]
 *
 * Memory holds 16 frames, never the clip. Where more than 400 frames might be kept, the first pass only chooses and the
 * second looks at the chosen ones again: at most 400 frames are then seen twice by DINOv2.
 * Ref:  LongVU cambrian_arch.py:646-937, mm_datautils.py:252-297.
 */
#include "systems/longvu.h"

#include "base/clock.h"
#include "compress/frame_select.h"
#include "media/frames.h"

#define WINDOW VR_FRAME_WINDOW
#define PASS   2 /* frames that go through a tower together: 730 rows each are enough for every core */

/* One pass over some of the sampled frames. */
typedef struct pass {
    const vr_longvu *s;
    vr_run *run;
    const vr_hooks *hooks;
    vr_longvu_features *f;
    vr_frames *frames; /* NULL: planning */
    bool select, make; /* choose frames by similarity; make grids of those kept */
    vr_dump *dump;     /* of the stages before the choice: not in a second pass */
    double decoding, dino, siglip, sampler;
    uint8_t *rgb, *square; /* [height,width,3], [side,side,3] */
    uint8_t *pictures;     /* [WINDOW] pictures of SigLIP, [S,S,3] in picture_bytes each */
    size_t picture_bytes;
    float *planes;                    /* [3,S,S] */
    float *pixels, *rows, *dino_rows; /* [PASS,3,S,S], [PASS,tokens,D], [WINDOW, 24*24, D] */
} pass;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t pixel_count(const vr_longvu_tower *t)
{
    const size_t S = (size_t)vr_vit_image_size(t->vit);
    return 3 * S * S;
}

static size_t row_floats(const vr_longvu_tower *t)
{
    return (size_t)vr_vit_tokens(t->vit) * (size_t)vr_vit_width(t->vit);
}

/* the picture in p->square as one tower's u8 pixels */
static int resize(const pass *p, const vr_longvu_tower *t, uint8_t *out, vr_err *e)
{
    const int S = vr_vit_image_size(t->vit), w = p->f->width, h = p->f->height, side = w > h ? w : h;
    vr_pad_square(p->square, p->rgb, w, h, t->pad);
    return vr_resize_pil_bicubic(out, S, S, p->square, side, side, e);
}

static void pixels_write(pass *p, const vr_longvu_tower *t, const uint8_t *picture, int slot, vr_dump *dump, const char *stage)
{
    const int S = vr_vit_image_size(t->vit);
    const size_t n = pixel_count(t);
    vr_pixels_normalise(p->planes, picture, S, S, t->mean, t->std);
    vr_dump_f32(dump, stage, p->planes, 4, (const int64_t[4]){ 1, 3, S, S });
    p->run->be->write(p->run->be, p->pixels + (size_t)slot * n, p->planes, n * sizeof *p->planes);
}

/* n frames of p->pixels through a tower -> out [n, 24*24, D] */
static void tower_forward(pass *p, const vr_longvu_tower *t, int n, float *out, vr_dump *dump, const char *stage)
{
    const int D = vr_vit_width(t->vit), tokens = vr_vit_tokens(t->vit), side = vr_vit_side(t->vit), to = p->s->tower_side;
    const float *patches = p->rows + (size_t)(tokens - side * side) * (size_t)D; /* behind the class row */
    vr_run run = *p->run;
    run.dump = dump;
    vr_vit_forward(t->vit, &run, p->pixels, n, p->rows);
    run.be->ops->resize_grid(run.be, out, to, patches, (int64_t)tokens * D, side, n, D);
    vr_run_dump(&run, out, 3, (const int64_t[3]){ n, (int64_t)to * to, D }, "%s", stage);
}

/* The next m frames through DINOv2 -> p->dino_rows; their pictures for SigLIP wait. */
static int window_read(pass *p, int m, vr_err *e)
{
    const vr_longvu *s = p->s;
    const size_t per_frame = (size_t)s->tower_side * (size_t)s->tower_side * (size_t)vr_vit_width(s->dino.vit);
    for (int first = 0; first < m; first += PASS) {
        const int n = m - first < PASS ? m - first : PASS;
        const double start = vr_clock();
        VR_TRY(vr_hooks_check(p->hooks, e));
        for (int i = 0; p->frames && i < n; i++) {
            int index;
            uint8_t *picture = p->pictures + (size_t)(first + i) * p->picture_bytes;
            VR_TRY(vr_frames_next(p->frames, p->rgb, &index, e));
            VR_TRY(resize(p, &s->dino, picture, e)); /* for a moment: SigLIP's replaces it */
            pixels_write(p, &s->dino, picture, i, p->dump, "input.pixels.dino");
            VR_TRY(resize(p, &s->siglip, picture, e));
        }
        const double decoded = vr_clock();
        tower_forward(p, &s->dino, n, p->dino_rows + (size_t)first * per_frame, p->dump, "vision.dino.out");
        VR_TRY(vr_backend_sync(p->run->be, e));
        p->decoding += decoded - start;
        p->dino += vr_clock() - decoded;
    }
    return VR_OK;
}

/* Positions of the window's frames that are kept; returns their number. */
static int window_choose(pass *p, int window, int first, int m, int32_t *kept)
{
    float similarity[WINDOW];
    if (!p->select) {
        for (int j = 0; j < m; j++) kept[j] = first + j;
        return m;
    }
    const size_t mark = vr_arena_mark(p->run->scratch);
    float *there = vr_arena_floats(p->run->scratch, WINDOW);
    const int64_t D = (int64_t)p->s->tower_side * p->s->tower_side * vr_vit_width(p->s->dino.vit);
    p->run->be->ops->frame_similarity(p->run->be, there, p->dino_rows, m, D, WINDOW);
    vr_run_dump(p->run, there, 1, (const int64_t[1]){ m }, "compress.dino.similarity.%02d", window);
    p->run->be->read(p->run->be, similarity, there, (size_t)m * sizeof *there);
    vr_arena_release(p->run->scratch, mark);
    if (p->run->be->plan) { /* nothing was computed: plan for all */
        for (int j = 0; j < m; j++) kept[j] = first + j;
        return m;
    }
    return vr_frame_select(similarity, m, p->s->dino_threshold, first, kept);
}

/* n <= PASS kept frames (positions in the window: at[i]) -> grids p->f->grids[done..]. */
static int grids_make(pass *p, const int *at, int n, int done, vr_err *e)
{
    const vr_longvu *s = p->s;
    const vr_ops *op = p->run->be->ops;
    vr_run *run = p->run;
    const int tokens = s->tower_side * s->tower_side, W = vr_spatial_sampler_width(s->sampler),
              q = s->query_side * s->query_side;
    const size_t mark = vr_arena_mark(run->scratch), dino_floats = (size_t)tokens * (size_t)vr_vit_width(s->dino.vit);
    float *siglip_rows = vr_arena_floats(run->scratch, (size_t)n * (size_t)tokens * (size_t)vr_vit_width(s->siglip.vit));
    float *aux[VR_SAMPLER_TOWERS], *context = vr_arena_floats(run->scratch, (size_t)n * (size_t)W);
    for (int i = 0; i < VR_SAMPLER_TOWERS; i++) aux[i] = vr_arena_floats(run->scratch, (size_t)(n * tokens) * (size_t)W);
    const double start = vr_clock();
    for (int i = 0; p->frames && i < n; i++)
        pixels_write(p, &s->siglip, p->pictures + (size_t)at[i] * p->picture_bytes, i, run->dump, "input.pixels.siglip");
    tower_forward(p, &s->siglip, n, siglip_rows, run->dump, "vision.siglip.out");
    VR_TRY(vr_backend_sync(run->be, e));
    const double seen = vr_clock();
    vr_project_mlp_forward(&s->siglip.aux, run, siglip_rows, n * tokens, aux[0]);
    for (int i = 0; i < n; i++)
        vr_project_mlp_forward(&s->dino.aux, run, p->dino_rows + (size_t)at[i] * dino_floats, tokens,
                               aux[1] + (size_t)(i * tokens) * (size_t)W);
    op->mean_rows(run->be, context, aux[0], n, tokens, W);
    vr_run_dump(run, aux[0], 3, (const int64_t[3]){ n, tokens, W }, "project.aux.siglip");
    vr_run_dump(run, aux[1], 3, (const int64_t[3]){ n, tokens, W }, "project.aux.dino");
    vr_run_dump(run, context, 2, (const int64_t[2]){ n, W }, "project.context");
    const vr_crop open = vr_crop_open(s->tower_side, p->f->pair_a, p->f->pair_b);
    if (done == 0) vr_spatial_sampler_dump_mask(s->sampler, run, &open);
    const float *const features[VR_SAMPLER_TOWERS] = { aux[0], aux[1] };
    vr_spatial_sampler_forward(s->sampler, run, features, context, &open, n,
                               p->f->grids + (size_t)done * (size_t)q * (size_t)W);
    vr_arena_release(run->scratch, mark);
    VR_TRY(vr_backend_sync(run->be, e));
    p->siglip += seen - start;
    p->sampler += vr_clock() - seen;
    return VR_OK;
}

static void buffers_take(pass *p)
{
    const vr_longvu *s = p->s;
    const size_t w = (size_t)p->f->width, h = (size_t)p->f->height, side = larger(w, h),
                 tokens = (size_t)s->tower_side * (size_t)s->tower_side;
    const size_t pixels = larger(pixel_count(&s->dino), pixel_count(&s->siglip));
    vr_arena *host = p->run->host, *scratch = p->run->scratch;
    p->rgb = vr_arena_alloc(host, 3 * w * h, 1);
    p->square = vr_arena_alloc(host, 3 * side * side, 1);
    p->picture_bytes = pixels;
    p->pictures = vr_arena_alloc(host, WINDOW * pixels, 1);
    p->planes = vr_arena_floats(host, pixels);
    p->pixels = vr_arena_floats(scratch, PASS * pixels);
    p->rows = vr_arena_floats(scratch, PASS * larger(row_floats(&s->dino), row_floats(&s->siglip)));
    p->dino_rows = vr_arena_floats(scratch, WINDOW * tokens * (size_t)vr_vit_width(s->dino.vit));
}

/* n frames in windows; *n_kept positions (in 0..n-1) to kept, and their grids where p->make. */
static int windows_run(pass *p, int n, int32_t *kept, int *n_kept, vr_err *e)
{
    const int n_run = p->run->be->plan && n > WINDOW ? WINDOW : n;
    *n_kept = 0;
    for (int first = 0; first < n_run; first += WINDOW) {
        const int m = n_run - first < WINDOW ? n_run - first : WINDOW;
        int32_t here[WINDOW];
        VR_TRY(window_read(p, m, e));
        const int count = window_choose(p, first / WINDOW, first, m, here);
        for (int i = 0; p->make && i < count; i += PASS) {
            int at[PASS];
            const int k = count - i < PASS ? count - i : PASS;
            for (int j = 0; j < k; j++) at[j] = here[i + j] - first;
            VR_TRY(grids_make(p, at, k, *n_kept + i, e));
        }
        for (int i = 0; i < count; i++) kept[(*n_kept)++] = here[i];
        if (p->frames) vr_hooks_progress(p->hooks, "vision", first + m, n);
    }
    return VR_OK;
}

static int pass_run(pass *p, vr_source *source, const int64_t *indices, int n, int32_t *kept, int *n_kept, vr_err *e)
{
    const size_t mark = vr_arena_mark(p->run->scratch);
    buffers_take(p);
    if (!p->run->be->plan)
        VR_TRY(vr_frames_open(&p->frames, source, indices, n, p->f->width, p->f->height, VR_RESIZE_SWS_BILINEAR, &p->hooks->log,
                              e));
    const int rc = windows_run(p, n, kept, n_kept, e);
    vr_frames_free(p->frames);
    p->frames = NULL;
    vr_arena_release(p->run->scratch, mark);
    return rc;
}

/* Look again at the frames kept, without choosing. */
static int kept_run(pass *p, vr_source *source, const vr_view *view, vr_err *e)
{
    vr_longvu_features *f = p->f;
    const size_t mark = vr_arena_mark(p->run->scratch);
    int64_t *indices = vr_arena_alloc(p->run->host, VR_FRAME_MOST, sizeof *indices);
    int32_t *positions = vr_arena_alloc(p->run->host, VR_FRAME_MOST, sizeof *positions);
    const bool plan = p->run->be->plan; /* the memory of indices and positions is only counted then */
    int n;
    if (!plan) {
        f->n = vr_frame_thin(f->kept, f->n);
        for (int i = 0; i < f->n; i++) indices[i] = view->frame_indices[f->kept[i]];
    }
    p->select = false;
    p->make = true;
    p->dump = NULL;
    const int rc = pass_run(p, source, indices, plan ? WINDOW : f->n, plan ? f->kept : positions, &n, e);
    vr_arena_release(p->run->scratch, mark);
    return rc;
}

int vr_longvu_look(const vr_longvu *s, vr_run *run, vr_source *source, const vr_view *view, bool select, vr_longvu_features *f,
                   const vr_hooks *hooks, vr_err *e)
{
    const bool twice = select && f->n_in > VR_FRAME_MOST;
    pass p = {
        .s = s, .run = run, .hooks = hooks, .f = f, .select = select, .make = !twice || run->be->plan, .dump = run->dump
    };
    VR_TRY(pass_run(&p, source, view->frame_indices, f->n_in, f->kept, &f->n, e));
    if (f->n == 0)
        return vr_fail(e, VR_ERR_WEIGHTS, "no frame is kept with longvu.dino_threshold %g", (double)s->dino_threshold);
    if (twice) VR_TRY(kept_run(&p, source, view, e));
    f->selected = select;
    f->looked = true;
    if (!view->image) vr_dump_i32(vr_run_stages(run), "compress.dino.kept", f->kept, 1, (const int64_t[1]){ f->n });
    if (run->be->plan) return VR_OK;
    vr_hooks_timing(hooks, "frames", p.decoding, f->n_in, "frames");
    vr_hooks_timing(hooks, "dino", p.dino, f->n_in, "frames");
    vr_hooks_timing(hooks, "siglip", p.siglip, f->n, "frames");
    vr_hooks_timing(hooks, "sampler", p.sampler, f->n, "frames");
    return VR_OK;
}
