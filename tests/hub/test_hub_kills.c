/* kill -9 at many random moments of a pull (C1 of the product's list): each time the cache is in
 * order, and hardly a byte is fetched twice. Takes minutes: label "long".
 *
 *   test_hub_kills [KILLS [SEED]]      default 200 and 4711 */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long n_kills_wanted = 200;
static uint32_t seed = 4711;

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* One file from nothing to complete, killed every now and then; returns the number of kills. */
static long pull_under_fire(void)
{
    void *fresh;
    rig_setup(&fresh);
    struct rig *rig = fresh;
    long n_kills = 0;
    fake_hub_set_rate(rig->fake, 4 << 20);
    rig_count_writes(rig);
    for (bool done = false; !done;) {
        int status, pid = rig_spawn_pull(rig);
        seed = seed * 1664525u + 1013904223u;
        /* Longer from kill to kill, so that there is an end on a slow machine too. */
        sleep_ms(20 + (seed >> 16) % (400 + 20 * (unsigned)n_kills));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        done = WIFEXITED(status);
        if (done) assert_int_equal(WEXITSTATUS(status), 0);
        n_kills += !done;
        rig_lint(rig, false);
    }
    rig_lint(rig, false); /* a temporary link of the dead may be left, for a day */
    assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_count_writes(NULL);
    /* At most a megabyte per kill that no journal heard of, and one write. */
    assert_true(rig->child->written <= RIG_LARGE + 25 + (uint64_t)n_kills * (3u << 20) / 2);
    assert_int_equal(rig_teardown(&fresh), 0);
    return n_kills;
}

TEST(killed_at_many_random_moments)
{
    long n = 0;
    (void)state;
    print_message("seed %u\n", (unsigned)seed);
    while (n < n_kills_wanted) n += pull_under_fire();
    print_message("%ld kills\n", n);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_many_random_moments)};
    if (argc > 1) n_kills_wanted = strtol(argv[1], NULL, 10);
    if (argc > 2) seed = (uint32_t)strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
