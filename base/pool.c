/* A fixed team of threads and one job at a time. The job is cut into slices; every thread owns a
 * run of neighbouring slices and takes them in order, so that it reads memory in one stream (two
 * threads that share 80 KiB pieces of a matrix read 29 GB/s here, each its own half 37); who has
 * finished takes the last slices of the others.
 *
 * Two kinds of words say all that a decision needs. The ticket: (job number << 32 | slices of it).
 * Per thread, the shares: (job number << 32 | taken from the front << 16 | taken from the back).
 * Shares of an older job mean that nothing of this one was taken yet, so the caller writes one
 * word, not one per thread, and who sleeps does not keep its slices from others. Taking a slice is
 * one compare-and-swap on its owner's shares, which fails when the job has changed meanwhile: a
 * thread that the system has put aside in the middle of an old job finds the shares of that job all
 * taken, and cannot take a slice of a new one by mistake. The caller waits for finished slices,
 * never for a thread that has none.
 *
 * Waiting is a short spin and then a condition variable. The order "announce that I sleep, then
 * look again" against "publish, then look who sleeps", all sequentially consistent, loses no
 * wake-up. A team larger than the cores it may use does not spin: it would spin in the way of those
 * who work. */
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
    SLICES_MAX = 0xffff, /* of one job: shares count in 16 bits */
    CACHE_LINE = 64
};

/* Only the caller writes a job, and only while no slice of one can be taken: all are done. Read by
 * those who have taken a slice. */
struct job {
    _Atomic(bitnet_work_fn *) work;
    _Atomic(void *) ctx;
    atomic_size_t begin, n, grain;
};

/* What was taken of one thread's slices; a cache line of its own. */
struct shares {
    _Alignas(CACHE_LINE) _Atomic uint64_t taken;
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
    int n_spins;
    struct shares *shares; /* [n_threads] */
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

/* Where the slices of `thread` begin: a thread more or less shares no more than one slice. */
static uint32_t first_slice(const struct bitnet_pool *pool, uint32_t n_slices, unsigned thread)
{
    return (uint32_t)((uint64_t)n_slices * thread / pool->n_threads);
}

/* Takes a slice that `owner` owns in the job of `ticket`, the first one left or the last; false
 * when none is left, or the job is over. */
static bool take_slice(struct bitnet_pool *pool, uint64_t ticket, unsigned owner, bool from_front,
                       uint32_t *slice)
{
    const uint32_t begin = first_slice(pool, (uint32_t)ticket, owner);
    const uint32_t end = first_slice(pool, (uint32_t)ticket, owner + 1);
    const uint64_t nothing = (uint64_t)job_of(ticket) << 32;
    _Atomic uint64_t *shares = &pool->shares[owner].taken;
    uint64_t seen = atomic_load_explicit(shares, memory_order_acquire);
    if (begin == end) return false;
    for (;;) {
        const uint64_t taken = job_of(seen) == job_of(ticket) ? seen : nothing;
        const uint32_t front = (uint32_t)taken >> 16, back = (uint32_t)taken & 0xffff;
        if (front + back >= end - begin) return false;
        /* Shares of another job: an older one that is over, or a newer one, and ours is over. */
        if (taken != seen && atomic_load_explicit(&pool->ticket, memory_order_acquire) != ticket)
            return false;
        const uint64_t more = from_front ? 1u << 16 : 1u;
        if (!atomic_compare_exchange_weak_explicit(shares, &seen, taken + more,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        *slice = from_front ? begin + front : end - 1 - back;
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

/* All that can be taken of `owner`; returns how many slices were done. */
static uint32_t work_for(struct bitnet_pool *pool, uint64_t ticket, unsigned owner, unsigned thread)
{
    uint32_t slice, n = 0;
    for (; take_slice(pool, ticket, owner, owner == thread, &slice); n++)
        run_slice(&pool->job, slice, thread);
    return n;
}

static void work_on(struct bitnet_pool *pool, uint64_t ticket, unsigned thread)
{
    const uint32_t n_slices = (uint32_t)ticket;
    for (unsigned i = 0; i < pool->n_threads; i++) {
        const uint32_t n = work_for(pool, ticket, (thread + i) % pool->n_threads, thread);
        if (n == 0) continue;
        if (atomic_fetch_add(&pool->n_done, n) + n == n_slices && thread != 0) wake_caller(pool);
    }
}

/* --- waiting --- */

static bool has_news(struct bitnet_pool *pool, uint32_t seen)
{
    return job_of(atomic_load(&pool->ticket)) != seen || atomic_load(&pool->stop);
}

static void wait_for_news(struct bitnet_pool *pool, uint32_t seen)
{
    for (int i = 0; i < pool->n_spins; i++) {
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
    for (int i = 0; i < pool->n_spins; i++) {
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
        const uint64_t ticket = atomic_load(&pool->ticket);
        seen = job_of(ticket);
        work_on(pool, ticket, worker->thread);
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

/* Siblings on one core may spin: a pause leaves the core to the other. */
static bool all_run_at_once(unsigned n_threads)
{
    struct bitnet_cores cores;
    bitnet_cores_detect(&cores);
    return n_threads <= cores.n_logical && (!cores.quota || n_threads <= cores.quota);
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
    pool->n_spins = all_run_at_once(pool->n_threads) ? SPINS : 0;
    pool->workers = bitnet_alloc(pool->n_threads, sizeof *pool->workers);
    pool->shares = bitnet_alloc_aligned(pool->n_threads * sizeof *pool->shares);
    enum bitnet_status status = BITNET_OK;
    if (!pool->workers || !pool->shares)
        status = bitnet_fail(err, BITNET_MEMORY, "out of memory for a thread pool");
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
    bitnet_free_aligned(pool->shares);
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

/* The next job's number. Zero is the number of shares that nobody has touched, so when the count
 * begins anew all shares are made so. */
static uint32_t next_number(struct bitnet_pool *pool)
{
    uint32_t number = job_of(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    if (number) return number;
    for (unsigned i = 0; i < pool->n_threads; i++) atomic_store(&pool->shares[i].taken, 0);
    return 1;
}

/* [begin, begin + n) as one job of n_slices slices. */
static void run_job(struct bitnet_pool *pool, size_t begin, size_t n, size_t grain,
                    uint32_t n_slices, bitnet_work_fn *work, void *ctx)
{
    struct job *job = &pool->job;
    const uint64_t ticket = (uint64_t)next_number(pool) << 32 | n_slices;
    atomic_store_explicit(&job->work, work, memory_order_relaxed);
    atomic_store_explicit(&job->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&job->begin, begin, memory_order_relaxed);
    atomic_store_explicit(&job->n, n, memory_order_relaxed);
    atomic_store_explicit(&job->grain, grain, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    atomic_store(&pool->ticket, ticket);
    wake_workers(pool, n_slices);
    work_on(pool, ticket, 0);
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
    const size_t slices_max = SLICES_MAX;
    for (size_t begin = 0; begin < n;) {
        size_t rest = n - begin, n_slices = rest / grain + (rest % grain != 0);
        size_t part = n_slices > slices_max ? slices_max * grain : rest;
        if (n_slices > slices_max) n_slices = slices_max;
        run_job(pool, begin, part, grain, (uint32_t)n_slices, work, ctx);
        begin += part;
    }
}
