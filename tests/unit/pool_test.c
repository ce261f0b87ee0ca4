/*
 * pool_test.c - thread pool: every tile once, thread numbers exclusive, results visible, no thread waits for another's tile.
 *
 * Tiles write plain memory that the caller reads after the run: under ThreadSanitizer (make tsan) a missing order is a report.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/pool.h"
#include "tests/unit/suite.h"

#define MAX_TILES   1000
#define MAX_THREADS 8

static vr_pool *open_pool(int n_threads)
{
    vr_pool *pool = NULL;
    vr_err e = { 0 };
    ck_assert_msg(vr_pool_open(&pool, n_threads, &e) == VR_OK, "%s", e.text);
    ck_assert_int_eq(vr_pool_threads(pool), n_threads);
    return pool;
}

static void rest(long microseconds)
{
    const struct timespec t = { 0, microseconds * 1000 };
    nanosleep(&t, NULL);
}

typedef struct tally {
    int n_threads;
    int runs[MAX_TILES];            /* plain: each tile belongs to one thread */
    _Atomic bool busy[MAX_THREADS]; /* a thread number is in use by one tile at a time */
    int per_thread[MAX_THREADS];    /* plain: scratch of that thread */
} tally;

static void count_tile(void *arg, int tile, int thread)
{
    tally *t = arg;
    ck_assert(thread >= 0 && thread < t->n_threads);
    ck_assert(!atomic_exchange(&t->busy[thread], true));
    t->runs[tile]++;
    t->per_thread[thread]++;
    atomic_store(&t->busy[thread], false);
}

START_TEST(every_tile_once)
{
    static const int tiles[] = { 0, 1, 2, 3, 7, 8, 9, 64, 999, 1000 };
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        vr_pool *pool = open_pool(n_threads);
        for (size_t i = 0; i < sizeof tiles / sizeof tiles[0]; i++) {
            tally t = { .n_threads = n_threads };
            vr_pool_run(pool, tiles[i], count_tile, &t);
            int sum = 0;
            for (int k = 0; k < MAX_TILES; k++) ck_assert_int_eq(t.runs[k], k < tiles[i]);
            for (int k = 0; k < MAX_THREADS; k++) sum += t.per_thread[k];
            ck_assert_int_eq(sum, tiles[i]);
        }
        vr_pool_free(pool);
    }
}
END_TEST

/* A chain of jobs in which each reads what the one before wrote, as layers do. */
typedef struct chain {
    long from[16], to[16];
} chain;

static void next_link(void *arg, int tile, int thread)
{
    chain *c = arg;
    (void)thread;
    c->to[tile] = c->from[(tile + 1) % 16] + 1;
}

static void run_chain(vr_pool *pool, int n_jobs, long pause_every)
{
    chain c = { { 0 }, { 0 } };
    for (int job = 0; job < n_jobs; job++) {
        vr_pool_run(pool, 16, next_link, &c);
        for (int i = 0; i < 16; i++) {
            ck_assert_int_eq(c.to[i], job + 1);
            c.from[i] = c.to[i];
        }
        if (pause_every && job % pause_every == 0) rest(300); /* long enough that the others sleep */
    }
}

START_TEST(short_jobs_in_a_row)
{
    for (int n_threads = 2; n_threads <= 4; n_threads++) {
        vr_pool *pool = open_pool(n_threads);
        run_chain(pool, 10000, 0);
        vr_pool_free(pool);
    }
}
END_TEST

START_TEST(jobs_after_sleep)
{
    vr_pool *pool = open_pool(3);
    run_chain(pool, 500, 1);
    vr_pool_free(pool);
}
END_TEST

typedef struct slow {
    _Atomic int n_done;
    int n_tiles;
    bool late;
} slow;

/* Tile 0 holds its thread until all the others are done: somebody else must do them. */
static void slow_tile(void *arg, int tile, int thread)
{
    slow *s = arg;
    (void)thread;
    if (tile == 0) {
        for (int i = 0; i < 10000 && atomic_load(&s->n_done) < s->n_tiles - 1; i++) rest(1000);
        s->late = atomic_load(&s->n_done) < s->n_tiles - 1;
    }
    atomic_fetch_add(&s->n_done, 1);
}

START_TEST(a_slow_tile_holds_nobody)
{
    vr_pool *pool = open_pool(2);
    for (int round = 0; round < 20; round++) {
        slow s = { .n_tiles = 64 };
        vr_pool_run(pool, s.n_tiles, slow_tile, &s);
        ck_assert(!s.late);
        ck_assert_int_eq(s.n_done, 64);
    }
    vr_pool_free(pool);
}
END_TEST

static void *run_own_pool(void *arg)
{
    (void)arg;
    vr_pool *pool = open_pool(2);
    run_chain(pool, 2000, 100);
    vr_pool_free(pool);
    return NULL;
}

START_TEST(two_pools_at_once)
{
    pthread_t other;
    ck_assert_int_eq(pthread_create(&other, NULL, run_own_pool, NULL), 0);
    run_own_pool(NULL);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
}
END_TEST

START_TEST(opened_and_freed)
{
    vr_pool_free(NULL);
    for (int i = 0; i < 200; i++) {
        vr_pool *pool = open_pool(1 + i % 4);
        if (i % 3 == 0) run_chain(pool, 1, 0);
        if (i % 50 == 0) rest(300); /* freed while the others sleep */
        vr_pool_free(pool);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *all = tcase_create("pool");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, every_tile_once);
    tcase_add_test(all, short_jobs_in_a_row);
    tcase_add_test(all, jobs_after_sleep);
    tcase_add_test(all, a_slow_tile_holds_nobody);
    tcase_add_test(all, two_pools_at_once);
    tcase_add_test(all, opened_and_freed);
    suite_add_tcase(suite, all);
    return suite_run(suite);
}
