/* What happens in the middle: every allocation and every file operation fails once, bits flip on
 * their way to the disk, the source changes, somebody says stop, the process is killed. Either
 * there is a right file or there is none. */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "bitnet/alloc.h"
#include "bitnet/convert.h"
#include "bitnet/file.h"
#include "bitnet/gguf.h"
#include "bitnet/pool.h"
#include "checkpoint.h"
#include "faulty_io.h"
#include "temp_dir.h"

static struct temp_dir source_dir, out_dir;
static struct bitnet_error err;
static struct bitnet_io io; /* the real operations, some of them replaced */
static const struct bitnet_io *real;

static const char *out_path(void)
{
    return temp_dir_file(&out_dir, "out.gguf");
}

static struct bitnet_convert_options options_for(enum bitnet_dtype type)
{
    return (struct bitnet_convert_options){.type = type, .n_threads = 2, .name = "x"};
}

static enum bitnet_status convert(const struct bitnet_convert_options *options)
{
    struct bitnet_plan *plan = NULL;
    err = (struct bitnet_error){0};
    enum bitnet_status status = bitnet_plan_new(&plan, source_dir.path, options, &err);
    if (!status) status = bitnet_plan_run(plan, out_path(), &err);
    bitnet_plan_free(plan);
    return status;
}

static void expect_nothing_left(void)
{
    assert_int_equal(temp_dir_count(&out_dir), 0);
}

static void small_source(enum cp_storage storage)
{
    struct cp_spec spec = cp_spec_small(CP_BITNET_B158, storage);
    spec.n_layers = 1;
    struct checkpoint *cp = cp_new(&spec);
    cp_write(cp, source_dir.path);
    cp_free(cp);
}

static struct bitnet_str good_file(const struct bitnet_convert_options *options)
{
    struct bitnet_str text = {0};
    assert_int_equal(convert(options), BITNET_OK);
    assert_int_equal(bitnet_read_file(out_path(), 64u << 20, &text, &err), BITNET_OK);
    remove(out_path());
    return text;
}

/* --- memory --- */

/* How often a count of the processors asks for memory. Without an answer, threads that wait do so a
 * little more slowly: nobody is told. */
static size_t count_optional(void)
{
    struct bitnet_cores cores;
    bitnet_alloc_fail_at(-1);
    bitnet_cores_detect(&cores);
    return (size_t)bitnet_alloc_count();
}

TEST(every_allocation_that_fails_is_told_as_memory_and_leaves_nothing)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_f16};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct bitnet_convert_options options = options_for(types[t]);
        small_source(t ? CP_MASTERS : CP_PACKED_MULTIPLY);
        struct bitnet_str good = good_file(&options), now;
        long live = bitnet_alloc_live();
        size_t n_optional = count_optional(), n_forgiven = 0;
        bool was_hit = true;
        for (long n = 0; was_hit; n++) {
            bitnet_alloc_fail_at(n);
            enum bitnet_status status = convert(&options);
            was_hit = bitnet_alloc_count() > n;
            bitnet_alloc_fail_at(-1);
            if (status != BITNET_OK && (status != BITNET_MEMORY || !was_hit))
                fail_msg("allocation %ld: %s: %s", n, bitnet_status_name(status), err.text);
            assert_int_equal(bitnet_alloc_live(), live);
            if (!status) {
                n_forgiven += was_hit;
                assert_int_equal(bitnet_read_file(out_path(), 64u << 20, &now, &err), BITNET_OK);
                assert_true(bitnet_str_equal(good, now));
                bitnet_free((void *)(uintptr_t)now.at);
                remove(out_path());
            }
            expect_nothing_left();
            assert_true(n < 100000);
        }
        assert_int_equal(n_forgiven, n_optional);
        bitnet_free((void *)(uintptr_t)good.at);
    }
}

/* --- file operations --- */

static void begin_io(void)
{
    real = bitnet_io_swap(NULL);
    if (!real) fail_msg("there is no table of operations");
    io = *real;
}

static bool has_right_file(struct bitnet_str good)
{
    struct bitnet_str now = {0};
    if (!bitnet_path_exists(out_path())) return false;
    assert_int_equal(bitnet_read_file(out_path(), 64u << 20, &now, NULL), BITNET_OK);
    assert_true(bitnet_str_equal(now, good));
    bitnet_free((void *)(uintptr_t)now.at);
    return true;
}

/* After a run that was disturbed: the right file or none, and beside it at most what could not be
 * removed, which the next run takes away. */
static void expect_right_or_nothing(enum bitnet_status status, struct bitnet_str good,
                                    const struct bitnet_convert_options *options)
{
    bool is_there = has_right_file(good);
    if (status == BITNET_OK) assert_true(is_there);
    if (temp_dir_count(&out_dir) == (is_there ? 1u : 0u)) {
        remove(out_path());
        return;
    }
    remove(out_path());
    assert_int_equal(convert(options), BITNET_OK);
    assert_true(has_right_file(good));
    assert_int_equal(temp_dir_count(&out_dir), 1);
    remove(out_path());
}

/* Every operation of a conversion fails, once or from then on, with this error. */
static void fail_each_operation(struct bitnet_str good, int number, bool from_then)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    options.n_threads = 1;
    bool was_hit = true;
    for (long k = 0; was_hit; k++) {
        long live = bitnet_alloc_live();
        faulty_io_install(
            &(struct faulty_io_plan){.fail_at = k, .number = number, .from_then = from_then});
        enum bitnet_status status = convert(&options);
        was_hit = faulty_io_remove() > k;
        assert_int_equal(bitnet_alloc_live(), live);
        bool is_known = status == BITNET_OK || status == BITNET_IO || status == BITNET_NOT_FOUND ||
                        status == BITNET_MEMORY;
        if (!is_known || (!was_hit && status))
            fail_msg("%s, operation %ld: %s: %s", faulty_io_failed(), k, bitnet_status_name(status),
                     err.text);
        if (status) assert_true(err.text[0] != '\0');
        expect_right_or_nothing(status, good, &options);
        assert_true(k < 10000);
    }
}

TEST(every_file_operation_that_fails_leaves_the_right_file_or_none)
{
    static const int errors[] = {EIO, ENOSPC, EMFILE, EDQUOT, EAGAIN};
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    for (size_t e = 0; e < COUNT(errors); e++) {
        fail_each_operation(good, errors[e], false);
        fail_each_operation(good, errors[e], true);
    }
    bitnet_free((void *)(uintptr_t)good.at);
}

/* Whatever can be interrupted is tried again. A sync is not: after a failed one the kernel may have
 * forgotten what it did not write. */
TEST(an_interruption_at_any_operation_changes_nothing)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    size_t n_retried = 0;
    bool was_hit = true;
    options.n_threads = 1;
    for (long k = 0; was_hit; k++) {
        faulty_io_install(&(struct faulty_io_plan){.fail_at = k, .number = EINTR});
        enum bitnet_status status = convert(&options);
        was_hit = faulty_io_remove() > k;
        const char *name = faulty_io_failed();
        bool is_retried = strcmp(name, "open") == 0 || strcmp(name, "pread") == 0 ||
                          strcmp(name, "pwrite") == 0 || strcmp(name, "fallocate") == 0 ||
                          strcmp(name, "ftruncate") == 0;
        if (is_retried && status) fail_msg("%s, operation %ld: %s", name, k, err.text);
        n_retried += is_retried && was_hit;
        expect_right_or_nothing(status, good, &options);
    }
    assert_true(n_retried > 10);
    bitnet_free((void *)(uintptr_t)good.at);
}

TEST(short_counts_and_interruptions_everywhere_change_nothing)
{
    static const struct faulty_io_plan plans[] = {
        {.fail_at = -1, .one_byte = true},
        {.fail_at = -1, .half = true},
        {.fail_at = -1, .half = true, .interrupts = true},
    };
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    options.n_threads = 1;
    for (size_t i = 0; i < COUNT(plans); i++) {
        faulty_io_install(&plans[i]);
        enum bitnet_status status = convert(&options);
        faulty_io_remove();
        assert_int_equal(status, BITNET_OK);
        assert_true(has_right_file(good));
        remove(out_path());
    }
    bitnet_free((void *)(uintptr_t)good.at);
}

TEST(killed_at_any_operation_the_next_run_finishes_and_cleans_up)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    bool was_killed = true;
    options.overwrite = true;
    options.n_threads = 1;
    for (long k = 0; was_killed; k++) {
        pid_t child = fork();
        if (child == 0) {
            faulty_io_install(&(struct faulty_io_plan){.fail_at = k, .kill = true});
            _exit((int)convert(&options));
        }
        int how = 0;
        waitpid(child, &how, 0);
        was_killed = WIFSIGNALED(how);
        if (!was_killed) assert_int_equal(WEXITSTATUS(how), BITNET_OK);
        has_right_file(good); /* it is right, if it is there */
        assert_int_equal(convert(&options), BITNET_OK);
        assert_true(has_right_file(good));
        assert_int_equal(temp_dir_count(&out_dir), 1);
        remove(out_path());
        assert_true(k < 10000);
    }
    bitnet_free((void *)(uintptr_t)good.at);
}

static int full_disk(int fd, off_t at, off_t n)
{
    (void)fd, (void)at, (void)n;
    return ENOSPC;
}

TEST(a_full_disk_is_told_before_the_work_begins)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    begin_io();
    io.fallocate = full_disk;
    bitnet_io_swap(&io);
    enum bitnet_status status = convert(&options);
    bitnet_io_swap(NULL);
    assert_int_equal(status, BITNET_IO);
    assert_text_has(err.text, "space");
    expect_nothing_left();
}

/* --- verify sees what the disk got --- */

static uint64_t damage_at; /* byte of the file */
static enum damage { FLIP_BIT, SHIFT_BLOCK, INVERT_SCALE } damage;

static void damage_bytes(uint8_t *bytes, size_t n, uint64_t file_at)
{
    if (damage_at < file_at || damage_at >= file_at + n) return;
    uint8_t *p = bytes + (damage_at - file_at);
    size_t left = n - (size_t)(damage_at - file_at);
    float scale;
    switch (damage) {
    case FLIP_BIT:
        *p ^= 0x10;
        break;
    case SHIFT_BLOCK:
        if (left > 64) memmove(p + 1, p, 64);
        break;
    case INVERT_SCALE:
        if (left < sizeof scale) break;
        memcpy(&scale, p, sizeof scale);
        scale = 1 / scale;
        memcpy(p, &scale, sizeof scale);
        break;
    }
}

static ssize_t damaging_pwrite(int fd, const void *buf, size_t n, off_t at)
{
    uint8_t *copy = malloc(n);
    memcpy(copy, buf, n);
    damage_bytes(copy, n, (uint64_t)at);
    ssize_t written = real->pwrite(fd, copy, n, at);
    free(copy);
    return written;
}

/* Positions in the file, from a good one. */
static void find_tensors(struct bitnet_str good, uint64_t *data, uint64_t *n_bytes, size_t *n,
                         bool *is_ternary)
{
    struct bitnet_gguf *gguf = NULL;
    struct bitnet_bytes bytes = {(const uint8_t *)good.at, good.n};
    assert_int_equal(bitnet_gguf_open_mem(&gguf, bytes, NULL, &err), BITNET_OK);
    *n = bitnet_gguf_tensor_count(gguf);
    for (size_t i = 0; i < *n; i++) {
        const struct bitnet_tensor *t = bitnet_gguf_tensor_at(gguf, i);
        data[i] = (uint64_t)(t->data.at - bytes.at);
        n_bytes[i] = t->data.n;
        is_ternary[i] = bitnet_dtype_info(t->type)->kind == BITNET_KIND_TERNARY;
    }
    bitnet_gguf_close(gguf);
}

static enum bitnet_status convert_damaged(const struct bitnet_convert_options *options,
                                          enum damage what, uint64_t at)
{
    damage = what;
    damage_at = at;
    bitnet_io_swap(&io);
    enum bitnet_status status = convert(options);
    bitnet_io_swap(NULL);
    return status;
}

TEST(a_bit_that_flips_on_its_way_to_the_disk_is_named)
{
    static const enum bitnet_dtype types[] = {BITNET_DTYPE_i2_s, BITNET_DTYPE_tq2_0,
                                              BITNET_DTYPE_f16, BITNET_DTYPE_q8_0};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct bitnet_convert_options options = options_for(types[t]);
        uint64_t data[64], n_bytes[64], seed = t + 1;
        bool is_ternary[64];
        size_t n = 0;
        small_source(CP_PACKED_MULTIPLY);
        struct bitnet_str good = good_file(&options);
        find_tensors(good, data, n_bytes, &n, is_ternary);
        begin_io();
        io.pwrite = damaging_pwrite;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1;
            uint64_t payload =
                types[t] == BITNET_DTYPE_i2_s && is_ternary[i] ? n_bytes[i] - 28 : n_bytes[i];
            enum bitnet_status status =
                convert_damaged(&options, FLIP_BIT, data[i] + (seed >> 33) % payload);
            if (status != BITNET_INTEGRITY)
                fail_msg("tensor %zu: %s: %s", i, bitnet_status_name(status), err.text);
            assert_text_has(err.text, "verify: tensor '");
            expect_nothing_left();
        }
        bitnet_free((void *)(uintptr_t)good.at);
    }
}

TEST(a_block_that_is_shifted_and_a_scale_that_is_inverted_are_named)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    uint64_t data[64], n_bytes[64];
    bool is_ternary[64];
    size_t n = 0, n_tried = 0;
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    find_tensors(good, data, n_bytes, &n, is_ternary);
    begin_io();
    io.pwrite = damaging_pwrite;
    for (size_t i = 0; i < n; i++) {
        if (!is_ternary[i]) continue;
        assert_int_equal(convert_damaged(&options, SHIFT_BLOCK, data[i] + 32), BITNET_INTEGRITY);
        assert_text_has(err.text, "verify: tensor 'blk.0.");
        assert_int_equal(convert_damaged(&options, INVERT_SCALE, data[i] + n_bytes[i] - 32),
                         BITNET_INTEGRITY);
        assert_text_has(err.text, "the scale at row 0 column 0 is ");
        expect_nothing_left();
        n_tried++;
    }
    assert_int_equal(n_tried, 7);
    bitnet_free((void *)(uintptr_t)good.at);
}

TEST(damage_in_the_header_is_seen_too)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    begin_io();
    io.pwrite = damaging_pwrite;
    const char *key = memmem(good.at, good.n, "bitnet-b1.58.block_count", 24);
    assert_non_null(key);
    /* the number of layers, behind the key and its type */
    enum bitnet_status status =
        convert_damaged(&options, FLIP_BIT, (uint64_t)(key - good.at) + 24 + 4);
    assert_int_not_equal(status, BITNET_OK);
    expect_nothing_left();
    bitnet_free((void *)(uintptr_t)good.at);
}

TEST(without_verify_damage_goes_through)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    uint64_t data[64], n_bytes[64];
    bool is_ternary[64];
    size_t n = 0;
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    find_tensors(good, data, n_bytes, &n, is_ternary);
    begin_io();
    io.pwrite = damaging_pwrite;
    options.verify = BITNET_VERIFY_NONE; /* so it is verify that sees it above */
    assert_int_equal(convert_damaged(&options, FLIP_BIT, data[0] + 5), BITNET_OK);
    bitnet_free((void *)(uintptr_t)good.at);
}

/* --- others --- */

static volatile sig_atomic_t cancel;
static size_t cancel_after;

static void cancel_later(void *user, size_t done, size_t total, struct bitnet_str tensor)
{
    (void)user, (void)total, (void)tensor;
    if (done == cancel_after) cancel = 1;
}

TEST(stops_between_tensors_when_asked_to)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    options.cancel = &cancel;
    options.progress = cancel_later;
    for (cancel_after = 1; cancel_after < 14; cancel_after += 3) {
        cancel = 0;
        assert_int_equal(convert(&options), BITNET_CANCELLED);
        expect_nothing_left();
    }
    cancel = 0;
    cancel_after = 1000;
    assert_int_equal(convert(&options), BITNET_OK);
}

static void touch_source(void *user, size_t done, size_t total, struct bitnet_str tensor)
{
    (void)user, (void)total, (void)tensor;
    struct utimbuf times = {1, 1};
    if (done == 3) utime(temp_dir_file(&source_dir, "model.safetensors"), &times);
}

/* One byte of a tensor that was written already, and the time put back: only the proof can see it.
 */
static void change_a_byte(void *user, size_t done, size_t total, struct bitnet_str tensor)
{
    (void)user, (void)tensor;
    const char *path = temp_dir_file(&source_dir, "model.safetensors");
    struct stat st;
    if (done != total || stat(path, &st) != 0) return;
    FILE *file = fopen(path, "r+b");
    fseek(file, -(long)(st.st_size / 2), SEEK_END);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 0x55, file);
    fclose(file);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    utimensat(AT_FDCWD, path, times, 0);
}

static void shorten_source(void *user, size_t done, size_t total, struct bitnet_str tensor)
{
    (void)user, (void)total, (void)tensor;
    const char *path = temp_dir_file(&source_dir, "model.safetensors");
    if (done == 3 && truncate(path, 4096) != 0) abort();
}

TEST(a_source_that_changes_meanwhile_voids_the_result)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    options.progress = touch_source;
    assert_int_equal(convert(&options), BITNET_IO);
    assert_text_has(err.text, "changed");
    expect_nothing_left();
    options.progress = change_a_byte;
    enum bitnet_status status = convert(&options);
    assert_true(status == BITNET_INTEGRITY || status == BITNET_FORMAT || status == BITNET_IO);
    expect_nothing_left();
}

/* What is mapped and is no more ends in SIGBUS (programs turn it into words and exit code 7). */
TEST(a_source_that_shrinks_meanwhile_leaves_nothing_under_the_final_name)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    options.progress = shorten_source;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* a sanitizer would print a page about it */
        _exit((int)convert(&options));
    }
    int how = 0;
    waitpid(child, &how, 0);
    if (WIFSIGNALED(how))
        assert_int_equal(WTERMSIG(how), SIGBUS);
    else
        assert_int_equal(WEXITSTATUS(how), BITNET_IO);
    assert_false(bitnet_path_exists(out_path()));
    small_source(CP_PACKED_MULTIPLY);
    options.progress = NULL;
    assert_int_equal(convert(&options), BITNET_OK); /* and takes the leftover away */
    assert_int_equal(temp_dir_count(&out_dir), 1);
}

TEST(a_process_that_is_killed_leaves_no_file_under_the_final_name)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options);
    unsigned n_finished = 0, n_killed = 0;
    for (int k = 0; k < 200; k++) {
        pid_t child = fork();
        if (child == 0) _exit((int)convert(&options));
        usleep((useconds_t)(k * 80));
        kill(child, SIGKILL);
        int how = 0;
        waitpid(child, &how, 0);
        struct bitnet_str now = {0};
        if (bitnet_path_exists(out_path())) {
            assert_int_equal(bitnet_read_file(out_path(), 64u << 20, &now, NULL), BITNET_OK);
            assert_true(bitnet_str_equal(now, good));
            bitnet_free((void *)(uintptr_t)now.at);
            n_finished++;
        } else {
            n_killed++;
        }
        remove(out_path());
    }
    assert_int_equal(convert(&options), BITNET_OK); /* and takes the leftovers away */
    assert_int_equal(temp_dir_count(&out_dir), 1);
    assert_true(n_killed > 0);
    print_message("killed %u, finished %u\n", n_killed, n_finished);
    bitnet_free((void *)(uintptr_t)good.at);
}

TEST(two_converters_with_one_name_leave_one_right_file)
{
    struct bitnet_convert_options options = options_for(BITNET_DTYPE_i2_s);
    small_source(CP_PACKED_MULTIPLY);
    struct bitnet_str good = good_file(&options), now;
    for (int round = 0; round < 5; round++) {
        pid_t child[3];
        int n_done = 0;
        for (int i = 0; i < 3; i++) {
            child[i] = fork();
            if (child[i] == 0) _exit((int)convert(&options));
        }
        for (int i = 0; i < 3; i++) {
            int how = 0;
            waitpid(child[i], &how, 0);
            assert_true(WIFEXITED(how));
            if (WEXITSTATUS(how) == BITNET_OK)
                n_done++;
            else
                assert_int_equal(WEXITSTATUS(how), BITNET_POLICY);
        }
        assert_int_equal(n_done, 1); /* the others found the name taken */
        assert_int_equal(bitnet_read_file(out_path(), 64u << 20, &now, NULL), BITNET_OK);
        assert_true(bitnet_str_equal(now, good));
        bitnet_free((void *)(uintptr_t)now.at);
        assert_int_equal(temp_dir_count(&out_dir), 1);
        remove(out_path());
    }
    bitnet_free((void *)(uintptr_t)good.at);
}

static int begin(void **state)
{
    (void)state;
    temp_dir_make(&source_dir);
    temp_dir_make(&out_dir);
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
        T(every_allocation_that_fails_is_told_as_memory_and_leaves_nothing),
        T(every_file_operation_that_fails_leaves_the_right_file_or_none),
        T(a_full_disk_is_told_before_the_work_begins),
        T(an_interruption_at_any_operation_changes_nothing),
        T(short_counts_and_interruptions_everywhere_change_nothing),
        T(killed_at_any_operation_the_next_run_finishes_and_cleans_up),
        T(a_bit_that_flips_on_its_way_to_the_disk_is_named),
        T(a_block_that_is_shifted_and_a_scale_that_is_inverted_are_named),
        T(damage_in_the_header_is_seen_too),
        T(without_verify_damage_goes_through),
        T(stops_between_tensors_when_asked_to),
        T(a_source_that_changes_meanwhile_voids_the_result),
        T(a_source_that_shrinks_meanwhile_leaves_nothing_under_the_final_name),
        T(a_process_that_is_killed_leaves_no_file_under_the_final_name),
        T(two_converters_with_one_name_leave_one_right_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
