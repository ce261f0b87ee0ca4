/*
 * videollamb_parts_test.c - VideoLLaMB's attention over time, bridge and retrieval against their formulas in double.
 *
 *   random weights -> weight file in memory -> parts -> rows
 *                  -> reference (double)    ---------> rows
 */
#include "compress/memory_bridge.h"
#include "encode/temporal.h"
#include "tests/unit/suite.h"
#include "tests/unit/videollamb_support.h"

static double *rows_new(int n)
{
    double *x = calloc((size_t)n * D, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* y [T, n_out] = x W^T + b, W and b of PREFIX.NAME, from row `first` of W on */
static void linear(double *y, const double *x, int T, int n_in, const model *m, const char *prefix, const char *name, int first,
                   int n_out)
{
    char w[64], b[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    const float *W = model_find(m, prefix, w) + first * n_in, *B = model_find(m, prefix, b) + first;
    for (int t = 0; t < T; t++)
        for (int o = 0; o < n_out; o++) {
            double sum = (double)B[o];
            for (int i = 0; i < n_in; i++) sum += (double)W[o * n_in + i] * x[t * n_in + i];
            y[t * n_out + o] = sum;
        }
}

static void norm(double *y, const double *x, int T, const model *m, const char *prefix, const char *name, double epsilon)
{
    char w[64], b[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    const float *W = model_find(m, prefix, w), *B = model_find(m, prefix, b);
    for (int t = 0; t < T; t++) {
        double mean = 0, square = 0;
        for (int d = 0; d < D; d++) mean += x[t * D + d] / D;
        for (int d = 0; d < D; d++) square += (x[t * D + d] - mean) * (x[t * D + d] - mean) / D;
        for (int d = 0; d < D; d++) y[t * D + d] = (x[t * D + d] - mean) / sqrt(square + epsilon) * (double)W[d] + (double)B[d];
    }
}

/* out [Q,D], all heads */
static void attend(double *out, const double *q, int Q, const double *k, const double *v, int R)
{
    for (int h = 0; h < H; h++)
        for (int i = 0; i < Q; i++) {
            double weight[64], sum = 0;
            ck_assert_int_le(R, 64);
            for (int j = 0; j < R; j++) {
                double score = 0;
                for (int e = 0; e < E; e++) score += q[i * D + h * E + e] * k[j * D + h * E + e];
                sum += weight[j] = exp(score / sqrt(E));
            }
            for (int e = 0; e < E; e++) {
                double value = 0;
                for (int j = 0; j < R; j++) value += weight[j] / sum * v[j * D + h * E + e];
                out[i * D + h * E + e] = value;
            }
        }
}

static void near(const char *what, const float *got, const double *wanted, int n)
{
    double distance = 0, length = 0;
    for (int i = 0; i < n; i++) {
        distance += ((double)got[i] - wanted[i]) * ((double)got[i] - wanted[i]);
        length += wanted[i] * wanted[i];
    }
    ck_assert_msg(sqrt(distance / length) < 1e-5, "%s: off by %g", what, sqrt(distance / length));
}

static void random_rows(float *x, double *same, int n)
{
    for (int i = 0; i < n; i++) same[i] = (double)(x[i] = (float)(rand() % 2001 - 1000) / 500.0f);
}

/* --- attention over time --- */

static void temporal_reference(const model *m, double *x, int N, int T)
{
    static const char p[] = "vit.blk.1.temporal.";
    const float *position = model_find(m, p, "position");
    double here[G * D], normed[G * D], q[G * D], k[G * D], v[G * D], out[G * D], added[G * D];
    for (int first = 0; first < N; first += G)
        for (int t = 0; t < T; t++) {
            for (int g = 0; g < G; g++)
                for (int d = 0; d < D; d++) here[g * D + d] = x[((first + g) * T + t) * D + d] + (double)position[g * D + d];
            norm(normed, here, G, m, p, "norm", 1e-5);
            linear(q, normed, G, D, m, p, "qkv", 0, D);
            linear(k, normed, G, D, m, p, "qkv", D, D);
            linear(v, normed, G, D, m, p, "qkv", 2 * D, D);
            attend(out, q, G, k, v, G);
            linear(added, out, G, D, m, p, "out", 0, D);
            for (int g = 0; g < G; g++)
                for (int d = 0; d < D; d++) x[((first + g) * T + t) * D + d] = here[g * D + d] + added[g * D + d];
        }
}

static void temporal_run(vr_run run, const model *m)
{
    enum { N = 3 * G, T = 5 };
    const vr_block_config config = { .width = D, .n_heads = H, .epsilon = 1e-5f };
    vr_temporal temporal;
    vr_err e = { 0 };
    ck_assert_msg(vr_temporal_bind(&temporal, m->weights, &config, G, "vit", 1, &e) == VR_OK, "%s", e.text);
    float *x = vr_arena_floats(run.scratch, N * T * D);
    double *wanted = rows_new(N * T);
    random_rows(x, wanted, N * T * D);
    temporal_reference(m, wanted, N, T);
    vr_temporal_forward(&temporal, &config, G, &run, x, N, T);
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("attention over time", x, wanted, N * T * D);
    free(wanted);
}

START_TEST(attention_over_time)
{
    seed_draw();
    model m = { 0 };
    temporal_add(&m, "vit", 1);
    model_open(&m);
    EVERY_RUN(temporal_run(run, &m));
    model_free(&m);
}
END_TEST

/* --- bridge and retrieval --- */

/* x [Q,D] = norm(out(attend(x, rows)) + x) */
static void post_attend(const model *m, const char *prefix, double *x, int Q, const double *rows, int R)
{
    double *q = rows_new(Q), *k = rows_new(R), *v = rows_new(R), *out = rows_new(Q);
    linear(q, x, Q, D, m, prefix, "q", 0, D);
    linear(k, rows, R, D, m, prefix, "k", 0, D);
    linear(v, rows, R, D, m, prefix, "v", 0, D);
    attend(out, q, Q, k, v, R);
    linear(q, out, Q, D, m, prefix, "out", 0, D);
    for (int i = 0; i < Q * D; i++) q[i] += x[i];
    norm(x, q, Q, m, prefix, "norm", 1e-12);
    free(q), free(k), free(v), free(out);
}

static void layer_reference(const model *m, int layer, double *x, int T)
{
    char prefix[64];
    double *hidden = calloc((size_t)T * F, sizeof *hidden), *y = rows_new(T);
    snprintf(prefix, sizeof prefix, "bridge.blk.%d.self.", layer);
    post_attend(m, prefix, x, T, x, T);
    snprintf(prefix, sizeof prefix, "bridge.blk.%d.", layer);
    linear(hidden, x, T, D, m, prefix, "fc1", 0, F);
    for (int i = 0; i < T * F; i++) hidden[i] *= 0.5 * (1 + erf(hidden[i] / sqrt(2)));
    linear(y, hidden, T, F, m, prefix, "fc2", 0, D);
    for (int i = 0; i < T * D; i++) y[i] += x[i];
    norm(x, y, T, m, prefix, "ffn_norm", 1e-12);
    free(hidden), free(y);
}

static void bridge_run(vr_run run, const model *m)
{
    enum { R = 9, CACHED = 7 };
    vr_memory_bridge *bridge;
    vr_memory_cache cache;
    vr_err e = { 0 };
    ck_assert_msg(vr_memory_bridge_open(&bridge, m->weights, D, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_memory_bridge_rows(bridge), M);
    ck_assert(vr_memory_bridge_initial(bridge)[1] == model_find(m, "bridge.", "memory")[1]);
    float *x = vr_arena_floats(run.scratch, (M + R) * D), *rows = vr_arena_floats(run.scratch, CACHED * D);
    double *wanted = rows_new(M + R), *cached = rows_new(CACHED);
    random_rows(x, wanted, (M + R) * D);
    random_rows(rows, cached, CACHED * D);
    for (int i = 0; i < 2; i++) layer_reference(m, i, wanted, M + R);
    vr_memory_bridge_read(bridge, &run, x, R, "scene");
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("bridge", x, wanted, (M + R) * D);

    for (int i = 0; i < M * D; i++) wanted[i] = (double)x[i];
    post_attend(m, "retrieval.cross.", wanted, M, cached, CACHED);
    vr_memory_cache_open(bridge, &run, &cache, CACHED);
    vr_memory_cache_append(bridge, &run, &cache, rows, 3);
    vr_memory_cache_append(bridge, &run, &cache, rows + 3 * D, CACHED - 3);
    vr_memory_bridge_retrieve(bridge, &run, &cache, x, "scene");
    ck_assert_int_eq(vr_backend_sync(run.be, &e), VR_OK);
    near("retrieval", x, wanted, M * D);
    free(wanted), free(cached);
    vr_memory_bridge_free(bridge);
}

START_TEST(bridge_and_retrieval)
{
    seed_draw();
    model m = { 0 };
    bridge_add(&m, 2);
    model_open(&m);
    EVERY_RUN(bridge_run(run, &m));
    model_free(&m);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("videollamb_parts");
    tcase_add_test(tests, attention_over_time);
    tcase_add_test(tests, bridge_and_retrieval);
    return suite_run_case("videollamb_parts", tests);
}
