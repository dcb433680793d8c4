/* Writing: a final name means complete bytes, whatever fails, and whoever is killed when. */
#include "cm.h"

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
#include <dirent.h>
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

/* --- helpers --- */

enum { N_CONTENT = 3000000 }; /* three buffers, so that flushes happen in the middle */

static uint8_t content[N_CONTENT];

static void fill_content(void)
{
    for (size_t i = 0; i < N_CONTENT; i++) content[i] = (uint8_t)(i * 31 + i / 255 + 1);
}

/* In pieces of many sizes: a byte, a few, a lot. */
static enum bitnet_status write_pieces(struct bitnet_output *out, size_t n,
                                       struct bitnet_error *err)
{
    static const size_t pieces[] = {1, 3, 5, 100, 1, 70000, 8, 1200000};
    for (size_t at = 0, i = 0; at < n; i++) {
        size_t part = pieces[i % COUNT(pieces)] < n - at ? pieces[i % COUNT(pieces)] : n - at;
        enum bitnet_status status = bitnet_output_write(out, content + at, part, err);
        if (status) return status;
        at += part;
    }
    return BITNET_OK;
}

static enum bitnet_status write_file(const char *path, size_t n, uint64_t expected,
                                     enum bitnet_overwrite overwrite, struct bitnet_error *err)
{
    struct bitnet_output *out;
    enum bitnet_status status = bitnet_output_begin(&out, path, expected, overwrite, err);
    if (status) return status;
    status = write_pieces(out, n, err);
    if (!status) return bitnet_output_finish(out, err);
    bitnet_output_abort(out);
    return status;
}

/* 0: there is none; 1: it holds the first n bytes of `content`; -1: it holds something else. */
static int judge(const char *path, size_t n)
{
    struct bitnet_str text;
    if (bitnet_read_file(path, N_CONTENT + 1, &text, NULL) != BITNET_OK) return 0;
    int result = text.n == n && memcmp(text.at, content, n) == 0 ? 1 : -1;
    bitnet_free((void *)(uintptr_t)text.at);
    return result;
}

/* The path of the only temporary file in the folder. */
static void find_temporary(char out[600])
{
    DIR *folder = opendir(dir.path);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length < 4 || strcmp(entry->d_name + length - 4, ".tmp") != 0) continue;
        snprintf(out, 600, "%s/%s", dir.path, entry->d_name);
        n++;
    }
    closedir(folder);
    assert_int_equal(n, 1);
}

static void begin(struct bitnet_output **out, const char *name)
{
    struct bitnet_error err = {0};
    if (bitnet_output_begin(out, temp_dir_file(&dir, name), 0, BITNET_REPLACE_EXISTING, &err))
        fail_msg("%s", err.text);
}

/* --- what it is for --- */

TEST(files_of_every_length_come_out_as_they_went_in)
{
    static const size_t sizes[] = {
        0, 1, 7, 8, 9, 15, 16, 4095, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, N_CONTENT};
    const char *path = temp_dir_file(&dir, "out");
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int known = 0; known < 2; known++) {
            struct bitnet_error err = {0};
            if (write_file(path, sizes[i], known ? sizes[i] : 0, BITNET_REPLACE_EXISTING, &err))
                fail_msg("%s", err.text);
            assert_int_equal(judge(path, sizes[i]), 1);
            assert_int_equal(temp_dir_count(&dir), 1);
        }
}

TEST(a_file_shorter_than_expected_is_cut_to_its_length)
{
    assert_int_equal(
        write_file(temp_dir_file(&dir, "out"), 10, 50000, BITNET_REPLACE_EXISTING, NULL),
        BITNET_OK);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 10), 1);
}

TEST(nothing_is_visible_before_finish_and_the_head_is_zero_on_disk)
{
    struct bitnet_output *out;
    struct bitnet_file view;
    char path[600];
    uint8_t head[16];
    begin(&out, "out");
    assert_int_equal(write_pieces(out, 2000000, NULL), BITNET_OK);
    assert_int_equal(bitnet_output_size(out), 2000000);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 0), 0);

    assert_int_equal(bitnet_output_reopen(out, &view, NULL), BITNET_OK);
    assert_int_equal(view.bytes.n, 2000000);
    assert_memory_equal(view.bytes.at, content, 2000000);
    assert_int_equal(bitnet_file_read(&view, 5, head, 10, NULL), BITNET_OK);
    assert_memory_equal(head, content + 5, 10); /* across the border of the head */
    assert_int_equal(bitnet_file_unchanged(&view, NULL), BITNET_OK);
    bitnet_file_release(&view, 0, view.bytes.n);
    assert_memory_equal(view.bytes.at, content, 2000000); /* the head survives a release */
    bitnet_file_close(&view);

    find_temporary(path);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, head, 16, 0), 16);
    close(fd);
    assert_memory_equal(head, "\0\0\0\0\0\0\0\0", 8);
    assert_memory_equal(head + 8, content + 8, 8);

    assert_int_equal(bitnet_output_finish(out, NULL), BITNET_OK);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 2000000), 1);
    assert_int_equal(temp_dir_count(&dir), 1);
}

TEST(a_view_may_be_taken_and_then_more_written)
{
    static const size_t sizes[] = {0, 3, 8, 20};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct bitnet_output *out;
        struct bitnet_file view;
        begin(&out, "out");
        assert_int_equal(bitnet_output_write(out, content, sizes[i], NULL), BITNET_OK);
        assert_int_equal(bitnet_output_reopen(out, &view, NULL), BITNET_OK);
        assert_int_equal(view.bytes.n, sizes[i]);
        if (sizes[i]) assert_memory_equal(view.bytes.at, content, sizes[i]);
        bitnet_file_close(&view);
        assert_int_equal(bitnet_output_write(out, content + sizes[i], 100, NULL), BITNET_OK);
        assert_int_equal(bitnet_output_finish(out, NULL), BITNET_OK);
        assert_int_equal(judge(temp_dir_file(&dir, "out"), sizes[i] + 100), 1);
    }
}

TEST(an_aborted_output_leaves_nothing_and_the_old_file)
{
    struct bitnet_output *out;
    assert_int_equal(write_file(temp_dir_file(&dir, "out"), 77, 0, BITNET_REPLACE_EXISTING, NULL),
                     0);
    begin(&out, "out");
    assert_int_equal(write_pieces(out, N_CONTENT, NULL), BITNET_OK);
    assert_int_equal(temp_dir_count(&dir), 2);
    bitnet_output_abort(out);
    bitnet_output_abort(NULL);
    assert_int_equal(temp_dir_count(&dir), 1);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 77), 1);
}

/* --- names --- */

TEST(an_existing_file_is_replaced_only_on_request)
{
    struct bitnet_error err;
    const char *path = temp_dir_file(&dir, "out");
    assert_int_equal(write_file(path, 5, 0, BITNET_KEEP_EXISTING, NULL), BITNET_OK);
    assert_int_equal(write_file(path, 9, 0, BITNET_KEEP_EXISTING, &err), BITNET_POLICY);
    assert_text_has(err.text, "exists already");
    assert_text_has(err.hint, "--force");
    assert_int_equal(judge(path, 5), 1);
    assert_int_equal(write_file(path, 9, 0, BITNET_REPLACE_EXISTING, NULL), BITNET_OK);
    assert_int_equal(judge(path, 9), 1);
}

TEST(a_file_that_appears_meanwhile_is_kept)
{
    struct bitnet_output *out;
    struct bitnet_error err;
    const char *path = temp_dir_file(&dir, "out");
    assert_int_equal(bitnet_output_begin(&out, path, 0, BITNET_KEEP_EXISTING, NULL), BITNET_OK);
    assert_int_equal(bitnet_output_write(out, content, 20, NULL), BITNET_OK);
    temp_dir_write(&dir, "out", content, 3);
    assert_int_equal(bitnet_output_finish(out, &err), BITNET_POLICY);
    assert_int_equal(judge(path, 3), 1);
    assert_int_equal(temp_dir_count(&dir), 1);
}

static int refuse_link(const char *from, const char *to)
{
    (void)from, (void)to;
    errno = EPERM;
    return -1;
}

TEST(without_hard_links_an_existing_file_is_still_kept)
{
    struct bitnet_io io = *bitnet_io_swap(NULL);
    const char *path = temp_dir_file(&dir, "out");
    io.link = refuse_link;
    bitnet_io_swap(&io);
    assert_int_equal(write_file(path, 5, 0, BITNET_KEEP_EXISTING, NULL), BITNET_OK);
    assert_int_equal(temp_dir_count(&dir), 1);
    struct bitnet_output *out;
    unlink(path);
    assert_int_equal(bitnet_output_begin(&out, path, 0, BITNET_KEEP_EXISTING, NULL), BITNET_OK);
    temp_dir_write(&dir, "out", content, 3);
    assert_int_equal(bitnet_output_finish(out, NULL), BITNET_POLICY);
    bitnet_io_swap(NULL);
    assert_int_equal(judge(path, 3), 1);
    assert_int_equal(temp_dir_count(&dir), 1);
}

TEST(what_is_no_file_is_never_replaced)
{
    struct bitnet_output *out;
    struct bitnet_error err;
    static const enum bitnet_overwrite force = BITNET_REPLACE_EXISTING;
    assert_int_equal(bitnet_output_begin(&out, "/dev/null", 0, force, &err), BITNET_IO);
    assert_text_has(err.text, "device or pipe");
    assert_int_equal(bitnet_output_begin(&out, dir.path, 0, force, &err), BITNET_IO);
    assert_text_has(err.text, "folder");
    static const char *const links[][2] = {{"device", "/dev/null"}, {"folder", "/"}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(symlink(links[i][1], temp_dir_file(&dir, "link")), 0);
        assert_int_equal(bitnet_output_begin(&out, temp_dir_file(&dir, "link"), 0, force, &err),
                         BITNET_IO);
        assert_text_has(err.text, links[i][0]);
        assert_int_equal(unlink(temp_dir_file(&dir, "link")), 0);
    }
    assert_int_equal(bitnet_output_begin(&out, temp_dir_file(&dir, "no/out"), 0, force, &err),
                     BITNET_NOT_FOUND);
    assert_null(out);
    char name[300];
    memset(name, 'n', 250);
    name[250] = '\0';
    assert_int_equal(bitnet_output_begin(&out, temp_dir_file(&dir, name), 0, force, &err),
                     BITNET_IO);
    assert_text_has(err.text, "too long");
    assert_int_equal(temp_dir_count(&dir), 0);
}

TEST(what_is_no_name_is_a_wrong_call)
{
    struct bitnet_output *out;
    struct bitnet_error err;
    const char *const names[] = {
        "", "/", "-", ".", temp_dir_file(&dir, ""), temp_dir_file(&dir, "..")};
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(bitnet_output_begin(&out, names[i], 0, BITNET_REPLACE_EXISTING, &err),
                         BITNET_USAGE);
        assert_text_has(err.hint, "name a file");
        assert_null(out);
    }
    assert_int_equal(temp_dir_count(&dir), 0);
}

TEST(whether_a_file_could_be_written_is_told_without_a_trace)
{
    struct bitnet_error err;
    const char *path = temp_dir_file(&dir, "out");
    assert_int_equal(bitnet_output_possible(path, BITNET_KEEP_EXISTING, &err), BITNET_OK);
    assert_int_equal(temp_dir_count(&dir), 0);
    temp_dir_write(&dir, "out", "old", 3);
    assert_int_equal(bitnet_output_possible(path, BITNET_KEEP_EXISTING, &err), BITNET_POLICY);
    assert_int_equal(bitnet_output_possible(path, BITNET_REPLACE_EXISTING, &err), BITNET_OK);
    assert_int_equal(
        bitnet_output_possible(temp_dir_file(&dir, "no/out"), BITNET_KEEP_EXISTING, &err),
        BITNET_NOT_FOUND);
    assert_int_equal(temp_dir_count(&dir), 1);
}

TEST(a_symbolic_link_is_replaced_and_its_target_stays)
{
    temp_dir_write(&dir, "target", content, 3);
    assert_int_equal(symlink("target", temp_dir_file(&dir, "out")), 0);
    assert_int_equal(write_file(temp_dir_file(&dir, "out"), 9, 0, BITNET_REPLACE_EXISTING, NULL),
                     0);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 9), 1);
    assert_int_equal(judge(temp_dir_file(&dir, "target"), 3), 1);
}

TEST(a_name_without_a_folder_means_the_current_one)
{
    char old[600];
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(dir.path), 0);
    assert_int_equal(write_file("out", 9, 0, BITNET_KEEP_EXISTING, NULL), BITNET_OK);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 9), 1);
}

TEST(a_full_disk_shows_before_the_first_byte)
{
    struct bitnet_output *out;
    struct bitnet_error err;
    const char *path = temp_dir_file(&dir, "out");
    assert_int_equal(bitnet_output_begin(&out, path, UINT64_C(1) << 60, BITNET_KEEP_EXISTING, &err),
                     BITNET_IO);
    assert_text_has(err.text, "more needed); nothing was kept");
    assert_int_equal(bitnet_output_begin(&out, path, UINT64_MAX, BITNET_KEEP_EXISTING, &err),
                     BITNET_IO);
    assert_int_equal(temp_dir_count(&dir), 0);
}

/* --- faults --- */

static bool is_quiet(const char *operation, int number)
{
    if (strcmp(operation, "fallocate") == 0)
        return number != ENOSPC && number != EDQUOT && number != EIO;
    return false;
}

/* Runs with every k until the fault is no longer reached. The final name must then hold everything
 * (status OK, or only the folder's sync failed) or nothing, and there is never a second file. */
static void check_every_fault(struct faulty_io_plan plan, enum bitnet_overwrite overwrite)
{
    const char *path = temp_dir_file(&dir, "out");
    size_t n = 2200000;
    long live = bitnet_alloc_live();
    bool reached = true;
    long n_failures = 0;
    for (long k = 0; reached; k++) {
        struct bitnet_error err = {0};
        plan.fail_at = k;
        faulty_io_install(&plan);
        enum bitnet_status status = write_file(path, n, n, overwrite, &err);
        reached = faulty_io_remove() > k;
        const char *operation = faulty_io_failed();
        int found = judge(path, n);
        size_t count = temp_dir_count(&dir);
        bool complete = status == BITNET_OK || strstr(err.text, "is complete, but");
        if (found == -1 || (found == 1) != complete || count != (size_t)found)
            fail_msg("call %ld (%s), errno %d: status %d, file %d, %zu entries: %s", k, operation,
                     plan.number, status, found, count, err.text);
        bool harmless =
            !reached || plan.number == EINTR || is_quiet(operation, plan.number) || found == 1;
        if (!harmless) {
            assert_int_equal(status, plan.number == ENOMEM ? BITNET_MEMORY : BITNET_IO);
            assert_text_has(err.text, "nothing was kept");
            n_failures++;
        }
        if (plan.number == ENOSPC && !harmless) assert_text_has(err.text, "no space left (");
        assert_int_equal(bitnet_alloc_live(), live);
        unlink(path);
    }
    if (plan.number != EINTR) assert_true(n_failures >= 6);
}

TEST(whichever_operation_fails_no_part_of_a_file_is_left)
{
    static const int numbers[] = {EIO, ENOSPC, EDQUOT, EFBIG, EMFILE, ENOMEM};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        check_every_fault((struct faulty_io_plan){.number = numbers[i]}, BITNET_REPLACE_EXISTING);
        check_every_fault((struct faulty_io_plan){.number = numbers[i]}, BITNET_KEEP_EXISTING);
        check_every_fault((struct faulty_io_plan){.number = numbers[i], .from_then = true},
                          BITNET_REPLACE_EXISTING);
        check_every_fault((struct faulty_io_plan){.number = numbers[i], .half = true},
                          BITNET_REPLACE_EXISTING);
    }
}

TEST(short_writes_and_interruptions_change_nothing)
{
    static const struct faulty_io_plan plans[] = {
        {.fail_at = -1, .half = true},
        {.fail_at = -1, .interrupts = true},
        {.fail_at = -1, .half = true, .interrupts = true},
    };
    for (size_t i = 0; i < COUNT(plans); i++) {
        faulty_io_install(&plans[i]);
        enum bitnet_status status = write_file(temp_dir_file(&dir, "out"), N_CONTENT, N_CONTENT,
                                               BITNET_REPLACE_EXISTING, NULL);
        faulty_io_remove();
        assert_int_equal(status, BITNET_OK);
        assert_int_equal(judge(temp_dir_file(&dir, "out"), N_CONTENT), 1);
    }
    faulty_io_install(&(struct faulty_io_plan){.fail_at = -1, .one_byte = true});
    enum bitnet_status status =
        write_file(temp_dir_file(&dir, "out"), 5000, 0, BITNET_REPLACE_EXISTING, NULL);
    faulty_io_remove();
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 5000), 1);
}

TEST(after_a_failed_write_every_later_step_fails)
{
    struct bitnet_output *out;
    struct bitnet_file view;
    struct bitnet_error err;
    begin(&out, "out");
    faulty_io_install(&(struct faulty_io_plan){.number = ENOSPC});
    assert_int_equal(bitnet_output_write(out, content, N_CONTENT, &err), BITNET_IO);
    faulty_io_remove();
    assert_int_equal(temp_dir_count(&dir), 0); /* at once, not at the end */
    assert_int_equal(bitnet_output_write(out, content, 1, &err), BITNET_IO);
    assert_int_equal(bitnet_output_reopen(out, &view, &err), BITNET_IO);
    assert_int_equal(bitnet_output_finish(out, &err), BITNET_IO);
    assert_text_has(err.text, "earlier write failed");
    assert_int_equal(temp_dir_count(&dir), 0);
}

TEST(the_message_says_how_much_space_is_missing)
{
    struct bitnet_output *out;
    struct bitnet_error err;
    const char *path = temp_dir_file(&dir, "out");
    assert_int_equal(bitnet_output_begin(&out, path, 5 << 20, BITNET_REPLACE_EXISTING, NULL), 0);
    assert_int_equal(bitnet_output_write(out, content, 1 << 20, NULL), BITNET_OK);
    faulty_io_install(&(struct faulty_io_plan){.number = ENOSPC});
    assert_int_equal(bitnet_output_write(out, content, 1 << 20, &err), BITNET_IO);
    faulty_io_remove();
    bitnet_output_abort(out);
    assert_text_has(err.text, "/out': no space left (4.0 MiB more needed); nothing was kept");
}

/* Not a made-up fault: the kernel's own limit on the size of files. */
TEST(a_file_that_the_system_does_not_allow_is_refused_and_removed)
{
    pid_t child = fork();
    if (child == 0) {
        struct bitnet_error err = {0};
        const struct rlimit limit = {1 << 20, 1 << 20};
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
        const char *path = temp_dir_file(&dir, "out");
        bool early =
            write_file(path, N_CONTENT, N_CONTENT, BITNET_REPLACE_EXISTING, &err) == BITNET_IO &&
            strstr(err.text, "larger than the system allows (");
        bool late = write_file(path, N_CONTENT, 0, BITNET_REPLACE_EXISTING, &err) == BITNET_IO &&
                    strstr(err.text, "larger than the system allows (");
        _exit(early && late ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(temp_dir_count(&dir), 0);
}

TEST(without_memory_nothing_begins_and_nothing_leaks)
{
    long live = bitnet_alloc_live();
    enum bitnet_status status = BITNET_MEMORY;
    for (long k = 0; status; k++) {
        bitnet_alloc_fail_at(k);
        status = write_file(temp_dir_file(&dir, "out"), 100, 100, BITNET_REPLACE_EXISTING, NULL);
        bitnet_alloc_fail_at(-1);
        assert_int_equal(bitnet_alloc_live(), live);
        assert_int_equal(temp_dir_count(&dir), status == BITNET_OK);
        assert_true(k < 20);
    }
}

/* --- crashes, signals, other processes --- */

TEST(killed_at_any_operation_the_next_run_cleans_up_and_finishes)
{
    const char *path = temp_dir_file(&dir, "out");
    size_t n = 2200000;
    int status = 0;
    for (long k = 0;; k++) {
        pid_t child = fork();
        if (child == 0) {
            faulty_io_install(&(struct faulty_io_plan){.fail_at = k, .kill = true});
            _exit(write_file(path, n, n, BITNET_REPLACE_EXISTING, NULL) ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status)) break;
        assert_int_equal(WTERMSIG(status), SIGKILL);
        assert_true(judge(path, n) >= 0);
        assert_int_equal(write_file(path, n, n, BITNET_REPLACE_EXISTING, NULL), BITNET_OK);
        assert_int_equal(judge(path, n), 1);
        assert_int_equal(temp_dir_count(&dir), 1); /* the dead one's temporary file is gone */
        unlink(path);
        assert_true(k < 100);
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void on_signal(int number)
{
    bitnet_output_abort_all_from_signal();
    _exit(number);
}

TEST(a_signal_handler_removes_what_is_open)
{
    pid_t child = fork();
    if (child == 0) {
        struct bitnet_output *a, *b, *c;
        signal(SIGTERM, on_signal);
        begin(&a, "a");
        begin(&b, "b");
        begin(&c, "c");
        bitnet_output_write(a, content, N_CONTENT, NULL);
        bitnet_output_write(c, content, 9, NULL);
        bitnet_output_finish(c, NULL); /* no longer open: stays */
        raise(SIGTERM);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), SIGTERM);
    assert_int_equal(temp_dir_count(&dir), 1);
    assert_int_equal(judge(temp_dir_file(&dir, "c"), 9), 1);
}

TEST(the_temporary_file_of_a_living_process_is_left_alone)
{
    int ready[2], stop[2], status;
    char byte;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(stop), 0);
    pid_t child = fork();
    if (child == 0) {
        struct bitnet_output *out;
        begin(&out, "out");
        bitnet_output_write(out, content, 50, NULL);
        if (write(ready[1], "x", 1) != 1 || read(stop[0], &byte, 1) != 1) _exit(1);
        _exit(bitnet_output_finish(out, NULL) ? 1 : 0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(write_file(temp_dir_file(&dir, "out"), 9, 0, BITNET_REPLACE_EXISTING, NULL),
                     0);
    assert_int_equal(temp_dir_count(&dir), 2);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 9), 1);
    assert_int_equal(write(stop[1], "x", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 50), 1); /* the last one wins, whole */
    assert_int_equal(temp_dir_count(&dir), 1);
}

/* A file that looks like a temporary of process `pid` for the name "out". */
static const char *plant(long pid, const char *suffix)
{
    char name[100];
    snprintf(name, sizeof name, ".out.%ld-%s", pid, suffix);
    temp_dir_write(&dir, name, "\0", 1);
    return temp_dir_file(&dir, name);
}

TEST(only_leftovers_are_removed)
{
    struct timespec old[2] = {{.tv_sec = time(NULL) - 8 * 24 * 3600},
                              {.tv_sec = time(NULL) - 8 * 24 * 3600}};
    long living = (long)getppid();
    const char *own = plant((long)getpid(), "0123456789abcdef.tmp"); /* as in a new container */
    const char *alive = plant(living, "0123456789abcdef.tmp");
    const char *reused = plant(living, "fedcba9876543210.tmp");
    const char *locked = plant((long)getpid(), "aaaaaaaaaaaaaaaa.tmp");
    const char *others[] = {
        plant(1, "0123456789abcde.tmp"),   plant(1, "0123456789abcdeg.tmp"),
        plant(0, "0123456789abcdef.tmp"),  plant(1, "0123456789abcdef.tmpx"),
        plant(1, "0123456789ABCDEF.tmp"),  plant(-1, "0123456789abcdef.tmp"),
        plant(1, "0123456789abcdef0.tmp"), plant(99999999999, "0123456789abcdef.tmp")};
    assert_int_equal(utimensat(AT_FDCWD, reused, old, 0), 0);
    int fd = open(locked, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(write_file(temp_dir_file(&dir, "out"), 9, 0, BITNET_REPLACE_EXISTING, NULL),
                     0);
    close(fd);
    assert_int_not_equal(access(own, F_OK), 0);
    assert_int_not_equal(access(reused, F_OK), 0);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(access(locked, F_OK), 0);
    for (size_t i = 0; i < COUNT(others); i++) assert_int_equal(access(others[i], F_OK), 0);
}

TEST(an_open_output_of_this_process_is_no_leftover)
{
    struct bitnet_output *first;
    begin(&first, "out");
    assert_int_equal(bitnet_output_write(first, content, 30, NULL), BITNET_OK);
    assert_int_equal(write_file(temp_dir_file(&dir, "out"), 9, 0, BITNET_REPLACE_EXISTING, NULL),
                     0);
    assert_int_equal(bitnet_output_finish(first, NULL), BITNET_OK);
    assert_int_equal(judge(temp_dir_file(&dir, "out"), 30), 1);
}

TEST(sixty_four_outputs_may_be_open_and_no_more)
{
    struct bitnet_output *outs[64], *more;
    struct bitnet_error err;
    char name[16];
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "out%d", i);
        begin(&outs[i], name);
    }
    assert_int_equal(
        bitnet_output_begin(&more, temp_dir_file(&dir, "more"), 0, BITNET_KEEP_EXISTING, &err),
        BITNET_LIMIT);
    for (int i = 0; i < 64; i++) bitnet_output_abort(outs[i]);
    assert_int_equal(temp_dir_count(&dir), 0);
    begin(&more, "more");
    bitnet_output_abort(more);
}

/* Writes the same name over and over: content that begins with the writer's own number. */
static void write_forever(uint8_t writer)
{
    static uint8_t mine[N_CONTENT];
    memset(mine, writer, sizeof mine);
    for (;;) {
        struct bitnet_output *out;
        if (bitnet_output_begin(&out, temp_dir_file(&dir, "out"), 0, BITNET_REPLACE_EXISTING, NULL))
            _exit(1);
        for (size_t at = 0; at < N_CONTENT; at += 250000)
            if (bitnet_output_write(out, mine + at, 250000, NULL)) break;
        bitnet_output_finish(out, NULL); /* may fail: somebody may have cleaned up too eagerly */
    }
}

/* One writer's bytes, all of them, whoever it was; zeros are nobody's. */
static bool is_whole(const char *path)
{
    struct bitnet_str text;
    if (bitnet_read_file(path, N_CONTENT + 1, &text, NULL) != BITNET_OK) return false;
    bool same =
        text.n == N_CONTENT && text.at[0] != 0 && memcmp(text.at, text.at + 1, text.n - 1) == 0;
    bitnet_free((void *)(uintptr_t)text.at);
    return same;
}

/* However slow the machine: a file stands from the start, and at each look it is a whole one. */
TEST(many_writers_killed_at_random_moments_leave_one_whole_file)
{
    enum { WRITERS = 4, ROUNDS = 60 };
    static uint8_t first[N_CONTENT];
    const char *path = temp_dir_file(&dir, "out");
    pid_t writers[WRITERS] = {0};
    unsigned random = 12345;
    memset(first, 0xFF, sizeof first);
    temp_dir_write(&dir, "out", first, sizeof first);
    for (int round = 0; round < ROUNDS; round++) {
        int k = round % WRITERS;
        if (writers[k]) {
            kill(writers[k], SIGKILL);
            assert_int_equal(waitpid(writers[k], NULL, 0), writers[k]);
        }
        writers[k] = fork();
        if (writers[k] == 0) write_forever((uint8_t)(round + 1));
        usleep((useconds_t)(rand_r(&random) % 8000));
        assert_true(is_whole(path));
    }
    for (int k = 0; k < WRITERS; k++) {
        kill(writers[k], SIGKILL);
        waitpid(writers[k], NULL, 0);
    }
    assert_true(is_whole(path));
    assert_int_equal(write_file(path, 10, 0, BITNET_REPLACE_EXISTING, NULL), BITNET_OK);
    assert_int_equal(temp_dir_count(&dir), 1); /* and nobody's leftovers */
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(files_of_every_length_come_out_as_they_went_in),
        IN_FOLDER(a_file_shorter_than_expected_is_cut_to_its_length),
        IN_FOLDER(nothing_is_visible_before_finish_and_the_head_is_zero_on_disk),
        IN_FOLDER(a_view_may_be_taken_and_then_more_written),
        IN_FOLDER(an_aborted_output_leaves_nothing_and_the_old_file),
        IN_FOLDER(an_existing_file_is_replaced_only_on_request),
        IN_FOLDER(a_file_that_appears_meanwhile_is_kept),
        IN_FOLDER(without_hard_links_an_existing_file_is_still_kept),
        IN_FOLDER(what_is_no_file_is_never_replaced),
        IN_FOLDER(what_is_no_name_is_a_wrong_call),
        IN_FOLDER(whether_a_file_could_be_written_is_told_without_a_trace),
        IN_FOLDER(a_symbolic_link_is_replaced_and_its_target_stays),
        IN_FOLDER(a_name_without_a_folder_means_the_current_one),
        IN_FOLDER(a_full_disk_shows_before_the_first_byte),
        IN_FOLDER(whichever_operation_fails_no_part_of_a_file_is_left),
        IN_FOLDER(short_writes_and_interruptions_change_nothing),
        IN_FOLDER(after_a_failed_write_every_later_step_fails),
        IN_FOLDER(the_message_says_how_much_space_is_missing),
        IN_FOLDER(a_file_that_the_system_does_not_allow_is_refused_and_removed),
        IN_FOLDER(without_memory_nothing_begins_and_nothing_leaks),
        IN_FOLDER(killed_at_any_operation_the_next_run_cleans_up_and_finishes),
        IN_FOLDER(a_signal_handler_removes_what_is_open),
        IN_FOLDER(the_temporary_file_of_a_living_process_is_left_alone),
        IN_FOLDER(only_leftovers_are_removed),
        IN_FOLDER(an_open_output_of_this_process_is_no_leftover),
        IN_FOLDER(many_writers_killed_at_random_moments_leave_one_whole_file),
        IN_FOLDER(sixty_four_outputs_may_be_open_and_no_more),
    };
    fill_content();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
