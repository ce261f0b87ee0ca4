/*
 * ahead.h - memory that is fetched while kernels compute: rows of keys and of values, in the order of their addresses.
 *
 *   total work of the kernels / lines to fetch = per_line;  kernel: work done -> vr_ahead_fetch -> the lines that are due
 *
 * Many fetches at once fill the queue of misses, and the loads behind them wait; so each kernel tells how much it has done,
 * a thousand multiply-adds at a time, and gets its share. Runs of one head, one after the other, are too short for what the
 * processor fetches by itself. bench/LOG.md
 */
#ifndef VR_AHEAD_H
#define VR_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#define VR_AHEAD_LINE 64 /* bytes */

typedef struct vr_ahead {
    const char *row[2];     /* of keys, of values */
    ptrdiff_t step[2];      /* bytes from row to row */
    ptrdiff_t run, at;      /* bytes of a row; of it done */
    int n_rows;             /* left; 0: nothing to fetch */
    int64_t per_line, done; /* multiply-adds for a line of each; not yet paid with lines */
} vr_ahead;

static inline void vr_ahead_fetch(vr_ahead *f, int64_t work)
{
    if (f->n_rows <= 0) return;
    for (f->done += work; f->done >= f->per_line && f->n_rows > 0; f->done -= f->per_line) {
        __builtin_prefetch(f->row[0] + f->at, 0, 2);
        __builtin_prefetch(f->row[1] + f->at, 0, 2);
        f->at += VR_AHEAD_LINE;
        if (f->at < f->run) continue;
        f->at = 0, f->n_rows--;
        f->row[0] += f->step[0], f->row[1] += f->step[1];
    }
}

#endif
