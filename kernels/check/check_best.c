/*
 * check_best.c - the k best of a row against all of its numbers compared with each other.
 */
#include <math.h>
#include <stdio.h>

#include "kernels/check/check.h"

/* Whether place i comes before place j. */
static bool before(const float *x, int i, int j)
{
    if (isnan(x[i]) || isnan(x[j])) return isnan(x[i]) ? isnan(x[j]) && i < j : true;
    return x[i] > x[j] || (x[i] >= x[j] && i < j);
}

static void check_row(vr_check *ck, int n, int k, bool hard_cases)
{
    static const float hard[] = { 0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-40f, 2.0f };
    char what[128];
    snprintf(what, sizeof what, "best %d of %d%s", k, n, hard_cases ? ", equals and NaN" : "");
    float *x = vr_check_floats(ck, n), *values = vr_check_floats(ck, k), *ids = vr_check_floats(ck, k);
    const int32_t *const places = (const int32_t *)(const void *)ids;
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    for (int i = 0; hard_cases && i < n; i++)
        if (vr_check_random(ck) % 4) x[i] = hard[vr_check_random(ck) % 8];
    ck->one->ops->best(ck->one, (int32_t *)(void *)ids, values, x, n, k);
    vr_check_guards(ck, what, ids, k);
    vr_check_guards(ck, what, values, k);
    for (int i = 0; i < n && !vr_check_failed(ck); i++) {
        int rank = 0;
        for (int j = 0; j < n; j++) rank += before(x, j, i);
        if (rank >= k) continue;
        if (places[rank] != i) vr_check_fail(ck, "%s: number %d is place %d, not %d", what, rank, (int)places[rank], i);
        vr_check_equal(ck, what, values + rank, x + i, 1);
    }
}

void vr_check_best(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    static const int large[] = { 1023, 1024, 1025, 5000 };
    ck->one->ops->best(ck->one, NULL, NULL, NULL, 0, 0);
    for (int i = 0, n; (n = vr_check_size(ck, i, 600)) != 0 && !vr_check_failed(ck); i++) {
        const int most = n < VR_BEST_MOST ? n : VR_BEST_MOST;
        check_row(ck, n, 1, i % 2);
        check_row(ck, n, 1 + (int)(vr_check_random(ck) % (uint32_t)most), i % 2 == 0);
        check_row(ck, n, most, true);
        vr_arena_release(&ck->arena, mark);
    }
    for (size_t i = 0; i < sizeof large / sizeof *large && !vr_check_failed(ck); i++) {
        check_row(ck, large[i], i % 2 ? 1 : VR_BEST_MOST, i == 1);
        vr_arena_release(&ck->arena, mark);
    }
}
