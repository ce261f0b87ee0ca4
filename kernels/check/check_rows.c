/*
 * check_rows.c - add and scale of rows against level c.
 */
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

#define BESIDE 64

static void check_add_scale(vr_check *ck, int n, vr_fill fill)
{
    char what[128];
    snprintf(what, sizeof what, "add or scale of %d, %s", n, vr_fill_name(fill));
    float *x = vr_check_floats(ck, n), *b = vr_check_floats(ck, n), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    vr_check_fill(ck, x, n, fill);
    vr_check_fill(ck, b, n, fill);
    ck->d->add(y, x, b, n);
    ck->c->add(want, x, b, n);
    vr_check_equal(ck, what, y, want, n);
    vr_check_guards(ck, what, y, n);
    /* in place, a NaN beside the row would survive being written: numbers follow the row */
    float *row = vr_check_floats(ck, n + BESIDE), *want_row = vr_check_floats(ck, n + BESIDE);
    vr_check_fill(ck, row, n + BESIDE, VR_FILL_NORMAL);
    memcpy(row, y, (size_t)n * sizeof *row);
    memcpy(want_row, row, (size_t)(n + BESIDE) * sizeof *row);
    ck->d->scale(row, 0.3f, n);
    ck->c->scale(want_row, 0.3f, n);
    vr_check_equal(ck, what, row, want_row, n + BESIDE);
}

void vr_check_rows(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    for (int i = 0, n; (n = vr_check_size(ck, i, 4096)) != 0 && !vr_check_failed(ck); i++) {
        for (int fill = 0; fill < VR_FILLS; fill++) {
            check_add_scale(ck, n, (vr_fill)fill);
            vr_arena_release(&ck->arena, mark);
        }
    }
}
