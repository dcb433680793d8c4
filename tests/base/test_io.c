/* The loops around read and write, and the words for an errno. */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "faulty_io.h"
#include "io.h"
#include "temp_dir.h"

static int open_scratch(const struct temp_dir *dir)
{
    return open(temp_dir_file(dir, "scratch"), O_RDWR | O_CREAT | O_TRUNC, 0600);
}

/* Every way in which the system may hand over less than asked gives the same bytes. */
TEST(short_counts_and_interruptions_are_continued)
{
    static const struct faulty_io_plan plans[] = {
        {.fail_at = -1},
        {.fail_at = -1, .one_byte = true},
        {.fail_at = -1, .half = true},
        {.fail_at = -1, .interrupts = true},
        {.fail_at = -1, .half = true, .interrupts = true},
    };
    char in[5000], out[5001];
    struct temp_dir dir;
    temp_dir_make(&dir);
    for (size_t i = 0; i < sizeof in; i++) in[i] = (char)(i * 7);
    for (size_t i = 0; i < COUNT(plans); i++) {
        int fd = open_scratch(&dir);
        size_t n_read = 0;
        memset(out, 0x55, sizeof out);
        faulty_io_install(&plans[i]);
        assert_int_equal(bitnet_io_write(fd, in, sizeof in, 3), 0);
        assert_int_equal(bitnet_io_read(fd, out, sizeof in, 3, &n_read), 0);
        assert_int_equal(n_read, sizeof in);
        assert_int_equal(bitnet_io_read(fd, out, sizeof out, 3, &n_read), 0); /* stops at the end */
        faulty_io_remove();
        assert_int_equal(n_read, sizeof in);
        assert_memory_equal(in, out, sizeof in);
        assert_int_equal(out[sizeof in], 0x55);
        close(fd);
    }
    temp_dir_remove(&dir);
}

TEST(errors_come_back_as_their_number)
{
    struct temp_dir dir;
    size_t n_read;
    char byte = 0;
    temp_dir_make(&dir);
    int fd = open_scratch(&dir);
    faulty_io_install(&(struct faulty_io_plan){.number = ENOSPC});
    assert_int_equal(bitnet_io_write(fd, &byte, 1, 0), ENOSPC);
    faulty_io_remove();
    faulty_io_install(&(struct faulty_io_plan){.number = EIO});
    assert_int_equal(bitnet_io_read(fd, &byte, 1, 0, &n_read), EIO);
    faulty_io_remove();
    assert_int_equal(n_read, 0);
    close(fd);
    assert_int_equal(bitnet_io_open(temp_dir_file(&dir, "absent"), O_RDONLY, 0), -ENOENT);
    temp_dir_remove(&dir);
}

static ssize_t write_nothing(int fd, const void *buf, size_t n, off_t at)
{
    (void)fd, (void)buf, (void)n, (void)at;
    return 0;
}

TEST(a_write_that_moves_nothing_is_an_error_not_a_loop)
{
    const struct bitnet_io *real = bitnet_io_swap(NULL);
    struct bitnet_io io = *real;
    io.pwrite = write_nothing;
    bitnet_io_swap(&io);
    assert_int_equal(bitnet_io_write(1, "x", 1, 0), EIO);
    bitnet_io_swap(NULL);
}

static size_t largest_request;

static ssize_t count_request(int fd, void *buf, size_t n, off_t at)
{
    (void)fd, (void)buf, (void)at;
    if (n > largest_request) largest_request = n;
    return (ssize_t)n;
}

TEST(one_call_moves_at_most_a_gibibyte)
{
    struct bitnet_io io = *bitnet_io_swap(NULL);
    size_t n_read, n = ((size_t)5 << 30) + 1;
    io.pread = count_request;
    bitnet_io_swap(&io);
    assert_int_equal(bitnet_io_read(0, NULL, n, 0, &n_read), 0);
    bitnet_io_swap(NULL);
    assert_true(n_read == n);
    assert_true(largest_request == (size_t)1 << 30);
}

TEST(every_errno_has_words_and_a_status)
{
    for (int number = 0; number < 200; number++) assert_true(strlen(bitnet_errno_text(number)) > 5);
    assert_string_equal(bitnet_errno_text(ENOSPC), "no space left");
    assert_int_equal(bitnet_errno_status(ENOENT), BITNET_NOT_FOUND);
    assert_int_equal(bitnet_errno_status(ENOMEM), BITNET_MEMORY);
    assert_int_equal(bitnet_errno_status(EACCES), BITNET_IO);
}

TEST(a_long_path_keeps_its_end)
{
    struct bitnet_quoted out;
    char path[400] = "/home/somebody/.cache/huggingface/hub/models--microsoft--bitnet-b1.58-2B-4T/"
                     "snapshots/0123456789abcdef/model.safetensors";
    assert_string_equal(bitnet_quote_path(&out, path),
                        "'.../snapshots/0123456789abcdef/model.safetensors'");
    assert_string_equal(bitnet_quote_path(&out, "a/b"), "'a/b'");
    memset(path, 'x', 300);
    path[300] = '\0';
    assert_int_equal(strlen(bitnet_quote_path(&out, path)), 82);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_counts_and_interruptions_are_continued),
        cmocka_unit_test(errors_come_back_as_their_number),
        cmocka_unit_test(a_write_that_moves_nothing_is_an_error_not_a_loop),
        cmocka_unit_test(one_call_moves_at_most_a_gibibyte),
        cmocka_unit_test(every_errno_has_words_and_a_status),
        cmocka_unit_test(a_long_path_keeps_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
