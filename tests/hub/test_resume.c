/* Interruptions, several pulls at once, locks that lie, disks that fill: nothing is lost that need
 * not be, and the cache is right in the end. Numbers in comments are those of the scenario list in
 * the hub's reference. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bitnet/alloc.h>

#include "disk.h"
#include "partial.h"
#include "transport.h"

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

struct visit {
    struct hub_partial_place place;
    void (*change)(const struct hub_partial_place *place, const struct hub_partial_found *found);
    unsigned n;
};

static void visit_one(void *user, const struct hub_partial_found *found)
{
    struct visit *v = user;
    if (!found->is_ours) return;
    v->n++;
    if (v->change) v->change(&v->place, found);
}

/* Counts our partials, and changes each of them. */
static unsigned each_partial(const struct rig *rig,
                             void (*change)(const struct hub_partial_place *place,
                                            const struct hub_partial_found *found))
{
    struct hub_repo repo;
    struct bitnet_hub_ref ref = {.repo = "org/model", .revision = "main"};
    assert_int_equal(hub_repo_open(&repo, rig->cache, &ref, false, NULL), BITNET_OK);
    struct visit v = {.place = {.dir = repo.dir, .data = "blobs", .journal = ".bitnet-hub/partial"},
                      .change = change};
    hub_partial_each(&v.place, visit_one, &v);
    hub_repo_close(&repo);
    return v.n;
}

/* A pull that the server holds at half of the large file, a megabyte of which the journal knows. */
static int spawn_held_pull(struct rig *rig)
{
    fake_hub_rule(rig->fake,
                  (struct fake_rule){.origin = FAKE_CDN, .action = FAKE_HOLD, .n = RIG_LARGE / 2});
    int pid = rig_spawn_pull(rig);
    rig_await_bytes(rig, 1 << 20);
    rig_await_file(rig, "config.json"); /* one partial, not two */
    return pid;
}

/* What a pull killed there leaves. */
static void leave_partial(struct rig *rig)
{
    int pid = spawn_held_pull(rig);
    kill(pid, SIGKILL);
    assert_int_equal(rig_wait_for(pid), 128 + SIGKILL);
    fake_hub_clear(rig->fake);
    assert_true(each_partial(rig, NULL) > 0);
}

/* 16 */
TEST(a_pull_that_is_stopped_goes_on_where_it_was)
{
    struct rig *rig = *state;
    fake_hub_set_rate(rig->fake, 8 << 20);
    rig->stop_at = RIG_LARGE / 2;
    assert_int_equal(rig_pull(rig), BITNET_CANCELLED);
    assert_text_has(rig->err.hint, "goes on from here");
    uint64_t first = rig->fetched;
    assert_true(first >= RIG_LARGE / 2);
    assert_false(rig_exists(rig, "refs/main"));
    rig->stop_at = 0;
    rig_pull_as_clean(rig);
    assert_true(first + rig->fetched <= RIG_LARGE + 25);
}

/* 17, 18: kill -9 at many points; in all no more than the size and what was in flight */
TEST(a_pull_that_is_killed_again_and_again_fetches_hardly_anything_twice)
{
    struct rig *rig = *state;
    unsigned n_kills = 0;
    fake_hub_set_rate(rig->fake, 4 << 20); /* three quarters of a second in all */
    rig_count_writes(rig);
    for (unsigned i = 0; i < 6; i++) {
        int pid = rig_spawn_pull(rig);
        assert_true(pid > 0);
        sleep_ms(90 + i * 37);
        kill(pid, SIGKILL);
        n_kills += rig_wait_for(pid) == 128 + SIGKILL;
        rig_lint(rig, false);
    }
    rig_pull_as_clean(rig);
    rig_count_writes(NULL);
    /* For every kill: less than a megabyte that the journal had not yet heard of, and one write. */
    assert_true(rig->child->written <= RIG_LARGE + 25 + (uint64_t)n_kills * (3u << 20) / 2);
    assert_int_equal(rig_count(rig, ".bitnet-hub/partial"), 0);
}

/* 17: killed at half, it goes on from what the journal knew: less than a megabyte before that */
TEST(a_pull_killed_at_half_fetches_the_other_half)
{
    struct rig *rig = *state;
    leave_partial(rig);
    rig_pull_as_clean(rig);
    assert_true(rig->fetched <= RIG_LARGE - (1 << 20));
    assert_int_equal(fake_hub_bytes(rig->fake, FAKE_CDN, NULL), rig->fetched);
}

TEST(a_kill_between_any_two_steps_at_the_end_leaves_a_cache_that_heals)
{
    for (unsigned ms = 0; ms < 40; ms += 4) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        int pid = rig_spawn_pull(rig);
        sleep_ms(ms);
        kill(pid, SIGKILL);
        rig_wait_for(pid);
        rig_lint(rig, false);
        assert_int_equal(rig_pull(rig), BITNET_OK);
        rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
        rig_lint(rig, false); /* an empty partial of the dead may be left for prune */
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* --- what a kill leaves --- */

/* 31, 32: a 416 is judged by the size that it tells */
TEST(a_416_on_resume_keeps_what_is_there_when_the_size_is_right)
{
    static const char *const sizes[] = {"Content-Range: bytes */3145728\r\n",
                                        "Content-Range: bytes */77\r\n"};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        leave_partial(rig);
        fake_hub_rule(rig->fake, (struct fake_rule){.origin = FAKE_CDN,
                                                    .from = 1,
                                                    .to = 1,
                                                    .action = FAKE_STATUS,
                                                    .status = 416,
                                                    .text = sizes[i]});
        rig_pull_as_clean(rig);
        assert_int_equal(fake_hub_n_requests(rig->fake, FAKE_CDN, NULL), 2); /* it was asked once */
        if (i == 0)
            assert_true(rig->fetched <= RIG_LARGE - (1 << 20));
        else
            assert_true(rig->fetched >= RIG_LARGE && rig->fetched <= RIG_LARGE + 25);
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

static void flip_a_bit(const struct hub_partial_place *place, const struct hub_partial_found *found)
{
    char path[400];
    uint8_t byte;
    snprintf(path, sizeof path, "blobs/%s", found->name);
    int fd = hub_open_file(place->dir, path, O_RDWR, 0);
    assert_int_equal(pread(fd, &byte, 1, 1000), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 1000), 1);
    close(fd);
}

/* 22 */
TEST(a_bit_flipped_in_the_partial_is_found_and_costs_one_restart)
{
    struct rig *rig = *state;
    leave_partial(rig);
    each_partial(rig, flip_a_bit);
    rig_pull_as_clean(rig);
    assert_text_has(rig->notices, "the hash is wrong");
    /* what was missing, and then all of it, once */
    assert_true(rig->fetched > RIG_LARGE && rig->fetched <= 2 * RIG_LARGE - (1 << 20));
}

static void cut_data(const struct hub_partial_place *place, const struct hub_partial_found *found)
{
    char path[400];
    snprintf(path, sizeof path, "blobs/%s", found->name);
    int fd = hub_open_file(place->dir, path, O_RDWR, 0);
    assert_int_equal(ftruncate(fd, 10), 0);
    close(fd);
}

static void spoil_journal(const struct hub_partial_place *place,
                          const struct hub_partial_found *found)
{
    int fd = hub_open_file(place->dir, found->journal_name, O_RDWR | O_TRUNC, 0);
    assert_int_equal(pwrite(fd, "garbage\n", 8, 0), 8);
    close(fd);
}

static void empty_journal(const struct hub_partial_place *place,
                          const struct hub_partial_found *found)
{
    close(hub_open_file(place->dir, found->journal_name, O_RDWR | O_TRUNC, 0));
}

/* Longer than any journal may be, each line of it right. */
static void swell_journal(const struct hub_partial_place *place,
                          const struct hub_partial_found *found)
{
    static char lines[9 << 20];
    int fd = hub_open_file(place->dir, found->journal_name, O_RDWR, 0);
    ssize_t n = read(fd, lines, 1 << 16), used = n;
    assert_true(n > 0);
    for (; used + n < (ssize_t)sizeof lines; used += n) memcpy(lines + used, lines, (size_t)n);
    assert_int_equal(pwrite(fd, lines, (size_t)used, 0), used);
    close(fd);
}

static void tear_journal(const struct hub_partial_place *place,
                         const struct hub_partial_found *found)
{
    int fd = hub_open_file(place->dir, found->journal_name, O_RDWR | O_APPEND, 0);
    assert_int_equal(write(fd, "+ 0 99999", 9), 9);
    close(fd);
}

/* 20, 21 */
TEST(a_journal_that_cannot_be_right_is_not_believed)
{
    void (*const changes[])(const struct hub_partial_place *, const struct hub_partial_found *) = {
        cut_data, tear_journal, spoil_journal, empty_journal, swell_journal};
    for (size_t i = 0; i < COUNT(changes); i++) {
        void *fresh;
        rig_setup(&fresh);
        struct rig *rig = fresh;
        leave_partial(rig);
        each_partial(rig, changes[i]);
        assert_int_equal(rig_pull(rig), BITNET_OK);
        rig_lint(rig, false);
        rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
        if (changes[i] == tear_journal)
            assert_true(rig->fetched < RIG_LARGE); /* whole lines before count */
        else
            assert_true(rig->fetched >= RIG_LARGE);
        const char *told =
            strstr(rig->notices, "the journal of an interrupted download is damaged");
        assert_true((told != NULL) == (i >= 2));
        assert_int_equal(rig_teardown(&fresh), 0);
    }
}

/* 19 */
TEST(a_partial_of_older_contents_is_not_continued)
{
    struct rig *rig = *state;
    static uint8_t other[RIG_LARGE];
    leave_partial(rig);
    rig_fill(other, sizeof other, 99);
    fake_hub_commit(rig->fake, "dddddddddddddddddddddddddddddddddddddddd");
    fake_hub_put(rig->fake, "model.safetensors", other, sizeof other, true);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    assert_true(rig->fetched >= RIG_LARGE);
    rig_assert_holds(rig, "model.safetensors", other, sizeof other);
    assert_int_equal(each_partial(rig, NULL), 1);
    rig_lint(rig, false);
}

/* --- several at once --- */

static int always_yes(int fd, int operation)
{
    (void)fd, (void)operation;
    return 0;
}

static int no_locks(int fd, int operation)
{
    (void)fd, (void)operation;
    errno = ENOSYS;
    return -1;
}

static void pull_together(struct rig *rig, unsigned n, int (*flock_instead)(int, int))
{
    int pids[8];
    struct hub_io io = hub_io_real;
    if (flock_instead) io.flock = flock_instead;
    hub_io = &io;
    for (unsigned i = 0; i < n; i++) pids[i] = rig_spawn_pull(rig);
    hub_io = &hub_io_real;
    for (unsigned i = 0; i < n; i++) assert_int_equal(rig_wait_for(pids[i]), 0);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
}

/* 62 */
TEST(four_pulls_at_once_fetch_the_file_once)
{
    struct rig *rig = *state;
    fake_hub_set_rate(rig->fake, 16 << 20);
    pull_together(rig, 4, NULL);
    assert_true(fake_hub_bytes(rig->fake, FAKE_CDN, NULL) <= RIG_LARGE + RIG_LARGE / 20);
}

/* 63, 64 */
TEST(locks_that_lie_or_are_missing_cost_traffic_and_nothing_else)
{
    struct rig *rig = *state;
    fake_hub_set_rate(rig->fake, 16 << 20);
    pull_together(rig, 4, always_yes);
    void *fresh;
    rig_setup(&fresh);
    pull_together(fresh, 2, no_locks);
    assert_int_equal(rig_teardown(&fresh), 0);
}

static unsigned n_told;

static void count_lock_words(void *user, enum bitnet_log_level level, const char *text)
{
    (void)user, (void)level;
    n_told += strstr(text, "no locks on this file system") != NULL;
}

/* 64 */
TEST(a_file_system_without_locks_is_mentioned_once)
{
    struct rig *rig = *state;
    const struct bitnet_log log = {.say = count_lock_words};
    struct hub_io io = hub_io_real;
    io.flock = no_locks;
    rig->settings.log = &log;
    n_told = 0;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(n_told, 1); /* for two files */
    rig_lint(rig, true);
}

static int hold_lock(const struct rig *rig)
{
    char folder[600], path[900];
    snprintf(folder, sizeof folder, "%s/.locks/models--org--model", rig->cache);
    assert_int_equal(hub_make_dirs(folder), 0);
    snprintf(path, sizeof path, "%s/%s.lock", folder,
             fake_hub_etag(rig->fake, "model.safetensors"));
    int fd = open(path, O_RDWR | O_CREAT, 0664);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

/* 67 */
TEST(a_lock_held_for_ever_ends_with_busy)
{
    struct rig *rig = *state;
    int fd = hold_lock(rig);
    rig->settings.lock_timeout_ms = 300;
    assert_int_equal(rig_pull(rig), BITNET_BUSY);
    assert_text_has(rig->err.text, "model.safetensors");
    close(fd);
    rig_pull_as_clean(rig);
}

/* 65, 66: whoever held the lock is gone, or finished and took the file along (as filelock does) */
TEST(a_lock_let_go_meanwhile_is_taken)
{
    struct rig *rig = *state;
    int fd = hold_lock(rig);
    int pid = rig_spawn_pull(rig);
    rig_await_wait(rig);
    assert_text_has(rig->child->notices,
                    "'model.safetensors' is being downloaded by another process");
    char path[900];
    snprintf(path, sizeof path, "%s/.locks/models--org--model/%s.lock", rig->cache,
             fake_hub_etag(rig->fake, "model.safetensors"));
    assert_int_equal(unlink(path), 0);
    close(fd);
    assert_int_equal(rig_wait_for(pid), 0);
    rig_lint(rig, true);
}

/* 69 */
static void remove_data(const struct hub_partial_place *place,
                        const struct hub_partial_found *found)
{
    char path[400];
    snprintf(path, sizeof path, "blobs/%s", found->name);
    assert_int_equal(hub_unlink(place->dir, path), 0);
}

TEST(a_partial_pruned_in_flight_is_linked_again_or_restarted)
{
    struct rig *rig = *state;
    int pid = spawn_held_pull(rig);
    assert_int_equal(each_partial(rig, remove_data), 1);
    fake_hub_clear(rig->fake);
    assert_int_equal(rig_wait_for(pid), 0);
    rig_lint(rig, true);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
}

/* --- disks --- */

static uint64_t room;

static ssize_t write_until_full(int fd, const void *bytes, size_t n, off_t at)
{
    if (n > room) {
        errno = ENOSPC;
        return -1;
    }
    room -= n;
    return pwrite(fd, bytes, n, at);
}

/* 59 */
TEST(a_disk_that_fills_up_keeps_what_was_fetched)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    io.pwrite = write_until_full;
    room = 2 << 20;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_IO);
    assert_text_has(rig->err.text, "No space left");
    assert_text_has(rig->err.hint, " MiB more are needed for this file; the same command goes on");
    uint64_t first = rig->fetched;
    assert_true(first > 1 << 20);
    rig_pull_as_clean(rig);
    assert_true(first + rig->fetched <= RIG_LARGE + 25 + (1 << 20));
}

static int little_room(int fd, uint64_t *bytes)
{
    (void)fd;
    *bytes = 1 << 20;
    return 0;
}

/* 58 */
TEST(too_little_space_is_said_before_the_first_byte)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    io.free_bytes = little_room;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_IO);
    assert_text_has(rig->err.text, "67.0 MiB are needed, 1.0 MiB are free at ");
    assert_text_has(rig->err.text, rig->cache);
    assert_int_equal(rig->fetched, 0);
    assert_int_equal(rig_count(rig, "blobs"), 0);
    assert_false(rig_exists(rig, "refs/main"));
}

/* On a disk with no room for a second copy the old partial gives its blocks away piece by piece. */
TEST(a_partial_is_taken_over_on_a_nearly_full_disk)
{
    struct rig *rig = *state;
    leave_partial(rig);
    struct hub_io io = hub_io_real;
    io.free_bytes = little_room;
    struct hub_repo repo;
    struct bitnet_hub_ref ref = {.repo = "org/model", .revision = "main"};
    struct hub_partial partial;
    struct hub_ranges have = {0};
    assert_int_equal(hub_repo_open(&repo, rig->cache, &ref, false, NULL), BITNET_OK);
    struct hub_partial_place place = {
        .dir = repo.dir, .data = "blobs", .journal = ".bitnet-hub/partial"};
    hub_io = &io;
    assert_int_equal(hub_partial_open(&partial, &place,
                                      fake_hub_etag(rig->fake, "model.safetensors"), RIG_LARGE,
                                      &have, &rig->err),
                     BITNET_OK);
    hub_io = &hub_io_real;
    assert_true(hub_ranges_total(&have) > 0);
    assert_int_equal(each_partial(rig, NULL), 1);
    hub_partial_close(&partial);
    hub_ranges_clear(&have);
    hub_repo_close(&repo);
    rig_pull_as_clean(rig);
    assert_true(rig->fetched < RIG_LARGE);
}

static int no_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

TEST(a_sync_that_fails_publishes_nothing)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    io.fsync = no_sync;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_IO);
    assert_false(rig_exists(rig, "refs/main"));
    rig_lint(rig, false);
    rig_pull_as_clean(rig);
}

static int no_links(const char *target, int dir, const char *name)
{
    (void)target, (void)dir, (void)name;
    errno = EPERM;
    return -1;
}

TEST(a_file_system_without_links_gets_copies)
{
    struct rig *rig = *state;
    struct hub_io io = hub_io_real;
    io.symlink = no_links;
    hub_io = &io;
    enum bitnet_status status = rig_pull(rig);
    hub_io = &hub_io_real;
    assert_int_equal(status, BITNET_OK);
    rig_assert_holds(rig, "model.safetensors", rig_large, RIG_LARGE);
    rig_lint(rig, true);
}

/* In a child: as nobody when we are root, whom no mode stops. */
static int pull_as_nobody(struct rig *rig)
{
    int pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(99);
        enum bitnet_status status = rig_pull(rig);
        _exit(bitnet_status_exit_code(status));
    }
    return rig_wait_for(pid);
}

/* 60, 61 */
TEST(a_read_only_cache_is_good_enough_when_all_is_there)
{
    struct rig *rig = *state;
    char name[300];
    mode_t old = umask(022); /* nobody may read what we have fetched */
    rig_pull_as_clean(rig);
    umask(old);
    assert_int_equal(chmod(rig->dir.path, 0755), 0);
    assert_int_equal(chmod(rig_file(rig, ""), 0555), 0);
    assert_int_equal(chmod(rig_file(rig, "blobs"), 0555), 0);
    assert_int_equal(chmod(rig_file(rig, "snapshots"), 0555), 0);
    snprintf(name, sizeof name, "snapshots/%s", fake_hub_head(rig->fake));
    assert_int_equal(chmod(rig_file(rig, name), 0555), 0);
    uint64_t before = rig_fingerprint(rig);
    assert_int_equal(pull_as_nobody(rig), 0);
    assert_true(rig_fingerprint(rig) == before);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "config.json"));
    assert_int_equal(chmod(rig_file(rig, "blobs"), 0755), 0);
    assert_int_equal(unlink(rig_file(rig, name)), 0);
    assert_int_equal(chmod(rig_file(rig, "blobs"), 0555), 0);
    before = rig_fingerprint(rig);
    assert_int_equal(pull_as_nobody(rig), 7);
    assert_true(rig_fingerprint(rig) == before);
    assert_int_equal(chmod(rig_file(rig, ""), 0755), 0);
    assert_int_equal(chmod(rig_file(rig, "blobs"), 0755), 0);
    assert_int_equal(chmod(rig_file(rig, "snapshots"), 0755), 0);
    snprintf(name, sizeof name, "snapshots/%s", fake_hub_head(rig->fake));
    assert_int_equal(chmod(rig_file(rig, name), 0755), 0);
    rig_pull_as_clean(rig);
}

/* 77 */
TEST(modes_follow_the_umask)
{
    struct rig *rig = *state;
    struct stat st;
    char name[300];
    mode_t old = umask(002);
    assert_int_equal(rig_pull(rig), BITNET_OK);
    umask(old);
    snprintf(name, sizeof name, "blobs/%s", fake_hub_etag(rig->fake, "model.safetensors"));
    assert_int_equal(stat(rig_file(rig, name), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0664);
}

/* 95 */
TEST(few_file_descriptors_are_enough)
{
    struct rig *rig = *state;
    static char bodies[100][12];
    for (int i = 0; i < 100; i++) {
        char path[64];
        snprintf(path, sizeof path, "s/%03d.json", i);
        snprintf(bodies[i], sizeof bodies[i], "%d", i);
        fake_hub_put(rig->fake, path, bodies[i], strlen(bodies[i]), false);
    }
    rig->options.all = true;
    int pid = fork();
    if (pid == 0) {
        for (int fd = 3; fd < 64; fd++) close(fd); /* the fake hub's, which lives in the parent */
        struct rlimit limit = {64, 64};
        setrlimit(RLIMIT_NOFILE, &limit);
        _exit(bitnet_status_exit_code(rig_pull(rig)));
    }
    assert_int_equal(rig_wait_for(pid), 0);
    assert_true(fake_hub_most_at_once(rig->fake, FAKE_HUB) <= (64 - 24) / 4); /* not the usual 16 */
    rig_lint(rig, true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_pull_that_is_stopped_goes_on_where_it_was),
        CASE(a_pull_that_is_killed_again_and_again_fetches_hardly_anything_twice),
        CASE(a_pull_killed_at_half_fetches_the_other_half),
        cmocka_unit_test(a_kill_between_any_two_steps_at_the_end_leaves_a_cache_that_heals),
        cmocka_unit_test(a_416_on_resume_keeps_what_is_there_when_the_size_is_right),
        CASE(a_bit_flipped_in_the_partial_is_found_and_costs_one_restart),
        cmocka_unit_test(a_journal_that_cannot_be_right_is_not_believed),
        CASE(a_partial_of_older_contents_is_not_continued),
        CASE(four_pulls_at_once_fetch_the_file_once),
        CASE(locks_that_lie_or_are_missing_cost_traffic_and_nothing_else),
        CASE(a_file_system_without_locks_is_mentioned_once),
        CASE(a_lock_held_for_ever_ends_with_busy),
        CASE(a_lock_let_go_meanwhile_is_taken),
        CASE(a_partial_pruned_in_flight_is_linked_again_or_restarted),
        CASE(a_disk_that_fills_up_keeps_what_was_fetched),
        CASE(too_little_space_is_said_before_the_first_byte),
        CASE(a_partial_is_taken_over_on_a_nearly_full_disk),
        CASE(a_sync_that_fails_publishes_nothing),
        CASE(a_file_system_without_links_gets_copies),
        CASE(a_read_only_cache_is_good_enough_when_all_is_there),
        CASE(modes_follow_the_umask),
        CASE(few_file_descriptors_are_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
