/* Checked arithmetic at its limits, and the cursor that cannot read past the end. */
#include "cm.h"

#include "bitnet/bytes.h"

TEST(addition_and_multiplication_stop_at_2_to_the_64)
{
    uint64_t r;
    assert_true(bitnet_add_u64(UINT64_MAX - 1, 1, &r));
    assert_true(r == UINT64_MAX);
    assert_false(bitnet_add_u64(UINT64_MAX, 1, &r));
    assert_false(bitnet_add_u64(1, UINT64_MAX, &r));
    assert_true(bitnet_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &r));
    assert_false(bitnet_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
    assert_false(bitnet_mul_u64(3, UINT64_MAX / 3 + 1, &r));
    assert_true(bitnet_mul_u64(0, UINT64_MAX, &r));
    assert_int_equal(r, 0);
    size_t s;
    assert_false(bitnet_mul_size(SIZE_MAX, 2, &s));
    assert_false(bitnet_add_size(SIZE_MAX, 1, &s));
    assert_true(bitnet_add_size(SIZE_MAX - 1, 1, &s));
}

TEST(alignment_rounds_up_and_refuses_to_wrap)
{
    uint64_t r;
    assert_true(bitnet_align_up_u64(0, 32, &r));
    assert_int_equal(r, 0);
    assert_true(bitnet_align_up_u64(1, 32, &r));
    assert_int_equal(r, 32);
    assert_true(bitnet_align_up_u64(32, 32, &r));
    assert_int_equal(r, 32);
    assert_true(bitnet_align_up_u64(UINT64_MAX - 31, 32, &r));
    assert_true(r == UINT64_MAX - 31);
    assert_false(bitnet_align_up_u64(UINT64_MAX - 30, 32, &r));
}

TEST(a_range_is_inside_only_without_wrapping)
{
    assert_true(bitnet_range_ok(0, 0, 0));
    assert_true(bitnet_range_ok(10, 0, 10));
    assert_true(bitnet_range_ok(0, 10, 10));
    assert_false(bitnet_range_ok(1, 10, 10));
    assert_false(bitnet_range_ok(11, 0, 10));
    assert_false(bitnet_range_ok(UINT64_MAX, 2, 10));
    assert_false(bitnet_range_ok(2, UINT64_MAX, 10));
    assert_true(bitnet_range_ok(UINT64_MAX, 0, UINT64_MAX));
}

TEST(powers_of_two_are_told_from_the_rest)
{
    assert_false(bitnet_is_power_of_two(0));
    assert_true(bitnet_is_power_of_two(1));
    assert_true(bitnet_is_power_of_two(UINT64_C(1) << 63));
    assert_false(bitnet_is_power_of_two(3));
    assert_false(bitnet_is_power_of_two(UINT64_MAX));
}

TEST(little_endian_is_what_lies_in_memory_at_any_address)
{
    uint8_t bytes[16] = {0};
    for (size_t at = 0; at < 8; at++) {
        bitnet_store_u64(bytes + at, UINT64_C(0x0123456789abcdef));
        assert_int_equal(bytes[at], 0xef);
        assert_int_equal(bytes[at + 7], 0x01);
        assert_true(bitnet_load_u64(bytes + at) == UINT64_C(0x0123456789abcdef));
        assert_int_equal(bitnet_load_u32(bytes + at), 0x89abcdef);
        assert_int_equal(bitnet_load_u16(bytes + at), 0xcdef);
    }
    bitnet_store_u16(bytes, 0x8001);
    bitnet_store_u32(bytes + 2, 0x80000001);
    assert_int_equal(bitnet_load_u16(bytes), 0x8001);
    assert_int_equal(bitnet_load_u32(bytes + 2), 0x80000001);
    bitnet_store_f32(bytes, -1.5f);
    assert_true(bitnet_load_f32(bytes) == -1.5f);
    bitnet_store_f64(bytes, 0x1p-1074);
    assert_true(bitnet_load_f64(bytes) == 0x1p-1074);
}

TEST(the_cursor_reads_whole_or_not_at_all_and_stays_bad)
{
    static const uint8_t data[] = {1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9, 9};
    struct bitnet_cursor c = bitnet_cursor_over((struct bitnet_bytes){data, sizeof data});
    assert_int_equal(bitnet_take_u8(&c), 1);
    assert_int_equal(bitnet_take_u16(&c), 2);
    assert_int_equal(bitnet_take_u32(&c), 3);
    assert_int_equal(bitnet_take_u64(&c), 4);
    assert_int_equal(bitnet_cursor_left(&c), 2);
    assert_int_equal(bitnet_take_u32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(bitnet_cursor_left(&c), 0);
    assert_int_equal(bitnet_take_u8(&c), 0); /* two bytes are left, but not for this one */
    assert_null(bitnet_take(&c, 0));
}

TEST(a_length_of_2_to_the_64_does_not_wrap_the_cursor)
{
    static const uint8_t data[8] = {0};
    struct bitnet_cursor c = bitnet_cursor_over((struct bitnet_bytes){data, sizeof data});
    assert_non_null(bitnet_take(&c, 8));
    assert_non_null(bitnet_take(&c, 0));
    assert_null(bitnet_take(&c, UINT64_MAX));
    assert_true(c.bad);
}

TEST(strings_compare_with_their_length)
{
    struct bitnet_str with_nul = {"a\0b", 3};
    assert_true(bitnet_str_equal(with_nul, (struct bitnet_str){"a\0b", 3}));
    assert_false(bitnet_str_is(with_nul, "a"));
    assert_true(bitnet_str_starts(with_nul, "a"));
    assert_true(bitnet_str_ends(with_nul, "b"));
    assert_true(bitnet_str_equal((struct bitnet_str){NULL, 0}, BITNET_STR("")));
    assert_int_equal(bitnet_str_of(NULL).n, 0);
    assert_false(bitnet_str_starts(BITNET_STR("ab"), "abc"));
    assert_false(bitnet_str_ends(BITNET_STR("bc"), "abc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addition_and_multiplication_stop_at_2_to_the_64),
        cmocka_unit_test(alignment_rounds_up_and_refuses_to_wrap),
        cmocka_unit_test(a_range_is_inside_only_without_wrapping),
        cmocka_unit_test(powers_of_two_are_told_from_the_rest),
        cmocka_unit_test(little_endian_is_what_lies_in_memory_at_any_address),
        cmocka_unit_test(the_cursor_reads_whole_or_not_at_all_and_stays_bad),
        cmocka_unit_test(a_length_of_2_to_the_64_does_not_wrap_the_cursor),
        cmocka_unit_test(strings_compare_with_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
