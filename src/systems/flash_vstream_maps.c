/*
 * flash_vstream_maps.c - Flash-VStream: what clips and streams share: frames -> maps, memory -> rows of the decoder.
 *
 *   rgb -> CLIP's crop [3,S,S] -> CLIP ViT [257,D] -> without the class row [256,D] -> means of 2x2: map [64,D]
 *   abstract | temporal | retrieved | spatial [<= 681, D] -> project [., Dl]
 *
 * Ref:  Flash-VStream-LLaVA clip_encoder.py:24-52, vstream_arch.py:193-277; transformers 4.31 image_processing_clip.py.
 */
#include "systems/flash_vstream.h"

#include "media/clip_pixels.h"
#include "media/frames.h"

int vr_flash_rows(const vr_flash *s, int n_abstract, int n_temporal, int n_maps)
{
    return n_abstract * s->abstract.P + n_temporal * s->temporal_tokens + n_maps * s->map_tokens;
}

void vr_flash_picture_take(const vr_flash *s, vr_run *run, vr_flash_picture *picture)
{
    const size_t n = 3 * (size_t)vr_vit_image_size(s->vit) * (size_t)vr_vit_image_size(s->vit);
    picture->crop = vr_arena_alloc(run->host, n, 1);
    picture->planes = vr_arena_floats(run->host, n);
}

int vr_flash_pixels(const vr_flash *s, vr_run *run, const vr_flash_picture *picture, const uint8_t *rgb, int width, int height,
                    float *pixels, vr_err *e)
{
    const int S = vr_vit_image_size(s->vit);
    VR_TRY(vr_clip_pixels_crop(picture->crop, S, rgb, width, height, e));
    vr_dump_u8(run->dump, "input.pixels.u8", picture->crop, 4, (const int64_t[4]){ 1, S, S, 3 });
    vr_pixels_normalise(picture->planes, picture->crop, S, S, s->mean, s->std);
    vr_dump_f32(run->dump, "input.pixels", picture->planes, 4, (const int64_t[4]){ 1, 3, S, S });
    run->be->write(run->be, pixels, picture->planes, 3 * (size_t)S * (size_t)S * sizeof *pixels);
    return VR_OK;
}

void vr_flash_maps(const vr_flash *s, vr_run *run, const float *pixels, int n, float *maps)
{
    const vr_ops *op = run->be->ops;
    const int D = s->D, side = vr_vit_side(s->vit), P = side * side, tokens = vr_vit_tokens(s->vit);
    const size_t mark = vr_arena_mark(run->scratch);
    float *rows = vr_arena_floats(run->scratch, (size_t)n * (size_t)tokens * (size_t)D);
    float *patches = vr_arena_floats(run->scratch, (size_t)n * (size_t)P * (size_t)D);
    vr_vit_forward(s->vit, run, pixels, n, rows);
    op->copy_rows(run->be, patches, (int64_t)P * D, rows + D, (int64_t)tokens * D, n, P * D);
    vr_run_dump(run, patches, 3, (const int64_t[3]){ n, P, D }, "vision.out");
    op->pool_grid(run->be, maps, s->map_side, patches, (int64_t)P * D, side, false, n, D);
    vr_arena_release(run->scratch, mark);
}

void vr_flash_pool(const vr_flash *s, vr_run *run, const float *maps, int n, int side, float *out)
{
    run->be->ops->pool_grid(run->be, out, side, maps, (int64_t)s->map_tokens * s->D, s->map_side, false, n, s->D);
}

int vr_flash_pieces(const vr_flash *s, const vr_flash_memory *m, vr_flash_piece *pieces)
{
    const size_t map_floats = (size_t)s->map_tokens * (size_t)s->D;
    int n = 0;
    pieces[n++] = (vr_flash_piece){ m->abstract, m->n_abstract * s->abstract.P };
    pieces[n++] = (vr_flash_piece){ m->temporal, m->n_temporal * s->temporal_tokens };
    for (int i = 0; i < m->n_picks; i++)
        pieces[n++] = (vr_flash_piece){ m->retrieved + (size_t)m->picks[i] * map_floats, s->map_tokens };
    pieces[n++] = (vr_flash_piece){ m->spatial, m->n_spatial * s->map_tokens };
    return n;
}

void vr_flash_project(const vr_flash *s, vr_run *run, const float *x, int n, float *rows)
{
    vr_run_dump(run, x, 2, (const int64_t[2]){ n, s->D }, "compress.memory");
    vr_project_mlp_forward(&s->project, run, x, n, rows);
    vr_run_dump(run, rows, 2, (const int64_t[2]){ n, s->project.fc2_w.rows }, "project.video");
}
