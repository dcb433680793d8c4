/* Text from outside: UTF-8 exhaustively, quoting, numbers at their limits, the buffer's ceiling. */
#include "cm.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bitnet/alloc.h"
#include "bitnet/text.h"

/* --- UTF-8 --- */

TEST(every_code_point_survives_encoding_and_decoding)
{
    for (uint32_t c = 0; c <= 0x110010; c++) {
        char text[4];
        uint32_t back = 0;
        size_t n = bitnet_utf8_encode(c, text);
        if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(n, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        if (bitnet_utf8_decode(text, n, &back) != n || back != c) fail_msg("U+%X", c);
        if (bitnet_utf8_decode(text, n - 1, &back) != 0) fail_msg("U+%X cut", c);
    }
}

/* The slow, obvious reader: decodes by the bit patterns alone, then forbids what RFC 3629 forbids.
 */
static bool is_one_character(const uint8_t *b, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t expected = b[0] < 0x80       ? 1
                      : b[0] >> 5 == 6  ? 2
                      : b[0] >> 4 == 14 ? 3
                      : b[0] >> 3 == 30 ? 4
                                        : 0;
    if (expected != n) return false;
    uint32_t c = n == 1 ? b[0] : b[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (b[i] >> 6 != 2) return false;
        c = c << 6 | (b[i] & 0x3F);
    }
    return c >= least[n] && c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
}

TEST(every_sequence_of_up_to_three_bytes_is_judged_as_by_the_definition)
{
    for (uint32_t v = 0; v < 1u << 24; v++) {
        uint8_t b[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        uint32_t c;
        size_t n = bitnet_utf8_decode((const char *)b, 3, &c), want = 0;
        for (size_t k = 1; k <= 3 && !want; k++)
            if (is_one_character(b, k)) want = k;
        if (n != want) fail_msg("%06x: %zu bytes, expected %zu", v, n, want);
    }
}

TEST(four_byte_sequences_are_judged_as_by_the_definition)
{
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned lead = 0xF0; lead <= 0xFF; lead++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t i = 0; i < COUNT(edges); i++)
                for (size_t k = 0; k < COUNT(edges); k++) {
                    uint8_t b[4] = {(uint8_t)lead, (uint8_t)second, edges[i], edges[k]};
                    uint32_t c;
                    size_t n = bitnet_utf8_decode((const char *)b, 4, &c);
                    assert_int_equal(n, is_one_character(b, 4) ? 4 : 0);
                }
}

TEST(validity_is_checked_to_the_last_byte)
{
    char text[40];
    memset(text, 'a', sizeof text);
    assert_true(bitnet_utf8_valid((struct bitnet_str){text, sizeof text}));
    assert_true(bitnet_utf8_valid((struct bitnet_str){NULL, 0}));
    assert_true(bitnet_utf8_valid((struct bitnet_str){"a\0b", 3}));
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)0xC3;
        assert_false(bitnet_utf8_valid((struct bitnet_str){text, sizeof text}));
        assert_false(bitnet_utf8_valid((struct bitnet_str){text, i + 1}));
        text[i] = 'a';
    }
}

TEST(an_unfinished_character_at_the_end_is_held_back)
{
    static const struct {
        const char *text;
        size_t tail;
    } rows[] = {
        {"", 0},          {"abc", 0},          {"a\xC3", 1},
        {"a\xC3\xA9", 0}, {"\xE2\x82", 2},     {"\xE2\x82\xAC", 0},
        {"\xF0\x9F", 2},  {"\xF0\x9F\x98", 3}, {"\xF0\x9F\x98\x80", 0},
        {"\x80\x80", 0},  {"\xFF", 0},         {"\xE0\x80", 0},
        {"\xED\xA0", 0},  {"\xF4\x90", 0},     {"\xC3\x28", 0},
        {"\xE2", 1},      {"\x80", 0},         {"\xC0", 0},
        {"\xF5", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (bitnet_utf8_incomplete_tail(bitnet_str_of(rows[i].text)) != rows[i].tail)
            fail_msg("row %zu", i);
}

/* --- quoting --- */

static void check_quote(const char *text, size_t n, const char *want)
{
    struct bitnet_quoted out;
    assert_string_equal(bitnet_quote(&out, (struct bitnet_str){text, n}), want);
}

TEST(what_could_deceive_a_terminal_is_escaped)
{
    check_quote("plain", 5, "'plain'");
    check_quote("", 0, "''");
    check_quote(NULL, 0, "''");
    check_quote("a\0b", 3, "'a\\x00b'");
    check_quote("\x1b[31m\n", 6, "'\\x1b[31m\\x0a'");
    check_quote("it's \"it\"", 9, "'it\\x27s \"it\"'");
    check_quote("a\\b", 3, "'a\\\\b'");
    check_quote("\x7f\xff\xc3", 3, "'\\x7f\\xff\\xc3'");
    check_quote("\xC2\x85", 2, "'\\u{0085}'");
    check_quote("\xE2\x80\xAE"
                "abc",
                6, "'\\u{202E}abc'");
    check_quote("\xE2\x81\xA6", 3, "'\\u{2066}'");
    check_quote("\xEF\xBB\xBF", 3, "'\\u{FEFF}'");
    check_quote("\xF3\xA0\x81\x81", 4, "'\\u{E0041}'");
    check_quote("\xE2\x82\xAC \xF0\x9F\x98\x80", 8, "'\xE2\x82\xAC \xF0\x9F\x98\x80'");
}

TEST(eighty_bytes_are_shown_and_then_dots)
{
    char text[200], want[400];
    memset(text, 'a', sizeof text);
    snprintf(want, sizeof want, "'%.80s'", text);
    check_quote(text, 80, want);
    snprintf(want, sizeof want, "'%.80s...'", text);
    check_quote(text, 81, want);
    memcpy(text + 78, "\xE2\x82\xAC", 3); /* would be cut at 80 */
    snprintf(want, sizeof want, "'%.78s...'", text);
    check_quote(text, 200, want);
}

TEST(the_worst_text_fits_the_quote)
{
    char text[300];
    static const char *const worst[] = {"\xff", "\xC2\x85", "\xE2\x80\xAE", "\xF3\xA0\x81\x81",
                                        "'"};
    for (size_t w = 0; w < COUNT(worst); w++) {
        size_t n = strlen(worst[w]);
        for (size_t i = 0; i + n <= sizeof text; i += n) memcpy(text + i, worst[w], n);
        struct bitnet_quoted out;
        size_t length = strlen(bitnet_quote(&out, (struct bitnet_str){text, sizeof text}));
        assert_true(length < sizeof out.text);
        assert_string_equal(out.text + length - 4, "...'");
    }
}

/* --- numbers --- */

TEST(whole_numbers_are_read_whole_or_not_at_all)
{
    static const char *const good[] = {"0", "1", "007", "18446744073709551615"};
    static const uint64_t values[] = {0, 1, 7, UINT64_MAX};
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "1x",
                                      "0x10",
                                      "1e3",
                                      "1.0",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    uint64_t v;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(bitnet_parse_u64(bitnet_str_of(good[i]), &v));
        assert_true(v == values[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(bitnet_parse_u64(bitnet_str_of(bad[i]), &v));
    assert_false(bitnet_parse_u64((struct bitnet_str){"1\0", 2}, &v));
}

TEST(signed_numbers_reach_both_ends)
{
    int64_t v;
    assert_true(bitnet_parse_i64(BITNET_STR("-9223372036854775808"), &v));
    assert_true(v == INT64_MIN);
    assert_true(bitnet_parse_i64(BITNET_STR("9223372036854775807"), &v));
    assert_true(v == INT64_MAX);
    assert_true(bitnet_parse_i64(BITNET_STR("-0"), &v));
    assert_int_equal(v, 0);
    assert_false(bitnet_parse_i64(BITNET_STR("-9223372036854775809"), &v));
    assert_false(bitnet_parse_i64(BITNET_STR("9223372036854775808"), &v));
    assert_false(bitnet_parse_i64(BITNET_STR("-"), &v));
    assert_false(bitnet_parse_i64(BITNET_STR("--1"), &v));
    assert_false(bitnet_parse_i64(BITNET_STR("+1"), &v));
}

static void check_f64(const char *text)
{
    double v = 0, want = strtod(text, NULL);
    if (!bitnet_parse_f64(bitnet_str_of(text), &v)) fail_msg("%s is refused", text);
    if (memcmp(&v, &want, sizeof v) != 0) fail_msg("%s: %.17g, expected %.17g", text, v, want);
}

TEST(floats_are_rounded_exactly)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "+1.5",
        ".5",
        "5.",
        "1e0",
        "1E+2",
        "1e-2",
        "0.1",
        "0.3",
        "123456789.123456789",
        "9007199254740992",
        "9007199254740993",
        "9007199254740992e22",
        "9007199254740993e22",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "8.5e22",
        "3.14159265358979323846264338327950288",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "4.9e-324",
        "2.4703282292062328e-324",
        "2.4703282292062327e-324",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "17976931348623157e292",
        "0.000000000000000000000000000000000000000000001e45",
        "1e-400",
        "0e99999999999",
        "100000000000000000000000000000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "184467440737095516160000",
        "6.02214076e23",
        "5e-324",
    };
    for (size_t i = 0; i < COUNT(texts); i++) check_f64(texts[i]);
}

TEST(random_floats_come_back_from_their_shortest_and_longest_text)
{
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        double want;
        memcpy(&want, &x, sizeof want);
        if (!isfinite(want)) continue;
        char text[64];
        snprintf(text, sizeof text, "%.*g", 1 + i % 20, want);
        double expected = strtod(text, NULL), v;
        if (!isfinite(expected)) continue;
        if (!bitnet_parse_f64(bitnet_str_of(text), &v) || memcmp(&v, &expected, sizeof v) != 0)
            fail_msg("%s", text);
    }
}

TEST(what_is_no_finite_decimal_is_refused)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "-",
                                      "e5",
                                      "1e",
                                      "1e+",
                                      "1.5.5",
                                      "inf",
                                      "nan",
                                      "0x1p3",
                                      "Infinity",
                                      "1 ",
                                      " 1",
                                      "1f",
                                      "1,5",
                                      "--1",
                                      "1e400",
                                      "-1e309",
                                      "1.7976931348623159e308",
                                      "1__0",
                                      "1e5e5",
                                      "+-1"};
    double v = 42;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (bitnet_parse_f64(bitnet_str_of(bad[i]), &v)) fail_msg("'%s' is taken", bad[i]);
    char digits[1200];
    memset(digits, '1', sizeof digits);
    assert_false(bitnet_parse_f64((struct bitnet_str){digits, 1101}, &v));
    assert_false(bitnet_parse_f64((struct bitnet_str){digits, 1100}, &v)); /* 10^1100 is infinite */
    assert_true(v == 42);
    memset(digits, '0', sizeof digits);
    assert_true(bitnet_parse_f64((struct bitnet_str){digits, 1100}, &v));
}

TEST(the_locale_does_not_matter)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"};
    for (size_t i = 0; i < COUNT(names); i++) {
        setlocale(LC_ALL, names[i]);
        double v = 0;
        assert_true(bitnet_parse_f64(BITNET_STR("1.5"), &v));
        assert_true(v == 1.5);
        assert_true(bitnet_parse_f64(BITNET_STR("1.7976931348623157e308"), &v)); /* the slow path */
        assert_false(bitnet_parse_f64(BITNET_STR("1,5"), &v));
    }
    setlocale(LC_ALL, "C");
}

TEST(sizes_have_binary_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"512", 512},
                {"512B", 512},
                {"4K", 4096},
                {"4k", 4096},
                {"4KB", 4096},
                {"2GiB", UINT64_C(2) << 30},
                {"1.5G", UINT64_C(3) << 29},
                {"0.25M", 262144},
                {"1T", UINT64_C(1) << 40},
                {"16777215T", UINT64_C(16777215) << 40},
                {"1.000001M", 1048577}};
    static const char *const bad[] = {
        "",    "K",  "-1",  "1.5",  "1.G",       ".5G", "1.1234567G",
        "4 K", "4X", "4KK", "4Kib", "16777216T", "1e3", "99999999999999999999"};
    uint64_t v;
    for (size_t i = 0; i < COUNT(good); i++) {
        if (!bitnet_parse_size(bitnet_str_of(good[i].text), &v)) fail_msg("%s", good[i].text);
        assert_true(v == good[i].bytes);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (bitnet_parse_size(bitnet_str_of(bad[i]), &v)) fail_msg("'%s' is taken", bad[i]);
}

/* --- the buffer --- */

TEST(a_buffer_grows_and_is_always_a_c_string)
{
    struct bitnet_buf buf = {.max = 100000};
    char want[3000] = "";
    size_t n = 0;
    for (int i = 0; i < 500; i++) {
        assert_true(bitnet_buf_printf(&buf, "%d,", i % 10));
        n += (size_t)snprintf(want + n, sizeof want - n, "%d,", i % 10);
        assert_int_equal(buf.at[buf.n], 0);
    }
    assert_string_equal(buf.at, want);
    assert_true(bitnet_buf_add(&buf, "\0x", 2));
    assert_true(bitnet_buf_add_str(&buf, BITNET_STR("")));
    assert_int_equal(buf.n, 1002);
    bitnet_buf_free(&buf);
    assert_null(buf.at);
}

TEST(a_buffer_takes_exactly_its_ceiling)
{
    struct bitnet_buf buf = {.max = 10};
    assert_true(bitnet_buf_add(&buf, "0123456789", 10));
    assert_true(bitnet_buf_add(&buf, "", 0));
    assert_false(bitnet_buf_add(&buf, "x", 1));
    assert_true(buf.failed);
    assert_null(buf.at); /* no half text */
    assert_false(bitnet_buf_printf(&buf, "y"));
    bitnet_buf_free(&buf);
    struct bitnet_buf none = {0};
    assert_false(bitnet_buf_add(&none, "x", 1));
    struct bitnet_buf huge = {.max = SIZE_MAX};
    assert_true(bitnet_buf_add(&huge, "x", 1));
    assert_false(bitnet_buf_add(&huge, "x", SIZE_MAX));
}

TEST(a_buffer_without_memory_fails_for_good)
{
    long before = bitnet_alloc_live();
    struct bitnet_buf buf = {.max = 1000};
    assert_true(bitnet_buf_add(&buf, "x", 1));
    bitnet_alloc_fail_at(0);
    assert_false(bitnet_buf_printf(&buf, "%200d", 1));
    bitnet_alloc_fail_at(-1);
    assert_true(buf.failed);
    assert_false(bitnet_buf_add(&buf, "x", 1));
    assert_int_equal(bitnet_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_survives_encoding_and_decoding),
        cmocka_unit_test(every_sequence_of_up_to_three_bytes_is_judged_as_by_the_definition),
        cmocka_unit_test(four_byte_sequences_are_judged_as_by_the_definition),
        cmocka_unit_test(validity_is_checked_to_the_last_byte),
        cmocka_unit_test(an_unfinished_character_at_the_end_is_held_back),
        cmocka_unit_test(what_could_deceive_a_terminal_is_escaped),
        cmocka_unit_test(eighty_bytes_are_shown_and_then_dots),
        cmocka_unit_test(the_worst_text_fits_the_quote),
        cmocka_unit_test(whole_numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(signed_numbers_reach_both_ends),
        cmocka_unit_test(floats_are_rounded_exactly),
        cmocka_unit_test(random_floats_come_back_from_their_shortest_and_longest_text),
        cmocka_unit_test(what_is_no_finite_decimal_is_refused),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(sizes_have_binary_units),
        cmocka_unit_test(a_buffer_grows_and_is_always_a_c_string),
        cmocka_unit_test(a_buffer_takes_exactly_its_ceiling),
        cmocka_unit_test(a_buffer_without_memory_fails_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
