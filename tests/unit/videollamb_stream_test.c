/*
 * videollamb_stream_test.c - a tiny VideoLLaMB on streams: frames that are kept, snapshots, captions.
 *
 *   frames one by one -> events; snapshot -> rows
 */
#include "tests/unit/suite.h"
#include "tests/unit/videollamb_support.h"

typedef struct watched {
    whole w;
    void *memory, *shot;
    int64_t n;
} watched;

static void watched_open(watched *t, bool a, vr_captions captions)
{
    const vr_stream_options options = { .fps = 2, .captions = captions, .query = captions == VR_CAPTIONS_OFF ? NULL : "what?" };
    vr_err e = { 0 };
    whole_open(&t->w, a);
    t->n = 0;
    ck_assert_int_eq(vr_system_videollamb.stream->open(t->w.state, &options, &t->w.run, &t->memory, &e), VR_OK);
    ck_assert_int_eq(vr_system_videollamb.stream->snapshot_open(t->w.state, t->memory, &t->shot, &e), VR_OK);
}

static void watched_close(watched *t)
{
    vr_system_videollamb.stream->snapshot_free(t->shot);
    vr_system_videollamb.stream->free(t->memory);
    whole_close(&t->w);
}

/* One more frame, of a colour; time passes at 2 frames a second. */
static vr_stream_event watched_add(watched *t, int red, int green)
{
    uint8_t rgb[S * S * 3] = { 0 };
    vr_err e = { 0 };
    vr_stream_event event = { 0 };
    for (int i = 0; i < S * S; i++) {
        rgb[3 * i] = (uint8_t)(red + i);
        rgb[3 * i + 1] = (uint8_t)(green + rand() % 3);
    }
    const vr_stream_frame frame = { rgb, S, S, t->n, (double)t->n / 2, 10 * t->n };
    const size_t mark = vr_arena_mark(t->w.run.scratch);
    const int rc = vr_system_videollamb.stream->add(t->w.state, t->memory, &t->w.run, &frame, &event, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    vr_arena_release(t->w.run.scratch, mark);
    t->n++;
    return event;
}

static void watched_take(watched *t)
{
    vr_err e = { 0 };
    ck_assert_int_eq(vr_system_videollamb.stream->snapshot_take(t->w.state, t->memory, t->shot, &e), VR_OK);
}

/* Shows the snapshot; which frames it is made of. */
static vr_view watched_show(watched *t)
{
    const vr_stream_system *stream = vr_system_videollamb.stream;
    const vr_hooks silent = { 0 };
    vr_err e = { 0 };
    vr_view view = { 0 };
    view.rows = calloc((size_t)stream->rows_most(t->w.state) * DL, sizeof *view.rows);
    const size_t mark = vr_arena_mark(t->w.run.scratch);
    const int rc = stream->show(t->w.state, t->shot, &t->w.run, &view, &silent, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    vr_arena_release(t->w.run.scratch, mark);
    ck_assert_int_le(view.n_video_rows, stream->rows_most(t->w.state));
    for (int i = 0; i < view.n_video_rows * DL; i++) ck_assert(isfinite(view.rows[i]));
    return view;
}

static void view_done(vr_view *view)
{
    free(view->rows);
    view->rows = NULL;
    vr_view_free(view);
}

START_TEST(frames_of_a_stream)
{
    watched t;
    watched_open(&t, true, VR_CAPTIONS_OFF);
    for (int i = 0; i < 2; i++) watched_add(&t, i, 0);
    watched_take(&t);
    vr_view view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 8); /* two frames are spread over eight places */
    for (int i = 0; i < 8; i++) ck_assert_int_eq(view.frame_indices[i], i == 7 ? 10 : 0);
    expect_scenes(&view, 3);
    view_done(&view);

    while (t.n < 128) watched_add(&t, (int)t.n, 0);
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 128); /* all of them */
    for (int i = 0; i < 128; i++) ck_assert_int_eq(view.frame_indices[i], 10 * i);
    const vr_view before = view;

    while (t.n < 131) watched_add(&t, 0, 0); /* 0, 2, ... 126, 128, 130 are kept */
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 128); /* the snapshot is what it was, though its frames have left the memory */
    ck_assert_int_eq(view.frame_indices[127], 1270);
    ck_assert_int_eq(view.n_video_rows, before.n_video_rows);
    ck_assert_mem_eq(view.rows, before.rows, (size_t)view.n_video_rows * DL * sizeof *view.rows);
    view_done(&view);
    view = before;
    view_done(&view);
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 64);
    ck_assert_int_eq(view.frame_indices[63], 1300);
    for (int i = 0; i < 64; i++) ck_assert_int_eq(view.frame_indices[i] % 20, 0);
    view_done(&view);

    while (t.n < 5000) {
        watched_add(&t, 0, 0);
        if (t.n % 7 == 0) watched_take(&t);
    }
    watched_take(&t);
    view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 64); /* however many are kept: 80 here, every 64th and the newest */
    ck_assert_int_eq(view.frame_indices[0], 0);
    ck_assert_int_eq(view.frame_indices[63], 49990); /* the newest is always there */
    for (int i = 1; i < 64; i++) {
        const int64_t step = view.frame_indices[i] - view.frame_indices[i - 1];
        ck_assert(step > 0 && step <= 2 * 640);
    }
    view_done(&view);

    for (int i = 0; i < 200; i++) { /* the stride doubles within, and the number stays */
        for (int k = 0; k < 29; k++) watched_add(&t, 0, 0);
        watched_take(&t);
        view = watched_show(&t);
        ck_assert_int_eq(view.n_frames, 64);
        view_done(&view);
    }
    watched_close(&t);
}
END_TEST

START_TEST(memories_of_a_stream) /* B: no captions, any number of frames */
{
    watched t;
    watched_open(&t, false, VR_CAPTIONS_ORIGINAL);
    for (int i = 0; i < 13; i++) {
        const vr_stream_event event = watched_add(&t, 20 * i, 100);
        ck_assert(!event.caption);
    }
    watched_take(&t);
    vr_view view = watched_show(&t);
    ck_assert_int_eq(view.n_frames, 13);
    ck_assert_int_eq(view.n_video_rows, M * view.facts.n_scenes);
    view_done(&view);
    watched_close(&t);
}
END_TEST

START_TEST(captions_of_the_original)
{
    watched t;
    int64_t last = 0;
    int n = 0;
    watched_open(&t, true, VR_CAPTIONS_ORIGINAL);
    for (int i = 0; i < 60; i++) {
        const vr_stream_event event = watched_add(&t, i / 10 % 2 * 200, i / 10 % 2 * 30);
        ck_assert_int_eq(event.queried, i == 1); /* the first frame later than the query */
        ck_assert(i != 1 || (event.caption && event.seconds == 0));
        if (i < 2 || !event.caption) continue;
        ck_assert_int_ge(event.n_scenes, 2);
        ck_assert_int_ge(i - last, 2); /* never after two frames in a row */
        ck_assert(event.seconds == (double)i / 2);
        last = i;
        n++;
    }
    ck_assert_int_gt(n, 10); /* once there were two boundaries, every second frame */
    watched_close(&t);
}
END_TEST

START_TEST(captions_of_scenes)
{
    watched t;
    double end = 0;
    int n = 0;
    watched_open(&t, true, VR_CAPTIONS_SCENES);
    for (int i = 0; i < 60; i++) {
        const vr_stream_event event = watched_add(&t, i / 12 % 2 * 200, i / 12 % 2 * 30);
        if (!event.caption) continue;
        n++;
        ck_assert_int_eq(event.n_scenes, n);
        ck_assert(event.scene_start == end && event.scene_end > event.scene_start); /* nothing is left out */
        ck_assert(event.scene_end + 0.5 <= event.seconds);
        end = event.scene_end;
    }
    ck_assert_int_ge(n, 3);
    watched_close(&t);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("videollamb_stream");
    tcase_add_test(tests, frames_of_a_stream);
    tcase_add_test(tests, memories_of_a_stream);
    tcase_add_test(tests, captions_of_the_original);
    tcase_add_test(tests, captions_of_scenes);
    return suite_run_case("videollamb_stream", tests);
}
