/*
 * stream_test.c - a stream with a memory made for the test: what a question sees, who waits for whom, what captions leave.
 *
 *   decoder and tokenizer of weights/demo.bin + a memory that keeps two equal numbers -> src/stream.c
 *
 * The memory changes its two numbers with a pause between: whoever looks at it in the middle of a frame sees them differ.
 * Under the thread sanitizer this is the test of the two threads (make tsan).
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "session.h"
#include "tests/unit/suite.h"

enum { ROWS = 3, PAUSE_MS = 4 };

typedef struct memory {
    int64_t first, second; /* frames that were added */
    double seconds;
    bool speaks;
} memory;

static atomic_int n_torn; /* snapshots of a memory in the middle of a frame */

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static int fake_open(const void *state, const vr_stream_options *options, vr_run *run, void **out, vr_err *e)
{
    (void)state, (void)run;
    memory *m = calloc(1, sizeof *m);
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "no memory");
    m->speaks = options->captions != VR_CAPTIONS_OFF;
    *out = m;
    return VR_OK;
}

/* Every second frame is worth a caption. */
static int fake_add(const void *state, void *cookie, vr_run *run, const vr_stream_frame *frame, vr_stream_event *event,
                    vr_err *e)
{
    (void)state, (void)e;
    memory *m = cookie;
    vr_arena_floats(run->scratch, 100);
    if (!frame) return VR_OK;
    ck_assert_int_eq(frame->index, m->first);
    m->first++;
    pause_ms(PAUSE_MS);
    m->second++;
    m->seconds = frame->seconds;
    *event = (vr_stream_event){ .caption = m->speaks && m->first % 2 == 0, .seconds = frame->seconds };
    return VR_OK;
}

static int fake_snapshot_open(const void *state, const void *cookie, void **out, vr_err *e)
{
    (void)state, (void)cookie, (void)e;
    *out = calloc(1, sizeof(memory));
    return VR_OK;
}

static int fake_snapshot_take(const void *state, const void *cookie, void *out, vr_err *e)
{
    (void)state, (void)e;
    const memory *m = cookie;
    memcpy(out, m, sizeof *m);
    if (m->first != m->second) atomic_fetch_add(&n_torn, 1);
    return VR_OK;
}

/* Rows that depend on the number of frames, which the facts tell as a number of tokens. */
static int fake_show(const void *state, const void *cookie, vr_run *run, vr_view *view, const vr_hooks *hooks, vr_err *e)
{
    (void)state, (void)hooks;
    const memory *m = cookie;
    const int D = 128;
    view->n_video_rows = ROWS;
    if (!m) return VR_OK;
    for (int i = 0; i < ROWS * D; i++) view->rows[i] = (float)((m->first * 31 + i * 7) % 13 - 6) * 0.1F;
    vr_dump_i32(vr_run_stages(run), "fake.frames", (const int32_t[1]){ (int32_t)m->first }, 1, (const int64_t[1]){ 1 });
    view->facts.n_tokens = m->first;
    return vr_view_take(view, 1, e);
}

static int fake_rows_most(const void *state)
{
    (void)state;
    return ROWS;
}

static const vr_stream_system fake_stream = { .open = fake_open,
                                              .free = free,
                                              .add = fake_add,
                                              .snapshot_open = fake_snapshot_open,
                                              .snapshot_free = free,
                                              .snapshot_take = fake_snapshot_take,
                                              .show = fake_show,
                                              .rows_most = fake_rows_most };

static vr_system system_with_stream;
static vr_model *model;
static vr_stream *stream;
static vr_err e;
static const uint8_t pixel[3];

static void open_model(void)
{
    const vr_model_options options = { .cpu = { .n_threads = 1 } };
    ck_assert_msg(vr_model_open(&model, "weights/demo.bin", &options, &e) == VR_OK, "%s", e.text);
    system_with_stream = *model->system;
    system_with_stream.stream = &fake_stream;
    system_with_stream.show = NULL;
    model->system = &system_with_stream;
    model->recipe.streams = true;
    model->recipe.fps = 1;
    model->recipe.query = "Describe the video.";
}

static void open_stream(vr_captions captions, const char *dump_dir)
{
    const vr_stream_options options = { .captions = captions, .dump_dir = dump_dir };
    open_model();
    ck_assert_msg(vr_stream_open(&stream, model, &options, &e) == VR_OK, "%s", e.text);
}

static void close_stream(void)
{
    ck_assert_msg(vr_stream_close(stream, &e) == VR_OK, "%s", e.text);
    vr_model_free(model);
}

static vr_stream_event push(int64_t n)
{
    vr_stream_event event;
    const vr_stream_frame frame = { pixel, 1, 1, 77, (double)n, n };
    ck_assert_msg(vr_stream_push(stream, &frame, &event, &e) == VR_OK, "%s", e.text);
    return event;
}

static int n_seen(void)
{
    vr_facts facts;
    vr_stream_facts(stream, &facts);
    return (int)facts.n_tokens;
}

static const vr_ask_options five = { .n_predict = 5, .sampling = { .top_p = 1, .repetition_penalty = 1 } };

static void ask(vr_answer *answer)
{
    ck_assert_msg(vr_stream_ask(stream, "What is there?", &five, answer, &e) == VR_OK, "%s", e.text);
    ck_assert_int_ge(answer->n_ids, 1);
}

START_TEST(a_question_sees_the_snapshot)
{
    vr_answer answer;
    int64_t n_frames;
    double seconds;
    open_stream(VR_CAPTIONS_OFF, NULL);
    for (int i = 0; i < 3; i++) push(i);
    ck_assert_int_eq(vr_stream_snapshot(stream, &n_frames, &seconds, &e), VR_OK);
    ck_assert_int_eq(n_frames, 3);
    ck_assert_double_eq(seconds, 2);
    push(3), push(4);
    ask(&answer);
    ck_assert_int_eq(n_seen(), 3);
    int32_t ids[5];
    const int n = answer.n_ids, rows = answer.n_prompt_rows;
    memcpy(ids, answer.ids, (size_t)n * sizeof *ids);
    ask(&answer); /* again, a conversation of its own */
    ck_assert_int_eq(answer.n_ids, n);
    ck_assert_int_eq(answer.n_prompt_rows, rows);
    ck_assert_mem_eq(answer.ids, ids, (size_t)n * sizeof *ids);
    ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
    ask(&answer);
    ck_assert_int_eq(n_seen(), 5);
    close_stream();
}
END_TEST

START_TEST(nothing_to_ask_before_the_first_frame)
{
    vr_answer answer;
    open_stream(VR_CAPTIONS_OFF, NULL);
    ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_ERR_VIDEO);
    ck_assert_int_eq(vr_stream_ask(stream, "What?", &five, &answer, &e), VR_ERR_VIDEO);
    push(0);
    ck_assert_int_eq(vr_stream_ask(stream, "What?", &five, &answer, &e), VR_ERR_VIDEO); /* no snapshot yet */
    ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
    ask(&answer);
    close_stream();
}
END_TEST

static atomic_bool done;

static void *push_on(void *arg)
{
    int *n = arg;
    while (!atomic_load(&done)) push((*n)++);
    return NULL;
}

/* A frame handler that is always late must let snapshots through, and is never held by an answer. */
START_TEST(two_threads)
{
    pthread_t pusher;
    int n_pushed = 0;
    int64_t before = 0, n_frames;
    double longest = 0;
    open_stream(VR_CAPTIONS_OFF, NULL);
    push(n_pushed++);
    atomic_store(&done, false);
    ck_assert_int_eq(pthread_create(&pusher, NULL, push_on, &n_pushed), 0);
    for (int i = 0; i < 30; i++) {
        vr_answer answer;
        const double start = vr_clock();
        ck_assert_int_eq(vr_stream_snapshot(stream, &n_frames, NULL, &e), VR_OK);
        const double waited = vr_clock() - start;
        longest = waited > longest ? waited : longest;
        ck_assert_int_ge(n_frames, before);
        before = n_frames;
        ask(&answer);
        ck_assert_int_eq(n_seen(), n_frames);
        pause_ms(3 * PAUSE_MS);
    }
    atomic_store(&done, true);
    pthread_join(pusher, NULL);
    ck_assert_int_eq(atomic_load(&n_torn), 0);
    ck_assert_int_gt(n_pushed, 30);    /* frames went on */
    ck_assert_double_lt(longest, 0.5); /* of some frames of 4 ms, on a busy machine */
    close_stream();
}
END_TEST

START_TEST(memory_does_not_grow)
{
    open_stream(VR_CAPTIONS_OFF, NULL);
    vr_plan plan;
    vr_stream_plan(stream, &plan);
    ck_assert_uint_gt(plan.scratch_bytes, 0);
    ck_assert_int_eq(plan.n_video_rows, ROWS);
    for (int i = 0; i < 200; i++) { /* add never gives back what it takes: it would not fit for long */
        vr_answer answer;
        push(i);
        if (i % 50 != 49) continue;
        ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
        ask(&answer);
    }
    close_stream();
}
END_TEST

START_TEST(captions)
{
    vr_answer answer;
    open_stream(VR_CAPTIONS_ORIGINAL, NULL);
    ck_assert(!push(0).caption);
    const vr_stream_event event = push(1);
    ck_assert(event.caption);
    ck_assert_double_eq(event.seconds, 1);
    ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
    ck_assert_int_eq(vr_stream_caption(stream, &five, &answer, &e), VR_OK);
    ck_assert_int_ge(answer.n_ids, 1);
    close_stream();
    open_stream(VR_CAPTIONS_OFF, NULL);
    ck_assert(!push(0).caption && !push(1).caption);
    ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
    ck_assert_int_eq(vr_stream_caption(stream, &five, &answer, &e), VR_ERR_USAGE);
    close_stream();
}
END_TEST

static void expect_stage(const char *dir, const char *name, const char *shape)
{
    char path[256], header[128] = "";
    snprintf(path, sizeof path, "%s/%s.npy", dir, name);
    FILE *const file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_uint_gt(fread(header, 1, sizeof header - 1, file), 10);
    fclose(file);
    unlink(path);
    for (size_t i = 0; i < 10; i++) header[i] = ' '; /* magic and length hold NULs */
    ck_assert_msg(strstr(header, shape) != NULL, "%s: %s", path, header);
}

START_TEST(stages)
{
    char dir[] = "stream_test.XXXXXX";
    vr_answer answer;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    open_stream(VR_CAPTIONS_ORIGINAL, dir);
    for (int i = 0; i < 4; i++) {
        const bool caption = push(i).caption;
        ck_assert_int_eq(vr_stream_snapshot(stream, NULL, NULL, &e), VR_OK);
        if (caption) ck_assert_int_eq(vr_stream_caption(stream, &five, &answer, &e), VR_OK);
        if (i == 2) ask(&answer), ask(&answer);
    }
    close_stream();
    expect_stage(dir, "input.frame_indices", "(4,)");
    expect_stage(dir, "stream.logits", "(2, 800)");
    expect_stage(dir, "stream.answer_ids", "(2, ");
    expect_stage(dir, "fake.frames", "(2,)");
    expect_stage(dir, "ask003.fake.frames", "(1,)");
    expect_stage(dir, "ask003-2.fake.frames", "(1,)");
    expect_stage(dir, "ask003.decoder.logits", "(800,)");
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(a_system_without_streams_is_refused)
{
    const vr_stream_options options = { 0 };
    const vr_model_options model_options = { .cpu = { .n_threads = 1 } };
    vr_feed *feed;
    ck_assert_int_eq(vr_model_open(&model, "weights/demo.bin", &model_options, &e), VR_OK);
    ck_assert_int_eq(vr_stream_open(&stream, model, &options, &e), VR_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "follows no streams"));
    ck_assert_int_eq(vr_feed_open(&feed, model, "weights/clips/blink.mp4", 0, &e), VR_ERR_USAGE);
    ck_assert_ptr_null(feed);
    ck_assert_int_eq(vr_stream_close(NULL, &e), VR_OK);
    vr_feed_free(NULL);
    vr_model_free(model);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("stream");
    TCase *const all = tcase_create("all");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, a_question_sees_the_snapshot);
    tcase_add_test(all, nothing_to_ask_before_the_first_frame);
    tcase_add_test(all, two_threads);
    tcase_add_test(all, memory_does_not_grow);
    tcase_add_test(all, captions);
    tcase_add_test(all, stages);
    tcase_add_test(all, a_system_without_streams_is_refused);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
