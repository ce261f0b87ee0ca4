/*
 * pool.c - see pool.h.
 *
 *   ticket:  job number (upper 32 bits) | next tile (lower 32 bits)
 *   caller:  close the ticket -> store the job -> open the ticket -> take tiles -> wait until all are done
 *   worker:  read the ticket -> read the job -> take a tile by compare-and-swap -> run it -> count it
 *
 * A worker that wakes late finds no tile and disturbs nobody: the caller waits for tiles, never for threads. The swap succeeds
 * only if the ticket is still the one that was read before the job, so a worker never runs a tile of a job it has half read.
 * Threads spin for some 20 microseconds before they sleep, because a decoder hands out hundreds of short jobs in a row.
 * Trap:  a job may be run by one thread at a time; tiles must not call vr_pool_run.
 * Owner: the pool owns its threads.
 */
#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define CLOSED 0xffffffffu /* a tile number that no job has */
#define SPINS  1000        /* about 40 cycles each */

typedef struct worker {
    vr_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct vr_pool {
    _Atomic uint64_t ticket;
    _Atomic(vr_pool_tile *) tile;
    _Atomic(void *) arg;
    _Atomic uint32_t n_tiles;
    _Atomic uint32_t n_done;
    _Atomic int n_asleep;
    _Atomic bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int n_threads, n_started;
    worker *workers; /* [n_threads - 1] owned */
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Run tiles of whatever job is open until none is left. */
static void take_tiles(vr_pool *pool, int thread)
{
    for (;;) {
        uint64_t ticket = atomic_load(&pool->ticket);
        vr_pool_tile *const tile = atomic_load(&pool->tile);
        void *const arg = atomic_load(&pool->arg);
        const uint32_t next = (uint32_t)ticket;
        if (next >= atomic_load(&pool->n_tiles)) return; /* CLOSED is above every count */
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) continue;
        tile(arg, (int)next, thread);
        atomic_fetch_add(&pool->n_done, 1);
    }
}

static void wait_for_change(vr_pool *pool, uint32_t job)
{
    for (int i = 0; i < SPINS; i++) {
        if ((uint32_t)(atomic_load(&pool->ticket) >> 32) != job || atomic_load(&pool->stop)) return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while ((uint32_t)(atomic_load(&pool->ticket) >> 32) == job && !atomic_load(&pool->stop)) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *cookie)
{
    const worker *w = cookie;
    while (!atomic_load(&w->pool->stop)) {
        const uint32_t job = (uint32_t)(atomic_load(&w->pool->ticket) >> 32);
        take_tiles(w->pool, w->index);
        wait_for_change(w->pool, job);
    }
    return NULL;
}

int vr_pool_open(vr_pool **out, int n_threads, vr_err *e)
{
    assert(n_threads >= 1 && n_threads <= VR_MAX_THREADS);
    vr_pool *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return vr_fail(e, VR_ERR_OTHER, "thread pool: no memory");
    }
    pool->workers = workers;
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 0; i < n_threads - 1; i++) {
        workers[i] = (worker){ .pool = pool, .index = i + 1 };
        const int rc = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
        if (rc != 0) {
            vr_pool_free(pool);
            return vr_fail(e, VR_ERR_OTHER, "thread pool: thread %d of %d cannot be started: %s", i + 2, n_threads,
                           strerror(rc));
        }
        pool->n_started++;
    }
    *out = pool;
    return VR_OK;
}

void vr_pool_free(vr_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

int vr_pool_threads(const vr_pool *pool)
{
    return pool->n_threads;
}

void vr_pool_run(vr_pool *pool, int n_tiles, vr_pool_tile *tile, void *arg)
{
    assert(n_tiles >= 0);
    if (pool->n_threads == 1 || n_tiles <= 1) {
        for (int i = 0; i < n_tiles; i++) tile(arg, i, 0);
        return;
    }
    const uint64_t job = (uint64_t)((uint32_t)(atomic_load(&pool->ticket) >> 32) + 1);
    atomic_store(&pool->ticket, job << 32 | CLOSED);
    atomic_store(&pool->tile, tile);
    atomic_store(&pool->arg, arg);
    atomic_store(&pool->n_tiles, (uint32_t)n_tiles);
    atomic_store(&pool->n_done, 0);
    atomic_store(&pool->ticket, (uint64_t)(uint32_t)(job + 1) << 32);
    if (atomic_load(&pool->n_asleep) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
    take_tiles(pool, 0);
    for (int i = 0; atomic_load(&pool->n_done) != (uint32_t)n_tiles; i++) {
        if (i < SPINS)
            relax();
        else
            sched_yield(); /* the partner may need this very core */
    }
}
