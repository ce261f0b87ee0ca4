/*
 * llama_test.c - the decoder against its formulas in double: biases, tied head, shared key heads, scaled rope, rope by time,
 * row and column; where rows of a clip stand.
 *
 *   random weights -> weight file in memory -> vr_llama -> rows in two parts -> logits
 *                  -> reference (double)    -------------------------------> logits
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decode/generate.h"
#include "tests/unit/gguf_writer.h"

enum { D = 8, H = 4, HK = 2, E = 6, F = 10, V = 11, L = 2, T = 7, MOST = 40 };

typedef struct tensor {
    char name[40];
    int rows, cols; /* rows 0: a vector of cols */
    float *data;
} tensor;

typedef struct model {
    tensor tensors[MOST];
    int count;
    bool biased, tied, scaled, sectioned;
    int32_t positions[T][3]; /* time, row, column of each row */
    double base;
    void *bytes;
    vr_weights *weights;
    vr_llama *llama;
} model;

static void add(model *m, int rows, int cols, const char *name)
{
    ck_assert_int_lt(m->count, MOST);
    tensor *t = &m->tensors[m->count++];
    const int n = (rows ? rows : 1) * cols;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
    t->data = malloc((size_t)n * sizeof *t->data);
    ck_assert_ptr_nonnull(t->data);
    for (int i = 0; i < n; i++) t->data[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
}

static void add_layer(model *m, int l)
{
    const struct {
        const char *name;
        int rows, cols;
        bool wanted;
    } parts[] = {
        { "attn_norm.weight", 0, D, true },      { "attn_q.weight", H * E, D, true },
        { "attn_k.weight", HK * E, D, true },    { "attn_v.weight", HK * E, D, true },
        { "attn_q.bias", 0, H * E, m->biased },  { "attn_k.bias", 0, HK * E, m->biased },
        { "attn_v.bias", 0, HK * E, m->biased }, { "attn_output.weight", D, H * E, true },
        { "ffn_norm.weight", 0, D, true },       { "ffn_gate.weight", F, D, true },
        { "ffn_up.weight", F, D, true },         { "ffn_down.weight", D, F, true },
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.%d.%s", l, parts[i].name);
        if (parts[i].wanted) add(m, parts[i].rows, parts[i].cols, name);
    }
}

static const float *find(const model *m, const char *name, int l)
{
    char full[40];
    if (l < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "blk.%d.%s", l, name);
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, full) == 0) return m->tensors[i].data;
    return NULL;
}

static void put_number(writer *f, const char *key, uint32_t value)
{
    put_key(f, key, 4), put_u32(f, value);
}

static void put_sections(writer *f, uint64_t count, int32_t time, int32_t row, int32_t column)
{
    const int32_t values[3] = { time, row, column };
    put_array(f, "llama.rope.sections", 5, count);
    for (uint64_t i = 0; i < count; i++) put_u32(f, (uint32_t)values[i]);
}

static void put_keys(writer *f, const model *m)
{
    put_number(f, "llama.block_count", L);
    put_number(f, "llama.embedding_length", D);
    put_number(f, "llama.feed_forward_length", F);
    put_number(f, "llama.attention.head_count", H);
    put_number(f, "llama.attention.head_count_kv", HK);
    put_number(f, "llama.rope.dimension_count", E);
    put_number(f, "llama.vocab_size", V);
    put_number(f, "llama.context_length", 64);
    put_number(f, "prompt.context", 32);
    put_key(f, "llama.attention.layer_norm_rms_epsilon", 6), put_f32(f, 1e-5f);
    put_key(f, "llama.rope.freq_base", 6), put_f32(f, (float)m->base);
    put_key(f, "llama.rope.pairs", 8), put_string(f, "halves");
    if (m->sectioned) put_sections(f, 3, 1, 1, 1);
    if (!m->scaled) return;
    put_key(f, "llama.rope.scaling.type", 8), put_string(f, "llama3");
    put_key(f, "llama.rope.scaling.factor", 6), put_f32(f, 8);
    put_key(f, "llama.rope.scaling.low_freq_factor", 6), put_f32(f, 1);
    put_key(f, "llama.rope.scaling.high_freq_factor", 6), put_f32(f, 4);
    put_number(f, "llama.rope.scaling.original_context_length", 64);
}

static void write_model(writer *f, const model *m)
{
    put_head(f, 3, (uint64_t)m->count, (m->scaled ? 17u : 12u) + m->sectioned);
    put_keys(f, m);
    uint64_t offset = 0;
    for (int i = 0; i < m->count; i++) {
        const tensor *t = &m->tensors[i];
        if (t->rows)
            put_tensor(f, t->name, 0, offset, 2, (uint64_t)t->cols, (uint64_t)t->rows);
        else
            put_tensor(f, t->name, 0, offset, 1, (uint64_t)t->cols);
        offset += ((uint64_t)(t->rows ? t->rows : 1) * (uint64_t)t->cols * 4 + 31) / 32 * 32;
    }
    pad(f, 32);
    for (int i = 0; i < m->count; i++) {
        const tensor *t = &m->tensors[i];
        put(f, t->data, (size_t)(t->rows ? t->rows : 1) * (size_t)t->cols * 4);
        pad(f, 32);
    }
}

static int model_open(model *m, vr_err *e)
{
    writer f = { 0 };
    write_model(&f, m);
    ck_assert_int_eq(posix_memalign(&m->bytes, 64, f.n), 0);
    memcpy(m->bytes, f.bytes, f.n);
    ck_assert_msg(vr_weights_open_memory(&m->weights, m->bytes, f.n, "llama.bin", e) == VR_OK, "%s", e->text);
    writer_free(&f);
    return vr_llama_open(&m->llama, m->weights, e);
}

static void model_make(model *m, bool biased, bool tied, bool scaled, bool sectioned)
{
    *m = (model){ .biased = biased, .tied = tied, .scaled = scaled, .sectioned = sectioned, .base = 100 };
    for (int t = 0; t < T; t++)
        for (int i = 0; i < 3; i++) m->positions[t][i] = sectioned ? rand() % 100 : t; /* also beyond the table of 32 */
    add(m, V, D, "token_embd.weight");
    for (int l = 0; l < L; l++) add_layer(m, l);
    add(m, 0, D, "output_norm.weight");
    if (!tied) add(m, V, D, "output.weight");
}

static void model_free(model *m)
{
    vr_llama_free(m->llama);
    vr_weights_free(m->weights);
    free(m->bytes);
    for (int i = 0; i < m->count; i++) free(m->tensors[i].data);
}

/* ---- reference ---- */

/* spec LongVU 2.7: wavelengths against 64 / 4 and 64 / 1 */
static double frequency(const model *m, int i)
{
    const double f = pow(m->base, -2.0 * i / E), wave = 2 * 3.141592653589793 / f;
    if (!m->scaled || wave < 16) return f;
    if (wave > 64) return f / 8;
    const double u = (64 / wave - 1) / 3;
    return (1 - u) * f / 8 + u * f;
}

static void norm(double *y, const double *x, const float *w)
{
    double sum = 0;
    for (int i = 0; i < D; i++) sum += x[i] * x[i];
    for (int i = 0; i < D; i++) y[i] = x[i] / sqrt(sum / D + (double)1e-5f) * (double)w[i];
}

static void linear(double *y, const double *x, const float *w, const float *bias, int rows, int cols)
{
    for (int r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0;
        for (int c = 0; c < cols; c++) y[r] += x[c] * (double)w[r * cols + c];
    }
}

static void turn(const model *m, double *heads, int n_heads, int t)
{
    for (int h = 0; h < n_heads; h++)
        for (int i = 0; i < E / 2; i++) {
            double *a = heads + h * E + i, *b = a + E / 2;
            const double angle = m->positions[t][i] * frequency(m, i), x = *a, y = *b; /* pair i is section i */
            *a = x * cos(angle) - y * sin(angle);
            *b = y * cos(angle) + x * sin(angle);
        }
}

static void attend(double *out, const double *q, double k[T][HK * E], double v[T][HK * E], int t)
{
    for (int h = 0; h < H; h++) {
        const int g = h / (H / HK);
        double score[T], sum = 0;
        for (int s = 0; s <= t; s++) {
            score[s] = 0;
            for (int i = 0; i < E; i++) score[s] += q[h * E + i] * k[s][g * E + i];
            sum += score[s] = exp(score[s] / sqrt(E));
        }
        for (int i = 0; i < E; i++) {
            out[h * E + i] = 0;
            for (int s = 0; s <= t; s++) out[h * E + i] += score[s] / sum * v[s][g * E + i];
        }
    }
}

static void layer(const model *m, double x[T][D], int l)
{
    double k[T][HK * E], v[T][HK * E], q[H * E], n[D], out[H * E], add_to[D], gate[F], up[F];
    for (int t = 0; t < T; t++) {
        norm(n, x[t], find(m, "attn_norm.weight", l));
        linear(q, n, find(m, "attn_q.weight", l), find(m, "attn_q.bias", l), H * E, D);
        linear(k[t], n, find(m, "attn_k.weight", l), find(m, "attn_k.bias", l), HK * E, D);
        linear(v[t], n, find(m, "attn_v.weight", l), find(m, "attn_v.bias", l), HK * E, D);
        turn(m, q, H, t);
        turn(m, k[t], HK, t);
        attend(out, q, k, v, t);
        linear(add_to, out, find(m, "attn_output.weight", l), NULL, D, H * E);
        for (int i = 0; i < D; i++) x[t][i] += add_to[i];
        norm(n, x[t], find(m, "ffn_norm.weight", l));
        linear(gate, n, find(m, "ffn_gate.weight", l), NULL, F, D);
        linear(up, n, find(m, "ffn_up.weight", l), NULL, F, D);
        for (int i = 0; i < F; i++) gate[i] *= up[i] / (1 + exp(-gate[i]));
        linear(add_to, gate, find(m, "ffn_down.weight", l), NULL, D, F);
        for (int i = 0; i < D; i++) x[t][i] += add_to[i];
    }
}

static void reference(const model *m, const int32_t *ids, double logits[V])
{
    double x[T][D], n[D];
    const float *table = find(m, "token_embd.weight", -1), *head = find(m, "output.weight", -1);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++) x[t][i] = (double)table[ids[t] * D + i];
    for (int l = 0; l < L; l++) layer(m, x, l);
    norm(n, x[T - 1], find(m, "output_norm.weight", -1));
    linear(logits, n, head ? head : table, NULL, V, D);
}

static void run_model(const model *m, vr_kept kept, const int32_t *ids, float logits[V])
{
    vr_err e = { 0 };
    vr_backend *be = NULL;
    vr_arena arena = { 0 };
    vr_kvcache cache = { 0 };
    ck_assert_msg(vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = 1, .level = "c" }, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_arena_open(&arena, 1 << 20, &e), VR_OK);
    ck_assert_int_eq(vr_kvcache_open(&cache, be, &(vr_kvcache_config){ L, 32, HK, E, kept }, &e), VR_OK);
    vr_run run = { .be = be, .scratch = &arena, .host = &arena };
    float *x = vr_arena_floats(&arena, T * D), *out = vr_arena_floats(&arena, V);
    vr_llama_embed(m->llama, &run, ids, T, x);
    vr_llama_forward(m->llama, &run, &cache, m->positions[0], x, 3, NULL);
    vr_llama_forward(m->llama, &run, &cache, m->positions[3], x + 3 * D, T - 3, out);
    be->read(be, logits, out, V * sizeof *logits);
    vr_kvcache_close(&cache);
    vr_arena_close(&arena);
    vr_backend_free(be);
}

START_TEST(as_the_formulas)
{
    const unsigned seed = (unsigned)time(NULL) + (unsigned)_i;
    printf("seed %u\n", seed);
    srand(seed);
    model m;
    vr_err e = { 0 };
    model_make(&m, _i & 1, _i & 2, _i & 4, _i & 8);
    ck_assert_msg(model_open(&m, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_llama_config_get(m.llama)->context, 32);
    int32_t ids[T];
    for (int t = 0; t < T; t++) ids[t] = rand() % V;
    /* of 1600 seeds the worst: 2e-5, 3e-3, 5e-2 */
    static const double tolerances[VR_KEPTS] = { 1e-4, 1e-2, 0.2 };
    double expected[V], largest = 0;
    float logits[V];
    reference(&m, ids, expected);
    for (int i = 0; i < V; i++) largest = fmax(largest, fabs(expected[i]));
    for (int kept = 0; kept < VR_KEPTS; kept++) {
        run_model(&m, (vr_kept)kept, ids, logits);
        for (int i = 0; i < V; i++) ck_assert_double_eq_tol((double)logits[i], expected[i], tolerances[kept] * largest);
    }
    ck_assert_int_eq(vr_weights_unused(m.weights, NULL), 0);
    model_free(&m);
}
END_TEST

/* All three biases in every layer, or none anywhere. */
START_TEST(a_bias_is_missing)
{
    model m;
    vr_err e = { 0 };
    model_make(&m, true, true, false, false);
    for (int i = 0; i < m.count; i++)
        if (strcmp(m.tensors[i].name, "blk.1.attn_k.bias") == 0) snprintf(m.tensors[i].name, sizeof m.tensors[i].name, "other");
    ck_assert_int_eq(model_open(&m, &e), VR_ERR_WEIGHTS);
    ck_assert_msg(strstr(e.text, "blk.1.attn_k.bias"), "%s", e.text);
    model_free(&m);
}
END_TEST

/* ---- frequencies of the published models ---- */

static double scaled(double f)
{
    const double wave = 2 * 3.141592653589793 / f;
    if (wave < 8192.0 / 4) return f;
    if (wave > 8192) return f / 32;
    const double u = (8192 / wave - 1) / 3;
    return (1 - u) * f / 32 + u * f;
}

START_TEST(frequencies)
{
    static const vr_rope ropes[] = {
        { .head_dim = 128, .base = 1e6f },
        { .head_dim = 128, .base = 5e5f, .scaled = true, .factor = 32, .low = 1, .high = 4, .original_context = 8192 },
        { .head_dim = 64, .base = 5e5f, .scaled = true, .factor = 32, .low = 1, .high = 4, .original_context = 8192 },
    };
    const vr_rope *r = &ropes[_i];
    int kept = 0, mixed = 0;
    for (int i = 0; i < r->head_dim / 2; i++) {
        const double plain = pow((double)r->base, -2.0 * i / r->head_dim), expected = r->scaled ? scaled(plain) : plain;
        const double got = (double)vr_rope_frequency(r, i);
        ck_assert_double_eq_tol(got / expected, 1, 2e-6);
        if (expected > 0.999 * plain)
            kept++;
        else if (expected > 1.001 * plain / 32)
            mixed++;
    }
    static const int n_kept[] = { 64, 29, 15 }, n_mixed[] = { 0, 6, 3 }; /* wavelengths below 2048, up to 8192 */
    ck_assert_int_eq(kept, n_kept[_i]);
    ck_assert_int_eq(mixed, n_mixed[_i]);
    float cosine[3 * 64], sine[3 * 64];
    vr_rope_table(r, 3, cosine, sine);
    const int half = r->head_dim / 2, at = 2 * half + 5;
    ck_assert_double_eq_tol((double)cosine[at], cos(2.0 * (double)vr_rope_frequency(r, 5)), 1e-7);
    ck_assert_double_eq_tol((double)sine[at], sin(2.0 * (double)vr_rope_frequency(r, 5)), 1e-7);
    ck_assert(cosine[5] >= 1 && sine[5] <= 0);
}
END_TEST

/* linear scaling, and factors of stock files */
START_TEST(divided_frequencies)
{
    const float factors[4] = { 1, 2, 4, 32 };
    const vr_rope plain = { .head_dim = 8, .base = 100 }, linear = { .head_dim = 8, .base = 100, .linear = 4 };
    const vr_rope divided = { .head_dim = 8, .base = 100, .factors = factors };
    for (int i = 0; i < 4; i++) {
        ck_assert(vr_rope_frequency(&linear, i) == vr_rope_frequency(&plain, i) / 4);
        ck_assert(vr_rope_frequency(&divided, i) == vr_rope_frequency(&plain, i) / factors[i]);
    }
}
END_TEST

/* ---- wrong keys ---- */

static void put_rope(writer *f, const char *type, float factor, float low, float high, uint32_t context)
{
    put_head(f, 3, 0, 8);
    put_number(f, "llama.rope.dimension_count", E);
    put_key(f, "llama.rope.freq_base", 6), put_f32(f, 100);
    put_key(f, "llama.rope.pairs", 8), put_string(f, "halves");
    put_key(f, "llama.rope.scaling.type", 8), put_string(f, type);
    put_key(f, "llama.rope.scaling.factor", 6), put_f32(f, factor);
    put_key(f, "llama.rope.scaling.low_freq_factor", 6), put_f32(f, low);
    put_key(f, "llama.rope.scaling.high_freq_factor", 6), put_f32(f, high);
    put_number(f, "llama.rope.scaling.original_context_length", context);
}

START_TEST(wrong_scaling)
{
    static const struct {
        const char *type;
        float factor, low, high;
        uint32_t context;
        const char *text; /* NULL: right */
    } cases[] = {
        { "llama3", 32, 1, 4, 8192, NULL },
        { "yarn", 32, 1, 4, 8192, "is \"yarn\", this version knows llama3" },
        { "none", 0, 0, 0, 0, NULL },
        { "linear", 4, 0, 0, 0, NULL },
        { "linear", 0, 0, 0, 0, "which cannot be" },
        { "llama3", 0, 1, 4, 8192, "which cannot be" },
        { "llama3", 32, 0, 4, 8192, "which cannot be" },
        { "llama3", 32, 4, 4, 8192, "which cannot be" },
        { "llama3", -8, 1, 4, 8192, "which cannot be" },
        { "llama3", 32, 1, 4, 0, "original_context_length" },
        { "llama3", 32, 1, NAN, 8192, "high_freq_factor" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        writer f = { 0 };
        put_rope(&f, cases[i].type, cases[i].factor, cases[i].low, cases[i].high, cases[i].context);
        void *bytes = NULL;
        vr_weights *w;
        vr_err e = { 0 };
        vr_rope rope;
        ck_assert_int_eq(posix_memalign(&bytes, 64, f.n), 0);
        memcpy(bytes, f.bytes, f.n);
        ck_assert_msg(vr_weights_open_memory(&w, bytes, f.n, "rope.bin", &e) == VR_OK, "%s", e.text);
        ck_assert_int_eq(vr_rope_read(&rope, w, &e), cases[i].text ? VR_ERR_WEIGHTS : VR_OK);
        if (cases[i].text) ck_assert_msg(strstr(e.text, cases[i].text), "%s", e.text);
        vr_weights_free(w);
        free(bytes);
        writer_free(&f);
    }
}
END_TEST

START_TEST(wrong_sections)
{
    static const struct {
        uint64_t count;
        int32_t sections[3];
        bool right;
    } cases[] = { { 3, { 1, 1, 1 }, true },   { 3, { 3, 0, 0 }, true },  { 3, { 1, 1, 2 }, false },
                  { 3, { -1, 2, 2 }, false }, { 2, { 1, 2, 0 }, false }, { 3, { 0, 0, 0 }, false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        writer f = { 0 };
        put_head(&f, 3, 0, 4);
        put_number(&f, "llama.rope.dimension_count", E);
        put_key(&f, "llama.rope.freq_base", 6), put_f32(&f, 100);
        put_key(&f, "llama.rope.pairs", 8), put_string(&f, "halves");
        put_sections(&f, cases[i].count, cases[i].sections[0], cases[i].sections[1], cases[i].sections[2]);
        void *bytes = NULL;
        vr_weights *w;
        vr_err e = { 0 };
        vr_rope rope;
        ck_assert_int_eq(posix_memalign(&bytes, 64, f.n), 0);
        memcpy(bytes, f.bytes, f.n);
        ck_assert_msg(vr_weights_open_memory(&w, bytes, f.n, "rope.bin", &e) == VR_OK, "%s", e.text);
        ck_assert_int_eq(vr_rope_read(&rope, w, &e), cases[i].right ? VR_OK : VR_ERR_WEIGHTS);
        if (!cases[i].right) ck_assert_msg(strstr(e.text, "llama.rope.sections"), "%s", e.text);
        vr_weights_free(w);
        free(bytes);
        writer_free(&f);
    }
}
END_TEST

/* Rows that stand where they are counted turn as the table says, bit by bit; else each section turns by its own number. */
START_TEST(rows_and_table)
{
    const vr_rope r = { .head_dim = 128, .base = 1e6f, .sections = { 16, 24, 24 } };
    float cosine[20 * 64], sine[20 * 64], c[3 * 64], s[3 * 64];
    const int32_t positions[9] = { 0, 0, 0, 7, 7, 7, 19, 3, 11 };
    vr_rope_table(&r, 20, cosine, sine);
    vr_rope_rows(&r, positions, 3, c, s);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 64; i++) {
            const int at = positions[3 * t + (i < 16 ? 0 : i < 40 ? 1 : 2)] * 64 + i;
            ck_assert(c[t * 64 + i] == cosine[at] && s[t * 64 + i] == sine[at]);
        }
}
END_TEST

START_TEST(places_of_a_prompt)
{
    /* text, two rows of sound, text, four rows of video, text: the video takes 5 places, its times reach beyond them */
    static const int32_t rows[] = {
        9, VR_CLIP_ROW(0), VR_CLIP_ROW(1), 9, VR_CLIP_ROW(2), VR_CLIP_ROW(3), VR_CLIP_ROW(4), VR_CLIP_ROW(5), 9, 9
    };
    static const int32_t relative[] = { 8, 0, 0, 8, 0, 1, 3, 1, 0, 3, 1, 1 };
    static const int32_t placed[] = { 0,  0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 12, 4,  4,
                                      12, 4, 5, 7, 5, 4, 7, 5, 5, 9, 9, 9, 10, 10, 10 };
    enum { N = sizeof rows / sizeof rows[0] };
    int32_t out[3 * N];
    vr_clip_positions clip = { .first = 2, .count = 4, .relative = relative, .n_positions = 5 };
    ck_assert_int_eq(vr_positions(out, rows, N, &clip), 11);
    ck_assert_mem_eq(out, placed, sizeof placed);
    ck_assert_int_eq(vr_positions(out, rows, N - 2, &clip), 9); /* the video is the end */
    clip.relative = NULL;
    ck_assert_int_eq(vr_positions(out, rows, N, &clip), N);
    for (int t = 0; t < 3 * N; t++) ck_assert_int_eq(out[t], t / 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("llama");
    TCase *t = tcase_create("llama");
    tcase_add_loop_test(t, as_the_formulas, 0, 16);
    tcase_add_test(t, a_bias_is_missing);
    tcase_add_loop_test(t, frequencies, 0, 3);
    tcase_add_test(t, divided_frequencies);
    tcase_add_test(t, wrong_sections);
    tcase_add_test(t, rows_and_table);
    tcase_add_test(t, places_of_a_prompt);
    tcase_add_test(t, wrong_scaling);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
