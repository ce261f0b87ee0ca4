/*
 * videollamb_clip_test.c - a tiny VideoLLaMB on clips: scenes, frames that are kept, what is refused.
 *
 *   plan, watch in the memory that was planned -> rows, facts
 */
#include "tests/unit/suite.h"
#include "tests/unit/videollamb_support.h"

START_TEST(frames_that_cannot_be)
{
    static const struct {
        int n_frames;
        const char *says;
    } wrong[] = {
        { 12, "nearest are 8 and 16" }, { 3, "nearest is 8" }, { 63, "nearest are 56 and 64" }, { 72, "64 frames at most" }
    };
    whole w;
    whole_open(&w, true);
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vr_err e = { 0 };
        vr_view view = { 0 };
        const vr_watch_options options = { .n_frames = wrong[i].n_frames };
        ck_assert_int_eq(vr_system_videollamb.plan(w.state, source, &options, &view, &e), VR_ERR_USAGE);
        ck_assert_msg(strstr(e.text, wrong[i].says) != NULL, "%s", e.text);
        vr_view_free(&view);
    }
    vr_source_free(source);
    whole_close(&w);
}
END_TEST

START_TEST(files_that_cannot_be)
{
    vr_err e = { 0 };
    void *state;
    model m = { 0 };
    system_add(&m, true, 3); /* groups of 2 */
    model_open(&m);
    ck_assert_int_eq(vr_system_open(&vr_system_videollamb, &state, m.weights, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "video.frames_multiple 3") != NULL, "%s", e.text);
    model_free(&m);
}
END_TEST

/* Watches a clip in memory that was planned; the clip's rows are finite and as many as its scenes make. */
static void clip_watch(whole *w, bool a, int n_frames)
{
    const vr_system *system = &vr_system_videollamb;
    const vr_hooks silent = { 0 };
    vr_err e = { 0 };
    vr_view view = { 0 };
    vr_backend *nothing;
    vr_arena counted, arena;
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    ck_assert_int_eq(system->plan(w->state, source, &(vr_watch_options){ .n_frames = n_frames }, &view, &e), VR_OK);
    const int most = view.n_video_rows;
    ck_assert_int_eq(vr_backend_open_plan(&nothing, &e), VR_OK);
    vr_arena_plan(&counted);
    vr_run plan = { .be = nothing, .scratch = &counted, .host = &counted };
    ck_assert_int_eq(system->watch(w->state, &plan, source, &view, &silent, &e), VR_OK);
    ck_assert_int_eq(vr_arena_open(&arena, counted.peak, &e), VR_OK);
    vr_run run = { .be = w->run.be, .scratch = &arena, .host = &arena };
    view.rows = calloc((size_t)most * DL, sizeof *view.rows);
    ck_assert_ptr_nonnull(view.rows);
    ck_assert_msg(system->watch(w->state, &run, source, &view, &silent, &e) == VR_OK, "%s", e.text);
    ck_assert_int_le(view.n_video_rows, most);
    for (int i = 0; i < view.n_video_rows * DL; i++) ck_assert(isfinite(view.rows[i]));
    if (a) {
        expect_scenes(&view, 3);
        const int last = view.scene_facts[2].last - view.scene_facts[2].first + 1;
        ck_assert_int_eq(view.n_video_rows, 4 * (last < 3 ? last : 3));
    } else {
        ck_assert_int_eq(view.n_video_rows, M * view.facts.n_scenes);
        expect_scenes(&view, view.facts.n_scenes);
        if (n_frames <= 3) ck_assert_int_eq(view.facts.n_scenes, n_frames);
    }
    free(view.rows);
    vr_arena_close(&arena);
    vr_backend_free(nothing);
    vr_source_free(source);
    vr_view_free(&view);
}

START_TEST(clips)
{
    seed_draw();
    whole w;
    whole_open(&w, true);
    clip_watch(&w, true, 8);
    clip_watch(&w, true, 40);
    whole_close(&w);
    whole_open(&w, false);
    clip_watch(&w, false, 1);
    clip_watch(&w, false, 3);
    clip_watch(&w, false, 4);
    clip_watch(&w, false, 37);
    whole_close(&w);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("videollamb_clip");
    tcase_add_test(tests, frames_that_cannot_be);
    tcase_add_test(tests, files_that_cannot_be);
    tcase_add_test(tests, clips);
    return suite_run_case("videollamb_clip", tests);
}
