/* The bag of memory: aligned, zeroed, disjoint, gone at once, honest when memory ends. */
#include "cm.h"

#include "bitnet/alloc.h"
#include "bitnet/arena.h"

TEST(pieces_are_aligned_zeroed_and_do_not_touch)
{
    enum { N = 5000 };
    static unsigned char *pieces[N];
    struct bitnet_arena arena = {0};
    for (size_t i = 0; i < N; i++) {
        size_t n = i * 37 % 3000;
        pieces[i] = bitnet_arena_alloc(&arena, n, 1);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % (n > 1024 ? 64 : 16), 0);
        for (size_t k = 0; k < n; k++) assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)(i & 0xff), n);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < i * 37 % 3000; k += 13) assert_int_equal(pieces[i][k], i & 0xff);
    bitnet_arena_free(&arena);
}

TEST(a_large_piece_does_not_waste_the_block_in_use)
{
    struct bitnet_arena arena = {0};
    char *a = bitnet_arena_alloc(&arena, 16, 1);
    assert_non_null(bitnet_arena_alloc(&arena, 10 << 20, 1));
    char *b = bitnet_arena_alloc(&arena, 16, 1);
    assert_ptr_equal(b, a + 16);
    assert_int_equal(arena.used_bytes, 32 + (10 << 20));
    bitnet_arena_free(&arena);
}

TEST(many_small_pieces_need_few_blocks)
{
    struct bitnet_arena arena = {0};
    bitnet_alloc_fail_at(-1);
    for (size_t i = 0; i < 1000000; i++) assert_non_null(bitnet_arena_alloc(&arena, 80, 1));
    assert_true(bitnet_alloc_count() < 40);
    bitnet_arena_free(&arena);
}

TEST(a_freed_arena_is_empty_and_usable_again)
{
    long before = bitnet_alloc_live();
    struct bitnet_arena arena = {0};
    bitnet_arena_free(&arena);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 100; i++) assert_non_null(bitnet_arena_alloc(&arena, i, 100));
        bitnet_arena_free(&arena);
        assert_int_equal(arena.used_bytes, 0);
        assert_int_equal(bitnet_alloc_live(), before);
    }
}

TEST(an_impossible_size_is_refused)
{
    struct bitnet_arena arena = {0};
    assert_null(bitnet_arena_alloc(&arena, SIZE_MAX, 2));
    assert_null(bitnet_arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(bitnet_arena_alloc(&arena, SIZE_MAX - 100, 1));
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(bitnet_arena_alloc(&arena, 1, 1));
    bitnet_arena_free(&arena);
}

TEST(a_copy_keeps_its_bytes_and_ends_with_nul)
{
    struct bitnet_arena arena = {0};
    struct bitnet_str copy = bitnet_arena_copy(&arena, (struct bitnet_str){"a\0b", 3});
    assert_int_equal(copy.n, 3);
    assert_memory_equal(copy.at, "a\0b", 4);
    struct bitnet_str nothing = bitnet_arena_copy(&arena, (struct bitnet_str){NULL, 0});
    assert_non_null(nothing.at);
    assert_int_equal(nothing.at[0], 0);
    assert_null(bitnet_arena_copy(&arena, (struct bitnet_str){"", SIZE_MAX}).at);
    bitnet_arena_free(&arena);
}

TEST(when_memory_ends_what_was_given_stays_valid)
{
    long before = bitnet_alloc_live();
    for (long k = 0; k < 6; k++) {
        struct bitnet_arena arena = {0};
        size_t n_given = 0;
        char *last = NULL;
        bitnet_alloc_fail_at(k);
        for (size_t i = 0; i < 2000; i++) {
            char *p = bitnet_arena_alloc(&arena, 100, 1);
            if (!p) break;
            memset(p, 1, 100);
            last = p;
            n_given++;
        }
        assert_int_equal(n_given == 0, k == 0);
        assert_true(n_given < 2000);
        bitnet_alloc_fail_at(-1);
        if (last) assert_int_equal(last[99], 1);
        assert_non_null(bitnet_arena_alloc(&arena, 100, 1)); /* and it can go on */
        bitnet_arena_free(&arena);
        assert_int_equal(bitnet_alloc_live(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_zeroed_and_do_not_touch),
        cmocka_unit_test(a_large_piece_does_not_waste_the_block_in_use),
        cmocka_unit_test(many_small_pieces_need_few_blocks),
        cmocka_unit_test(a_freed_arena_is_empty_and_usable_again),
        cmocka_unit_test(an_impossible_size_is_refused),
        cmocka_unit_test(a_copy_keeps_its_bytes_and_ends_with_nul),
        cmocka_unit_test(when_memory_ends_what_was_given_stays_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
