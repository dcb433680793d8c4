/* The record that carries a failure: never overrun, never half a character, safe without a record.
 */
#include "cm.h"

#include "bitnet/error.h"
#include "bitnet/text.h"

TEST(every_status_has_a_name_a_sentence_and_an_exit_code)
{
    assert_string_equal(bitnet_status_name(BITNET_FORMAT), "FORMAT");
    assert_string_equal(bitnet_status_text(BITNET_OK), "no error");
    static const struct {
        enum bitnet_status status;
        int exit_code;
    } rows[] = {{BITNET_OK, 0},         {BITNET_CHECK, 1},     {BITNET_USAGE, 2},
                {BITNET_FORMAT, 3},     {BITNET_LIMIT, 3},     {BITNET_UNSUPPORTED, 3},
                {BITNET_INEXACT, 3},    {BITNET_NOT_FOUND, 4}, {BITNET_NETWORK, 5},
                {BITNET_INTEGRITY, 6},  {BITNET_IO, 7},        {BITNET_MEMORY, 8},
                {BITNET_BUSY, 9},       {BITNET_AUTH, 10},     {BITNET_OFFLINE, 11},
                {BITNET_POLICY, 12},    {BITNET_INTERNAL, 70}, {BITNET_DEVICE, 70},
                {BITNET_CANCELLED, 130}};
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(bitnet_status_exit_code(rows[i].status), rows[i].exit_code);
}

TEST(a_number_that_is_no_status_is_an_internal_error)
{
    enum bitnet_status nonsense = (enum bitnet_status)12345;
    assert_string_equal(bitnet_status_name(nonsense), "INTERNAL");
    assert_int_equal(bitnet_status_exit_code(nonsense), 70);
}

TEST(fail_fills_the_record_and_clears_an_old_hint)
{
    struct bitnet_error err = {.hint = "old"};
    assert_int_equal(bitnet_fail(&err, BITNET_LIMIT, "%d of %d", 3, 2), BITNET_LIMIT);
    assert_int_equal(err.status, BITNET_LIMIT);
    assert_string_equal(err.text, "3 of 2");
    assert_string_equal(err.hint, "");
    assert_int_equal(bitnet_hint(&err, BITNET_LIMIT, "try %d", 2), BITNET_LIMIT);
    assert_string_equal(err.hint, "try 2");
}

TEST(without_a_record_only_the_status_travels)
{
    assert_int_equal(bitnet_fail(NULL, BITNET_IO, "x"), BITNET_IO);
    assert_int_equal(bitnet_hint(NULL, BITNET_IO, "x"), BITNET_IO);
    assert_int_equal(bitnet_error_prefix(NULL, BITNET_IO, "x"), BITNET_IO);
}

TEST(prefixes_stand_in_front_in_the_order_of_the_callers)
{
    struct bitnet_error err;
    bitnet_fail(&err, BITNET_FORMAT, "offset 1 is not a multiple of 32");
    bitnet_error_prefix(&err, BITNET_FORMAT, "tensor '%s'", "a");
    assert_int_equal(bitnet_error_prefix(&err, BITNET_IO, "m.gguf"), BITNET_FORMAT);
    assert_string_equal(err.text, "m.gguf: tensor 'a': offset 1 is not a multiple of 32");
}

TEST(the_old_text_may_be_an_argument_of_the_new_one)
{
    struct bitnet_error err;
    bitnet_fail(&err, BITNET_IO, "inner");
    bitnet_fail(&err, BITNET_IO, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

TEST(long_text_loses_its_end_but_never_half_a_character)
{
    char text[2048];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 3) memcpy(text + i, "\xE2\x82\xAC", 4);
        struct bitnet_error err;
        bitnet_fail(&err, BITNET_FORMAT, "%s", text);
        assert_true(strlen(err.text) >= sizeof err.text - 4);
        assert_true(bitnet_utf8_valid(bitnet_str_of(err.text)));
        bitnet_hint(&err, BITNET_FORMAT, "%s", text);
        assert_true(strlen(err.hint) >= sizeof err.hint - 4);
        assert_true(bitnet_utf8_valid(bitnet_str_of(err.hint)));
        bitnet_error_prefix(&err, BITNET_FORMAT, "%s", text);
        assert_true(bitnet_utf8_valid(bitnet_str_of(err.text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_a_sentence_and_an_exit_code),
        cmocka_unit_test(a_number_that_is_no_status_is_an_internal_error),
        cmocka_unit_test(fail_fills_the_record_and_clears_an_old_hint),
        cmocka_unit_test(without_a_record_only_the_status_travels),
        cmocka_unit_test(prefixes_stand_in_front_in_the_order_of_the_callers),
        cmocka_unit_test(the_old_text_may_be_an_argument_of_the_new_one),
        cmocka_unit_test(long_text_loses_its_end_but_never_half_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
