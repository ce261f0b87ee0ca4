/*
 * flash_vstream_clip_test.c - Flash-VStream's memories of clips against the published rules.
 *
 *   random weights -> system: clip in the memory that was planned -> rows
 *                  -> maps of the same frames -> rules in double -> rows
 */
#include "tests/unit/flash_vstream_support.h"
#include "tests/unit/suite.h"

static void clip_rule(const small_model *small, memory *m, float (*maps)[MAP_ROWS * D], int T, bool paper, vr_random *r)
{
    float mean[FRAMES][D], weights[FRAMES];
    double times[FRAMES];
    int label[FRAMES];
    const int L = T - 1;
    for (int i = 0; i < T; i++) {
        means(m->rows[i], POOLED, maps[i]);
        means(mean[i], 1, maps[i]);
        memcpy(m->maps[i], maps[i], sizeof maps[i]);
        times[i] = i;
    }
    memcpy(m->spatial, maps[T - 1], sizeof m->spatial);
    if (paper) {
        paper_slots(m, m->rows, L, NULL, times, L, r);
    } else {
        m->n_temporal = cluster(m->rows, L, NULL, m->temporal, weights, label, r);
        retrieve(m, m->rows, L, weights, m->n_temporal);
    }
    m->n_abstract = L < N ? L : N;
    memcpy(m->abstract, mean, (size_t)m->n_abstract * sizeof mean[0]);
    for (int i = N; i < L; i += N) attend(small, m, mean + i, L - i < N ? L - i : N);
}

/* Plan, then watch with just the memory that was planned. */
static void clip_watch(const small_model *small, const vr_run *run, vr_source *source, vr_view *view)
{
    const vr_hooks silent = { 0 };
    vr_backend *nothing;
    vr_arena counted, taken;
    vr_err e = { 0 };
    vr_view planned = *view;
    ck_assert_int_eq(vr_backend_open_plan(&nothing, &e), VR_OK);
    vr_arena_plan(&counted);
    vr_run plan = { .be = nothing, .scratch = &counted, .host = &counted };
    ck_assert_int_eq(vr_system_flash_vstream.watch(small->state, &plan, source, &planned, &silent, &e), VR_OK);
    vr_backend_free(nothing);
    ck_assert_int_eq(planned.n_video_rows, view->n_video_rows);
    ck_assert_int_eq(vr_arena_open(&taken, counted.peak, &e), VR_OK);
    vr_run real = { .be = run->be, .scratch = &taken, .host = &taken };
    ck_assert_msg(vr_system_flash_vstream.watch(small->state, &real, source, view, &silent, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(planned.n_video_rows, view->n_video_rows);
    vr_arena_close(&taken);
}

static void expect_facts(const vr_view *view, const memory *m)
{
    vr_facts facts;
    vr_view_facts(view, &facts);
    ck_assert_int_eq(facts.memory.n_slots, m->n_temporal);
    ck_assert_int_eq(facts.memory.n_abstract, m->n_abstract);
    ck_assert_int_eq(facts.memory.n_retrieved, m->n_keys);
    for (int i = 0; i < m->n_keys; i++) {
        ck_assert_int_eq(facts.memory.retrieved[i], m->picks[i]);
        ck_assert(facts.frames[m->picks[i]].high);
    }
    for (int i = 0; i < view->n_frames; i++) {
        const bool newest = i == view->n_frames - 1;
        ck_assert(facts.frames[i].kept && (facts.frames[i].slot == 0) == newest);
        ck_assert_int_le(facts.frames[i].slot, m->n_temporal);
    }
    ck_assert_int_eq((int)facts.n_tokens, view->n_video_rows);
}

static void check_clip(const small_model *small, vr_run run, int T, vr_memory_rule rule, uint64_t seed)
{
    static float maps[FRAMES][MAP_ROWS * D];
    static memory m;
    vr_source *source = open_clip(FIXTURES "count.mkv", NULL);
    vr_source_info info;
    vr_view view = { .image = false };
    vr_err e = { 0 };
    vr_random r = { seed };
    char what[32];
    vr_source_info_get(source, &info);
    ck_assert_msg(vr_system_flash_vstream.plan(small->state, source,
                                               &(vr_watch_options){ .n_frames = T, .seed = seed, .memory = rule }, &view,
                                               &e) == VR_OK,
                  "%s", e.text);
    ck_assert_int_eq(view.n_frames, T);
    const size_t n_bytes = (size_t)T * 3 * (size_t)info.width * (size_t)info.height;
    uint8_t *rgb = malloc(n_bytes);
    ck_assert_ptr_nonnull(rgb);
    read_frames(source, rgb, view.frame_indices, T, info.width, info.height, VR_RESIZE_PIL_BICUBIC, NULL);
    maps_make(small, &run, rgb, T, info.width, info.height, maps);
    free(rgb);
    view.rows = vr_arena_floats(run.scratch, (size_t)view.n_video_rows * DL);
    clip_watch(small, &run, source, &view);
    m = (memory){ 0 };
    if (T > 1) clip_rule(small, &m, maps, T, rule == VR_MEMORY_PAPER, &r);
    memcpy(m.spatial, maps[T - 1], sizeof m.spatial);
    snprintf(what, sizeof what, "clip of %d", T);
    expect_rows(small, &run, &m, view.rows, view.n_video_rows, what);
    if (T > 1) expect_facts(&view, &m);
    vr_view_free(&view);
    vr_source_free(source);
}

START_TEST(clips) /* one frame, less than a memory, just one, more; chunks of the abstract memory cut short and whole */
{
    static const int lengths[] = { 1, 2, 4, 6, 7, 12, 13, 23 };
    vr_random r = random_open();
    small_model m;
    vr_err e = { 0 };
    ck_assert_msg(small_open(&m, &r, POOLED, &e) == VR_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const uint64_t seed = vr_random_next(&r);
        EVERY_RUN(check_clip(&m, run, lengths[i], VR_MEMORY_ORIGINAL, seed));
        EVERY_RUN(check_clip(&m, run, lengths[i], VR_MEMORY_PAPER, seed));
    }
    small_free(&m);
}
END_TEST

START_TEST(refused) /* 3 tokens a line cannot be made of 4 by whole windows */
{
    vr_random r = { 1 };
    small_model m;
    vr_err e = { 0 };
    ck_assert_int_eq(small_open(&m, &r, 3, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "memory.temporal_side 3") != NULL, "%s", e.text);
    small_free(&m);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("flash_vstream_clip");
    tcase_add_test(tests, clips);
    tcase_add_test(tests, refused);
    return suite_run_case("flash_vstream_clip", tests);
}
