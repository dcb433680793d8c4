/* A fixed team of threads and one job at a time. The job is cut into slices; who is free takes the
 * next one.
 *
 * Slices are handed out by one 64-bit word, the ticket: (job number << 32 | slices left). Taking a
 * slice is one compare-and-swap, which fails when the job has changed meanwhile; so a thread that
 * the system has put aside in the middle of an old job cannot take a slice of a new one by mistake,
 * and the caller waits for finished slices, never for a thread that has none. The word says all
 * that the decision needs: a late thread must not look at the job, which the caller may be writing
 * (a count of slices there, read too early, made an old job look as if it had some left).
 *
 * Waiting is a short spin and then a condition variable. The order "announce that I sleep, then
 * look again" against "publish, then look who sleeps", all sequentially consistent, loses no
 * wake-up. */
#include "bitnet/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bitnet/alloc.h"

#include "cores.h"

enum {
    THREADS_MAX = 1024,
    SPINS = 2000, /* tens of microseconds: about the pause between two kernels of one token */
    CACHE_LINE = 64
};

/* Only the caller writes a job, and only while no slice of it can be taken: the ticket says that
 * none is left. Read by those who have taken a slice. */
struct job {
    _Atomic(bitnet_work_fn *) work;
    _Atomic(void *) ctx;
    atomic_size_t begin, n, grain;
    _Atomic uint32_t n_slices;
};

struct worker {
    struct bitnet_pool *pool;
    pthread_t id;
    unsigned thread;
};

struct bitnet_pool {
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Alignas(CACHE_LINE) _Atomic uint32_t n_done; /* slices of the current job */
    _Alignas(CACHE_LINE) struct job job;
    atomic_bool stop, caller_sleeps;
    atomic_uint n_asleep;
    pthread_mutex_t mutex;
    pthread_cond_t has_job, is_done;
    unsigned n_threads, n_workers; /* n_workers of n_threads - 1 are running */
    struct worker *workers;
};

static uint32_t job_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- working --- */

static void run_slice(const struct job *job, uint32_t slice, unsigned thread)
{
    size_t n = atomic_load_explicit(&job->n, memory_order_relaxed);
    size_t grain = atomic_load_explicit(&job->grain, memory_order_relaxed);
    size_t first = atomic_load_explicit(&job->begin, memory_order_relaxed);
    size_t begin = (size_t)slice * grain, end = n - begin < grain ? n : begin + grain;
    bitnet_work_fn *work = atomic_load_explicit(&job->work, memory_order_relaxed);
    work(atomic_load_explicit(&job->ctx, memory_order_relaxed), first + begin, first + end, thread);
}

/* Takes the next slice of job `number`; false when there is none left, or the job is over. */
static bool take_slice(struct bitnet_pool *pool, uint32_t number, uint32_t *slice)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        uint32_t left = (uint32_t)ticket;
        if (job_of(ticket) != number || left == 0) return false;
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        *slice = atomic_load_explicit(&pool->job.n_slices, memory_order_relaxed) - left;
        return true;
    }
}

static void wake_caller(struct bitnet_pool *pool)
{
    if (!atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->is_done);
    pthread_mutex_unlock(&pool->mutex);
}

static void work_on(struct bitnet_pool *pool, uint32_t number, unsigned thread)
{
    uint32_t slice;
    while (take_slice(pool, number, &slice)) {
        uint32_t n_slices = atomic_load_explicit(&pool->job.n_slices, memory_order_relaxed);
        run_slice(&pool->job, slice, thread);
        if (atomic_fetch_add(&pool->n_done, 1) + 1 == n_slices && thread != 0) wake_caller(pool);
    }
}

/* --- waiting --- */

static bool has_news(struct bitnet_pool *pool, uint32_t seen)
{
    return job_of(atomic_load(&pool->ticket)) != seen || atomic_load(&pool->stop);
}

static void wait_for_news(struct bitnet_pool *pool, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (has_news(pool, seen)) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (!has_news(pool, seen)) pthread_cond_wait(&pool->has_job, &pool->mutex);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_until_done(struct bitnet_pool *pool, uint32_t n_slices)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->n_done) == n_slices) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->n_done) != n_slices) pthread_cond_wait(&pool->is_done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct bitnet_pool *pool = worker->pool;
    uint32_t seen = 0;
    for (;;) {
        wait_for_news(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        seen = job_of(atomic_load(&pool->ticket));
        work_on(pool, seen, worker->thread);
    }
}

/* Wakes as many as can find a slice besides the one that the caller takes. */
static void wake_workers(struct bitnet_pool *pool, uint32_t n_slices)
{
    unsigned n_asleep = atomic_load(&pool->n_asleep);
    if (n_asleep == 0) return;
    pthread_mutex_lock(&pool->mutex);
    if (n_slices > n_asleep)
        pthread_cond_broadcast(&pool->has_job);
    else
        for (uint32_t i = 1; i < n_slices; i++) pthread_cond_signal(&pool->has_job);
    pthread_mutex_unlock(&pool->mutex);
}

/* --- the door --- */

unsigned bitnet_pool_default_threads(void)
{
    unsigned n = bitnet_cores_usable();
    return n < THREADS_MAX ? n : THREADS_MAX;
}

unsigned bitnet_pool_threads(const struct bitnet_pool *pool)
{
    return pool ? pool->n_threads : 1;
}

static enum bitnet_status start_workers(struct bitnet_pool *pool, struct bitnet_error *err)
{
    for (; pool->n_workers + 1 < pool->n_threads; pool->n_workers++) {
        struct worker *worker = &pool->workers[pool->n_workers];
        *worker = (struct worker){.pool = pool, .thread = pool->n_workers + 1};
        if (pthread_create(&worker->id, NULL, worker_main, worker) != 0)
            return bitnet_fail(err, BITNET_MEMORY, "cannot start thread %u of %u",
                               pool->n_workers + 2, pool->n_threads);
    }
    return BITNET_OK;
}

enum bitnet_status bitnet_pool_new(struct bitnet_pool **result, unsigned n_threads,
                                   struct bitnet_error *err)
{
    *result = NULL;
    if (n_threads > THREADS_MAX)
        return bitnet_fail(err, BITNET_LIMIT, "%u threads (allowed 1 to %d)", n_threads,
                           THREADS_MAX);
    struct bitnet_pool *pool = bitnet_alloc_aligned(sizeof *pool);
    if (!pool) return bitnet_fail(err, BITNET_MEMORY, "out of memory for a thread pool");
    pool->n_threads = n_threads ? n_threads : bitnet_pool_default_threads();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->has_job, NULL);
    pthread_cond_init(&pool->is_done, NULL);
    pool->workers = bitnet_alloc(pool->n_threads, sizeof *pool->workers);
    enum bitnet_status status = BITNET_OK;
    if (!pool->workers) status = bitnet_fail(err, BITNET_MEMORY, "out of memory for a thread pool");
    if (!status) status = start_workers(pool, err);
    if (status)
        bitnet_pool_free(pool);
    else
        *result = pool;
    return status;
}

void bitnet_pool_free(struct bitnet_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->has_job);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_workers; i++) pthread_join(pool->workers[i].id, NULL);
    pthread_cond_destroy(&pool->is_done);
    pthread_cond_destroy(&pool->has_job);
    pthread_mutex_destroy(&pool->mutex);
    bitnet_free(pool->workers);
    bitnet_free_aligned(pool);
}

static void run_alone(size_t n, size_t grain, bitnet_work_fn *work, void *ctx)
{
    for (size_t begin = 0; begin < n; begin += grain) {
        size_t end = n - begin < grain ? n : begin + grain;
        work(ctx, begin, end, 0);
        if (end == n) return; /* begin + grain could wrap */
    }
}

/* [begin, begin + n) as one job of n_slices slices. */
static void run_job(struct bitnet_pool *pool, size_t begin, size_t n, size_t grain,
                    uint32_t n_slices, bitnet_work_fn *work, void *ctx)
{
    struct job *job = &pool->job;
    uint32_t number = job_of(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    atomic_store_explicit(&job->work, work, memory_order_relaxed);
    atomic_store_explicit(&job->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&job->begin, begin, memory_order_relaxed);
    atomic_store_explicit(&job->n, n, memory_order_relaxed);
    atomic_store_explicit(&job->grain, grain, memory_order_relaxed);
    atomic_store_explicit(&job->n_slices, n_slices, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    atomic_store(&pool->ticket, (uint64_t)number << 32 | n_slices);
    wake_workers(pool, n_slices);
    work_on(pool, number, 0);
    wait_until_done(pool, n_slices);
}

void bitnet_pool_run(struct bitnet_pool *pool, size_t n, size_t grain, bitnet_work_fn *work,
                     void *ctx)
{
    assert(grain > 0);
    if (!pool || pool->n_threads == 1 || n <= grain) {
        run_alone(n, grain, work, ctx);
        return;
    }
    const size_t slices_max = UINT32_MAX; /* the ticket counts in 32 bits */
    for (size_t begin = 0; begin < n;) {
        size_t rest = n - begin, n_slices = rest / grain + (rest % grain != 0);
        size_t part = n_slices > slices_max ? slices_max * grain : rest;
        if (n_slices > slices_max) n_slices = slices_max;
        run_job(pool, begin, part, grain, (uint32_t)n_slices, work, ctx);
        begin += part;
    }
}
