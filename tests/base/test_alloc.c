/* The heap: zeroed, overflow refused, counted, failing when a test asks for it. */
#include "cm.h"

#include "bitnet/alloc.h"

TEST(memory_comes_zeroed)
{
    unsigned char *p = bitnet_alloc(1000, 3);
    assert_non_null(p);
    for (size_t i = 0; i < 3000; i++) assert_int_equal(p[i], 0);
    bitnet_free(p);
}

TEST(a_product_that_overflows_gives_nothing)
{
    assert_null(bitnet_alloc(SIZE_MAX / 2 + 1, 2));
    assert_null(bitnet_alloc(SIZE_MAX, 1));
    assert_null(bitnet_realloc(NULL, SIZE_MAX / 4, 8));
    assert_null(bitnet_alloc_aligned(SIZE_MAX));
    assert_null(bitnet_alloc_aligned(SIZE_MAX - 63));
}

TEST(no_bytes_are_still_a_place)
{
    void *a = bitnet_alloc(0, 8), *b = bitnet_alloc(8, 0), *c = bitnet_realloc(NULL, 0, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    bitnet_free(a);
    bitnet_free(b);
    bitnet_free(c);
    bitnet_free(NULL);
    bitnet_free_aligned(NULL);
}

TEST(aligned_memory_begins_at_a_multiple_of_64_and_is_zero)
{
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *p = bitnet_alloc_aligned(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
        bitnet_free_aligned(p);
    }
}

TEST(the_live_count_returns_to_where_it_was)
{
    long before = bitnet_alloc_live();
    void *a = bitnet_alloc(1, 1), *b = bitnet_alloc_aligned(100), *c = bitnet_realloc(NULL, 5, 1);
    assert_int_equal(bitnet_alloc_live(), before + 3);
    c = bitnet_realloc(c, 500, 1);
    assert_int_equal(bitnet_alloc_live(), before + 3);
    bitnet_free(a);
    bitnet_free_aligned(b);
    bitnet_free(c);
    assert_int_equal(bitnet_alloc_live(), before);
}

TEST(the_chosen_allocation_fails_once)
{
    bitnet_alloc_fail_at(1);
    void *a = bitnet_alloc(1, 1), *b = bitnet_alloc(1, 1), *c = bitnet_alloc(1, 1);
    assert_int_equal(bitnet_alloc_count(), 3);
    bitnet_alloc_fail_at(-1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    bitnet_free(a);
    bitnet_free(c);
}

TEST(a_failed_realloc_leaves_the_old_block)
{
    char *p = bitnet_alloc(4, 1);
    memcpy(p, "abc", 4);
    bitnet_alloc_fail_at(0);
    assert_null(bitnet_realloc(p, 1000, 1));
    bitnet_alloc_fail_at(-1);
    assert_string_equal(p, "abc");
    bitnet_free(p);
}

TEST(an_array_grows_to_its_ceiling_and_not_beyond)
{
    int *numbers = NULL;
    size_t n = 0, cap = 0;
    while (BITNET_GROW(numbers, n, cap, 1000)) {
        numbers[n] = (int)n;
        n++;
    }
    assert_int_equal(n, 1000);
    assert_int_equal(cap, 1000);
    for (size_t i = 0; i < n; i++) assert_int_equal(numbers[i], i);
    bitnet_free(numbers);
}

TEST(an_array_that_cannot_grow_stays_as_it_was)
{
    int *numbers = NULL;
    size_t n = 0, cap = 0;
    for (; n < 8; n++) {
        assert_true(BITNET_GROW(numbers, n, cap, 1000));
        numbers[n] = 7;
    }
    bitnet_alloc_fail_at(0);
    assert_false(BITNET_GROW(numbers, n, cap, 1000));
    bitnet_alloc_fail_at(-1);
    assert_int_equal(cap, 8);
    assert_int_equal(numbers[7], 7);
    bitnet_free(numbers);
}

TEST(large_blocks_begin_at_2_mib_are_zero_and_can_be_written_to_their_end)
{
    const long before = bitnet_alloc_live();
    for (size_t n = 0; n < 70u << 20; n = 3 * n + 1) {
        unsigned char *p = bitnet_alloc_pages(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (2u << 20), 0);
        for (size_t i = 0; i < n; i += 4096) assert_int_equal(p[i], 0);
        if (n) p[0] = p[n - 1] = 1;
        assert_int_equal(bitnet_alloc_live(), before + 1);
        bitnet_free_pages(p, n);
        assert_int_equal(bitnet_alloc_live(), before);
    }
    bitnet_free_pages(NULL, 5);
    assert_null(bitnet_alloc_pages(SIZE_MAX));
    assert_null(bitnet_alloc_pages(SIZE_MAX / 2));
    bitnet_alloc_fail_at(0);
    assert_null(bitnet_alloc_pages(1));
    bitnet_alloc_fail_at(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_zeroed),
        cmocka_unit_test(a_product_that_overflows_gives_nothing),
        cmocka_unit_test(no_bytes_are_still_a_place),
        cmocka_unit_test(aligned_memory_begins_at_a_multiple_of_64_and_is_zero),
        cmocka_unit_test(the_live_count_returns_to_where_it_was),
        cmocka_unit_test(the_chosen_allocation_fails_once),
        cmocka_unit_test(a_failed_realloc_leaves_the_old_block),
        cmocka_unit_test(an_array_grows_to_its_ceiling_and_not_beyond),
        cmocka_unit_test(an_array_that_cannot_grow_stays_as_it_was),
        cmocka_unit_test(large_blocks_begin_at_2_mib_are_zero_and_can_be_written_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
