/* Reading: whole, in parts, what is no file, what changes meanwhile, and every operation failing.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitnet/alloc.h"
#include "bitnet/file.h"
#include "faulty_io.h"
#include "temp_dir.h"

static struct temp_dir dir;

static int make_dir(void **state)
{
    (void)state;
    temp_dir_make(&dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    temp_dir_remove(&dir);
    return 0;
}

static size_t count_descriptors(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0) n++;
    return n;
}

TEST(a_file_is_mapped_whole)
{
    struct bitnet_file file;
    struct bitnet_error err;
    temp_dir_write(&dir, "a", "hello", 5);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a"), &err), BITNET_OK);
    assert_true(file.mapped);
    assert_int_equal(file.bytes.n, 5);
    assert_memory_equal(file.bytes.at, "hello", 5);
    assert_int_equal(bitnet_file_unchanged(&file, &err), BITNET_OK);
    bitnet_file_close(&file);
    assert_int_equal(file.fd, -1);
    bitnet_file_close(&file); /* closed is closed */
}

TEST(an_empty_file_opens_with_no_bytes)
{
    struct bitnet_file file;
    char byte;
    temp_dir_write(&dir, "empty", "", 0);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "empty"), NULL), BITNET_OK);
    assert_int_equal(file.bytes.n, 0);
    assert_int_equal(bitnet_file_read(&file, 0, &byte, 0, NULL), BITNET_OK);
    assert_int_equal(bitnet_file_read(&file, 0, &byte, 1, NULL), BITNET_IO);
    bitnet_file_close(&file);
}

TEST(what_is_not_there_is_not_found)
{
    struct bitnet_file file;
    struct bitnet_error err;
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "no"), &err), BITNET_NOT_FOUND);
    assert_text_has(err.text, "/no': no such file");
    assert_int_equal(file.fd, -1);
    temp_dir_write(&dir, "a", "x", 1);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a/b"), &err), BITNET_NOT_FOUND);
    struct bitnet_str text;
    assert_int_equal(bitnet_read_file(temp_dir_file(&dir, "no"), 10, &text, &err),
                     BITNET_NOT_FOUND);
    assert_null(text.at);
}

TEST(folders_pipes_and_devices_are_refused_without_waiting)
{
    struct bitnet_file file;
    struct bitnet_error err;
    assert_int_equal(bitnet_file_open(&file, dir.path, &err), BITNET_IO);
    assert_text_has(err.text, "folder");
    assert_int_equal(mkfifo(temp_dir_file(&dir, "pipe"), 0600), 0);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "pipe"), &err), BITNET_IO);
    assert_text_has(err.text, "pipe, not a file");
    assert_int_equal(bitnet_file_open(&file, "/dev/zero", &err), BITNET_IO);
}

TEST(parts_are_copied_and_what_lies_outside_is_refused)
{
    struct bitnet_file file;
    char out[8] = "";
    temp_dir_write(&dir, "a", "0123456789", 10);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a"), NULL), BITNET_OK);
    assert_int_equal(bitnet_file_read(&file, 3, out, 4, NULL), BITNET_OK);
    assert_string_equal(out, "3456");
    assert_int_equal(bitnet_file_read(&file, 10, out, 0, NULL), BITNET_OK);
    assert_int_equal(bitnet_file_read(&file, 8, out, 3, NULL), BITNET_IO);
    assert_int_equal(bitnet_file_read(&file, UINT64_MAX, out, 2, NULL), BITNET_IO);
    bitnet_file_close(&file);
}

TEST(a_file_that_shrinks_or_changes_is_noticed)
{
    struct bitnet_file file;
    struct bitnet_error err;
    char out[10];
    temp_dir_write(&dir, "a", "0123456789", 10);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a"), NULL), BITNET_OK);
    assert_int_equal(truncate(temp_dir_file(&dir, "a"), 4), 0);
    assert_int_equal(bitnet_file_read(&file, 0, out, 10, &err), BITNET_IO);
    assert_text_has(err.text, "ends at byte 4 now");
    assert_int_equal(bitnet_file_unchanged(&file, &err), BITNET_IO);
    assert_text_has(err.text, "changed while it was read (4 bytes, was 10)");
    bitnet_file_close(&file);

    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a"), NULL), BITNET_OK);
    usleep(20000); /* file times are as fine as a clock tick */
    temp_dir_write(&dir, "a", "abcd", 4);
    assert_int_equal(bitnet_file_unchanged(&file, &err), BITNET_IO);
    bitnet_file_close(&file);
}

TEST(released_pages_can_be_read_again)
{
    static char bytes[100000];
    struct bitnet_file file;
    memset(bytes, 'x', sizeof bytes);
    temp_dir_write(&dir, "big", bytes, sizeof bytes);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "big"), NULL), BITNET_OK);
    bitnet_file_release(&file, 0, sizeof bytes);
    bitnet_file_release(&file, 5, 10);
    bitnet_file_release(&file, 50000, UINT64_MAX); /* nonsense is ignored */
    assert_memory_equal(file.bytes.at, bytes, sizeof bytes);
    bitnet_file_close(&file);
}

TEST(a_small_file_is_read_up_to_its_limit)
{
    struct bitnet_str text;
    struct bitnet_error err;
    temp_dir_write(&dir, "a", "0123456789", 10);
    assert_int_equal(bitnet_read_file(temp_dir_file(&dir, "a"), 10, &text, &err), BITNET_OK);
    assert_int_equal(text.n, 10);
    assert_string_equal(text.at, "0123456789");
    bitnet_free((void *)(uintptr_t)text.at);
    assert_int_equal(bitnet_read_file(temp_dir_file(&dir, "a"), 9, &text, &err), BITNET_LIMIT);
    assert_text_has(err.text, "10 bytes, the limit is 9");
    assert_null(text.at);
    temp_dir_write(&dir, "empty", "", 0);
    assert_int_equal(bitnet_read_file(temp_dir_file(&dir, "empty"), 0, &text, &err), BITNET_OK);
    assert_string_equal(text.at, "");
    bitnet_free((void *)(uintptr_t)text.at);
    assert_int_equal(bitnet_read_file(dir.path, 10, &text, &err), BITNET_IO);
}

/* /proc says 0 bytes and then gives some: what arrives counts, not what is announced. */
TEST(the_announced_size_is_not_believed)
{
    struct bitnet_str text;
    if (access("/proc/self/status", R_OK) != 0) skip();
    assert_int_equal(bitnet_read_file("/proc/self/status", 65536, &text, NULL), BITNET_OK);
    assert_true(text.n > 100);
    assert_int_equal(strlen(text.at), text.n);
    size_t n = text.n;
    bitnet_free((void *)(uintptr_t)text.at);
    assert_int_equal(bitnet_read_file("/proc/self/status", n / 2, &text, NULL), BITNET_LIMIT);
}

static void *refuse_to_map(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    (void)at, (void)n, (void)prot, (void)flags, (void)fd, (void)offset;
    errno = ENODEV;
    return (void *)-1;
}

TEST(a_file_system_that_cannot_map_is_read_instead)
{
    struct bitnet_file file;
    struct bitnet_io io = *bitnet_io_swap(NULL);
    io.mmap = refuse_to_map;
    bitnet_io_swap(&io);
    temp_dir_write(&dir, "a", "0123456789", 10);
    assert_int_equal(bitnet_file_open(&file, temp_dir_file(&dir, "a"), NULL), BITNET_OK);
    assert_false(file.mapped);
    assert_memory_equal(file.bytes.at, "0123456789", 10);
    bitnet_file_release(&file, 0, 10);
    bitnet_file_close(&file);
    bitnet_io_swap(NULL);
}

/* open, read everything both ways, close. */
static enum bitnet_status read_both_ways(const char *path, struct bitnet_error *err)
{
    struct bitnet_file file;
    struct bitnet_str text;
    char copy[10] = "";
    enum bitnet_status status = bitnet_file_open(&file, path, err);
    if (!status) status = bitnet_file_read(&file, 0, copy, sizeof copy, err);
    if (!status) assert_memory_equal(copy, "0123456789", 10);
    bitnet_file_close(&file);
    if (!status) status = bitnet_read_file(path, 100, &text, err);
    if (status) return status;
    assert_int_equal(text.n, 10);
    assert_memory_equal(text.at, "0123456789", 10);
    bitnet_free((void *)(uintptr_t)text.at);
    return BITNET_OK;
}

TEST(any_operation_that_fails_is_reported_and_nothing_leaks)
{
    static const int numbers[] = {EIO, EACCES, EMFILE, EINTR, ENOMEM};
    size_t before = count_descriptors();
    long live = bitnet_alloc_live();
    temp_dir_write(&dir, "a", "0123456789", 10);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        bool reached = true;
        for (long k = 0; reached; k++) {
            struct bitnet_error err = {0};
            faulty_io_install(&(struct faulty_io_plan){.fail_at = k, .number = numbers[i]});
            enum bitnet_status status = read_both_ways(temp_dir_file(&dir, "a"), &err);
            reached = faulty_io_remove() > k;
            const char *name = faulty_io_failed();
            bool harmless = !reached || strcmp(name, "close") == 0 ||
                            (numbers[i] == EINTR && strcmp(name, "mmap") != 0);
            if ((status == BITNET_OK) != harmless)
                fail_msg("%s, errno %d: %s", name, numbers[i], err.text);
            if (!harmless)
                assert_int_equal(status, numbers[i] == ENOMEM ? BITNET_MEMORY : BITNET_IO);
            assert_int_equal(count_descriptors(), before);
            assert_int_equal(bitnet_alloc_live(), live);
        }
    }
}

TEST(short_reads_give_the_same_bytes)
{
    temp_dir_write(&dir, "a", "0123456789", 10);
    faulty_io_install(
        &(struct faulty_io_plan){.fail_at = -1, .one_byte = true, .interrupts = true});
    assert_int_equal(read_both_ways(temp_dir_file(&dir, "a"), NULL), BITNET_OK);
    faulty_io_remove();
}

TEST(any_allocation_that_fails_is_reported_and_nothing_leaks)
{
    size_t before = count_descriptors();
    long live = bitnet_alloc_live();
    enum bitnet_status status = BITNET_MEMORY;
    temp_dir_write(&dir, "a", "0123456789", 10);
    for (long k = 0; status; k++) {
        bitnet_alloc_fail_at(k);
        status = read_both_ways(temp_dir_file(&dir, "a"), NULL);
        bitnet_alloc_fail_at(-1);
        assert_true(status == BITNET_OK || status == BITNET_MEMORY);
        assert_int_equal(count_descriptors(), before);
        assert_int_equal(bitnet_alloc_live(), live);
        assert_true(k < 20);
    }
}

TEST(paths_are_joined_with_one_slash)
{
    static const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *path = bitnet_path_join(rows[i][0], bitnet_str_of(rows[i][1]));
        assert_string_equal(path, rows[i][2]);
        bitnet_free(path);
    }
    assert_null(bitnet_path_join("a", (struct bitnet_str){"b\0c", 3}));
}

TEST(folders_and_files_are_told_apart)
{
    temp_dir_write(&dir, "a", "x", 1);
    assert_true(bitnet_path_is_dir(dir.path));
    assert_false(bitnet_path_is_dir(temp_dir_file(&dir, "a")));
    assert_true(bitnet_path_exists(temp_dir_file(&dir, "a")));
    assert_false(bitnet_path_exists(temp_dir_file(&dir, "b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_mapped_whole),
        cmocka_unit_test(an_empty_file_opens_with_no_bytes),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(folders_pipes_and_devices_are_refused_without_waiting),
        cmocka_unit_test(parts_are_copied_and_what_lies_outside_is_refused),
        cmocka_unit_test(a_file_that_shrinks_or_changes_is_noticed),
        cmocka_unit_test(released_pages_can_be_read_again),
        cmocka_unit_test(a_small_file_is_read_up_to_its_limit),
        cmocka_unit_test(the_announced_size_is_not_believed),
        cmocka_unit_test(a_file_system_that_cannot_map_is_read_instead),
        cmocka_unit_test(any_operation_that_fails_is_reported_and_nothing_leaks),
        cmocka_unit_test(short_reads_give_the_same_bytes),
        cmocka_unit_test(any_allocation_that_fails_is_reported_and_nothing_leaks),
        cmocka_unit_test(paths_are_joined_with_one_slash),
        cmocka_unit_test(folders_and_files_are_told_apart),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
