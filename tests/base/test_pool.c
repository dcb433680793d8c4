/* The team of threads: every number once, slices that depend only on n and grain, any team size,
 * jobs in quick succession and after a sleep. Run under ThreadSanitizer too. */
#include "cm.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bitnet/alloc.h"
#include "bitnet/pool.h"

enum { N_MAX = 20000 };

struct seen {
    atomic_uchar count[N_MAX];
    atomic_size_t n_calls, largest, smallest_end;
    size_t n, grain;
    unsigned n_threads;
    atomic_bool wrong;
};

static void look(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct seen *seen = ctx;
    bool last = end == seen->n;
    if (thread >= seen->n_threads || begin % seen->grain != 0 || begin >= end ||
        (!last && end - begin != seen->grain) || end - begin > seen->grain)
        atomic_store(&seen->wrong, true);
    for (size_t i = begin; i < end; i++) atomic_fetch_add(&seen->count[i], 1);
    atomic_fetch_add(&seen->n_calls, 1);
}

static void check_run(struct bitnet_pool *pool, size_t n, size_t grain)
{
    static struct seen seen;
    memset(&seen, 0, sizeof seen);
    seen.n = n;
    seen.grain = grain;
    seen.n_threads = bitnet_pool_threads(pool);
    bitnet_pool_run(pool, n, grain, look, &seen);
    if (seen.wrong) fail_msg("a slice of %zu by %zu is wrong", n, grain);
    assert_int_equal(seen.n_calls, n / grain + (n % grain != 0));
    for (size_t i = 0; i < n; i++)
        if (seen.count[i] != 1) fail_msg("%zu of %zu by %zu: %d times", i, n, grain, seen.count[i]);
}

TEST(every_number_is_worked_on_once_for_all_team_sizes_and_tails)
{
    static const unsigned teams[] = {1, 2, 3, 7, 16, 17, 33, 64};
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 1000, 1023, 19999};
    static const size_t grains[] = {1, 2, 7, 16, 1000, N_MAX, SIZE_MAX};
    for (size_t t = 0; t < COUNT(teams); t++) {
        struct bitnet_pool *pool;
        assert_int_equal(bitnet_pool_new(&pool, teams[t], NULL), BITNET_OK);
        assert_int_equal(bitnet_pool_threads(pool), teams[t]);
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (size_t g = 0; g < COUNT(grains); g++) check_run(pool, sizes[s], grains[g]);
        bitnet_pool_free(pool);
    }
}

TEST(without_a_pool_the_caller_does_it_in_the_same_slices)
{
    assert_int_equal(bitnet_pool_threads(NULL), 1);
    check_run(NULL, 1000, 7);
    check_run(NULL, 0, 7);
    check_run(NULL, 5, SIZE_MAX);
    bitnet_pool_free(NULL);
}

struct sum {
    const float *in;
    float *out;
};

/* One output per slice, summed in one order. */
static void sum_slice(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct sum *sum = ctx;
    (void)thread;
    float total = 0;
    for (size_t i = begin; i < end; i++) total += sum->in[i];
    sum->out[begin / 13] = total;
}

TEST(float_results_do_not_depend_on_the_team)
{
    enum { N = 10000 };
    static float in[N], want[N / 13 + 1], got[N / 13 + 1];
    for (size_t i = 0; i < N; i++) in[i] = (float)rand() / 1e3f;
    bitnet_pool_run(NULL, N, 13, sum_slice, &(struct sum){in, want});
    static const unsigned teams[] = {1, 2, 7};
    for (size_t t = 0; t < COUNT(teams); t++) {
        struct bitnet_pool *pool;
        assert_int_equal(bitnet_pool_new(&pool, teams[t], NULL), BITNET_OK);
        for (int round = 0; round < 50; round++) {
            memset(got, 0, sizeof got);
            bitnet_pool_run(pool, N, 13, sum_slice, &(struct sum){in, got});
            assert_memory_equal(got, want, sizeof got);
        }
        bitnet_pool_free(pool);
    }
}

static void count_each(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)thread;
    for (size_t i = begin; i < end; i++) atomic_fetch_add((atomic_uint *)ctx + i, 1);
}

static void count_up(void *ctx, size_t begin, size_t end, unsigned thread)
{
    size_t *counts = ctx; /* plain memory: the pool orders job after job */
    (void)thread;
    for (size_t i = begin; i < end; i++) counts[i]++;
}

TEST(each_job_sees_what_the_job_before_has_written)
{
    static size_t counts[64];
    struct bitnet_pool *pool;
    assert_int_equal(bitnet_pool_new(&pool, 3, NULL), BITNET_OK);
    enum { ROUNDS = 20000 };
    for (int round = 0; round < ROUNDS; round++) bitnet_pool_run(pool, 64, 5, count_up, counts);
    for (size_t i = 0; i < 64; i++) assert_int_equal(counts[i], ROUNDS);
    bitnet_pool_free(pool);
}

/* Many more threads than any machine of ours has cores: most are asleep or put aside at any time.
 */
TEST(a_crowd_gives_the_same_as_one)
{
    static const unsigned teams[] = {17, 33, 64};
    for (size_t t = 0; t < COUNT(teams); t++) {
        static size_t counts[200];
        struct bitnet_pool *pool;
        memset(counts, 0, sizeof counts);
        assert_int_equal(bitnet_pool_new(&pool, teams[t], NULL), BITNET_OK);
        for (int round = 0; round < 300; round++) {
            bitnet_pool_run(pool, COUNT(counts), 1, count_up, counts);
            bitnet_pool_run(pool, 3, 1, count_up, counts); /* fewer slices than threads */
        }
        for (size_t i = 0; i < COUNT(counts); i++) assert_int_equal(counts[i], i < 3 ? 600 : 300);
        bitnet_pool_free(pool);
    }
}

/* Jobs of few and of many slices in turn: a thread that is late in the small one must not take a
 * slice of the large one that the caller is preparing. */
TEST(a_late_thread_takes_no_slice_of_the_next_job)
{
    struct bitnet_pool *pool;
    assert_int_equal(bitnet_pool_new(&pool, 7, NULL), BITNET_OK);
    for (int i = 0; i < 20000; i++) {
        atomic_uint few[3] = {0}, many[24] = {0};
        bitnet_pool_run(pool, COUNT(few), 1, count_each, few);
        bitnet_pool_run(pool, COUNT(many), 1, count_each, many);
        for (size_t k = 0; k < COUNT(few); k++) assert_int_equal(few[k], 1);
        for (size_t k = 0; k < COUNT(many); k++) assert_int_equal(many[k], 1);
    }
    bitnet_pool_free(pool);
}

TEST(threads_that_fell_asleep_wake_up)
{
    struct bitnet_pool *pool;
    assert_int_equal(bitnet_pool_new(&pool, 4, NULL), BITNET_OK);
    for (int round = 0; round < 20; round++) {
        usleep(5000);
        check_run(pool, 1000, 10);
    }
    bitnet_pool_free(pool);
}

static void sleep_a_little(void *ctx, size_t begin, size_t end, unsigned thread)
{
    (void)begin, (void)end, (void)thread;
    usleep(20000);
    atomic_fetch_add((atomic_int *)ctx, 1);
}

TEST(a_caller_that_waits_long_sleeps_and_is_woken)
{
    struct bitnet_pool *pool;
    atomic_int n = 0;
    assert_int_equal(bitnet_pool_new(&pool, 4, NULL), BITNET_OK);
    for (int round = 0; round < 3; round++) bitnet_pool_run(pool, 8, 1, sleep_a_little, &n);
    assert_int_equal(n, 24);
    bitnet_pool_free(pool);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A team that waits without sleeping uses CPU time in every window; one that sleeps soon has a
 * window without. So however slow the machine is, the first never passes and the second does. */
static bool falls_asleep(void)
{
    for (int window = 0; window < 50; window++) {
        const double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
        usleep(50000);
        if (seconds(CLOCK_PROCESS_CPUTIME_ID) - before < 0.002) return true;
    }
    return false;
}

TEST(an_idle_pool_costs_nothing)
{
    static const unsigned teams[] = {2, 8, 64}; /* two spin first, where there are two cores */
    for (size_t t = 0; t < COUNT(teams); t++) {
        struct bitnet_pool *pool;
        assert_int_equal(bitnet_pool_new(&pool, teams[t], NULL), BITNET_OK);
        check_run(pool, 1000, 1);
        if (!falls_asleep()) fail_msg("%u threads never sleep", teams[t]);
        bitnet_pool_free(pool);
    }
}

/* Ends when all threads of the team have come. */
static void meet(void *ctx, size_t begin, size_t end, unsigned thread)
{
    atomic_uint *missing = ctx;
    (void)begin, (void)end, (void)thread;
    atomic_fetch_sub(missing, 1);
    while (atomic_load(missing)) sched_yield();
}

/* As many slices as threads, and none ends before all have begun: so every thread takes one. How
 * long that takes at best is what a barrier costs, a number to look at: no busy machine could be
 * held to one. */
TEST(a_job_reaches_every_thread)
{
    static const unsigned teams[] = {1, 2, 4, 16};
    for (size_t t = 0; t < COUNT(teams); t++) {
        struct bitnet_pool *pool;
        double best = 1e9;
        assert_int_equal(bitnet_pool_new(&pool, teams[t], NULL), BITNET_OK);
        for (int i = 0; i < 200; i++) {
            atomic_uint missing = teams[t];
            const double begin = seconds(CLOCK_MONOTONIC);
            bitnet_pool_run(pool, teams[t], 1, meet, &missing);
            const double took = seconds(CLOCK_MONOTONIC) - begin;
            if (took < best) best = took;
        }
        print_message("%u threads meet in %.2f us\n", teams[t], best * 1e6);
        bitnet_pool_free(pool);
    }
}

TEST(a_team_that_is_too_large_is_refused)
{
    struct bitnet_pool *pool;
    struct bitnet_error err;
    assert_int_equal(bitnet_pool_new(&pool, 1025, &err), BITNET_LIMIT);
    assert_null(pool);
    assert_text_has(err.text, "1025 threads");
    assert_int_equal(bitnet_pool_new(&pool, UINT32_MAX, &err), BITNET_LIMIT);
}

TEST(zero_threads_means_the_default)
{
    struct bitnet_pool *pool;
    assert_true(bitnet_pool_default_threads() >= 1);
    assert_int_equal(bitnet_pool_new(&pool, 0, NULL), BITNET_OK);
    assert_int_equal(bitnet_pool_threads(pool), bitnet_pool_default_threads());
    bitnet_pool_free(pool);
}

TEST(without_memory_there_is_no_pool_and_no_leak)
{
    long before = bitnet_alloc_live();
    enum bitnet_status status = BITNET_MEMORY;
    for (long k = 0; status == BITNET_MEMORY; k++) {
        struct bitnet_pool *pool;
        bitnet_alloc_fail_at(k);
        status = bitnet_pool_new(&pool, 2, NULL);
        bitnet_alloc_fail_at(-1);
        bitnet_pool_free(pool);
        assert_int_equal(bitnet_alloc_live(), before);
        assert_true(k < 10);
    }
    assert_int_equal(status, BITNET_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_worked_on_once_for_all_team_sizes_and_tails),
        cmocka_unit_test(without_a_pool_the_caller_does_it_in_the_same_slices),
        cmocka_unit_test(float_results_do_not_depend_on_the_team),
        cmocka_unit_test(each_job_sees_what_the_job_before_has_written),
        cmocka_unit_test(a_crowd_gives_the_same_as_one),
        cmocka_unit_test(a_late_thread_takes_no_slice_of_the_next_job),
        cmocka_unit_test(threads_that_fell_asleep_wake_up),
        cmocka_unit_test(a_caller_that_waits_long_sleeps_and_is_woken),
        cmocka_unit_test(an_idle_pool_costs_nothing),
        cmocka_unit_test(a_job_reaches_every_thread),
        cmocka_unit_test(a_team_that_is_too_large_is_refused),
        cmocka_unit_test(zero_threads_means_the_default),
        cmocka_unit_test(without_memory_there_is_no_pool_and_no_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
