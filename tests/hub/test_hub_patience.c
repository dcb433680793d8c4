/* Time: slow connections, links that end, limits, clocks that differ. These tests wait more than
 * they work. Numbers in comments are those of the scenario list; tests/hub/README.md says where
 * each one is. */
#include "rig.h"

#include <stdio.h>
#include <time.h>

#include "transport.h"

static void rule(struct rig *rig, struct fake_rule r)
{
    fake_hub_rule(rig->fake, r);
}

static void pull_same_as_clean(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s: %s", bitnet_status_name(status), rig->err.text);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
}

#define BIG (48u << 20)
static uint8_t big[BIG]; /* several ranges */

static void ask_for_big(struct rig *rig)
{
    static const char *const names[] = {"big.gguf"};
    rig_fill(big, sizeof big, 11);
    fake_hub_put(rig->fake, "big.gguf", big, sizeof big, true);
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
    rig->settings.trickle_ms = 300;
    fake_hub_set_rate(rig->fake, 64 << 10); /* each below what alone would be a trickle */
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 4);
    rig_lint(rig, true);
}

static void forget_after_burst(struct rig *rig, const struct bitnet_hub_event *e)
{
    if (e->kind != BITNET_HUB_RETRY || fake_hub_n_requests(rig->fake, FAKE_CDN, NULL) < 8) return;
    rig->watch = NULL;
    fake_hub_clear(rig->fake);
}

/* 44: eight connections, three 503s: from then on the five that go on are not joined by others */
TEST(a_burst_of_503_halves_the_connections)
{
    static const char *const patterns[] = {"slow-*"};
    struct rig *rig = *state;
    for (int i = 0; i < 16; i++) {
        char name[32];
        snprintf(name, sizeof name, "slow-%02d.gguf", i);
        fake_hub_put(rig->fake, name, rig_large + i, 200000, true);
    }
    rig->options.include = patterns;
    rig->options.n_include = 1;
    rig->watch = forget_after_burst;
    fake_hub_set_rate(rig->fake, 1 << 20);
    rule(rig, (struct fake_rule){
                  .origin = FAKE_CDN, .from = 6, .to = 8, .action = FAKE_STATUS, .status = 503});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_null(rig->watch);
    assert_true(fake_hub_most_at_once(rig->fake, FAKE_CDN) <= 6);
    rig_lint(rig, true);
}

/* --- links that end --- */

/* 36 */
TEST(a_link_that_ends_under_several_ranges_is_asked_for_once)
{
    struct rig *rig = *state;
    ask_for_big(rig);
    fake_hub_set_rate(rig->fake, 64 << 20);
    rule(rig, (struct fake_rule){
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
        ask_for_big(rig);
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

/* A link with 62 s to live is used, and renewed two seconds later while other ranges go on: nothing
 * ever meets a 403. */
TEST(a_link_is_renewed_before_it_ends_while_ranges_are_under_way)
{
    struct rig *rig = *state;
    struct fake_request r;
    ask_for_big(rig);
    rig->settings.connections = 2;
    fake_hub_set_url_life(rig->fake, 61);
    fake_hub_set_rate(rig->fake, 12 << 20); /* 16 MiB in 1.3 s */
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_assert_holds(rig, "big.gguf", big, BIG);
    size_t n = fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/");
    assert_true(n >= 2 && n <= 3);
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++) assert_true(r.status < 400);
    assert_int_equal(rig->fetched, BIG);
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
    rule(rig, (struct fake_rule){.origin = FAKE_HUB,
                                 .path = "/resolve/",
                                 .from = 2,
                                 .to = 2,
                                 .action = FAKE_STATUS,
                                 .status = 429,
                                 .text = "RateLimit: \"resolvers\";r=0;t=2\r\n"});
    uint64_t begin = hub_now_ms();
    assert_int_equal(rig_pull(rig), BITNET_OK);
    uint64_t took = hub_now_ms() - begin;
    assert_true(took >= 3000 && took < 6000);
    assert_int_equal(rig->waits, 1);
    assert_text_has(rig->notices, "resolvers");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/"), 13);
    rig_lint(rig, true);
}

/* 42 */
TEST(a_date_to_come_back_at_is_understood)
{
    struct rig *rig = *state;
    char date[64], header[100];
    struct tm tm;
    fake_hub_set_clock(rig->fake, 5000); /* a date means the server's clock */
    time_t later = time(NULL) + 5002;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&later, &tm));
    snprintf(header, sizeof header, "Retry-After: %s\r\n", date);
    rule(rig, (struct fake_rule){.origin = FAKE_HUB,
                                 .path = "/resolve/",
                                 .from = 1,
                                 .to = 1,
                                 .action = FAKE_STATUS,
                                 .status = 429,
                                 .text = header});
    uint64_t begin = hub_now_ms();
    pull_same_as_clean(rig);
    uint64_t took = hub_now_ms() - begin;
    assert_true(took >= 500 && took < 5000);
    assert_text_has(rig->notices, "asks to wait");
}

/* The last requests of a window are not spent on a crowd. */
TEST(never_more_requests_are_under_way_than_the_hub_still_allows)
{
    struct rig *rig = *state;
    put_twelve(rig);
    rule(rig, (struct fake_rule){.origin = FAKE_HUB,
                                 .path = "/resolve/",
                                 .action = FAKE_HEADER,
                                 .text = "RateLimit: \"resolvers\";r=2;t=60\r\n"});
    rule(rig, (struct fake_rule){.origin = FAKE_HUB,
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
        CASE(never_more_requests_are_under_way_than_the_hub_still_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
