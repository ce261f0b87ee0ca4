/*
 * prune_test.c - prune, frame_similarity and top_k where the answer is known: recorded runs of LongVU, and cases worked by
 * hand.
 *
 *   recorded tensors (exact in f32, f16 and bf16) -> every level, type and number of threads -> recorded cosines, masks,
 *   similarities
 *
 * Two recorded runs are fixtures; all of them are read from VIDRUN_SHARED (../shared) where it is.
 */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/cpu/select.h"
#include "tests/unit/npy_support.h"
#include "tests/unit/suite.h"

/* --- recorded tensors ----------------------------------------------------------------------------------------------------- */

static uint16_t narrow(float x, vr_dtype dtype)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (dtype == VR_DTYPE_BF16) return (uint16_t)(bits >> 16);
    const int exponent = (int)(bits >> 23 & 255) - 112;
    const uint32_t fraction = (bits & 0x7fffff) | 0x800000, sign = bits >> 16 & 0x8000;
    if ((bits & 0x7fffffff) == 0) return (uint16_t)sign;
    if (exponent <= 0) return (uint16_t)(sign | fraction >> (14 - exponent)); /* exact, so nothing is cut off */
    return (uint16_t)(sign | (uint32_t)exponent << 10 | (fraction >> 13 & 0x3ff));
}

static void *as_type(const float *x, size_t n, vr_dtype dtype)
{
    void *y = malloc(n * vr_dtype_bytes(dtype));
    ck_assert_ptr_nonnull(y);
    for (size_t i = 0; i < n; i++) {
        if (dtype == VR_DTYPE_F32)
            ((float *)y)[i] = x[i];
        else
            ((uint16_t *)y)[i] = narrow(x[i], dtype);
    }
    return y;
}

static vr_backend *open_level(const char *level, int n_threads)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    ck_assert_msg(
        vr_backend_open_cpu(&be, &(vr_cpu_options){ .n_threads = n_threads, .gemm = VR_GEMM_OWN, .level = level }, &e) == VR_OK,
        "%s", e.text);
    return be;
}

/* Calls with every level of this machine, one and two threads. */
#define EVERY_BACKEND(call)                                                                                                    \
    do {                                                                                                                       \
        bool here;                                                                                                             \
        for (int i = 0; vr_dsp_level(i, &here); i++) {                                                                         \
            for (int n_threads = 1; here && n_threads <= 2; n_threads++) {                                                     \
                vr_backend *be = open_level(vr_dsp_level(i, &here), n_threads);                                                \
                call;                                                                                                          \
                vr_backend_free(be);                                                                                           \
            }                                                                                                                  \
        }                                                                                                                      \
    } while (0)

typedef struct recorded {
    const char *name;
    int n_frames, N, D;
    float threshold;
} recorded;

static const recorded runs[] = { { "stc.a", 17, 144, 256, 0.7f }, { "stc.a2", 17, 144, 256, 0.8f },
                                 { "stc.b", 16, 36, 64, 0.97f },  { "stc.c", 11, 40, 100, 0.5f },
                                 { "stc.d", 12, 30, 72, 0.65f },  { "stc.f", 1, 30, 72, 0.7f } };

static void compare_run(vr_backend *be, const recorded *r, const char *folder, const void *x, vr_dtype dtype,
                        const int32_t *kept)
{
    const size_t n = (size_t)(r->n_frames * r->N), row = (size_t)r->D * vr_dtype_bytes(dtype);
    float *s = malloc(n * sizeof *s);
    uint8_t *mask = malloc(n), *rows = malloc(n * row);
    int32_t *ids = malloc(n * sizeof *ids), n_kept = -1;
    be->ops->prune(
        be, &(vr_prune){ x, dtype, r->n_frames, r->N, r->D, 8, VR_PRUNE_FIRST, r->threshold, 0, s, mask, ids, &n_kept, rows });
    int32_t count = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        wrong += mask[i] != kept[i];
        if (!kept[i]) continue;
        wrong += count >= n_kept || ids[count] != (int32_t)i ||
                 memcmp(rows + (size_t)count * row, (const char *)x + i * row, row) != 0;
        count++;
    }
    ck_assert_msg(wrong == 0 && count == n_kept, "%s %s: %zu rows decided wrongly, %d kept, not %d", r->name, vr_cpu_level(be),
                  wrong, n_kept, count);
    for (int first = 0; first < r->n_frames; first += 8) {
        char name[64];
        size_t n_cosines;
        snprintf(name, sizeof name, "%s.cosine.%02d", r->name, first / 8);
        float *cosine = npy_load(folder, name, &n_cosines);
        for (size_t i = 0; cosine && i < n_cosines; i++) {
            const double error = fabs((double)s[(size_t)((first + 1) * r->N) + i] - (double)cosine[i]);
            ck_assert_msg(error < 1e-6, "%s: cosine %zu is off by %g", name, i, error);
        }
        free(cosine);
    }
    free(s), free(mask), free(ids), free(rows);
}

static bool check_run(const recorded *r, const char *folder)
{
    static const vr_dtype dtypes[] = { VR_DTYPE_F32, VR_DTYPE_F16, VR_DTYPE_BF16 };
    char name[64];
    size_t n, n_kept;
    snprintf(name, sizeof name, "%s.input", strcmp(r->name, "stc.a2") == 0 ? "stc.a" : r->name);
    float *x = npy_load(folder, name, &n);
    snprintf(name, sizeof name, "%s.kept", r->name);
    int32_t *kept = npy_load(folder, name, &n_kept);
    const bool found = x && kept;
    if (found) ck_assert(n == n_kept * (size_t)r->D && n_kept == (size_t)(r->n_frames * r->N));
    for (size_t t = 0; found && t < 3; t++) {
        void *typed = as_type(x, n, dtypes[t]);
        EVERY_BACKEND(compare_run(be, r, folder, typed, dtypes[t], kept));
        free(typed);
    }
    free(x), free(kept);
    return found;
}

static bool check_select(const char *name, const char *folder)
{
    char file[64];
    size_t n, n_frames;
    snprintf(file, sizeof file, "%s.input", name);
    float *x = npy_load(folder, file, &n);
    snprintf(file, sizeof file, "%s.similarity", name);
    float *want = npy_load(folder, file, &n_frames);
    const bool found = x && want;
    if (found) {
        float *s = malloc(n_frames * sizeof *s);
        EVERY_BACKEND(be->ops->frame_similarity(be, s, x, (int)n_frames, (int64_t)(n / n_frames), 16);
                      for (size_t f = 0; f < n_frames; f++)
                          ck_assert_msg(fabs((double)s[f] - (double)want[f]) < 1e-6, "%s: frame %zu", name, f));
        free(s);
    }
    free(x), free(want);
    return found;
}

START_TEST(recorded_fixtures)
{
    ck_assert(check_run(&runs[4], "tests/fixtures/prune"));
    ck_assert(check_select("select.tail1", "tests/fixtures/prune"));
}
END_TEST

START_TEST(recorded_all)
{
    static const char *const selects[] = { "select.tail1", "select.tail15", "select.short", "select.equal", "select.many" };
    const char *shared = getenv("VIDRUN_SHARED");
    char folder[256];
    snprintf(folder, sizeof folder, "%s/golden/longvu-stc/stages", shared ? shared : "../shared");
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        if (!check_run(&runs[i], folder)) printf("SKIP: %s: not in %s\n", runs[i].name, folder);
    }
    for (size_t i = 0; i < sizeof selects / sizeof selects[0]; i++) {
        if (!check_select(selects[i], folder)) printf("SKIP: %s: not in %s\n", selects[i], folder);
    }
}
END_TEST

/* --- by hand -------------------------------------------------------------------------------------------------------------- */

enum { FRAMES = 5, PLACES = 4 };

/* One number a row: cosines are 1, -1, 0 or NaN. Window of 4, so the last window is one frame. */
static const float hand[FRAMES * PLACES] = {
    1, 1, 1, 0, /**/ 2, -1, NAN, 3, /**/ -2, -2, 1, 0, /**/ 1, 0, 1, 5, /**/ 9, 9, 9, 9
};

static void run_hand(vr_backend *be, vr_prune_anchor anchor, float threshold, int n_least, float *s, const char *want)
{
    uint8_t mask[FRAMES * PLACES];
    int32_t ids[FRAMES * PLACES], n_kept;
    be->ops->prune(
        be, &(vr_prune){ hand, VR_DTYPE_F32, FRAMES, PLACES, 1, 4, anchor, threshold, n_least, s, mask, ids, &n_kept, NULL });
    int count = 0;
    for (int i = 0; i < FRAMES * PLACES; i++) {
        ck_assert_msg(mask[i] == (want[i] == 'x'), "anchor %d, least %d, row %d: %d", (int)anchor, n_least, i, mask[i]);
        if (want[i] == 'x') ck_assert_int_eq(ids[count++], i);
    }
    ck_assert_int_eq(n_kept, count);
}

static void check_hand(vr_backend *be)
{
    float s[FRAMES * PLACES];
    run_hand(be, VR_PRUNE_FIRST, 0.5f, 0, s, "xxxx.x.xxx.x.x.xxxxx");
    ck_assert(s[0] == 0.0f && s[4] == 1.0f && s[5] == -1.0f && isnan(s[6]) && s[7] == 0.0f && s[16] == 0.0f);
    run_hand(be, VR_PRUNE_PREVIOUS, 0.5f, 0, s, "xxxx.x.xx..xxx.xxxxx");
    ck_assert(s[8] == -1.0f && s[9] == 1.0f && isnan(s[10]) && s[12] == -1.0f);
    run_hand(be, VR_PRUNE_PAIRS, 0.5f, 0, s, "xxxx.x.xxxxxxx.xxxxx");
    ck_assert(s[8] == 0.0f && s[12] == -1.0f);
    run_hand(be, VR_PRUNE_FIRST, 9.0f, 2, s, "xxxx.x.xxx...x.xxxxx"); /* frame 2: -1 -1 1 0; frame 3: 1 0 1 0 */
    run_hand(be, VR_PRUNE_FIRST, 9.0f, 4, s, "xxxxxx.xxxxxxxxxxxxx"); /* NaN is not kept to fill a frame */
    run_hand(be, VR_PRUNE_FIRST, 9.0f, 100, s, "xxxxxx.xxxxxxxxxxxxx");
    run_hand(be, VR_PRUNE_FIRST, 9.0f, 0, s, "xxxxxx.xxxxxxxxxxxxx");
    run_hand(be, VR_PRUNE_FIRST, -9.0f, 0, s, "xxxx............xxxx");
    run_hand(be, VR_PRUNE_FIRST, NAN, 0, s, "xxxx............xxxx");
}

START_TEST(by_hand)
{
    EVERY_BACKEND(check_hand(be));
}
END_TEST

static void check_top(vr_backend *be)
{
    static const float x[] = { 3, NAN, 0.0f, 3, -0.0f, 1 };
    int32_t ids[6] = { 0 };
    be->ops->top_k(be, ids, x, 1, 6, 3, false);
    ck_assert(ids[0] == 0 && ids[1] == 3 && ids[2] == 5);
    be->ops->top_k(be, ids, x, 1, 6, 1, true); /* 0 and -0 are equal: the lower place */
    ck_assert_int_eq(ids[0], 2);
    be->ops->top_k(be, ids, x, 1, 6, 5, true);
    ck_assert(ids[0] == 0 && ids[1] == 2 && ids[4] == 5);
    be->ops->top_k(be, ids, x, 2, 3, 9, false);
    for (int i = 0; i < 6; i++) ck_assert_int_eq(ids[i], i % 3);
    ids[0] = -5;
    be->ops->top_k(be, ids, x, 1, 6, 0, false);
    ck_assert_int_eq(ids[0], -5);
}

START_TEST(top_by_hand)
{
    EVERY_BACKEND(check_top(be));
}
END_TEST

static void check_nothing(vr_backend *be)
{
    int32_t n_kept = 7;
    float s[3] = { 7, 7, 7 };
    uint8_t mask[3] = { 7, 7, 7 };
    int32_t ids[3];
    be->ops->prune(
        be, &(vr_prune){ .window = 8, .N = 3, .D = 4, .similarity = s, .mask = mask, .indices = ids, .n_kept = &n_kept });
    ck_assert(n_kept == 0 && s[0] == 7.0f);
    be->ops->prune(
        be, &(vr_prune){
                .x = s, .window = 8, .n_frames = 3, .N = 1, .similarity = s, .mask = mask, .indices = ids, .n_kept = &n_kept });
    ck_assert(n_kept == 1 && ids[0] == 0 && s[1] == 0.0f && mask[1] == 0); /* rows without numbers: cosine 0, not below 0 */
    be->ops->frame_similarity(be, s, NULL, 0, 5, 16);
    be->ops->gram(be, NULL, NULL, VR_DTYPE_BF16, 0, 5);
}

START_TEST(nothing)
{
    EVERY_BACKEND(check_nothing(be));
}
END_TEST

/* A plan is handed addresses that must not be touched. */
START_TEST(plan)
{
    vr_backend *be = NULL;
    vr_err e = { 0 };
    int32_t n_kept = 7;
    ck_assert_int_eq(vr_backend_open_plan(&be, &e), VR_OK);
    be->ops->prune(be, &(vr_prune){ .window = 8, .n_frames = 3, .N = 5, .D = 7, .n_kept = &n_kept });
    be->ops->frame_similarity(be, NULL, NULL, 3, 7, 16);
    be->ops->gram(be, NULL, NULL, VR_DTYPE_F32, 3, 7);
    be->ops->top_k(be, NULL, NULL, 3, 7, 2, false);
    be->ops->gather_rows(be, NULL, NULL, NULL, 3, 7);
    vr_backend_free(be);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prune");
    TCase *t = tcase_create("prune");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, recorded_fixtures);
    tcase_add_test(t, recorded_all);
    tcase_add_test(t, by_hand);
    tcase_add_test(t, top_by_hand);
    tcase_add_test(t, nothing);
    tcase_add_test(t, plan);
    suite_add_tcase(s, t);
    return suite_run(s);
}
