/* The table: everything put in is found, nothing else is, and a failed growth loses nothing. */
#include "cm.h"

#include <stdio.h>

#include "bitnet/alloc.h"
#include "bitnet/text.h"

static struct bitnet_str key_of(char out[16], unsigned i)
{
    return (struct bitnet_str){out, (size_t)snprintf(out, 16, "key %u", i)};
}

TEST(a_hundred_thousand_keys_are_found_and_others_are_not)
{
    enum { N = 100000 };
    static char names[N][16];
    struct bitnet_map map = {0};
    uint32_t value;
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(bitnet_map_put(&map, key_of(names[i], i), i, NULL), BITNET_MAP_NEW);
    assert_int_equal(map.n, N);
    for (unsigned i = 0; i < N; i++) {
        assert_true(bitnet_map_get(&map, key_of(names[i], i), &value));
        assert_int_equal(value, i);
    }
    char other[16];
    for (unsigned i = N; i < 2 * N; i++)
        assert_false(bitnet_map_get(&map, key_of(other, i), &value));
    bitnet_map_free(&map);
    assert_false(bitnet_map_get(&map, BITNET_STR("key 1"), &value));
}

TEST(a_key_that_is_there_keeps_its_value)
{
    struct bitnet_map map = {0};
    uint32_t old = 0, value = 0;
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("a"), 1, &old), BITNET_MAP_NEW);
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("a"), 2, &old), BITNET_MAP_EXISTS);
    assert_int_equal(old, 1);
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("a"), 2, NULL), BITNET_MAP_EXISTS);
    assert_true(bitnet_map_get(&map, BITNET_STR("a"), &value));
    assert_int_equal(value, 1);
    bitnet_map_free(&map);
}

TEST(the_empty_key_and_keys_with_nul_are_keys)
{
    struct bitnet_map map = {0};
    uint32_t value;
    assert_int_equal(bitnet_map_put(&map, (struct bitnet_str){NULL, 0}, 7, NULL), BITNET_MAP_NEW);
    assert_int_equal(bitnet_map_put(&map, BITNET_STR(""), 8, NULL), BITNET_MAP_EXISTS);
    assert_int_equal(bitnet_map_put(&map, (struct bitnet_str){"\0", 1}, 9, NULL), BITNET_MAP_NEW);
    assert_int_equal(bitnet_map_put(&map, (struct bitnet_str){"\0\0", 2}, 10, NULL),
                     BITNET_MAP_NEW);
    assert_true(bitnet_map_get(&map, (struct bitnet_str){NULL, 0}, &value));
    assert_int_equal(value, 7);
    assert_true(bitnet_map_get(&map, (struct bitnet_str){"\0", 1}, &value));
    assert_int_equal(value, 9);
    bitnet_map_free(&map);
}

TEST(without_memory_the_map_keeps_what_it_has)
{
    long before = bitnet_alloc_live();
    char names[13][16];
    struct bitnet_map map = {0};
    uint32_t value;
    bitnet_alloc_fail_at(0);
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("x"), 1, NULL), BITNET_MAP_MEMORY);
    bitnet_alloc_fail_at(-1);
    unsigned n = 0;
    while (map.n < map.cap / 4 * 3 || map.cap == 0) {
        bitnet_map_put(&map, key_of(names[n], n), n, NULL);
        n++;
    }
    bitnet_alloc_fail_at(0);
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("one more"), 1, NULL), BITNET_MAP_MEMORY);
    bitnet_alloc_fail_at(-1);
    for (unsigned i = 0; i < n; i++) assert_true(bitnet_map_get(&map, key_of(names[i], i), &value));
    assert_int_equal(bitnet_map_put(&map, BITNET_STR("one more"), 1, NULL), BITNET_MAP_NEW);
    bitnet_map_free(&map);
    assert_int_equal(bitnet_alloc_live(), before);
}

/* Whatever the key, a change of one bit must move about half of the bits of the hash. */
TEST(one_changed_bit_changes_half_of_the_hash)
{
    double sum = 0;
    int n = 0;
    for (size_t length = 1; length <= 24; length++) {
        char text[24] = "";
        uint64_t base = bitnet_hash((struct bitnet_str){text, length});
        for (size_t bit = 0; bit < 8 * length; bit++) {
            text[bit / 8] ^= (char)(1 << bit % 8);
            uint64_t h = bitnet_hash((struct bitnet_str){text, length});
            text[bit / 8] ^= (char)(1 << bit % 8);
            int changed = __builtin_popcountll(h ^ base);
            assert_true(changed > 8);
            sum += changed;
            n++;
        }
    }
    assert_true(sum / n > 31 && sum / n < 33);
}

TEST(the_hash_sees_the_length)
{
    static const char zeros[32] = "";
    for (size_t n = 0; n < 31; n++)
        assert_true(bitnet_hash((struct bitnet_str){zeros, n}) !=
                    bitnet_hash((struct bitnet_str){zeros, n + 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_keys_are_found_and_others_are_not),
        cmocka_unit_test(a_key_that_is_there_keeps_its_value),
        cmocka_unit_test(the_empty_key_and_keys_with_nul_are_keys),
        cmocka_unit_test(without_memory_the_map_keeps_what_it_has),
        cmocka_unit_test(one_changed_bit_changes_half_of_the_hash),
        cmocka_unit_test(the_hash_sees_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
