/* Heads of answers and URLs, also broken and hostile ones. */
#include "cm.h"

#include "reply.h"

static struct hub_reply *read_head(const char *const *lines)
{
    static struct hub_reply reply;
    memset(&reply, 0, sizeof reply);
    for (; *lines; lines++) hub_reply_line(&reply, bitnet_str_of(*lines));
    return &reply;
}
#define HEAD(...) read_head((const char *const[]){__VA_ARGS__, NULL})

TEST(an_entity_tag_is_normalised)
{
    assert_string_equal(HEAD("ETag: \"abc\"")->etag, "abc");
    assert_string_equal(HEAD("etag: W/\"abc\"")->etag, "abc");
    assert_string_equal(HEAD("ETAG: abc")->etag, "abc");
    assert_string_equal(HEAD("ETag: \"abc\"\r\n")->raw_etag, "\"abc\"");
    assert_string_equal(HEAD("ETag: W/\"abc\"")->raw_etag, "");
    assert_string_equal(HEAD("X-Linked-Etag: \"def\"")->linked_etag, "def");
}

TEST(a_status_line_begins_a_new_answer)
{
    struct hub_reply *r = HEAD("HTTP/1.1 100 Continue", "ETag: \"old\"", "",
                               "HTTP/1.1 206 Partial Content", "Content-Length: 7");
    assert_int_equal(r->status, 206);
    assert_string_equal(r->etag, "");
    assert_true(r->has_length && r->length == 7);
    assert_int_equal(HEAD("HTTP/2 404")->status, 404);
    assert_int_equal(HEAD("HTTP/1.1 abc")->status, 0);
}

TEST(a_content_range_is_read_strictly)
{
    struct hub_reply *r = HEAD("Content-Range: bytes 5-9/20");
    assert_true(r->has_range && r->range_begin == 5 && r->range_end == 10 && r->range_total == 20);
    r = HEAD("Content-Range: bytes */20");
    assert_true(r->has_range && r->range_is_star && r->range_total == 20);
    r = HEAD("Content-Range: bytes 0-0/*");
    assert_true(r->has_range && r->range_total == UINT64_MAX);
    static const char *const bad[] = {"Content-Range: bytes 9-5/20",
                                      "Content-Range: bytes 5-20/20",
                                      "Content-Range: 5-9/20",
                                      "Content-Range: bytes 5-9",
                                      "Content-Range: bytes -1-9/20",
                                      "Content-Range: bytes 5-9/20x",
                                      "Content-Range: bytes 5-18446744073709551616/*"};
    for (size_t i = 0; i < COUNT(bad); i++) assert_false(HEAD(bad[i])->has_range);
}

TEST(how_long_to_wait_is_read_from_three_headers)
{
    assert_int_equal(hub_reply_wait_ms(HEAD("RateLimit: \"resolvers\";r=0;t=214"), 0), 215000);
    assert_int_equal(hub_reply_wait_ms(HEAD("RateLimit: \"resolvers\";r=3;t=214"), 0), 0);
    assert_string_equal(HEAD("RateLimit: \"resolvers\";r=3;t=214")->rate_name, "resolvers");
    assert_int_equal(hub_reply_wait_ms(HEAD("Retry-After: 7"), 0), 7000);
    assert_int_equal(hub_reply_wait_ms(HEAD("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT",
                                            "Date: Sun, 06 Nov 1994 08:49:30 GMT"),
                                       0),
                     7000);
    assert_int_equal(hub_reply_wait_ms(HEAD("Retry-After: soon"), 0), 0);
    assert_int_equal(hub_reply_wait_ms(HEAD("X: y"), 0), 0);
    assert_true(hub_reply_wait_ms(HEAD("Retry-After: 18446744073709551615"), 0) > 1000000);
    assert_int_equal(hub_http_date(BITNET_STR("Sun, 06 Nov 1994 08:49:37 GMT")), 784111777);
    assert_int_equal(hub_http_date(BITNET_STR("Sun, 06 Foo 1994 08:49:37 GMT")), 0);
}

TEST(the_next_page_is_found_among_links)
{
    assert_string_equal(HEAD("Link: <http://h/a?cursor=1>; rel=\"next\"")->next,
                        "http://h/a?cursor=1");
    assert_string_equal(
        HEAD("Link: <http://h/b>; rel=\"xet-auth\", <http://h/c>; rel=\"next\"")->next,
        "http://h/c");
    assert_string_equal(HEAD("Link: <http://h/b>; rel=\"prev\"")->next, "");
    assert_string_equal(HEAD("Link: <http://h/b")->next, "");
}

TEST(control_characters_and_overlong_values_count_as_absent)
{
    char line[2000];
    memset(line, 'x', sizeof line);
    memcpy(line, "X-Request-Id: ", 14);
    line[sizeof line - 1] = 0;
    assert_string_equal(HEAD(line)->request_id, "");
    assert_string_equal(HEAD("X-Error-Message: a\x1b[2Jb")->error_message, "");
}

TEST(urls_are_quoted_as_the_hub_expects)
{
    struct bitnet_buf out = {.max = 1000};
    hub_url_quote(&out, BITNET_STR("refs/pr/1"), false);
    assert_string_equal(out.at, "refs%2Fpr%2F1");
    bitnet_buf_free(&out);
    out = (struct bitnet_buf){.max = 1000};
    hub_url_quote(&out, BITNET_STR("a dir/f+1#%.json"), true);
    assert_string_equal(out.at, "a%20dir/f%2B1%23%25.json");
    bitnet_buf_free(&out);
    out = (struct bitnet_buf){.max = 1000};
    hub_url_quote(&out, BITNET_STR("\xc3\xa9/x.bin"), true);
    assert_string_equal(out.at, "%C3%A9/x.bin");
    bitnet_buf_free(&out);
}

TEST(an_origin_is_scheme_host_and_port)
{
    assert_true(hub_url_same_origin("https://h/x", "https://H:443/y"));
    assert_false(hub_url_same_origin("https://h/x", "http://h/x"));
    assert_false(hub_url_same_origin("https://h/x", "https://h:444/x"));
    assert_false(hub_url_same_origin("https://h/x", "https://h.evil/x"));
    assert_false(hub_url_same_origin("https://h", "https://h@evil"));
    assert_true(hub_url_is_loopback("http://127.0.0.1:80/"));
    assert_true(hub_url_is_loopback("http://localhost"));
    assert_false(hub_url_is_loopback("http://127.0.0.1.evil.example/"));
    assert_false(hub_url_is_loopback("http://localhost.evil"));
}

TEST(a_location_is_joined_to_where_it_came_from)
{
    static const struct {
        const char *base, *location, *want;
    } cases[] = {
        {"https://h/a/b?q", "/c?d", "https://h/c?d"},
        {"https://h/a/b?q", "c", "https://h/a/c"},
        {"https://h/a/b?q", "?z", "https://h/a/b?z"},
        {"https://h", "c", "https://h/c"},
        {"https://h/a", "//other/x", "https://other/x"},
        {"https://h/a", "http://other/x", "http://other/x"},
        {"https://h/a", "file:///etc/passwd", NULL},
        {"https://h/a", "https://user@h/x", NULL},
        {"https://h/a", "https://", NULL},
        {"https://h/a", "/x y", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[HUB_URL_MAX];
        bool ok = hub_url_join(cases[i].base, cases[i].location, out);
        if (ok != (cases[i].want != NULL)) fail_msg("%s: %s", cases[i].location, out);
        if (ok) assert_string_equal(out, cases[i].want);
    }
}

TEST(the_end_of_a_signed_url_is_read_from_it)
{
    assert_int_equal(hub_url_expiry("https://h/x?Expires=1700000000&Signature=s"), 1700000000);
    assert_int_equal(
        hub_url_expiry(
            "https://h/x?X-Amz-Date=19941106T084937Z&X-Amz-Expires=60&X-Amz-Signature=s"),
        784111777 + 60);
    assert_int_equal(hub_url_expiry("https://h/x"), 0);
    assert_int_equal(hub_url_expiry("https://h/x?Expires=soon"), 0);
    struct bitnet_str shown = hub_url_shown("https://h/x?Signature=secret");
    assert_int_equal(shown.n, strlen("https://h/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entity_tag_is_normalised),
        cmocka_unit_test(a_status_line_begins_a_new_answer),
        cmocka_unit_test(a_content_range_is_read_strictly),
        cmocka_unit_test(how_long_to_wait_is_read_from_three_headers),
        cmocka_unit_test(the_next_page_is_found_among_links),
        cmocka_unit_test(control_characters_and_overlong_values_count_as_absent),
        cmocka_unit_test(urls_are_quoted_as_the_hub_expects),
        cmocka_unit_test(an_origin_is_scheme_host_and_port),
        cmocka_unit_test(a_location_is_joined_to_where_it_came_from),
        cmocka_unit_test(the_end_of_a_signed_url_is_read_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
