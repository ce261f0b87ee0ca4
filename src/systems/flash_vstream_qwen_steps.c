/*
 * flash_vstream_qwen_steps.c - Flash-VStream (Qwen): what clips and streams share.
 *
 *   frame -> picture;   pictures of a step -> patches -> ViT -> features;   slots, bank -> steps that are shown whole
 *   features -> merger -> rows of the decoder
 */
#include "compress/retrieve.h"
#include "compress/weight_order.h"
#include "media/frames.h"
#include "systems/flash_vstream_qwen.h"

size_t vr_flash_qwen_picture_bytes(const vr_flash_qwen_layout *layout)
{
    return 3 * (size_t)layout->full.height * (size_t)layout->full.width;
}

size_t vr_flash_qwen_floats(const vr_flash_qwen *s, const vr_qwen_grid *grid)
{
    return (size_t)vr_qwen_grid_patches(grid) * (size_t)vr_qwen_vit_width(s->vit);
}

size_t vr_flash_qwen_row_floats(const vr_flash_qwen *s, int n)
{
    return (size_t)n * (size_t)vr_llama_config_get(s->llama)->width;
}

int vr_flash_qwen_picture(const vr_flash_qwen_layout *layout, const uint8_t *rgb, uint8_t *picture, vr_err *e)
{
    return vr_resize_pil_bicubic(picture, layout->full.width, layout->full.height, rgb, layout->first_width,
                                 layout->first_height, e);
}

void vr_flash_qwen_patches_take(const vr_flash_qwen_layout *layout, vr_run *run, vr_flash_qwen_patches *patches)
{
    const size_t n = (size_t)vr_qwen_grid_patches(&layout->full) * vr_qwen_patch_floats(&layout->full);
    patches->here = vr_arena_floats(run->host, n);
    patches->there = vr_arena_floats(run->scratch, n);
}

void vr_flash_qwen_encode(const vr_flash_qwen *s, vr_run *run, const vr_flash_qwen_patches *patches, const vr_qwen_grid *grid,
                          const uint8_t *pictures, int n, float *out, const char *stage)
{
    const int P = vr_qwen_grid_patches(grid);
    const size_t width = vr_qwen_patch_floats(grid), of_step = (size_t)P * width;
    const size_t step_bytes = 3 * (size_t)grid->height * (size_t)grid->width * (size_t)grid->depth;
    for (size_t i = 0; !run->be->plan && i < (size_t)n; i++)
        vr_qwen_patches(patches->here + i * of_step, pictures + i * step_bytes, grid, s->mean, s->std);
    vr_dump_f32(vr_run_stages(run), stage, patches->here, 2, (const int64_t[2]){ (int64_t)n * P, (int64_t)width });
    run->be->write(run->be, patches->there, patches->here, (size_t)n * of_step * sizeof *patches->here);
    vr_qwen_vit_forward(s->vit, run, patches->there, n, grid, out);
}

void vr_flash_qwen_choose(vr_run *run, const float *slots, const float *weights, int K, const float *bank, int T, size_t floats,
                          int n, int32_t *rows)
{
    const size_t mark = vr_arena_mark(run->host);
    int32_t *order = vr_arena_alloc(run->host, (size_t)K, sizeof *order);
    const size_t scratch = vr_arena_mark(run->scratch);
    float *keys = vr_arena_floats(run->scratch, (size_t)n * floats);
    if (!run->be->plan) {
        vr_order_descending(weights, K, order);
        vr_dump_i32(run->dump, "compress.dam.order", order, 1, (const int64_t[1]){ K });
        run->be->ops->gather_rows(run->be, keys, slots, order, n, (int)floats);
    }
    vr_retrieve_expanded(run, keys, n, bank, T, (int)floats, false, rows);
    vr_arena_release(run->scratch, scratch);
    vr_arena_release(run->host, mark);
}

void vr_flash_qwen_merge(const vr_flash_qwen *s, vr_run *run, const float *x, int T, float *rows)
{
    const int D = vr_qwen_vit_width(s->vit), Dl = vr_llama_config_get(s->llama)->width, group = s->merger.group;
    vr_run_dump(run, x, 2, (const int64_t[2]){ (int64_t)T * group, D }, "compress.memory");
    vr_patch_merger_forward(&s->merger, run, x, T, rows);
    vr_run_dump(run, rows, 2, (const int64_t[2]){ T, Dl }, "project.video");
}
