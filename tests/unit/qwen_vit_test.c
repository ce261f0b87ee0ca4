/*
 * qwen_vit_test.c - Qwen2-VL's tower and merger against their formulas in double, and where a memory's rows stand.
 *
 *   random weights -> weight file in memory -> vr_qwen_vit, vr_patch_merger -> rows
 *                  -> reference (double)    ---------------------------------> rows
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/qwen_vit.h"
#include "project/patch_merger.h"
#include "systems/flash_vstream_qwen.h"
#include "tests/unit/model_support.h"
#include "tests/unit/suite.h"

enum {
    D = 16,
    H = 2,
    E = D / H,
    F = 12,
    L = 2,
    SIDE = 2,
    MERGE = 2,
    GROUP = MERGE * MERGE,
    DEPTH = 2,
    IN = 3 * DEPTH * SIDE * SIDE,
    OUT = 6,
    N = 2,
    LINES = 4,
    COLUMNS = 6,
    P = LINES * COLUMNS
};

static const float *find_of(const model *m, int l, const char *name)
{
    char full[40];
    snprintf(full, sizeof full, "vit.blk.%d.%s", l, name);
    return model_find(m, "", full);
}

static void model_make(model *m)
{
    static const struct {
        const char *name;
        int rows, cols;
    } parts[] = {
        { "norm1", 0, D }, { "qkv", 3 * D, D }, { "out", D, D }, { "norm2", 0, D }, { "fc1", F, D }, { "fc2", D, F }
    };
    *m = (model){ 0 };
    model_add(m, D, IN, "vit.patch.weight");
    for (int l = 0; l < L; l++)
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            model_add_both(m, parts[i].rows, parts[i].cols, "vit.blk.%d.%s", l, parts[i].name);
    model_add_both(m, 0, D, "merger.norm");
    model_add_both(m, GROUP * D, GROUP * D, "merger.fc1");
    model_add_both(m, OUT, GROUP * D, "merger.fc2");
    model_int(m, "vit.block_count", L);
    model_int(m, "vit.embedding_length", D);
    model_int(m, "vit.feed_forward_length", F);
    model_int(m, "vit.head_count", H);
    model_int(m, "vit.patch_size", SIDE);
    model_int(m, "vit.merge_size", MERGE);
    model_int(m, "vit.temporal_patch_size", DEPTH);
    model_float(m, "vit.norm_epsilon", 1e-6f);
    model_float(m, "vit.rope.freq_base", 50);
    model_string(m, "vit.activation", "gelu_quick");
    model_float(m, "merger.norm_epsilon", 1e-3f);
}

/* ---- reference ---- */

static void norm(double *y, const double *x, const float *w, const float *b, double epsilon)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < D; i++) mean += x[i] / D;
    for (int i = 0; i < D; i++) variance += (x[i] - mean) * (x[i] - mean) / D;
    for (int i = 0; i < D; i++) y[i] = (x[i] - mean) / sqrt(variance + epsilon) * (double)w[i] + (double)b[i];
}

static void linear(double *y, const double *x, const float *w, const float *bias, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0;
        for (int c = 0; c < cols; c++) y[r] += x[c] * (double)w[r * cols + c];
    }
}

/* pairs 0, 1 by the line, 2, 3 by the column; a pair is an element and the one E/2 behind it */
static void turn(double *heads, int line, int column)
{
    for (int h = 0; h < H; h++)
        for (int i = 0; i < E / 2; i++) {
            double *a = heads + h * E + i, *b = a + E / 2;
            const double angle = (i < E / 4 ? line : column) * pow(50, -2.0 * (i % (E / 4)) / (E / 2)), x = *a, y = *b;
            *a = x * cos(angle) - y * sin(angle);
            *b = y * cos(angle) + x * sin(angle);
        }
}

static void attend(double *out, double qkv[P][3 * D], int t)
{
    for (int h = 0; h < H; h++) {
        double score[P], sum = 0;
        for (int s = 0; s < P; s++) {
            score[s] = 0;
            for (int i = 0; i < E; i++) score[s] += qkv[t][h * E + i] * qkv[s][D + h * E + i];
            sum += score[s] = exp(score[s] / sqrt(E));
        }
        for (int i = 0; i < E; i++) {
            out[h * E + i] = 0;
            for (int s = 0; s < P; s++) out[h * E + i] += score[s] / sum * qkv[s][2 * D + h * E + i];
        }
    }
}

static void block(const model *m, int l, double x[P][D])
{
    static double qkv[P][3 * D];
    double n[D], out[D], more[D], hidden[F];
    for (int t = 0; t < P; t++) {
        /* groups line by line, patches of a group line by line */
        const int group = t / GROUP, line = group / (COLUMNS / MERGE) * MERGE + t % GROUP / MERGE,
                  column = group % (COLUMNS / MERGE) * MERGE + t % MERGE;
        norm(n, x[t], find_of(m, l, "norm1.weight"), find_of(m, l, "norm1.bias"), (double)1e-6f);
        linear(qkv[t], n, find_of(m, l, "qkv.weight"), find_of(m, l, "qkv.bias"), 3 * D, D);
        turn(qkv[t], line, column);
        turn(qkv[t] + D, line, column);
    }
    for (int t = 0; t < P; t++) {
        attend(out, qkv, t);
        linear(more, out, find_of(m, l, "out.weight"), find_of(m, l, "out.bias"), D, D);
        for (int i = 0; i < D; i++) x[t][i] += more[i];
        norm(n, x[t], find_of(m, l, "norm2.weight"), find_of(m, l, "norm2.bias"), (double)1e-6f);
        linear(hidden, n, find_of(m, l, "fc1.weight"), find_of(m, l, "fc1.bias"), F, D);
        for (int i = 0; i < F; i++) hidden[i] /= 1 + exp(-1.702 * hidden[i]);
        linear(more, hidden, find_of(m, l, "fc2.weight"), find_of(m, l, "fc2.bias"), D, F);
        for (int i = 0; i < D; i++) x[t][i] += more[i];
    }
}

static void merged(const model *m, double x[P][D], double out[P / GROUP][OUT])
{
    double joined[GROUP * D], hidden[GROUP * D];
    for (int g = 0; g < P / GROUP; g++) {
        for (int i = 0; i < GROUP; i++)
            norm(joined + i * D, x[g * GROUP + i], model_find(m, "", "merger.norm.weight"),
                 model_find(m, "", "merger.norm.bias"), (double)1e-3f);
        linear(hidden, joined, model_find(m, "", "merger.fc1.weight"), model_find(m, "", "merger.fc1.bias"), GROUP * D,
               GROUP * D);
        for (int i = 0; i < GROUP * D; i++) hidden[i] *= 0.5 * (1 + erf(hidden[i] / sqrt(2)));
        linear(out[g], hidden, model_find(m, "", "merger.fc2.weight"), model_find(m, "", "merger.fc2.bias"), OUT, GROUP * D);
    }
}

static void reference(const model *m, const float *patches, double out[P / GROUP][OUT])
{
    double x[P][D], in[IN];
    for (int t = 0; t < P; t++) {
        for (int i = 0; i < IN; i++) in[i] = (double)patches[t * IN + i];
        linear(x[t], in, model_find(m, "", "vit.patch.weight"), NULL, D, IN);
    }
    for (int l = 0; l < L; l++) block(m, l, x);
    merged(m, x, out);
}

static void run_model(const model *m, const float *patches, float *out)
{
    vr_err e = { 0 };
    vr_backend *be = NULL;
    vr_arena arena = { 0 };
    vr_qwen_vit *vit = NULL;
    vr_patch_merger merger;
    const vr_qwen_grid grid = {
        .height = LINES * SIDE, .width = COLUMNS * SIDE, .patch = SIDE, .merge = MERGE, .depth = DEPTH, .pool = 1
    };
    ck_assert_msg(vr_qwen_vit_open(&vit, m->weights, &e) == VR_OK, "%s", e.text);
    ck_assert_msg(vr_patch_merger_bind(&merger, m->weights, D, GROUP, OUT, &e) == VR_OK, "%s", e.text);
    ck_assert_msg(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 2 }, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_arena_open(&arena, 1 << 20, &e), VR_OK);
    vr_run run = { .be = be, .scratch = &arena, .host = &arena };
    float *x = vr_arena_floats(&arena, N * P * D);
    vr_qwen_vit_forward(vit, &run, patches, N, &grid, x);
    vr_patch_merger_forward(&merger, &run, x, N * P / GROUP, out);
    ck_assert_int_eq(vr_backend_sync(be, &e), VR_OK);
    ck_assert_int_eq(vr_weights_unused(m->weights, NULL), 0);
    vr_qwen_vit_free(vit);
    vr_arena_close(&arena);
    vr_backend_free(be);
}

START_TEST(as_the_formulas) /* two steps at once are as each alone */
{
    static float patches[N * P * IN], got[N * P / GROUP * OUT];
    const unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    model m;
    model_make(&m);
    model_open(&m);
    for (int i = 0; i < N * P * IN; i++) patches[i] = (float)(rand() % 2001 - 1000) / 500.0f;
    run_model(&m, patches, got);
    for (int n = 0; n < N; n++) {
        double expected[P / GROUP][OUT], error = 0, size = 0;
        reference(&m, patches + n * P * IN, expected);
        for (int i = 0; i < P / GROUP * OUT; i++) {
            const double value = expected[i / OUT][i % OUT], difference = (double)got[n * (P / GROUP * OUT) + i] - value;
            error += difference * difference;
            size += value * value;
        }
        ck_assert_double_lt(sqrt(error / size), 1e-5);
    }
    model_free(&m);
}
END_TEST

/* Grids of 8 x 12 patches: 4 x 6 rows a whole step, 2 x 3 a slot. */
START_TEST(places_of_a_memory)
{
    static const int32_t whole[] = { 5, 2 }, times[] = { 0, 4, 9 }, slots[9] = { 0 };
    vr_flash_qwen_layout l = { .full = { 112, 168, 14, 2, 2, 1 },
                               .half = { 112, 168, 14, 2, 2, 2 },
                               .n_steps = 9,
                               .n_slots = 3,
                               .n_whole = 2,
                               .whole_rows = 24,
                               .slot_rows = 6 };
    const vr_flash_qwen_memory memory = { whole, times, slots };
    vr_view view = { .n_frames = 0 };
    vr_err e = { 0 };
    ck_assert_int_eq(vr_flash_qwen_rows(&l), 66);
    ck_assert_int_eq(vr_flash_qwen_places(&l, &memory, &view, &e), VR_OK);
    ck_assert_int_eq(view.n_positions, 48 + 3); /* three slots, two lines, three columns */
    for (int r = 0; r < 66; r++) {
        const int32_t *at = view.positions + 3 * r, *plain = view.positions_plain + 3 * r;
        const int k = r < 48 ? r / 24 : (r - 48) / 6, place = r < 48 ? r % 24 : (r - 48) % 6, columns = r < 48 ? 6 : 3;
        const int start = r < 48 ? 0 : 48;
        ck_assert_int_eq(at[0], start + (r < 48 ? whole[k] : times[k]));
        ck_assert_int_eq(plain[0], start + k);
        ck_assert(at[1] == start + place / columns && at[2] == start + place % columns);
        ck_assert(plain[1] == at[1] && plain[2] == at[2]);
    }
    vr_view_free(&view);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("qwen_vit");
    TCase *t = tcase_create("all");
    tcase_add_test(t, as_the_formulas);
    tcase_add_test(t, places_of_a_memory);
    suite_add_tcase(s, t);
    return suite_run(s);
}
