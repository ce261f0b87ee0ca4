/*
 * flash_vstream_stream_test.c - Flash-VStream's memories of streams against the published rules.
 *
 *   random weights -> system: frame by frame, shown after each -> rows
 *                  -> maps of the same frames -> rules in double -> rows
 *
 * Some frames repeat.
 */
#include "systems/flash_vstream_paper.h"
#include "tests/unit/flash_vstream_support.h"
#include "tests/unit/suite.h"

static void stream_rule(const small_model *small, memory *m, float (*maps)[MAP_ROWS * D], int t, bool paper, vr_random *r)
{
    float all[K + 1][LONG], mean[1][D], weights[FRAMES];
    double times[K + 1];
    int label[FRAMES];
    const int T = m->n_temporal + 1;
    memcpy(all, m->temporal, (size_t)m->n_temporal * sizeof all[0]);
    means(all[T - 1], POOLED, maps[t]);
    means(mean[0], 1, maps[t]);
    memcpy(m->rows[t], all[T - 1], sizeof all[0]);
    memcpy(m->maps[t], maps[t], sizeof maps[t]);
    memcpy(m->spatial, maps[t], sizeof m->spatial);
    if (paper) {
        memcpy(weights, m->weights, sizeof weights);
        memcpy(times, m->times, (size_t)m->n_temporal * sizeof times[0]);
        weights[T - 1] = 1;
        times[T - 1] = t;
        paper_slots(m, all, T, weights, times, t + 1, r);
    } else {
        m->n_temporal = cluster(all, T, NULL, m->temporal, weights, label, r);
        if (t > 0) retrieve(m, all, T, weights, m->n_temporal);
    }
    if (m->n_abstract < N)
        memcpy(m->abstract[m->n_abstract++], mean[0], sizeof mean[0]);
    else
        attend(small, m, mean, 1);
}

static void frames_draw(vr_random *r, uint8_t *rgb)
{
    const size_t n_bytes = 3 * WIDTH * HEIGHT;
    for (size_t i = 0; i < FRAMES * n_bytes; i++) rgb[i] = (uint8_t)vr_random_below(r, 256);
    for (int i = 1; i < FRAMES; i++) /* a fifth of the frames repeat one before */
        if (vr_random_below(r, 5) == 0)
            memcpy(rgb + (size_t)i * n_bytes, rgb + vr_random_below(r, (uint32_t)i) * n_bytes, n_bytes);
}

static void expect_stream_facts(const vr_view *view, const memory *m, int n_frames)
{
    vr_facts facts;
    vr_view_facts(view, &facts);
    ck_assert_int_eq(facts.memory.n_slots, m->n_temporal);
    ck_assert_int_eq(facts.memory.n_abstract, m->n_abstract);
    ck_assert_int_eq(facts.memory.n_retrieved, m->n_keys);
    for (int i = 0; i < m->n_keys; i++) ck_assert_int_eq((int)view->frame_indices[facts.memory.retrieved[i]], m->picks[i]);
    for (int i = 0; i < facts.n_frames; i++) ck_assert(facts.frames[i].high && facts.frames[i].n_tokens == MAP_ROWS);
    ck_assert_int_eq((int)facts.steps[1].before, n_frames);
    ck_assert_int_eq((int)facts.n_tokens, view->n_video_rows);
}

static void check_stream(const small_model *small, vr_run run, const uint8_t *rgb, vr_memory_rule rule, uint64_t seed)
{
    const vr_stream_system *system = vr_system_flash_vstream.stream;
    static float maps[FRAMES][MAP_ROWS * D];
    static memory m;
    const vr_hooks silent = { 0 };
    vr_view view = { .rows = vr_arena_floats(run.scratch, (size_t)system->rows_most(small->state) * DL) };
    vr_stream_event event = { 0 };
    vr_random r = { seed };
    void *memory_of_stream, *shot;
    vr_err e = { 0 };
    m = (memory){ 0 };
    maps_make(small, &run, rgb, FRAMES, WIDTH, HEIGHT, maps);
    ck_assert_int_eq(
        system->open(small->state, &(vr_stream_options){ .seed = seed, .memory = rule }, &run, &memory_of_stream, &e), VR_OK);
    ck_assert_int_eq(system->snapshot_open(small->state, memory_of_stream, &shot, &e), VR_OK);
    for (int t = 0; t < FRAMES; t++) {
        const vr_stream_frame frame = { rgb + (size_t)t * 3 * WIDTH * HEIGHT, WIDTH, HEIGHT, t, t, -1 };
        const size_t mark = vr_arena_mark(run.scratch);
        char what[32];
        snprintf(what, sizeof what, "frame %d", t);
        ck_assert_msg(system->add(small->state, memory_of_stream, &run, &frame, &event, &e) == VR_OK, "%s", e.text);
        vr_arena_release(run.scratch, mark);
        ck_assert_int_eq(system->snapshot_take(small->state, memory_of_stream, shot, &e), VR_OK);
        ck_assert_int_eq(system->show(small->state, shot, &run, &view, &silent, &e), VR_OK);
        stream_rule(small, &m, maps, t, rule == VR_MEMORY_PAPER, &r);
        expect_rows(small, &run, &m, view.rows, view.n_video_rows, what);
        ck_assert_int_ge(view.n_frames, 1);
        ck_assert_int_eq((int)view.frame_indices[view.n_frames - 1], t);
        expect_stream_facts(&view, &m, t + 1);
        float *const rows = view.rows;
        vr_view_free(&view);
        view.rows = rows;
    }
    system->snapshot_free(shot);
    system->free(memory_of_stream);
}

START_TEST(streams)
{
    static uint8_t rgb[FRAMES * 3 * WIDTH * HEIGHT];
    vr_random r = random_open();
    small_model m;
    vr_err e = { 0 };
    ck_assert_msg(small_open(&m, &r, POOLED, &e) == VR_OK, "%s", e.text);
    frames_draw(&r, rgb);
    const uint64_t seed = vr_random_next(&r);
    EVERY_RUN(check_stream(&m, run, rgb, VR_MEMORY_ORIGINAL, seed));
    EVERY_RUN(check_stream(&m, run, rgb, VR_MEMORY_PAPER, seed));
    small_free(&m);
}
END_TEST

START_TEST(bank_thins_out) /* frames stay evenly spread, however long a stream lasts */
{
    enum { LAST = 3000, WIDE = 3 };
    vr_arena arena;
    vr_run run = run_open("c", 1, &arena);
    vr_random r = { 5 };
    vr_flash_paper p;
    vr_flash_paper_take(&p, &run, K, WIDE, WIDE);
    for (int i = 0; i < LAST; i++) {
        float row[WIDE];
        const vr_flash_seen seen = { i, i };
        random_fill(&r, row, WIDE);
        row[0] = (float)i;
        vr_flash_paper_add(&p, &run, row, row, &seen, &r);
        ck_assert_int_eq((int)p.n_bank, i / (int)p.stride + 1);
        ck_assert_int_le(p.n_bank, VR_FLASH_BANK);
        ck_assert(p.stride == 1 || 2 * p.n_bank > VR_FLASH_BANK - 2);
    }
    ck_assert_int_eq((int)p.stride, 8);
    for (int k = 0; k < p.n_bank; k++) {
        ck_assert_int_eq((int)p.bank_seen[k].number, k * (int)p.stride);
        ck_assert(p.bank[k * WIDE] == (float)(k * (int)p.stride) && p.bank_rows[k * WIDE] == p.bank[k * WIDE]);
    }
    float frames = 0;
    for (int j = 0; j < p.n; j++) frames += p.weights[j];
    ck_assert(frames == (float)LAST); /* nothing is forgotten */
    for (int j = 1; j < p.n; j++) ck_assert(p.times[j - 1] <= p.times[j]);
    vr_backend_free(run.be);
    vr_arena_close(&arena);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("flash_vstream_stream");
    tcase_add_test(tests, streams);
    tcase_add_test(tests, bank_thins_out);
    return suite_run_case("flash_vstream_stream", tests);
}
