/* The Xet protocol, read from a store of our own (tests/support/fake_cas.c): the same file as over
 * HTTP, whatever the store does wrong, and HTTP where it does not work at all. Numbers in comments
 * are those of the scenario list; tests/hub/README.md says where each one is. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_cas.h"
#include "lz4.h"
#include "recon.h"
#include "xorb.h"

enum { N_CHUNKS = 130 };
static uint8_t file[(N_CHUNKS + 40) * FAKE_CAS_CHUNK + 12345];

/* Text, numbers and noise, so that packing pays now and then; forty chunks come twice, and not in
 * the order in which they were stored. */
static void make_file(void)
{
    rig_fill(file, sizeof file, 21);
    for (size_t i = 0; i < (size_t)N_CHUNKS * FAKE_CAS_CHUNK; i++) {
        if (i / FAKE_CAS_CHUNK % 4 == 1) file[i] = (uint8_t)("once upon a time "[i % 17]);
        if (i / FAKE_CAS_CHUNK % 4 == 2 && i % 2) file[i] = (uint8_t)(0x3c + (i >> 12) % 2);
    }
    for (size_t k = 0; k < 40; k++)
        memcpy(file + (N_CHUNKS + k) * FAKE_CAS_CHUNK, file + (k * 7 % 60) * FAKE_CAS_CHUNK,
               FAKE_CAS_CHUNK);
}

static void put_file(struct rig *rig)
{
    fake_hub_set_xet(rig->fake, true);
    fake_hub_put(rig->fake, "model.safetensors", file, sizeof file, true);
    rig->settings.xet = BITNET_HUB_XET_FIRST;
    rig->settings.token = "hf_secret";
}

static void pull_same_as_clean(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s: %s; %s", bitnet_status_name(status), rig->err.text, rig->notices);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", file, sizeof file);
    assert_true(rig_exists(rig, "refs/main"));
}

/* 96: both versions; requests with one range and with several; terms that share chunks */
TEST(a_file_comes_from_a_cas_as_it_comes_over_http)
{
    for (int is_old = 0; is_old < 2; is_old++) {
        void *fresh;
        struct fake_request r;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        put_file(rig);
        fake_hub_tune_xet(rig->fake, (struct fake_xet){.is_old = is_old});
        pull_same_as_clean(rig);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "xet-read-token"), 1);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CAS, "/v1/"), is_old);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CAS, "/v2/"), 1);
        assert_true(fake_hub_bytes(rig->fake, FAKE_CAS, "/xorbs/") < sizeof file * 8 / 10);
        assert_int_equal(rig->fetched, sizeof file + 25);
        for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++) {
            if (r.origin != FAKE_CAS) continue;
            bool is_data = strstr(r.target, "/xorbs/") != NULL;
            assert_int_equal(r.has_token, !is_data);
        }
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* 96: a store of the first version may also say 404 to the second */
TEST(a_store_that_does_not_know_the_second_version_is_asked_in_the_first)
{
    struct rig *rig = *state;
    put_file(rig);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){
                      .origin = FAKE_CAS, .path = "/v2/", .action = FAKE_STATUS, .status = 404});
    pull_same_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CAS, "/v1/"), 1);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
}

static bool stop_in_the_middle(struct rig *rig)
{
    rig->stop_at = sizeof file / 3;
    return rig_pull(rig) == BITNET_CANCELLED;
}

/* 96: what is missing is asked for from its first byte on: ranges of the file, an offset into the
 * first term, several ranges of one xorb */
TEST(a_pull_over_xet_that_stopped_goes_on_where_it_was)
{
    struct rig *rig = *state;
    struct fake_request r;
    size_t n_several = 0;
    put_file(rig);
    rig->settings.connections = 1;
    rig->settings.rate_limit = 24 << 20;
    assert_true(stop_in_the_middle(rig));
    uint64_t first = rig->fetched;
    rig->stop_at = 0;
    rig->settings.rate_limit = 0;
    fake_hub_clear(rig->fake);
    pull_same_as_clean(rig);
    assert_true(first + rig->fetched <= sizeof file + 25);
    bool begins_inside = false;
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++) {
        if (strstr(r.target, "/v2/") && strtoull(r.range + 6, NULL, 10) % FAKE_CAS_CHUNK)
            begins_inside = true;
        n_several += strstr(r.target, "/xorbs/") && strchr(r.range, ',');
    }
    assert_true(begins_inside || strstr(rig->notices, "Xet") == NULL);
    assert_true(n_several > 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
}

static const struct wrong {
    const char *what;
    struct fake_rule rule;
    struct fake_xet xet;
    bool is_bad; /* the data themselves: INTEGRITY when HTTP does not work either */
} wrongs[] = {
    {"bad chunk head",
     {.origin = FAKE_CAS, .path = "/xorbs/", .action = FAKE_FLIP, .n = 0},
     {0},
     true},
    {"bad bytes",
     {.origin = FAKE_CAS, .path = "/xorbs/", .action = FAKE_FLIP, .n = 5000},
     {0},
     false},
    {"bad frame",
     {.origin = FAKE_CAS, .path = "/xorbs/", .action = FAKE_FLIP, .n = 8 + FAKE_CAS_CHUNK + 8},
     {0},
     false},
    {"cut", {.origin = FAKE_CAS, .path = "/xorbs/", .action = FAKE_CUT, .n = 100}, {0}, false},
    {"short term", {.action = FAKE_NOTHING, .path = "nowhere"}, {.lie = FAKE_CAS_SHORT_TERM}, true},
    {"wrong offset",
     {.action = FAKE_NOTHING, .path = "nowhere"},
     {.lie = FAKE_CAS_WRONG_OFFSET},
     false},
    {"links that do not work",
     {.origin = FAKE_CAS, .path = "/xorbs/", .action = FAKE_STATUS, .status = 403},
     {0},
     false},
    {"a token that does not work",
     {.origin = FAKE_CAS, .path = "/v2/", .action = FAKE_STATUS, .status = 401},
     {0},
     false},
    {"no document",
     {.origin = FAKE_CAS, .path = "/v", .action = FAKE_STATUS, .status = 404},
     {0},
     false},
    {"another document",
     {.origin = FAKE_CAS, .path = "/v2/", .action = FAKE_BODY, .text = "{\"terms\":[]}"},
     {0},
     false},
    {"a log-in page",
     {.origin = FAKE_CAS, .action = FAKE_BODY, .text = "<html>log in</html>"},
     {0},
     false},
};

/* 97: over HTTP it is right in the end; with HTTP refused as well, nothing is published */
TEST(whatever_a_cas_does_wrong_is_found_and_nothing_wrong_is_published)
{
    for (size_t i = 0; i < COUNT(wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        void *fresh;
        char blob[100];
        rig_setup(&fresh);
        struct rig *rig = fresh;
        put_file(rig);
        fake_hub_tune_xet(rig->fake, w->xet);
        fake_hub_rule(rig->fake, w->rule);
        enum bitnet_status status = rig_pull(rig);
        if (status) fail_msg("%s: %s", w->what, rig->err.text);
        rig_lint(rig, true);
        rig_assert_holds(rig, "model.safetensors", file, sizeof file);
        if (!strstr(rig->notices, "over HTTP")) fail_msg("%s: %s", w->what, rig->notices);
        assert_int_equal(rig_teardown(&fresh), 0);
        rig_setup(&fresh);
        rig = fresh;
        put_file(rig);
        rig->settings.xet = BITNET_HUB_XET_FALLBACK;
        fake_hub_tune_xet(rig->fake, w->xet);
        fake_hub_rule(rig->fake, w->rule);
        fake_hub_rule(rig->fake,
                      (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 403});
        status = rig_pull(rig);
        bool is_right = w->is_bad ? status == BITNET_INTEGRITY
                                  : status == BITNET_NETWORK || status == BITNET_INTEGRITY;
        if (!is_right) fail_msg("%s: %s", w->what, bitnet_status_name(status));
        rig_lint(rig, false);
        assert_false(rig_exists(rig, "refs/main"));
        snprintf(blob, sizeof blob, "blobs/%s", fake_hub_etag(rig->fake, "model.safetensors"));
        assert_false(rig_exists(rig, blob));
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

static void expire_once(struct rig *rig, const struct bitnet_hub_event *e)
{
    if (e->kind != BITNET_HUB_PROGRESS || e->done_bytes < sizeof file / 4) return;
    fake_hub_expire_xet(rig->fake);
    rig->watch = NULL;
}

/* 97: token and links end in the middle */
TEST(a_token_and_links_that_end_in_the_middle_are_renewed)
{
    struct rig *rig = *state;
    put_file(rig);
    rig->settings.connections = 1;
    rig->settings.rate_limit = 48 << 20;
    rig->watch = expire_once;
    pull_same_as_clean(rig);
    assert_null(rig->watch);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "xet-read-token"), 2);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
    assert_int_equal(rig->fetched, sizeof file + 25); /* nothing twice */
}

/* A token that has less than half a minute to live is not used. */
TEST(a_token_about_to_end_is_not_used)
{
    struct rig *rig = *state;
    static uint8_t second[100000];
    put_file(rig);
    rig_fill(second, sizeof second, 77);
    fake_hub_put(rig->fake, "second.safetensors", second, sizeof second, true);
    rig->options.all = true;
    fake_hub_tune_xet(rig->fake, (struct fake_xet){.token_life = 20});
    pull_same_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "xet-read-token"), 2);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    put_file(rig);
    fake_hub_put(rig->fake, "second.safetensors", second, sizeof second, true);
    rig->options.all = true;
    pull_same_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "xet-read-token"), 1); /* for both */
    assert_int_equal(rig_teardown(&fresh), 0);
}

/* 98 */
TEST(where_xet_fails_http_works_and_says_so)
{
    struct rig *rig = *state;
    put_file(rig);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CAS, .action = FAKE_STATUS, .status = 500});
    pull_same_as_clean(rig);
    assert_text_has(rig->notices, "Xet does not work");
    assert_text_has(rig->notices, "going on over HTTP");
    assert_true(fake_hub_bytes(rig->fake, FAKE_CDN, NULL) >= sizeof file);
}

TEST(where_http_is_refused_xet_works_and_says_so)
{
    struct rig *rig = *state;
    put_file(rig);
    rig->settings.xet = BITNET_HUB_XET_FALLBACK;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 400});
    pull_same_as_clean(rig);
    assert_text_has(rig->notices, "trying Xet");
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL) < 1000, true);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    put_file(rig);
    rig->settings.xet = BITNET_HUB_XET_NEVER;
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_STATUS, .status = 400});
    assert_int_equal(rig_pull(rig), BITNET_NETWORK);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CAS, NULL), 0);
    assert_int_equal(rig_teardown(&fresh), 0);
}

TEST(without_being_asked_for_xet_is_not_used)
{
    struct rig *rig = *state;
    put_file(rig);
    rig->settings.xet = BITNET_HUB_XET_FALLBACK;
    pull_same_as_clean(rig);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CAS, NULL), 0);
}

/* --- the readers alone --- */

/* What `lz4 -BX` (1.9.4) makes of "abc" ten times and a newline: independent blocks, both sums. */
static const uint8_t frame[] = {0x04, 0x22, 0x4d, 0x18, 0x74, 0x40, 0xbd, 0x0d, 0x00,
                                0x00, 0x00, 0x3f, 0x61, 0x62, 0x63, 0x03, 0x00, 0x04,
                                0x50, 0x63, 0x61, 0x62, 0x63, 0x0a, 0x5f, 0x81, 0x88,
                                0x52, 0x00, 0x00, 0x00, 0x00, 0xe7, 0xe1, 0xcd, 0xca};

TEST(a_frame_of_lz4_itself_unpacks_and_one_cut_or_changed_stays_in_its_bounds)
{
    static const char want[] = "abcabcabcabcabcabcabcabcabcabc\n";
    uint8_t copy[sizeof frame], out[64] = {0};
    assert_true(hub_lz4_frame(frame, sizeof frame, out, 31));
    assert_memory_equal(out, want, 31);
    assert_false(hub_lz4_frame(frame, sizeof frame, out, 30));
    assert_false(hub_lz4_frame(frame, sizeof frame, out, 32));
    for (size_t n = 0; n < sizeof frame; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees one byte too many */
        memcpy(exact, frame, n);
        assert_false(hub_lz4_frame(exact, n, out, 31));
        free(exact);
    }
    for (size_t i = 0; i < sizeof frame; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *exact = malloc(31);
            memcpy(copy, frame, sizeof frame);
            copy[i] ^= (uint8_t)(1u << bit);
            hub_lz4_frame(copy, sizeof copy, exact, 31);
            free(exact);
        }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_from_a_cas_as_it_comes_over_http),
        CASE(a_store_that_does_not_know_the_second_version_is_asked_in_the_first),
        CASE(a_pull_over_xet_that_stopped_goes_on_where_it_was),
        cmocka_unit_test(whatever_a_cas_does_wrong_is_found_and_nothing_wrong_is_published),
        CASE(a_token_and_links_that_end_in_the_middle_are_renewed),
        CASE(a_token_about_to_end_is_not_used),
        CASE(where_xet_fails_http_works_and_says_so),
        CASE(where_http_is_refused_xet_works_and_says_so),
        CASE(without_being_asked_for_xet_is_not_used),
        cmocka_unit_test(a_frame_of_lz4_itself_unpacks_and_one_cut_or_changed_stays_in_its_bounds),
    };
    make_file();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
