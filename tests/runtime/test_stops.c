/* stops.c: texts that end a generation, against a search in the whole text. */
#include "cm.h"

#include "bitnet/alloc.h"

#include "stops.h"

#include <string.h>

#define TEXT_MAX 64

static const struct bitnet_str *as_texts(const char *const *texts, size_t n)
{
    static struct bitnet_str list[8];
    for (size_t i = 0; i < n; i++) list[i] = bitnet_str_of(texts[i]);
    return list;
}

/* What stays of the text: the first end of a stop text cuts, of several the longest. */
static size_t naive(const char *text, size_t n, const char *const *stops, size_t n_stops,
                    bool *found)
{
    *found = false;
    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n_stops; i++) {
            size_t length = strlen(stops[i]);
            if (length <= end && length > longest &&
                memcmp(text + end - length, stops[i], length) == 0)
                longest = length;
        }
        if (!longest) continue;
        *found = true;
        return end - longest;
    }
    return n;
}

/* Bit i of `cuts`: a piece ends behind byte i. */
static void check_cut(const char *text, size_t n, uint64_t cuts, const char *const *stops,
                      size_t n_stops)
{
    struct stops s;
    struct bitnet_buf out = {.max = 4096};
    bool want_found, found = false;
    size_t want = naive(text, n, stops, n_stops, &want_found);
    assert_int_equal(stops_begin(&s, as_texts(stops, n_stops), n_stops, NULL), BITNET_OK);
    for (size_t begin = 0, i = 0; i < n && !found; i++) {
        if (i + 1 < n && !(cuts >> i & 1)) continue;
        assert_true(stops_take(&s, (struct bitnet_str){text + begin, i + 1 - begin}, &out, &found));
        if (!want_found) assert_true(out.n <= i + 1);
        begin = i + 1;
    }
    if (!found) assert_true(stops_end(&s, &out));
    if (found != want_found || out.n != want || memcmp(out.at ? out.at : "", text, want) != 0)
        fail_msg("'%.*s' cut as %llx: %zu bytes, not %zu", (int)n, text, (unsigned long long)cuts,
                 out.n, want);
    bitnet_buf_free(&out);
    stops_free(&s);
}

TEST(a_stop_text_is_found_however_pieces_cut_it)
{
    static const char *const stops[] = {"END", "EEND!", "\n\nuser:", "\xe2\x82\xac"};
    static const char *const texts[] = {
        "no such text", "EEEND of it", "a\n\n\nuser: hi",      "user:\n\n",
        "EN",           "ENEND",       "10 \xe2\x82\xac or so"};
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        size_t n = strlen(texts[t]);
        for (uint64_t cuts = 0; cuts < (uint64_t)1 << n; cuts++)
            check_cut(texts[t], n, cuts, stops, 4);
    }
}

static uint64_t draw(uint64_t *from)
{
    *from = *from * 6364136223846793005u + 1442695040888963407u;
    return *from >> 33;
}

/* Few letters, so that beginnings repeat and overlap. */
TEST(random_texts_end_where_a_search_of_the_whole_says)
{
    uint64_t from = 12345;
    char text[TEXT_MAX], words[4][8] = {{0}};
    const char *stops[4] = {words[0], words[1], words[2], words[3]};
    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < 4; i++) {
            size_t n = 1 + draw(&from) % 7;
            for (size_t k = 0; k < n; k++) words[i][k] = "ab"[draw(&from) % 2];
            words[i][n] = '\0';
        }
        for (size_t k = 0; k < TEXT_MAX; k++) text[k] = "aabbaabbc"[draw(&from) % 9];
        uint64_t cuts = draw(&from) << 31 | draw(&from);
        check_cut(text, TEXT_MAX, cuts, stops, 1 + (size_t)round % 4);
    }
}

TEST(without_stop_texts_nothing_is_held_back)
{
    struct stops s;
    struct bitnet_buf out = {.max = 64};
    bool found;
    assert_int_equal(stops_begin(&s, NULL, 0, NULL), BITNET_OK);
    assert_true(stops_take(&s, bitnet_str_of("abc"), &out, &found));
    assert_false(found);
    assert_int_equal(out.n, 3);
    bitnet_buf_free(&out);
    stops_free(&s);
}

TEST(only_the_possible_beginning_is_held_back)
{
    static const char *const stops[] = {"stop"};
    struct stops s;
    struct bitnet_buf out = {.max = 64};
    bool found;
    assert_int_equal(stops_begin(&s, as_texts(stops, 1), 1, NULL), BITNET_OK);
    assert_true(stops_take(&s, bitnet_str_of("to st"), &out, &found));
    assert_int_equal(out.n, 3);
    assert_true(stops_take(&s, bitnet_str_of("st"), &out, &found));
    assert_int_equal(out.n, 5);
    bitnet_buf_free(&out);
    stops_free(&s);
}

TEST(what_is_no_stop_text_is_refused)
{
    static const char *const wrong[] = {"", "\xff"};
    struct bitnet_error err;
    struct stops s;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(stops_begin(&s, as_texts(wrong + i, 1), 1, &err), BITNET_USAGE);
        stops_free(&s);
    }
    assert_text_has(err.text, "not UTF-8");
    assert_int_equal(stops_begin(&s, as_texts(wrong, 1), 257, &err), BITNET_USAGE);
    stops_free(&s);
}

TEST(no_memory_is_told_and_nothing_leaks)
{
    static const char *const stops[] = {"ab", "abc"};
    enum bitnet_status status = BITNET_MEMORY;
    for (long k = 0; status; k++) {
        struct stops s;
        bitnet_alloc_fail_at(k);
        status = stops_begin(&s, as_texts(stops, 2), 2, NULL);
        assert_true(status == BITNET_OK || status == BITNET_MEMORY);
        stops_free(&s);
    }
    bitnet_alloc_fail_at(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_text_is_found_however_pieces_cut_it),
        cmocka_unit_test(random_texts_end_where_a_search_of_the_whole_says),
        cmocka_unit_test(without_stop_texts_nothing_is_held_back),
        cmocka_unit_test(only_the_possible_beginning_is_held_back),
        cmocka_unit_test(what_is_no_stop_text_is_refused),
        cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
