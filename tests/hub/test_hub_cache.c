/* What the cache commands see, and what they remove. Numbers in comments are those of the scenario
 * list in the hub's reference. */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct bitnet_hub *open_hub(struct rig *rig)
{
    struct bitnet_hub *hub = NULL;
    assert_int_equal(bitnet_hub_new(&hub, &rig->settings, &rig->err), BITNET_OK);
    return hub;
}

static void pull(struct rig *rig)
{
    enum bitnet_status status = rig_pull(rig);
    if (status) fail_msg("%s", rig->err.text);
}

/* Two commits that share the large file. */
static void pull_two_commits(struct rig *rig)
{
    static const char other[] = "{\"model_type\": \"other\"}\n";
    pull(rig);
    fake_hub_commit(rig->fake, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    fake_hub_put(rig->fake, "config.json", other, sizeof other - 1, false);
    pull(rig);
}

struct findings {
    unsigned n[5];
    char last[256];
};

static bool count(void *user, const struct bitnet_hub_finding *f)
{
    struct findings *all = user;
    all->n[f->kind]++;
    if (f->kind >= BITNET_HUB_FINDING_DAMAGED) snprintf(all->last, sizeof all->last, "%s", f->file);
    return true;
}

static enum bitnet_status verify(struct rig *rig, struct bitnet_hub_verify_options options,
                                 struct findings *f)
{
    struct bitnet_hub *hub = open_hub(rig);
    *f = (struct findings){0};
    options.finding = count;
    options.user = f;
    enum bitnet_status status = bitnet_hub_verify(hub, &rig->options.ref, &options, &rig->err);
    bitnet_hub_free(hub);
    return status;
}

#define PLAIN  ((struct bitnet_hub_verify_options){0})
#define REHASH ((struct bitnet_hub_verify_options){.rehash = true})
#define REPAIR ((struct bitnet_hub_verify_options){.rehash = true, .remove_damaged = true})

TEST(a_scan_counts_shared_blobs_once)
{
    struct rig *rig = *state;
    struct bitnet_hub_cache cache;
    pull_two_commits(rig);
    struct bitnet_hub *hub = open_hub(rig);
    assert_int_equal(bitnet_hub_scan(hub, &cache, &rig->err), BITNET_OK);
    assert_int_equal(cache.n_repos, 1);
    const struct bitnet_hub_cached_repo *r = &cache.repos[0];
    assert_string_equal(r->repo, "org/model");
    assert_int_equal(r->n_revisions, 2);
    assert_int_equal(r->bytes, RIG_LARGE + 25 + 24);
    assert_null(r->problem);
    assert_int_equal(r->revisions[0].n_refs, 0);
    assert_int_equal(r->revisions[1].n_refs, 1);
    assert_string_equal(r->revisions[1].refs[0], "main");
    bitnet_hub_cache_free(&cache);
    bitnet_hub_free(hub);
}

TEST(a_scan_of_nothing_is_empty_and_of_a_broken_cache_says_why)
{
    struct rig *rig = *state;
    struct bitnet_hub_cache cache;
    struct bitnet_hub *hub = open_hub(rig);
    char name[300];
    assert_int_equal(bitnet_hub_scan(hub, &cache, &rig->err), BITNET_OK);
    assert_int_equal(cache.n_repos, 0);
    bitnet_hub_cache_free(&cache);
    pull(rig);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "config.json"));
    assert_int_equal(unlink(rig_file(rig, name)), 0);
    assert_int_equal(bitnet_hub_scan(hub, &cache, &rig->err), BITNET_OK);
    assert_text_has(cache.repos[0].problem, "no blob");
    bitnet_hub_cache_free(&cache);
    bitnet_hub_free(hub);
}

static void damage(struct rig *rig, const char *path);

/* 72, 73 */
TEST(verify_reads_blobs_once_and_then_believes_its_stamps)
{
    struct rig *rig = *state;
    struct findings f;
    pull(rig);
    assert_int_equal(verify(rig, PLAIN, &f), BITNET_OK);
    assert_int_equal(f.n[BITNET_HUB_FINDING_STAMPED], 2); /* hashed while they arrived */
    assert_int_equal(verify(rig, REHASH, &f), BITNET_OK);
    assert_int_equal(f.n[BITNET_HUB_FINDING_OK], 2);
    /* That no byte is read shows where a damage without a trace goes unseen until it is. */
    uint64_t before = rig_fingerprint(rig);
    damage(rig, "config.json");
    assert_int_equal(verify(rig, PLAIN, &f), BITNET_OK);
    assert_int_equal(f.n[BITNET_HUB_FINDING_STAMPED], 2);
    assert_int_equal(verify(rig, REHASH, &f), BITNET_INTEGRITY);
    assert_true(rig_fingerprint(rig) == before); /* looking changes nothing */
}

static void damage(struct rig *rig, const char *path)
{
    char name[300];
    struct stat st;
    struct timespec times[2];
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, path));
    int fd = open(rig_file(rig, name), O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pwrite(fd, "!", 1, 5), 1);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    futimens(fd, times); /* the clock shows nothing */
    close(fd);
}

/* 71, 72 */
TEST(a_damaged_blob_is_found_named_and_fetched_again_alone)
{
    struct rig *rig = *state;
    struct findings f;
    pull(rig);
    damage(rig, "config.json");
    assert_int_equal(verify(rig, REHASH, &f), BITNET_INTEGRITY);
    assert_string_equal(f.last, "config.json");
    assert_int_equal(f.n[BITNET_HUB_FINDING_DAMAGED], 1);
    assert_text_has(rig->err.hint, "--repair");
    assert_int_equal(verify(rig, REPAIR, &f), BITNET_INTEGRITY);
    pull(rig);
    assert_int_equal(rig->fetched, 25);
    assert_int_equal(verify(rig, REHASH, &f), BITNET_OK);
    rig_lint(rig, true);
}

TEST(files_never_pulled_and_files_unknown_are_told_apart)
{
    struct rig *rig = *state;
    struct findings f;
    char name[300];
    fake_hub_put(rig->fake, "extra.txt", "x", 1, false);
    pull(rig);
    snprintf(name, sizeof name, "hub/models--org--model/snapshots/%s/mine.txt",
             fake_hub_head(rig->fake));
    temp_dir_write(&rig->dir, name, "mine", 4);
    assert_int_equal(verify(rig, PLAIN, &f), BITNET_OK);
    assert_int_equal(f.n[BITNET_HUB_FINDING_MISSING], 1);
    assert_int_equal(f.n[BITNET_HUB_FINDING_UNKNOWN], 1);
    struct bitnet_hub_verify_options all = {.require_all = true};
    assert_int_equal(verify(rig, all, &f), BITNET_INTEGRITY);
    assert_int_equal(f.n[BITNET_HUB_FINDING_DAMAGED], 0);
    assert_int_equal(bitnet_status_exit_code(BITNET_INTEGRITY), 6);
}

/* 74 */
TEST(prune_removes_what_nothing_refers_to_and_dead_partials)
{
    struct rig *rig = *state;
    struct bitnet_hub_freed dry, freed;
    pull_two_commits(rig);
    fake_hub_commit(rig->fake, "cccccccccccccccccccccccccccccccccccccccc");
    static uint8_t other[RIG_LARGE];
    rig_fill(other, sizeof other, 5);
    fake_hub_put(rig->fake, "model.safetensors", other, sizeof other, true);
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    int pid = rig_spawn_pull(rig);
    rig_await_bytes(rig, 1 << 20);
    struct bitnet_hub *hub = open_hub(rig);
    assert_int_equal(bitnet_hub_prune(hub, true, &dry, &rig->err), BITNET_OK);
    assert_int_equal(dry.n_partials, 0); /* alive */
    assert_int_equal(dry.n_revisions, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(bitnet_hub_prune(hub, true, &dry, &rig->err), BITNET_OK);
    assert_int_equal(bitnet_hub_prune(hub, false, &freed, &rig->err), BITNET_OK);
    assert_memory_equal(&dry, &freed, sizeof dry);
    assert_int_equal(freed.n_partials, 1);
    assert_int_equal(freed.n_revisions,
                     2);                /* the first commit, and the one that was not finished */
    assert_int_equal(freed.n_blobs, 1); /* config.json of the first; the rest is shared */
    assert_true(freed.bytes >= RIG_LARGE + 25 && freed.bytes <= RIG_LARGE + 25 + (64 << 10));
    assert_true(rig_exists(rig, "snapshots/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"));
    assert_false(rig_exists(rig, "snapshots/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    rig_lint(rig, true);
    struct findings f;
    assert_int_equal(verify(rig, REHASH, &f), BITNET_OK);
    assert_int_equal(f.n[BITNET_HUB_FINDING_OK], 2);
    bitnet_hub_free(hub);
}

TEST(temporary_files_of_the_dead_go_after_a_day)
{
    struct rig *rig = *state;
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    pull(rig);
    temp_dir_write(&rig->dir, "hub/models--org--model/.bitnet-hub/tmp/00000001", "x", 1);
    temp_dir_write(&rig->dir, "hub/models--org--model/.bitnet-hub/tmp/00000002", "x", 1);
    assert_int_equal(utimensat(AT_FDCWD, rig_file(rig, ".bitnet-hub/tmp/00000001"), old, 0), 0);
    pull(rig);
    assert_false(rig_exists(rig, ".bitnet-hub/tmp/00000001"));
    assert_true(rig_exists(rig, ".bitnet-hub/tmp/00000002")); /* somebody may be writing it */
}

TEST(removing_a_revision_leaves_what_another_one_uses)
{
    struct rig *rig = *state;
    struct bitnet_hub_freed dry, freed;
    pull_two_commits(rig);
    struct bitnet_hub *hub = open_hub(rig);
    assert_int_equal(bitnet_hub_remove(hub, &rig->options.ref, true, true, &dry, &rig->err),
                     BITNET_OK);
    assert_int_equal(bitnet_hub_remove(hub, &rig->options.ref, true, false, &freed, &rig->err),
                     BITNET_OK);
    assert_memory_equal(&dry, &freed, sizeof dry);
    assert_int_equal(freed.bytes, 24);
    assert_int_equal(freed.n_blobs, 1);
    assert_false(rig_exists(rig, "refs/main"));
    rig_lint(rig, true);
    assert_int_equal(rig_count(rig, "blobs"), 2);
    assert_int_equal(bitnet_hub_remove(hub, &rig->options.ref, false, false, &freed, &rig->err),
                     BITNET_OK);
    assert_int_equal(freed.bytes, RIG_LARGE + 25);
    assert_false(rig_exists(rig, ""));
    assert_int_equal(bitnet_hub_remove(hub, &rig->options.ref, false, false, &freed, &rig->err),
                     BITNET_NOT_FOUND);
    bitnet_hub_free(hub);
}

TEST(a_link_planted_in_a_snapshot_is_removed_and_not_followed)
{
    struct rig *rig = *state;
    struct bitnet_hub_freed freed;
    char name[300];
    struct stat st;
    pull(rig);
    assert_int_equal(mkdir(temp_dir_file(&rig->dir, "outside"), 0755), 0);
    temp_dir_write(&rig->dir, "outside/precious", "x", 1);
    snprintf(name, sizeof name, "snapshots/%s/trap", fake_hub_head(rig->fake));
    assert_int_equal(symlink(temp_dir_file(&rig->dir, "outside"), rig_file(rig, name)), 0);
    struct bitnet_hub *hub = open_hub(rig);
    assert_int_equal(bitnet_hub_remove(hub, &rig->options.ref, false, false, &freed, &rig->err),
                     BITNET_OK);
    assert_int_equal(stat(temp_dir_file(&rig->dir, "outside/precious"), &st), 0);
    bitnet_hub_free(hub);
}

TEST(a_path_is_found_without_a_network)
{
    struct rig *rig = *state;
    struct bitnet_arena arena = {0};
    const char *path;
    char want[400];
    pull(rig);
    struct bitnet_hub *hub = open_hub(rig);
    fake_hub_clear(rig->fake);
    struct bitnet_hub_ref ref = rig->options.ref;
    assert_int_equal(bitnet_hub_path(hub, &ref, &arena, &path, &rig->err), BITNET_OK);
    snprintf(want, sizeof want, "%s/models--org--model/snapshots/%s", rig->cache,
             fake_hub_head(rig->fake));
    assert_string_equal(path, want);
    snprintf(ref.file, sizeof ref.file, "config.json");
    assert_int_equal(bitnet_hub_path(hub, &ref, &arena, &path, &rig->err), BITNET_OK);
    assert_text_has(path, "/config.json");
    snprintf(ref.file, sizeof ref.file, "absent.json");
    assert_int_equal(bitnet_hub_path(hub, &ref, &arena, &path, &rig->err), BITNET_NOT_FOUND);
    assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_ANY, NULL), 0);
    bitnet_arena_free(&arena);
    bitnet_hub_free(hub);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_scan_counts_shared_blobs_once),
        CASE(a_scan_of_nothing_is_empty_and_of_a_broken_cache_says_why),
        CASE(verify_reads_blobs_once_and_then_believes_its_stamps),
        CASE(a_damaged_blob_is_found_named_and_fetched_again_alone),
        CASE(files_never_pulled_and_files_unknown_are_told_apart),
        CASE(prune_removes_what_nothing_refers_to_and_dead_partials),
        CASE(temporary_files_of_the_dead_go_after_a_day),
        CASE(removing_a_revision_leaves_what_another_one_uses),
        CASE(a_link_planted_in_a_snapshot_is_removed_and_not_followed),
        CASE(a_path_is_found_without_a_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
