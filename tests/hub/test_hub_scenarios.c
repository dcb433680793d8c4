/* Scenarios of the hub's reference that need more of a stage than one rule of the fake hub: renamed
 * and disabled repositories, clocks that differ, packed listings, links that end in mid-air, names
 * that fall together. Numbers in comments are those of the scenario list; tests/hub/README.md says
 * where each one is. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zstd.h>

#include "cache.h"
#include "disk.h"
#include "lock.h"

/* --- names and rights --- */

/* 7 */
TEST(a_renamed_repository_keeps_the_name_that_was_asked_for)
{
    struct rig *rig = *state;
    char folder[400];
    struct stat st;
    rig->settings.token = "hf_secret";
    fake_hub_set_private(rig->fake, "hf_secret"); /* the token goes along: the origin is the same */
    fake_hub_set_old_name(rig->fake, "org/old");
    snprintf(rig->options.ref.repo, sizeof rig->options.ref.repo, "org/old");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    snprintf(folder, sizeof folder, "%s/models--org--old/snapshots/%s/model.safetensors",
             rig->cache, fake_hub_head(rig->fake));
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_size, RIG_LARGE);
    assert_false(rig_exists(rig, ""));
}

/* 51 */
TEST(a_disabled_repository_ends_with_authorization_and_leaves_nothing)
{
    struct rig *rig = *state;
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){.origin = FAKE_HUB,
                           .action = FAKE_STATUS,
                           .status = 403,
                           .text = "X-Error-Message: Access to this resource is disabled.\r\n"});
    assert_int_equal(rig_pull(rig), BITNET_AUTH);
    assert_text_has(rig->err.text, "disabled by the server");
    assert_text_has(rig->err.text, "'Access to this resource is disabled.'"); /* its own words */
    assert_false(rig_exists(rig, ""));
}

/* 40 */
TEST(a_commit_gone_after_a_forced_push_is_looked_up_among_the_refs)
{
    struct rig *rig = *state;
    static const char gone[] = "{\"sha\":\"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\"}";
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/revision/main",
                                                .action = FAKE_BODY,
                                                .text = gone});
    rig_pull_as_clean(rig);
    /* The listing is still served, the files are not. */
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/revision/main",
                                                .action = FAKE_BODY,
                                                .text = gone});
    fake_hub_rule(rig->fake, (struct fake_rule){
                                 .origin = FAKE_HUB,
                                 .path = "/tree/eeee",
                                 .action = FAKE_BODY,
                                 .text = "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":25,"
                                         "\"oid\":\"0123456789012345678901234567890123456789\"}]"});
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "moved by force");
    assert_int_equal(rig_teardown(&fresh), 0);
    /* The refs say the same: then it is said what may have happened. */
    rig_setup(&fresh);
    rig = fresh;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                .path = "/resolve/",
                                                .action = FAKE_STATUS,
                                                .status = 404,
                                                .text = "X-Error-Code: EntryNotFound\r\n"});
    assert_int_equal(rig_pull(rig), BITNET_NOT_FOUND);
    assert_text_has(rig->err.hint, "forced push");
    assert_false(rig_exists(rig, "refs/main"));
    assert_int_equal(rig_teardown(&fresh), 0);
}

static void move_branch(struct rig *rig, const struct bitnet_hub_event *e)
{
    static const char other[] = "{\"model_type\": \"other, and longer\"}\n";
    if (e->kind != BITNET_HUB_PLANNED) return;
    fake_hub_commit(rig->fake, "cccccccccccccccccccccccccccccccccccccccc");
    fake_hub_put(rig->fake, "config.json", other, sizeof other - 1, false);
}

/* 39 */
TEST(a_branch_that_moves_between_plan_and_fetch_leaves_the_old_commit_whole)
{
    struct rig *rig = *state;
    char old[41], name[200], ref[64] = "";
    snprintf(old, sizeof old, "%s", fake_hub_head(rig->fake));
    rig->watch = move_branch;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_lint(rig, true);
    FILE *f = fopen(rig_file(rig, "refs/main"), "r");
    assert_non_null(f);
    assert_int_equal(fread(ref, 1, sizeof ref - 1, f), 40);
    fclose(f);
    assert_string_equal(ref, old);
    snprintf(name, sizeof name, "snapshots/%s/config.json", old);
    assert_true(rig_exists(rig, name));
    struct fake_request r;
    for (size_t i = 0; fake_hub_request(rig->fake, i, &r); i++)
        if (strstr(r.target, "/resolve/")) assert_text_has(r.target, old);
}

/* 54 */
TEST(hashes_and_commits_that_are_none_never_become_a_path)
{
    struct rig *rig = *state;
#define ENTRY(oid) "[{\"type\":\"file\",\"path\":\"x.json\",\"size\":1,\"oid\":\"" oid "\"}]"
#define LFS(sha)                                                                                   \
    "[{\"type\":\"file\",\"path\":\"x.json\",\"size\":1,\"oid\":"                                  \
    "\"0123456789012345678901234567890123456789\",\"lfs\":{\"oid\":\"" sha "\",\"size\":1}}]"
    static const char *const trees[] = {
        ENTRY("../../../../../../tmp/x"),
        ENTRY("ABCDEF6789012345678901234567890123456789"),
        ENTRY("012345678901234567890123456789012345678"),
        ENTRY(""),
        LFS("../../x"),
        LFS("0123456789012345678901234567890123456789"),
        LFS("012345678901234567890123456789012345678901234567890123456789012"),
        LFS("ABCDEF6789012345678901234567890123456789012345678901234567890123"),
    };
    static const char *const infos[] = {
        "{\"sha\":\"../../x\"}", "{\"sha\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"sha\":\"\"}", "{\"sha\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"};
    rig->options.all = true;
    for (size_t i = 0; i < COUNT(trees); i++) {
        fake_hub_set_tree(rig->fake, trees[i]);
        if (rig_pull(rig) != BITNET_POLICY) fail_msg("accepted: %s", trees[i]);
        assert_false(rig_exists(rig, ""));
    }
    fake_hub_set_tree(rig->fake, NULL);
    for (size_t i = 0; i < COUNT(infos); i++) {
        fake_hub_clear(rig->fake);
        fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_HUB,
                                                    .path = "/revision/",
                                                    .action = FAKE_BODY,
                                                    .text = infos[i]});
        if (rig_pull(rig) != BITNET_POLICY) fail_msg("accepted: %s", infos[i]);
        assert_text_has(rig->err.text, "as a commit");
        assert_false(rig_exists(rig, ""));
    }
}

static bool is_blind(int root, const char *scratch)
{
    (void)root, (void)scratch;
    return true;
}

/* 57 */
TEST(two_names_that_differ_in_case_only_are_refused_where_they_are_one)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    fake_hub_put(rig->fake, "Notes/read.txt", "1", 1, false);
    fake_hub_put(rig->fake, "notes/READ.txt", "2", 1, false);
    rig->options.all = true;
    io.is_case_blind = is_blind;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_POLICY);
    assert_text_has(rig->err.text, "'Notes/read.txt' and 'notes/READ.txt'");
    assert_text_has(rig->err.hint, "--exclude");
    assert_int_equal(rig->fetched, 0);
    assert_false(rig_exists(rig, "refs/main"));
    assert_int_equal(rig_count(rig, "blobs"), 0);
    assert_int_equal(rig_pull(rig), BITNET_OK); /* this file system tells them apart */
    rig_assert_holds(rig, "Notes/read.txt", "1", 1);
    rig_assert_holds(rig, "notes/READ.txt", "2", 1);
}

/* 91 */
TEST(a_name_of_255_bytes_arrives)
{
    struct rig *rig = *state;
    char name[256], *dot = name + 250;
    memset(name, 'n', sizeof name);
    memcpy(dot, ".json", 6);
    fake_hub_put(rig->fake, name, "{}", 2, false);
    rig->options.all = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    rig_assert_holds(rig, name, "{}", 2);
    rig_lint(rig, true);
}

/* --- listings --- */

/* zstd of one entry, then so many spaces */
static size_t pack_tree(const struct rig *rig, uint64_t spaces, void **out)
{
    static const char blank[1 << 16] = {0};
    char entry[400];
    size_t room = 1 << 20;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    *out = malloc(room);
    ZSTD_outBuffer to = {*out, room, 0};
    int n = snprintf(entry, sizeof entry,
                     "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":25,\"oid\":\"%s\"}]",
                     fake_hub_etag(rig->fake, "config.json"));
    ZSTD_inBuffer head = {entry, (size_t)n, 0};
    while (head.pos < head.size) ZSTD_compressStream2(c, &to, &head, ZSTD_e_continue);
    for (uint64_t done = 0; done < spaces; done += sizeof blank) {
        ZSTD_inBuffer in = {blank, sizeof blank, 0};
        while (in.pos < in.size) ZSTD_compressStream2(c, &to, &in, ZSTD_e_continue);
    }
    ZSTD_inBuffer nothing = {NULL, 0, 0};
    assert_int_equal(ZSTD_compressStream2(c, &to, &nothing, ZSTD_e_end), 0);
    ZSTD_freeCCtx(c);
    return to.pos;
}

/* 35 */
TEST(a_packed_listing_is_read_and_a_bomb_is_not)
{
    struct rig *rig = *state;
    void *packed;
    size_t n = pack_tree(rig, 0, &packed);
    fake_hub_set_packed_tree(rig->fake, packed, n, "zstd");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_files, 1);
    rig_lint(rig, true);
    fake_hub_set_packed_tree(rig->fake, NULL, 0, NULL);
    free(packed);
    void *fresh;
    rig_setup(&fresh);
    rig = fresh;
    n = pack_tree(rig, (uint64_t)1 << 30, &packed);
    assert_true(n < 200 << 10);
    fake_hub_set_packed_tree(rig->fake, packed, n, "zstd");
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    assert_text_has(rig->err.text, "64 MiB");
    assert_false(rig_exists(rig, ""));
    assert_int_equal(rig_teardown(&fresh), 0);
    free(packed);
}

/* 86 */
TEST(sixty_pages_of_a_thousand_names_are_read_and_a_page_that_fails_is_asked_again)
{
    struct rig *rig = *state;
    char path[64], name[100];
    for (int i = 0; i < 60000; i++) {
        snprintf(path, sizeof path, "many/%05d.txt", i);
        fake_hub_put(rig->fake, path, "x", 1, false);
    }
    fake_hub_set_page(rig->fake, 1000);
    fake_hub_rule(
        rig->fake,
        (struct fake_rule){
            .path = "cursor=40000", .from = 1, .to = 1, .action = FAKE_STATUS, .status = 502});
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/tree/"), 62); /* 61 pages */
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "cursor=40000"), 2);
    snprintf(name, sizeof name, "trees/%s.json", fake_hub_head(rig->fake));
    struct stat st;
    assert_int_equal(stat(rig_file(rig, name), &st), 0);
    assert_true(st.st_size > 60000 * 80);
    rig->options.dry_run = rig->options.all = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(rig->n_requests, 1); /* the stored listing was whole */
    assert_int_equal(rig->n_files, 60002);
}

/* 87 */
TEST(a_listing_too_deep_or_too_large_is_refused)
{
    struct rig *rig = *state;
    static char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 99);
    fake_hub_set_tree(rig->fake, deep);
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    assert_text_has(rig->err.text, "the listing of org/model: ");
    assert_text_has(rig->err.text, "nested deeper than 64");
    assert_false(rig_exists(rig, ""));
    fake_hub_set_tree(rig->fake, NULL);
    size_t n = 65u << 20;
    char *huge = malloc(n);
    memset(huge, ' ', n);
    huge[0] = '[';
    fake_hub_set_packed_tree(rig->fake, huge, n, NULL);
    assert_int_equal(rig_pull(rig), BITNET_POLICY);
    assert_text_has(rig->err.text, "64 MiB");
    assert_false(rig_exists(rig, ""));
    fake_hub_set_packed_tree(rig->fake, NULL, 0, NULL);
    free(huge);
}

/* --- bytes --- */

static int no_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    (void)from_dir, (void)to_dir, (void)to;
    if (strstr(from, ".incomplete")) raise(SIGKILL);
    errno = EIO;
    return -1;
}

/* 31: all bytes are there, only the name is missing */
TEST(a_complete_partial_goes_straight_to_its_hash)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    snprintf(rig->options.ref.file, sizeof rig->options.ref.file, "model.safetensors");
    io.rename = no_rename;
    hub_io = &io;
    int pid = rig_spawn_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(rig_wait_for(pid), 128 + SIGKILL);
    fake_hub_clear(rig->fake);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, /* what asking would be answered */
                                     .action = FAKE_STATUS,
                                     .status = 416,
                                     .text = "Content-Range: bytes */3145728\r\n"});
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 0);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_HUB, "/resolve/"), 0);
}

/* 34 */
TEST(a_compressed_body_that_nothing_announces_is_found_by_its_hash)
{
    struct rig *rig = *state;
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_SWAP});
    assert_int_equal(rig_pull(rig), BITNET_INTEGRITY);
    assert_text_has(rig->err.text, "got ");
    assert_text_has(rig->err.hint, "compressed");
    rig_lint(rig, false);
    assert_true(rig_count(rig, "blobs") <= 1); /* config.json may be there */
    assert_false(rig_exists(rig, "refs/main"));
    assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
}

/* 84 */
TEST(a_mirror_that_says_nothing_about_its_files_is_judged_by_the_listing)
{
    struct rig *rig = *state;
    static char headers[200];
    snprintf(headers, sizeof headers, "%s/cdn/%s", fake_hub_cdn(rig->fake),
             fake_hub_etag(rig->fake, "model.safetensors"));
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_HUB,
                                     .path = "model.safetensors",
                                     .action = FAKE_REDIRECT, /* without a word beside Location */
                                     .text = headers});
    fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_NO_LENGTH});
    rig_pull_as_clean(rig);
}

/* 89 */
TEST(files_of_a_segment_more_or_less_arrive_whole)
{
    static const size_t sizes[] = {(16u << 20) - 1, 16u << 20, (16u << 20) + 1,
                                   (32u << 20) - 1, 32u << 20, (32u << 20) + 1};
    struct rig *rig = *state;
    static uint8_t big[(32u << 20) + 1];
    rig_fill(big, sizeof big, 12);
    char names[COUNT(sizes)][32];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        snprintf(names[i], sizeof names[i], "part-%zu.gguf", i);
        fake_hub_put(rig->fake, names[i], big, sizes[i], true);
    }
    rig->options.include = (const char *const[]){"part-*"};
    rig->options.n_include = 1;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    for (size_t i = 0; i < COUNT(sizes); i++) rig_assert_holds(rig, names[i], big, sizes[i]);
    rig_lint(rig, true);
}

/* --- others at work --- */

static int hold_lock(const struct rig *rig, const char *path)
{
    char folder[600], name[900];
    snprintf(folder, sizeof folder, "%s/.locks/models--org--model", rig->cache);
    assert_int_equal(hub_make_dirs(folder), 0);
    snprintf(name, sizeof name, "%s/%s.lock", folder, fake_hub_etag(rig->fake, path));
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

/* 65: whoever holds the lock finishes the file; we link it and fetch none of it */
TEST(a_file_that_another_finishes_while_we_wait_is_linked_and_not_fetched)
{
    struct rig *rig = *state;
    char blob[200];
    int fd = hold_lock(rig, "model.safetensors");
    int pid = rig_spawn_pull(rig);
    rig_await_wait(rig);
    snprintf(blob, sizeof blob, "hub/models--org--model/blobs/%s",
             fake_hub_etag(rig->fake, "model.safetensors"));
    temp_dir_write(&rig->dir, blob, rig_large, RIG_LARGE);
    assert_int_equal(rig_wait_for(pid), 0); /* the lock is still held: the blob is what counts */
    close(fd);
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), 0);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
}

/* 66 */
TEST(the_lock_of_a_killed_process_is_free_at_once)
{
    struct rig *rig = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    int pid = fork();
    if (pid == 0) {
        hold_lock(rig, "model.safetensors");
        (void)!write(ready[1], "x", 1);
        pause();
        _exit(0);
    }
    char x;
    assert_int_equal(read(ready[0], &x, 1), 1);
    rig->settings.lock_timeout_ms = 300;
    assert_int_equal(rig_pull(rig), BITNET_BUSY);
    kill(pid, SIGKILL);
    rig_wait_for(pid);
    rig_pull_as_clean(rig); /* with the same 300 ms of patience: nobody was waited for */
    assert_int_equal(rig->waits, 0);
    close(ready[0]);
    close(ready[1]);
}

/* 67: the process that holds it is named when it is one of ours */
TEST(who_holds_a_lock_for_too_long_is_named)
{
    struct rig *rig = *state;
    char who[64];
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    int pid = rig_spawn_pull(rig);
    rig_await_bytes(rig, 1 << 20);
    rig->settings.lock_timeout_ms = 300;
    assert_int_equal(rig_pull(rig), BITNET_BUSY);
    snprintf(who, sizeof who, "process %d on ", pid);
    assert_text_has(rig->err.text, who);
    assert_text_has(rig->err.hint, "--lock-timeout");
    kill(pid, SIGKILL);
    rig_wait_for(pid);
}

static const char *lock_to_remove;

static int flock_then_unlink(int fd, int operation)
{
    int result = flock(fd, operation);
    if (result == 0 && lock_to_remove) { /* what a newer filelock does as it lets go */
        unlink(lock_to_remove);
        lock_to_remove = NULL;
    }
    return result;
}

/* 68 */
TEST(a_lock_on_a_file_that_was_removed_meanwhile_does_not_count)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    struct hub_repo repo;
    struct stat mine, named;
    char path[900];
    int fd;
    const char *etag = fake_hub_etag(rig->fake, "model.safetensors");
    close(hold_lock(rig, "model.safetensors"));
    snprintf(path, sizeof path, "%s/.locks/models--org--model/%s.lock", rig->cache, etag);
    assert_int_equal(stat(path, &mine), 0);
    ino_t removed = mine.st_ino;
    int keep = open(path, O_RDWR); /* so that its number is not given out again */
    assert_int_equal(hub_repo_open(&repo, rig->cache, &rig->options.ref, true, NULL), BITNET_OK);
    lock_to_remove = path;
    io.flock = flock_then_unlink;
    hub_io = &io;
    enum hub_lock_result got = hub_lock_try(&repo, etag, &fd);
    hub_io = &hub_io_real;
    assert_int_equal(got, HUB_LOCK_TAKEN);
    assert_int_equal(fstat(fd, &mine), 0);
    assert_int_equal(stat(path, &named), 0);
    assert_int_equal(mine.st_ino, named.st_ino);
    assert_int_not_equal(mine.st_ino, removed);
    hub_lock_release(&fd);
    hub_repo_close(&repo);
    close(keep);
    rig_pull_as_clean(rig);
}

static unsigned steps_left;

static void die_at_zero(void)
{
    if (steps_left-- == 0) raise(SIGKILL);
}

static int counted_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    die_at_zero();
    int result = renameat(from_dir, from, to_dir, to);
    die_at_zero();
    return result;
}

static int counted_symlink(const char *target, int dir, const char *name)
{
    die_at_zero();
    int result = symlinkat(target, dir, name);
    die_at_zero();
    return result;
}

/* 18: before and after every rename and link of a pull */
TEST(killed_at_every_step_of_publishing_the_cache_is_in_order_and_heals)
{
    bool is_over = false;
    for (unsigned step = 0; !is_over; step++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        struct hub_io io = hub_io_real;
        io.rename = counted_rename;
        io.symlink = counted_symlink;
        steps_left = step;
        hub_io = &io;
        int pid = rig_spawn_pull(rig);
        hub_io = &hub_io_real;
        is_over = rig_wait_for(pid) == 0;
        if (is_over) assert_true(step >= 12); /* two blobs, two links, a ref, a listing, stamps */
        rig_lint(rig, false);
        assert_int_equal(rig_pull(rig), BITNET_OK);
        rig_lint(rig, false);
        rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
        assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* --- what is there already --- */

/* 71 */
TEST(a_blob_of_the_right_size_with_wrong_bytes_is_repaired_when_asked_to_look)
{
    struct rig *rig = *state;
    char blob[200];
    rig_pull_as_clean(rig);
    snprintf(blob, sizeof blob, "hub/models--org--model/blobs/%s",
             fake_hub_etag(rig->fake, "config.json"));
    temp_dir_write(&rig->dir, blob, "{\"model_type\": \"bitnot\"}\n", 25);
    rig->options.verify = true;
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "'config.json' was damaged");
    assert_int_equal(rig->fetched, 25);
    rig_pull_as_clean(rig);
    assert_int_equal(rig->fetched, 0);
    rig->options.local_dir = temp_dir_file(&rig->dir, "mine");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    temp_dir_write(&rig->dir, "mine/config.json", "{\"model_type\": \"bitnot\"}\n", 25);
    assert_int_equal(utimensat(AT_FDCWD, temp_dir_file(&rig->dir, "mine/config.json"), old, 0), 0);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_text_has(rig->notices, "'config.json' was damaged");
    assert_int_equal(rig->fetched, 25);
}

/* 75 */
TEST(a_cache_without_links_is_counted_once_and_removed_whole)
{
    struct rig *rig = *state;
    struct bitnet_hub *hub;
    struct bitnet_hub_cache cache;
    struct bitnet_hub_freed freed;
    rig->settings.no_symlinks = true;
    assert_int_equal(rig_pull(rig), BITNET_OK);
    fake_hub_commit(rig->fake, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_int_equal(bitnet_hub_new(&hub, &rig->settings, &rig->err), BITNET_OK);
    assert_int_equal(bitnet_hub_scan(hub, &cache, &rig->err), BITNET_OK);
    assert_int_equal(cache.bytes, 2 * (RIG_LARGE + 25)); /* two snapshots, files of their own */
    bitnet_hub_cache_free(&cache);
    assert_int_equal(bitnet_hub_prune(hub, false, &freed, &rig->err), BITNET_OK);
    assert_int_equal(freed.n_revisions, 1);
    assert_int_equal(freed.bytes, RIG_LARGE + 25);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    bitnet_hub_free(hub);
}

/* 77 */
TEST(a_folder_that_hands_its_group_on_keeps_doing_so)
{
    struct rig *rig = *state;
    struct stat st;
    char name[300];
    const gid_t group = geteuid() == 0 ? 1 : getegid();
    assert_int_equal(mkdir(rig->cache, 0775), 0);
    assert_int_equal(chown(rig->cache, (uid_t)-1, group), 0);
    assert_int_equal(chmod(rig->cache, 02775), 0);
    mode_t old = umask(002);
    rig_pull_as_clean(rig);
    umask(old);
    assert_int_equal(stat(rig_file(rig, "snapshots"), &st), 0);
    assert_true(st.st_mode & S_ISGID);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "model.safetensors"));
    assert_int_equal(stat(rig_file(rig, name), &st), 0);
    assert_int_equal(st.st_gid, group);
    assert_int_equal(st.st_mode & 0777, 0664);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_renamed_repository_keeps_the_name_that_was_asked_for),
        CASE(a_disabled_repository_ends_with_authorization_and_leaves_nothing),
        CASE(a_commit_gone_after_a_forced_push_is_looked_up_among_the_refs),
        CASE(a_branch_that_moves_between_plan_and_fetch_leaves_the_old_commit_whole),
        CASE(hashes_and_commits_that_are_none_never_become_a_path),
        CASE(two_names_that_differ_in_case_only_are_refused_where_they_are_one),
        CASE(a_name_of_255_bytes_arrives),
        CASE(a_packed_listing_is_read_and_a_bomb_is_not),
        CASE(sixty_pages_of_a_thousand_names_are_read_and_a_page_that_fails_is_asked_again),
        CASE(a_listing_too_deep_or_too_large_is_refused),
        CASE(a_complete_partial_goes_straight_to_its_hash),
        CASE(a_compressed_body_that_nothing_announces_is_found_by_its_hash),
        CASE(a_mirror_that_says_nothing_about_its_files_is_judged_by_the_listing),
        CASE(files_of_a_segment_more_or_less_arrive_whole),
        CASE(a_file_that_another_finishes_while_we_wait_is_linked_and_not_fetched),
        CASE(the_lock_of_a_killed_process_is_free_at_once),
        CASE(who_holds_a_lock_for_too_long_is_named),
        CASE(a_lock_on_a_file_that_was_removed_meanwhile_does_not_count),
        cmocka_unit_test(killed_at_every_step_of_publishing_the_cache_is_in_order_and_heals),
        CASE(a_blob_of_the_right_size_with_wrong_bytes_is_repaired_when_asked_to_look),
        CASE(a_cache_without_links_is_counted_once_and_removed_whole),
        CASE(a_folder_that_hands_its_group_on_keeps_doing_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
