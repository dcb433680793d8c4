/* gguf/set.c through convert: a model written directly as parts. What can be opened is a whole and
 * right model, whatever fails and whoever is killed. */
#include "cm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/logical.h"
#include "bitnet/text.h"
#include "checkpoint.h"
#include "temp_dir.h"

#define MAX_BYTES 150000
#define N_PARTS   4

static struct temp_dir source_dir, out_dir;
static struct bitnet_error err;

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s: %s", #call, err.text);                                             \
    } while (0)

static const char *part(size_t i)
{
    char name[64];
    snprintf(name, sizeof name, "m-%05zu-of-%05d.gguf", i + 1, N_PARTS);
    return temp_dir_file(&out_dir, name);
}

static enum bitnet_status convert(uint64_t max_bytes, bool overwrite, enum bitnet_dtype type)
{
    struct bitnet_convert_options options = {.type = type,
                                             .n_threads = 2,
                                             .name = "x",
                                             .overwrite = overwrite,
                                             .split_max_bytes = max_bytes};
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_plan_new(&plan, source_dir.path, &options, &err);
    if (!status) status = bitnet_plan_run(plan, temp_dir_file(&out_dir, "m.gguf"), &err);
    bitnet_plan_free(plan);
    return status;
}

static enum bitnet_status convert_in_parts(void)
{
    return convert(MAX_BYTES, false, BITNET_DTYPE_i2_s);
}

static void hash(const char *path, uint8_t digest[BITNET_DIGEST_BYTES])
{
    struct bitnet_gguf *gguf = NULL;
    const struct bitnet_hash_options raw = {.kind = BITNET_HASH_RAW};
    MUST(bitnet_gguf_open(&gguf, path, NULL, &err));
    MUST(bitnet_gguf_validate(gguf, BITNET_GGUF_LEVEL_MODEL, NULL, &err));
    MUST(bitnet_hash_model(gguf, &raw, digest, &err));
    bitnet_gguf_close(gguf);
}

static uint8_t good[BITNET_DIGEST_BYTES]; /* of the tensors */

static void make_good(void)
{
    MUST(convert(0, true, BITNET_DTYPE_i2_s));
    hash(temp_dir_file(&out_dir, "m.gguf"), good);
    remove(temp_dir_file(&out_dir, "m.gguf"));
}

static size_t count_parts(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N_PARTS; i++) n += bitnet_path_exists(part(i));
    return n;
}

/* If part 1 is there, the set is whole and right. */
static bool check_set(void)
{
    uint8_t digest[BITNET_DIGEST_BYTES];
    if (!bitnet_path_exists(part(0))) return false;
    assert_int_equal(count_parts(), N_PARTS);
    hash(part(0), digest);
    assert_memory_equal(digest, good, sizeof good);
    return true;
}

static void remove_parts(void)
{
    for (size_t i = 0; i < N_PARTS; i++) remove(part(i));
}

TEST(parts_are_written_directly_and_hold_the_whole_model)
{
    struct bitnet_gguf *gguf = NULL;
    uint64_t number = 9;
    MUST(convert_in_parts());
    assert_true(check_set());
    assert_int_equal(temp_dir_count(&out_dir), N_PARTS); /* no whole file on the way */
    MUST(bitnet_gguf_open(&gguf, part(0), NULL, &err));
    assert_int_equal(bitnet_gguf_part_count(gguf), N_PARTS);
    assert_text_has(bitnet_gguf_part_path(gguf, 2), "m-00003-of-");
    MUST(bitnet_gguf_u64(gguf, "split.no", 0, 9, BITNET_GGUF_REQUIRED, &number, &err));
    assert_int_equal(number, 0);
    for (size_t i = 0; i < bitnet_gguf_tensor_count(gguf); i++)
        assert_true(i == 0 || bitnet_gguf_tensor_at(gguf, i)->part >=
                                  bitnet_gguf_tensor_at(gguf, i - 1)->part);
    bitnet_gguf_close(gguf);
    for (size_t i = 1; i < N_PARTS; i++) {
        struct stat st;
        assert_int_equal(stat(part(i), &st), 0);
        assert_true(st.st_size < 2 * MAX_BYTES);
    }
}

TEST(a_model_that_fits_into_one_part_is_one_file)
{
    MUST(convert(UINT64_C(1) << 40, false, BITNET_DTYPE_i2_s));
    assert_int_equal(temp_dir_count(&out_dir), 1);
    uint8_t digest[BITNET_DIGEST_BYTES];
    hash(temp_dir_file(&out_dir, "m.gguf"), digest);
    assert_memory_equal(digest, good, sizeof good);
}

TEST(what_exists_is_kept_unless_asked_and_then_replaced_as_a_whole)
{
    MUST(convert(MAX_BYTES, false, BITNET_DTYPE_tl1));
    assert_int_equal(convert_in_parts(), BITNET_POLICY);
    uint8_t digest[BITNET_DIGEST_BYTES];
    hash(part(0), digest);
    assert_memory_not_equal(digest, good, sizeof good);
    MUST(convert(MAX_BYTES, true, BITNET_DTYPE_i2_s));
    assert_true(check_set());
}

TEST(tiles_lie_beside_the_parts_once)
{
    MUST(convert(MAX_BYTES, false, BITNET_DTYPE_tl2));
    assert_true(bitnet_path_exists(temp_dir_file(&out_dir, "m.kernel_config.ini")));
}

TEST(too_many_parts_are_refused_before_a_byte_is_written)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    spec.n_layers = 8;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, source_dir.path);
    cp_free(cp);
    assert_int_equal(convert(1, false, BITNET_DTYPE_i2_s), BITNET_LIMIT);
    assert_text_has(err.text, "more than 60 parts; give them a larger size");
    assert_int_equal(temp_dir_count(&out_dir), 0);
}

TEST(every_allocation_that_fails_leaves_nothing)
{
    long live = bitnet_alloc_live();
    bool was_hit = true;
    for (long n = 0; was_hit; n++) {
        bitnet_alloc_fail_at(n);
        enum bitnet_status status = convert_in_parts();
        was_hit = bitnet_alloc_count() > n;
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        if (status && (status != BITNET_MEMORY || !was_hit))
            fail_msg("allocation %ld: %s: %s", n, bitnet_status_name(status), err.text);
        assert_int_equal(check_set(), status == BITNET_OK);
        remove_parts();
        assert_int_equal(temp_dir_count(&out_dir), 0);
    }
}

/* --- file operations --- */

static struct bitnet_io io;
static const struct bitnet_io *real;
static long calls, fail_at;
static int fail_errno;

static bool fails_now(void)
{
    if (calls++ != fail_at) return false;
    errno = fail_errno;
    return true;
}

static ssize_t failing_pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return fails_now() ? -1 : real->pwrite(fd, buf, n, at);
}

static int failing_open(const char *path, int flags, mode_t mode)
{
    return fails_now() ? -1 : real->open(path, flags, mode);
}

static int failing_fsync(int fd)
{
    return fails_now() ? -1 : real->fsync(fd);
}

static int failing_link(const char *from, const char *to)
{
    return fails_now() ? -1 : real->link(from, to);
}

static int failing_rename(const char *from, const char *to)
{
    return fails_now() ? -1 : real->rename(from, to);
}

static void *failing_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    return fails_now() ? (void *)-1 : real->mmap(at, n, prot, flags, fd, offset);
}

TEST(every_file_operation_that_fails_leaves_all_parts_or_none)
{
    real = bitnet_io_swap(NULL);
    struct bitnet_io all[6];
    for (size_t i = 0; i < COUNT(all); i++) all[i] = *real;
    all[0].pwrite = failing_pwrite;
    all[1].open = failing_open;
    all[2].fsync = failing_fsync;
    all[3].link = failing_link;
    all[4].rename = failing_rename;
    all[5].mmap = failing_mmap;
    for (size_t i = 0; i < COUNT(all); i++) {
        bool was_hit = true;
        fail_errno = i % 2 ? EIO : ENOSPC;
        io = all[i];
        for (fail_at = 0; was_hit; fail_at++) {
            calls = 0;
            bitnet_io_swap(&io);
            enum bitnet_status status = convert_in_parts();
            bitnet_io_swap(NULL);
            was_hit = calls > fail_at;
            bool is_there = check_set();
            if (!is_there && status == BITNET_OK) fail_msg("said to be done, but nothing is there");
            if (!is_there) assert_int_equal(count_parts(), 0);
            remove_parts();
            assert_int_equal(temp_dir_count(&out_dir), 0);
        }
    }
}

static int full_disk(int fd, off_t at, off_t n)
{
    (void)fd, (void)at, (void)n;
    return calls++ == 3 ? ENOSPC : 0; /* the fourth part does not fit */
}

TEST(a_disk_that_cannot_hold_all_parts_is_told_before_the_work_begins)
{
    real = bitnet_io_swap(NULL);
    io = *real;
    io.fallocate = full_disk;
    calls = 0;
    bitnet_io_swap(&io);
    assert_int_equal(convert_in_parts(), BITNET_IO);
    bitnet_io_swap(NULL);
    assert_text_has(err.text, "space");
    assert_int_equal(temp_dir_count(&out_dir), 0);
}

/* --- killed --- */

/* How long a conversion in parts takes here and now. */
static useconds_t measure_us(void)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    MUST(convert_in_parts());
    clock_gettime(CLOCK_MONOTONIC, &b);
    remove_parts();
    return (useconds_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
}

static void kill_after(useconds_t us, bool overwrite)
{
    int how = 0;
    pid_t child = fork();
    if (child == 0) _exit((int)convert(MAX_BYTES, overwrite, BITNET_DTYPE_i2_s));
    usleep(us);
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
}

TEST(a_process_that_is_killed_leaves_no_set_that_can_be_opened_and_is_not_whole)
{
    unsigned n_whole = 0, n_killed = 0;
    useconds_t us = measure_us();
    for (useconds_t k = 0; k < 30; k++) {
        kill_after(k * us / 20, false);
        if (check_set())
            n_whole++;
        else
            n_killed++;
        remove_parts();
    }
    MUST(convert_in_parts()); /* and takes the leftovers away */
    assert_int_equal(temp_dir_count(&out_dir), N_PARTS);
    assert_true(n_killed > 0);
    print_message("killed %u, whole %u\n", n_killed, n_whole);
}

TEST(a_set_that_is_replaced_is_never_half_old_and_half_new)
{
    uint8_t old[BITNET_DIGEST_BYTES], now[BITNET_DIGEST_BYTES];
    unsigned n_old = 0, n_new = 0, n_none = 0;
    useconds_t us = measure_us();
    for (useconds_t k = 0; k < 20; k++) {
        MUST(convert(MAX_BYTES, true, BITNET_DTYPE_tl1));
        hash(part(0), old);
        kill_after(k * us / 12, true);
        if (!bitnet_path_exists(part(0))) {
            n_none++;
            continue;
        }
        hash(part(0), now);
        if (memcmp(now, old, sizeof now) == 0)
            n_old++;
        else if (memcmp(now, good, sizeof now) == 0)
            n_new++;
        else
            fail_msg("a set of two models can be opened");
    }
    print_message("old %u, new %u, none %u\n", n_old, n_new, n_none);
}

static int begin(void **state)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, CP_PACKED_MULTIPLY);
    (void)state;
    temp_dir_make(&source_dir);
    temp_dir_make(&out_dir);
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, source_dir.path);
    cp_free(cp);
    make_good();
    return 0;
}

static int end(void **state)
{
    (void)state;
    bitnet_io_swap(NULL);
    temp_dir_remove(&source_dir);
    temp_dir_remove(&out_dir);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(parts_are_written_directly_and_hold_the_whole_model),
        T(a_model_that_fits_into_one_part_is_one_file),
        T(what_exists_is_kept_unless_asked_and_then_replaced_as_a_whole),
        T(tiles_lie_beside_the_parts_once),
        T(too_many_parts_are_refused_before_a_byte_is_written),
        T(every_allocation_that_fails_leaves_nothing),
        T(every_file_operation_that_fails_leaves_all_parts_or_none),
        T(a_disk_that_cannot_hold_all_parts_is_told_before_the_work_begins),
        T(a_process_that_is_killed_leaves_no_set_that_can_be_opened_and_is_not_whole),
        T(a_set_that_is_replaced_is_never_half_old_and_half_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
