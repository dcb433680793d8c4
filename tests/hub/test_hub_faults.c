/* What networks and servers do wrong, and that the cache is right all the same. Numbers in comments
 * are those of the scenario list in the hub's reference. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "transport.h"

static void assert_nothing_published(struct rig *rig)
{
    char name[300];
    rig_lint(rig, false);
    snprintf(name, sizeof name, "snapshots/%s/model.safetensors", fake_hub_head(rig->fake));
    assert_false(rig_exists(rig, name));
    assert_false(rig_exists(rig, "refs/main"));
}

/* Request i, from 0, of those to the CDN. */
static struct fake_request cdn_request(const struct rig *rig, unsigned i)
{
    struct fake_request r = {0};
    for (size_t k = 0; fake_hub_request(rig->fake, k, &r); k++)
        if (r.origin == FAKE_CDN && i-- == 0) return r;
    fail_msg("the CDN was not asked so often");
    return r;
}

/* 10, 25 */
TEST(a_connection_cut_anywhere_is_taken_up_at_that_byte)
{
    static const uint64_t places[] = {0, 1, RIG_LARGE / 2, RIG_LARGE - 1};
    for (size_t i = 0; i < COUNT(places); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        fake_hub_rule(
            rig->fake,
            (struct fake_rule){
                .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = places[i]});
        rig_pull_as_clean(rig);
        assert_int_equal(rig->fetched, RIG_LARGE + 25);
        struct fake_request again = cdn_request(rig, 1);
        char want[64] = "";
        if (places[i]) /* nothing there yet: the whole file again, without a range */
            snprintf(want, sizeof want, "bytes=%u-%u", (unsigned)places[i], RIG_LARGE - 1);
        assert_string_equal(again.range, want);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 2);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* 11 */
TEST(five_resets_in_a_row_with_progress_are_no_failure)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 5, .action = FAKE_RESET, .n = 400000});
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 6);
}

/* Each byte of progress sets the count of tries back: fifteen cuts in a row are no failure either.
 */
TEST(more_cuts_than_tries_are_no_failure_when_each_brings_something)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 15, .action = FAKE_CUT, .n = 100000});
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 16);
    assert_int_equal(rig->fetched, RIG_LARGE + 25);
}

/* 12 */
TEST(resets_without_progress_end_after_ten_tries_and_can_be_taken_up)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_CUT, .n = 0});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "10 tries");
    assert_text_has(rig->err.hint, "goes on from here");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 1 + 10);
    assert_nothing_published(rig);
    assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 1);
    fake_hub_clear(rig->fake);
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, RIG_LARGE - 1000000);
}

/* 13 */
static unsigned ticks; /* progress events without progress, a tenth of a second or more apart */

static void count_ticks(struct rig *rig, const struct bitnet_hub_event *e)
{
    static uint64_t done;
    (void)rig;
    if (e->kind == BITNET_HUB_RETRY) done = UINT64_MAX; /* what came before it is what counts */
    if (e->kind != BITNET_HUB_PROGRESS || done == UINT64_MAX) return;
    ticks = e->done_bytes == done ? ticks + 1 : 0;
    done = e->done_bytes;
}

/* The server would be silent for ten minutes. We are not, for longer than the time-out and a second
 * in which we looked. */
TEST(a_stalled_connection_is_replaced)
{
    struct rig *rig = *state;
    rig->settings.stall_timeout_ms = 500;
    rig->watch = count_ticks;
    ticks = 0;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN,
                                                .from = 1,
                                                .to = 1,
                                                .action = FAKE_STALL,
                                                .n = 500000,
                                                .ms = 600000});
    rig_pull_as_clean(rig);
    assert_true(ticks <= (500 + 1000) / 100);
    assert_text_has(rig->notices, "no byte for 0.5 s");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 2);
    assert_string_equal(cdn_request(rig, 1).range, "bytes=500000-3145727");
    assert_int_equal(rig->fetched, RIG_LARGE + 25);
}

/* 14 */
TEST(a_trickling_connection_among_fast_ones_is_replaced)
{
    struct rig *rig = *state;
    static uint8_t big[48 << 20];
    rig_fill(big, sizeof big, 3);
    fake_hub_put(rig->fake, "big.bin", big, sizeof big, true);
    rig->options.files = (const char *const[]){"big.bin"};
    rig->options.n_files = 1;
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 2, .to = 2, .action = FAKE_DRIP, .n = 4, .ms = 10});
    rig->settings.trickle_ms = 3000;            /* at the end of a file a tenth of it */
    assert_int_equal(rig_pull(rig), BITNET_OK); /* alone, it would have taken eleven hours */
    assert_text_has(rig->notices, "slow connection");
    rig_assert_holds(rig, "big.bin", big, sizeof big);
    rig_lint(rig, true);
    bool has_moved = false; /* on, from where it was, to another connection */
    for (unsigned i = 3; i < fake_hub_n_requests(rig->fake, FAKE_CDN, NULL); i++) {
        uint64_t into = strtoull(cdn_request(rig, i).range + 6, NULL, 10) % (16u << 20);
        has_moved |= into > 0 && into < 64 << 10;
    }
    assert_true(has_moved);
    assert_int_equal(rig->fetched, sizeof big);
}

/* 22, 23 */
TEST(one_flipped_bit_costs_one_restart)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_FLIP, .n = 777777});
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "the hash is wrong");
    assert_int_equal(rig->fetched, 2 * RIG_LARGE + 25);
}

/* 24, 85 */
TEST(bits_that_flip_always_are_never_published)
{
    struct rig *rig = *state;
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "model.safetensors");
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_FLIP, .n = 5});
    assert_int_equal(rig_pull(rig), BITNET_INTEGRITY);
    assert_text_has(rig->err.text, "model.safetensors");
    assert_text_has(rig->err.text, fake_hub_etag(rig->fake, "model.safetensors"));
    assert_text_has(rig->err.text, ", got ");
    assert_text_has(rig->err.text, "127.0.0.1");
    assert_int_equal(rig->fetched, 2 * RIG_LARGE); /* one restart, no more */
    assert_nothing_published(rig);
    assert_int_equal(rig_count(rig, "blobs"), 0);
    assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
}

/* 26, 27 */
TEST(lengths_that_lie_change_nothing)
{
    static const struct fake_rule lies[] = {
        {.origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_LENGTH, .delta = 1000},
        {.origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_LENGTH, .delta = -1000},
        {.origin = FAKE_ANY, .action = FAKE_NO_LENGTH},
        {.origin = FAKE_CDN, .action = FAKE_EXTRA, .n = 100},
        {.origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_SHORT, .n = 5000},
    };
    for (size_t i = 0; i < COUNT(lies); i++) {
        void *fresh;
        rig_setup(&fresh);
        fake_hub_rule(((struct rig *)fresh)->fake, lies[i]);
        rig_pull_as_clean(fresh);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* 28, 29 */
TEST(a_server_that_ignores_ranges_gets_one_connection_and_nothing_is_appended)
{
    struct rig *rig = *state;
    static uint8_t big[40 << 20];
    rig_fill(big, sizeof big, 4);
    fake_hub_put(rig->fake, "big.bin", big, sizeof big, true);
    rig->options.files = (const char *const[]){"big.bin"};
    rig->options.n_files = 1;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_IGNORE_RANGE});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_assert_holds(rig, "big.bin", big, sizeof big);
    rig_lint(rig, true);
    /* Three ranges were on the way when the first 200 came; then the whole file, alone. */
    assert_true(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL) <= 1 + 3);
    assert_int_equal(rig->fetched, sizeof big);
    assert_text_has(rig->notices, "ignores ranges: from the beginning, on one connection");
}

TEST(a_range_ignored_on_resume_starts_over)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1500000});
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){.origin = FAKE_CDN, .from = 1, .to = 2, .action = FAKE_IGNORE_RANGE});
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "ignores ranges: from the beginning");
    assert_int_equal(rig->fetched, 1500000 + RIG_LARGE + 25); /* nothing of the 200 was taken */
}

/* 30 */
TEST(an_answer_for_other_bytes_is_thrown_away)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1500000});
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_WRONG_RANGE, .n = 1});
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "an answer for other bytes than asked for");
    assert_int_equal(rig->fetched, RIG_LARGE + 25);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1500000});
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_WRONG_RANGE, .n = 1});
    assert_int_equal(rig_pull(rig), BITNET_INTEGRITY);
    assert_text_has(rig->err.text, "sends other bytes than asked for (bytes 1499999-");
    assert_nothing_published(rig);
    assert_int_equal(rig_teardown(&fresh), 0);
}

TEST(an_entity_tag_that_changes_between_ranges_starts_over)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1500000});
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_ETAG, .text = "\"another\""});
    rig_pull_as_clean(rig);
}

/* 33 */
TEST(an_encoded_body_is_never_stored)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake, (struct fake_rule){
                                 .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_ENCODED});
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, RIG_LARGE + 25); /* not a byte of it was taken */
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_ENCODED});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "gzip");
    assert_nothing_published(rig);
    assert_int_equal(rig_teardown(&fresh), 0);
}

/* 36, 37 */
TEST(a_signed_url_that_expires_is_asked_for_again)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_STATUS, .status = 403});
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "resolve/"), 3);
    assert_int_equal(rig->fetched, RIG_LARGE + 25);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 403});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "127.0.0.1");
    assert_text_has(rig->err.text, "answers 403 to 4 fresh links in a row");
    assert_text_has(rig->err.hint, "request id 'fake-1'");
    assert_nothing_published(rig);
    fake_hub_clear(rig->fake);
    rig_pull_as_clean(rig); /* the partial was kept */
    assert_int_equal(rig->fetched, RIG_LARGE - 1000000);
    assert_int_equal(rig_teardown(&fresh), 0);
}

/* 38 */
TEST(a_signed_url_about_to_expire_is_not_used)
{
    struct rig *rig = *state;
    fake_hub_set_url_life(rig->fake, 30); /* less than our margin of a minute */
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "resolve/"), 3);
}

/* 39 */
TEST(a_branch_that_moves_does_not_mix_two_commits)
{
    struct rig *rig = *state;
    static const char other[] = "{\"model_type\": \"other\"}\n";
    char old[41];
    snprintf(old, sizeof old, "%s", fake_hub_head(rig->fake));
    assert_int_equal(rig_pull(rig), BITNET_OK);
    struct fake_request r;
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++)
        if (strstr(r.target, "/resolve/")) assert_text_has(r.target, old);
    fake_hub_commit(rig->fake, "cccccccccccccccccccccccccccccccccccccccc");
    fake_hub_put(rig->fake, "config.json", other, sizeof other - 1, false);
    snprintf(rig->options.ref.revision, sizeof rig->options.ref.revision, "%s", old);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_text_has(rig->path, old);
}

/* 41, 42 */
TEST(a_rate_limit_is_waited_out_as_told)
{
    static const char *const told[] = {"RateLimit: \"resolvers\";r=0;t=0\r\n", "Retry-After: 1\r\n",
                                       ""};
    for (size_t i = 0; i < COUNT(told); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                    .path = "/resolve/",
                                                    .from = 1,
                                                    .to = 1,
                                                    .action = FAKE_STATUS,
                                                    .status = 429,
                                                    .text = told[i]});
        uint64_t begin = hub_now_ms();
        rig_pull_as_clean(rig);
        uint64_t took = hub_now_ms() - begin;
        if (i < 2) assert_true(took >= 1000);
        if (i < 2) assert_text_has(rig->notices, ": 1.0 s");
        if (i == 2) assert_text_has(rig->notices, "answers 429"); /* a try like any other */
        assert_int_equal(rig->waits, i < 2);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/"), 3);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* 43 */
TEST(a_wait_longer_than_allowed_ends_with_the_time_told)
{
    struct rig *rig = *state;
    rig->settings.max_wait_ms = 60000;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/resolve/",
                                                .action = FAKE_STATUS,
                                                .status = 429,
                                                .text = "RateLimit: \"resolvers\";r=0;t=900\r\n"});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "come back in 901 s, longer than the 60 s");
    assert_nothing_published(rig);
    /* What was there before it is kept. */
    fake_hub_clear(rig->fake);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN,
                                                .action = FAKE_STATUS,
                                                .status = 429,
                                                .text = "Retry-After: 900\r\n"});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    fake_hub_clear(rig->fake);
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), RIG_LARGE - 1000000);
}

/* 44 */
TEST(a_burst_of_server_errors_is_sat_out)
{
    struct rig *rig = *state;
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .origin = FAKE_CDN, .from = 1, .to = 6, .action = FAKE_STATUS, .status = 503});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/api/",
                                                .from = 1,
                                                .to = 2,
                                                .action = FAKE_STATUS,
                                                .status = 502});
    rig_pull_as_clean(rig);
}

/* 9 */
TEST(a_redirect_loop_ends)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_ANY,
                                     .path = "safetensors",
                                     .action = FAKE_REDIRECT,
                                     .text = "/org/model/resolve/again/model.safetensors"});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "10 redirects");
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, "safetensors"), 11);
    assert_nothing_published(rig);
    assert_false(rig_exists(rig, "blobs") && rig_count(rig, "blobs") > 1); /* config.json at most */
}

TEST(a_redirect_to_another_scheme_or_to_plain_http_elsewhere_is_refused)
{
    static const char *const places[] = {"file:///etc/passwd", "ftp://127.0.0.1/x",
                                         "http://hub.example/x", "http://user@127.0.0.1/x"};
    for (size_t i = 0; i < COUNT(places); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        fake_hub_rule(rig->fake, (struct fake_rule){.path = "safetensors",
                                                    .origin = FAKE_HUB,
                                                    .action = FAKE_REDIRECT,
                                                    .text = places[i]});
        assert_int_equal(rig_pull(rig), BITNET_NETWORK);
        assert_nothing_published(rig);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

TEST(a_token_stays_at_its_origin_when_a_redirect_leads_away)
{
    struct rig *rig = *state;
    char url[200];
    rig->settings.token = "hf_secret";
    snprintf(url, sizeof url, "%s/cdn/%s?Expires=0", fake_hub_cdn(rig->fake),
             fake_hub_etag(rig->fake, "model.safetensors"));
    fake_hub_rule(rig->fake, (struct fake_rule){.path = "safetensors",
                                                .origin = FAKE_HUB,
                                                .action = FAKE_REDIRECT,
                                                .text = url});
    rig_pull_as_clean(rig);
    assert_false(fake_hub_token_leaked(rig->fake));
}

/* 32 */
TEST(a_416_for_bytes_that_should_be_there_starts_over)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN,
                                                .from = 1,
                                                .to = 1,
                                                .action = FAKE_STATUS,
                                                .status = 416,
                                                .text = "Content-Range: bytes */77\r\n"});
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, 1000000 + RIG_LARGE + 25);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 3); /* cut, 416, whole */
}

/* 31: with the size that we know, it is the refusal that is wrong, not what we have */
TEST(a_416_that_tells_the_right_size_costs_no_byte)
{
    struct rig *rig = *state;
    struct fake_rule refusal = {.origin = FAKE_CDN,
                                .from = 1,
                                .to = 2,
                                .action = FAKE_STATUS,
                                .status = 416,
                                .text = "Content-Range: bytes */3145728\r\n"};
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    fake_hub_rule(rig->fake, refusal);
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, RIG_LARGE + 25);
    assert_string_equal(cdn_request(rig, 3).range, "bytes=1000000-3145727");
    void *fresh; /* for ever: an end with words, and what is there is kept */
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CDN, .from = 1, .to = 1, .action = FAKE_CUT, .n = 1000000});
    refusal.from = refusal.to = 0;
    fake_hub_rule(rig->fake, refusal);
    assert_int_equal(rig_pull(rig), BITNET_INTEGRITY);
    assert_text_has(rig->err.text, "has no byte 1000000 of 3145728");
    assert_nothing_published(rig);
    fake_hub_clear(rig->fake);
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), RIG_LARGE - 1000000);
    assert_int_equal(rig_teardown(&fresh), 0);
}

TEST(an_endless_head_is_refused)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HEAD, .n = 1 << 20});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "64 KiB");
    assert_nothing_published(rig);
}

/* 15 */
TEST(slow_but_steady_connections_are_left_alone)
{
    struct rig *rig = *state;
    fake_hub_set_rate(rig->fake, 2 << 20);
    rig_pull_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 1);
}

TEST(a_rate_limit_of_our_own_holds)
{
    struct rig *rig = *state;
    rig->settings.rate_limit = 4 << 20;
    rig->settings.connections = 1;
    uint64_t begin = hub_now_ms();
    rig_pull_as_clean(rig);
    assert_true(hub_now_ms() - begin > 300);
}

TEST(a_closed_port_is_a_network_failure_with_the_host_named)
{
    struct rig *rig = *state;
    rig->settings.endpoint = "http://127.0.0.1:1";
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "127.0.0.1:1");
}

/* 80 */
TEST(a_proxy_is_used_when_there_is_one_and_its_absence_is_survived)
{
    struct rig *rig = *state;
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    rig->settings.endpoint = "http://127.0.0.1:9"; /* nobody is there; the proxy answers for it */
    rig->settings.proxy = fake_hub_endpoint(rig->fake);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, NULL), 3);
    rig->settings.proxy = "http://127.0.0.1:1";
    assert_int_equal(rig_pull(rig), BITNET_OK); /* cached and complete */
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "model.safetensors");
    assert_int_equal(rig_pull(rig), BITNET_OFFLINE); /* and not, when something is missing */
    assert_text_has(rig->err.text, "model.safetensors");
    rig_lint(rig, true);
}

/* --- TLS --- */

static enum bitnet_status pull_over_tls(enum fake_tls kind, bool trusted, struct rig *rig)
{
    char name[200];
    const char *ca = temp_dir_file(&rig->dir, "ca.pem");
    struct fake_hub *tls = fake_hub_start_tls(kind, ca);
    struct fake_hub *plain = rig->fake;
    fake_hub_put(tls, "config.json", "{}", 2, false);
    fake_hub_put(tls, "model.safetensors", rig_large, RIG_LARGE, true);
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "config.json");
    rig->settings.endpoint = fake_hub_endpoint(tls);
    rig->settings.ca_file = trusted ? ca : NULL;
    rig->settings.token = "hf_secret";
    rig->fake = tls;
    enum bitnet_status status = rig_pull(rig);
    if (!status) { /* 8: the large file is behind a redirect to plain http */
        struct bitnet_error first = rig->err;
        snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "model.safetensors");
        assert_int_equal(rig_pull(rig), BITNET_NETWORK);
        assert_text_has(rig->err.text, "downgrade");
        rig_lint(rig, false);
        snprintf(name, sizeof name, "snapshots/%s/model.safetensors", fake_hub_head(tls));
        assert_false(rig_exists(rig, name));
        assert_int_equal(rig_count(rig, "blobs"), 1); /* config.json, from before */
        assert_int_equal(fake_hub_n_requests(tls, FAKE_CDN, NULL), 0);
        rig->err = first;
    }
    rig->fake = plain;
    rig->settings.endpoint = rig->settings.ca_file = NULL;
    fake_hub_stop(tls);
    return status;
}

/* 81, 8 */
TEST(a_certificate_is_always_checked)
{
    struct rig *rig = *state;
    assert_int_equal(pull_over_tls(FAKE_TLS_GOOD, false, rig), BITNET_NETWORK);
    assert_text_has(rig->err.hint, "SSL_CERT_FILE");
    assert_text_has(rig->err.text, "self");
    assert_int_equal(pull_over_tls(FAKE_TLS_EXPIRED, true, rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "expired");
    assert_text_has(rig->err.hint, "SSL_CERT_FILE");
    assert_int_equal(pull_over_tls(FAKE_TLS_OTHER_NAME, true, rig), BITNET_NETWORK);
    assert_text_has(rig->err.text, "127.0.0.1");
    assert_text_has(rig->err.hint, "SSL_CERT_FILE");
    assert_false(rig_exists(rig, ""));
    assert_int_equal(pull_over_tls(FAKE_TLS_GOOD, true, rig), BITNET_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_cut_anywhere_is_taken_up_at_that_byte),
        CASE(five_resets_in_a_row_with_progress_are_no_failure),
        CASE(more_cuts_than_tries_are_no_failure_when_each_brings_something),
        CASE(resets_without_progress_end_after_ten_tries_and_can_be_taken_up),
        CASE(a_stalled_connection_is_replaced),
        CASE(a_trickling_connection_among_fast_ones_is_replaced),
        CASE(one_flipped_bit_costs_one_restart),
        CASE(bits_that_flip_always_are_never_published),
        cmocka_unit_test(lengths_that_lie_change_nothing),
        CASE(a_server_that_ignores_ranges_gets_one_connection_and_nothing_is_appended),
        CASE(a_range_ignored_on_resume_starts_over),
        CASE(an_answer_for_other_bytes_is_thrown_away),
        CASE(an_entity_tag_that_changes_between_ranges_starts_over),
        CASE(an_encoded_body_is_never_stored),
        CASE(a_signed_url_that_expires_is_asked_for_again),
        CASE(a_signed_url_about_to_expire_is_not_used),
        CASE(a_branch_that_moves_does_not_mix_two_commits),
        cmocka_unit_test(a_rate_limit_is_waited_out_as_told),
        CASE(a_wait_longer_than_allowed_ends_with_the_time_told),
        CASE(a_burst_of_server_errors_is_sat_out),
        CASE(a_redirect_loop_ends),
        cmocka_unit_test(a_redirect_to_another_scheme_or_to_plain_http_elsewhere_is_refused),
        CASE(a_token_stays_at_its_origin_when_a_redirect_leads_away),
        CASE(a_416_for_bytes_that_should_be_there_starts_over),
        CASE(a_416_that_tells_the_right_size_costs_no_byte),
        CASE(an_endless_head_is_refused),
        CASE(slow_but_steady_connections_are_left_alone),
        CASE(a_rate_limit_of_our_own_holds),
        CASE(a_closed_port_is_a_network_failure_with_the_host_named),
        CASE(a_proxy_is_used_when_there_is_one_and_its_absence_is_survived),
        CASE(a_certificate_is_always_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
