/* Time: slow connections, links that end, limits, clocks that differ. These tests wait more than
 * they work. Numbers in comments are those of the scenario list; tests/hub/README.md says where
 * each one is. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "transport.h"

#define BIG (48u << 20)
static uint8_t big[BIG]; /* several ranges */

static void ask_for_big(struct rig *rig, size_t n)
{
    static const char *const names[] = {"big.gguf"};
    rig_fill(big, n, 11);
    fake_hub_put(rig->fake, "big.gguf", big, n, true);
    rig->options.files = names;
    rig->options.n_files = 1;
}

/* 15 */
TEST(connections_that_are_all_slow_are_all_left_alone)
{
    struct rig *rig = *state;
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "slow-%d.gguf", i);
        fake_hub_put(rig->fake, name, rig_large + i, 100000, true);
    }
    rig->options.include = (const char *const[]){"slow-*"};
    rig->options.n_include = 1;
    rig->settings.trickle_ms = 600;
    fake_hub_set_rate(rig->fake, 64 << 10); /* each below what alone would be a trickle */
    assert_int_equal(rig_pull(rig), BITNET_OK);
    /* Replacing each after its patience would be a dozen and more. One that the machine itself let
     * wait while the first was done may be. */
    assert_true(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL) <= 4 + 2);
    assert_int_equal(rig->fetched, 4 * 100000);
    rig_lint(rig, true);
}

static unsigned n_refusals, n_looks;

/* While five are held and three were refused: nobody joins the five. */
static void look_five_times(struct rig *rig, const struct bitnet_hub_event *e)
{
    n_refusals += e->kind == BITNET_HUB_RETRY;
    if (e->kind != BITNET_HUB_PROGRESS || n_refusals < 3) return;
    assert_int_equal(e->n_connections, 5);
    if (++n_looks < 5) return;
    rig->watch = NULL;
    fake_hub_clear(rig->fake); /* lets them go on */
}

/* 44: eight connections, three 503s: from then on the five that go on are not joined by others */
TEST(a_burst_of_503_halves_the_connections)
{
    static const char *const patterns[] = {"slow-*"};
    struct rig *rig = *state;
    for (int i = 0; i < 16; i++) {
        char name[32];
        snprintf(name, sizeof name, "slow-%02d.gguf", i);
        fake_hub_put(rig->fake, name, rig_large + i, 100000, true);
    }
    rig->options.include = patterns;
    rig->options.n_include = 1;
    rig->watch = look_five_times;
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){.origin = FAKE_CDN, .from = 1, .to = 5, .action = FAKE_HOLD, .n = 1000});
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 503});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_null(rig->watch);
    assert_int_equal(n_refusals, 3);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 11); /* since the clear */
    assert_int_equal(rig->fetched, 16 * 100000);
    rig_lint(rig, true);
}

/* --- links that end --- */

/* 36 */
TEST(a_link_that_ends_under_several_ranges_is_asked_for_once)
{
    struct rig *rig = *state;
    ask_for_big(rig, BIG);
    fake_hub_set_rate(rig->fake, 64 << 20);
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 3, .to = 3, .action = FAKE_STATUS, .status = 403});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/"), 2);
    assert_int_equal(rig->fetched, BIG);
    rig_assert_holds(rig, "big.gguf", big, BIG);
}

/* 38: what counts is the server's clock */
TEST(a_link_is_as_old_as_the_servers_clock_says)
{
    static const struct {
        int clock, life;
        bool is_good;
    } cases[] = {{-7200, 600, true}, {7200, 600, true}, {7200, 30, false}, {-7200, 30, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        ask_for_big(rig, BIG);
        fake_hub_set_clock(rig->fake, cases[i].clock);
        fake_hub_set_url_life(rig->fake, cases[i].life);
        assert_int_equal(rig_pull(rig), BITNET_OK);
        rig_assert_holds(rig, "big.gguf", big, BIG);
        size_t n = fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/");
        if (cases[i].is_good ? n != 1 : n < 2)
            fail_msg("clock %d, life %d: %zu links", cases[i].clock, cases[i].life, n);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* A link with 61 s to live is used, and renewed two seconds later while other ranges go on: nothing
 * ever meets a 403. */
TEST(a_link_is_renewed_before_it_ends_while_ranges_are_under_way)
{
    struct rig *rig = *state;
    struct fake_request r;
    const size_t n_bytes = 33 << 20; /* two ranges at once, then one */
    ask_for_big(rig, n_bytes);
    rig->settings.connections = 2;
    fake_hub_set_url_life(rig->fake, 61);
    fake_hub_set_rate(rig->fake, 7 << 20); /* 16 MiB in 2.3 s: whatever a clock rounds to seconds */
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_assert_holds(rig, "big.gguf", big, n_bytes);
    size_t n = fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/");
    assert_true(n >= 2 && n <= 3);
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++) assert_true(r.status < 400);
    assert_int_equal(rig->fetched, n_bytes);
}

/* --- limits --- */

static void put_twelve(struct rig *rig)
{
    static const char *const patterns[] = {"s/*"};
    static char bodies[12][8];
    for (int i = 0; i < 12; i++) {
        char path[64];
        snprintf(path, sizeof path, "s/%02d.json", i);
        snprintf(bodies[i], sizeof bodies[i], "%d", i);
        fake_hub_put(rig->fake, path, bodies[i], strlen(bodies[i]), false);
    }
    rig->options.include = patterns;
    rig->options.n_include = 1;
}

/* 41 */
TEST(a_rate_limit_stops_everybody_once)
{
    struct rig *rig = *state;
    put_twelve(rig);
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/resolve/",
                                                .from = 2,
                                                .to = 2,
                                                .action = FAKE_STATUS,
                                                .status = 429,
                                                .text = "RateLimit: \"resolvers\";r=0;t=2\r\n"});
    uint64_t begin = hub_now_ms();
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(hub_now_ms() - begin >= 3000);
    assert_int_equal(rig->waits, 1);
    assert_text_has(rig->notices, "asks to wait (limit for 'resolvers'): 3.0 s");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/"), 13);
    rig_lint(rig, true);
}

static void ask_to_come_back(struct rig *rig, time_t when, char header[100])
{
    char date[64];
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&when, &tm));
    snprintf(header, 100, "Retry-After: %s\r\n", date);
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/resolve/",
                                                .from = 1,
                                                .to = 1,
                                                .action = FAKE_STATUS,
                                                .status = 429,
                                                .text = header});
}

/* 42 */
TEST(a_date_to_come_back_at_is_understood)
{
    struct rig *rig = *state;
    char header[100];
    fake_hub_set_clock(rig->fake, 5000); /* a date means the server's clock */
    rig->settings.max_wait_ms = 60000;
    ask_to_come_back(rig, time(NULL) + 5000 + 3600, header);
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    const char *told = strstr(rig->err.text, "come back in ");
    assert_non_null(told);
    unsigned long seconds = strtoul(told + 13, NULL, 10);
    assert_true(seconds > 3000 && seconds <= 3600);
    fake_hub_clear(rig->fake);
    ask_to_come_back(rig, time(NULL) + 5000 + 3, header);
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "asks to wait");
}

/* A process that was stopped, or that a busy machine left waiting, has not seen its peers do
 * nothing: patience runs while somebody looks. */
TEST(time_in_which_nobody_looked_wears_out_no_patience)
{
    struct hub_patience p = {.looked_ms = 1000};
    hub_patience_look(&p, 1100);
    assert_int_equal(p.ms, 100);
    hub_patience_look(&p, 601100); /* stopped for ten minutes */
    assert_int_equal(p.ms, 350);
    hub_patience_look(&p, 601100);
    hub_patience_look(&p, 601101);
    assert_int_equal(p.ms, 351);
}

/* The same with a process: stopped (Ctrl-Z) for longer than all its time-outs together, while the
 * server holds back the second half; then both go on. */
TEST(a_pull_that_was_stopped_for_a_while_goes_on_as_if_it_had_not_been)
{
    struct rig *rig = *state;
    struct timespec long_time = {.tv_sec = 2};
    rig->settings.stall_timeout_ms = rig->settings.max_stall_ms = 1500;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    int pid = rig_spawn_pull(rig);
    rig_await_bytes(rig, 1 << 20);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    nanosleep(&long_time, NULL);
    assert_int_equal(kill(pid, SIGCONT), 0);
    fake_hub_clear(rig->fake);
    assert_int_equal(rig_wait_for(pid), 0);
    assert_int_equal(rig->child->fetched, RIG_LARGE + 25);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0); /* none after the clear */
    assert_null(strstr(rig->child->notices, "no byte for"));
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
}

/* The last requests of a window are not spent on a crowd. */
TEST(never_more_requests_are_under_way_than_the_hub_still_allows)
{
    struct rig *rig = *state;
    put_twelve(rig);
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/resolve/",
                                                .action = FAKE_HEADER,
                                                .text = "RateLimit: \"resolvers\";r=2;t=60\r\n"});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/tree/",
                                                .action = FAKE_HEADER,
                                                .text = "RateLimit: \"resolvers\";r=2;t=60\r\n"});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(fake_hub_most_at_once(rig->fake, FAKE_HUB) <= 2);
    rig_lint(rig, true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(connections_that_are_all_slow_are_all_left_alone),
        CASE(a_burst_of_503_halves_the_connections),
        CASE(a_link_that_ends_under_several_ranges_is_asked_for_once),
        cmocka_unit_test(a_link_is_as_old_as_the_servers_clock_says),
        CASE(a_link_is_renewed_before_it_ends_while_ranges_are_under_way),
        CASE(a_rate_limit_stops_everybody_once),
        CASE(a_date_to_come_back_at_is_understood),
        cmocka_unit_test(time_in_which_nobody_looked_wears_out_no_patience),
        CASE(a_pull_that_was_stopped_for_a_while_goes_on_as_if_it_had_not_been),
        CASE(never_more_requests_are_under_way_than_the_hub_still_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
