/* Ranges, journals and who wrote them. */
#include "cm.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hash.h"
#include "journal.h"

TEST(ranges_merge_and_holes_are_found)
{
    struct hub_ranges r = {0};
    struct hub_range gap;
    assert_true(hub_ranges_gap(&r, 0, 10, &gap) && gap.begin == 0 && gap.end == 10);
    assert_true(hub_ranges_add(&r, 4, 6));
    assert_true(hub_ranges_add(&r, 8, 9));
    assert_int_equal(hub_ranges_prefix(&r), 0);
    assert_true(hub_ranges_gap(&r, 0, 10, &gap) && gap.begin == 0 && gap.end == 4);
    assert_true(hub_ranges_gap(&r, 5, 10, &gap) && gap.begin == 6 && gap.end == 8);
    assert_true(hub_ranges_gap(&r, 8, 10, &gap) && gap.begin == 9 && gap.end == 10);
    assert_true(hub_ranges_add(&r, 0, 4));
    assert_int_equal(hub_ranges_prefix(&r), 6);
    assert_true(hub_ranges_add(&r, 5, 20));
    assert_int_equal(r.n, 1);
    assert_int_equal(hub_ranges_total(&r), 20);
    assert_false(hub_ranges_gap(&r, 0, 20, &gap));
    hub_ranges_clear(&r);
}

TEST(ranges_agree_with_a_table_of_bytes)
{
    for (uint32_t seed = 1; seed <= 50; seed++) {
        uint8_t there[64] = {0};
        struct hub_ranges r = {0};
        uint32_t x = seed * 2654435761u;
        for (int i = 0; i < 12; i++) {
            x = x * 1664525u + 1013904223u;
            unsigned begin = x >> 26, n = (x >> 16) % 9;
            if (begin + n > 64) n = 64 - begin;
            assert_true(hub_ranges_add(&r, begin, begin + n));
            memset(there + begin, 1, n);
            unsigned total = 0, prefix = 0;
            for (unsigned k = 0; k < 64; k++) total += there[k];
            while (prefix < 64 && there[prefix]) prefix++;
            assert_int_equal(hub_ranges_total(&r), total);
            assert_int_equal(hub_ranges_prefix(&r), prefix);
            for (size_t k = 0; k + 1 < r.n; k++) assert_true(r.at[k].end < r.at[k + 1].begin);
        }
        hub_ranges_clear(&r);
    }
}

static void write_journal(struct bitnet_buf *text)
{
    struct hub_journal j = {
        .etag = "0123456789012345678901234567890123456789", .size = 1000, .device = 3, .inode = 9};
    hub_owner_self(&j.owner);
    *text = (struct bitnet_buf){.max = 10000};
    hub_journal_head(text, &j);
    hub_journal_range(text, 0, 100);
    hub_journal_range(text, 100, 300);
    hub_journal_range(text, 500, 600);
    hub_journal_synced(text, 2);
}

TEST(a_journal_comes_back_as_it_was_written)
{
    struct bitnet_buf text;
    struct hub_journal j;
    write_journal(&text);
    assert_true(hub_journal_parse(&j, (struct bitnet_str){text.at, text.n}));
    assert_int_equal(j.size, 1000);
    assert_int_equal(j.inode, 9);
    assert_int_equal(hub_ranges_total(&j.written), 400);
    assert_int_equal(hub_ranges_total(&j.synced), 300); /* the third came after the sync */
    assert_true(hub_journal_is_alive(&j));
    assert_true(hub_owner_same_boot(&j.owner) || !j.owner.boot[0]);
    hub_journal_clear(&j);
    hub_journal_released(&text);
    assert_true(hub_journal_parse(&j, (struct bitnet_str){text.at, text.n}));
    assert_false(hub_journal_is_alive(&j));
    hub_journal_clear(&j);
    bitnet_buf_free(&text);
}

TEST(a_journal_cut_or_changed_anywhere_never_promises_more)
{
    struct bitnet_buf text;
    write_journal(&text);
    for (size_t n = 0; n < text.n; n++) {
        struct hub_journal j;
        if (hub_journal_parse(&j, (struct bitnet_str){text.at, n})) {
            assert_true(hub_ranges_total(&j.written) <= 400);
            assert_true(hub_ranges_total(&j.synced) <= 300);
        }
        hub_journal_clear(&j);
        text.at[n] ^= 4;
        if (hub_journal_parse(&j, (struct bitnet_str){text.at, text.n}))
            assert_true(hub_ranges_total(&j.written) <= 400);
        hub_journal_clear(&j);
        text.at[n] ^= 4;
    }
    bitnet_buf_free(&text);
}

TEST(a_dead_process_is_known_to_be_dead)
{
    struct hub_owner owner;
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    int pid = fork();
    if (pid == 0) {
        hub_owner_self(&owner);
        _exit(write(channel[1], &owner, sizeof owner) == (ssize_t)sizeof owner ? 0 : 1);
    }
    assert_int_equal(read(channel[0], &owner, sizeof owner), sizeof owner);
    waitpid(pid, NULL, 0);
    assert_false(hub_owner_lives(&owner));
    hub_owner_self(&owner);
    assert_true(hub_owner_lives(&owner));
    owner.started++; /* the same number, another process */
    assert_false(hub_owner_lives(&owner));
    owner.started--;
    memcpy(owner.host, "elsewhere", 10);
    assert_true(hub_owner_lives(&owner));
    close(channel[0]);
    close(channel[1]);
}

static void assert_hash(const char *etag, const char *text, const char *want)
{
    struct hub_hash hash = {0};
    char hex[HUB_HEX_MAX];
    assert_true(hub_hash_begin(&hash, etag, strlen(text)));
    assert_true(hub_hash_add(&hash, text, strlen(text)));
    assert_true(hub_hash_finish(&hash, hex));
    assert_string_equal(hex, want);
}

TEST(hashes_are_those_of_git_and_of_the_standard)
{
    static const char git[] = "0000000000000000000000000000000000000000";
    static const char sha[] = "0000000000000000000000000000000000000000000000000000000000000000";
    assert_hash(git, "", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_hash(git, "Hello, World!", "b45ef6fec89518d314f546fd6c3025367b721684");
    assert_hash(sha, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_hash(sha, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_merge_and_holes_are_found),
        cmocka_unit_test(ranges_agree_with_a_table_of_bytes),
        cmocka_unit_test(a_journal_comes_back_as_it_was_written),
        cmocka_unit_test(a_journal_cut_or_changed_anywhere_never_promises_more),
        cmocka_unit_test(a_dead_process_is_known_to_be_dead),
        cmocka_unit_test(hashes_are_those_of_git_and_of_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
